/* The activation functions and their derivatives, to a few units in the last place.
 *
 * Both come from the same exponential, e = exp(-|u|) or so, and never from the rounded value: tanh' = 4 e / (1 + e)^2
 * keeps its relative precision where 1 - tanh^2 would be nothing but rounding. Beyond the points where tanh and sigmoid
 * are 1 in double precision their derivatives are 0, as autograd has them there; products with less than that would
 * soon be denormal numbers, which are slow. */
#include <math.h>

#include "network.h"

typedef int32_t ints __attribute__((vector_size(4 * LANES)));
enum { ARGUMENT = 1, VALUE = 2, SLOPE = 4 }; /* what is mirrored where alpha is negative */

/* Those that `evaluate` has code for. */
#define EACH(x) \
    x(TANH) x(SIGMOID) x(LOGSIGMOID) x(ARCTAN) x(SOFTSIGN) x(RELU) x(LEAKY_RELU) x(ELU) x(RELU6) x(SILU) x(HARDSWISH) \
    x(PRELU) x(RRELU) x(GELU) x(MISH) x(SOFTPLUS) x(HARDTANH) x(IDENTITY)
#define ONE(kind) +1
_Static_assert(EACH(ONE) == ACTIVATION_COUNT, "evaluate must have code for each activation of tables.py");

static const struct {
    int monotone, homogeneous;
} table[] = {ACTIVATION_ROWS};

#define MIX(x) (x ^= x >> 16, x *= 0x7FEB352Du, x ^= x >> 15, x *= 0x846CA68Bu, x ^= x >> 16) /* trainers.streams.mixed */

typedef struct {
    vec value, slope;
} Pair;

/* 2^x - 1 and 2^x for x = rate * size <= 0, each to full relative precision. With x = n + r and a polynomial q = (2^r - 1) / r: 2^x = 2^n + 2^n r q. */
INLINE Pair exponential(const Scaled *f, vec size) {
    const vec magic = all(12582912.0f); /* 1.5 * 2^23: adding it leaves n in the lowest bits */
    size = at_most(size, f->reach);
    vec t = fma_(size, f->rate, magic);
    vec r = fma_(size, f->rate, magic - t);
    vec s = r * r;
    vec low = fma_(r, all(0.240226492f), all(0.693147182f));
    vec middle = fma_(r, all(0.00961823855f), all(0.0555035733f));
    vec high = fma_(r, all(0.000154031877f), all(0.00133907993f));
    vec q = fma_(s, fma_(s, high, middle), low);
    vec power = from_words((to_words(t) << 23) + (127u << 23)), p = power * r;
    return (Pair){fma_(p, q, power - all(1.0f)), fma_(p, q, power)};
}

/* log(1 + e) for 0 <= e <= 1, as 2 artanh(e / (2 + e)). */
INLINE vec log_one_plus(vec e) {
    vec s = e / (all(2.0f) + e), z = s * s;
    vec q = fma_(z, all(0.1213349998f), all(0.1071856618f));
    q = fma_(z, q, all(0.1430799961f));
    q = fma_(z, q, all(0.1999945492f));
    q = fma_(z, q, all(0.3333333731f));
    vec twice = s + s;
    return fma_(twice * z, q, twice);
}

/* A polynomial up to tan(pi / 8); beyond that and its inverse pi/4 + atan((u - 1) / (u + 1)), pi/2 - atan(1 / u). */
INLINE vec arctan(vec u) {
    const vec one = all(1.0f), zero = all(0.0f);
    vec size = absolute(u);
    mask medium = below(all(0.414213562f), size), large = below(all(2.41421356f), size);
    vec top = choose(large, all(-1.0f), choose(medium, size - one, size));
    vec bottom = choose(large, size, choose(medium, size + one, one));
    vec offset = choose(large, all(1.57079637f), choose(medium, all(0.785398185f), zero));
    vec rest = choose(large, all(-4.37113883e-8f), choose(medium, all(-2.18556941e-8f), zero));
    vec w = top / bottom, z = w * w;
    vec q = fma_(z, all(0.0805360898f), all(-0.138776481f));
    q = fma_(z, q, all(0.199777082f));
    q = fma_(z, q, all(-0.333329499f));
    return with_sign_of(offset + (fma_(w * z, q, w) + rest), u);
}

/* The integral of the normal density: near 0 an odd polynomial; further out exp(-u^2 / 2), given, times the smooth rest of
 * the tail, a polynomial in 1 / (1 + |u| / 2). */
INLINE vec normal_integral(vec u, vec size, vec e) {
    const vec one = all(1.0f), half = all(0.5f);
    vec s = u * u;
    vec near = fma_(s, all(5.36840503e-07f), all(-9.27312431e-06f));
    near = fma_(s, near, all(0.000115319301f));
    near = fma_(s, near, all(-0.00118728797f));
    near = fma_(s, near, all(0.00997355022f));
    near = fma_(s, near, all(-0.066490382f));
    near = fma_(s, near, all(0.398942292f));
    vec t = one / fma_(size, half, one), far = all(-0.107192643f);
    far = fma_(t, far, all(0.310813636f));
    far = fma_(t, far, all(-0.25876537f));
    far = fma_(t, far, all(-0.0532562919f));
    far = fma_(t, far, all(0.064001821f));
    far = fma_(t, far, all(0.143860966f));
    far = fma_(t, far, all(0.200493991f));
    far = fma_(t, far, all(0.199381113f));
    far = fma_(t, far, all(3.17306285e-06f)) * e;
    return choose(below(size, one), fma_(u, near, half), choose(below(u, all(0.0f)), far, one - far));
}

INLINE Pair scale(const Scaled *f, vec value, vec slope) { return (Pair){value * f->outer, slope * f->steep}; }

/* outer * f(inner * z) and its derivative; the kind is a constant wherever this is inlined. `below_0` is the slope there,
 * of those that have one. */
INLINE Pair evaluate(int kind, const Scaled *f, vec z, vec below_0) {
    const vec zero = all(0.0f), one = all(1.0f);
    vec size = absolute(z);
    if (kind == TANH) {
        Pair x = exponential(f, size);
        vec e = x.slope, q = one / (one + e), twice = f->outer * all(-2.0f) * e;
        vec slope = choose(below(f->flat, size), zero, f->steep * all(4.0f) * e * (q * q));
        vec far = fma_(twice, q, f->outer), near = (zero - f->outer) * x.value * q; /* far would cancel near 0 */
        return (Pair){with_sign_of(choose(below(e, all(0.5f)), far, near), z), slope};
    }
    if (kind == IDENTITY) return (Pair){z * f->steep, f->steep};
    if (kind == SIGMOID || kind == LOGSIGMOID || kind == SILU || kind == SOFTPLUS) {
        vec e = exponential(f, size).slope;
        vec q = one / (one + e), small = e * q; /* sigmoid(|u|) and sigmoid(-|u|) */
        mask negative = below(z, zero);
        vec up = choose(negative, small, q), down = choose(negative, q, small), u = z * f->inner;
        if (kind == SIGMOID) return scale(f, up, choose(below(f->flat, z), zero, small * q));
        if (kind == SOFTPLUS) return scale(f, at_least(u, zero) + log_one_plus(e), up);
        if (kind == LOGSIGMOID) return scale(f, at_most(u, zero) - log_one_plus(e), down);
        return scale(f, u * up, up * fma_(u, down, one));
    }
    const vec u = z * f->inner, size_u = absolute(u);
    if (kind == GELU) {
        vec e = exponential(f, u * u).slope, whole = normal_integral(u, size_u, e);
        return scale(f, u * whole, fma_(u * all(0.398942280f), e, whole));
    }
    if (kind == MISH) { /* tanh(log(1 + exp(u))) is `gate`, without a difference of what is nearly equal */
        vec e = exponential(f, size).slope, square = e * e;
        mask negative = below(u, zero);
        vec top = choose(negative, fma_(e, all(2.0f), square), fma_(e, all(2.0f), one));
        vec q = one / choose(negative, top + all(2.0f), fma_(square, all(2.0f), top)), gate = top * q;
        vec bend = all(4.0f) * choose(negative, e, square) * (one + e) * (q * q);
        return scale(f, u * gate, fma_(u, bend, gate));
    }
    if (kind == ARCTAN) return scale(f, arctan(u), one / fma_(u, u, one));
    if (kind == SOFTSIGN) {
        vec q = one / (one + size_u);
        return scale(f, u / (one + size_u), q * q);
    }
    const mask positive = below(zero, u);
    if (kind == RELU) return scale(f, at_least(u, zero), choose(positive, one, zero));
    if (kind == LEAKY_RELU || kind == PRELU || kind == RRELU)
        return scale(f, choose(positive, u, below_0 * u), choose(positive, one, below_0));
    if (kind == HARDTANH)
        return scale(f, at_most(at_least(u, zero - one), one), choose(below(size_u, one), one, zero));
    if (kind == ELU) {
        Pair x = exponential(f, at_least(zero - z, zero));
        return scale(f, choose(positive, u, below_0 * x.value), choose(positive, one, below_0 * x.slope));
    }
    if (kind == RELU6) {
        vec slope = choose(positive, choose(below(u, all(6.0f)), one, zero), zero);
        return scale(f, at_most(at_least(u, zero), all(6.0f)), slope);
    }
    if (kind != HARDSWISH) return (Pair){all(__builtin_nanf("")), all(__builtin_nanf(""))};
    vec gate = at_most(at_least(u + all(3.0f), zero), all(6.0f)) * all(1.0f / 6.0f);
    vec middle = fma_(u, all(1.0f / 3.0f), all(0.5f));
    return scale(f, u * gate, choose(below(u, all(-3.0f)), zero, choose(below(all(3.0f), u), one, middle)));
}

INLINE void over(int kind, const Scaled *f, const vec *z, const vec *drawn, vec *value, vec *slope, size_t count) {
    const Scaled g = *f; /* a copy that no store can change */
    if (slope)
        for (size_t i = 0; i < count; i++) {
            Pair p = evaluate(kind, &g, z[i], kind == RRELU && drawn ? drawn[i] : g.below_0);
            value[i] = p.value;
            slope[i] = p.slope;
        }
    else
        for (size_t i = 0; i < count; i++)
            value[i] = evaluate(kind, &g, z[i], kind == RRELU && drawn ? drawn[i] : g.below_0).value;
}

INLINE void negate(vec *x, const vec *of, size_t count) {
    for (size_t i = 0; i < count; i++) x[i] = all(-0.0f) - of[i];
}

/* Of so many z, which may lie where the values go. `drawn` are the slopes below 0 of RRELU, or NULL for their mean. */
void activate(const Scaled *f, const vec *z, const vec *drawn, Activated to, size_t count) {
    const vec *arguments = z;
    for (size_t i = 0; to.by_below_0 && i < count; i++) {
        vec u = z[i] * all((float)f->signed_inner);
        to.by_below_0[i] = choose(below(all(0.0f), u), all(0.0f), u * all((float)f->alpha));
    }
    if (to.by_alpha && z == to.value) arguments = memcpy(to.by_alpha, z, sizeof(vec) * count);
    if (f->mirrored & ARGUMENT) {
        negate(to.value, z, count);
        z = to.value;
    }
#define CASE(kind) \
    case kind: over(kind, f, z, drawn, to.value, to.slope, count); break;
    switch (f->activation) { EACH(CASE) }
#undef CASE
    if (f->mirrored & VALUE) negate(to.value, to.value, count);
    if (f->mirrored & SLOPE && to.slope) negate(to.slope, to.slope, count);
    /* the derivative of alpha f(z / alpha) is f(u) - u f'(u), and none where that is 0 in exact arithmetic */
    const vec inverse = all((float)(1 / f->alpha)), rescaled = all((float)f->rescaled);
    for (size_t i = 0; to.by_alpha && i < count; i++)
        to.by_alpha[i] =
            f->still ? all(0.0f) : (vec)((to.value[i] - rescaled * arguments[i] * to.slope[i]) * inverse);
}

/* The slopes below 0 of a group's images, the first of them `first` of its batch: trainers.streams.uniform, of a layer
 * (`of_layer`) with so many units, from `unit` on. */
void draw(uint32_t of_layer, uint32_t first, uint32_t units, uint32_t unit, vec *slopes, size_t count) {
    const float low = (float)RANDOM_LOW, width = (float)((RANDOM_HIGH - RANDOM_LOW) / (1 << 24));
    words at;
    for (uint32_t l = 0; l < LANES; l++) at[l] = (first + l) * units + unit;
    for (size_t i = 0; i < count; i++, at += 1) {
        words number = at;
        MIX(number);
        number ^= of_layer;
        MIX(number);
        slopes[i] = all(low) + all(width) * (vec)__builtin_convertvector((ints)(number >> 8), vec);
    }
}

/* The part of it that the step and the layer decide. */
uint32_t layer_of_draw(uint32_t key, int64_t step, int depth) {
    uint32_t x = key + (uint32_t)step;
    MIX(x);
    x += (uint32_t)depth;
    MIX(x);
    return x;
}

/* `alpha` and `below_0` as they are at the moment, where they are learned. */
Scaled scaled(const Choices *choices, const Numbers *numbers, double alpha, double below_0) {
    int naive = choices->scaling == NAIVE, kind = choices->activation;
    double size = fabs(alpha), inner = naive ? 1.0 : 1.0 / size;
    /* the exponential that it takes is of |z| / alpha, or twice that, or of half the square of z / alpha */
    double by = kind == GELU ? 0.5 : kind == TANH ? 2.0 * inner : inner;
    Scaled f = {.activation = kind, .alpha = alpha, .monotone = table[kind].monotone};
    f.low = (float)numbers->low;
    f.high = (float)numbers->high;
    f.from = (float)numbers->from;
    f.to = (float)numbers->to;
    if (kind == PRELU) { /* ACTIVATIONS has the same */
        double steepest = SATURATED_BELOW * fmax(1.0, fabs(below_0));
        f.low = fabs(below_0) < steepest ? (float)ABOVE_ZERO : -__builtin_inff();
        f.high = steepest > 1 ? 0.0f : __builtin_inff();
        f.monotone = below_0 > 0;
    }
    f.inner = all((float)inner);
    f.outer = all((float)size);
    f.steep = all(naive ? (float)size : 1.0f);
    f.rate = all((float)(-by * 1.4426950408889634));
    f.reach = all((float)(kind == TANH ? 20.0 / inner : 87.0 / by));
    f.flat = all((float)((kind == TANH ? 19.06 : 36.8) / inner));
    f.below_0 = all((float)below_0);
    f.signed_inner = alpha < 0 && !naive ? -inner : inner;
    f.rescaled = !naive;
    f.still = !naive && table[kind].homogeneous;
    if (alpha < 0) { /* alpha f(z / alpha) = -|alpha| f(-z / |alpha|) */
        f.mirrored = naive ? VALUE | SLOPE : ARGUMENT | VALUE;
        f.monotone &= !naive;
    }
    return f;
}

/* tanh(inner z), of dynamic tanh; its derivative by inner z. */
Scaled hyperbolic(double inner) {
    Scaled f = scaled(&(Choices){.activation = TANH, .scaling = NAIVE}, &(Numbers){0}, 1.0, 0.0);
    double size = fabs(inner);
    f.rate = all((float)(-2.0 * size * 1.4426950408889634));
    f.reach = all((float)(20.0 / size));
    f.flat = all((float)(19.06 / size));
    if (inner < 0) f.mirrored = ARGUMENT;
    return f;
}

/* The logistic function, of gates; at alpha 1, or scaled as f is. */
Scaled logistic(const Scaled *f, int scaled_as_f) {
    Choices choices = {.activation = SIGMOID, .scaling = f->rescaled ? RESCALED : NAIVE};
    return scaled(&choices, &(Numbers){0}, scaled_as_f ? f->alpha : 1.0, 0.0);
}

void count_saturated(const Scaled *f, const vec *z, size_t count, Saturation *s, int layer, size_t unit) {
    vec low = all(f->low), high = all(f->high), from = all(f->from), to = all(f->to), inner = all((float)f->signed_inner);
    int64_t often = 0;
    for (size_t i = 0; i < count; i++) {
        vec u = z[i] * inner;
        unsigned saturated = bits(below(u, low)) | bits(below(high, u)) | (bits(below(from, u)) & bits(below(u, to)));
        saturated &= s->valid;
        often += __builtin_popcount(saturated);
        s->alive[unit + i] |= saturated != s->valid;
    }
    s->often[layer] += often;
}
