static inline i32 dot(const u8 *restrict x, const s8 *restrict w)
{
    i32 sum = 0;
    for (i64 i = 0; i < RUN; i++)
        sum += x[i] * w[i];
    return sum;
}

/* All output channels of one pixel, whose window begins at x. */
static void pixel(const struct planish_args *a, const u8 *x, i64 row, u8 *restrict out)
{
    const s8 *weights = (const s8 *)a->weights + SLOTS * 4;
    const f32 lo = a->lo - a->zo, hi = a->hi - a->zo;
    for (i64 group = 0; group < G; group++)
        for (i64 o = 0; o < OCG; o++) {
            const i64 slot = group * GROUP_SLOTS + o;
            i32 sum = ((const i32_any *)a->weights)[slot] * -a->zx;
            for (i64 ky = 0; ky < KH; ky++)
                for (i64 kx = 0; kx < RUNS_X; kx++) {
                    sum += dot(x + ky * row + kx * (DW * IC) + group * ICG, weights);
                    weights += RUN;
                }
            const f32 *e = a->epilogue + slot;
            *out++ = code(fused(e[0], e[SLOTS], (f32)sum) * e[2 * SLOTS], lo, hi, a->zo);
        }
}
