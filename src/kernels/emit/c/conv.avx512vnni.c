/* The geometry of a convolution, and the shapes of its tiles. */
struct shape {
    i64 sh, sw, ph, pw, dh, dw;
    i64 ic, oc;
    i64 groups, icg, ocg, group_slots, slots;
    i64 runs, runs_x, quads;
    i64 blocks, pixels, rest, rest_pixels;
};

/* A convolution is a matrix product whose left rows are windows of the image. Blocks of weights are the outer loop, so that they stay in
   the cache while all pixels pass. It knows the geometry by a struct and the tiles by a pointer: what is the same for all convolutions of
   a source is compiled once. */
static void multiply(const struct planish_args *a, const struct shape *s, const i64 *runs, void (*compute)(struct tile *, i64),
                     const u8 *image, i64 images, u8 *out)
{
    const i64 count = images * a->oh * a->ow;
    const i64 row = (a->w + 2 * s->pw) * s->ic;
    struct tile t;
    t.runs = runs;
    t.lo = a->lo - a->zo;
    t.hi = a->hi - a->zo;
    t.zo = a->zo;
    t.zero = -a->zx;
    for (i64 group = 0; group < s->groups; group++)
        for (i64 o = 0; o < s->ocg; o += s->blocks * 16) {
            const i64 slot = group * s->group_slots + o;
            const i64 width = s->ocg - o;
            const i64 blocks = width > s->rest * 16 ? s->blocks : s->rest;
            const i64 pixels = width > s->rest * 16 ? s->pixels : s->rest_pixels;
            const u8 *const first = image + group * s->icg;
            struct walk walk = { first, first, first, s->sw * s->ic, s->sh * row, (a->h + 2 * s->ph) * row, 0, 0, count };
            t.start = a->weights + slot * 4;
            t.weights = a->weights + s->slots * 4 + slot * (s->runs * s->quads * 4);
            t.epilogue = a->epilogue + slot;
            t.last = block_lanes(width - (blocks - 1) * 16);
            for (i64 p = 0; p < count; p += pixels) {
                for (i64 i = 0; i < pixels; i++) {
                    t.x[i] = walk.at;
                    advance(&walk, a);
                }
                t.out = out + p * s->oc + group * s->ocg + o;
                t.count = count - p;
                compute(&t, blocks);
            }
        }
}

/* `runs` has room for one number more than there are runs. */
__attribute__((noinline, noclone))
static int convolution(const struct planish_args *a, const struct shape *s, i64 *runs, void (*compute)(struct tile *, i64))
{
    if (a->size != (i64)sizeof *a)
        return 1;
    const i64 row = s->dh * (a->w + 2 * s->pw) * s->ic;
    for (i64 run = 0; run < s->runs; run++)
        runs[run] = run / s->runs_x * row + run % s->runs_x * (s->dw * s->ic);
    runs[s->runs] = -1;
    /* With a frame there is room for one image at a time. */
    const i64 frame = s->ph || s->pw, each = frame ? 1 : a->n;
    for (i64 n = 0; n < a->n; n += each) {
        const u8 *image = a->x + n * a->h * a->w * s->ic;
        if (frame)
            image = framed(a, image, s->ic, s->ph, s->pw);
        multiply(a, s, runs, compute, image, each, a->out + n * a->oh * a->ow * s->oc);
    }
    return 0;
}
