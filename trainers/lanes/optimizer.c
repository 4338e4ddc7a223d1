/* Adam as in Algorithm 1 of Kingma and Ba (2015), computed as torch.optim.Adam does; the penalty is part of what it
 * sees. A plain loop: the compiler makes vectors of it. */
#include <math.h>

#include "network.h"

void adam(size_t count, float *parameters, float *first, float *second, const float *gradient, int64_t step,
          const Settings *s) {
    const float size = (float)(s->learning_rate / (1 - pow(BETA1, (double)step)));
    const float correction = (float)sqrt(1 - pow(BETA2, (double)step));
    const float l1 = s->penalty == L1 ? (float)s->r : 0.0f, l2 = s->penalty == L2 ? (float)s->r : 0.0f;
    for (size_t i = 0; i < count; i++) {
        float w = parameters[i];
        float sign = (float)((w > 0) - (w < 0));
        float g = gradient[i] + l2 * w + l1 * sign;
        float m = first[i] + (float)(1 - BETA1) * (g - first[i]);
        float v = (float)BETA2 * second[i] + (float)(1 - BETA2) * (g * g);
        first[i] = m;
        second[i] = v;
        parameters[i] = w - size * m / (sqrtf(v) / correction + (float)EPSILON);
    }
}
