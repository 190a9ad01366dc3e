/* Where a weight lies: [group][block][run][quad][16 outputs][4 weights]. */
static inline i64 position(const struct planish_args *a, i64 slots, i64 group, i64 output, i64 at)
{
    (void)group;
    const i64 run = a->taps * a->inputs / a->runs, quads = (run + 3) / 4;
    const i64 block = (slots + output) / 16;
    const i64 quad = (block * a->runs + at / run) * quads + at % run / 4;
    return (quad * 16 + output % 16) * 4 + at % run % 4;
}

static void clear(const struct planish_args *a, i64 slots)
{
    const i64 quads = (a->taps * a->inputs / a->runs + 3) / 4;
    for (i64 i = 0; i < slots * (4 + a->runs * quads * 4); i++)
        a->out[i] = 0;
}
