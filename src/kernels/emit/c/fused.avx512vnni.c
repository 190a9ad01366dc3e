#define FUSED_IS_FAST 1

/* a * b + c, rounded once: one instruction. */
static inline f32 fused(f32 a, f32 b, f32 c)
{
    return __builtin_fmaf(a, b, c);
}
