/* Large dense layers: products of matrices, with blocks of their sums in registers.
 *
 * Forward and back a lane is an image: ROWS units (or inputs) by COLUMNS groups of sums, and a weight is read once for
 * all groups of the block. In the gradient by the weights a lane is an input: the inputs are transposed, the gradients by
 * the units are read one by one, and the sums over all images stay in registers: none runs across lanes. */
#include "network.h"

enum { ROWS = 8, DEPTH = 256 }; /* DEPTH inputs of a block stay in the first-level cache */

/* Adds to sums[r][c] the sum over k of a[r * row + k * step] * b[c][k * pitch]. */
INLINE void add_products(int rows, int columns, const float *a, size_t row, size_t step, const vec *const *b,
                         size_t pitch, int depth, vec (*sums)[COLUMNS]) {
    for (int k = 0; k < depth; k++, a += step) {
        vec v[COLUMNS];
#pragma GCC unroll 2
        for (int c = 0; c < columns; c++) v[c] = loaded(b[c][k * pitch]);
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
                  const float *bias, int first, vec *const *out) {
    vec sums[ROWS][COLUMNS];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
        for (int c = 0; c < columns; c++) sums[r][c] = all(0.0f);
    add_products(rows, columns, a, row, step, in, 1, depth, sums);
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
        for (int c = 0; c < columns; c++)
            out[c][r] = (first ? all(bias ? bias[r] : 0.0f) : out[c][r]) + sums[r][c];
}

/* out[c][r] = bias[r] + sum over k of a[r * row + k * step] * in[c][k]; at most COLUMNS columns. */
void products(const float *a, size_t row, size_t step, int rows, int depth, const vec *const *in, const float *bias,
              vec *const *out, int columns) {
    for (int k = 0; k < depth; k += DEPTH) {
        int deep = depth - k < DEPTH ? depth - k : DEPTH, size;
        for (int r = 0; r < rows; r += size) {
            const vec *from[COLUMNS] = {in[0] + k, in[columns - 1] + k};
            vec *to[COLUMNS] = {out[0] + r, out[columns - 1] + r};
            size = rows_of_block(rows - r);
            switch (SIZE(size, columns)) {
#define CASE(rows, columns) \
    case SIZE(rows, columns): \
        block(rows, columns, a + r * row + k * step, row, step, from, deep, bias ? bias + r : NULL, !k, to); \
        break;
                EACH_BLOCK(CASE)
#undef CASE
            }
        }
    }
}

/* COLUMNS * LANES inputs of a group, or as many as there are and zeros, with inputs in the lanes: (LANES, COLUMNS). */
void turn(const vec *in, int inputs, vec *panel) {
    for (int c = 0; c < COLUMNS; c++) {
        vec a[LANES];
        int there = inputs - c * LANES;
#pragma GCC unroll 16
        for (int l = 0; l < LANES; l++) a[l] = l < there ? in[c * LANES + l] : all(0.0f);
        transpose(a);
#pragma GCC unroll 16
        for (int l = 0; l < LANES; l++) panel[l * COLUMNS + c] = a[l];
    }
}

/* Adds to `rows` rows of the gradient (or begins them) that of 2 * LANES inputs, or of so many as there are. */
INLINE void weights_block(int rows, const float *const *by_z, int groups, const vec *panel, int inputs, int add,
                          float *gradient, size_t row) {
    vec sums[ROWS][COLUMNS];
    const vec *columns[COLUMNS] = {panel, panel + 1};
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) sums[r][0] = sums[r][1] = all(0.0f);
    for (int g = 0; g < groups; g++) {
        add_products(rows, COLUMNS, by_z[g], LANES, 1, columns, COLUMNS, LANES, sums);
        columns[0] += COLUMNS * LANES;
        columns[1] += COLUMNS * LANES;
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++, gradient += row) {
        float *to = gradient;
        vec before[COLUMNS] = {all(0.0f), all(0.0f)};
        if (add) memcpy(before, to, sizeof(float) * inputs);
        sums[r][0] += before[0];
        sums[r][1] += before[1];
        if (inputs == COLUMNS * LANES) {
            memcpy(to, &sums[r][0], sizeof(vec));
            memcpy(to + LANES, &sums[r][1], sizeof(vec));
        } else {
            vec last[COLUMNS] = {sums[r][0], sums[r][1]};
            memcpy(to, last, sizeof(float) * inputs);
        }
    }
}

/* The gradient (units, inputs) from `panel`, inputs in lanes, (groups, LANES, COLUMNS), and the gradients by the units, images in
 * lanes. `inputs` of it are there, at most COLUMNS * LANES; its rows are so many inputs long. */
void weight_products(const vec *const *by_z, int units, int groups, const vec *panel, int inputs, int add,
                     float *gradient, size_t row) {
    const float *from[MOST_KEPT];
    int size;
    for (int u = 0; u < units; u += size) {
        for (int g = 0; g < groups; g++) from[g] = (const float *)(by_z[g] + u);
        size = rows_of_block(units - u);
        float *to = gradient + u * row;
        if (size == 8) weights_block(8, from, groups, panel, inputs, add, to, row);
        if (size == 4) weights_block(4, from, groups, panel, inputs, add, to, row);
        if (size == 2) weights_block(2, from, groups, panel, inputs, add, to, row);
        if (size == 1) weights_block(1, from, groups, panel, inputs, add, to, row);
    }
}
