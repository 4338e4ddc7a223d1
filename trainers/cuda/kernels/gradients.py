"""The two gradients of a convolution: by its input and by its weights.

The gradient by z of a pooled convolution is kept as small as the pool, beside which of the pool's four won; `unpooled`
puts it in its place. Separable convolutions run as the plain ones that they multiply out to; `unfold` takes their
gradient apart.
"""

import triton
import triton.language as tl

from trainers.cuda.kernels.convolution import convolve, corner, packed_weights, place, read_row
from trainers.cuda.kernels.memory import write
from trainers.cuda.kernels.table import (
    CHOICE,
    GRADIENT,
    INPUT,
    PARAMETERS,
    POOLED,
    ROWS,
    SEPARABLE,
    SLOPE,
    WEIGHT_COUNT,
    WEIGHT_PLACES,
    WEIGHTS,
)


@triton.jit
def times(a, b, COUNT: tl.constexpr):
    """The products of two tuples of values."""
    found = ()
    for k in tl.static_range(COUNT):
        found = found + (a[k] * b[k],)
    return found


@triton.jit
def unpooled(g, choice, y: tl.constexpr, FIRST: tl.constexpr, COUNT: tl.constexpr, POOLS: tl.constexpr):
    """COUNT columns from column FIRST on of row y (0 or 1) of a row of pools: g where that one won, and 0 elsewhere.

    g and choice are (channel, POOLS pools).
    """
    found = ()
    for k in tl.static_range(3 * COUNT):
        won = choice[(k // COUNT) * POOLS + (k % COUNT + FIRST) // 2] == 2.0 * y + (k % COUNT + FIRST) % 2
        found = found + (tl.where(won, g[(k // COUNT) * POOLS + (k % COUNT + FIRST) // 2], 0.0),)
    return found


@triton.jit(noinline=True)
def by_image(
    scratch,
    row,
    below,
    STRIP: tl.constexpr,
    PITCH: tl.constexpr,
    LANES: tl.constexpr,
    SLOTS: tl.constexpr,
):
    """The gradient by a convolution's input, and with it that by the z of the layer below: `forward`, turned around."""
    ROW: tl.constexpr = 3 * PITCH * LANES
    POOLS: tl.constexpr = STRIP // 2 + 2  # a strip's, and those of the columns on either side
    slot = tl.arange(0, SLOTS)[:, None]
    lane = tl.arange(0, LANES)[None, :]
    y, column, _ = place(row, slot, STRIP)
    rows = tl.load(row + ROWS)
    w = packed_weights(scratch + tl.load(row + WEIGHTS) + WEIGHT_PLACES)
    slope_at = corner(scratch, tl.load(below + SLOPE), y + 1, column + 1, lane, PITCH, LANES)
    to_at = corner(scratch, tl.load(below + GRADIENT), y + 1, column + 1, lane, PITCH, LANES)
    if tl.load(row + POOLED) == 0:
        at = corner(scratch, tl.load(row + GRADIENT), y, column, lane, PITCH, LANES)
        above = read_row(at, STRIP + 2, PITCH, LANES)
        middle = read_row(at + ROW, STRIP + 2, PITCH, LANES)
        at += 2 * ROW
        coming = read_row(at, STRIP + 2, PITCH, LANES)
        for r in range(rows):
            lower = coming
            slope = read_row(slope_at, STRIP, PITCH, LANES)
            at += tl.where(r + 1 < rows, ROW, 0)
            coming = read_row(at, STRIP + 2, PITCH, LANES)
            by_z = times(convolve(above + middle + lower, w, STRIP), slope, 3 * STRIP)
            above = middle
            middle = lower
            write(to_at, by_z, 3 * STRIP, STRIP, PITCH * LANES, LANES)
            slope_at += ROW
            to_at += ROW
    else:
        at = corner(scratch, tl.load(row + GRADIENT), y // 2, column // 2, lane, PITCH, LANES)
        choice_at = corner(scratch, tl.load(row + CHOICE), y // 2, column // 2, lane, PITCH, LANES)
        g = read_row(at, POOLS, PITCH, LANES)
        choice = read_row(choice_at, POOLS, PITCH, LANES)
        above = unpooled(g, choice, 1, 1, STRIP + 2, POOLS)
        at += ROW
        choice_at += ROW
        g = read_row(at, POOLS, PITCH, LANES)
        choice = read_row(choice_at, POOLS, PITCH, LANES)
        for _r in range(0, rows, 2):
            upper_slope = read_row(slope_at, STRIP, PITCH, LANES, 2)
            lower_slope = read_row(slope_at + ROW, STRIP, PITCH, LANES, 2)
            at += ROW
            choice_at += ROW
            coming = read_row(at, POOLS, PITCH, LANES)
            coming_choice = read_row(choice_at, POOLS, PITCH, LANES)
            middle = unpooled(g, choice, 0, 1, STRIP + 2, POOLS)
            lower = unpooled(g, choice, 1, 1, STRIP + 2, POOLS)
            by_z = times(convolve(above + middle + lower, w, STRIP), upper_slope, 3 * STRIP)
            write(to_at, by_z, 3 * STRIP, STRIP, PITCH * LANES, LANES)
            last = unpooled(coming, coming_choice, 0, 1, STRIP + 2, POOLS)
            by_z = times(convolve(middle + lower + last, w, STRIP), lower_slope, 3 * STRIP)
            write(to_at + ROW, by_z, 3 * STRIP, STRIP, PITCH * LANES, LANES)
            above = lower
            g = coming
            choice = coming_choice
            slope_at += 2 * ROW
            to_at += 2 * ROW


@triton.jit
def accumulated(s, x, g, STRIP: tl.constexpr):
    """The 81 sums s, (row, column, channel in, channel out), with one row's products: x as in `convolve`, g by z."""
    further = ()
    for k in tl.static_range(WEIGHT_COUNT):
        one = s[k]
        for j in tl.static_range(STRIP):
            one = tl.fma(
                x[((k // 27) * 3 + (k // 3) % 3) * (STRIP + 2) + j + (k // 9) % 3],
                g[(k % 3) * STRIP + j],
                one,
            )
        further = further + (one,)
    return further


@triton.jit(noinline=True)
def by_weights(
    scratch,
    row,
    sums,
    STRIP: tl.constexpr,
    PITCH: tl.constexpr,
    LANES: tl.constexpr,
    SLOTS: tl.constexpr,
):
    """The gradient by a convolution's weights: 81 sums a thread, in registers while the pixels pass by.

    At the end they go to memory, (81, slots, lanes), so that in `add_up` a thread has a part of one weight's sums.
    """
    ROW: tl.constexpr = 3 * PITCH * LANES
    POOLS: tl.constexpr = STRIP // 2
    slot = tl.arange(0, SLOTS)[:, None]
    lane = tl.arange(0, LANES)[None, :]
    y, column, active = place(row, slot, STRIP)
    rows = tl.load(row + ROWS)
    x_at = corner(scratch, tl.load(row + INPUT), y, column, lane, PITCH, LANES)
    above = read_row(x_at, STRIP + 2, PITCH, LANES)
    middle = read_row(x_at + ROW, STRIP + 2, PITCH, LANES)
    x_at += 2 * ROW
    coming = read_row(x_at, STRIP + 2, PITCH, LANES)
    s = ()
    for _k in tl.static_range(WEIGHT_COUNT):
        s = s + (tl.zeros([SLOTS, LANES], tl.float32),)
    if tl.load(row + POOLED) == 0:
        g_at = corner(scratch, tl.load(row + GRADIENT), y + 1, column + 1, lane, PITCH, LANES)
        coming_g = read_row(g_at, STRIP, PITCH, LANES)
        for r in range(rows):
            lower = coming
            g = coming_g
            x_at += tl.where(r + 1 < rows, ROW, 0)
            g_at += tl.where(r + 1 < rows, ROW, 0)
            coming = read_row(x_at, STRIP + 2, PITCH, LANES)
            coming_g = read_row(g_at, STRIP, PITCH, LANES)
            s = accumulated(s, above + middle + lower, g, STRIP)
            above = middle
            middle = lower
    else:
        g_at = corner(scratch, tl.load(row + GRADIENT), y // 2 + 1, column // 2 + 1, lane, PITCH, LANES)
        choice_at = corner(scratch, tl.load(row + CHOICE), y // 2 + 1, column // 2 + 1, lane, PITCH, LANES)
        coming_pools = read_row(g_at, POOLS, PITCH, LANES)
        coming_choices = read_row(choice_at, POOLS, PITCH, LANES)
        for r in range(0, rows, 2):
            lower = coming
            pools = coming_pools
            choices = coming_choices
            x_at += ROW
            last = read_row(x_at, STRIP + 2, PITCH, LANES)
            s = accumulated(s, above + middle + lower, unpooled(pools, choices, 0, 0, STRIP, POOLS), STRIP)
            x_at += tl.where(r + 2 < rows, ROW, 0)
            g_at += tl.where(r + 2 < rows, ROW, 0)
            choice_at += tl.where(r + 2 < rows, ROW, 0)
            coming = read_row(x_at, STRIP + 2, PITCH, LANES)
            coming_pools = read_row(g_at, POOLS, PITCH, LANES)
            coming_choices = read_row(choice_at, POOLS, PITCH, LANES)
            s = accumulated(s, middle + lower + last, unpooled(pools, choices, 1, 0, STRIP, POOLS), STRIP)
            above = lower
            middle = last
    real = ()
    for k in tl.static_range(WEIGHT_COUNT):
        real = real + (tl.where(active, s[k], 0.0),)
    write(scratch + sums + slot * LANES + lane, real, WEIGHT_COUNT, 1, SLOTS * LANES, 0)


@triton.jit
def add_up(
    scratch,
    row,
    parameters,
    gradient,
    full,
    sums,
    LANES: tl.constexpr,
    SLOTS: tl.constexpr,
    SUMS: tl.constexpr,
):
    """The gradient by the weights from what `by_weights` left, in an order that only the blocks' shape decides."""
    weight = tl.arange(0, WEIGHT_PLACES)
    inside = weight < WEIGHT_COUNT
    part = tl.arange(0, SUMS)[None, :]
    total = tl.zeros([WEIGHT_PLACES, SUMS], tl.float32)
    for start in range(0, SLOTS * LANES, SUMS):
        at = scratch + sums + weight[:, None] * (SLOTS * LANES) + start + part
        total += tl.load(at, mask=inside[:, None], other=0.0)
    total = tl.sum(total, axis=1)
    plain = (weight % 3) * 27 + ((weight // 3) % 3) * 9 + weight // 9
    mine = tl.load(row + PARAMETERS)
    if tl.load(row + SEPARABLE) == 0:
        tl.store(gradient + mine + plain, total, mask=inside)
    else:
        tl.store(scratch + full + plain, total, mask=inside)
        tl.debug_barrier()
        unfold(scratch + full, parameters + mine, gradient + mine)


@triton.jit
def unfold(full, parameters, gradient):
    """The gradient by a separable layer's two factors from that by their product, both (out, in, 3, 3)."""
    k = tl.arange(0, 32)
    s = tl.zeros([32], tl.float32)
    for o in tl.static_range(3):
        by = tl.load(full + o * 27 + k, mask=k < 27, other=0.0)
        s += by * tl.load(parameters + 27 + o * 3 + k // 9, mask=k < 27, other=0.0)
    tl.store(gradient + k, s, mask=k < 27)
    k = tl.arange(0, 16)
    s = tl.zeros([16], tl.float32)
    for tap in tl.static_range(9):
        by = tl.load(full + k * 9 + tap, mask=k < 9, other=0.0)
        s += by * tl.load(parameters + (k % 3) * 9 + tap, mask=k < 9, other=0.0)
    tl.store(gradient + 27 + k, s, mask=k < 9)
