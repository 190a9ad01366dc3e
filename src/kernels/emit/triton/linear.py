

@triton.jit
def linear(
    x,
    w,
    correction,
    stage,
    y,
    rows,
    zero,
    lo,
    hi,
    INPUTS: tl.constexpr,
    OUTPUTS: tl.constexpr,
    SLOTS: tl.constexpr,
    UNSIGNED: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    # x[rows, INPUTS] are codes, w[OUTPUTS, INPUTS] is s8. Tensor cores multiply s8 with s8: an
    # unsigned code less 128 is one, and `correction` puts that back with the zero point.
    across: tl.constexpr = (OUTPUTS + BLOCK_N - 1) // BLOCK_N
    program = tl.program_id(0)
    m = (program // across) * BLOCK_M + tl.arange(0, BLOCK_M)
    n = (program % across) * BLOCK_N + tl.arange(0, BLOCK_N)
    k = tl.arange(0, BLOCK_K)
    row = m[:, None] < rows
    column = n[None, :] < OUTPUTS
    x_at = x + m.to(tl.int64)[:, None] * INPUTS + k[None, :]
    w_at = w + n.to(tl.int64)[None, :] * INPUTS + k[:, None]
    acc = tl.zeros((BLOCK_M, BLOCK_N), tl.int32)
    for start in range(0, INPUTS, BLOCK_K):
        if INPUTS % BLOCK_K == 0:
            codes = tl.load(x_at + start, mask=row, other=0)
            weights = tl.load(w_at + start, mask=column, other=0)
        else:
            # Where the weight is 0, it does not matter what the code is.
            inside = k < INPUTS - start
            codes = tl.load(x_at + start, mask=row & inside[None, :], other=0)
            weights = tl.load(w_at + start, mask=column & inside[:, None], other=0)
        if UNSIGNED:
            codes = (codes ^ 128).to(tl.int8, bitcast=True)
        acc = tl.dot(codes, weights, acc, out_dtype=tl.int32)
    inside = n < OUTPUTS
    acc += tl.load(correction + n, mask=inside, other=0)[None, :]
    bias = tl.load(stage + n, mask=inside, other=0.0)[None, :]
    inverse = tl.load(stage + SLOTS + n, mask=inside, other=0.0)[None, :]
    multiplier = tl.load(stage + 2 * SLOTS + n, mask=inside, other=0.0)[None, :]
    # One rounding for the bias, one for the product: the order is the contract's.
    real = tl.fma(bias, inverse, acc.to(tl.float32)) * multiplier
    out = code(real, zero, lo, hi).to(y.dtype.element_ty)
    tl.store(y + m.to(tl.int64)[:, None] * OUTPUTS + n[None, :], out, mask=row & column)
