"""Mean-field signal propagation: what a wide random dense network does to one input's length and two inputs' angle.

Weights are Gaussian with variance sigma_w^2 / fan_in, biases with sigma_b^2 (`initialization: lecun_normal`,
`init_scale: sigma_w`, `bias_scale: sigma_b`). With F the scaled activation and u, v Gaussian of variance q and
correlation c, a layer takes the variance of a pre-activation, and the correlation of two, to (Poole et al. 2016)

    V(q) = sigma_w^2 E F(u)^2 + sigma_b^2      and      C(c) = (sigma_w^2 E F(u) F(v) + sigma_b^2) / V(q),

and chi = sigma_w^2 E F'(u)^2, at the fixed point q* the slope of C at 1, is what it multiplies the mean square of a
gradient by (Schoenholz et al. 2017). On the edge of chaos chi is 1. All functions take a member's activation, alpha,
scaling and slope (None: the activation's own). docs/theory.md has the arguments and the accuracy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from trainers.theory.gaussian import Array, Unit
from trainers.theory.network import root

LEAST, MOST = 1e-24, 1e24  # lengths at which 0 and infinity are taken, in units of the activation's own
STEP = 4.0  # from one length to the next in the search for a fixed point
TOLERANCE = 1e-12  # of a map's rounding
AT_EDGE = 1e-9  # |chi - 1| that counts as 0
NEAR_0 = 1e-6  # a length at which it shows whether 0 draws those beside it
SMALLEST, LARGEST = 1e-280, 1e280  # lengths of layers: what the averages of squares can do in float64


def length_map(
    q: float, activation: str, alpha: float, scaling: str, sigma_w: float, sigma_b: float, slope: float | None = None
) -> float:
    """V(q), the variance of a pre-activation in the layer after one where it is `q` > 0."""
    return _length(Unit(activation, alpha, scaling, slope), _finite(q), sigma_w, sigma_b)


def correlation_map(
    c: float,
    activation: str,
    alpha: float,
    scaling: str,
    sigma_w: float,
    sigma_b: float,
    slope: float | None = None,
    q: float | None = None,
) -> float:
    """C(c), the correlation of two pre-activations in the layer after one where it is `c`, both of variance `q`.

    None: of the fixed point's.
    """
    unit = Unit(activation, alpha, scaling, slope)
    at = _inside(unit, _fixed_point(unit, sigma_w, sigma_b)) if q is None else _finite(q)
    length = _length(unit, at, sigma_w, sigma_b)
    return 1.0 - sigma_w**2 * unit.square_of_difference(at, 1.0 - c) / (2 * length)


def fixed_point(
    activation: str,
    alpha: float,
    scaling: str,
    sigma_w: float,
    sigma_b: float,
    slope: float | None = None,
    start: float = 1.0,
) -> float:
    """q*, the variance of a pre-activation that deep layers come to from `start`: 0 and infinity are answers, too.

    Where every length is kept, as by a critical relu, it is `start`. V must grow with q, as for all of ours.
    """
    return _fixed_point(Unit(activation, alpha, scaling, slope), sigma_w, sigma_b, start)


def chi(
    activation: str, alpha: float, scaling: str, sigma_w: float, sigma_b: float, slope: float | None = None
) -> float:
    """sigma_w^2 E F'^2 at the fixed point: above 1 gradients explode and inputs part (chaos), below 1 they vanish."""
    unit = Unit(activation, alpha, scaling, slope)
    return _chi(unit, _inside(unit, _fixed_point(unit, sigma_w, sigma_b)), sigma_w)


def fixed_correlation(
    activation: str, alpha: float, scaling: str, sigma_w: float, sigma_b: float, slope: float | None = None
) -> float:
    """c*, the correlation that two inputs come to in deep layers: 1 unless in chaos."""
    unit = Unit(activation, alpha, scaling, slope)
    return 1.0 - _fixed_distance(unit, _inside(unit, _fixed_point(unit, sigma_w, sigma_b)), sigma_w, sigma_b)[0]


def depth_scales(
    activation: str, alpha: float, scaling: str, sigma_w: float, sigma_b: float, slope: float | None = None
) -> tuple[float, float]:
    """(xi_q, xi_c): over how many layers the distance to q*, and that to c*, changes by a factor of e.

    1 / |log of the maps' slopes there|. Where q* is infinite, q itself grows by that factor. xi_c is infinite on the
    edge, and where q* is 0 or infinite: from so near or far F is homogeneous, and c creeps to c* or stays.
    """
    unit = Unit(activation, alpha, scaling, slope)
    q = _inside(unit, _fixed_point(unit, sigma_w, sigma_b))
    return _scale(sigma_w**2 * unit.growth(q)), _scale(_fixed_distance(unit, q, sigma_w, sigma_b)[1])


def edge_of_chaos(
    activation: str, alpha: float, scaling: str, lengths: Sequence[float] | Array, slope: float | None = None
) -> Array:
    """The edge as a curve over its fixed points: rows (sigma_w, sigma_b) for the `lengths` q > 0.

    chi = 1 gives sigma_w^2 = 1 / E F'^2, and q = V(q) then sigma_b^2. NaN for a q that would need it below 0, and for
    one that lengths leave.
    """
    unit = Unit(activation, alpha, scaling, slope)
    return np.array([_critical(unit, float(q)) for q in lengths])


def critical_sigma_w(activation: str, alpha: float, scaling: str, sigma_b: float, slope: float | None = None) -> float:
    """The sigma_w with chi = 1 at this sigma_b, at a q* that lengths come to; of several the one with the least q*.

    NaN where there is none: relu has one at sigma_b = 0 alone, and lengths leave the q* of silu at a small sigma_b.
    """
    unit = Unit(activation, alpha, scaling, slope)

    def missing(q: float) -> float:
        return _bias_square(unit, q) - sigma_b**2

    q, most = (limit * unit.size**2 for limit in (LEAST, MOST))
    if abs(missing(q)) <= AT_EDGE * q and _draws(unit, NEAR_0 * unit.size**2):  # at sigma_b = 0 with F(0) = 0
        return 1 / math.sqrt(unit.slope_square(q))
    last = 0.0  # the last length at which it is certain whether something is missing
    while q <= most:
        if abs(missing(q)) > AT_EDGE * q:
            if last and (missing(last) > 0) != (missing(q) > 0) and _draws(unit, at := root(missing, last, q)):
                return 1 / math.sqrt(unit.slope_square(at))
            last = q
        q *= STEP
    return math.nan


def lengths(
    activation: str,
    alpha: float,
    scaling: str,
    sigma_w: float,
    sigma_b: float,
    depth: int,
    q0: float,
    slope: float | None = None,
) -> Array:
    """q_1 to q_depth, the variance of the pre-activations by layer for an input with mean square `q0`."""
    unit = Unit(activation, alpha, scaling, slope)
    by_layer = [sigma_w**2 * q0 + sigma_b**2]
    while len(by_layer) < depth:
        by_layer.append(_length(unit, _finite(by_layer[-1]), sigma_w, sigma_b))
    return np.array(by_layer[:depth])


def gradient_profile(
    activation: str,
    alpha: float,
    scaling: str,
    sigma_w: float,
    sigma_b: float,
    widths: Sequence[int],
    q0: float,
    slope: float | None = None,
) -> Array:
    """log of the root mean square of the loss's gradient by each layer's weights, over coordinates, from the first on.

    `widths` are those of the input, the hidden layers and the output, one more than there are layers. It is for one
    input with mean square `q0`, and relative to the gradient by the output: where dloss/doutput has mean square 1 (for
    cross-entropy over C classes and small outputs that is (1 - 1/C) / C). The gradient of a mean over B inputs is
    smaller, by a factor between 1 and sqrt(B) that depends on how much they agree.
    """
    unit = Unit(activation, alpha, scaling, slope)
    q = lengths(activation, alpha, scaling, sigma_w, sigma_b, len(widths) - 2, q0, slope)
    inputs = np.log([q0, *(unit.square(_finite(at)) for at in q)])
    # back through F' and the n_(l+1) weights of a unit of layer l, of variance sigma_w^2 / n_l each
    back = np.log([_chi(unit, _finite(at), sigma_w) for at in q])
    back += np.log(np.array(widths[2:]) / np.array(widths[1:-1]))
    errors = np.append(np.cumsum(back[::-1])[::-1], 0.0)
    return np.asarray((inputs + errors) / 2)


def jacobian_profile(
    activation: str,
    alpha: float,
    scaling: str,
    sigma_w: float,
    sigma_b: float,
    depth: int,
    q0: float,
    slope: float | None = None,
) -> Array:
    """The mean squared singular value of the Jacobian of the outputs by the input, for 0 to `depth` hidden layers.

    sigma_w^2 for the output layer times chi of each hidden one (Pennington et al. 2017: chi^L at the fixed point). No
    layer has fewer units than there are outputs; the mean is over as many values as there are outputs.
    """
    unit = Unit(activation, alpha, scaling, slope)
    q = lengths(activation, alpha, scaling, sigma_w, sigma_b, depth, q0, slope)
    return np.asarray(np.cumprod([sigma_w**2, *(_chi(unit, _finite(at), sigma_w) for at in q)]))


def _finite(q: float) -> float:
    return min(max(q, SMALLEST), LARGEST)


def _inside(unit: Unit, q: float) -> float:
    return min(max(q, LEAST * unit.size**2), MOST * unit.size**2)


def _length(unit: Unit, q: float, sigma_w: float, sigma_b: float) -> float:
    return sigma_w**2 * unit.square(q) + sigma_b**2


def _chi(unit: Unit, q: float, sigma_w: float) -> float:
    return sigma_w**2 * unit.slope_square(q)


@lru_cache(maxsize=1024)
def _fixed_point(unit: Unit, sigma_w: float, sigma_b: float, start: float = 1.0) -> float:
    def drift(q: float) -> float:
        return _length(unit, q, sigma_w, sigma_b) / q - 1

    first = drift(start)
    if abs(first) <= TOLERANCE:
        return start
    up = first > 0
    before = q = start
    while _inside(unit, q) == q:
        now = drift(q)
        if abs(now) > TOLERANCE:
            if (now > 0) != up:
                return root(drift, *sorted((before, q)))
            before = q
        q *= STEP if up else 1 / STEP
    return math.inf if up else 0.0


@lru_cache(maxsize=1024)
def _fixed_distance(unit: Unit, q: float, sigma_w: float, sigma_b: float) -> tuple[float, float]:
    """1 - c* and the slope of C there.

    C has only positive derivatives (its Taylor coefficients at 0 are squares), so on [0, 1] it is convex and has at
    most one fixed point below 1; from c = 0 Newton's method comes up to that one without passing it.
    """
    size = sigma_w**2 / _length(unit, q, sigma_w, sigma_b)
    at_one = size * q * unit.slope_square(q)
    if at_one <= 1 + AT_EDGE:
        return 0.0, at_one
    e, step = 1.0, math.inf
    while True:
        steepness = size * q * unit.slope_product(q, e)
        missing = e - size * unit.square_of_difference(q, e) / 2
        if missing <= TOLERANCE * e or missing / (1 - steepness) >= step:  # rounding no longer lets it come nearer
            return e, steepness
        step = missing / (1 - steepness)
        e -= step


def _critical(unit: Unit, q: float) -> tuple[float, float]:
    square = _bias_square(unit, q)
    if square < -AT_EDGE * q or not _draws(unit, q):
        return math.nan, math.nan
    return 1 / math.sqrt(unit.slope_square(q)), math.sqrt(max(0.0, square))


def _bias_square(unit: Unit, q: float) -> float:
    """sigma_b^2 on the edge at the fixed point q; -infinity where F is flat."""
    slopes = unit.slope_square(q)
    return q - unit.square(q) / slopes if slopes else -math.inf


def _draws(unit: Unit, q: float) -> bool:
    """Whether lengths near the fixed point q on the edge come to it."""
    return unit.growth(q) <= unit.slope_square(q) * (1 + AT_EDGE)


def _scale(slope: float) -> float:
    if abs(slope - 1) <= AT_EDGE:
        return math.inf
    return 1 / abs(math.log(slope)) if slope > 0 else 0.0
