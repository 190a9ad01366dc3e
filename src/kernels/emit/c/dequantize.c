int ENTRY(const struct planish_args *a)
{
    if (a->size != (i64)sizeof *a)
        return 1;
    const CODE *restrict x = (const CODE *)a->x;
    f32 *restrict out = (f32 *)a->out;
    const f32 sx = a->sx;
    const i32 zx = a->zx;
    for (i64 i = 0; i < a->n; i++)
        out[i] = (f32)(x[i] - zx) * sx;
    return 0;
}
