/* A network as data, and what it takes to run it on a group of LANES images.
 *
 * The convolutional part keeps its images as rows: row y of an image of c channels is c pieces of (width + 2) vectors,
 * and there is a row above and one below, so that the border of zeros that the padding asks for lies in place. */
#ifndef NETWORK_H
#define NETWORK_H

#include <stddef.h>

#include "lanes.h"
#include "tables.h" /* from Python's tables: Call, the kinds of layers, activations, scalings and penalties */

#define EXPORT __attribute__((visibility("default")))

enum { MOST_LAYERS = 128, MOST_CHANNELS = 64, MOST_UNITS = 1024, MOST_PIXELS = 4096 };
enum { MOST_SMALL = 512 };        /* weights of a dense layer that runs in a simple way, group by group (dense.c) */
enum { MOST_IN_ONE_GO = 1 << 16 }; /* weights of all larger ones, behind convolutions, that are still in one segment */
enum { MOST_KEPT = 32 };           /* groups that are summed up in one go */
enum { MOST_GATES = 1 << 20 };     /* z of a recurrent layer, in all its steps: it keeps three times as many vectors */
enum { LINE = 16 };                /* floats in a line of the cache */
enum { COLUMNS = 2 };              /* groups, or vectors of inputs, in a block of matrices.c */

typedef struct {
    size_t flat, own; /* in the flat vector, and in the gradient that a group has for its own */
} Place;

enum { NOWHERE = -1 };

typedef struct {
    int kind;          /* PLAIN, SEPARABLE, DENSE or RECURRENT: a pooling is part of the convolution before it */
    int pooled, bias, activated;
    int large; /* a dense layer for matrices.c, */
    int whole; /*   whose gradient is summed over all groups of a batch, not kept for each */
    int normalization, residual;
    int meets; /* whether it is normalized by the statistics of a batch, for which its groups have to meet */
    int picks; /* whether it is pooled and normalized by statistics: then the way back has what won in place of all z */
    int cell, steps, scaled_gates; /* of a recurrent layer; */
    int gates, activations; /*   z of a step, and what is activated in it */
    int in, out;       /* channels, or units; what a step of a recurrent layer reads, and its units */
    int height, width; /* of its input; 1 and 1 after a dense layer */
    int rows, columns; /* of its output, before the pooling; 1 and 1 of a dense layer */
    int function;      /* which of the network's functions it has */
    Place learned;     /* what its normalization learns, and then its own alpha and slope; */
    Place alpha, below_0; /*   those that its activation has, which may be an earlier layer's, or NOWHERE */
    size_t parameters; /* where its parameters begin in the flat vector, */
    size_t biases;     /*   and those of its bias */
    size_t own;        /*   in the gradient that a group has for its own, which leaves out the whole ones; */
    size_t units;      /* where its units begin among all activated ones */
    size_t packed;     /* offsets in floats: its weights as the kernels read them; */
    size_t flipped;    /*   the same for the way back */
    size_t input;      /* offsets in vectors: what it reads; */
    size_t value;      /*   alpha f(z / alpha), after the pooling; */
    size_t slope;      /*   its derivative by z, which on the way back becomes the gradient by z; */
    size_t choice;     /*   which of four was the largest (pooled layers); */
    size_t gradient;   /*   the gradient by z before the pooling (pooled layers); */
    size_t z;          /*   what is normalized, or what a recurrent layer activates; */
    size_t winner;     /*   and of it what won in its pool (where it picks), */
    size_t mean;       /*   its mean, of the layer or of each channel, */
    size_t inverse;    /*   and 1 / its deviation; */
    size_t through;    /*   the gradient by its value (residual and recurrent layers), in a convolution's value's place; */
    size_t hidden, inner; /* a recurrent layer's h of all steps, and its c (an lstm) or U_n h (a gru); */
    size_t by_alpha, by_below_0; /* derivatives of its value */
    size_t buffers;    /* where its running statistics begin: the channels' means, then their variances */
    size_t partials;   /* where a group leaves its sums for those of a batch (normalization.c) */
} Layer;

/* Layers that a group of images passes in one go before the next group does. */
typedef struct {
    int begin, end;
    int together; /* all groups of a batch have to be there: a team meets before it, and on the way back after it */
} Segment;

typedef struct {
    int count, channels, height, width, classes;
    Layer layers[MOST_LAYERS];
    int segment_count;
    Segment segments[MOST_LAYERS];
    int functions, learns;    /* how many, and whether any alpha or slope is learned */
    int bordered;             /* whether the images have borders: where a convolution comes first */
    size_t parameters, units; /* sizes: the flat vector, activated units, */
    size_t own;               /*   the gradient that a group has for its own, */
    size_t buffers, partials; /*   the running statistics, and what a group leaves for those of a batch, */
    size_t vectors;           /*   a group's memory, */
    size_t scratch, floats;   /*   a thread's scratch, and its packed weights */
    size_t rows;              /* offset in the scratch of rows, or of a dense layer's input and the gradient by it; */
    size_t sums;              /*   of a layer's weight gradients */
    size_t factors;           /* offset in floats of a separable layer's product, and of its gradient */
} Network;

typedef struct {
    int64_t number; /* from 1 on */
    int optimizer;
    float size, correction, inverse, epsilon; /* inverse is 1 / correction */
    float l1, l2;                             /* the penalties' strength */
    float shrink, factor;                     /* what parameters and gradients are multiplied by */
} Step;

typedef struct {
    int activation;
    vec inner, outer, steep; /* outer * f(inner * z), whose derivative is steep * f'(inner * z) */
    vec rate, reach;         /* its exponential is 2^(rate |z|), or of its square, for what is up to reach */
    vec flat;                /* beyond this |z| the derivative is 0 */
    vec below_0;             /* the slope there, of those that have one */
    double alpha, signed_inner;
    int mirrored, rescaled;
    int monotone;            /* where f increases (or stays), the largest z of a pool is also the largest f(z) */
    int still;               /* alpha changes nothing */
    float low, high, from, to; /* saturated: below the first, above the second, or between the last two */
} Scaled;

/* Where an activation leaves its values, and their derivatives by z and by what is learned, each of which may be NULL. */
typedef struct {
    vec *value, *slope, *by_alpha, *by_below_0;
} Activated;

typedef struct {
    int64_t *often;       /* one per layer: saturated (unit, image) pairs */
    unsigned char *alive; /* one per unit: whether any image did not saturate it */
    unsigned valid;       /* the lanes that hold images */
} Saturation;

/* A member, and what is to be done with a batch of it or, where `images` are less, with so many in one go. */
typedef struct {
    const float *parameters;
    float *buffers;
    const Scaled *functions;
    const double *partials; /* of all groups, one after the other */
    int64_t images;
    int backward, training;
    uint32_t key; /* of its random slopes */
    int64_t step;
    Saturation *saturation; /* or NULL */
} Pass;

/* A group of images on its way through the network. */
typedef struct {
    const Network *network;
    vec *memory;     /* its own: values and slopes; */
    vec *scratch;    /*   its thread's, as are */
    float *weights;  /*   the packed weights */
    float *gradient; /* where the gradient of its parameters goes, */
    double *partials; /* and its part of the statistics of a batch */
    int number;      /* of the groups that are on their way at a time, */
    int64_t first;   /*   and the number of its first image in the batch */
    int labels[LANES];
    int valid; /* how many lanes hold images */
} Workspace;

/* Of a channel that is to be normalized: sums about a centre. */
typedef struct {
    wide sum, squares;
    vec centre;
} Sums;

/* Where row y of a layer's channel begins, or its unit, in what is as large as its output before a pooling. */
INLINE vec *row_at(vec *output, const Layer *l, int channel, int y) {
    if (l->kind == DENSE) return output + channel;
    return output + ((size_t)(y + 1) * l->out + channel) * (l->width + 2) + 1;
}

/* Dense and recurrent layers read whole blocks of LANES by COLUMNS * LANES (matrices.c). */
INLINE size_t padded(int units) { return ((size_t)units + LANES - 1) / LANES * LANES; }

INLINE int convolutional(const Layer *l) { return l->kind == PLAIN || l->kind == SEPARABLE; }

/* The sum of products. */
INLINE float dot(const vec *a, const vec *b, size_t count) {
    vec s[4]; /* enough of them to hide the latency */
    size_t x = 0;
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++) s[k] = all(0.0f);
    for (; x + 4 <= count; x += 4)
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) s[k] = fma_(a[x + k], b[x + k], s[k]);
    for (; x < count; x++) s[0] = fma_(a[x], b[x], s[0]);
    return sum((s[0] + s[1]) + (s[2] + s[3]));
}

/* Turns the slopes of so many of a layer's values, from `at` on, into the gradient by their z, given that by them. That is
 * also what the layer's activation learns by, and what a residual layer's input needs. */
INLINE void through(Workspace *w, const Layer *l, size_t at, const vec *by_value, size_t count) {
    vec *slope = w->memory + l->slope + at;
    const size_t nowhere = (size_t)NOWHERE;
    if (l->alpha.flat != nowhere) w->gradient[l->alpha.own] += dot(w->memory + l->by_alpha + at, by_value, count);
    if (l->below_0.flat != nowhere) w->gradient[l->below_0.own] += dot(w->memory + l->by_below_0 + at, by_value, count);
    vec *kept = w->memory + l->through + at;
    if (l->residual && kept != by_value) memcpy(kept, by_value, sizeof(vec) * count);
    for (size_t x = 0; x < count; x++) slope[x] *= by_value[x];
}

/* threads.c */
typedef struct {
    int waiting, round;
} Barrier;

void meet(Barrier *barrier, int size);
int in_parallel(int threads, void (*work)(void *shared, int thread, int threads), void *shared);

/* plan.c */
int plan(Network *network, const Call *call);

/* network.c */
void prepare(Workspace *w, const float *parameters, int backward);
void forward(Workspace *w, int groups, const Segment *segment, const Pass *p);
void backward(Workspace *w, int groups, const Segment *segment, const Pass *p);
void weights_gradient(Workspace *const *w, int groups, int layer, int unit, int units, int add, float *gradient);
void bias_gradient(Workspace *const *w, int groups, int layer, int add, float *gradient);

/* images.c */
void gather(Workspace *w, const Call *call, const int64_t *order, int count);

/* activations.c */
Scaled scaled(const Choices *choices, const Numbers *numbers, double alpha, double below_0);
void activate(const Scaled *f, const vec *z, const vec *drawn, Activated to, size_t count);
Scaled hyperbolic(double inner);
Scaled logistic(const Scaled *f, int scaled_as_f);
uint32_t layer_of_draw(uint32_t key, int64_t step, int depth);
void draw(uint32_t of_layer, uint32_t first, uint32_t units, uint32_t unit, vec *slopes, size_t count);
void count_saturated(const Scaled *f, const vec *z, size_t count, Saturation *s, int layer, size_t unit);

/* normalization.c */
void leave_row(Workspace *w, const Layer *l, int y, Sums *sums);
void leave_units(Workspace *w, const Layer *l);
void normalize(Workspace *w, const Layer *l, const Pass *p);
void normalized_row(const Workspace *w, const Layer *l, const Pass *p, int channel, const vec *z, vec *to, int count);
void normalized_units(const Workspace *w, const Layer *l, const Pass *p, vec *to);
void leave_sums_back(Workspace *w, const Layer *l);
void normalize_back(Workspace *w, const Layer *l, const Pass *p);

/* convolution.c */
void pack(const float *weights, int in, int out, int flipped, float *packed);
void convolve_row(const vec *above, int in, int width, const float *packed, const float *bias, vec *row, int out,
                  size_t pitch);
void weight_gradient(const vec *image, const vec *gradient, int in, int out, int height, int width, vec *sums);

/* pooling.c */
void pool(const vec *upper, size_t lower, vec *largest, vec *choice, int width);
void pick(const vec *choice, const vec *upper, size_t lower, vec *chosen, int width);
void unpool(const vec *gradient, const vec *choice, vec *upper, vec *lower, int width);

/* dense.c */
void dense(const vec *in, int count, const float *weights, const float *bias, vec *out, int units);
void dense_back(const vec *in, int count, const float *weights, const vec *gradient, int units, vec *back,
                float *weight_gradient, float *bias_gradient);
void score(int loss, const vec *outputs, int classes, const int *labels, int valid, float scale, vec *gradient,
           double *sum, int64_t *hits);

/* matrices.c */
void products(const float *a, size_t row, size_t step, int rows, int depth, const vec *const *in, const float *bias,
              vec *const *out, int columns, int add);
void turn(vec *in, int inputs);
void weight_products(const vec *const *by_z, const vec *const *in, int groups, int unit, int units, int inputs, int add,
                     float *gradient);

/* recurrent.c */
void recurrent(Workspace *w, int layer, const Pass *p);
void recurrent_back(Workspace *w, int layer, const Pass *p);

/* optimizer.c */
Step step_of(const Choices *choices, const Numbers *numbers, int64_t number, double rate);
void advance(const Step *step, size_t count, float *parameters, float *first, float *second, const float *gradient);
double squares(const Step *step, size_t count, const float *parameters, const float *gradient);

#endif
