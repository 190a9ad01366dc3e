import triton
import triton.language as tl


@triton.jit
def code(real, zero, lo, hi):
    # It is bounded before it is rounded, as everywhere: not a number becomes the largest code.
    # After that |real| < 2**22, and 1.5 * 2**23 is so large that nothing after the point fits behind
    # it: the sum itself is rounded, half to even, and the difference is exact.
    low = (lo - zero).to(tl.float32)
    high = (hi - zero).to(tl.float32)
    bounded = tl.maximum(tl.minimum(real, high), low)
    rounded = (bounded + 12582912.0) - 12582912.0
    return rounded.to(tl.int32) + zero
