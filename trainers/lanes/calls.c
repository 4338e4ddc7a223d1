/* What Python calls. Every call plans the network anew and has its own memory: nothing is kept between calls. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/mman.h>

#include "engine.h"

#define EXPORT __attribute__((visibility("default")))

/* Zeroed and aligned; large ones on huge pages where the system has them. */
static void *allocate(size_t bytes) {
    void *memory = NULL;
    size_t alignment = bytes >= 1 << 20 ? 1 << 21 : 64;
    if (posix_memalign(&memory, alignment, bytes ? bytes : 1)) return NULL;
#ifdef MADV_HUGEPAGE
    if (bytes >= 1 << 20) madvise(memory, bytes, MADV_HUGEPAGE);
#endif
    memset(memory, 0, bytes);
    return memory;
}

/* Whether the kernels have code for what each member asks for. */
static int known(const int32_t *choices, int members) {
    static const int counts[3] = {ACTIVATION_COUNT, SCALING_COUNT, PENALTY_COUNT};
    for (size_t i = 0; i < 3 * (size_t)members; i++)
        if (choices[i] < 0 || choices[i] >= counts[i % 3]) return 0;
    return 1;
}

/* Plans the network and gives each thread its memory. 0, -1 without memory, -2 for a member that asks for what the
 * kernels don't have, or the row that can't be run. */
static int open_call(Call *c, const int32_t *table, int rows, const int32_t *shape) {
    Network *n = &c->network;
    if (!known(c->choices, c->members)) return -2;
    int wrong = plan(n, table, rows, shape[0], shape[1], shape[2]);
    if (wrong) return wrong;
    c->threads = c->threads < 1 ? 1 : c->threads > MOST_THREADS ? MOST_THREADS : c->threads;
    /* as many gradients as a batch has groups, within 16 MB; their number has no part in the bits */
    int64_t groups = (c->batch + (int64_t)LANES - 1) / LANES, fit = (4 << 20) / (int64_t)n->parameters;
    c->kept = (int)(groups < fit ? groups : fit);
    c->kept = c->kept < 1 ? 1 : c->kept > MOST_KEPT ? MOST_KEPT : c->kept;
    c->workspaces = allocate(sizeof(Workspace) * c->threads);
    c->teams = allocate(sizeof(Team) * c->threads);
    if (!c->workspaces || !c->teams) return -1;
    for (int t = 0; t < c->threads; t++) {
        Workspace *w = &c->workspaces[t];
        Team *team = &c->teams[t];
        w->network = n;
        w->memory = allocate(sizeof(vec) * n->vectors + n->units);
        w->weights = allocate(sizeof(float) * n->floats);
        team->gradients = allocate(sizeof(float) * c->kept * n->parameters);
        team->total = allocate(sizeof(double) * n->parameters);
        if (!w->memory || !w->weights || !team->gradients || !team->total) return -1;
    }
    return 0;
}

static int close_call(Call *c, int result) {
    for (int t = 0; c->workspaces && c->teams && t < c->threads; t++) {
        free(c->workspaces[t].memory);
        free(c->workspaces[t].weights);
        free(c->teams[t].gradients);
        free(c->teams[t].total);
    }
    free(c->workspaces);
    free(c->teams);
    free(c->group_losses);
    free(c->group_hits);
    free(c->packed);
    return result;
}

/* Which tables this build was compiled from. */
EXPORT const char *lanes_tables(void) { return TABLES; }

/* How many images are side by side in this build. */
EXPORT int lanes_width(void) { return LANES; }

/* Whether this processor can run the build of that name; asked of the portable one. */
EXPORT int lanes_supported(const char *build) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!strcmp(build, "avx512"))
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("fma");
    if (!strcmp(build, "avx2")) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    return !strcmp(build, "portable");
}

/* The first row of a table that can't be run (plan), or 0. */
EXPORT int lanes_refusal(const int32_t *table, int rows, const int32_t *shape) {
    Network n;
    return plan(&n, table, rows, shape[0], shape[1], shape[2]);
}

/* Trains every member for one epoch, in place. losses and accuracies: over its batches, before their steps. */
EXPORT int lanes_train(const int32_t *table, int rows, const int32_t *shape, int members, float *parameters,
                       float *first, float *second, int64_t *steps, const double *numbers, const int32_t *choices,
                       const uint8_t *images, const int64_t *labels, const int64_t *orders, int64_t count, int batch,
                       int threads, double *losses, double *accuracies) {
    Call c = {.split = {images, labels}, .images = count, .members = members, .threads = threads, .batch = batch,
              .parameters = parameters, .first = first, .second = second, .steps = steps, .numbers = numbers,
              .choices = choices, .orders = orders, .losses = losses, .accuracies = accuracies};
    int wrong = open_call(&c, table, rows, shape);
    return close_call(&c, wrong ? wrong : in_parallel(c.threads, train_thread, &c));
}

/* The gradient of the mean loss over the images at `order`; how many (unit, image) pairs of each layer (of those that
 * are not pooling) are saturated; and which units are not saturated by all images (both zeroed by the caller). */
EXPORT int lanes_probe(const int32_t *table, int rows, const int32_t *shape, int members, float *parameters,
                       const double *numbers, const int32_t *choices, const uint8_t *images, const int64_t *labels,
                       const int64_t *order, int64_t count, int threads, float *gradients, int64_t *often,
                       unsigned char *alive) {
    Call c = {.split = {images, labels}, .images = count, .members = members, .threads = threads,
              .batch = MOST_KEPT * LANES, .parameters = parameters, .numbers = numbers, .choices = choices,
              .orders = order, .gradients = gradients, .often = often, .alive = alive};
    int wrong = open_call(&c, table, rows, shape);
    return close_call(&c, wrong ? wrong : in_parallel(c.threads, probe_thread, &c));
}

/* Each member's mean loss and accuracy over the images at `order`. */
EXPORT int lanes_evaluate(const int32_t *table, int rows, const int32_t *shape, int members, float *parameters,
                          const double *numbers, const int32_t *choices, const uint8_t *images, const int64_t *labels,
                          const int64_t *order, int64_t count, int threads, double *losses, double *accuracies) {
    Call c = {.split = {images, labels}, .images = count, .members = members, .threads = threads, .batch = 1,
              .parameters = parameters, .numbers = numbers, .choices = choices, .orders = order};
    int wrong = open_call(&c, table, rows, shape);
    if (wrong) return close_call(&c, wrong);
    int64_t groups = (count + LANES - 1) / LANES;
    c.group_losses = allocate(sizeof(double) * members * groups);
    c.group_hits = allocate(sizeof(int64_t) * members * groups);
    c.packed = allocate(sizeof(float) * members * c.network.floats);
    if (!c.group_losses || !c.group_hits || !c.packed) return close_call(&c, -1);
    for (int m = 0; m < members; m++) {
        Workspace w = {.network = &c.network, .weights = c.packed + m * c.network.floats};
        prepare(&w, parameters + m * c.network.parameters, 0);
    }
    wrong = in_parallel(c.threads, evaluate_thread, &c);
    for (int m = 0; !wrong && m < members; m++) {
        double loss = 0;
        int64_t hits = 0;
        for (int64_t g = 0; g < groups; g++) {
            loss += c.group_losses[m * groups + g];
            hits += c.group_hits[m * groups + g];
        }
        losses[m] = loss / count;
        accuracies[m] = (double)hits / count;
    }
    return close_call(&c, wrong);
}

/* alpha f(z / alpha), or alpha f(z), and its derivative by z, for tests: z, value and slope of (count, LANES). 0, or -2. */
EXPORT int lanes_activate(int activation, int scaling, double alpha, const float *z, float *value, float *slope,
                           int64_t count) {
    if (!known((int32_t[]){activation, scaling, 0}, 1)) return -2;
    Settings settings = {activation, scaling, 0, alpha, 0, 0};
    Scaled f = scaled(&settings);
    for (int64_t i = 0; i < count; i++) {
        vec in, a, d;
        memcpy(&in, z + i * LANES, sizeof in);
        activate(&f, &in, &a, &d, 1);
        memcpy(value + i * LANES, &a, sizeof a);
        memcpy(slope + i * LANES, &d, sizeof d);
    }
    return 0;
}
