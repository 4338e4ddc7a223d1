/* What Python asks besides for a run (engine.c). */
#include "network.h"

/* Which tables this build was compiled from. */
EXPORT const char *lanes_tables(void) { return TABLES; }

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

enum { IN_FLIGHT = 12 };

static void multiply_add(void *rounds, int thread, int threads) {
    (void)threads;
    vec x[IN_FLIGHT], half = all(0.5f), one = all((float)(thread + 1));
    for (int i = 0; i < IN_FLIGHT; i++) x[i] = all((float)i);
    for (int64_t round = 0; round < *(int64_t *)rounds; round++) {
#pragma GCC unroll 12
        for (int i = 0; i < IN_FLIGHT; i++) x[i] = loaded(fma_(x[i], half, one));
    }
    __asm__ volatile("" : : "m"(x)); /* or the compiler would leave it all out */
}

/* The machine's own bound: so many rounds on each thread of multiply-adds from registers to registers, as many in flight
 * as hide their latency. Returns how many multiply-adds a round of one thread is. */
EXPORT int lanes_multiply_add(int threads, int64_t rounds) {
    in_parallel(threads, multiply_add, &rounds);
    return IN_FLIGHT * LANES;
}
