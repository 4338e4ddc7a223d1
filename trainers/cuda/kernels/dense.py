"""Dense layers and the loss: a few hundred multiply-adds in half a million, written to be short.

They are small matrix products over (units, images) in plain float32 (`ieee`, no tf32); the loss is in double precision.
"""

import triton
import triton.language as tl

from trainers.cuda.kernels.activations import activate, saturated
from trainers.cuda.kernels.table import (
    DENSE_BIAS,
    DENSE_INPUT,
    DENSE_INPUTS,
    DENSE_OUTPUTS,
    DENSE_PARAMETERS,
    DENSE_SLOPE,
    DENSE_UNITS,
    DENSE_VALUE,
    GRADIENT,
    HEIGHT,
    POOLED,
    SLOPE,
    VALUE,
    WIDTH,
)


@triton.jit
def flat_places(row, FLAT: tl.constexpr, PITCH: tl.constexpr):
    """Of each element of a convolution's flattened output (channel, row, column): its row, column, and validity."""
    pooled = tl.load(row + POOLED)
    height, width = tl.load(row + HEIGHT), tl.load(row + WIDTH)
    if pooled != 0:
        height = height // 2
        width = width // 2
    i = tl.arange(0, FLAT)[:, None]
    channel, y, column = i // (height * width), (i // width) % height, i % width
    return channel, y, column, i < 3 * height * width


@triton.jit
def flatten(scratch, row, to, FLAT: tl.constexpr, PITCH: tl.constexpr, LANES: tl.constexpr):
    """Copy the last convolution's output to where the first dense layer reads it."""
    lane = tl.arange(0, LANES)[None, :]
    channel, y, column, inside = flat_places(row, FLAT, PITCH)
    at = (((y + 1) * 3 + channel) * PITCH + column + 1) * LANES + lane
    x = tl.load(scratch + tl.load(row + VALUE) + at, mask=inside, other=0.0)
    tl.store(scratch + to + tl.arange(0, FLAT)[:, None] * LANES + lane, x)


@triton.jit
def unflatten(scratch, row, by_flat, FLAT: tl.constexpr, PITCH: tl.constexpr, LANES: tl.constexpr):
    """From the gradient by the flattened output, (FLAT, lanes), that by z of the last convolution."""
    lane = tl.arange(0, LANES)[None, :]
    channel, y, column, inside = flat_places(row, FLAT, PITCH)
    at = (((y + 1) * 3 + channel) * PITCH + column + 1) * LANES + lane
    by_z = by_flat * tl.load(scratch + tl.load(row + SLOPE) + at, mask=inside, other=0.0)
    tl.store(scratch + tl.load(row + GRADIENT) + at, by_z, mask=inside)


@triton.jit
def tiles(scratch, row, parameters, IN: tl.constexpr, WIDEST: tl.constexpr, LANES: tl.constexpr):
    """A layer's input (IN, lanes) and weights (WIDEST, IN), zeros beyond what there is."""
    i = tl.arange(0, IN)
    u = tl.arange(0, WIDEST)[:, None]
    inputs, outputs = tl.load(row + DENSE_INPUTS), tl.load(row + DENSE_OUTPUTS)
    lane = tl.arange(0, LANES)[None, :]
    x_at = scratch + tl.load(row + DENSE_INPUT) + i[:, None] * LANES + lane
    x = tl.load(x_at, mask=i[:, None] < inputs, other=0.0)
    w_at = parameters + tl.load(row + DENSE_PARAMETERS) + u * inputs + i[None, :]
    w = tl.load(w_at, mask=(u < outputs) & (i[None, :] < inputs), other=0.0)
    return x, w


@triton.jit
def sums(scratch, row, parameters, IN: tl.constexpr, WIDEST: tl.constexpr, LANES: tl.constexpr):
    """z of one dense layer, (WIDEST, lanes)."""
    x, w = tiles(scratch, row, parameters, IN, WIDEST, LANES)
    z = tl.dot(w, x, input_precision="ieee")
    u = tl.arange(0, WIDEST)[:, None]
    inputs, outputs = tl.load(row + DENSE_INPUTS), tl.load(row + DENSE_OUTPUTS)
    bias = parameters + tl.load(row + DENSE_PARAMETERS) + outputs * inputs + u
    return z + tl.load(bias, mask=u < outputs * tl.load(row + DENSE_BIAS), other=0.0)


@triton.jit
def hidden(
    scratch,
    row,
    parameters,
    kind,
    f,
    flat_where,
    counts,
    valid,
    KEEP: tl.constexpr,
    COUNT: tl.constexpr,
    IN: tl.constexpr,
    WIDEST: tl.constexpr,
    LANES: tl.constexpr,
):
    """One dense layer with its activation."""
    z = sums(scratch, row, parameters, IN, WIDEST, LANES)
    u = tl.arange(0, WIDEST)[:, None]
    if COUNT:
        often = tl.sum((saturated(z, f, flat_where) & valid).to(tl.int32), axis=1, keep_dims=True)
        at = counts + tl.load(row + DENSE_UNITS) + u
        tl.atomic_add(at, often, mask=u < tl.load(row + DENSE_OUTPUTS), sem="relaxed")
    value, slope = activate(kind, (z,), f, 1)
    at = scratch + u * LANES + tl.arange(0, LANES)[None, :]
    tl.store(at + tl.load(row + DENSE_VALUE), value[0])
    if KEEP:
        tl.store(at + tl.load(row + DENSE_SLOPE), slope[0])


@triton.jit
def softmax(
    scratch,
    row,
    logits,
    label,
    valid,
    scale,
    KEEP: tl.constexpr,
    WIDEST: tl.constexpr,
    LANES: tl.constexpr,
):
    """The valid images' cross-entropies and hits, summed; KEEP leaves scale times the gradient by the logits.

    The gradient at the label is minus the other classes' probability, summed, not the label's minus 1: it keeps its
    precision where the network is sure.
    """
    u = tl.arange(0, WIDEST)[:, None]
    real = u < tl.load(row + DENSE_OUTPUTS)
    masked = tl.where(real, logits, float("-inf"))
    top = tl.max(masked, axis=0, keep_dims=True)
    best = tl.min(tl.where(masked == top, u, WIDEST), axis=0, keep_dims=True)
    e = tl.exp((masked - top).to(tl.float64))
    mine = u == label
    others = tl.sum(tl.where(mine, 0.0, e), axis=0, keep_dims=True)
    at_label = tl.sum(tl.where(mine, logits, 0.0), axis=0, keep_dims=True)
    total = others + tl.sum(tl.where(mine, e, 0.0), axis=0, keep_dims=True)
    loss = tl.log(total) + (top.to(tl.float64) - at_label.to(tl.float64))
    if KEEP:
        g = tl.where(mine, -others, e) / total * scale
        g = tl.where(valid & real, g, 0.0).to(tl.float32)
        tl.store(scratch + tl.load(row + DENSE_SLOPE) + u * LANES + tl.arange(0, LANES)[None, :], g)
    losses = tl.sum(tl.sum(tl.where(valid, loss, 0.0), axis=1), axis=0)
    hits = tl.sum(tl.sum((valid & (best == label)).to(tl.int32), axis=1), axis=0)
    return losses, hits


@triton.jit
def back(
    scratch,
    row,
    parameters,
    gradient,
    IN: tl.constexpr,
    WIDEST: tl.constexpr,
    LANES: tl.constexpr,
):
    """From the gradient by z: stores those by weights and bias, returns the one by the input, (IN, lanes)."""
    x, w = tiles(scratch, row, parameters, IN, WIDEST, LANES)
    inputs, outputs = tl.load(row + DENSE_INPUTS), tl.load(row + DENSE_OUTPUTS)
    u = tl.arange(0, WIDEST)
    i = tl.arange(0, IN)
    at = scratch + tl.load(row + DENSE_SLOPE) + u[:, None] * LANES + tl.arange(0, LANES)[None, :]
    by_z = tl.load(at, mask=u[:, None] < outputs, other=0.0)
    to = gradient + tl.load(row + DENSE_PARAMETERS)
    by_weights = tl.dot(by_z, tl.trans(x), input_precision="ieee")
    inside = (u[:, None] < outputs) & (i[None, :] < inputs)
    tl.store(to + u[:, None] * inputs + i[None, :], by_weights, mask=inside)
    if tl.load(row + DENSE_BIAS) != 0:
        tl.store(to + outputs * inputs + u, tl.sum(by_z, axis=1), mask=u < outputs)
    return tl.dot(tl.trans(w), by_z, input_precision="ieee")


@triton.jit
def through(scratch, below, by_value, WIDEST: tl.constexpr, LANES: tl.constexpr):
    """Turn the gradient by a hidden layer's values into that by its z, in the slope's place."""
    at = tl.arange(0, WIDEST)[:, None] * LANES + tl.arange(0, LANES)[None, :]
    slope_at = scratch + tl.load(below + DENSE_SLOPE) + at
    tl.store(slope_at, by_value * tl.load(slope_at))
