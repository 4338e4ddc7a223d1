/* One call from Python, and the members and threads that share it. */
#ifndef ENGINE_H
#define ENGINE_H

#include "network.h"

enum { MOST_KEPT = 32, MOST_THREADS = 256 };

typedef struct {
    Barrier barrier;
    float *gradients; /* (kept, parameters), of groups */
    double *total;    /* (parameters,), of a batch */
    double losses[MOST_KEPT], loss;
    int64_t hits[MOST_KEPT], hit;
} Team;

/* The arrays of one call; what a call does not use is NULL. */
typedef struct {
    Network network;
    Split split;
    int64_t images;
    int members, threads, batch, kept;
    float *parameters, *first, *second; /* (members, parameters) */
    int64_t *steps;                     /* (members,) */
    const double *numbers;              /* (members, 3): alpha, r, learning rate */
    const int32_t *choices;             /* (members, 3): activation, scaling, penalty */
    const int64_t *orders;              /* (members, images), or (images,) */
    double *losses, *accuracies;        /* (members,) */
    float *gradients;                   /* (members, parameters) */
    int64_t *often;                     /* (members, layers) */
    unsigned char *alive;               /* (members, units) */
    double *group_losses;               /* (members, groups) */
    int64_t *group_hits;                /* (members, groups) */
    float *packed;                      /* (members, floats) */
    Workspace *workspaces;
    Team *teams;
    int64_t next; /* the next member, or group, that no thread has taken */
} Call;

/* The work of one thread, for in_parallel. */
void train_thread(void *call, int thread, int threads);
void probe_thread(void *call, int thread, int threads);
void evaluate_thread(void *call, int thread, int threads);

#endif
