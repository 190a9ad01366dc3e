/* The output stage of a tile, pixels of a block side by side. A function and loops: a compiler takes for the stage of each sum, written out,
   as long as for all products. */
static __attribute__((noinline)) void finish(const struct planish_args *a, const v16i *sums, i64 blocks, i64 pixels, i64 slot, u8 *out,
                                             i64 count, i64 width)
{
    const f32 *e = a->epilogue + slot;
    const v16f lo = all_f(a->lo - a->zo), hi = all_f(a->hi - a->zo);
    const v16i zo = all(a->zo);
    const i64 stored = count < pixels ? count : pixels;
    for (i64 block = 0; block < blocks; block++) {
        const v16f bias = load_f(e), inv = load_f(e + SLOTS), mult = load_f(e + 2 * SLOTS);
        const u16 chosen = lanes(width);
        for (i64 pixel = 0; pixel < stored; pixel++)
            store(out + pixel * OC, codes(sums[pixel], bias, inv, mult, lo, hi, zo), chosen);
        e += 16, sums += pixels, out += 16, width -= 16;
    }
}

