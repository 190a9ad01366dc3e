/* Elements in whole blocks of 64 are dequantized with one rounding, those behind the last block with two. Which formula an element gets
   depends on its index in the whole tensor alone. */
#if FUSED_IS_FAST
static inline f32 real(i32 q, f32 scale, f32 shift) { return fused(scale, (f32)q, shift); }
#else
/* There are only 256 codes: the slow fused product is taken from a table. */
static void tabulate(f32 *table, f32 scale, f32 shift)
{
    for (i64 q = 0; q < 256; q++)
        table[q] = fused(scale, (f32)q, shift);
}
#endif

int ENTRY(const struct planish_args *a)
{
    if (a->size != (i64)sizeof *a)
        return 1;
    const u8 *restrict x = a->x, *restrict y = a->y;
    u8 *restrict out = a->out;
    const f32 sx = a->sx, sy = a->sy, multiplier = a->multiplier;
    const f32 shift_x = sx * -(f32)a->zx, shift_y = sy * -(f32)a->zy;
    const i32 zx = a->zx, zy = a->zy, zo = a->zo;
    const f32 lo = a->lo - zo, hi = a->hi - zo;
    const i64 body = a->n - a->n % 64;
#if FUSED_IS_FAST
    for (i64 i = 0; i < body; i++)
        out[i] = code((real(x[i], sx, shift_x) + real(y[i], sy, shift_y)) * multiplier, lo, hi, zo);
#else
    f32 real_x[256], real_y[256];
    tabulate(real_x, sx, shift_x);
    tabulate(real_y, sy, shift_y);
    for (i64 i = 0; i < body; i++)
        out[i] = code((real_x[x[i]] + real_y[y[i]]) * multiplier, lo, hi, zo);
#endif
    for (i64 i = body; i < a->n; i++)
        out[i] = code(((f32)(x[i] - zx) * sx + (f32)(y[i] - zy) * sy) * multiplier, lo, hi, zo);
    return 0;
}
