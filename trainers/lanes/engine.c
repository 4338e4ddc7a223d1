/* An epoch of training, an evaluation or a probe of an array of members, on several threads.
 *
 * The bits of a member depend neither on the other members nor on the threads. Members are handed out whole; those left
 * over when fewer members than threads remain are each worked on by a team, whose ranks share out the groups of LANES
 * images of a batch. A group's gradient is computed by one rank and kept apart, and one rank adds up the groups in
 * their order, in double precision.
 *
 * Every call plans the network anew and has its own memory: nothing is kept between calls. */
#define _GNU_SOURCE
#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "network.h"

enum { MOST_THREADS = 256 };
enum { SHARED = 1 << 14 };   /* parameters of a layer from which on a team shares them out for a step */
enum { IN_CACHE = 1 << 14 }; /* weights whose gradient is worked on at a time */

/* One thread's memory; a team uses that of its first thread for what it shares. */
typedef struct {
    Workspace *groups; /* (held,) */
    unsigned char *alive;
    Barrier barrier;
    float *gradients; /* (kept, own), of groups */
    double *total;    /* (own,), their sum over a batch */
    float *gradient;  /* (parameters,), of a batch */
    float *rows;      /* (most,), the part of it that is being worked on */
    Workspace **all;  /* (kept,), a team's groups in their order */
    Scaled *functions; /* (functions,) */
    double *partials; /* (kept, partials), of groups */
    double *losses, loss; /* (kept,), and of all images of a call */
    int64_t *hits, hits_in_all;
} Thread;

typedef struct {
    const Call *call;
    Network network;
    int64_t kept; /* gradients of groups that a team keeps before it adds them up, */
    int64_t at_a_time; /* and the images that they are of */
    int64_t held; /* groups that a thread has on their way at a time: one, or as many where there are several segments */
    Thread *threads;
    int64_t next; /* the next member that no thread has taken */
} Run;

/* One thread's part in the work on one member. */
typedef struct {
    const Run *run;
    Thread *team;
    Workspace *groups;
    size_t member;
    int rank, size;
    const Choices *choices;
    const Numbers *numbers;
    float *parameters, *buffers;
} Part;

static size_t parameters_of(const Network *n, const Layer *l) {
    return (l + 1 < n->layers + n->count ? l[1].parameters : n->parameters) - l->parameters;
}

/* Where in a layer's parameters from `from` to `to` those end that a member penalizes. */
static size_t penalized(const Part *p, const Layer *l, size_t from, size_t to) {
    size_t end = p->choices->penalized == WEIGHTS && l->biases < to ? l->biases : to;
    return end < from ? from : end;
}

/* How many units' weights are worked on at a time. */
static int rows_at_a_time(const Layer *l) {
    int rows = IN_CACHE / l->in;
    return rows < 8 ? 8 : rows > l->out ? l->out : rows;
}

/* The sum of the groups' own gradients takes its place in the flat vector, and begins anew. */
static void round_off(const Network *n, double *total, float *gradient) {
    for (const Layer *l = n->layers; l < n->layers + n->count; l++) {
        size_t weights = l->learned.flat - l->parameters, learned = parameters_of(n, l) - weights;
        for (size_t i = 0; !l->whole && i < weights; i++) gradient[l->parameters + i] = (float)total[l->own + i];
        for (size_t i = 0; i < learned; i++) gradient[l->learned.flat + i] = (float)total[l->learned.own + i];
    }
    memset(total, 0, sizeof(double) * n->own);
}

/* Gathers every `size`-th group from `first` on of so many images, as many as are held; how many these are. */
static int gathered(const Part *p, const int64_t *order, int64_t begin, int64_t images, int first) {
    Thread *team = p->team;
    const Network *n = &p->run->network;
    int count = 0;
    for (int64_t at; count < p->run->held && (at = (int64_t)(first + count * p->size) * LANES) < images; count++) {
        Workspace *group = &p->groups[count];
        gather(group, p->run->call, order + begin + at, images - at < LANES ? (int)(images - at) : LANES);
        group->number = first + count * p->size;
        group->first = begin + at;
        group->gradient = team->gradients + group->number * n->own;
        group->partials = team->partials + group->number * n->partials;
        if (n->learns) memset(group->gradient, 0, sizeof(float) * n->own); /* sums over layers */
    }
    return count;
}

/* So many of them through the whole network, and back. */
static void pass(const Part *p, const Pass *q, float scale, int count) {
    Thread *team = p->team;
    const Network *n = &p->run->network;
    const Segment *segments = n->segments;
    const Layer *last = &n->layers[n->count - 1];
    Workspace *w = p->groups;
    for (int s = 0; s < n->segment_count; s++) {
        if (segments[s].together) meet(&team->barrier, p->size);
        forward(w, count, &segments[s], q);
    }
    for (int i = 0; i < count; i++) {
        int g = w[i].number;
        team->losses[g] = 0;
        team->hits[g] = 0;
        score(p->choices->loss, w[i].memory + last->value, n->classes, w[i].labels, w[i].valid, scale,
              q->backward ? w[i].memory + last->slope : NULL, &team->losses[g], &team->hits[g]);
    }
    for (int s = n->segment_count - 1; q->backward && s >= 0; s--) {
        backward(w, count, &segments[s], q);
        if (segments[s].together) meet(&team->barrier, p->size);
    }
}

/* The step of a layer's parameters from `from` to `to` in the flat vector, given their gradient. */
static void take_step(const Part *p, const Step *step, const Layer *l, size_t from, size_t to, const float *gradient) {
    const Call *c = p->run->call;
    size_t member = p->member * p->run->network.parameters, weights = penalized(p, l, from, to);
    Step bare = *step;
    bare.l1 = bare.l2 = 0.0f;
    bare.shrink = 1.0f;
    for (; from < to; step = &bare, from = weights, weights = to) {
        float *first = c->first ? c->first + member + from : NULL, *second = c->second ? c->second + member + from : NULL;
        advance(step, weights - from, p->parameters + from, first, second, gradient);
        gradient += weights - from;
    }
}

/* What the gradient is multiplied by so that its norm, penalty included, is within the member's bound. */
static float clipping(const Part *p, const Step *step, const float *gradient) {
    const Network *n = &p->run->network;
    Step bare = *step;
    bare.l1 = bare.l2 = 0.0f;
    double sum = 0;
    for (const Layer *l = n->layers; l < n->layers + n->count; l++) {
        size_t from = l->parameters, to = from + parameters_of(n, l), weights = penalized(p, l, from, to);
        sum += squares(step, weights - from, p->parameters + from, gradient + from);
        sum += squares(&bare, to - weights, p->parameters + weights, gradient + weights);
    }
    double factor = p->numbers->clip / (sqrt(sum) + 1e-6);
    return factor > 1 ? 1.0f : (float)factor;
}

/* A rank's share of the layers whose gradient is summed over a batch: the gradient of some units at a time, which stays in
 * the cache for their step. Where there is no step it goes to its place in the flat vector, or is added there. */
static void whole_layers(const Part *p, int groups, int add, const Step *step) {
    const Network *n = &p->run->network;
    Thread *team = p->team, *own = &team[p->rank];
    for (int g = 0; g < groups; g++) own->all[g] = &team[g % p->size].groups[g / p->size];
    for (int i = 0; i < n->count; i++) {
        const Layer *l = &n->layers[i];
        if (!l->whole) continue;
        int most = rows_at_a_time(l);
        for (int u = p->rank * most; u < l->out; u += p->size * most) {
            int units = l->out - u < most ? l->out - u : most;
            size_t at = l->parameters + (size_t)u * l->in;
            float *gradient = step ? own->rows : team->gradient + at;
            weights_gradient(own->all, groups, i, u, units, add, gradient);
            if (step) take_step(p, step, l, at, at + (size_t)units * l->in, gradient);
        }
        if (!l->bias || p->rank) continue;
        float *gradient = step ? own->rows : team->gradient + l->biases;
        bias_gradient(own->all, groups, i, add, gradient);
        if (step) take_step(p, step, l, l->biases, l->biases + l->out, gradient);
    }
}

/* A rank's own functions: alpha and slopes may be learned. */
static const Scaled *functions_of(const Part *p) {
    const Network *n = &p->run->network;
    Scaled *functions = p->team[p->rank].functions;
    for (const Layer *l = n->layers; l < n->layers + n->count; l++) {
        if (l > n->layers && l->function == l[-1].function) continue;
        double alpha = l->alpha.flat == (size_t)NOWHERE ? p->numbers->alpha : p->parameters[l->alpha.flat];
        double slope = l->below_0.flat == (size_t)NOWHERE ? p->numbers->slope : p->parameters[l->below_0.flat];
        functions[l->function] = scaled(p->choices, p->numbers, alpha, slope);
    }
    return functions;
}

/* The gradient of the mean loss of `count` images (where `back`), in the flat vector, and a step (or NULL) with it; adds to the
 * team's sums their losses and hits. All ranks have met when this returns. */
static void accumulate(const Part *p, const int64_t *order, int64_t count, int back, const Step *step,
                       Saturation *saturation) {
    Thread *team = p->team;
    const Network *n = &p->run->network;
    int64_t kept = p->run->at_a_time;
    Pass q = {p->parameters, p->buffers, functions_of(p), team->partials, 0, back, step != NULL,
              (uint32_t)p->numbers->key, step ? step->number - 1 : 0, saturation};
    const Step *at_once = count <= kept && p->numbers->clip == 0 ? step : NULL;
    for (int64_t begin = 0; begin < count; begin += kept) {
        int64_t images = count - begin < kept ? count - begin : kept;
        int groups = (int)((images + LANES - 1) / LANES), first = p->rank;
        do { /* a rank without a group still meets the others */
            q.images = images;
            pass(p, &q, 1.0f / count, gathered(p, order, begin, images, first));
            first += (int)p->run->held * p->size;
        } while (first < groups);
        meet(&team->barrier, p->size);
        if (back) whole_layers(p, groups, begin > 0, at_once);
        for (int g = 0; p->rank == 0 && g < groups; g++) {
            const float *gradient = team->gradients + g * n->own;
            for (size_t i = 0; back && i < n->own; i++) team->total[i] += gradient[i];
            team->loss += team->losses[g];
            team->hits_in_all += team->hits[g];
        }
        if (begin + kept >= count && back && p->rank == 0) round_off(n, team->total, team->gradient);
        meet(&team->barrier, p->size);
    }
    if (!step) return;
    Step final = *step;
    if (p->numbers->clip > 0) final.factor = clipping(p, step, team->gradient);
    if (p->numbers->clip > 0) meet(&team->barrier, p->size); /* no rank has moved parameters yet */
    for (const Layer *l = n->layers; l < n->layers + n->count; l++) {
        size_t many = parameters_of(n, l), sharers = many < SHARED ? 1 : p->size;
        size_t from = p->rank * many / sharers, to = (p->rank + 1) * many / sharers;
        if ((size_t)p->rank >= sharers) continue;
        from += l->parameters;
        to += l->parameters;
        if (l->whole && at_once && from < l->learned.flat) from = l->learned.flat;
        if (from < to) take_step(p, &final, l, from, to, team->gradient + from);
    }
    meet(&team->barrier, p->size); /* they go on with the new parameters */
}

static void train(const Part *p) {
    const Call *c = p->run->call;
    const int64_t *order = c->orders + p->member * c->count;
    const double *rate = c->rates + p->member * ((c->count + c->batch_size - 1) / c->batch_size);
    int64_t number = c->steps[p->member];
    for (int64_t begin = 0; begin < c->count; begin += c->batch_size) {
        int64_t images = c->count - begin < c->batch_size ? c->count - begin : c->batch_size;
        Step step = step_of(p->choices, p->numbers, ++number, *rate++);
        prepare(p->groups, p->parameters, 1);
        accumulate(p, order + begin, images, 1, &step, NULL);
    }
    if (p->rank == 0) c->steps[p->member] = number;
}

static void measure(const Part *p) {
    const Call *c = p->run->call;
    const Network *n = &p->run->network;
    int64_t often[MOST_LAYERS] = {0};
    unsigned char *alive = p->team[p->rank].alive;
    Saturation here = {often, alive, 0};
    int probe = c->gradients != NULL;
    memset(alive, 0, n->units);
    prepare(p->groups, p->parameters, probe);
    accumulate(p, c->orders, c->count, probe, NULL, probe ? &here : NULL);
    if (!probe) return;
    for (int i = 0; i < n->count; i++)
        __atomic_fetch_add(&c->often[p->member * n->count + i], often[i], __ATOMIC_RELAXED);
    for (size_t u = 0; u < n->units; u++)
        if (alive[u]) __atomic_store_n(&c->alive[p->member * n->units + u], 1, __ATOMIC_RELAXED);
    if (p->rank == 0)
        memcpy(c->gradients + p->member * n->parameters, p->team->gradient, sizeof(float) * n->parameters);
}

static Part part_of(const Run *run, size_t member, Thread *team, int rank, int size) {
    const Call *c = run->call;
    return (Part){run, team, team[rank].groups, member, rank, size, &c->choices[member], &c->numbers[member],
                  c->parameters + member * run->network.parameters, c->buffers + member * run->network.buffers};
}

/* Evaluates members from `from` to `to`: images are gathered once, and all of these members see them before the next. */
static void evaluate(const Run *run, int64_t from, int64_t to, Thread *own) {
    const Call *c = run->call;
    const Scaled *functions = NULL;
    int64_t prepared = -1;
    if (from == to) return; /* fewer members than threads: without one nothing is gathered, and the loop would not end */
    for (int64_t begin = 0; begin < c->count; begin += run->at_a_time) {
        int64_t images = c->count - begin < run->at_a_time ? c->count - begin : run->at_a_time;
        int groups = (int)((images + LANES - 1) / LANES), count = 0;
        for (int first = 0; first < groups; first += count)
            for (int64_t m = from; m < to; m++) {
                Part p = part_of(run, m, own, 0, 1);
                if (m == from) count = gathered(&p, c->orders, begin, images, first);
                if (prepared != m) functions = functions_of(&p);
                if (prepared != m) prepare(own->groups, p.parameters, 0);
                prepared = m;
                Pass q = {p.parameters, p.buffers, functions, own->partials, images, 0, 0, 0, 0, NULL};
                pass(&p, &q, 0.0f, count);
                for (int g = first; g < first + count; g++) {
                    c->losses[m] += own->losses[g];
                    c->accuracies[m] += (double)own->hits[g];
                }
            }
    }
    for (int64_t m = from; m < to; m++) {
        c->losses[m] /= c->count;
        c->accuracies[m] /= c->count;
    }
}

static void take_part(const Run *run, size_t member, Thread *team, int rank, int size) {
    const Call *c = run->call;
    Part p = part_of(run, member, team, rank, size);
    if (rank == 0) {
        memset(team->total, 0, sizeof(double) * run->network.own);
        team->loss = 0;
        team->hits_in_all = 0;
    }
    meet(&team->barrier, size); /* its memory is free now */
    c->steps ? train(&p) : measure(&p);
    if (rank) return;
    c->losses[member] = team->loss / c->count;
    c->accuracies[member] = (double)team->hits_in_all / c->count;
}

/* Members, one per thread (of an evaluation equal shares), while there are enough for all threads, then a team for each
 * that is left. */
static void share_out(void *shared, int thread, int threads) {
    Run *run = shared;
    int64_t left = run->call->members % threads, alone = run->call->members - left, share = alone / threads;
    if (!run->call->steps && !run->call->gradients)
        evaluate(run, thread * share, (thread + 1) * share, &run->threads[thread]);
    else
        for (int64_t m; (m = __atomic_fetch_add(&run->next, 1, __ATOMIC_RELAXED)) < alone;)
            take_part(run, m, &run->threads[thread], 0, 1);
    int size = left ? threads / (int)left : 0, team = left ? thread / size : 0;
    if (team < left) take_part(run, alone + team, &run->threads[team * size], thread % size, size);
}

/* Where the next so many bytes are; memory may be NULL, to add them up. */
static void *take(char *memory, size_t *taken, size_t bytes) {
    void *at = memory ? memory + *taken : NULL;
    *taken += (bytes + 63) / 64 * 64;
    return at;
}

/* Gives every thread its memory, and returns how much they need; memory may be NULL. */
static size_t lay_out(Run *run, int threads, char *memory) {
    const Network *n = &run->network;
    size_t taken = 0, most = 0;
    for (int i = 0; i < n->count; i++) {
        size_t rows = n->layers[i].whole ? (size_t)rows_at_a_time(&n->layers[i]) * n->layers[i].in : 0;
        most = most < rows ? rows : most;
    }
    most += MOST_UNITS; /* or a bias */
    run->threads = take(memory, &taken, sizeof(Thread) * threads);
    for (int t = 0; t < threads; t++) {
        Thread here = {.groups = take(memory, &taken, sizeof(Workspace) * run->held)};
        here.alive = take(memory, &taken, n->units);
        Workspace w = {.network = n, .scratch = take(memory, &taken, sizeof(vec) * n->scratch)};
        w.weights = take(memory, &taken, sizeof(float) * n->floats);
        for (int64_t g = 0; g < run->held; g++) {
            w.memory = take(memory, &taken, sizeof(vec) * n->vectors);
            if (memory) here.groups[g] = w;
        }
        here.gradients = take(memory, &taken, sizeof(float) * run->kept * n->own);
        here.gradient = take(memory, &taken, sizeof(float) * n->parameters);
        here.rows = take(memory, &taken, sizeof(float) * most);
        here.all = take(memory, &taken, sizeof(Workspace *) * run->kept);
        here.functions = take(memory, &taken, sizeof(Scaled) * n->functions);
        here.partials = take(memory, &taken, sizeof(double) * run->kept * n->partials);
        here.losses = take(memory, &taken, sizeof(double) * run->kept);
        here.hits = take(memory, &taken, sizeof(int64_t) * run->kept);
        here.total = take(memory, &taken, sizeof(double) * n->own);
        if (memory) run->threads[t] = here;
    }
    return taken;
}

/* Whether the kernels have code for what each member asks for. */
static int known(const Call *c) {
    static const int counts[] = {CHOICE_COUNTS};
    for (int64_t m = 0; m < c->members; m++) {
        const int32_t *choices = (const int32_t *)&c->choices[m];
        for (size_t i = 0; i < sizeof(counts) / sizeof(int); i++)
            if (choices[i] < 0 || choices[i] >= counts[i]) return 0;
    }
    return 1;
}

/* Does what a call asks for (tables.py). 0, -1 without memory, -2 for a member that asks for what the kernels don't have,
 * or the row that can't be run. */
EXPORT int lanes_run(const Call *c) {
    Run run = {.call = c};
    if (!known(c)) return -2;
    int wrong = plan(&run.network, c), threads = c->threads > MOST_THREADS ? MOST_THREADS : (int)c->threads;
    if (wrong) return wrong;
    /* as many gradients as a batch has groups, within 16 MB; their number has no part in the bits */
    int64_t groups = (c->batch_size + LANES - 1) / LANES, fit = (4 << 20) / (int64_t)(run.network.own + 1);
    run.kept = groups < fit ? groups : fit;
    run.kept = run.kept < 1 ? 1 : run.kept > MOST_KEPT ? MOST_KEPT : run.kept;
    run.at_a_time = run.kept * LANES;
    for (int s = 0; s < run.network.segment_count; s++)
        if (run.network.segments[s].together) { /* a batch in one go */
            run.at_a_time = c->batch_size < c->count ? c->batch_size : c->count;
            run.kept = (run.at_a_time + LANES - 1) / LANES;
        }
    run.held = run.network.segment_count > 1 || run.network.layers[0].whole ? run.kept : 1;
    size_t bytes = lay_out(&run, threads, NULL);
    void *memory = NULL;
    if (posix_memalign(&memory, 1 << 21, bytes)) return -1;
#ifdef MADV_HUGEPAGE
    madvise(memory, bytes, MADV_HUGEPAGE);
#endif
    memset(memory, 0, bytes); /* the borders of images are never written to */
    lay_out(&run, threads, memory);
    wrong = in_parallel(threads, share_out, &run);
    free(memory);
    return wrong;
}
