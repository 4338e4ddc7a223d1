"""3x3 convolutions of 3 channels and their pooling; gradients.py has the way back.

A thread computes a strip of STRIP columns of all 3 channels of a row: the 81 weights are registers, the pixels pass
by. The sums of a pixel run in the order of PyTorch's own (row, column, input channel), so that both round alike where
units are deep in saturation. Separable convolutions run as the plain ones that they multiply out to.
"""

import triton
import triton.language as tl

from trainers.cuda.kernels import table
from trainers.cuda.kernels.activations import activate, activate_bumpy, is_bumpy, saturated
from trainers.cuda.kernels.memory import prefetch, read, write
from trainers.cuda.kernels.table import (
    CHOICE,
    GROUPS,
    HEIGHT,
    INPUT,
    PARAMETERS,
    POOLED,
    ROWS,
    SEPARABLE,
    SLOPE,
    VALUE,
    WEIGHT_COUNT,
    WEIGHT_PLACES,
    WEIGHTS,
    WIDTH,
)


@triton.jit
def place(row, slot, STRIP: tl.constexpr):
    """Where each slot works in this layer: its first row and column, and whether it is not another one's double."""
    width = tl.load(row + WIDTH)
    strips = width // STRIP
    used = strips * tl.load(row + GROUPS)
    s = slot % used
    return (s // strips) * tl.load(row + ROWS), (s % strips) * STRIP, slot < used


@triton.jit
def corner(scratch, area, y, column, lane, PITCH: tl.constexpr, LANES: tl.constexpr):
    """The pointer to place (y, column) of channel 0; the border counts, so that pixel (0, 0) is at (1, 1)."""
    return scratch + area + (y * (3 * PITCH) + column) * LANES + lane


@triton.jit
def read_row(at, COLUMNS: tl.constexpr, PITCH: tl.constexpr, LANES: tl.constexpr, AHEAD: tl.constexpr = 1):
    """A row of all 3 channels, (channel, COLUMNS); the row that is AHEAD rows below is on its way into the cache."""
    prefetch(at + AHEAD * 3 * PITCH * LANES, 3 * COLUMNS, COLUMNS, PITCH * LANES, LANES)
    return read(at, 3 * COLUMNS, COLUMNS, PITCH * LANES, LANES)


@triton.jit
def one_weight(parameters, separable, out, channel, tap, k):
    """The plain convolution's weights (out, channel, tap), whichever way the layer keeps them."""
    plain_count = tl.where(separable == 0, WEIGHT_COUNT, 0)
    plain = tl.load(parameters + out * 27 + channel * 9 + tap, mask=k < plain_count, other=0.0)
    depthwise = tl.load(parameters + channel * 9 + tap, mask=k < WEIGHT_COUNT - plain_count, other=0.0)
    pointwise = tl.load(parameters + 27 + out * 3 + channel, mask=k < WEIGHT_COUNT - plain_count, other=0.0)
    return plain + depthwise * pointwise


@triton.jit
def pack(scratch, row, parameters):
    """Lay out a layer's weights in the order in which `convolve` takes them; then those of the way back."""
    k = tl.arange(0, WEIGHT_PLACES)
    inside = k < WEIGHT_COUNT
    tap, channel, out = k // 9, (k // 3) % 3, k % 3
    mine = parameters + tl.load(row + PARAMETERS)
    separable = tl.load(row + SEPARABLE)
    to = scratch + tl.load(row + WEIGHTS) + k
    tl.store(to, one_weight(mine, separable, out, channel, tap, k), mask=inside)
    # on the way back the roles of the channels change, and the kernel is turned around
    tl.store(to + WEIGHT_PLACES, one_weight(mine, separable, channel, out, 8 - tap, k), mask=inside)


@triton.jit
def packed_weights(at):
    """The 81 weights, as scalars."""
    w = ()
    for k in tl.static_range(WEIGHT_COUNT):
        w = w + (tl.load(at + k),)
    return w


@triton.jit
def convolve(x, w, STRIP: tl.constexpr):
    """z of 3 channels x STRIP columns from 3 rows: x is (row, channel, STRIP + 2 columns)."""
    z = ()
    for o in tl.static_range(3):
        for j in tl.static_range(STRIP):
            s = x[j] * w[o]
            for t in tl.static_range(1, 27):
                s = tl.fma(
                    x[((t // 9) * 3 + t % 3) * (STRIP + 2) + j + (t // 3) % 3],
                    w[t * 3 + o],
                    s,
                )
            z = z + (s,)
    return z


@triton.jit
def wins(challenger, best):
    """Ties go to the first in row-major order and a NaN wins over all, as in PyTorch."""
    return (challenger > best) | (challenger != challenger)


@triton.jit
def pool(upper, lower, STRIP: tl.constexpr):
    """2x2 max pooling of two rows: the largest values, and which of the four won, as a float from 0 to 3."""
    value = ()
    choice = ()
    for k in tl.static_range(3 * STRIP // 2):
        best = upper[2 * k]
        which = tl.zeros_like(best)
        right = upper[2 * k + 1]
        which = tl.where(wins(right, best), 1.0, which)
        best = tl.where(wins(right, best), right, best)
        left = lower[2 * k]
        which = tl.where(wins(left, best), 2.0, which)
        best = tl.where(wins(left, best), left, best)
        last = lower[2 * k + 1]
        which = tl.where(wins(last, best), 3.0, which)
        best = tl.where(wins(last, best), last, best)
        value = value + (best,)
        choice = choice + (which,)
    return value, choice


@triton.jit
def chosen(choice, upper, lower, STRIP: tl.constexpr):
    """Of each four the one that won."""
    found = ()
    for k in tl.static_range(3 * STRIP // 2):
        above = tl.where(choice[k] == 1.0, upper[2 * k + 1], upper[2 * k])
        below = tl.where(choice[k] == 3.0, lower[2 * k + 1], lower[2 * k])
        found = found + (tl.where(choice[k] > 1.5, below, above),)
    return found


@triton.jit
def count_saturated(counts, z, first, plane, f, flat_where, valid, active, STRIP: tl.constexpr):
    """Add to each unit's count the images that saturate it. Whole numbers: atomic sums of them have no order."""
    for k in tl.static_range(3 * STRIP):
        often = tl.sum((saturated(z[k], f, flat_where) & valid).to(tl.int32), axis=1, keep_dims=True)
        tl.atomic_add(counts + first + (k // STRIP) * plane + k % STRIP, often, mask=active, sem="relaxed")


@triton.jit(noinline=True)
def forward(
    scratch,
    row,
    kind,
    f,
    flat_where,
    counts,
    valid_lanes,
    KEEP: tl.constexpr,
    COUNT: tl.constexpr,
    STRIP: tl.constexpr,
    PITCH: tl.constexpr,
    LANES: tl.constexpr,
    SLOTS: tl.constexpr,
):
    """One convolution with its activation and, where one follows, its pooling.

    KEEP leaves what the way back needs: the slope by z and which of a pool's four won. Where f is monotone the pooling
    comes first: the result is the same and of four activations one is left.
    """
    ROW: tl.constexpr = 3 * PITCH * LANES
    slot = tl.arange(0, SLOTS)[:, None]
    lane = tl.arange(0, LANES)[None, :]
    valid = lane < valid_lanes
    y, column, active = place(row, slot, STRIP)
    rows = tl.load(row + ROWS)
    w = packed_weights(scratch + tl.load(row + WEIGHTS))
    x_at = corner(scratch, tl.load(row + INPUT), y, column, lane, PITCH, LANES)
    above = read_row(x_at, STRIP + 2, PITCH, LANES)
    middle = read_row(x_at + ROW, STRIP + 2, PITCH, LANES)
    x_at += 2 * ROW
    coming = read_row(x_at, STRIP + 2, PITCH, LANES)
    width = tl.load(row + WIDTH)
    plane = tl.load(row + HEIGHT) * width
    unit = tl.load(row + table.UNITS) + y * width + column
    if tl.load(row + POOLED) == 0:
        value_at = corner(scratch, tl.load(row + VALUE), y + 1, column + 1, lane, PITCH, LANES)
        slope_at = corner(scratch, tl.load(row + SLOPE), y + 1, column + 1, lane, PITCH, LANES)
        for r in range(rows):
            below = coming
            x_at += tl.where(r + 1 < rows, ROW, 0)
            coming = read_row(x_at, STRIP + 2, PITCH, LANES)
            z = convolve(above + middle + below, w, STRIP)
            above = middle
            middle = below
            if COUNT:
                count_saturated(counts, z, unit, plane, f, flat_where, valid, active, STRIP)
            value, slope = activate(kind, z, f, 3 * STRIP)
            write(value_at, value, 3 * STRIP, STRIP, PITCH * LANES, LANES)
            if KEEP:
                write(slope_at, slope, 3 * STRIP, STRIP, PITCH * LANES, LANES)
            value_at += ROW
            slope_at += ROW
            unit += width
    else:
        value_at = corner(scratch, tl.load(row + VALUE), y // 2 + 1, column // 2 + 1, lane, PITCH, LANES)
        slope_at = corner(scratch, tl.load(row + SLOPE), y // 2 + 1, column // 2 + 1, lane, PITCH, LANES)
        choice_at = corner(scratch, tl.load(row + CHOICE), y // 2 + 1, column // 2 + 1, lane, PITCH, LANES)
        for r in range(0, rows, 2):
            below = coming
            x_at += ROW
            last = read_row(x_at, STRIP + 2, PITCH, LANES)
            upper = convolve(above + middle + below, w, STRIP)
            x_at += tl.where(r + 2 < rows, ROW, 0)
            coming = read_row(x_at, STRIP + 2, PITCH, LANES)
            lower = convolve(middle + below + last, w, STRIP)
            above = below
            middle = last
            if COUNT:
                count_saturated(counts, upper, unit, plane, f, flat_where, valid, active, STRIP)
                count_saturated(counts, lower, unit + width, plane, f, flat_where, valid, active, STRIP)
            if is_bumpy(kind):
                upper_value, upper_slope = activate_bumpy(kind, upper, f, 3 * STRIP)
                lower_value, lower_slope = activate_bumpy(kind, lower, f, 3 * STRIP)
                value, choice = pool(upper_value, lower_value, STRIP)
                slope = chosen(choice, upper_slope, lower_slope, STRIP)
            else:
                largest, choice = pool(upper, lower, STRIP)
                value, slope = activate(kind, largest, f, 3 * STRIP // 2)
            write(value_at, value, 3 * STRIP // 2, STRIP // 2, PITCH * LANES, LANES)
            if KEEP:
                write(slope_at, slope, 3 * STRIP // 2, STRIP // 2, PITCH * LANES, LANES)
                write(choice_at, choice, 3 * STRIP // 2, STRIP // 2, PITCH * LANES, LANES)
            value_at += ROW
            slope_at += ROW
            choice_at += ROW
            unit += 2 * width
