/* Threads for the length of one call, and the barrier at which a team of them meets twice a step.
 *
 * A step of one member takes some 100 microseconds, so sleeping in the kernel would cost as much as it gains: a thread
 * spins for a moment, then yields the core, so that others can have it where there are more threads than cores. */
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "network.h"

INLINE void pause_(void) {
#if defined(__SSE2__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void wait_while(const int *variable, int value) {
    for (int spins = 0; __atomic_load_n(variable, __ATOMIC_ACQUIRE) == value; spins++) {
        if (spins < 2000)
            pause_();
        else
            sched_yield();
    }
}

/* Returns once `size` threads are here. */
void meet(Barrier *b, int size) {
    if (size == 1) return;
    int round = __atomic_load_n(&b->round, __ATOMIC_RELAXED);
    if (__atomic_add_fetch(&b->waiting, 1, __ATOMIC_ACQ_REL) == size) {
        __atomic_store_n(&b->waiting, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&b->round, round + 1, __ATOMIC_RELEASE);
    } else {
        wait_while(&b->round, round);
    }
}

/* Numbers below 1e-38 count as 0 in this thread: saturated units multiply slopes of 1e-17 and less, and many processors
 * take a hundred times as long over such denormal numbers. */
static void flush_denormals(void) {
#if defined(__SSE2__)
    _mm_setcsr(_mm_getcsr() | 0x8040);
#elif defined(__aarch64__)
    uint64_t before;
    __asm__ volatile("mrs %0, fpcr" : "=r"(before));
    __asm__ volatile("msr fpcr, %0" ::"r"(before | 1 << 24));
#endif
}

typedef struct {
    void (*work)(void *, int, int);
    void *shared;
    const int *threads; /* how many there are, 0 until all have been started */
    int thread;
    pthread_t handle;
} Hand;

static void *hand(void *argument) {
    Hand *h = argument;
    wait_while(h->threads, 0);
    flush_denormals();
    h->work(h->shared, h->thread, *h->threads);
    return NULL;
}

/* Runs work(shared, thread, threads) on so many new threads, or on as many as can be started. -1 where none can. */
int in_parallel(int threads, void (*work)(void *, int, int), void *shared) {
    Hand *hands = malloc(sizeof(Hand) * threads);
    int started = 0, ready = 0;
    for (; hands && started < threads; started++) {
        hands[started] = (Hand){work, shared, &ready, started, 0};
        if (pthread_create(&hands[started].handle, NULL, hand, &hands[started])) break;
    }
    __atomic_store_n(&ready, started, __ATOMIC_RELEASE);
    for (int t = 0; t < started; t++) pthread_join(hands[t].handle, NULL);
    free(hands);
    return started ? 0 : -1;
}
