static const struct shape geometry = {
    SH, SW, PH, PW, DH, DW, IC, OC, G, ICG, OCG, GROUP_SLOTS, SLOTS, RUNS, RUNS_X, QUADS, BLOCKS, PIXELS, REST, REST_PIXELS,
};

int ENTRY(const struct planish_args *a)
{
    i64 runs[RUNS + 1];
    return convolution(a, &geometry, runs, compute);
}
