int ENTRY(const struct planish_args *a)
{
    if (a->size != (i64)sizeof *a)
        return 1;
    const u8 *restrict x = a->x, *restrict y = a->y;
    u8 *restrict out = a->out;
    const f32 multiplier = a->multiplier;
    const i32 zx = a->zx, zy = a->zy, zo = a->zo;
    const f32 lo = a->lo - zo, hi = a->hi - zo;
    for (i64 i = 0; i < a->n; i++)
        out[i] = code((f32)((x[i] - zx) * (y[i] - zy)) * multiplier, lo, hi, zo);
    return 0;
}
