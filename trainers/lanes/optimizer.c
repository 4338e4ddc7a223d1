/* The optimizers' steps, each computed as the class of torch.optim does that trainers/optimizers.py names; a coupled
 * penalty is part of the gradient that they see. Plain loops: the compiler makes vectors of them. */
#include <math.h>

#include "network.h"

#define EACH(x) x(ADAM) x(SGD) x(MOMENTUM) x(NESTEROV) x(RMSPROP)
#define ONE(kind) +1
_Static_assert(EACH(ONE) == OPTIMIZER_COUNT, "there must be a loop for each optimizer of tables.py");

/* x / by, rounded correctly, for x >= 0: a division takes a processor as long as ten multiply-adds. What two corrections leave
 * is nearest (Markstein 1990, theorem 2), as the inverse is rounded correctly. Of an infinite x they would make NaN. */
static inline float divided(float x, float by, float inverse) {
#if defined(__FMA__) || defined(__aarch64__)
    float q = x * inverse;
    q = __builtin_fmaf(__builtin_fmaf(-q, by, x), inverse, q);
    q = __builtin_fmaf(__builtin_fmaf(-q, by, x), inverse, q);
    return q == q ? q : x;
#else
    (void)inverse;
    return x / by;
#endif
}

/* The step of that number (the first is 1) at a learning rate. */
Step step_of(const Choices *choices, const Numbers *numbers, int64_t number, double rate) {
    Step step = {.number = number, .optimizer = choices->optimizer, .size = (float)rate, .shrink = 1.0f, .factor = 1.0f};
    step.epsilon = (float)numbers->epsilon;
    if (step.optimizer == ADAM) {
        double correction = sqrt(1 - pow(BETA2, (double)number));
        step.size = (float)(rate / (1 - pow(BETA1, (double)number)));
        step.correction = (float)correction;
        step.inverse = 1.0f / step.correction;
        if (choices->epsilon_at == BEFORE) step.epsilon = (float)(numbers->epsilon / correction);
    }
    if (choices->penalty == L1) step.l1 = (float)numbers->r;
    if (choices->penalty == L2) step.l2 = (float)numbers->r;
    if (choices->penalty == DECOUPLED) step.shrink = (float)(1 - rate * numbers->r);
    return step;
}

/* The gradient of the loss and the penalty. */
INLINE float objective(const Step *s, float w, float gradient) {
    return gradient + s->l2 * w + (w != 0 ? copysignf(s->l1, w) : 0.0f);
}

/* In floats: what an inner loop runs over, and how far ahead of it to prefetch, since large layers are not in the second-level
 * cache. */
enum { BLOCK = 4 * LINE, AHEAD = 8 * BLOCK };

/* Both are constants wherever this is inlined; a `simple` step neither shrinks parameters nor clips gradients. */
INLINE void loop(int optimizer, int simple, const Step s, size_t count, float *restrict parameters,
                 float *restrict first, float *restrict second, const float *restrict gradient) {
    for (size_t begin = 0; begin < count; begin += BLOCK) {
        size_t end = count - begin < BLOCK ? count : begin + BLOCK;
        for (size_t i = begin + AHEAD; i < begin + AHEAD + BLOCK; i += LINE) {
            __builtin_prefetch(parameters + i, 1);
            if (optimizer != SGD) __builtin_prefetch(first + i, 1);
            if (optimizer == ADAM) __builtin_prefetch(second + i, 1);
        }
        for (size_t i = begin; i < end; i++) {
            float w = parameters[i], g = objective(&s, w, gradient[i]);
            if (!simple) {
                w *= s.shrink;
                g *= s.factor;
            }
            if (optimizer == ADAM) {
                float m = first[i] + (float)(1 - BETA1) * (g - first[i]);
                float v = (float)BETA2 * second[i] + (float)(1 - BETA2) * (g * g);
                first[i] = m;
                second[i] = v;
                parameters[i] = w - s.size * m / (divided(sqrtf(v), s.correction, s.inverse) + s.epsilon);
            } else if (optimizer == RMSPROP) {
                float v = (float)DECAY * first[i] + (float)(1 - DECAY) * (g * g);
                first[i] = v;
                parameters[i] = w - s.size * g / (sqrtf(v) + s.epsilon);
            } else if (optimizer == SGD) {
                parameters[i] = w - s.size * g;
            } else {
                float v = (float)MOMENTUM_OF_SGD * first[i] + g;
                first[i] = v;
                parameters[i] = w - s.size * (optimizer == NESTEROV ? g + (float)MOMENTUM_OF_SGD * v : v);
            }
        }
    }
}

/* One step in place; `first` and `second` are what the optimizer keeps, in its order. */
void advance(const Step *step, size_t count, float *parameters, float *first, float *second, const float *gradient) {
    int simple = step->shrink == 1.0f && step->factor == 1.0f;
    switch (2 * step->optimizer + simple) {
#define CASE(kind) \
    case 2 * kind: loop(kind, 0, *step, count, parameters, first, second, gradient); break; \
    case 2 * kind + 1: loop(kind, 1, *step, count, parameters, first, second, gradient); break;
        EACH(CASE)
#undef CASE
    }
}

/* The sum of squares of the gradient that an optimizer sees before it is clipped. */
double squares(const Step *step, size_t count, const float *parameters, const float *gradient) {
    wide total = widened(all(0.0f));
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        vec g;
        float *of_lane = (float *)&g;
        for (int l = 0; l < LANES; l++) of_lane[l] = objective(step, parameters[i + l], gradient[i + l]);
        total += widened(g) * widened(g);
    }
    double result = 0;
    for (int l = 0; l < LANES; l++) result += total[l];
    for (; i < count; i++) {
        double g = objective(step, parameters[i], gradient[i]);
        result += g * g;
    }
    return result;
}
