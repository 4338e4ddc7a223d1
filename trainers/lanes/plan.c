/* From the table of layers to a plan: what each layer is, and where everything lies in a thread's workspace.
 *
 * What a network may be is decided here: convolutions, each pooled once at most, then dense layers, the last without
 * activation; and the bounds of network.h, which keep a workspace within a few hundred megabytes. */
#include "network.h"

static size_t take(size_t *counter, size_t count) {
    size_t at = *counter;
    *counter += count;
    return at;
}

/* Dense layers read whole blocks of LANES by COLUMNS * LANES (matrices.c). */
static size_t blocks(int units) { return ((size_t)units + LANES - 1) / LANES * LANES; }

static size_t bordered(int channels, int height, int width) { return (size_t)channels * (height + 2) * (width + 2); }

/* Into segments. Where there are convolutions, a group's memory has to stay in the second-level cache: all layers in one
 * go, but where the large dense layers are so large that their weights had better be read once for all groups. These run
 * layer by layer, and their gradients are summed over a batch. */
static void divide(Network *n) {
    size_t weights = 0;
    for (int i = 0; i < n->count; i++) {
        Layer *l = &n->layers[i];
        l->large = l->kind == DENSE && (size_t)l->in * l->out > MOST_SMALL;
        weights += l->large ? (size_t)l->in * l->out : 0;
    }
    int in_one_go = n->bordered && weights <= MOST_IN_ONE_GO, large = 0;
    for (int i = 0; i < n->count; i++) {
        Layer *l = &n->layers[i];
        large |= l->whole = l->large && !in_one_go;
        if (i == 0 || large) n->segments[n->segment_count++] = (Segment){.begin = i};
        n->segments[n->segment_count - 1].end = i + 1;
        size_t end = i + 1 < n->count ? l[1].parameters : n->parameters;
        l->own = take(&n->own, l->whole ? 0 : end - l->parameters);
    }
}

/* The table has a row (kind, outputs, bias, activated) a layer. Returns 0, or the number of the first row (from 1) that
 * the kernels can't run; rows + 1 where the last one is no output layer. */
int plan(Network *n, const Call *call) {
    size_t widest = 0, most_weights = 0;
    const int32_t *table = call->table;
    int rows = (int)call->rows, channels = (int)call->channels, height = (int)call->height, width = (int)call->width;
    *n = (Network){.channels = channels, .height = height, .width = width};
    if (channels > MOST_CHANNELS || (int64_t)height * width > MOST_PIXELS) return 1;
    for (int row = 0; row < rows; row++) {
        int kind = table[4 * row], out = table[4 * row + 1];
        Layer *l = &n->layers[n->count], *before = n->count ? l - 1 : NULL;
        if (kind == POOLING) {
            if (!before || before->pooled || height % 2 || width % 2) return row + 1;
            before->pooled = 1;
            height /= 2;
            width /= 2;
            continue;
        }
        if (kind != PLAIN && kind != SEPARABLE && kind != DENSE) return row + 1;
        if (n->count++ == MOST_LAYERS || out < 1 || (before && !before->activated)) return row + 1;
        if (kind == DENSE ? out > MOST_UNITS : out > MOST_CHANNELS || (before && before->kind == DENSE)) return row + 1;
        *l = (Layer){.kind = kind, .in = channels, .out = out, .height = height, .width = width};
        l->bias = table[4 * row + 2];
        l->activated = table[4 * row + 3];
        l->parameters = n->parameters;
        l->units = n->units;
        if (kind == DENSE) {
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
        n->parameters += l->bias ? out : 0;
        channels = out;
    }
    Layer *last = &n->layers[n->count - 1];
    if (!n->count || last->kind != DENSE || last->activated || table[4 * (rows - 1)] != DENSE) return rows + 1;
    n->classes = last->out;
    n->bordered = n->layers[0].kind != DENSE;
    divide(n);
    take(&n->vectors, n->bordered ? bordered(n->channels, n->height, n->width) : blocks(n->layers[0].in));

    for (int i = 0; i < n->count; i++) {
        Layer *l = &n->layers[i];
        int half = l->pooled ? 2 : 1;
        size_t after = l->kind == DENSE ? blocks(l->out) : bordered(l->out, l->height / half, l->width / half);
        l->input = i ? l[-1].value : 0;
        if (i && l->large && l[-1].kind != DENSE) l->input = take(&n->vectors, blocks(l->in));
        l->value = take(&n->vectors, after);
        l->slope = take(&n->vectors, after);
        if (l->pooled) l->choice = take(&n->vectors, after);
        if (l->pooled) l->gradient = take(&n->vectors, bordered(l->out, l->height, l->width));
        if (l->kind == DENSE) {
            widest = widest < (size_t)l->in ? (size_t)l->in : widest;
            continue;
        }
        size_t weights = (size_t)l->in * l->out * 9, most = l->in > l->out ? l->in : l->out;
        l->packed = take(&n->floats, weights);
        l->flipped = take(&n->floats, weights);
        most_weights = most_weights < weights ? weights : most_weights;
        widest = widest < 4 * most * l->width ? 4 * most * l->width : widest;
    }
    take(&n->vectors, LANES); /* a last block may be half of one */
    n->rows = take(&n->scratch, 2 * widest);
    n->sums = take(&n->scratch, most_weights);
    n->factors = take(&n->floats, 2 * most_weights);
    return 0;
}
