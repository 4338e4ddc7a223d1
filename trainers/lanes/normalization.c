/* Normalization between a layer and its activation, of one group of images: trainers/layers/normalization.py.
 *
 * What is normalized lies at the layer's z, one vector a unit and as large as its output before a pooling. The normalized
 * takes its place, and stays for the way back, on which the gradient by what comes out becomes that by what goes in.
 * Statistics are sums in double precision. Those of a batch need all its groups: each leaves its sums (`partials`) before
 * they meet, and all add them up in the same order. Lanes without an image have no part in them. */
#include <math.h>

#include "network.h"

/* A group leaves for each channel a sum, a centre near the mean and the squares' sum about it; on the way back the sums of
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

void leave_sums(Workspace *w, const Layer *l) {
    vec *z = w->memory + l->z;
    const wide lanes = widened(held(w));
    double *left = w->partials + l->partials;
    for (int c = 0; c < l->out; c++, left += OF_CHANNEL) {
        left[0] = lanes_sum(sum_of(z, l, c) * lanes);
        float centre = (float)(left[0] / (w->valid * (double)units_of(l)));
        left[1] = centre;
        left[2] = lanes_sum(squares_about(all(centre), z, l, c) * lanes);
    }
}

/* A channel's mean and variance over a batch, and how many numbers they are of. */
static double statistics(const Network *n, const Layer *l, const Pass *p, int c, double *mean, double *variance) {
    double count = p->images * (double)units_of(l), sum = 0, squares = 0;
    const double *left = p->partials + l->partials + (size_t)c * OF_CHANNEL;
    size_t groups = (p->images + LANES - 1) / LANES;
    for (size_t g = 0; g < groups; g++) sum += left[g * n->partials];
    *mean = sum / count;
    for (size_t g = 0; g < groups; g++) {
        const double *of_group = left + g * n->partials;
        int64_t images = p->images - (int64_t)g * LANES;
        double held = (images < LANES ? images : LANES) * (double)units_of(l), off = of_group[1] - *mean;
        squares += of_group[2] + off * (2 * (of_group[0] - held * of_group[1]) + held * off);
    }
    *variance = squares / count;
    return count;
}

static void scale_by(vec mean, vec inverse, vec *z, const Layer *l, int c) {
    for (int y = 0; y < l->rows; y++) {
        vec *row = row_at(z, l, c, y);
        for (int x = 0; x < l->columns; x++) row[x] = (row[x] - mean) * inverse;
    }
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
        vec inverse = all((float)(1 / sqrt(variance + EPSILON_OF_VARIANCE)));
        w->memory[l->inverse + c] = inverse;
        scale_by(all((float)mean), inverse, w->memory + l->z, l, c);
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
    for (int c = 0; c < l->out; c++) scale_by(mean, inverse, z, l, c);
}

void normalize(Workspace *w, const Layer *l, const Pass *p) {
    if (l->normalization == BATCH_NORMALIZATION) by_batch(w, l, p);
    if (l->normalization == LAYER_NORMALIZATION) by_layer(w, l);
}

/* Where the channels' scales begin among what a layer learns; the shifts follow. */
INLINE size_t scales(const Layer *l) { return l->normalization == DYNAMIC_TANH_NORMALIZATION; }

/* Row y of a channel, or a unit, as the activation gets it. */
void normalized_row(const Workspace *w, const Layer *l, const Pass *p, int channel, int y, vec *to) {
    const float *learned = p->parameters + l->learned.flat;
    vec scale = all(learned[scales(l) + channel]), shift = all(learned[scales(l) + l->out + channel]);
    const vec *row = row_at(w->memory + l->z, l, channel, y);
    if (l->normalization == DYNAMIC_TANH_NORMALIZATION) {
        Scaled f = hyperbolic(*learned);
        activate(&f, row, NULL, to, NULL, l->columns);
        row = to;
    }
    for (int x = 0; x < l->columns; x++) to[x] = fma_(row[x], scale, shift);
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
