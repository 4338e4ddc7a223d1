/* Large dense layers: products of matrices, with blocks of their sums in registers.
 *
 * Forward and back a lane is an image: ROWS units (or inputs) by COLUMNS groups of sums, and a weight is read once for
 * all groups of the block. In the gradient by the weights a lane is an input: the inputs are turned, the gradients by
 * the units are read one by one, and the sums over all images stay in registers: none runs across lanes. */
#include "network.h"

enum { ROWS = 8 };
enum { DEPTH = 256, DEPTH_BACK = 64 }; /* what a block sums in one go: the inputs stay in the first-level cache */

/* Adds to sums[r][c] the sum over k of a[r * row + k * step] * b[c][k]. `fetch` prefetches
 * the next rows, since those of large layers are not in the second-level cache. */
INLINE void add_products(int rows, int columns, const float *a, size_t row, size_t step, const vec *const *b, int depth,
                         int fetch, vec (*sums)[COLUMNS]) {
    for (int k = 0; k < depth; k++, a += step) {
        vec v[COLUMNS];
        if (fetch && k % LINE == 0)
#pragma GCC unroll 8
            for (int r = 0; r < rows; r++) __builtin_prefetch(a + (rows + r) * row);
#pragma GCC unroll 2
        for (int c = 0; c < columns; c++) v[c] = loaded(b[c][k]);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            vec scalar = loaded(all(a[r * row]));
#pragma GCC unroll 2
            for (int c = 0; c < columns; c++) sums[r][c] = fma_(scalar, v[c], sums[r][c]);
        }
    }
}

/* A block of so many rows and columns, both constants, of whatever is computed. */
#define EACH_BLOCK(x) x(8, 2) x(4, 2) x(2, 2) x(1, 2) x(8, 1) x(4, 1) x(2, 1) x(1, 1)
#define SIZE(rows, columns) ((rows) * 4 + (columns))

static int rows_of_block(int left) { return left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1; }

INLINE void block(int rows, int columns, const float *a, size_t row, size_t step, const vec *const *in, int depth,
                  const float *bias, int add, vec *const *out) {
    vec sums[ROWS][COLUMNS];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
        for (int c = 0; c < columns; c++) sums[r][c] = all(0.0f);
    add_products(rows, columns, a, row, step, in, depth, step == 1, sums);
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
        for (int c = 0; c < columns; c++)
            out[c][r] = (add ? out[c][r] : all(bias ? bias[r] : 0.0f)) + sums[r][c];
}

/* out[c][r] = bias[r] + sum over k of a[r * row + k * step] * in[c][k], or that is added; at most COLUMNS columns. */
void products(const float *a, size_t row, size_t step, int rows, int depth, const vec *const *in, const float *bias,
              vec *const *out, int columns, int add) {
    int most = step == 1 ? DEPTH : DEPTH_BACK; /* weights from as many rows, whose lines have to stay, too */
    for (int k = 0; k < depth; k += most) {
        int deep = depth - k < most ? depth - k : most, size;
        for (int r = 0; r < rows; r += size) {
            const vec *from[COLUMNS] = {in[0] + k, in[columns - 1] + k};
            vec *to[COLUMNS] = {out[0] + r, out[columns - 1] + r};
            size = rows_of_block(rows - r);
            switch (SIZE(size, columns)) {
#define CASE(rows, columns) \
    case SIZE(rows, columns): \
        block(rows, columns, a + r * row + k * step, row, step, from, deep, bias ? bias + r : NULL, add || k, to); \
        break;
                EACH_BLOCK(CASE)
#undef CASE
            }
        }
    }
}

/* Turns inputs around, in their place: then vector l of each LANES of them holds these inputs of image l. */
void turn(vec *in, int inputs) {
    for (int i = 0; i < inputs; i += LANES) transpose(in + i);
}

INLINE void weights_block(int rows, const vec *const *by_z, const vec *const *in, int groups, int unit, int at,
                          int inputs, int add, float *gradient) {
    vec sums[ROWS][COLUMNS];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) sums[r][0] = sums[r][1] = all(0.0f);
    for (int g = 0; g < groups; g++) {
        const vec *columns[COLUMNS] = {in[g] + at, in[g] + at + LANES};
        add_products(rows, COLUMNS, (const float *)(by_z[g] + unit), LANES, 1, columns, LANES, 0, sums);
    }
    size_t there = sizeof(float) * (inputs - at < COLUMNS * LANES ? inputs - at : COLUMNS * LANES);
    gradient += at;
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++, gradient += inputs) {
        vec before[COLUMNS] = {all(0.0f), all(0.0f)}, after[COLUMNS];
        if (add) memcpy(before, gradient, there);
        for (int c = 0; c < COLUMNS; c++) after[c] = before[c] + sums[r][c];
        if (there == sizeof(after)) memcpy(gradient, after, sizeof(after));
        else memcpy(gradient, after, there);
    }
}

/* The gradient by the weights of so many units, (units, inputs), from `unit` on: the sum over all images of so many
 * groups, given their gradients by the units and their turned inputs; or it is added to what is there. */
void weight_products(const vec *const *by_z, const vec *const *in, int groups, int unit, int units, int inputs, int add,
                     float *gradient) {
    for (int at = 0; at < inputs; at += COLUMNS * LANES)
        for (int u = 0, size; u < units; u += size) {
            float *to = gradient + (size_t)u * inputs;
            size = rows_of_block(units - u);
            if (size == 8) weights_block(8, by_z, in, groups, unit + u, at, inputs, add, to);
            if (size == 4) weights_block(4, by_z, in, groups, unit + u, at, inputs, add, to);
            if (size == 2) weights_block(2, by_z, in, groups, unit + u, at, inputs, add, to);
            if (size == 1) weights_block(1, by_z, in, groups, unit + u, at, inputs, add, to);
        }
}
