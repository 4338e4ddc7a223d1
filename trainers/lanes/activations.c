/* The activation functions and their derivatives, to a few units in the last place.
 *
 * Both come from the same exponential, e = exp(-|u|) or so, and never from the rounded value: tanh' = 4 e / (1 + e)^2
 * keeps its relative precision where 1 - tanh^2 would be nothing but rounding. Beyond the points where tanh and sigmoid
 * are 1 in double precision their derivatives are 0, as autograd has them there; products with less than that would
 * soon be denormal numbers, which are slow. */
#include "network.h"

/* Those that `evaluate` has code for. */
#define EACH(x) \
    x(TANH) x(SIGMOID) x(LOGSIGMOID) x(ARCTAN) x(SOFTSIGN) x(RELU) x(LEAKY_RELU) x(ELU) x(RELU6) x(SILU) x(HARDSWISH)
#define ONE(kind) +1
_Static_assert(EACH(ONE) == ACTIVATION_COUNT, "evaluate must have code for each activation of tables.py");

/* A row an activation. A unit is saturated where |f'(u)| < 0.01 sup |f'|: below the first number, above the second, or
 * between the next two. */
static const struct {
    float low, high, from, to;
    int monotone;
} table[] = {ACTIVATION_ROWS};

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

INLINE Pair scale(const Scaled *f, vec value, vec slope) { return (Pair){value * f->outer, slope * f->steep}; }

/* outer * f(inner * z) and its derivative; the kind is a constant wherever this is inlined. */
INLINE Pair evaluate(int kind, const Scaled *f, vec z) {
    const vec zero = all(0.0f), one = all(1.0f);
    vec size = absolute(z);
    if (kind == TANH) {
        Pair x = exponential(f, size);
        vec e = x.slope, q = one / (one + e), twice = f->outer * all(-2.0f) * e;
        vec slope = choose(below(f->flat, size), zero, f->steep * all(4.0f) * e * (q * q));
        vec far = fma_(twice, q, f->outer), near = (zero - f->outer) * x.value * q; /* far would cancel near 0 */
        return (Pair){with_sign_of(choose(below(e, all(0.5f)), far, near), z), slope};
    }
    if (kind == SIGMOID || kind == LOGSIGMOID || kind == SILU) {
        vec e = exponential(f, size).slope;
        vec q = one / (one + e), small = e * q; /* sigmoid(|u|) and sigmoid(-|u|) */
        mask negative = below(z, zero);
        vec up = choose(negative, small, q), down = choose(negative, q, small), u = z * f->inner;
        if (kind == SIGMOID) return scale(f, up, choose(below(f->flat, z), zero, small * q));
        if (kind == LOGSIGMOID) return scale(f, at_most(u, zero) - log_one_plus(e), down);
        return scale(f, u * up, up * fma_(u, down, one));
    }
    const vec u = z * f->inner, size_u = absolute(u);
    if (kind == ARCTAN) return scale(f, arctan(u), one / fma_(u, u, one));
    if (kind == SOFTSIGN) {
        vec q = one / (one + size_u);
        return scale(f, u / (one + size_u), q * q);
    }
    const mask positive = below(zero, u);
    if (kind == RELU) return scale(f, at_least(u, zero), choose(positive, one, zero));
    if (kind == LEAKY_RELU)
        return scale(f, choose(positive, u, all(0.01f) * u), choose(positive, one, all(0.01f)));
    if (kind == ELU) {
        Pair x = exponential(f, at_least(zero - z, zero));
        return scale(f, choose(positive, u, x.value), choose(positive, one, x.slope));
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

INLINE void over(int kind, const Scaled *f, const vec *z, vec *value, vec *slope, size_t count) {
    const Scaled g = *f; /* a copy that no store can change */
    if (slope)
        for (size_t i = 0; i < count; i++) {
            Pair p = evaluate(kind, &g, z[i]);
            value[i] = p.value;
            slope[i] = p.slope;
        }
    else
        for (size_t i = 0; i < count; i++) value[i] = evaluate(kind, &g, z[i]).value;
}

/* value may be z itself; slope may be NULL. */
void activate(const Scaled *f, const vec *z, vec *value, vec *slope, size_t count) {
#define CASE(kind) \
    case kind: over(kind, f, z, value, slope, count); break;
    switch (f->activation) { EACH(CASE) }
#undef CASE
}

Scaled scaled(const Choices *choices, const Numbers *numbers) {
    int naive = choices->scaling == NAIVE, is_tanh = choices->activation == TANH;
    double alpha = numbers->alpha, inner = naive ? 1.0 : 1.0 / alpha;
    double rate = inner * (is_tanh ? -2.0 : -1.0) * 1.4426950408889634;
    Scaled f = {.activation = choices->activation};
    f.inner = all((float)inner);
    f.outer = all((float)alpha);
    f.steep = all(naive ? (float)alpha : 1.0f);
    f.rate = all((float)rate);
    f.reach = all((float)((is_tanh ? 20.0 : 87.0) / inner));
    f.flat = all((float)((is_tanh ? 19.06 : 36.8) / inner));
    return f;
}

/* Where f increases (or stays), the largest z of a pool is also the largest f(z). */
int is_monotone(int activation) { return table[activation].monotone; }

void count_saturated(const Scaled *f, const vec *z, size_t count, Saturation *s, int layer, size_t unit) {
    vec low = all(table[f->activation].low), high = all(table[f->activation].high);
    vec from = all(table[f->activation].from), to = all(table[f->activation].to);
    int64_t often = 0;
    for (size_t i = 0; i < count; i++) {
        vec u = z[i] * f->inner;
        unsigned saturated = bits(below(u, low)) | bits(below(high, u)) | (bits(below(from, u)) & bits(below(u, to)));
        saturated &= s->valid;
        often += __builtin_popcount(saturated);
        s->alive[unit + i] |= saturated != s->valid;
    }
    s->often[layer] += often;
}
