static void convolve(const struct planish_args *a, const u8 *image, u8 *out)
{
    const i64 row = WIDTH(a) * IC;
    for (i64 y = 0; y < a->oh; y++)
        for (i64 x = 0; x < a->ow; x++) {
            pixel(a, image + y * SH * row + x * (SW * IC), DH * row, out);
            out += OC;
        }
}

int ENTRY(const struct planish_args *a)
{
    if (a->size != (i64)sizeof *a)
        return 1;
    for (i64 n = 0; n < a->n; n++) {
        const u8 *image = a->x + n * a->h * a->w * IC;
        convolve(a, PH || PW ? framed(a, image, IC, PH, PW) : image, a->out + n * a->oh * a->ow * OC);
    }
    return 0;
}
