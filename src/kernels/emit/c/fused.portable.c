#define FUSED_IS_FAST 0

/* a * b + c, rounded once. The product of two floats is exact in a double; the sum is rounded to odd, which leaves the second
   rounding, to float, as if it were the only one. */
static inline f32 fused(f32 a, f32 b, f32 c)
{
    const f64 product = (f64)a * b;
    union { f64 value; u64 bits; } sum = { product + c };
    const f64 part = sum.value - product;
    const f64 lost = (product - (sum.value - part)) + (c - part);
    if ((lost > 0 || lost < 0) && !(sum.bits & 1))
        sum.bits += (lost > 0) == (sum.value > 0) ? 1 : -1;
    return (f32)sum.value;
}
