/* A segment of the network on groups of LANES images, forward and backward.
 *
 * Everything lies where `plan` has laid it out. A network of one segment needs the memory of one group per thread, which
 * stays in the core's second-level cache. On the way forward each layer leaves its value and its slope by z; on the way
 * back the gradient by z takes the slope's place. Separable convolutions run as the plain one that they multiply out to;
 * `factor` takes the gradient apart. */
#include "network.h"

/* Where row y of channel 0 begins in a bordered image of so many channels. */
INLINE vec *row_of(vec *image, int channels, int width, int y) {
    return image + (size_t)(y + 1) * channels * (width + 2) + 1;
}

/* Packs the convolutions' weights. */
void prepare(Workspace *w, const float *parameters, int backward) {
    const Network *n = w->network;
    for (int i = 0; i < n->count; i++) {
        const Layer *l = &n->layers[i];
        if (!convolutional(l)) break;
        const float *weights = parameters + l->parameters;
        if (l->kind == SEPARABLE) {
            float *full = w->weights + n->factors;
            const float *depthwise = weights, *pointwise = weights + (size_t)l->in * 9;
            for (int o = 0; o < l->out; o++)
                for (int k = 0; k < l->in * 9; k++)
                    full[(size_t)o * l->in * 9 + k] = pointwise[o * l->in + k / 9] * depthwise[k];
            weights = full;
        }
        pack(weights, l->in, l->out, 0, w->weights + l->packed);
        if (backward && i) pack(weights, l->in, l->out, 1, w->weights + l->flipped);
    }
}

/* Random slopes below 0, of so many units from `unit` of a layer on; they are drawn in training alone. */
static int is_random(const Scaled *f, const Pass *p) { return f->activation == RRELU && p->training; }

static void draw_slopes(const Workspace *w, int index, const Pass *p, size_t unit, vec *slopes, size_t count) {
    const Layer *l = &w->network->layers[index];
    uint32_t units = (uint32_t)((size_t)l->out * l->rows * l->columns);
    draw(layer_of_draw(p->key, p->step, index + 1), (uint32_t)w->first, units, (uint32_t)unit, slopes, count);
}

/* Where a layer's values are from `at` on, and what the way back needs. */
static Activated activated_at(Workspace *w, const Layer *l, const Pass *p, size_t at) {
    Activated to = {.value = w->memory + l->value + at};
    if (!p->backward) return to;
    to.slope = w->memory + l->slope + at;
    if (l->alpha.flat != (size_t)NOWHERE) to.by_alpha = w->memory + l->by_alpha + at;
    if (l->below_0.flat != (size_t)NOWHERE) to.by_below_0 = w->memory + l->by_below_0 + at;
    return to;
}

/* Whether a pool's largest argument is that of its largest value: then three of four values need not be known (pooling.c). */
static int pools_arguments(const Layer *l, const Pass *p) {
    const Scaled *f = &p->functions[l->function];
    return l->pooled && f->monotone && !is_random(f, p) && !l->residual;
}

/* Whether what wins in a pool is known before it is normalized: a scale and a monotone function turn the order at most. */
static int pools_early(const Layer *l, const Pass *p) { return l->picks && pools_arguments(l, p); }

/* What wins in rows 2 y and 2 y + 1. */
static void pool_early(Workspace *w, const Layer *l, const Pass *p, int y) {
    int wide = l->width / 2;
    size_t lower = (size_t)l->out * (l->width + 2), to = row_of(w->memory, l->out, wide, y) - w->memory;
    vec *turned = w->scratch + w->network->rows, *choices = turned + 2 * l->width;
    for (int c = 0; c < l->out; c++) {
        const vec *z = row_at(w->memory + l->z, l, c, 2 * y);
        size_t at = to + (size_t)c * (wide + 2);
        vec *choice = p->backward ? w->memory + l->choice + at : choices, *winner = w->memory + l->winner + at;
        float scale = p->parameters[l->learned.flat + c];
        if (scale > 0) {
            pool(z, lower, winner, choice, wide);
            continue;
        }
        const vec sign = all(scale < 0 ? -1.0f : 0.0f);
        for (int x = 0; x < 2 * l->width; x++) turned[x] = sign * (x < l->width ? z[x] : z[lower + x - l->width]);
        pool(turned, l->width, winner, choice, wide);
        pick(choice, z, lower, winner, wide);
    }
}

/* A convolution's own output, where it is to be normalized. */
static void convolve(Workspace *w, const Layer *l, const Pass *p) {
    Sums sums[MOST_CHANNELS];
    const float *bias = l->bias ? p->parameters + l->biases : NULL;
    int early = pools_early(l, p);
    for (int y = 0; y < l->height; y++) {
        convolve_row(w->memory + l->input + (size_t)y * l->in * (l->width + 2), l->in, l->width, w->weights + l->packed,
                     bias, row_at(w->memory + l->z, l, 0, y), l->out, l->width + 2);
        if (l->meets) leave_row(w, l, y, sums);
        if (early && y % 2) pool_early(w, l, p, y / 2);
    }
}

/* The values of what won. */
static void winners(Workspace *w, int index, const Pass *p) {
    const Layer *l = &w->network->layers[index];
    vec *value = w->memory + l->value, *row = w->scratch + w->network->rows;
    for (int y = 0; y < l->height / 2; y++)
        for (int c = 0; c < l->out; c++) {
            size_t at = row_of(value, l->out, l->width / 2, y) - value + (size_t)c * (l->width / 2 + 2);
            normalized_row(w, l, p, c, w->memory + l->winner + at, row, l->width / 2);
            activate(&p->functions[l->function], row, NULL, activated_at(w, l, p, at), l->width / 2);
        }
    for (int y = 0; p->saturation && y < l->height; y++)
        for (int c = 0; c < l->out; c++) {
            normalized_row(w, l, p, c, row_at(w->memory + l->z, l, c, y), row, l->width);
            count_saturated(&p->functions[l->function], row, l->width, p->saturation, index,
                            l->units + ((size_t)c * l->height + y) * l->width);
        }
}

INLINE void add(vec *to, const vec *terms, size_t count) {
    for (size_t x = 0; x < count; x++) to[x] += terms[x];
}

/* Adds row y of what a residual layer reads to its values, a row of all channels. */
static void add_incoming(const Workspace *w, const Layer *l, int y, vec *values, size_t pitch) {
    const vec *incoming = row_of(w->memory + l->input, l->in, l->width, y);
    for (int c = 0; l->residual && c < l->out; c++)
        add(values + c * pitch, incoming + (size_t)c * (l->width + 2), l->width);
}

/* Rows 2 y and 2 y + 1 of a convolution's arguments become row y of its values: the largest is activated, */
static void pool_arguments(Workspace *w, const Layer *l, const Pass *p, int y, const vec *z) {
    int wide = l->width / 2;
    size_t size = (size_t)l->out * l->width, at = row_of(w->memory, l->out, wide, y) - w->memory;
    for (int c = 0; c < l->out; c++, z += l->width, at += wide + 2) {
        Activated to = activated_at(w, l, p, at);
        pool(z, size, to.value, p->backward ? w->memory + l->choice + at : NULL, wide);
        activate(&p->functions[l->function], to.value, NULL, to, wide);
    }
}

/* or all are, and it is the largest value. `rows` are free. */
static void pool_values(Workspace *w, const Layer *l, const Pass *p, int y, const vec *z, const vec *drawn, vec *rows) {
    int wide = l->width / 2;
    size_t size = (size_t)l->out * l->width, at = row_of(w->memory, l->out, wide, y) - w->memory;
    const Activated needed = activated_at(w, l, p, at);
    Activated all = {.value = rows};
    if (needed.slope) all.slope = rows + 2 * size;
    if (needed.by_alpha) all.by_alpha = rows + 4 * size;
    if (needed.by_below_0) all.by_below_0 = rows + 6 * size;
    activate(&p->functions[l->function], z, drawn, all, 2 * size);
    for (int half = 0; half < 2; half++) add_incoming(w, l, 2 * y + half, rows + half * size, l->width);
    for (int c = 0; c < l->out; c++, at += wide + 2) {
        const size_t from = (size_t)c * l->width;
        const Activated to = activated_at(w, l, p, at);
        vec *choice = p->backward ? w->memory + l->choice + at : NULL, *own = row_at(w->memory + l->z, l, c, 2 * y);
        pool(all.value + from, size, to.value, choice, wide);
        if (to.slope) pick(choice, all.slope + from, size, to.slope, wide);
        if (to.by_alpha) pick(choice, all.by_alpha + from, size, to.by_alpha, wide);
        if (to.by_below_0) pick(choice, all.by_below_0 + from, size, to.by_below_0, wide);
        if (l->picks && choice) pick(choice, own, (size_t)l->out * (l->width + 2), w->memory + l->winner + at, wide);
    }
}

static void convolution(Workspace *w, int index, const Pass *p) {
    const Layer *l = &w->network->layers[index];
    const Scaled *f = &p->functions[l->function];
    const float *bias = l->bias ? p->parameters + l->biases : NULL;
    Saturation *saturation = p->saturation;
    size_t size = (size_t)l->out * l->width, pitch = l->width + 2;
    vec *z = w->scratch + w->network->rows, *drawn = is_random(f, p) ? z + 2 * size : NULL;
    if (saturation) saturation->valid = (unsigned)((1ull << w->valid) - 1);
    if (l->normalization) normalize(w, l, p);
    if (pools_early(l, p)) {
        winners(w, index, p);
        return;
    }
    for (int y = 0; y < l->height; y++) {
        size_t half = l->pooled ? y % 2 * size : 0;
        if (!l->normalization)
            convolve_row(w->memory + l->input + (size_t)y * l->in * pitch, l->in, l->width, w->weights + l->packed, bias,
                         z + half, l->out, l->width);
        for (int c = 0; c < l->out; c++) {
            size_t at = half + (size_t)c * l->width, unit = ((size_t)c * l->height + y) * l->width;
            if (l->normalization) normalized_row(w, l, p, c, row_at(w->memory + l->z, l, c, y), z + at, l->width);
            if (saturation) count_saturated(f, z + at, l->width, saturation, index, l->units + unit);
            if (drawn) draw_slopes(w, index, p, unit, drawn + at, l->width);
            if (l->pooled) continue;
            size_t to = row_at(w->memory, l, c, y) - w->memory;
            activate(f, z + at, drawn ? drawn + at : NULL, activated_at(w, l, p, to), l->width);
        }
        if (!l->pooled) add_incoming(w, l, y, row_at(w->memory + l->value, l, 0, y), pitch);
        if (!l->pooled || y % 2 == 0) continue;
        if (pools_arguments(l, p)) pool_arguments(w, l, p, y / 2, z);
        else pool_values(w, l, p, y / 2, z, drawn, z + 4 * size);
    }
}

/* What a small dense layer reads, or a large one on the way forward: flat (channel, row, column), if it was an image. */
static const vec *flat_input(Workspace *w, int index) {
    const Network *n = w->network;
    const Layer *l = &n->layers[index];
    if (!index || !convolutional(l - 1)) return w->memory + l->input;
    int height = l->height, width = l->width, channels = l->in / (height * width);
    vec *flat = l->large ? w->memory + l->input : w->scratch + n->rows;
    for (int c = 0; c < channels; c++)
        for (int y = 0; y < height; y++)
            memcpy(flat + ((size_t)c * height + y) * width,
                   row_of(w->memory + l[-1].value, channels, width, y) + (size_t)c * (width + 2), sizeof(vec) * width);
    return flat;
}

/* A dense layer's own output, so many groups; COLUMNS of them at a time where it is large. */
static void dense_products(Workspace *w, int groups, int index, const Pass *p) {
    const Layer *l = &w->network->layers[index];
    const float *weights = p->parameters + l->parameters, *bias = l->bias ? p->parameters + l->biases : NULL;
    for (int g = 0, columns; g < groups; g += columns) {
        columns = groups - g < COLUMNS || !l->large ? 1 : COLUMNS;
        const vec *in[COLUMNS];
        vec *out[COLUMNS];
        for (int c = 0; c < columns; c++) {
            in[c] = flat_input(w + g + c, index);
            out[c] = w[g + c].memory + (l->normalization ? l->z : l->value);
        }
        if (l->large)
            products(weights, l->in, 1, l->out, l->in, in, bias, out, columns, 0);
        else
            dense(in[0], l->in, weights, bias, out[0], l->out);
    }
}

/* What follows them. */
static void dense_values(Workspace *w, int index, const Pass *p) {
    const Layer *l = &w->network->layers[index];
    const Scaled *f = &p->functions[l->function];
    vec *value = w->memory + l->value, *drawn = is_random(f, p) ? w->scratch + w->network->rows : NULL;
    if (!l->activated) return;
    if (l->normalization) normalize(w, l, p);
    if (l->normalization) normalized_units(w, l, p, value);
    if (p->saturation) p->saturation->valid = (unsigned)((1ull << w->valid) - 1);
    if (p->saturation) count_saturated(f, value, l->out, p->saturation, index, l->units);
    if (drawn) draw_slopes(w, index, p, 0, drawn, l->out);
    activate(f, value, drawn, activated_at(w, l, p, 0), l->out);
    if (l->residual) add(value, w->memory + l->input, l->out);
}

/* A layer's own output. Convolutions that are not normalized have none: they go row by row to their values. */
static void begin(Workspace *w, int groups, int index, const Pass *p) {
    const Layer *l = &w->network->layers[index];
    if (l->kind == DENSE) dense_products(w, groups, index, p);
    for (int g = 0; g < groups; g++) {
        if (convolutional(l) && l->normalization) convolve(w + g, l, p);
        if (l->kind == DENSE && l->meets) leave_units(w + g, l);
    }
}

/* From there to its values. */
static void finish(Workspace *w, int groups, int index, const Pass *p) {
    int kind = w->network->layers[index].kind;
    for (int g = 0; g < groups; g++) {
        if (kind == DENSE) dense_values(w + g, index, p);
        else if (kind == RECURRENT) recurrent(w + g, index, p);
        else convolution(w + g, index, p);
    }
}

/* Through a segment, so many groups: all of them through each layer where that is a whole one, else one after the other.
 * The last segment leaves the outputs as the last layer's value. */
void forward(Workspace *w, int groups, const Segment *segment, const Pass *p) {
    const Network *n = w->network;
    int tail = segment->end < n->count && n->layers[segment->end].meets; /* its own output is this segment's */
    int together = segment->begin < segment->end && n->layers[segment->begin].whole;
    for (int g = 0, many; g < groups; g += many) {
        many = together ? groups : 1;
        for (int i = segment->begin; i < segment->end; i++) {
            if (!n->layers[i].meets) begin(w + g, many, i, p);
            finish(w + g, many, i, p);
        }
        if (tail && !n->layers[segment->end].whole) begin(w + g, many, segment->end, p);
    }
    if (tail && n->layers[segment->end].whole) begin(w, groups, segment->end, p);
}

/* Turns the slope of row y of a convolution's output into the gradient by z, given the gradient by that row. */
static void through_activation(Workspace *w, const Layer *l, int y, const vec *by_value, size_t by_pitch) {
    int half = l->pooled ? 2 : 1, width = l->width / half;
    size_t pitch = width + 2, at = row_of(w->memory, l->out, width, y) - w->memory;
    const vec *slope = w->memory + l->slope + at;
    for (int c = 0; c < l->out; c++) {
        through(w, l, at + c * pitch, by_value + c * by_pitch, width);
        if (!l->pooled || l->picks) continue;
        vec *upper = row_of(w->memory + l->gradient, l->out, l->width, 2 * y) + (size_t)c * (l->width + 2);
        vec *lower = upper + (size_t)l->out * (l->width + 2);
        unpool(slope + c * pitch, row_of(w->memory + l->choice, l->out, width, y) + c * pitch, upper, lower, width);
    }
}

/* The gradient by a separable layer's two factors from that by their product, both (out, in, 3, 3). */
static void factor(const Layer *l, const float *parameters, const float *full, float *gradient) {
    const float *depthwise = parameters, *pointwise = parameters + (size_t)l->in * 9;
    memset(gradient, 0, sizeof(float) * l->in * 9);
    for (int o = 0; o < l->out; o++)
        for (int i = 0; i < l->in; i++) {
            const float *by = full + ((size_t)o * l->in + i) * 9;
            float s = 0;
            for (int k = 0; k < 9; k++) {
                s += by[k] * depthwise[i * 9 + k];
                gradient[i * 9 + k] += by[k] * pointwise[o * l->in + i];
            }
            gradient[(size_t)l->in * 9 + (size_t)o * l->in + i] = s;
        }
}

/* Adds the gradient by a residual layer's values to that by row y of what it reads. */
static void add_through(const Workspace *w, const Layer *l, int y, vec *row, size_t pitch) {
    const int half = l->pooled ? 2 : 1, wide = l->width / half;
    size_t at = row_of(w->memory, l->out, wide, y / half) - w->memory;
    for (int c = 0; c < l->out; c++, at += wide + 2, row += pitch) {
        const vec *by_value = w->memory + l->through + at, *choice = w->memory + l->choice + at;
        if (!l->pooled) add(row, by_value, wide);
        for (int x = 0; l->pooled && x < wide; x++)
#pragma GCC unroll 2
            for (int k = 0; k < 2; k++)
                row[2 * x + k] += choose(equal(choice[x], all((float)(y % 2 * 2 + k))), by_value[x], all(0.0f));
    }
}

static void convolution_back(Workspace *w, int index, const float *parameters) {
    const Network *n = w->network;
    const Layer *l = &n->layers[index];
    float *gradient = w->gradient + l->own;
    vec *by_z = w->memory + (l->pooled ? l->gradient : l->slope), *sums = w->scratch + n->sums;
    size_t count = (size_t)l->in * l->out * 9, pitch = l->width + 2;
    weight_gradient(w->memory + l->input, by_z, l->in, l->out, l->height, l->width, sums);
    float *full = l->kind == SEPARABLE ? w->weights + n->factors + count : gradient;
    for (size_t k = 0; k < count; k++) full[k] = sum(sums[k]);
    if (l->kind == SEPARABLE) factor(l, parameters + l->parameters, full, gradient);
    if (l->bias) {
        float *by_bias = gradient + (l->biases - l->parameters);
        for (int c = 0; c < l->out; c++) {
            vec s = all(0.0f);
            for (int y = 0; y < l->height; y++) {
                vec part = all(0.0f);
                for (int x = 0; x < l->width; x++) part += row_of(by_z, l->out, l->width, y)[c * pitch + x];
                s += part;
            }
            by_bias[c] = sum(s);
        }
    }
    if (index == 0) return;
    const Layer *before = l - 1;
    size_t row_pitch = before->residual ? pitch : (size_t)l->width;
    for (int y = 0; y < l->height; y++) {
        vec *row = before->residual ? row_of(w->memory + before->through, l->in, l->width, y) : w->scratch + n->rows;
        convolve_row(by_z + (size_t)y * l->out * pitch, l->out, l->width, w->weights + l->flipped, NULL, row, l->in,
                     row_pitch);
        if (l->residual) add_through(w, l, y, row, row_pitch);
        through_activation(w, before, y, row, row_pitch);
    }
}

/* The gradient by what a dense layer reads becomes that by the z of the layer before. */
static void pass_back(Workspace *w, int index, vec *back) {
    const Layer *l = &w->network->layers[index], *before = l - 1;
    if (l->residual) add(back, w->memory + l->through, l->in);
    if (before->kind == RECURRENT)
        memcpy(w->memory + before->through, back, sizeof(vec) * before->out);
    else if (before->kind == DENSE)
        through(w, before, 0, back, before->out);
    else
        for (int y = 0; y < l->height; y++)
            through_activation(w, before, y, back + (size_t)y * l->width, (size_t)l->height * l->width);
}

static void small_back(Workspace *w, int index, const float *parameters) {
    const Layer *l = &w->network->layers[index];
    float *gradient = w->gradient + l->own, *by_bias = l->bias ? gradient + (l->biases - l->parameters) : NULL;
    const vec *in = flat_input(w, index);
    vec *back = index ? w->scratch + w->network->rows + l->in : NULL;
    dense_back(in, l->in, parameters + l->parameters, w->memory + l->slope, l->out, back, gradient, by_bias);
    if (index) pass_back(w, index, back);
}

/* From the gradient by the units of a large layer, so many groups, to that by what it reads, unless these are images.
 * It is left ready for weights_gradient: its inputs are turned. */
static void large_back(Workspace *w, int groups, int index, const float *parameters) {
    const Layer *l = &w->network->layers[index];
    for (int g = 0; g < groups; g++) turn(w[g].memory + l->input, l->in);
    for (int g = 0, columns; index && g < groups; g += columns) {
        columns = groups - g < COLUMNS ? 1 : COLUMNS;
        const vec *by_z[COLUMNS];
        vec *back[COLUMNS];
        for (int c = 0; c < columns; c++) {
            by_z[c] = w[g + c].memory + l->slope;
            back[c] = w->scratch + w->network->rows + (size_t)c * l->in;
        }
        products(parameters + l->parameters, 1, l->in, l->in, l->out, by_z, NULL, back, columns, 0);
        for (int c = 0; c < columns; c++) pass_back(w + g + c, index, back[c]);
    }
}

/* The gradient by the weights of so many units of a large layer, summed over all these groups; or adds it. */
void weights_gradient(Workspace *const *w, int groups, int layer, int unit, int units, int add, float *gradient) {
    const Layer *l = &w[0]->network->layers[layer];
    for (int begin = 0; begin < groups; begin += MOST_KEPT) {
        const vec *by_z[MOST_KEPT], *in[MOST_KEPT];
        int count = groups - begin < MOST_KEPT ? groups - begin : MOST_KEPT;
        for (int g = 0; g < count; g++) by_z[g] = w[begin + g]->memory + l->slope;
        for (int g = 0; g < count; g++) in[g] = w[begin + g]->memory + l->input;
        weight_products(by_z, in, count, unit, units, l->in, add || begin, gradient);
    }
}

/* The same by the bias. */
void bias_gradient(Workspace *const *w, int groups, int layer, int add, float *gradient) {
    const Layer *l = &w[0]->network->layers[layer];
    for (int u = 0; u < l->out; u++) {
        vec s = all(0.0f);
        for (int g = 0; g < groups; g++) s += w[g]->memory[l->slope + u];
        gradient[u] = (add ? gradient[u] : 0.0f) + sum(s);
    }
}

/* Back through a layer, so many groups: from the gradient by its values' z to that by the z of the layer before, and to a
 * group's own gradient by the parameters, summed over its lanes. */
static void back(Workspace *w, int groups, int index, const Pass *p) {
    const Layer *l = &w->network->layers[index];
    for (int g = 0; l->normalization && g < groups; g++) normalize_back(w + g, l, p);
    if (l->large) large_back(w, groups, index, p->parameters);
    for (Workspace *end = w + groups; w < end; w++) {
        float *gradient = w->gradient + l->own;
        if (convolutional(l)) convolution_back(w, index, p->parameters);
        else if (l->kind == RECURRENT) recurrent_back(w, index, p);
        else if (!l->large) small_back(w, index, p->parameters);
        else if (!l->whole) weights_gradient(&w, 1, index, 0, l->out, 0, gradient);
        if (l->large && !l->whole && l->bias) bias_gradient(&w, 1, index, 0, gradient + (l->biases - l->parameters));
    }
}

/* Back through a segment, as forward; from the gradient by the last layer's z (its slope). */
void backward(Workspace *w, int groups, const Segment *segment, const Pass *p) {
    const Network *n = w->network;
    int tail = segment->end < n->count && n->layers[segment->end].meets;
    int together = segment->begin < segment->end && n->layers[segment->begin].whole;
    if (tail && n->layers[segment->end].whole) back(w, groups, segment->end, p);
    for (int g = 0, many; g < groups; g += many) {
        many = together ? groups : 1;
        if (tail && !n->layers[segment->end].whole) back(w + g, many, segment->end, p);
        for (int i = segment->end - 1; i >= segment->begin; i--) {
            if (!n->layers[i].meets) back(w + g, many, i, p);
            for (int k = g; n->layers[i].meets && k < g + many; k++) leave_sums_back(w + k, &n->layers[i]);
        }
    }
}
