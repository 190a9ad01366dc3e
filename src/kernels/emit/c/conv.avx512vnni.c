/* A convolution is a matrix product whose left rows are windows of the image. Blocks of weights are the outer loop, so that they stay in
   the cache while all pixels pass. */
static void convolve(const struct planish_args *a, const u8 *image, i64 images, u8 *out)
{
    const i64 count = images * a->oh * a->ow;
    const i64 row = DH * WIDTH(a) * IC;
    i64 runs[RUNS + 1];
    for (i64 run = 0; run < RUNS; run++)
        runs[run] = run / RUNS_X * row + run % RUNS_X * (DW * IC);
    runs[RUNS] = -1;
    struct tile t;
    t.runs = runs;
    t.lo = a->lo - a->zo;
    t.hi = a->hi - a->zo;
    t.zo = a->zo;
    t.zero = -a->zx;
    for (i64 group = 0; group < G; group++)
        for (i64 o = 0; o < OCG; o += BLOCKS * 16) {
            const i64 slot = group * GROUP_SLOTS + o;
            const i64 width = OCG - o;
            const i64 blocks = width > REST * 16 ? BLOCKS : REST;
            const i64 pixels = width > REST * 16 ? PIXELS : REST_PIXELS;
            const u8 *const first = image + group * ICG;
            struct walk walk = { first, first, first, 0, 0, count };
            t.start = a->weights + slot * 4;
            t.weights = a->weights + SLOTS * 4 + slot * (RUNS * QUADS * 4);
            t.epilogue = a->epilogue + slot;
            t.last = block_lanes(width - (blocks - 1) * 16);
            for (i64 p = 0; p < count; p += pixels) {
                for (i64 i = 0; i < pixels; i++) {
                    t.x[i] = walk.at;
                    advance(&walk, a);
                }
                t.out = out + p * OC + group * OCG + o;
                t.count = count - p;
                compute(&t, blocks);
            }
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
        convolve(a, framed(a, a->x + n * a->h * a->w * IC), 1, a->out + n * a->oh * a->ow * OC);
    return 0;
}
