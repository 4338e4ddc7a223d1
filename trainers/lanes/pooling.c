/* 2x2 max pooling of two rows of one channel, and the way back.
 *
 * Ties go to the first in row-major order and a NaN wins over all, as in PyTorch. Which of the four won is kept as a
 * float from 0 to 3. The convolution before it is pooled before the activation wherever the activation is monotone:
 * the result is the same, three of four activations need not be computed, and units that saturate to the same rounded
 * value still have their largest argument found. */
#include "network.h"

INLINE mask wins(vec challenger, vec best) {
#if defined(__AVX2__) && !defined(__AVX512F__)
    return _mm256_or_ps(below(best, challenger), is_nan(challenger));
#else
    return below(best, challenger) | is_nan(challenger);
#endif
}

/* The slopes, where there are any, are those at the four; `slope` and `choice` may be NULL. */
void pool(const vec *upper, const vec *lower, const vec *upper_slope, const vec *lower_slope, vec *value, vec *slope,
          vec *choice, int width) {
    for (int x = 0; x < width; x++) {
        const vec *at[4] = {upper + 2 * x, upper + 2 * x + 1, lower + 2 * x, lower + 2 * x + 1};
        vec best = *at[0], which = all(0.0f);
        vec best_slope = upper_slope ? upper_slope[2 * x] : all(0.0f);
#pragma GCC unroll 3
        for (int k = 1; k < 4; k++) {
            mask won = wins(*at[k], best);
            best = choose(won, *at[k], best);
            which = choose(won, all((float)k), which);
            if (upper_slope) best_slope = choose(won, (k < 2 ? upper_slope : lower_slope)[2 * x + k % 2], best_slope);
        }
        value[x] = best;
        if (choice) choice[x] = which;
        if (slope && upper_slope) slope[x] = best_slope;
    }
}

/* The gradient goes to the one that won. */
void unpool(const vec *gradient, const vec *choice, vec *upper, vec *lower, int width) {
    const vec zero = all(0.0f);
    for (int x = 0; x < width; x++) {
        upper[2 * x] = choose(equal(choice[x], zero), gradient[x], zero);
        upper[2 * x + 1] = choose(equal(choice[x], all(1.0f)), gradient[x], zero);
        lower[2 * x] = choose(equal(choice[x], all(2.0f)), gradient[x], zero);
        lower[2 * x + 1] = choose(equal(choice[x], all(3.0f)), gradient[x], zero);
    }
}
