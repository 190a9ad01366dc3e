/* Registers of 16 lanes, and the few instructions that C's vector types do not reach. */
typedef i32 v16i __attribute__((vector_size(64)));
typedef f32 v16f __attribute__((vector_size(64)));
typedef i32 v16i_any __attribute__((vector_size(64), aligned(1), may_alias));
typedef f32 v16f_any __attribute__((vector_size(64), aligned(1), may_alias));
typedef u8 v16u8_any __attribute__((vector_size(16), aligned(1), may_alias));

static inline v16i load(const void *p) { return *(const v16i_any *)p; }
static inline v16f load_f(const f32 *p) { return *(const v16f_any *)p; }

/* The same value in all lanes. */
static inline v16i all(i32 v) { return (v16i){ v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v }; }
static inline v16f all_f(f32 v) { return (v16f){ v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v }; }

static inline v16f fused_all(v16f a, v16f b, v16f c)
{
    __asm__("vfmadd213ps %2, %1, %0" : "+v"(a) : "v"(b), "v"(c));
    return a;
}

/* Both give the bound when a is not a number. */
static inline v16f at_least(v16f a, v16f bound)
{
    __asm__("vmaxps %1, %0, %0" : "+v"(a) : "v"(bound));
    return a;
}
static inline v16f at_most(v16f a, v16f bound)
{
    __asm__("vminps %1, %0, %0" : "+v"(a) : "v"(bound));
    return a;
}

/* Nearest integers, ties to even. */
static inline v16i nearest(v16f a)
{
    v16i r;
    __asm__("vcvtps2dq %1, %0" : "=v"(r) : "v"(a));
    return r;
}

/* The output stage. */
static inline v16i codes(v16i sum, v16f bias, v16f inv, v16f mult, v16f lo, v16f hi, v16i zo)
{
    const v16f real = fused_all(bias, inv, __builtin_convertvector(sum, v16f)) * mult;
    return nearest(at_least(at_most(real, hi), lo)) + zo;
}

/* The lanes of a block that hold channels, when `width` channels are left. */
static inline u16 lanes(i64 width) { return width >= 16 ? 0xffff : width <= 0 ? 0 : (1 << width) - 1; }

/* Stores the chosen lanes as bytes. Nothing else is touched. */
static inline void store(u8 *out, v16i value, u16 chosen)
{
    __asm__("vpmovdb %1, %0 %{%2%}" : "+m"(*(v16u8_any *)out) : "v"(value), "Yk"(chosen));
}

/* Adds to each lane of sum the products of its four unsigned bytes of x with its four signed bytes of w. Does not saturate. */
#define DOT(sum, x, w) __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(w))

/* The chosen channels of a pixel, one in the low byte of each lane, and zeros. Nothing is read behind the last chosen one. */
static inline v16i channels(const u8 *x, u16 chosen)
{
    v16i r;
    __asm__("vpmovzxbd %1, %0 %{%2%}%{z%}" : "=v"(r) : "m"(*(const v16u8_any *)x), "Yk"(chosen));
    return r;
}
