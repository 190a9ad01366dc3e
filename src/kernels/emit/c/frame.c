/* Copies an image into the middle of a frame of code zx, so that loops know no borders: `ph` rows and `pw` columns of `ic` channels. */
static const u8 *framed(const struct planish_args *a, const u8 *image, i64 ic, i64 ph, i64 pw)
{
    const i64 row = a->w * ic, side = pw * ic, edge = ph * (row + 2 * side);
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
