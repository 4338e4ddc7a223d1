/* Normalization between a layer and its activation, of one group of images: trainers/layers/normalization.py.
 *
 * What is normalized lies at the layer's z, one vector a unit and as large as its output before a pooling. It stays for the
 * way back, on which the gradient by what comes out becomes that by what goes in.
 * Statistics are sums in double precision. Those of a batch need all its groups: each leaves its sums (`partials`) before
 * they meet, and all add them up in the same order. Lanes without an image have no part in them. */
#include <math.h>

#include "network.h"

/* What a group leaves, each for all channels: sums about a centre near the mean, the centre, and the sums of squares about
 * it; on the way back the sums of the gradient, and of it times the normalized. */
enum { SUM, CENTRE, SQUARES, OF_GRADIENT, OF_PRODUCT };

#define left_of(l, of_group, what) ((of_group) + (l)->partials + (size_t)(what) * (l)->out)

INLINE double lanes_sum(wide a) {
    double result = 0;
    for (int l = 0; l < LANES; l++) result += a[l];
    return result;
}

/* 1 in the lanes that hold an image, 0 in the others. */
INLINE vec held(const Workspace *w) {
    vec lanes;
    for (int l = 0; l < LANES; l++) lanes[l] = l < w->valid ? 1.0f : 0.0f;
    return lanes;
}

INLINE size_t units_of(const Layer *l) { return (size_t)l->rows * l->columns; } /* of a channel */

/* The sum of a channel's squares about a centre. */
INLINE wide squares_about(vec centre, vec *z, const Layer *l, int c) {
    wide total = widened(all(0.0f));
    for (int y = 0; y < l->rows; y++) {
        const vec *row = row_at(z, l, c, y);
        vec s = all(0.0f);
        for (int x = 0; x < l->columns; x++) s = fma_(row[x] - centre, row[x] - centre, s);
        total += widened(s);
    }
    return total;
}

INLINE wide sum_of(vec *z, const Layer *l, int c) {
    wide total = widened(all(0.0f));
    for (int y = 0; y < l->rows; y++) {
        const vec *row = row_at(z, l, c, y);
        vec s = all(0.0f);
        for (int x = 0; x < l->columns; x++) s += row[x];
        total += widened(s);
    }
    return total;
}

/* Sums of a about one centre, and of it times b about another. */
INLINE void two_sums(const vec *a, vec of_a, const vec *b, vec of_b, int count, wide *first, wide *second) {
    vec s[4], q[4]; /* enough of them to hide the latency */
    int x = 0;
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++) s[k] = q[k] = all(0.0f);
    for (; x + 4 <= count; x += 4)
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) {
            vec off = a[x + k] - of_a;
            s[k] += off;
            q[k] = fma_(off, b[x + k] - of_b, q[k]);
        }
    for (; x < count; x++) {
        vec off = a[x] - of_a;
        s[0] += off;
        q[0] = fma_(off, b[x] - of_b, q[0]);
    }
    *first += widened((s[0] + s[1]) + (s[2] + s[3]));
    *second += widened((q[0] + q[1]) + (q[2] + q[3]));
}

/* Row y of a channel, the first of which gives the centre. */
INLINE void add_row(const Workspace *w, const Layer *l, int c, int y, Sums *sums) {
    const vec *row = row_at(w->memory + l->z, l, c, y);
    if (y == 0) {
        vec s = all(0.0f);
        for (int x = 0; x < l->columns; x++) s += row[x];
        float centre = (float)(lanes_sum(widened(s * held(w))) / (w->valid * (double)l->columns));
        *sums = (Sums){widened(all(0.0f)), widened(all(0.0f)), all(centre)};
    }
    two_sums(row, sums->centre, row, sums->centre, l->columns, &sums->sum, &sums->squares);
}

INLINE void leave(Workspace *w, const Layer *l, int c, const Sums *sums) {
    const wide lanes = widened(held(w));
    left_of(l, w->partials, SUM)[c] = lanes_sum(sums->sum * lanes);
    left_of(l, w->partials, CENTRE)[c] = sums->centre[0];
    left_of(l, w->partials, SQUARES)[c] = lanes_sum(sums->squares * lanes);
}

/* Row y of a convolution that was just computed; after the last one the sums are left. */
void leave_row(Workspace *w, const Layer *l, int y, Sums *sums) {
    for (int c = 0; c < l->out; c++) add_row(w, l, c, y, &sums[c]);
    for (int c = 0; y + 1 == l->rows && c < l->out; c++) leave(w, l, c, &sums[c]);
}

/* Leaves so many units' sums. */
INLINE void leave_block(double *left, vec sums, int units) {
    for (int u = 0; u < units; u++) left[u] = sums[u];
}

/* A dense layer: LANES units at a time, turned, so that sums over images are sums of vectors. */
void leave_units(Workspace *w, const Layer *l) {
    for (int u = 0; u < l->out; u += LANES) {
        int units = l->out - u < LANES ? l->out - u : LANES;
        vec z[LANES], centre = all(0.0f), sum = centre, squares = centre;
        memcpy(z, w->memory + l->z + u, sizeof(z));
        transpose(z);
        for (int i = 0; i < w->valid; i++) centre += z[i];
        centre *= all(1.0f / w->valid);
        for (int i = 0; i < w->valid; i++) {
            vec off = z[i] - centre;
            sum += off;
            squares = fma_(off, off, squares);
        }
        leave_block(left_of(l, w->partials, SUM) + u, sum, units);
        leave_block(left_of(l, w->partials, CENTRE) + u, centre, units);
        leave_block(left_of(l, w->partials, SQUARES) + u, squares, units);
    }
}

/* How many numbers a channel has in a group. */
INLINE double of_group(const Layer *l, const Pass *p, size_t group) {
    int64_t images = p->images - (int64_t)group * LANES;
    return (images < LANES ? images : LANES) * (double)units_of(l);
}

/* The channels' means and variances over a batch, and how many numbers they are of. */
static double statistics(const Network *n, const Layer *l, const Pass *p, double *mean, double *variance) {
    double count = p->images * (double)units_of(l);
    size_t groups = (p->images + LANES - 1) / LANES;
    for (int c = 0; c < l->out; c++) mean[c] = variance[c] = 0;
    for (size_t g = 0; g < groups; g++) {
        const double *here = p->partials + g * n->partials, *sum = left_of(l, here, SUM), *centre = left_of(l, here, CENTRE);
        const double many = of_group(l, p, g);
        for (int c = 0; c < l->out; c++) mean[c] += sum[c] + many * centre[c];
    }
    for (int c = 0; c < l->out; c++) mean[c] /= count;
    for (size_t g = 0; g < groups; g++) {
        const double *here = p->partials + g * n->partials, *sum = left_of(l, here, SUM), *centre = left_of(l, here, CENTRE);
        const double *squares = left_of(l, here, SQUARES), many = of_group(l, p, g);
        for (int c = 0; c < l->out; c++) {
            double off = centre[c] - mean[c];
            variance[c] += squares[c] + off * (2 * sum[c] + many * off);
        }
    }
    for (int c = 0; c < l->out; c++) variance[c] /= count;
    return count;
}

/* By its channels' statistics, the batch's or the running ones. */
static void by_batch(Workspace *w, const Layer *l, const Pass *p) {
    double mean[MOST_UNITS], variance[MOST_UNITS], count = 0;
    float inverse[MOST_UNITS], *running = p->buffers + l->buffers, *running_variance = running + l->out;
    if (l->meets) count = statistics(w->network, l, p, mean, variance);
    for (int c = 0; !l->meets && c < l->out; c++) {
        mean[c] = running[c];
        variance[c] = running_variance[c];
    }
    if (p->training && w->number == 0) {
        const double unbiased = count / (count > 2 ? count - 1 : 1);
        for (int c = 0; c < l->out; c++) {
            running[c] += (float)MOMENTUM_OF_STATISTICS * ((float)mean[c] - running[c]);
            running_variance[c] += (float)MOMENTUM_OF_STATISTICS * ((float)(variance[c] * unbiased) - running_variance[c]);
        }
    }
    for (int c = 0; c < l->out; c++) inverse[c] = (float)(1 / sqrt(variance[c] + EPSILON_OF_VARIANCE));
    for (int c = 0; c < l->out; c++) w->memory[l->inverse + c] = all(inverse[c]);
    for (int c = 0; c < l->out; c++) w->memory[l->mean + c] = all((float)mean[c]);
}

/* By the statistics of each image over all channels. */
static void by_layer(Workspace *w, const Layer *l) {
    vec *z = w->memory + l->z, inverse;
    const double count = l->out * (double)units_of(l);
    wide sum = widened(all(0.0f)), squares = sum;
    for (int c = 0; c < l->out; c++) sum += sum_of(z, l, c);
    vec mean = narrowed(sum / count);
    for (int c = 0; c < l->out; c++) squares += squares_about(mean, z, l, c);
    for (int k = 0; k < LANES; k++) inverse[k] = (float)(1 / sqrt(squares[k] / count + EPSILON_OF_VARIANCE));
    w->memory[l->inverse] = inverse;
    w->memory[l->mean] = mean;
}

/* Leaves the statistics, for `normalized_row`. */
void normalize(Workspace *w, const Layer *l, const Pass *p) {
    if (l->normalization == BATCH_NORMALIZATION) by_batch(w, l, p);
    if (l->normalization == LAYER_NORMALIZATION) by_layer(w, l);
}

/* Where the channels' scales begin among what a layer learns; the shifts follow. */
INLINE size_t scales(const Layer *l) { return l->normalization == DYNAMIC_TANH_NORMALIZATION; }

/* So many of a channel's z, as the activation gets them. */
void normalized_row(const Workspace *w, const Layer *l, const Pass *p, int channel, const vec *z, vec *to, int count) {
    const float *learned = p->parameters + l->learned.flat;
    const vec scale = all(learned[scales(l) + channel]), shift = all(learned[scales(l) + l->out + channel]);
    if (l->normalization == DYNAMIC_TANH_NORMALIZATION) {
        Scaled f = hyperbolic(*learned);
        activate(&f, z, NULL, (Activated){to}, count);
        for (int x = 0; x < count; x++) to[x] = fma_(to[x], scale, shift);
        return;
    }
    const size_t at = l->normalization == BATCH_NORMALIZATION ? channel : 0;
    const vec inverse = w->memory[l->inverse + at], mean = w->memory[l->mean + at];
    for (int x = 0; x < count; x++) to[x] = fma_((z[x] - mean) * inverse, scale, shift);
}

/* All units of a dense layer. */
void normalized_units(const Workspace *w, const Layer *l, const Pass *p, vec *to) {
    for (int u = 0; u < l->out; u++) normalized_row(w, l, p, u, w->memory + l->z + u, to + u, 1);
}

/* Where the gradient by what comes out lies, and becomes that by what goes in. */
INLINE vec *gradient_of(Workspace *w, const Layer *l) { return w->memory + (l->pooled ? l->gradient : l->slope); }

/* Where row y of a channel begins in what is as large as a layer's values. */
INLINE vec *value_at(vec *output, const Layer *l, int c, int y) {
    return l->pooled ? output + ((size_t)(y + 1) * l->out + c) * (l->width / 2 + 2) + 1 : row_at(output, l, c, y);
}

/* A channel's sums of the gradient, and of it times the normalized. All but what won in a pool has none. */
static void sums_back(Workspace *w, const Layer *l, int c, wide *of_gradient, wide *of_product) {
    const size_t at = l->normalization == BATCH_NORMALIZATION ? c : 0;
    const vec mean = w->memory[l->mean + at], inverse = w->memory[l->inverse + at];
    vec *gradient = w->memory + l->slope, *z = w->memory + (l->picks ? l->winner : l->z);
    int half = l->pooled ? 2 : 1;
    *of_gradient = *of_product = widened(all(0.0f));
    for (int y = 0; y < l->rows / half; y++)
        two_sums(value_at(gradient, l, c, y), all(0.0f), value_at(z, l, c, y), mean, l->columns / half, of_gradient,
                 of_product);
    *of_product *= widened(inverse);
}

/* They are as well what its scale and shift have for gradients. */
static void leave_gradient(Workspace *w, const Layer *l, int c, double by_scale, double by_shift) {
    float *gradient = w->gradient + l->learned.own + scales(l) + c;
    gradient[0] = (float)by_scale;
    gradient[l->out] = (float)by_shift;
}

/* The same of LANES units at a time. */
static void leave_units_back(Workspace *w, const Layer *l) {
    double *of_gradient = left_of(l, w->partials, OF_GRADIENT), *of_product = left_of(l, w->partials, OF_PRODUCT);
    for (int u = 0; u < l->out; u += LANES) {
        int units = l->out - u < LANES ? l->out - u : LANES;
        const vec *z = w->memory + l->z + u, *mean = w->memory + l->mean + u, *inverse = w->memory + l->inverse + u;
        vec g[LANES], products[LANES];
        memcpy(g, w->memory + l->slope + u, sizeof(g));
        for (int k = 0; k < LANES; k++) products[k] = g[k] * ((z[k] - mean[k]) * inverse[k]);
        transpose(g);
        transpose(products);
#pragma GCC unroll 4
        for (int many = LANES / 2; many; many /= 2)
#pragma GCC unroll 8
            for (int k = 0; k < many; k++) {
                g[k] += g[k + many];
                products[k] += products[k + many];
            }
        leave_block(of_gradient + u, *g, units);
        leave_block(of_product + u, *products, units);
    }
    for (int u = 0; u < l->out; u++) leave_gradient(w, l, u, of_product[u], of_gradient[u]);
}

void leave_sums_back(Workspace *w, const Layer *l) {
    if (l->kind == DENSE) leave_units_back(w, l);
    for (int c = 0; l->kind != DENSE && c < l->out; c++) {
        wide of_gradient, of_product;
        sums_back(w, l, c, &of_gradient, &of_product);
        double by_shift = lanes_sum(of_gradient), by_scale = lanes_sum(of_product);
        left_of(l, w->partials, OF_GRADIENT)[c] = by_shift;
        left_of(l, w->partials, OF_PRODUCT)[c] = by_scale;
        leave_gradient(w, l, c, by_scale, by_shift);
    }
}

/* A channel's gradient times the first, less the second and the normalized times the third; where it picks, what did not win
 * has no gradient yet. */
INLINE void back_by(vec times, vec mean, vec product, Workspace *w, const Layer *l, int c) {
    const size_t at = l->normalization == BATCH_NORMALIZATION ? c : 0;
    const vec centre = w->memory[l->mean + at], rate = product * w->memory[l->inverse + at];
    vec *gradient = w->memory + l->slope, *incoming = w->memory + l->z;
    for (int y = 0; !l->picks && y < l->rows; y++) {
        vec *g = row_at(gradient, l, c, y);
        const vec *z = row_at(incoming, l, c, y);
        for (int x = 0; x < l->columns; x++) g[x] = fma_(g[x], times, all(0.0f) - fma_(z[x] - centre, rate, mean));
    }
    for (int y = 0; l->picks && y < l->rows; y++) {
        const vec *g = value_at(gradient, l, c, y / 2), *choice = value_at(w->memory + l->choice, l, c, y / 2);
        vec *z = row_at(incoming, l, c, y);
        for (int x = 0; x < l->columns / 2; x++)
#pragma GCC unroll 2
            for (int k = 0; k < 2; k++) {
                vec won = choose(equal(choice[x], all((float)(y % 2 * 2 + k))), g[x], all(0.0f));
                z[2 * x + k] = fma_(won, times, all(0.0f) - fma_(z[2 * x + k] - centre, rate, mean));
            }
    }
}

static void back_by_batch(Workspace *w, const Layer *l, const Pass *p) {
    const vec lanes = held(w);
    const float *scale = p->parameters + l->learned.flat;
    const double count = p->images * (double)units_of(l);
    double of_gradient[MOST_UNITS], of_product[MOST_UNITS];
    float mean[MOST_UNITS], product[MOST_UNITS];
    size_t groups = (p->images + LANES - 1) / LANES;
    for (int c = 0; c < l->out; c++) of_gradient[c] = of_product[c] = 0;
    for (size_t g = 0; g < groups; g++) {
        const double *here = p->partials + g * w->network->partials;
        for (int c = 0; c < l->out; c++) of_gradient[c] += left_of(l, here, OF_GRADIENT)[c];
        for (int c = 0; c < l->out; c++) of_product[c] += left_of(l, here, OF_PRODUCT)[c];
    }
    for (int c = 0; c < l->out; c++) mean[c] = (float)(of_gradient[c] / count);
    for (int c = 0; c < l->out; c++) product[c] = (float)(of_product[c] / count);
    for (int c = 0; c < l->out; c++) {
        vec times = all(scale[c]) * w->memory[l->inverse + c] * lanes;
        back_by(times, times * all(mean[c]), times * all(product[c]), w, l, c);
    }
}

static void back_by_layer(Workspace *w, const Layer *l, const Pass *p) {
    const float *scale = p->parameters + l->learned.flat;
    const vec inverse = w->memory[l->inverse];
    const double count = l->out * (double)units_of(l);
    wide mean = widened(all(0.0f)), product = mean;
    for (int c = 0; c < l->out; c++) {
        wide of_gradient, of_product;
        sums_back(w, l, c, &of_gradient, &of_product);
        leave_gradient(w, l, c, lanes_sum(of_product), lanes_sum(of_gradient));
        mean += of_gradient * (double)scale[c];
        product += of_product * (double)scale[c];
    }
    vec of_mean = narrowed(mean / count) * inverse, of_product = narrowed(product / count) * inverse;
    for (int c = 0; c < l->out; c++) back_by(all(scale[c]) * inverse, of_mean, of_product, w, l, c);
}

static void back_by_tanh(Workspace *w, const Layer *l, const Pass *p) {
    const float *learned = p->parameters + l->learned.flat, *scale = learned + 1;
    const Scaled f = hyperbolic(*learned);
    vec *gradient = gradient_of(w, l), *incoming = w->memory + l->z;
    vec *value = w->scratch + w->network->rows, *slope = value + l->columns;
    wide by_inner = widened(all(0.0f));
    for (int c = 0; c < l->out; c++) {
        wide by_scale = widened(all(0.0f)), by_shift = by_scale;
        const vec outer = all(scale[c]), inner = all(*learned);
        for (int y = 0; y < l->rows; y++) {
            vec *g = row_at(gradient, l, c, y), *z = row_at(incoming, l, c, y), s[3] = {all(0.0f), all(0.0f), all(0.0f)};
            activate(&f, z, NULL, (Activated){value, slope}, l->columns);
            for (int x = 0; x < l->columns; x++) {
                vec by_argument = g[x] * outer * slope[x];
                s[0] = fma_(g[x], value[x], s[0]);
                s[1] += g[x];
                s[2] = fma_(by_argument, z[x], s[2]);
                g[x] = by_argument * inner;
            }
            by_scale += widened(s[0]);
            by_shift += widened(s[1]);
            by_inner += widened(s[2]);
        }
        leave_gradient(w, l, c, lanes_sum(by_scale), lanes_sum(by_shift));
    }
    w->gradient[l->learned.own] = (float)lanes_sum(by_inner);
}

void normalize_back(Workspace *w, const Layer *l, const Pass *p) {
    if (l->normalization == BATCH_NORMALIZATION) back_by_batch(w, l, p);
    if (l->normalization == LAYER_NORMALIZATION) back_by_layer(w, l, p);
    if (l->normalization == DYNAMIC_TANH_NORMALIZATION) back_by_tanh(w, l, p);
}
