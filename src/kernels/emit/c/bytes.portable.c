/* Both say where they ended. */
static inline u8 *fill(u8 *restrict to, u8 value, i64 count)
{
    for (i64 i = 0; i < count; i++)
        to[i] = value;
    return to + count;
}

static inline u8 *copy(u8 *restrict to, const u8 *restrict from, i64 count)
{
    for (i64 i = 0; i < count; i++)
        to[i] = from[i];
    return to + count;
}
