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

static void convolution(Workspace *w, int index, const vec *image, const float *bias, const Scaled *f, int backward,
                        Saturation *saturation) {
    const Layer *l = &w->network->layers[index];
    vec *value = w->memory + l->value, *slope = backward ? w->memory + l->slope : NULL;
    /* rows go straight to their place, but where they are pooled: then a pair of z is kept beside it, and of f(z) */
    size_t size = (size_t)l->out * l->width, pitch = l->pooled ? (size_t)l->width : (size_t)l->width + 2;
    vec *pair = w->scratch + w->network->rows, *values = pair + 2 * size;
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

/* What a dense layer reads, flat: (channel, row, column), if it is an image. */
static const vec *flat_input(Workspace *w, int index) {
    const Network *n = w->network;
    const Layer *l = &n->layers[index];
    if (index && l[-1].kind == DENSE) return w->memory + l->input;
    int height = l->height, width = l->width, channels = l->in / (height * width);
    vec *flat = w->scratch + n->rows;
    for (int c = 0; c < channels; c++)
        for (int y = 0; y < height; y++)
            memcpy(flat + ((size_t)c * height + y) * width,
                   row_of(w->memory + l->input, channels, width, y) + (size_t)c * (width + 2), sizeof(vec) * width);
    return flat;
}

static void forward_group(Workspace *w, const Segment *segment, const float *parameters, const Scaled *f, int backward,
                          Saturation *saturation) {
    const Network *n = w->network;
    if (saturation) saturation->valid = (unsigned)((1ull << w->valid) - 1);
    for (int i = segment->begin; i < segment->end; i++) {
        const Layer *l = &n->layers[i];
        const float *bias = l->bias ? parameters + l->biases : NULL;
        if (l->kind != DENSE) {
            convolution(w, i, w->memory + l->input, bias, f, backward, saturation);
            continue;
        }
        vec *value = w->memory + l->value;
        dense(flat_input(w, i), l->in, parameters + l->parameters, bias, value, l->out);
        if (!l->activated) continue;
        if (saturation) count_saturated(f, value, l->out, saturation, i, l->units);
        activate(f, value, value, backward ? w->memory + l->slope : NULL, l->out);
    }
}

/* Through a segment, so many groups. The last one leaves the logits as the last layer's value. */
void forward(Workspace *w, int groups, const Segment *segment, const float *parameters, const Scaled *f, int backward,
             Saturation *saturation) {
    for (int g = 0; g < groups; g++) forward_group(w + g, segment, parameters, f, backward, saturation);
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
    float *gradient = w->gradient;
    vec *by_z = w->memory + (l->pooled ? l->gradient : l->slope), *sums = w->scratch + n->sums;
    size_t count = (size_t)l->in * l->out * 9, pitch = l->width + 2;
    weight_gradient(w->memory + l->input, by_z, l->in, l->out, l->height, l->width, sums);
    float *full = l->kind == SEPARABLE ? w->weights + n->factors + count : gradient + l->parameters;
    for (size_t k = 0; k < count; k++) full[k] = sum(sums[k]);
    if (l->kind == SEPARABLE) factor(l, parameters + l->parameters, full, gradient + l->parameters);
    if (l->bias) {
        float *by_bias = gradient + l->biases;
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

static void backward_group(Workspace *w, const Segment *segment, const float *parameters) {
    const Network *n = w->network;
    for (int i = segment->end - 1; i >= segment->begin; i--) {
        const Layer *l = &n->layers[i], *before = i ? l - 1 : NULL;
        if (l->kind != DENSE) {
            convolution_back(w, i, parameters);
            continue;
        }
        const vec *in = flat_input(w, i);
        vec *back = i ? w->scratch + n->rows + l->in : NULL;
        float *by_bias = l->bias ? w->gradient + l->biases : NULL;
        dense_back(in, l->in, parameters + l->parameters, w->memory + l->slope, l->out, back,
                   w->gradient + l->parameters, by_bias);
        if (!before) break;
        if (before->kind == DENSE) {
            vec *slope = w->memory + before->slope;
            for (int j = 0; j < before->out; j++) slope[j] *= back[j];
        } else {
            for (int y = 0; y < l->height; y++)
                through_activation(w, before, y, back + (size_t)y * l->width, (size_t)l->height * l->width);
        }
    }
}

/* Back through a segment, so many groups: from the gradient by the last layer's z (its slope) to that by its parameters,
 * summed over the lanes of each group, and by the z of the layer before the segment. */
void backward(Workspace *w, int groups, const Segment *segment, const float *parameters) {
    for (int g = 0; g < groups; g++) backward_group(w + g, segment, parameters);
}
