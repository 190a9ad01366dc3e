int ENTRY(const struct planish_args *a)
{
    if (a->size != (i64)sizeof *a)
        return 1;
    const f32 *restrict x = (const f32 *)a->x;
    u8 *restrict out = a->out;
    const f32 multiplier = a->multiplier;
    const i32 zo = a->zo;
    const f32 lo = a->lo - zo, hi = a->hi - zo;
    for (i64 i = 0; i < a->n; i++)
        out[i] = code(x[i] * multiplier, lo, hi, zo);
    return 0;
}
