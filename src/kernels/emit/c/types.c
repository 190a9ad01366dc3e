typedef unsigned char u8;
typedef signed char s8;
typedef unsigned short u16;
typedef int i32;
typedef long i64;
typedef unsigned long u64;
typedef float f32;
typedef double f64;
typedef i32 i32_any __attribute__((aligned(1), may_alias));
