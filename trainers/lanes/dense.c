/* Dense layers and the loss. They are a few hundred multiply-adds in half a million: written to be short, and the sums
 * of the way forward in double precision, which costs nothing that can be measured. */
#include <math.h>

#include "network.h"

/* out[j] = bias[j] + sum over i of weights[j][i] in[i] */
void dense(const vec *in, int count, const float *weights, const float *bias, vec *out, int units) {
    for (int j = 0; j < units; j++) {
        wide even = widened(all(bias ? bias[j] : 0.0f)), odd = widened(all(0.0f));
        for (int i = 0; i + 1 < count; i += 2, weights += 2) {
            even += widened(in[i]) * (double)weights[0];
            odd += widened(in[i + 1]) * (double)weights[1];
        }
        if (count % 2) even += widened(in[count - 1]) * (double)*weights++;
        out[j] = narrowed(even + odd);
    }
}

/* From the gradient by the units: by the inputs (`back`, or NULL), by the weights and by the bias (or NULL). */
void dense_back(const vec *in, int count, const float *weights, const vec *gradient, int units, vec *back,
                float *weight_gradient, float *bias_gradient) {
    for (int i = 0; i < count; i++) {
        vec s = all(0.0f);
        for (int j = 0; j < units; j++) {
            s = fma_(gradient[j], all(weights[(size_t)j * count + i]), s);
            weight_gradient[(size_t)j * count + i] = sum(in[i] * gradient[j]);
        }
        if (back) back[i] = s;
    }
    if (bias_gradient)
        for (int j = 0; j < units; j++) bias_gradient[j] = sum(gradient[j]);
}

/* The loss of the valid lanes: adds up losses and hits, and gives scale times the gradient by the outputs.
 *
 * The cross-entropy's gradient at the label is minus the other classes' probability, summed, not the label's minus 1: it keeps its
 * precision where the network is sure. In double precision, lane by lane: ten numbers per image. */
void score(int loss, const vec *outputs, int classes, const int *labels, int valid, float scale, vec *gradient,
           double *sum, int64_t *hits) {
    for (int j = 0; gradient && j < classes; j++) gradient[j] = all(0.0f);
    for (int lane = 0; lane < valid; lane++) {
        int best = 0, label = labels[lane];
        for (int j = 1; j < classes; j++)
            if (outputs[j][lane] > outputs[best][lane]) best = j;
        *hits += best == label;
        double top = outputs[best][lane], others = 0, e[MOST_UNITS];
        e[label] = 0;
        for (int j = 0; loss == SQUARED && j < classes; j++) {
            double off = outputs[j][lane] - (double)(j == label);
            *sum += off * off / classes;
            if (gradient) gradient[j][lane] = (float)(2 * off / classes * scale);
        }
        if (loss == SQUARED) continue;
        for (int j = 0; j < classes; j++) {
            e[j] = exp(outputs[j][lane] - top);
            if (j != label) others += e[j];
        }
        double total = others + e[label];
        *sum += log(total) + top - outputs[label][lane];
        for (int j = 0; gradient && j < classes; j++)
            gradient[j][lane] = (float)((j == label ? -others : e[j]) / total * scale);
    }
}
