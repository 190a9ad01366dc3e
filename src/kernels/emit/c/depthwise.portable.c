/* All channels of one pixel, whose window begins at x, 64 at a time: the sums stay in the cache. */
static void pixel(const struct planish_args *a, const u8 *x, i64 row, u8 *restrict out)
{
    const i32_any *sums = (const i32_any *)a->weights;
    const s8 *weights = (const s8 *)a->weights + SLOTS * 4;
    const f32 lo = a->lo - a->zo, hi = a->hi - a->zo;
    for (i64 c = 0; c < IC; c += 64) {
        const i64 width = IC - c < 64 ? IC - c : 64;
        i32 sum[64];
        for (i64 i = 0; i < width; i++)
            sum[i] = sums[c + i] * -a->zx;
        for (i64 ky = 0; ky < KH; ky++)
            for (i64 kx = 0; kx < KW; kx++) {
                const u8 *restrict tap = x + ky * row + kx * (DW * IC) + c;
                const s8 *restrict w = weights + (ky * KW + kx) * IC + c;
                for (i64 i = 0; i < width; i++)
                    sum[i] += tap[i] * w[i];
            }
        const f32 *e = a->epilogue + c;
        for (i64 i = 0; i < width; i++)
            out[c + i] = code(fused(e[i], e[SLOTS + i], (f32)sum[i]) * e[2 * SLOTS + i], lo, hi, a->zo);
    }
}
