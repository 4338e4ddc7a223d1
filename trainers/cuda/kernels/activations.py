"""The activation functions and their derivatives, to a few units in the last place; the same formulas as lanes'.

Both come from the same exponential, e = exp(-|u|) or so, and never from the rounded value: tanh' = 4 e / (1 + e)^2
keeps its relative precision where 1 - tanh^2 would be nothing but rounding. No tanh, exp or log of the device's is
used, whose approximations differ from one device to the next and from the interpreter's.

`f` is the tuple of a member's settings that `trainers.cuda.settings` makes: (inner, outer, steep, rate, reach, flat).
"""

import triton
import triton.language as tl

from trainers.cuda import SUPPORT

ACTIVATIONS = SUPPORT.fields["activation"]

TANH = tl.constexpr(ACTIVATIONS.index("tanh"))
SIGMOID = tl.constexpr(ACTIVATIONS.index("sigmoid"))
LOGSIGMOID = tl.constexpr(ACTIVATIONS.index("logsigmoid"))
ARCTAN = tl.constexpr(ACTIVATIONS.index("arctan"))
SOFTSIGN = tl.constexpr(ACTIVATIONS.index("softsign"))
RELU = tl.constexpr(ACTIVATIONS.index("relu"))
LEAKY_RELU = tl.constexpr(ACTIVATIONS.index("leaky_relu"))
ELU = tl.constexpr(ACTIVATIONS.index("elu"))
RELU6 = tl.constexpr(ACTIVATIONS.index("relu6"))
SILU = tl.constexpr(ACTIVATIONS.index("silu"))
HARDSWISH = tl.constexpr(ACTIVATIONS.index("hardswish"))


@triton.jit
def at_most(x, bound):
    """The smaller of the two; NaN stays NaN."""
    return tl.where(x > bound, bound, x)


@triton.jit
def at_least(x, bound):
    """The larger of the two; NaN stays NaN."""
    return tl.where(x < bound, bound, x)


@triton.jit
def reciprocal(y):
    """1 / y for 1 <= y < 2^120: the device's quotient, good to 2 units, and a Newton step."""
    q = 1.0 / y
    return tl.fma(q, tl.fma(-y, q, 1.0), q)


@triton.jit
def exponential(size, f):
    """exp(x) and exp(x) - 1 for x <= 0, each to full relative precision, where 2^(rate size) is exp(x).

    With rate * size = n + r and a polynomial q = (2^r - 1) / r: 2^(n + r) = 2^n + 2^n r q.
    """
    rate, reach = f[3], f[4]
    magic = 12582912.0  # 1.5 * 2^23: adding it leaves n in the lowest bits
    size = at_most(size, reach)
    t = tl.fma(size, rate, magic)
    r = tl.fma(size, rate, magic - t)
    s = r * r
    low = tl.fma(r, 0.240226492, 0.693147182)
    middle = tl.fma(r, 0.00961823855, 0.0555035733)
    high = tl.fma(r, 0.000154031877, 0.00133907993)
    q = tl.fma(s, tl.fma(s, high, middle), low)
    power = ((t.to(tl.int32, bitcast=True) << 23) + 0x3F800000).to(tl.float32, bitcast=True)
    p = power * r
    return tl.fma(p, q, power), tl.fma(p, q, power - 1.0)


@triton.jit
def log_one_plus(e):
    """log(1 + e) for 0 <= e <= 1, as 2 artanh(e / (2 + e))."""
    s = tl.div_rn(e, 2.0 + e)
    z = s * s
    q = tl.fma(z, 0.1213349998, 0.1071856618)
    q = tl.fma(z, q, 0.1430799961)
    q = tl.fma(z, q, 0.1999945492)
    q = tl.fma(z, q, 0.3333333731)
    twice = s + s
    return tl.fma(twice * z, q, twice)


@triton.jit
def arctan(u):
    """A polynomial up to tan(pi / 8); beyond that and its inverse pi/4 + atan((u-1)/(u+1)) and pi/2 - atan(1/u)."""
    size = tl.abs(u)
    medium = size > 0.414213562
    large = size > 2.41421356
    top = tl.where(large, -1.0, tl.where(medium, size - 1.0, size))
    bottom = tl.where(large, size, tl.where(medium, size + 1.0, 1.0))
    offset = tl.where(large, 1.57079637, tl.where(medium, 0.785398185, 0.0))
    rest = tl.where(large, -4.37113883e-8, tl.where(medium, -2.18556941e-8, 0.0))
    w = tl.div_rn(top, bottom)
    z = w * w
    q = tl.fma(z, 0.0805360898, -0.138776481)
    q = tl.fma(z, q, 0.199777082)
    q = tl.fma(z, q, -0.333329499)
    value = offset + (tl.fma(w * z, q, w) + rest)
    return tl.where(u < 0.0, -value, value)


@triton.jit
def sigmoid_like(KIND: tl.constexpr, z, f):
    """sigmoid, logsigmoid and silu: f(u) and f'(u), unscaled."""
    inner, flat = f[0], f[5]
    e, _ = exponential(tl.abs(z), f)
    q = reciprocal(1.0 + e)
    small = e * q  # sigmoid(-|u|), as q is sigmoid(|u|)
    up = tl.where(z < 0.0, small, q)
    down = tl.where(z < 0.0, q, small)
    u = z * inner
    if KIND == SIGMOID:
        return up, tl.where(z > flat, 0.0, small * q)
    elif KIND == LOGSIGMOID:
        return at_most(u, 0.0) - log_one_plus(e), down
    else:
        return u * up, up * tl.fma(u, down, 1.0)


@triton.jit
def unscaled(KIND: tl.constexpr, z, f):
    """f(u) and f'(u) at u = inner z, for all but tanh."""
    u = z * f[0]
    if KIND == SIGMOID or KIND == LOGSIGMOID or KIND == SILU:
        return sigmoid_like(KIND, z, f)
    elif KIND == ARCTAN:
        return arctan(u), tl.div_rn(1.0, tl.fma(u, u, 1.0))
    elif KIND == SOFTSIGN:
        q = tl.div_rn(1.0, 1.0 + tl.abs(u))
        return tl.div_rn(u, 1.0 + tl.abs(u)), q * q
    elif KIND == RELU:
        return at_least(u, 0.0), tl.where(u > 0.0, 1.0, 0.0)
    elif KIND == LEAKY_RELU:
        return tl.where(u > 0.0, u, 0.01 * u), tl.where(u > 0.0, 1.0, 0.01)
    elif KIND == ELU:
        e, minus_one = exponential(at_least(-z, 0.0), f)
        return tl.where(u > 0.0, u, minus_one), tl.where(u > 0.0, 1.0, e)
    elif KIND == RELU6:
        return at_most(at_least(u, 0.0), 6.0), tl.where((u > 0.0) & (u < 6.0), 1.0, 0.0)
    else:
        gate = at_most(at_least(u + 3.0, 0.0), 6.0) * 0.16666667
        middle = tl.fma(u, 0.33333334, 0.5)
        return u * gate, tl.where(u < -3.0, 0.0, tl.where(u > 3.0, 1.0, middle))


@triton.jit
def tanh(z, f):
    """outer tanh(inner z) and its derivative."""
    outer, steep, flat = f[1], f[2], f[5]
    size = tl.abs(z)
    e, minus_one = exponential(size, f)
    q = reciprocal(1.0 + e)
    slope = tl.where(size > flat, 0.0, steep * 4.0 * e * (q * q))
    far = tl.fma(outer * -2.0 * e, q, outer)
    near = -outer * minus_one * q  # far would cancel near 0
    value = tl.where(e < 0.5, far, near)
    return tl.where(z < 0.0, -value, value), slope


@triton.jit
def over(KIND: tl.constexpr, z, f, COUNT: tl.constexpr):
    """outer f(inner z) and its derivative for each of the COUNT values in the tuple z."""
    values = ()
    slopes = ()
    for k in tl.static_range(COUNT):
        if KIND == TANH:
            value, slope = tanh(z[k], f)
        else:
            value, slope = unscaled(KIND, z[k], f)
            value = value * f[1]
            slope = slope * f[2]
        values = values + (value,)
        slopes = slopes + (slope,)
    return values, slopes


@triton.jit
def activate(kind, z, f, COUNT: tl.constexpr):
    """The member's scaled activation and its derivative for each of the COUNT values in the tuple z.

    The kind is a number of the member's, not of the kernel: one launch trains an array of any mixture.
    """
    if kind == TANH:
        values, slopes = over(TANH, z, f, COUNT)
    elif kind == SIGMOID:
        values, slopes = over(SIGMOID, z, f, COUNT)
    elif kind == LOGSIGMOID:
        values, slopes = over(LOGSIGMOID, z, f, COUNT)
    elif kind == ARCTAN:
        values, slopes = over(ARCTAN, z, f, COUNT)
    elif kind == SOFTSIGN:
        values, slopes = over(SOFTSIGN, z, f, COUNT)
    elif kind == RELU:
        values, slopes = over(RELU, z, f, COUNT)
    elif kind == LEAKY_RELU:
        values, slopes = over(LEAKY_RELU, z, f, COUNT)
    elif kind == ELU:
        values, slopes = over(ELU, z, f, COUNT)
    elif kind == RELU6:
        values, slopes = over(RELU6, z, f, COUNT)
    elif kind == SILU:
        values, slopes = over(SILU, z, f, COUNT)
    else:
        values, slopes = over(HARDSWISH, z, f, COUNT)
    return values, slopes


@triton.jit
def activate_bumpy(kind, z, f, COUNT: tl.constexpr):
    """`activate` for the two that are not monotone."""
    if kind == SILU:
        values, slopes = over(SILU, z, f, COUNT)
    else:
        values, slopes = over(HARDSWISH, z, f, COUNT)
    return values, slopes


@triton.jit
def is_bumpy(kind):
    """Whether f is not monotone: then the largest z of a pool need not be the largest f(z)."""
    return (kind == SILU) | (kind == HARDSWISH)


@triton.jit
def saturated(z, f, flat_where):
    """Whether |f'(u)| < 0.01 sup |f'|: below the first, above the second, or between the last two bounds on u."""
    u = z * f[0]
    low, high, between, end = flat_where
    return (u < low) | (u > high) | ((u > between) & (u < end))
