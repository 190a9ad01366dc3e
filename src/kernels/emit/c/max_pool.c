int ENTRY(const struct planish_args *a)
{
    if (a->size != (i64)sizeof *a)
        return 1;
    const i64 c = a->c;
    u8 *restrict out = a->out;
    for (i64 n = 0; n < a->n; n++)
        for (i64 oy = 0; oy < a->oh; oy++)
            for (i64 ox = 0; ox < a->ow; ox++) {
                for (i64 i = 0; i < c; i++)
                    out[i] = 0;
                for (i64 ky = 0; ky < KH; ky++) {
                    const i64 y = oy * SH - PH + ky * DH;
                    if (y < 0 || y >= a->h)
                        continue;
                    for (i64 kx = 0; kx < KW; kx++) {
                        const i64 x = ox * SW - PW + kx * DW;
                        if (x < 0 || x >= a->w)
                            continue;
                        const u8 *restrict tap = a->x + ((n * a->h + y) * a->w + x) * c;
                        for (i64 i = 0; i < c; i++)
                            out[i] = out[i] > tap[i] ? out[i] : tap[i];
                    }
                }
                out += c;
            }
    return 0;
}
