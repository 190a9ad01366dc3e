/* Copies an image into the middle of a frame of code zx, so that the loops below know no borders. */
static const u8 *framed(const struct planish_args *a, const u8 *image)
{
    const i64 row = a->w * IC, side = PW * IC, edge = PH * (row + 2 * side);
    u8 *to = fill(a->scratch, a->zx, edge);
    for (i64 y = 0; y < a->h; y++) {
        to = fill(to, a->zx, side);
        to = copy(to, image, row);
        to = fill(to, a->zx, side);
        image += row;
    }
    fill(to, a->zx, edge);
    return a->scratch;
}
