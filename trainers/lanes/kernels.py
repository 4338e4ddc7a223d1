"""The binding of the C kernels: NumPy arrays in, NumPy arrays out, everything checked before a pointer is taken.

There is a shared library for each instruction set, beside this file; the best one that the processor has is used. The
calls release the interpreter's lock.

    >>> losses, accuracies = evaluate(layers, members, parameters, split, threads=2)
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import os
import time
from collections.abc import Sequence
from importlib.machinery import EXTENSION_SUFFIXES
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainers.activations import ACTIVATIONS
from trainers.data.dataset import Split
from trainers.lanes.tables import ARRAYS, COUNTS, FLAT, NUMBERS, ROW, SUPPORT, header, row
from trainers.layers import Layer, buffer_shapes, parameter_count, places
from trainers.members import MOST, MemberConfig
from trainers.states import kept_by
from trainers.streams import slope_key

BUILDS = ("avx512", "avx2", "portable")  # the best first
NOT_KNOWN = -2
SCALED_INPUTS = ("bytes", "standardized")

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


def _path(build: str) -> Path | None:
    beside = (Path(__file__).parent / f"_{build}{suffix}" for suffix in EXTENSION_SUFFIXES)
    return next((path for path in beside if path.exists()), None)


@functools.cache
def builds() -> tuple[str, ...]:
    """The builds that were compiled from the tables as they are and that this processor can run, the best first."""
    compiled = [build for build in BUILDS if _path(build) and _tables(build) in header()]
    if "portable" not in compiled:
        return ()
    return tuple(b for b in compiled if _library("portable").lanes_supported(b.encode()))


def missing() -> str | None:
    """Why there are no kernels to run, in a line; None where there are."""
    if builds():
        return None
    if _path("portable"):
        return "the lane engine was compiled from other tables: run python setup.py build_ext --inplace"
    return "the lane engine was not compiled: there was no C compiler when the package was installed"


def chosen() -> str:
    """The build to use: the best, or the one that GRADSWEEP_LANES asks for. Raises ValueError where it can't run."""
    wanted = os.environ.get("GRADSWEEP_LANES") or next(iter(builds()), "portable")
    if wanted not in builds():
        raise ValueError(f"the lane kernels have no build {wanted!r} here, only: {', '.join(builds()) or 'none'}")
    return wanted


def _tables(build: str) -> str:
    """The digest of the tables that a build was compiled from; it ends their header."""
    tables = _library(build).lanes_tables
    tables.restype = ctypes.c_char_p
    return bytes(tables()).decode()


@functools.cache
def _library(build: str) -> ctypes.CDLL:
    return ctypes.CDLL(str(_path(build)))


def multiply_adds_a_second(threads: int, rounds: int = 20_000_000) -> float:
    """The most multiply-adds that so many threads of this machine do in a second, measured from registers alone."""
    started = time.perf_counter()
    each = _library(chosen()).lanes_multiply_add(threads, ctypes.c_int64(rounds))
    return float(each) * rounds * threads / (time.perf_counter() - started)


def table(layers: tuple[Layer, ...]) -> NDArray[np.int32]:
    """The layers as the kernels read them: ROW of each."""
    return np.array([row(layer) for layer in layers], dtype=np.int32).reshape(len(layers), len(ROW))


@functools.cache
def refusal(layers: tuple[Layer, ...], image: tuple[int, ...]) -> str | None:
    """Why the kernels can't run this network on images (channels, height, width); None where they can."""
    if reason := SUPPORT.refusal_of(layers):
        return reason
    rows = table(layers)  # it must outlive the call
    wrong = _library(chosen()).lanes_refusal(ctypes.byref(_call({"table": rows}, image)))
    if wrong == 0:
        return None
    if wrong > len(layers):
        return "the last layer must be a dense one without activation"
    return (
        f"layer {layers[wrong - 1].name}: the lane kernels run at most 128 layers, images of 64 channels and 4,096 "
        "pixels, convolutions of 64 channels, each pooled once at most, or a recurrent layer of 1,024 units with "
        "1,048,576 gates in all its steps, without batch normalization behind it; then dense layers of 1,024 units"
    )


def train_epoch(
    layers: tuple[Layer, ...],
    members: Sequence[MemberConfig],
    parameters: Floats,
    kept: Sequence[Floats],
    buffers: Floats,
    steps: NDArray[np.int64],
    rates: Doubles,
    split: Split,
    orders: NDArray[np.int64],
    batch_size: int,
    threads: int,
    channel_scales: Floats | None = None,
) -> tuple[Doubles, Doubles]:
    """Train every member for one epoch; parameters, what the optimizer keeps, buffers and steps change in place.

    `parameters` and each of `kept` are float32 of shape (members, parameters), `buffers`, the running statistics,
    float32 (members, buffers), `steps` int64 (members,), `rates` float64 (members, batches), `orders` int64 (members,
    images): each member's order of the images of the split. Returns each member's mean loss and accuracy over its
    batches, each before its step. Raises ValueError for arrays that don't fit.
    """
    vectors = {"parameters": parameters, "buffers": buffers} | dict(zip(("first", "second"), kept, strict=False))
    for name, array in (vectors | {"steps": steps}).items():
        if not array.flags.writeable:
            raise ValueError(f"{name} must be writable")
    for member in members:
        if len(kept) != len(kept_by(member)):
            raise ValueError(f"{member.optimizer} keeps {len(kept_by(member))} arrays, but got {len(kept)}")
    arrays = vectors | {"steps": steps, "rates": rates, "orders": orders}
    return _run(layers, members, split, threads, channel_scales, batch_size, **arrays)


def evaluate(
    layers: tuple[Layer, ...],
    members: Sequence[MemberConfig],
    parameters: Floats,
    buffers: Floats,
    split: Split,
    threads: int,
    channel_scales: Floats | None = None,
) -> tuple[Doubles, Doubles]:
    """Each member's mean loss and accuracy on a split, where batches are normalized by the running statistics.

    Raises ValueError for arrays that don't fit.
    """
    return _run(layers, members, split, threads, channel_scales, parameters=parameters, buffers=buffers)


def probe_gradient(
    layers: tuple[Layer, ...],
    members: Sequence[MemberConfig],
    parameters: Floats,
    split: Split,
    threads: int,
    channel_scales: Floats | None = None,
    batch_size: int = MOST,
) -> tuple[Floats, Doubles, Doubles]:
    """The gradient of the mean data loss over a split, float32 of shape (members, parameters), and saturation.

    The other two are (members, layers with parameters): the fraction of saturated (unit, image) pairs, and of units
    that every image saturates; 0 for the output. Batch normalization takes the images in batches of `batch_size`, in
    order, each by its own statistics. Raises ValueError for arrays that don't fit.
    """
    units = [place.units for place in places(layers, split.images.shape[1:])]
    gradients = np.zeros_like(parameters)
    often = np.zeros((len(members), len(units)), dtype=np.int64)
    alive = np.zeros((len(members), sum(units)), dtype=np.uint8)
    arrays: dict[str, NDArray[Any]] = {"gradients": gradients, "often": often, "alive": alive}
    _run(layers, members, split, threads, channel_scales, batch_size, parameters=parameters, **arrays)
    saturated, dead = np.zeros(often.shape), np.zeros(often.shape)
    for i, (count, stop) in enumerate(zip(units, itertools.accumulate(units), strict=True)):
        if count:
            saturated[:, i] = often[:, i] / (count * len(split.labels))
            dead[:, i] = 1 - alive[:, stop - count : stop].mean(axis=1)
    return gradients, saturated, dead


class _Call(ctypes.Structure):
    """`Call` of the header."""

    _fields_ = [(name, ctypes.c_void_p) for name in ARRAYS] + [(name, ctypes.c_int64) for name in COUNTS]


def _call(arrays: dict[str, NDArray[Any]], image: tuple[int, ...], **counts: int) -> _Call:
    """The arguments of a call; the arrays must outlive it."""
    pointers = {name: array.ctypes.data for name, array in arrays.items()}
    shape = dict(zip(("channels", "height", "width"), image, strict=True))
    return _Call(**pointers, **shape, rows=len(arrays["table"]), **counts)


def _run(
    layers: tuple[Layer, ...],
    members: Sequence[MemberConfig],
    split: Split,
    threads: int,
    channel_scales: Floats | None,
    batch_size: int = MOST,
    **arrays: NDArray[Any],
) -> tuple[Doubles, Doubles]:
    """One call of the library, its arguments checked; each member's mean loss and accuracy."""
    image, images, count = split.images.shape[1:], len(split.labels), len(members)
    for reason in (refusal(layers, image), *map(SUPPORT.refusal, members)):
        if reason:
            raise ValueError(reason)
    if not members:
        raise ValueError("members must not be empty")
    for name, number in (("threads", threads), ("batch_size", batch_size)):
        if not 1 <= number <= MOST:
            raise ValueError(f"{name} must be from 1 to {MOST}, but got {number}")
    if channel_scales is not None:
        arrays["channel_scales"] = channel_scales
    if {m.input in SCALED_INPUTS for m in members} != {channel_scales is not None}:
        raise ValueError(
            f"channel_scales must be given where the input is {' or '.join(SCALED_INPUTS)}, and only there"
        )
    arrays = {"orders": np.arange(images)} | arrays | {"images": split.images, "labels": split.labels}
    orders = arrays["orders"]
    shapes = {"images": (images, *image), "labels": (images,), "steps": (count,)}
    shapes |= dict.fromkeys(("parameters", "first", "second"), (count, parameter_count(layers, image)))
    shapes["buffers"] = (count, sum(prod(shape) for kept in buffer_shapes(layers, image) for shape, _ in kept.values()))
    shapes |= {"rates": (count, -(-orders.shape[-1] // batch_size)), "channel_scales": (image[0], 2)}
    shapes["orders"] = (count, orders.shape[-1]) if "steps" in arrays else (images,)
    for name, shape in shapes.items():
        array, kind = arrays.get(name), ARRAYS[name]
        if array is not None and (array.dtype != kind or array.shape != shape or not array.flags.c_contiguous):
            got = f"{array.dtype} {array.shape} of strides {array.strides}"
            raise ValueError(f"{name} must be a contiguous array of {kind} of shape {shape}, but got {got}")
    rows = table(layers)
    _check_range("labels", split.labels, rows[-1, 1])
    _check_range("orders", orders, images)
    losses, accuracies = np.zeros(count), np.zeros(count)
    fields = SUPPORT.fields.items()
    arrays |= {
        "table": rows,
        "numbers": np.array([_numbers(m) for m in members], dtype=np.float64),
        "choices": np.array([[f.index(getattr(m, name)) for name, f in fields] for m in members], dtype=np.int32),
        "losses": losses,
        "accuracies": accuracies,
    }
    counts = {"members": count, "count": orders.shape[-1], "batch_size": batch_size, "threads": threads}
    result = _library(chosen()).lanes_run(ctypes.byref(_call(arrays, image, **counts)))
    if result == NOT_KNOWN:
        raise ValueError("the kernels have no code for what a member asks for, though SUPPORT says so")
    if result:
        raise MemoryError("not enough memory for the lane kernels")
    return losses, accuracies


def _numbers(member: MemberConfig) -> list[float]:
    """NUMBERS of a member."""
    f = ACTIVATIONS[member.activation]
    own = {"slope": member.slope or 0.0, "key": slope_key(member.seed) if f.random else 0}
    own |= dict(zip(FLAT, f.flat_at(member.slope) or (), strict=True))
    return [float(own[name] if name in own else getattr(member, name)) for name in NUMBERS]


def _check_range(name: str, array: NDArray[np.int64], bound: int) -> None:
    if array.size == 0 or array.min() < 0 or array.max() >= bound:
        raise ValueError(f"{name} must hold numbers from 0 to {bound - 1}, and at least one")
