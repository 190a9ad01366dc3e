static inline void fill(u8 *restrict to, u8 value, i64 count)
{
    for (i64 i = 0; i < count; i++)
        to[i] = value;
}

/* Copies an image into the middle of a frame of code zx, so that the loops below know no borders. */
static const u8 *framed(const struct planish_args *a, const u8 *restrict image)
{
    const i64 row = a->w * IC, side = PW * IC, edge = PH * (row + 2 * side);
    u8 *restrict to = a->scratch;
    fill(to, a->zx, edge);
    to += edge;
    for (i64 y = 0; y < a->h; y++) {
        fill(to, a->zx, side);
        to += side;
        for (i64 i = 0; i < row; i++)
            to[i] = image[i];
        to += row;
        image += row;
        fill(to, a->zx, side);
        to += side;
    }
    fill(to, a->zx, edge);
    return a->scratch;
}
