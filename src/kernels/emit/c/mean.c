static inline i64 least(i64 a, i64 b) { return a < b ? a : b; }
static inline i64 most(i64 a, i64 b) { return a > b ? a : b; }

/* The mean of rows y0..y1 and columns x0..x1 of an image, channel by channel, with the sum divided by `divisor`. */
static void mean(const struct planish_args *a, const u8 *image, i64 y0, i64 y1, i64 x0, i64 x1, i64 divisor, u8 *restrict out)
{
    const f32 part = 1.0f / (f32)divisor, lo = -a->zx, hi = 255 - a->zx;
    const i32 start = -a->zx * (i32)(most(y1 - y0, 0) * most(x1 - x0, 0));
    for (i64 c = 0; c < a->c; c += 64) {
        const i64 width = least(a->c - c, 64);
        i32 sum[64];
        for (i64 i = 0; i < width; i++)
            sum[i] = start;
        for (i64 y = y0; y < y1; y++)
            for (i64 x = x0; x < x1; x++) {
                const u8 *restrict tap = image + (y * a->w + x) * a->c + c;
                for (i64 i = 0; i < width; i++)
                    sum[i] += tap[i];
            }
        for (i64 i = 0; i < width; i++)
            out[c + i] = code((f32)sum[i] * part, lo, hi, a->zx);
    }
}
