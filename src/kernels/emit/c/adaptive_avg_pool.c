int ENTRY(const struct planish_args *a)
{
    if (a->size != (i64)sizeof *a)
        return 1;
    u8 *out = a->out;
    for (i64 n = 0; n < a->n; n++)
        for (i64 oy = 0; oy < a->oh; oy++)
            for (i64 ox = 0; ox < a->ow; ox++) {
                const i64 y0 = oy * a->h / a->oh, y1 = ((oy + 1) * a->h + a->oh - 1) / a->oh;
                const i64 x0 = ox * a->w / a->ow, x1 = ((ox + 1) * a->w + a->ow - 1) / a->ow;
                mean(a, a->x + n * a->h * a->w * a->c, y0, y1, x0, x1, (y1 - y0) * (x1 - x0), out);
                out += a->c;
            }
    return 0;
}
