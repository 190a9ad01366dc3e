/* Where the window of an output pixel begins. Pixels are walked row by row, image by image; behind the last one the walk stands still,
   so that a tile which is not full computes its last pixel again. */
struct walk {
    const u8 *at, *row, *image;
    i64 pixels, rows, images;       /* Bytes from a pixel to the next, from a row, from an image. */
    i64 x, y, left;
};

static inline void advance(struct walk *walk, const struct planish_args *a)
{
    if (--walk->left <= 0)
        return;
    if (++walk->x < a->ow) {
        walk->at += walk->pixels;
    } else if (walk->x = 0, ++walk->y < a->oh) {
        walk->at = walk->row += walk->rows;
    } else {
        walk->y = 0;
        walk->at = walk->row = walk->image += walk->images;
    }
}
