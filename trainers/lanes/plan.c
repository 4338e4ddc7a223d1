/* From the table of layers to a plan: what each layer is, and where everything lies in a thread's workspace.
 *
 * What a network may be is decided here: convolutions, each pooled once at most, or a recurrent layer, then dense layers, the
 * last without activation; and the bounds of network.h, which keep a workspace within a few hundred megabytes. */
#include "network.h"

static size_t take(size_t *counter, size_t count) {
    size_t at = *counter;
    *counter += count;
    return at;
}

static size_t bordered(int channels, int height, int width) { return (size_t)channels * (height + 2) * (width + 2); }

/* Where a parameter that this layer, or one before it, learns is in a group's own gradient. */
static size_t own_place(const Network *n, int layer, size_t flat) {
    const Layer *l = &n->layers[layer];
    while (l->learned.flat > flat) l--;
    return l->learned.own + (flat - l->learned.flat);
}

/* Into segments. Where there are convolutions, a group's memory has to stay in the second-level cache: all layers in one
 * go, but where the large dense layers are so large that their weights had better be read once for all groups. These run
 * layer by layer, and their gradients are summed over a batch. With a recurrent layer, whose steps are too much to be kept of
 * several groups, all layers are in one go. In training and in a probe a segment begins in front of a
 * batch normalization, in the middle of its layer: the segment before it, which may have no layer of its own, ends with
 * the layer's products. */
static void divide(Network *n, const Call *call) {
    size_t weights = 0;
    for (int i = 0; i < n->count; i++) {
        Layer *l = &n->layers[i];
        l->large = l->kind == DENSE && (size_t)l->in * l->out > MOST_SMALL;
        weights += l->large ? (size_t)l->in * l->out : 0;
    }
    int in_one_go = n->layers[0].kind == RECURRENT || (n->bordered && weights <= MOST_IN_ONE_GO), large = 0;
    for (int i = 0; i < n->count; i++) {
        Layer *l = &n->layers[i];
        large |= l->whole = l->large && !in_one_go;
        l->meets = l->normalization == BATCH_NORMALIZATION && (call->steps || call->gradients);
        if (i == 0 && l->meets) n->segments[n->segment_count++] = (Segment){0};
        if (i == 0 || large || l->meets) n->segments[n->segment_count++] = (Segment){.begin = i, .together = l->meets};
        n->segments[n->segment_count - 1].end = i + 1;
        size_t end = i + 1 < n->count ? l[1].parameters : n->parameters;
        l->own = take(&n->own, l->whole ? 0 : l->learned.flat - l->parameters);
        l->learned.own = take(&n->own, end - l->learned.flat);
        if (l->alpha.flat != (size_t)NOWHERE) l->alpha.own = own_place(n, i, l->alpha.flat);
        if (l->below_0.flat != (size_t)NOWHERE) l->below_0.own = own_place(n, i, l->below_0.flat);
    }
}

/* What a layer learns besides its weights and bias, and what it keeps. */
static void learn(Network *n, Layer *l, const Row *row) {
    const Layer *before = l > n->layers ? l - 1 : NULL;
    size_t channels = 2 * (size_t)l->out;
    l->learned.flat = n->parameters;
    if (l->normalization) n->parameters += channels + (l->normalization == DYNAMIC_TANH_NORMALIZATION);
    if (l->normalization == BATCH_NORMALIZATION) {
        l->buffers = take(&n->buffers, channels);
        l->partials = take(&n->partials, 5 * (size_t)l->out); /* normalization.c */
    }
    l->alpha = l->below_0 = (Place){.flat = NOWHERE};
    if (before) l->alpha = before->alpha;
    if (before) l->below_0 = before->below_0;
    if (row->learns_alpha) l->alpha.flat = take(&n->parameters, 1);
    if (row->learns_slope) l->below_0.flat = take(&n->parameters, 1);
    int learns = row->learns_alpha || row->learns_slope;
    if (!before || learns) n->functions++;
    l->function = n->functions - 1;
    n->learns |= learns;
}

/* A recurrent layer's sizes; 0 where it can't be run: its steps have to divide the pixels, and bound what it keeps. */
static int begin_recurrence(Layer *l, const Row *row) {
    static const int gates[] = {[RNN] = 1, [LSTM] = 4, [GRU] = 3}, activations[] = {[LSTM] = 5, [GRU] = 3};
    int pixels = l->height * l->width;
    if (row->cell < 0 || row->cell >= CELL_COUNT || row->steps < 1 || pixels % row->steps) return 0;
    if (!l->activated || l->normalization || l->residual) return 0;
    l->cell = row->cell;
    l->steps = row->steps;
    l->scaled_gates = row->scaled_gates;
    l->in *= pixels / l->steps;
    l->gates = gates[l->cell] * l->out;
    l->activations = l->cell == RNN ? (int)padded(l->out) : activations[l->cell] * l->out;
    return (size_t)l->steps * l->gates <= MOST_GATES;
}

/* The table has a row a layer. Returns 0, or the number of the first row (from 1) that
 * the kernels can't run; rows + 1 where the last one is no output layer. */
int plan(Network *n, const Call *call) {
    size_t widest = 16, most_weights = 0; /* a run of pixels (images.c) */
    int rows = (int)call->rows, channels = (int)call->channels, height = (int)call->height, width = (int)call->width;
    *n = (Network){.channels = channels, .height = height, .width = width};
    if (channels > MOST_CHANNELS || (int64_t)height * width > MOST_PIXELS) return 1;
    for (int row = 0; row < rows; row++) {
        const Row *given = &call->table[row];
        int kind = given->kind, out = given->outputs;
        Layer *l = &n->layers[n->count], *before = n->count ? l - 1 : NULL;
        if (kind == POOLING) {
            if (!before || before->pooled || height % 2 || width % 2) return row + 1;
            before->pooled = 1;
            height /= 2;
            width /= 2;
            continue;
        }
        if (kind != PLAIN && kind != SEPARABLE && kind != DENSE && kind != RECURRENT) return row + 1;
        if (n->count++ == MOST_LAYERS || out < 1 || (before && !before->activated)) return row + 1;
        int image = !before || convolutional(before), flat = kind == DENSE || kind == RECURRENT;
        if (flat ? out > MOST_UNITS : out > MOST_CHANNELS || !image) return row + 1;
        *l = (Layer){.kind = kind, .in = channels, .out = out, .height = height, .width = width};
        l->bias = given->bias;
        l->activated = given->activated;
        l->normalization = given->normalization;
        l->residual = given->residual;
        l->rows = flat ? 1 : height;
        l->columns = flat ? 1 : width;
        if (l->residual && (!l->activated || out != channels || (kind == DENSE && image))) return row + 1;
        l->parameters = n->parameters;
        l->units = n->units;
        if (kind == RECURRENT) {
            if (before || !begin_recurrence(l, given)) return row + 1;
            height = width = 1;
            n->parameters += (size_t)l->gates * (l->in + out);
            n->units += (size_t)l->steps * out;
        } else if (kind == DENSE) {
            l->in *= height * width;
            height = width = 1;
            n->parameters += (size_t)l->in * out;
            n->units += l->activated ? out : 0;
        } else {
            if (!l->activated) return row + 1;
            n->parameters += kind == SEPARABLE ? (size_t)channels * (9 + out) : (size_t)channels * out * 9;
            n->units += (size_t)out * height * width;
        }
        l->biases = n->parameters;
        n->parameters += !l->bias ? 0 : kind == RECURRENT ? l->gates : out;
        learn(n, l, given);
        if (l->normalization == BATCH_NORMALIZATION && n->layers[0].kind == RECURRENT) return row + 1;
        channels = out;
    }
    Layer *last = &n->layers[n->count - 1];
    if (!n->count || last->kind != DENSE || last->activated || call->table[rows - 1].kind != DENSE) return rows + 1;
    n->classes = last->out;
    Layer *first = &n->layers[0];
    n->bordered = convolutional(first);
    divide(n, call);
    size_t sequence = first->kind == RECURRENT ? first->steps : 1;
    take(&n->vectors, n->bordered ? bordered(n->channels, n->height, n->width) : sequence * padded(first->in));

    for (int i = 0; i < n->count; i++) {
        Layer *l = &n->layers[i];
        int half = l->pooled ? 2 : 1;
        size_t after = convolutional(l) ? bordered(l->out, l->height / half, l->width / half) : padded(l->out);
        l->input = i ? l[-1].value : 0;
        if (i && l->large && convolutional(l - 1)) l->input = take(&n->vectors, padded(l->in));
        if (l->kind == RECURRENT) l->hidden = take(&n->vectors, l->steps * after) + after; /* behind zeros; `value` is the last */
        l->value = take(&n->vectors, after);
        if (l->kind == RECURRENT) {
            l->through = take(&n->vectors, after);
            l->inner = take(&n->vectors, l->cell == RNN ? 0 : (size_t)(l->steps + 1) * l->out) + l->out;
            after = (size_t)l->steps * l->activations;
            l->z = l->cell == RNN ? l->hidden : take(&n->vectors, after);
        }
        l->slope = take(&n->vectors, after);
        if (l->pooled) l->choice = take(&n->vectors, after);
        size_t whole = l->kind == DENSE ? padded(l->out) : bordered(l->out, l->height, l->width);
        if (l->normalization) l->z = take(&n->vectors, whole);
        l->picks = l->pooled && (l->normalization == BATCH_NORMALIZATION || l->normalization == LAYER_NORMALIZATION);
        if (l->picks) l->winner = take(&n->vectors, after);
        if (l->pooled) l->gradient = l->picks ? l->z : take(&n->vectors, whole);
        if (l->normalization) l->mean = take(&n->vectors, l->out);
        if (l->normalization) l->inverse = take(&n->vectors, l->out);
        if (l->residual) l->through = l->kind == DENSE ? take(&n->vectors, after) : l->value;
        if (l->alpha.flat != (size_t)NOWHERE) l->by_alpha = take(&n->vectors, after);
        if (l->below_0.flat != (size_t)NOWHERE) l->by_below_0 = take(&n->vectors, after);
        if (!convolutional(l)) {
            size_t most = l->in > l->out ? l->in : l->out;
            if (most < (size_t)l->activations) most = l->activations;
            widest = widest < most ? most : widest;
            continue;
        }
        size_t weights = (size_t)l->in * l->out * 9, most = l->in > l->out ? l->in : l->out;
        l->packed = take(&n->floats, weights);
        l->flipped = take(&n->floats, weights);
        most_weights = most_weights < weights ? weights : most_weights;
        widest = widest < 6 * most * l->width ? 6 * most * l->width : widest;
    }
    take(&n->vectors, LANES); /* a last block may be half of one */
    n->rows = take(&n->scratch, 2 * widest);
    n->sums = take(&n->scratch, most_weights);
    n->factors = take(&n->floats, 2 * most_weights);
    return 0;
}
