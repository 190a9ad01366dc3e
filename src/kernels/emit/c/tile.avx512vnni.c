/* What a tile is told. The assembler below knows where each field is. */
struct tile {
    const u8 *x[8];       /* Where the windows of its pixels begin. */
    const i64 *runs;      /* Where the runs of a window begin, from there, and -1. */
    const u8 *start;      /* For each output channel the sum of its weights. */
    const u8 *weights;
    const f32 *epilogue;
    u8 *out;
    i64 count;            /* Only so many of its pixels are stored. */
    i64 last;             /* Only these lanes of its last block are stored. */
    f32 lo, hi;
    i32 zo;
    i32 zero;             /* What a weight takes away from the sum. */
};
_Static_assert(sizeof(struct tile) == 136, "layout");

/* The lanes of a block that hold channels, when `width` channels are left. */
static inline i64 block_lanes(i64 width) { return width >= 16 ? 0xffff : (1L << width) - 1; }
