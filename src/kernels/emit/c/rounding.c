/* The code of a real number that is already divided by the scale. It is clamped first, so that rounding by adding 1.5 * 2^23 is exact
   (nearest, ties to even) and no conversion overflows. Not a number becomes the upper bound. */
static inline i32 code(f32 t, f32 lo, f32 hi, i32 zo)
{
    t = t < hi ? t : hi;
    t = t > lo ? t : lo;
    return (i32)((t + 12582912.0f) - 12582912.0f) + zo;
}
