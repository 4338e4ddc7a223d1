/* 2x2 max pooling of two rows of one channel, and the way back.
 *
 * Ties go to the first in row-major order and a NaN wins over all, as in PyTorch. Which of the four won is kept as a
 * float from 0 to 3. The activation is taken of the argument that won. Where it is monotone that is the largest argument:
 * three of four activations need not be computed, and units that saturate to the same rounded value still have their
 * largest argument found. */
#include "network.h"

/* The largest in two columns of two rows, and which of the four it is; `choice` may be NULL. The lower row begins so many
 * vectors after the upper. */
void pool(const vec *upper, size_t lower, vec *largest, vec *choice, int width) {
    for (int x = 0; x < width; x++) {
        const vec of[4] = {upper[2 * x], upper[2 * x + 1], upper[lower + 2 * x], upper[lower + 2 * x + 1]};
        vec best = of[0], which = all(0.0f);
#pragma GCC unroll 3
        for (int k = 1; k < 4; k++) {
            mask won = below(best, of[k]) | is_nan(of[k]);
            best = choose(won, of[k], best);
            which = choose(won, all((float)k), which);
        }
        largest[x] = best;
        if (choice) choice[x] = which;
    }
}

/* The one of them that was chosen. */
void pick(const vec *choice, const vec *upper, size_t lower, vec *chosen, int width) {
    for (int x = 0; x < width; x++) {
        vec above = choose(equal(choice[x], all(1.0f)), upper[2 * x + 1], upper[2 * x]);
        vec beneath = choose(equal(choice[x], all(3.0f)), upper[lower + 2 * x + 1], upper[lower + 2 * x]);
        chosen[x] = choose(below(choice[x], all(2.0f)), above, beneath);
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
