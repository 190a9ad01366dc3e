/* Four pixels by 16 channels. */
static inline void four_pixels(const struct planish_args *a, const u8 *const *x, i64 row, i64 c, u8 *out, i64 count, i64 width)
{
    const u16 chosen = lanes(width);
    const u8 *weights = a->weights + SLOTS * 4 + c * (KH * KW * 4);
    const v16i start = load(a->weights + c * 4) * all(-a->zx);
    v16i s0 = start, s1 = start, s2 = start, s3 = start;
    for (i64 ky = 0; ky < KH; ky++)
        for (i64 kx = 0; kx < KW; kx++) {
            const i64 at = ky * row + kx * (DW * IC) + c;
            const v16i w = load(weights);
            DOT(s0, channels(x[0] + at, chosen), w);
            DOT(s1, channels(x[1] + at, chosen), w);
            DOT(s2, channels(x[2] + at, chosen), w);
            DOT(s3, channels(x[3] + at, chosen), w);
            weights += 64;
        }
    const f32 *e = a->epilogue + c;
    const v16f bias = load_f(e), inv = load_f(e + SLOTS), mult = load_f(e + 2 * SLOTS);
    const v16f lo = all_f(a->lo - a->zo), hi = all_f(a->hi - a->zo);
    const v16i zo = all(a->zo);
    out += c;
    store(out, codes(s0, bias, inv, mult, lo, hi, zo), chosen);
    if (count > 1) store(out + IC, codes(s1, bias, inv, mult, lo, hi, zo), chosen);
    if (count > 2) store(out + 2 * IC, codes(s2, bias, inv, mult, lo, hi, zo), chosen);
    if (count > 3) store(out + 3 * IC, codes(s3, bias, inv, mult, lo, hi, zo), chosen);
}

static void convolve(const struct planish_args *a, const u8 *image, i64 images, u8 *out)
{
    const i64 count = images * a->oh * a->ow;
    const i64 row = DH * WIDTH(a) * IC;
    struct walk walk = { image, image, image, SW * IC, SH * WIDTH(a) * IC, HEIGHT(a) * WIDTH(a) * IC, 0, 0, count };
    for (i64 p = 0; p < count; p += 4) {
        const u8 *x[4];
        for (i64 i = 0; i < 4; i++) {
            x[i] = walk.at;
            advance(&walk, a);
        }
        i64 c = 0;
        for (; c + 16 <= IC; c += 16)
            four_pixels(a, x, row, c, out + p * IC, count - p, 16);
        if (c < IC)
            four_pixels(a, x, row, c, out + p * IC, count - p, IC - c);
    }
}

int ENTRY(const struct planish_args *a)
{
    if (a->size != (i64)sizeof *a)
        return 1;
    if (PH == 0 && PW == 0) {
        convolve(a, a->x, a->n, a->out);
        return 0;
    }
    for (i64 n = 0; n < a->n; n++)
        convolve(a, framed(a, a->x + n * a->h * a->w * IC, IC, PH, PW), 1, a->out + n * a->oh * a->ow * IC);
    return 0;
}
