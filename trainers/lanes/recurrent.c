/* A recurrent layer: its cell over the steps of a sequence, and backpropagation through time.
 *
 * The products with the inputs wait for no step: they are computed first, two steps at a time, and what is left to each step
 * is the product with the state and the cell. On the way back the gradients by z of all steps are kept, and those by the
 * weights are sums over all steps and images that stay in registers (matrices.c).
 *
 * What a step activates lies side by side: in an rnn the argument of h; in an lstm those of i, f, g, o, and c, the argument
 * of the last one; in a gru those of r, z and n. Values take the arguments' places, which in an rnn are those of h. In front of
 * the first step's h and c are zeros. */
#include "network.h"

_Static_assert(CELL_COUNT == 3, "there must be a step for each cell of tables.py");

/* A recurrent layer on its way: its weights, and its functions. */
typedef struct {
    Workspace *w;
    const Layer *l;
    const Scaled *f; /* of the cell, */
    Scaled s;        /*   and of its gates */
    const float *weights, *recurrent, *bias;
    vec *drawn; /* the random slopes of a step, or NULL */
} Cell;

static Cell cell_of(Workspace *w, int index, const Pass *p) {
    const Layer *l = &w->network->layers[index];
    const float *weights = p->parameters + l->parameters, *bias = l->bias ? p->parameters + l->biases : NULL;
    const Scaled *f = &p->functions[l->function];
    Cell c = {w, l, f, logistic(f, l->scaled_gates), weights, weights + (size_t)l->gates * l->in, bias, NULL};
    if (f->activation == RRELU && p->training) c.drawn = w->scratch + w->network->rows;
    return c;
}

INLINE vec *input_of(const Cell *c, int t) { return c->w->memory + c->l->input + (size_t)t * padded(c->l->in); }
INLINE vec *state_of(const Cell *c, int t) { return c->w->memory + c->l->hidden + (size_t)t * padded(c->l->out); }
INLINE vec *z_of(const Cell *c, int t) { return c->w->memory + c->l->z + (size_t)t * c->l->activations; }
INLINE vec *slope_of(const Cell *c, int t) { return c->w->memory + c->l->slope + (size_t)t * c->l->activations; }
INLINE vec *inner_of(const Cell *c, int t) { return c->w->memory + c->l->inner + (size_t)t * c->l->out; }

/* So many of a step's arguments, from `at` on, become values. */
static void activated(const Cell *c, const Pass *p, const Scaled *f, int t, int at, int count) {
    const Layer *l = c->l;
    const size_t from = (size_t)t * l->activations + at, nowhere = (size_t)NOWHERE;
    Activated to = {.value = c->w->memory + l->z + from};
    if (p->backward) {
        to.slope = c->w->memory + l->slope + from;
        if (l->alpha.flat != nowhere && (f == c->f || l->scaled_gates)) to.by_alpha = c->w->memory + l->by_alpha + from;
        if (l->below_0.flat != nowhere && f == c->f) to.by_below_0 = c->w->memory + l->by_below_0 + from;
    }
    activate(f, to.value, f == c->f ? c->drawn : NULL, to, count);
}

/* Counts those arguments of the cell's own function, before they are activated. */
static void counted(const Cell *c, const Pass *p, int index, int t, int at) {
    if (!p->saturation) return;
    p->saturation->valid = (unsigned)((1ull << c->w->valid) - 1);
    count_saturated(c->f, z_of(c, t) + at, c->l->out, p->saturation, index, c->l->units + (size_t)t * c->l->out);
}

/* to[r] += sum over k of a[r * row + k * step] * in[k] */
static void add_product(const float *a, size_t row, size_t step, int rows, int depth, const vec *in, vec *to) {
    products(a, row, step, rows, depth, &in, NULL, &to, 1, 1);
}

static void lstm(const Cell *c, const Pass *p, int index, int t) {
    const int u = c->l->out;
    vec *i = z_of(c, t), *f = i + u, *g = f + u, *o = g + u, *bent = o + u, *h = state_of(c, t), *state = inner_of(c, t);
    activated(c, p, &c->s, t, 0, 2 * u);
    counted(c, p, index, t, 2 * u);
    activated(c, p, c->f, t, 2 * u, u);
    activated(c, p, &c->s, t, 3 * u, u);
    for (int k = 0; k < u; k++) bent[k] = state[k] = fma_(f[k], state[k - u], i[k] * g[k]);
    activated(c, p, c->f, t, 4 * u, u);
    for (int k = 0; k < u; k++) h[k] = o[k] * bent[k];
}

static void gru(const Cell *c, const Pass *p, int index, int t) {
    const int u = c->l->out;
    vec *r = z_of(c, t), *z = r + u, *n = z + u, *h = state_of(c, t), *inner = inner_of(c, t);
    const vec *before = state_of(c, t - 1);
    for (int k = 0; k < u; k++) inner[k] = all(0.0f);
    if (t) add_product(c->recurrent + (size_t)2 * u * u, u, 1, u, u, before, inner);
    activated(c, p, &c->s, t, 0, 2 * u);
    for (int k = 0; k < u; k++) n[k] = fma_(r[k], inner[k], n[k]);
    counted(c, p, index, t, 2 * u);
    activated(c, p, c->f, t, 2 * u, u);
    for (int k = 0; k < u; k++) h[k] = fma_(z[k], before[k] - n[k], n[k]);
}

/* A group's sequence, from the images to the last state. */
void recurrent(Workspace *w, int index, const Pass *p) {
    const Cell c = cell_of(w, index, p);
    const Layer *l = c.l;
    const int u = l->out, kept = l->cell == GRU ? 2 * u : l->gates; /* gates to which U h is added as it is */
    for (int t = 0, columns; t < l->steps; t += columns) {
        columns = l->steps - t < COLUMNS ? 1 : COLUMNS;
        const vec *in[COLUMNS] = {input_of(&c, t), input_of(&c, t + columns - 1)};
        vec *out[COLUMNS] = {z_of(&c, t), z_of(&c, t + columns - 1)};
        products(c.weights, l->in, 1, l->gates, l->in, in, c.bias, out, columns, 0);
    }
    for (int t = 0; t < l->steps; t++) {
        uint32_t units = (uint32_t)(l->steps * u), unit = (uint32_t)(t * u);
        if (c.drawn) draw(layer_of_draw(p->key, p->step, index + 1), (uint32_t)w->first, units, unit, c.drawn, u);
        if (t) add_product(c.recurrent, u, 1, kept, u, state_of(&c, t - 1), z_of(&c, t));
        if (l->cell == LSTM) lstm(&c, p, index, t);
        if (l->cell == GRU) gru(&c, p, index, t);
        if (l->cell != RNN) continue;
        counted(&c, p, index, t, 0);
        activated(&c, p, c.f, t, 0, u);
    }
}

/* From the gradient by h to that by z. It leaves the part of the gradient by the h before that does not come through U; and
 * in `carried` that by the c before, where it found that by c from the step behind. */
static void lstm_back(const Cell *c, int t, vec *by_h, vec *carried, vec *by_value) {
    const Layer *l = c->l;
    const int u = l->out;
    const size_t at = (size_t)t * l->activations;
    const vec *i = z_of(c, t), *f = i + u, *g = f + u, *o = g + u, *bent = o + u, *state = inner_of(c, t);
    for (int k = 0; k < u; k++) {
        by_value[3 * u + k] = by_h[k] * bent[k];
        by_value[4 * u + k] = by_h[k] * o[k];
    }
    through(c->w, l, at + 3 * u, by_value + 3 * u, 2 * u);
    const vec *by_bent = slope_of(c, t) + 4 * u;
    for (int k = 0; k < u; k++) {
        carried[k] += by_bent[k];
        by_value[k] = carried[k] * g[k];
        by_value[u + k] = carried[k] * state[k - u];
        by_value[2 * u + k] = carried[k] * i[k];
        carried[k] *= f[k];
        by_h[k] = all(0.0f);
    }
    through(c->w, l, at, by_value, 3 * u);
}

static void gru_back(const Cell *c, int t, vec *by_h, vec *by_value) {
    const Layer *l = c->l;
    const int u = l->out;
    const size_t at = (size_t)t * l->activations;
    const vec *r = z_of(c, t), *z = r + u, *n = z + u, *before = state_of(c, t - 1);
    vec *inner = inner_of(c, t);
    for (int k = 0; k < u; k++) {
        by_value[u + k] = by_h[k] * (before[k] - n[k]);
        by_value[2 * u + k] = by_h[k] - by_h[k] * z[k];
        by_h[k] *= z[k];
    }
    through(c->w, l, at + 2 * u, by_value + 2 * u, u);
    const vec *by_n = slope_of(c, t) + 2 * u;
    for (int k = 0; k < u; k++) {
        by_value[k] = by_n[k] * inner[k];
        inner[k] = by_n[k] * r[k]; /* the gradient by U h */
    }
    through(c->w, l, at, by_value, 2 * u);
    if (t) add_product(c->recurrent + (size_t)2 * u * u, 1, u, u, u, inner, by_h);
}

/* The gradient by a matrix: the sum over so many steps of the gradients by what it gives times (turned) what it reads. */
static void summed(const vec *by_z, size_t z_pitch, const vec *in, size_t in_pitch, int steps, int rows, int inputs,
                   float *gradient) {
    for (int begin = 0; begin < steps; begin += MOST_KEPT) {
        const vec *by[MOST_KEPT], *of[MOST_KEPT];
        int count = steps - begin < MOST_KEPT ? steps - begin : MOST_KEPT;
        for (int k = 0; k < count; k++) by[k] = by_z + (begin + k) * z_pitch;
        for (int k = 0; k < count; k++) of[k] = in + (begin + k) * in_pitch;
        weight_products(by, of, count, 0, rows, inputs, begin > 0, gradient);
    }
}

/* Back through all steps, given the gradient by the last state, to a group's own gradient. */
void recurrent_back(Workspace *w, int index, const Pass *p) {
    const Cell c = cell_of(w, index, p);
    const Layer *l = c.l;
    const int u = l->out, kept = l->cell == GRU ? 2 * u : l->gates;
    vec *by_h = w->memory + l->through, *carried = w->scratch + w->network->rows, *by_value = carried + u;
    for (int k = 0; k < u; k++) carried[k] = all(0.0f);
    for (int t = l->steps - 1; t >= 0; t--) {
        if (l->cell == LSTM) lstm_back(&c, t, by_h, carried, by_value);
        if (l->cell == GRU) gru_back(&c, t, by_h, by_value);
        if (l->cell == RNN) {
            through(w, l, (size_t)t * l->activations, by_h, u);
            for (int k = 0; k < u; k++) by_h[k] = all(0.0f);
        }
        if (t) add_product(c.recurrent, 1, u, u, kept, slope_of(&c, t), by_h);
    }
    for (int t = 0; t < l->steps; t++) turn(input_of(&c, t), l->in);
    for (int t = 0; t + 1 < l->steps; t++) turn(state_of(&c, t), u);
    float *by_weights = w->gradient + l->own, *by_recurrent = by_weights + (size_t)l->gates * l->in;
    memset(by_recurrent, 0, sizeof(float) * l->gates * u); /* of a single step */
    summed(slope_of(&c, 0), l->activations, input_of(&c, 0), padded(l->in), l->steps, l->gates, l->in, by_weights);
    summed(slope_of(&c, 1), l->activations, state_of(&c, 0), padded(u), l->steps - 1, kept, u, by_recurrent);
    if (l->cell == GRU)
        summed(inner_of(&c, 1), u, state_of(&c, 0), padded(u), l->steps - 1, u, u, by_recurrent + (size_t)kept * u);
    for (int k = 0; l->bias && k < l->gates; k++) {
        vec s = all(0.0f);
        for (int t = 0; t < l->steps; t++) s += slope_of(&c, t)[k];
        w->gradient[l->own + (l->biases - l->parameters) + k] = sum(s);
    }
}
