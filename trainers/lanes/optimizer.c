/* Adam as in Algorithm 1 of Kingma and Ba (2015), computed as torch.optim.Adam does; the penalty is part of what it
 * sees. A plain loop: the compiler makes vectors of it. */
#include <math.h>

#include "network.h"

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

Step step_of(const Settings *s, int64_t number) {
    Step step = {.size = (float)(s->learning_rate / (1 - pow(BETA1, (double)number)))};
    step.correction = (float)sqrt(1 - pow(BETA2, (double)number));
    step.inverse = 1.0f / step.correction;
    step.l1 = s->penalty == L1 ? (float)s->r : 0.0f;
    step.l2 = s->penalty == L2 ? (float)s->r : 0.0f;
    return step;
}

void adam(const Step *step, size_t count, float *restrict parameters, float *restrict first, float *restrict second,
          const float *restrict gradient) {
    const Step s = *step;
    for (size_t i = 0; i < count; i++) {
        float w = parameters[i];
        float sign = (float)((w > 0) - (w < 0));
        float g = gradient[i] + s.l2 * w + s.l1 * sign;
        float m = first[i] + (float)(1 - BETA1) * (g - first[i]);
        float v = (float)BETA2 * second[i] + (float)(1 - BETA2) * (g * g);
        first[i] = m;
        second[i] = v;
        parameters[i] = w - s.size * m / (divided(sqrtf(v), s.correction, s.inverse) + (float)EPSILON);
    }
}
