/* The machine's own bound: multiply-adds from registers to registers, as many in flight as hide their latency. */
#include "network.h"

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

/* Does so many rounds on each thread; how many multiply-adds a round of one thread is. */
EXPORT int lanes_multiply_add(int threads, int64_t rounds) {
    Peak peak = {rounds, 0};
    in_parallel(threads, multiply_add, &peak);
    return IN_FLIGHT * LANES;
}
