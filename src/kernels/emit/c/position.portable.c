/* Where a weight lies: [tap][channel] when depthwise, else [group][output][tap][input]. */
static inline i64 position(const struct planish_args *a, i64 slots, i64 group, i64 output, i64 at)
{
    (void)slots;
    if (a->depthwise)
        return at * a->outputs + output;
    return (group * a->outputs + output) * a->taps * a->inputs + at;
}

static void clear(const struct planish_args *a, i64 slots)
{
    for (i64 i = 0; i < slots * 4; i++)
        a->out[i] = 0;
}
