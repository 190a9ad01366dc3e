int ENTRY(const struct planish_args *a)
{
    if (a->size != (i64)sizeof *a)
        return 1;
    u8 *out = a->out;
    for (i64 n = 0; n < a->n; n++)
        for (i64 oy = 0; oy < a->oh; oy++)
            for (i64 ox = 0; ox < a->ow; ox++) {
                const i64 top = oy * SH - PH, bottom = least(top + KH, a->h + PH);
                const i64 left = ox * SW - PW, right = least(left + KW, a->w + PW);
                const i64 y0 = most(top, 0), y1 = least(bottom, a->h);
                const i64 x0 = most(left, 0), x1 = least(right, a->w);
                mean(a, a->x + n * a->h * a->w * a->c, y0, y1, x0, x1, DIVISOR, out);
                out += a->c;
            }
    return 0;
}
