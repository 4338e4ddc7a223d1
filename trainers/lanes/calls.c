/* What Python asks besides for a run (engine.c). */
#include "network.h"

/* Which tables this build was compiled from. */
EXPORT const char *lanes_tables(void) { return TABLES; }

/* How many images are side by side in this build. */
EXPORT int lanes_width(void) { return LANES; }

/* Whether this processor can run the build of that name; asked of the portable one. */
EXPORT int lanes_supported(const char *build) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!strcmp(build, "avx512"))
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("fma");
    if (!strcmp(build, "avx2")) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    return !strcmp(build, "portable");
}

/* The first row of a table that can't be run (plan), or 0. */
EXPORT int lanes_refusal(const Call *call) {
    Network n;
    return plan(&n, call);
}

/* alpha f(z / alpha), or alpha f(z), and its derivative by z, for tests: z, value and slope of (count, LANES). 0, or -2. */
EXPORT int lanes_activate(int activation, int scaling, double alpha, const float *z, float *value, float *slope,
                          int64_t count) {
    if (!known((int32_t[]){activation, scaling, 0}, 1)) return -2;
    Settings settings = {activation, scaling, 0, alpha, 0, 0};
    Scaled f = scaled(&settings);
    for (int64_t i = 0; i < count; i++) {
        vec in, a, d;
        memcpy(&in, z + i * LANES, sizeof in);
        activate(&f, &in, &a, &d, 1);
        memcpy(value + i * LANES, &a, sizeof a);
        memcpy(slope + i * LANES, &d, sizeof d);
    }
    return 0;
}

#define IN_FLIGHT 12

typedef struct {
    int64_t rounds;
    float sink;
} Peak;

static void multiply_add(void *shared, int thread, int threads) {
    Peak *peak = shared;
    (void)threads;
    vec x[IN_FLIGHT], half = all(0.5f), one = all((float)(thread + 1));
    for (int i = 0; i < IN_FLIGHT; i++) x[i] = all((float)i);
    for (int64_t round = 0; round < peak->rounds; round++) {
#pragma GCC unroll 12
        for (int i = 0; i < IN_FLIGHT; i++) x[i] = loaded(fma_(x[i], half, one));
    }
    for (int i = 1; i < IN_FLIGHT; i++) x[0] += x[i];
    float total = sum(x[0]);
    __atomic_store(&peak->sink, &total, __ATOMIC_RELAXED); /* or the compiler would leave it all out */
}

/* The machine's own bound: so many rounds on each thread of multiply-adds from registers to registers, as many in flight
 * as hide their latency. Returns how many multiply-adds a round of one thread is. */
EXPORT int lanes_multiply_add(int threads, int64_t rounds) {
    Peak peak = {rounds, 0};
    in_parallel(threads, multiply_add, &peak);
    return IN_FLIGHT * LANES;
}
