/* A segment of the network on groups of LANES images, forward and backward.
 *
 * Everything lies where `plan` has laid it out. A network of one segment needs the memory of one group a thread, which
 * stays in the core's second-level cache. On
 * the way forward each layer leaves its value and its slope by z; on the way back the gradient by z takes the slope's
 * place. Separable convolutions run as the plain one that they multiply out to; `factor` takes the gradient apart. */
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
        if (l->kind == DENSE) break;
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

static void convolution(Workspace *w, int index, const float *bias, const Scaled *f, int backward,
                        Saturation *saturation) {
    const Layer *l = &w->network->layers[index];
    const vec *image = w->memory + l->input;
    vec *value = w->memory + l->value, *slope = backward ? w->memory + l->slope : NULL;
    /* rows go straight to their place, but where they are pooled: then a pair of z is kept beside it, and of f(z) */
    size_t size = (size_t)l->out * l->width, pitch = l->pooled ? (size_t)l->width : (size_t)l->width + 2;
    vec *pair = w->scratch + w->network->rows, *values = pair + 2 * size;
    if (saturation) saturation->valid = (unsigned)((1ull << w->valid) - 1);
    int wide = l->pooled ? l->width / 2 : l->width, monotone = is_monotone(f->activation); /* pooling.c */
    for (int y = 0; y < l->height; y++) {
        const vec *above = image + (size_t)y * l->in * (l->width + 2);
        size_t half = y % 2 * size;
        vec *row = l->pooled ? pair + half : row_of(value, l->out, l->width, y);
        convolve_row(above, l->in, l->width, w->weights + l->packed, bias, row, l->out, pitch);
        for (int c = 0; saturation && c < l->out; c++)
            count_saturated(f, row + c * pitch, l->width, saturation, index,
                            l->units + ((size_t)c * l->height + y) * l->width);
        if (l->pooled && !monotone) activate(f, row, values + half, NULL, size);
        if (l->pooled && y % 2 == 0) continue;
        int to_y = l->pooled ? y / 2 : y;
        vec *to = row_of(value, l->out, wide, to_y), *to_slope = slope ? row_of(slope, l->out, wide, to_y) : NULL;
        vec *choice = slope ? row_of(w->memory + l->choice, l->out, wide, to_y) : NULL;
        const vec *keys = monotone ? pair : values;
        for (int c = 0; c < l->out; c++) {
            size_t at = (size_t)c * (wide + 2), from = (size_t)c * l->width;
            if (l->pooled) pool(keys + from, pair + from, size, to + at, choice ? choice + at : NULL, wide);
            activate(f, to + at, to + at, slope ? to_slope + at : NULL, wide);
        }
    }
}

/* What a small dense layer reads, or a large one on the way forward: flat (channel, row, column), if it was an image. */
static const vec *flat_input(Workspace *w, int index) {
    const Network *n = w->network;
    const Layer *l = &n->layers[index];
    if (!index || l[-1].kind == DENSE) return w->memory + l->input;
    int height = l->height, width = l->width, channels = l->in / (height * width);
    vec *flat = l->large ? w->memory + l->input : w->scratch + n->rows;
    for (int c = 0; c < channels; c++)
        for (int y = 0; y < height; y++)
            memcpy(flat + ((size_t)c * height + y) * width,
                   row_of(w->memory + l[-1].value, channels, width, y) + (size_t)c * (width + 2), sizeof(vec) * width);
    return flat;
}

/* Through a dense layer, so many groups; COLUMNS of them at a time where it is large. */
static void dense_forward(Workspace *w, int groups, int index, const float *parameters, const Scaled *f, int backward,
                          Saturation *saturation) {
    const Layer *l = &w->network->layers[index];
    const float *weights = parameters + l->parameters, *bias = l->bias ? parameters + l->biases : NULL;
    for (int g = 0, columns; g < groups; g += columns) {
        columns = groups - g < COLUMNS || !l->large ? 1 : COLUMNS;
        const vec *in[COLUMNS];
        vec *out[COLUMNS];
        for (int c = 0; c < columns; c++) {
            in[c] = flat_input(w + g + c, index);
            out[c] = w[g + c].memory + l->value;
        }
        if (l->large)
            products(weights, l->in, 1, l->out, l->in, in, bias, out, columns);
        else
            dense(in[0], l->in, weights, bias, out[0], l->out);
        for (int c = 0; c < columns && l->activated; c++) {
            if (saturation) saturation->valid = (unsigned)((1ull << w[g + c].valid) - 1);
            if (saturation) count_saturated(f, out[c], l->out, saturation, index, l->units);
            activate(f, out[c], out[c], backward ? w[g + c].memory + l->slope : NULL, l->out);
        }
    }
}

/* Through a segment, so many groups. The last one leaves the logits as the last layer's value. */
void forward(Workspace *w, int groups, const Segment *segment, const float *parameters, const Scaled *f, int backward,
             Saturation *saturation) {
    const Layer *layers = w->network->layers;
    if (layers[segment->begin].whole) {
        dense_forward(w, groups, segment->begin, parameters, f, backward, saturation);
        return;
    }
    for (int g = 0; g < groups; g++)
        for (int i = segment->begin; i < segment->end; i++) {
            const Layer *l = &layers[i];
            if (l->kind == DENSE)
                dense_forward(w + g, 1, i, parameters, f, backward, saturation);
            else
                convolution(w + g, i, l->bias ? parameters + l->biases : NULL, f, backward, saturation);
        }
}

/* Turns the slope of row y of a convolution's output into the gradient by z, given the gradient by that row. */
static void through_activation(Workspace *w, const Layer *l, int y, const vec *by_value, size_t by_pitch) {
    int half = l->pooled ? 2 : 1, width = l->width / half;
    size_t pitch = width + 2;
    vec *slope = row_of(w->memory + l->slope, l->out, width, y);
    for (int c = 0; c < l->out; c++) {
        for (int x = 0; x < width; x++) slope[c * pitch + x] *= by_value[c * by_pitch + x];
        if (!l->pooled) continue;
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
    vec *row = w->scratch + n->rows;
    for (int y = 0; y < l->height; y++) {
        convolve_row(by_z + (size_t)y * l->out * pitch, l->out, l->width, w->weights + l->flipped, NULL, row, l->in,
                     l->width);
        through_activation(w, &n->layers[index - 1], y, row, l->width);
    }
}

/* The gradient by what a dense layer reads becomes that by the z of the layer before. */
static void pass_back(Workspace *w, int index, const vec *back) {
    const Layer *l = &w->network->layers[index], *before = l - 1;
    vec *slope = w->memory + before->slope;
    if (before->kind == DENSE)
        for (int j = 0; j < before->out; j++) slope[j] *= back[j];
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
        products(parameters + l->parameters, 1, l->in, l->in, l->out, by_z, NULL, back, columns);
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

/* Back through a segment, so many groups: from the gradient by the last layer's z (its slope) to that by the z of the layer
 * before the segment, and to a group's own gradient by the parameters, summed over its lanes. */
void backward(Workspace *w, int groups, const Segment *segment, const float *parameters) {
    const Layer *layers = w->network->layers;
    if (layers[segment->begin].whole) {
        large_back(w, groups, segment->begin, parameters);
        return;
    }
    for (Workspace *end = w + groups; w < end; w++)
        for (int i = segment->end - 1; i >= segment->begin; i--) {
            if (layers[i].kind != DENSE) {
                convolution_back(w, i, parameters);
            } else if (layers[i].large) {
                const Layer *l = &layers[i];
                float *gradient = w->gradient + l->own;
                large_back(w, 1, i, parameters);
                weights_gradient(&w, 1, i, 0, l->out, 0, gradient);
                if (l->bias) bias_gradient(&w, 1, i, 0, gradient + (l->biases - l->parameters));
            } else {
                small_back(w, i, parameters);
            }
        }
}
