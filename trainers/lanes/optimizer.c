/* Adam as in Algorithm 1 of Kingma and Ba (2015), computed as torch.optim.Adam does; the penalty is part of what it
 * sees. A plain loop: the compiler makes vectors of it. */
#include <math.h>

#include "network.h"

void adam(size_t count, float *parameters, float *first, float *second, const double *gradient, int64_t step,
          const Settings *s) {
    const float size = (float)(s->learning_rate / (1 - pow(0.9, (double)step)));
    const float correction = (float)sqrt(1 - pow(0.999, (double)step));
    const float l1 = s->l1 ? (float)s->r : 0.0f, l2 = s->l1 ? 0.0f : (float)s->r;
    for (size_t i = 0; i < count; i++) {
        float w = parameters[i];
        float sign = (float)((w > 0) - (w < 0));
        float g = (float)gradient[i] + l2 * w + l1 * sign;
        float m = first[i] + 0.1f * (g - first[i]);
        float v = 0.999f * second[i] + 0.001f * (g * g);
        first[i] = m;
        second[i] = v;
        parameters[i] = w - size * m / (sqrtf(v) / correction + 1e-7f);
    }
}
