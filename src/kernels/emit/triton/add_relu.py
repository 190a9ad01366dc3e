

@triton.jit
def add_relu(
    x,
    y,
    out,
    count,
    scale_x,
    zero_x,
    scale_y,
    zero_y,
    multiplier,
    zero,
    lo,
    hi,
    BLOCK: tl.constexpr,
):
    # Elements in whole blocks of 64 are dequantized with one rounding, those behind the last block
    # with two. Which formula an element gets depends on its index in the whole tensor alone.
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    whole = at < count - count % 64
    a = tl.load(x + at, mask=inside, other=0).to(tl.int32)
    b = tl.load(y + at, mask=inside, other=0).to(tl.int32)
    fused_a = tl.fma(a.to(tl.float32), scale_x, scale_x * -zero_x.to(tl.float32))
    fused_b = tl.fma(b.to(tl.float32), scale_y, scale_y * -zero_y.to(tl.float32))
    plain_a = (a - zero_x).to(tl.float32) * scale_x
    plain_b = (b - zero_y).to(tl.float32) * scale_y
    real = tl.where(whole, fused_a, plain_a) + tl.where(whole, fused_b, plain_b)
    tl.store(out + at, code(real * multiplier, zero, lo, hi).to(tl.uint8), mask=inside)
