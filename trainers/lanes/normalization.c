/* Normalization between a layer and its activation, of one group of images: trainers/layers/normalization.py.
 *
 * What is normalized lies at the layer's z, one vector a unit and as large as its output before a pooling. The normalized
 * takes its place, and stays for the way back, on which the gradient by what comes out becomes that by what goes in.
 * Statistics are sums in double precision. Those of a batch need all its groups: each leaves its sums (`partials`) before
 * they meet, and all add them up in the same order. Lanes without an image have no part in them. */
#include <math.h>

#include "network.h"

/* A group leaves for each channel a sum and a sum of squares about a centre near the mean, with the centre between; on the way back the sums of
 * the gradient, and of it times the normalized. */
enum { OF_CHANNEL = 3, OF_CHANNEL_BACK = 2 };

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

/* Row y of a channel, the first of which gives the centre. */
INLINE void add_row(const Workspace *w, const Layer *l, int c, int y, Sums *sums) {
    const vec *row = row_at(w->memory + l->z, l, c, y);
    vec s = all(0.0f), q = s;
    if (y == 0) {
        for (int x = 0; x < l->columns; x++) s += row[x];
        float centre = (float)(lanes_sum(widened(s * held(w))) / (w->valid * (double)l->columns));
        *sums = (Sums){widened(all(0.0f)), widened(all(0.0f)), all(centre)};
        s = all(0.0f);
    }
    for (int x = 0; x < l->columns; x++) {
        vec off = row[x] - sums->centre;
        s += off;
        q = fma_(off, off, q);
    }
    sums->sum += widened(s);
    sums->squares += widened(q);
}

INLINE void leave(Workspace *w, const Layer *l, int c, const Sums *sums) {
    const wide lanes = widened(held(w));
    double *left = w->partials + l->partials + (size_t)c * OF_CHANNEL;
    left[0] = lanes_sum(sums->sum * lanes);
    left[1] = sums->centre[0];
    left[2] = lanes_sum(sums->squares * lanes);
}

/* Row y of a convolution that was just computed; after the last one the sums are left. */
void leave_row(Workspace *w, const Layer *l, int y, Sums *sums) {
    for (int c = 0; c < l->out; c++) add_row(w, l, c, y, &sums[c]);
    for (int c = 0; y + 1 == l->rows && c < l->out; c++) leave(w, l, c, &sums[c]);
}

/* A dense layer. */
void leave_units(Workspace *w, const Layer *l) {
    for (int c = 0; c < l->out; c++) {
        Sums sums;
        add_row(w, l, c, 0, &sums);
        leave(w, l, c, &sums);
    }
}

/* How many numbers a channel has in a group. */
INLINE double of_group(const Layer *l, const Pass *p, size_t group) {
    int64_t images = p->images - (int64_t)group * LANES;
    return (images < LANES ? images : LANES) * (double)units_of(l);
}

/* A channel's mean and variance over a batch, and how many numbers they are of. */
static double statistics(const Network *n, const Layer *l, const Pass *p, int c, double *mean, double *variance) {
    double count = p->images * (double)units_of(l), sum = 0, squares = 0;
    const double *left = p->partials + l->partials + (size_t)c * OF_CHANNEL;
    size_t groups = (p->images + LANES - 1) / LANES;
    for (size_t g = 0; g < groups; g++) sum += left[g * n->partials] + of_group(l, p, g) * left[g * n->partials + 1];
    *mean = sum / count;
    for (size_t g = 0; g < groups; g++) {
        const double *here = left + g * n->partials;
        double off = here[1] - *mean;
        squares += here[2] + off * (2 * here[0] + of_group(l, p, g) * off);
    }
    *variance = squares / count;
    return count;
}

/* By its channels' statistics, the batch's or the running ones. */
static void by_batch(Workspace *w, const Layer *l, const Pass *p) {
    for (int c = 0; c < l->out; c++) {
        double mean, variance, count = 0;
        float *running = p->buffers + l->buffers + c, *running_variance = running + l->out;
        if (l->meets) {
            count = statistics(w->network, l, p, c, &mean, &variance);
        } else {
            mean = *running;
            variance = *running_variance;
        }
        if (p->training && w->number == 0) {
            float unbiased = (float)(variance * (count / (count > 2 ? count - 1 : 1)));
            *running += (float)MOMENTUM_OF_STATISTICS * ((float)mean - *running);
            *running_variance += (float)MOMENTUM_OF_STATISTICS * (unbiased - *running_variance);
        }
        w->memory[l->inverse + c] = all((float)(1 / sqrt(variance + EPSILON_OF_VARIANCE)));
        w->memory[l->mean + c] = all((float)mean);
    }
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

/* Row y of a channel, or a unit, as the activation gets it; the normalized takes its place. */
void normalized_row(const Workspace *w, const Layer *l, const Pass *p, int channel, int y, vec *to) {
    const float *learned = p->parameters + l->learned.flat;
    vec scale = all(learned[scales(l) + channel]), shift = all(learned[scales(l) + l->out + channel]);
    vec *row = row_at(w->memory + l->z, l, channel, y);
    if (l->normalization == DYNAMIC_TANH_NORMALIZATION) {
        Scaled f = hyperbolic(*learned);
        activate(&f, row, NULL, to, NULL, l->columns);
        for (int x = 0; x < l->columns; x++) to[x] = fma_(to[x], scale, shift);
        return;
    }
    size_t at = l->normalization == BATCH_NORMALIZATION ? channel : 0;
    vec inverse = w->memory[l->inverse + at], mean = w->memory[l->mean + at];
    for (int x = 0; x < l->columns; x++) {
        vec normalized = (row[x] - mean) * inverse;
        row[x] = normalized;
        to[x] = fma_(normalized, scale, shift);
    }
}

/* Where the gradient by what comes out lies, and becomes that by what goes in. */
INLINE vec *gradient_of(Workspace *w, const Layer *l) { return w->memory + (l->pooled ? l->gradient : l->slope); }

/* A channel's sums of the gradient, and of it times the normalized. */
static void sums_back(Workspace *w, const Layer *l, int c, wide *of_gradient, wide *of_product) {
    vec *gradient = gradient_of(w, l), *normalized = w->memory + l->z;
    *of_gradient = *of_product = widened(all(0.0f));
    for (int y = 0; y < l->rows; y++) {
        const vec *g = row_at(gradient, l, c, y), *z = row_at(normalized, l, c, y);
        vec a = all(0.0f), b = a;
        for (int x = 0; x < l->columns; x++) {
            a += g[x];
            b = fma_(g[x], z[x], b);
        }
        *of_gradient += widened(a);
        *of_product += widened(b);
    }
}

/* They are as well what its scale and shift have for gradients. */
static void leave_gradient(Workspace *w, const Layer *l, int c, double by_scale, double by_shift) {
    float *gradient = w->gradient + l->learned.own + scales(l) + c;
    gradient[0] = (float)by_scale;
    gradient[l->out] = (float)by_shift;
}

void leave_sums_back(Workspace *w, const Layer *l) {
    double *left = w->partials + l->partials + (size_t)OF_CHANNEL * l->out;
    for (int c = 0; c < l->out; c++, left += OF_CHANNEL_BACK) {
        wide of_gradient, of_product;
        sums_back(w, l, c, &of_gradient, &of_product);
        left[0] = lanes_sum(of_gradient);
        left[1] = lanes_sum(of_product);
        leave_gradient(w, l, c, left[1], left[0]);
    }
}

/* A channel's gradient times the first, less the second and the normalized times the third. */
static void back_by(vec times, vec mean, vec product, Workspace *w, const Layer *l, int c) {
    vec *gradient = gradient_of(w, l), *normalized = w->memory + l->z;
    for (int y = 0; y < l->rows; y++) {
        vec *g = row_at(gradient, l, c, y);
        const vec *z = row_at(normalized, l, c, y);
        for (int x = 0; x < l->columns; x++) g[x] = fma_(g[x], times, all(0.0f) - mean) - z[x] * product;
    }
}

static void back_by_batch(Workspace *w, const Layer *l, const Pass *p) {
    const vec lanes = held(w);
    const float *scale = p->parameters + l->learned.flat;
    const double count = p->images * (double)units_of(l);
    const double *left = p->partials + l->partials + (size_t)OF_CHANNEL * l->out;
    size_t groups = (p->images + LANES - 1) / LANES;
    for (int c = 0; c < l->out; c++, left += OF_CHANNEL_BACK) {
        double of_gradient = 0, of_product = 0;
        for (size_t g = 0; g < groups; g++) {
            of_gradient += left[g * w->network->partials];
            of_product += left[g * w->network->partials + 1];
        }
        vec times = all(scale[c]) * w->memory[l->inverse + c] * lanes;
        back_by(times, times * all((float)(of_gradient / count)), times * all((float)(of_product / count)), w, l, c);
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
            activate(&f, z, NULL, value, slope, l->columns);
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
