/* 2x2 max pooling of two rows of one channel, and the way back.
 *
 * Ties go to the first in row-major order and a NaN wins over all, as in PyTorch. Which of the four won is kept as a
 * float from 0 to 3. The activation is taken of the argument that won. Where it is monotone that is the largest argument:
 * three of four activations need not be computed, and units that saturate to the same rounded value still have their
 * largest argument found. */
#include "network.h"

/* Which of two columns of two rows is the largest by `keys`, f(z) or z itself: its z. A lower row is so many vectors after
 * its upper one; `key`, for the largest of `keys`, and `choice` may be NULL. */
void pool(const vec *keys, size_t below_keys, const vec *z, size_t below_z, vec *largest, vec *key, vec *choice,
          int width) {
    for (int x = 0; x < width; x++) {
        const vec key_of[4] = {keys[2 * x], keys[2 * x + 1], keys[below_keys + 2 * x], keys[below_keys + 2 * x + 1]};
        const vec z_of[4] = {z[2 * x], z[2 * x + 1], z[below_z + 2 * x], z[below_z + 2 * x + 1]};
        vec best = key_of[0], best_z = z_of[0], which = all(0.0f);
#pragma GCC unroll 3
        for (int k = 1; k < 4; k++) {
            mask won = below(best, key_of[k]) | is_nan(key_of[k]);
            best = choose(won, key_of[k], best);
            best_z = choose(won, z_of[k], best_z);
            which = choose(won, all((float)k), which);
        }
        largest[x] = best_z;
        if (key) key[x] = best;
        if (choice) choice[x] = which;
    }
}

/* Of two rows the one that won. */
void pick(const vec *choice, const vec *upper, const vec *lower, vec *chosen, int width) {
    for (int x = 0; x < width; x++) {
        vec above = choose(equal(choice[x], all(1.0f)), upper[2 * x + 1], upper[2 * x]);
        vec beneath = choose(equal(choice[x], all(3.0f)), lower[2 * x + 1], lower[2 * x]);
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
