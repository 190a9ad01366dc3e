/* Weights come as [group][output][input][tap]; an output's weights are walked tap by tap, and in a tap input by input. */
int ENTRY(const struct planish_args *a)
{
    if (a->size != (i64)sizeof *a)
        return 1;
    const i64 per_output = a->taps * a->inputs;
    const i64 group_slots = (a->outputs + 15) / 16 * 16;
    i32_any *sums = (i32_any *)a->out;
    s8 *body = (s8 *)a->out + a->groups * group_slots * 4;
    clear(a, a->groups * group_slots);
    for (i64 group = 0; group < a->groups; group++)
        for (i64 output = 0; output < a->outputs; output++) {
            const s8 *weights = (const s8 *)a->weights + (group * a->outputs + output) * per_output;
            i32 sum = 0;
            for (i64 tap = 0; tap < a->taps; tap++)
                for (i64 input = 0; input < a->inputs; input++) {
                    const s8 weight = weights[input * a->taps + tap];
                    sum += weight;
                    body[position(a, group * group_slots, group, output, tap * a->inputs + input)] = weight;
                }
            sums[group * group_slots + output] = sum;
        }
    return 0;
}
