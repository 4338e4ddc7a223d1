/* An epoch, a probe or an evaluation of an array of members, on several threads.
 *
 * The bits of a member depend neither on the other members nor on the threads. Members are handed out whole; those left
 * over when fewer members than threads remain are each trained by a team, whose ranks share out the groups of LANES
 * images of a batch. A group's gradient is computed by one rank and kept apart, and one rank adds up the groups in
 * their order, in double precision. */
#include "engine.h"

/* One thread's part in the training of one member. */
typedef struct {
    Call *call;
    Team *team;
    Workspace *w;
    int member, rank, size;
    Settings settings;
    Scaled f;
    float *parameters;
} Part;

static Settings settings_of(const Call *c, int member) {
    const double *x = c->numbers + 3 * (size_t)member;
    const int32_t *y = c->choices + 3 * (size_t)member;
    return (Settings){y[0], y[1], y[2], x[0], x[1], x[2]};
}

static int lanes_of(int64_t rest) { return rest < LANES ? (int)rest : LANES; }

/* Adds to the team's total the gradient of `scale` times the losses of `count` images, and to its sums their losses
 * and hits. Rank 0 has them when this returns. */
static void accumulate(const Part *p, const int64_t *order, int64_t count, float scale, Saturation *saturation) {
    Call *c = p->call;
    Team *team = p->team;
    const Network *n = &c->network;
    const Layer *last = &n->layers[n->count - 1];
    const vec *logits = p->w->memory + last->value;
    vec *dlogits = p->w->memory + last->slope;
    int64_t kept = (int64_t)c->kept * LANES;
    for (int64_t begin = 0; begin < count; begin += kept) {
        int64_t rest = count - begin < kept ? count - begin : kept;
        int groups = (int)((rest + LANES - 1) / LANES);
        if (begin) meet(&team->barrier, p->size); /* rank 0 has read the gradients before these */
        for (int g = p->rank; g < groups; g += p->size) {
            gather(p->w, &c->split, order + begin + g * LANES, lanes_of(rest - g * LANES));
            if (saturation) saturation->valid = (unsigned)((1ull << p->w->valid) - 1);
            forward(p->w, p->parameters, &p->f, 1, saturation);
            team->losses[g] = 0;
            team->hits[g] = 0;
            softmax(logits, n->classes, p->w->labels, p->w->valid, scale, dlogits, &team->losses[g], &team->hits[g]);
            backward(p->w, p->parameters, team->gradients + g * n->parameters);
        }
        meet(&team->barrier, p->size);
        for (int g = 0; p->rank == 0 && g < groups; g++) {
            const float *gradient = team->gradients + g * n->parameters;
            for (size_t i = 0; i < n->parameters; i++) team->total[i] += gradient[i];
            team->loss += team->losses[g];
            team->hit += team->hits[g];
        }
    }
}

static void train(const Part *p) {
    Call *c = p->call;
    Team *team = p->team;
    size_t size = c->network.parameters, member = p->member;
    const int64_t *order = c->orders + member * c->images;
    for (int64_t begin = 0; begin < c->images; begin += c->batch) {
        int64_t count = c->images - begin < c->batch ? c->images - begin : c->batch;
        prepare(p->w, p->parameters, 1);
        accumulate(p, order + begin, count, 1.0f / count, NULL);
        if (p->rank == 0) {
            adam(size, p->parameters, c->first + member * size, c->second + member * size, team->total,
                 ++c->steps[member], &p->settings);
            memset(team->total, 0, sizeof(double) * size);
        }
        meet(&team->barrier, p->size); /* the others go on with the new parameters */
    }
    if (p->rank) return;
    c->losses[member] = team->loss / c->images;
    c->accuracies[member] = (double)team->hit / c->images;
}

static void probe(const Part *p) {
    Call *c = p->call;
    const Network *n = &c->network;
    int64_t often[MOST_LAYERS] = {0};
    unsigned char *alive = (unsigned char *)(p->w->memory + n->vectors);
    Saturation here = {often, alive, 0};
    memset(alive, 0, n->units);
    prepare(p->w, p->parameters, 1);
    accumulate(p, c->orders, c->images, 1.0f / c->images, &here);
    for (int i = 0; i < n->count; i++)
        __atomic_fetch_add(&c->often[(size_t)p->member * n->count + i], often[i], __ATOMIC_RELAXED);
    for (size_t u = 0; u < n->units; u++)
        if (alive[u]) __atomic_store_n(&c->alive[p->member * n->units + u], 1, __ATOMIC_RELAXED);
    for (size_t i = 0; p->rank == 0 && i < n->parameters; i++)
        c->gradients[p->member * n->parameters + i] = (float)p->team->total[i];
}

static void take_part(Call *c, int member, int leader, int rank, int size, Workspace *w, void (*work)(const Part *)) {
    Part p = {c, &c->teams[leader], w, member, rank, size, settings_of(c, member), {0}, NULL};
    p.f = scaled(&p.settings);
    p.parameters = c->parameters + (size_t)member * c->network.parameters;
    if (rank == 0) {
        memset(p.team->total, 0, sizeof(double) * c->network.parameters);
        p.team->loss = 0;
        p.team->hit = 0;
    }
    meet(&p.team->barrier, size); /* the leader's buffers are free now */
    work(&p);
}

/* Members, one per thread, while there are enough for all threads, then a team for each that is left. */
static void share_out(Call *c, int thread, int threads, void (*work)(const Part *)) {
    Workspace *w = &c->workspaces[thread];
    int left = c->members % threads, alone = c->members - left;
    for (int64_t m; (m = __atomic_fetch_add(&c->next, 1, __ATOMIC_RELAXED)) < alone;)
        take_part(c, (int)m, thread, 0, 1, w, work);
    int size = left ? threads / left : 0, team = left ? thread / size : 0;
    if (team < left) take_part(c, alone + team, team * size, thread % size, size, w, work);
}

void train_thread(void *call, int thread, int threads) { share_out(call, thread, threads, train); }

void probe_thread(void *call, int thread, int threads) { share_out(call, thread, threads, probe); }

/* Groups, one per thread, each for all members: the images are transposed once. */
void evaluate_thread(void *call, int thread, int threads) {
    Call *c = call;
    const Network *n = &c->network;
    Workspace w = c->workspaces[thread];
    const vec *logits = w.memory + n->layers[n->count - 1].value;
    int64_t groups = (c->images + LANES - 1) / LANES;
    (void)threads;
    for (int64_t g; (g = __atomic_fetch_add(&c->next, 1, __ATOMIC_RELAXED)) < groups;) {
        gather(&w, &c->split, c->orders + g * LANES, lanes_of(c->images - g * LANES));
        for (int m = 0; m < c->members; m++) {
            Settings settings = settings_of(c, m);
            Scaled f = scaled(&settings);
            w.weights = c->packed + m * n->floats;
            forward(&w, c->parameters + m * n->parameters, &f, 0, NULL);
            softmax(logits, n->classes, w.labels, w.valid, 0, NULL, &c->group_losses[m * groups + g],
                    &c->group_hits[m * groups + g]);
        }
    }
}
