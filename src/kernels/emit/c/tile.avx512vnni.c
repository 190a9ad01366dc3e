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

/* The output stage of the sum in a register. Both bounds give themselves for what is not a number. */
#define STAGE(r) \
    "vcvtdq2ps %%zmm" r ", %%zmm" r "; vfmadd231ps %%zmm24, %%zmm25, %%zmm" r "; vmulps %%zmm26, %%zmm" r ", %%zmm" r "; " \
    "vminps %%zmm29, %%zmm" r ", %%zmm" r "; vmaxps %%zmm28, %%zmm" r ", %%zmm" r "; " \
    "vcvtps2dq %%zmm" r ", %%zmm" r "; vpaddd %%zmm27, %%zmm" r ", %%zmm" r "\n"

/* What a tile changes: all vector registers, since what `vzeroupper` clears has to be named too. */
#define CHANGED \
    "cc", "memory", "k1", "rax", "rcx", "rdx", "rsi", \
    "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", \
    "zmm0", "zmm1", "zmm2", "zmm3", "zmm4", "zmm5", "zmm6", "zmm7", \
    "zmm8", "zmm9", "zmm10", "zmm11", "zmm12", "zmm13", "zmm14", "zmm15", \
    "zmm16", "zmm17", "zmm18", "zmm19", "zmm20", "zmm21", "zmm22", "zmm23", \
    "zmm24", "zmm25", "zmm26", "zmm27", "zmm28", "zmm29", "zmm30", "zmm31"
