/* An epoch of training, an evaluation or a probe of an array of members, on several threads.
 *
 * The bits of a member depend neither on the other members nor on the threads. Members are handed out whole; those left
 * over when fewer members than threads remain are each worked on by a team, whose ranks share out the groups of LANES
 * images of a batch. A group's gradient is computed by one rank and kept apart, and one rank adds up the groups in
 * their order, in double precision.
 *
 * Every call plans the network anew and has its own memory: nothing is kept between calls. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/mman.h>

#include "network.h"

enum { MOST_THREADS = 256, SHARED = 1 << 14 /* parameters from which on a team shares them out for a step */ };

/* One thread's memory; a team uses that of its first thread for what it shares. */
typedef struct {
    Workspace *groups; /* (held,) */
    unsigned char *alive;
    Barrier barrier;
    float *gradients; /* (kept, own), of groups */
    double *total;    /* (own,), their sum over a batch */
    float *gradient;  /* (parameters,), of a batch */
    Workspace **all;  /* (kept,), a team's groups in their order */
    double *losses, loss; /* (kept,), and of all images of a call */
    int64_t *hits, hits_in_all;
} Thread;

typedef struct {
    const Call *call;
    Network network;
    int64_t kept; /* gradients of groups that a team keeps before it adds them up */
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
    Settings settings;
    Scaled f;
    float *parameters;
} Part;

/* The sum of the groups' own gradients takes its place in the flat vector, and begins anew. */
static void round_off(const Network *n, double *total, float *gradient) {
    for (const Layer *l = n->layers; l < n->layers + n->count; l++) {
        size_t end = l + 1 < n->layers + n->count ? l[1].parameters : n->parameters;
        for (size_t i = 0; !l->whole && i < end - l->parameters; i++) gradient[l->parameters + i] = (float)total[l->own + i];
    }
    memset(total, 0, sizeof(double) * n->own);
}

/* Every `size`-th group from `first` on of these images, as many as are held, through the whole network. */
static void pass(const Part *p, const int64_t *order, int64_t images, float scale, int first, int back,
                 Saturation *saturation) {
    Thread *team = p->team;
    const Network *n = &p->run->network;
    const Segment *segments = n->segments;
    const Layer *last = &n->layers[n->count - 1];
    Workspace *w = p->groups;
    int count = 0;
    for (int64_t at; count < p->run->held && (at = (int64_t)(first + count * p->size) * LANES) < images; count++) {
        gather(&w[count], p->run->call, order + at, images - at < LANES ? (int)(images - at) : LANES);
        w[count].gradient = team->gradients + (first + count * p->size) * n->own;
    }
    for (int s = 0; s < n->segment_count; s++) {
        if (segments[s].together) meet(&team->barrier, p->size);
        forward(w, count, &segments[s], p->parameters, &p->f, back, saturation);
    }
    for (int i = 0; i < count; i++) {
        int g = first + i * p->size;
        team->losses[g] = 0;
        team->hits[g] = 0;
        softmax(w[i].memory + last->value, n->classes, w[i].labels, w[i].valid, scale,
                back ? w[i].memory + last->slope : NULL, &team->losses[g], &team->hits[g]);
    }
    for (int s = n->segment_count - 1; back && s >= 0; s--) {
        backward(w, count, &segments[s], p->parameters);
        if (segments[s].together) meet(&team->barrier, p->size);
    }
}

/* Leaves in the team's gradient that of the mean loss of `count` images (where `back`), and adds to its sums their losses
 * and hits. All ranks have met when this returns. */
static void accumulate(const Part *p, const int64_t *order, int64_t count, int back, Saturation *saturation) {
    Thread *team = p->team;
    const Network *n = &p->run->network;
    int64_t kept = p->run->kept * LANES;
    for (int64_t begin = 0; begin < count; begin += kept) {
        int64_t images = count - begin < kept ? count - begin : kept;
        int groups = (int)((images + LANES - 1) / LANES), first = p->rank;
        do { /* a rank without a group still meets the others */
            pass(p, order + begin, images, 1.0f / count, first, back, saturation);
            first += (int)p->run->held * p->size;
        } while (first < groups);
        meet(&team->barrier, p->size);
        if (back && n->own < n->parameters) {
            Workspace **all = team[p->rank].all;
            for (int g = 0; g < groups; g++) all[g] = &team[g % p->size].groups[g / p->size];
            whole_gradients(all, groups, begin > 0, p->rank, p->size, p->groups->scratch, team->gradient);
        }
        for (int g = 0; p->rank == 0 && g < groups; g++) {
            const float *gradient = team->gradients + g * n->own;
            for (size_t i = 0; back && i < n->own; i++) team->total[i] += gradient[i];
            team->loss += team->losses[g];
            team->hits_in_all += team->hits[g];
        }
        if (begin + kept >= count && back && p->rank == 0) round_off(n, team->total, team->gradient);
        meet(&team->barrier, p->size);
    }
}

static void train(const Part *p) {
    const Call *c = p->run->call;
    size_t count = p->run->network.parameters, at = p->member * count, sharers = count < SHARED ? 1 : p->size;
    size_t from = p->rank * count / sharers, to = (p->rank + 1) * count / sharers;
    const int64_t *order = c->orders + p->member * c->count;
    int64_t step = c->steps[p->member];
    for (int64_t begin = 0; begin < c->count; begin += c->batch_size) {
        int64_t images = c->count - begin < c->batch_size ? c->count - begin : c->batch_size;
        prepare(p->groups, p->parameters, 1);
        accumulate(p, order + begin, images, 1, NULL);
        step++;
        if ((size_t)p->rank < sharers)
            adam(to - from, p->parameters + from, c->first_moment + at + from, c->second_moment + at + from,
                 p->team->gradient + from, step, &p->settings);
        meet(&p->team->barrier, p->size); /* they go on with the new parameters */
    }
    if (p->rank == 0) c->steps[p->member] = step;
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
    accumulate(p, c->orders, c->count, probe, probe ? &here : NULL);
    if (!probe) return;
    for (int i = 0; i < n->count; i++)
        __atomic_fetch_add(&c->often[p->member * n->count + i], often[i], __ATOMIC_RELAXED);
    for (size_t u = 0; u < n->units; u++)
        if (alive[u]) __atomic_store_n(&c->alive[p->member * n->units + u], 1, __ATOMIC_RELAXED);
    if (p->rank == 0)
        memcpy(c->gradients + p->member * n->parameters, p->team->gradient, sizeof(float) * n->parameters);
}

static void take_part(const Run *run, size_t member, Thread *team, int rank, int size) {
    const Call *c = run->call;
    const double *x = c->numbers + 3 * member;
    const int32_t *y = c->choices + 3 * member;
    Part p = {run, team, team[rank].groups, member, rank, size, {y[0], y[1], y[2], x[0], x[1], x[2]}, {0},
              c->parameters + member * run->network.parameters};
    p.f = scaled(&p.settings);
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

/* Members, one per thread, while there are enough for all threads, then a team for each that is left. */
static void share_out(void *shared, int thread, int threads) {
    Run *run = shared;
    int64_t left = run->call->members % threads, alone = run->call->members - left;
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
    size_t taken = 0;
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
        here.all = take(memory, &taken, sizeof(Workspace *) * run->kept);
        here.losses = take(memory, &taken, sizeof(double) * run->kept);
        here.hits = take(memory, &taken, sizeof(int64_t) * run->kept);
        here.total = take(memory, &taken, sizeof(double) * n->own);
        if (memory) run->threads[t] = here;
    }
    return taken;
}

/* Does what a call asks for (tables.py). 0, -1 without memory, -2 for a member that asks for what the kernels don't have,
 * or the row that can't be run. */
EXPORT int lanes_run(const Call *c) {
    Run run = {.call = c};
    if (!known(c->choices, c->members)) return -2;
    int wrong = plan(&run.network, c), threads = c->threads > MOST_THREADS ? MOST_THREADS : (int)c->threads;
    if (wrong) return wrong;
    /* as many gradients as a batch has groups, within 16 MB; their number has no part in the bits */
    int64_t groups = (c->batch_size + LANES - 1) / LANES, fit = (4 << 20) / (int64_t)(run.network.own + 1);
    run.kept = groups < fit ? groups : fit;
    run.kept = run.kept < 1 ? 1 : run.kept > MOST_KEPT ? MOST_KEPT : run.kept;
    for (int s = 0; s < run.network.segment_count; s++)
        if (run.network.segments[s].together && c->steps) run.kept = groups;
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
