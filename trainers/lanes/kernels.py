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

from trainers.data.dataset import Split
from trainers.lanes.tables import ROWS, SUPPORT, header
from trainers.layers import Layer, output_shapes, parameter_count
from trainers.members import MemberConfig

BUILDS = ("avx512", "avx2", "portable")  # the best first
NOT_KNOWN = -2

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
    try:
        tables = _library(build).lanes_tables
    except AttributeError:
        return "compiled before there were such tables"
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
    """The layers as the kernels read them: a row (kind, outputs, bias, activated) each."""
    return np.array([ROWS[layer.kind](layer) for layer in layers], dtype=np.int32).reshape(len(layers), 4)


@functools.cache
def refusal(layers: tuple[Layer, ...], image: tuple[int, ...]) -> str | None:
    """Why the kernels can't run this network on images (channels, height, width); None where they can."""
    if reason := SUPPORT.refusal_of(layers):
        return reason
    rows, shape = table(layers), np.array(image, dtype=np.int32)
    wrong = _library(chosen()).lanes_refusal(_at(rows), len(rows), _at(shape))
    if wrong == 0:
        return None
    if wrong > len(rows):
        return "the last layer must be a dense one without activation"
    return (
        f"layer {layers[wrong - 1].name}: the lane kernels run at most 64 layers, images of 64 channels and 4,096 "
        "pixels, convolutions of 64 channels, each pooled once at most, then dense layers of 1,024 units"
    )


def train_epoch(
    layers: tuple[Layer, ...],
    members: Sequence[MemberConfig],
    parameters: Floats,
    first_moment: Floats,
    second_moment: Floats,
    steps: NDArray[np.int64],
    split: Split,
    orders: NDArray[np.int64],
    batch_size: int,
    threads: int,
) -> tuple[Doubles, Doubles]:
    """Train every member for one epoch; parameters, moments and steps change in place.

    `parameters` and the moments are float32 of shape (members, parameters), `steps` int64 (members,), `orders` int64
    (members, images): each member's order of the images of the split. Returns each member's mean loss and accuracy
    over its batches, each before its step. Raises ValueError for arrays that don't fit.
    """
    call = _Call(layers, members, parameters, split, threads)
    count = len(members)
    for name, vectors in (("parameters", parameters), ("first_moment", first_moment), ("second_moment", second_moment)):
        _check(name, vectors, np.float32, parameters.shape, writable=True)
    _check("steps", steps, np.int64, (count,), writable=True)
    _check("orders", orders, np.int64, (count, orders.shape[-1]))
    _check_range("orders", orders, len(split.labels))
    if not 1 <= batch_size < 2**31:
        raise ValueError(f"batch_size must be from 1 to 2**31 - 1, but got {batch_size}")
    losses, accuracies = np.zeros(count), np.zeros(count)
    state = [_at(a) for a in (parameters, first_moment, second_moment, steps)]
    order = (_at(orders), ctypes.c_int64(orders.shape[1]), batch_size)
    call("lanes_train", *state, *call.settings, *call.data, *order, threads, _at(losses), _at(accuracies))
    return losses, accuracies


def evaluate(
    layers: tuple[Layer, ...], members: Sequence[MemberConfig], parameters: Floats, split: Split, threads: int
) -> tuple[Doubles, Doubles]:
    """Each member's mean loss and accuracy on a split. Raises ValueError for arrays that don't fit."""
    call = _Call(layers, members, parameters, split, threads)
    losses, accuracies = np.zeros(len(members)), np.zeros(len(members))
    answers = (_at(losses), _at(accuracies))
    call("lanes_evaluate", _at(parameters), *call.settings, *call.data, *call.order, threads, *answers)
    return losses, accuracies


def probe_gradient(
    layers: tuple[Layer, ...], members: Sequence[MemberConfig], parameters: Floats, split: Split, threads: int
) -> tuple[Floats, Doubles, Doubles]:
    """The gradient of the mean data loss over a split, float32 of shape (members, parameters), and saturation.

    The other two are (members, layers with parameters): the fraction of saturated (unit, image) pairs, and of units
    that every image saturates; 0 for the output. Raises ValueError for arrays that don't fit.
    """
    call = _Call(layers, members, parameters, split, threads)
    shapes = zip(layers, output_shapes(layers, split.images.shape[1:]), strict=True)
    units = [prod(shape) if layer.activated else 0 for layer, shape in shapes if layer.kind != "pooling"]
    gradients = np.zeros_like(parameters)
    often = np.zeros((len(members), len(units)), dtype=np.int64)
    alive = np.zeros((len(members), max(sum(units), 1)), dtype=np.uint8)
    answers = (_at(gradients), _at(often), _at(alive))
    call("lanes_probe", _at(parameters), *call.settings, *call.data, *call.order, threads, *answers)
    saturated, dead = np.zeros(often.shape), np.zeros(often.shape)
    for i, (count, stop) in enumerate(zip(units, itertools.accumulate(units), strict=True)):
        if count:
            saturated[:, i] = often[:, i] / (count * len(split.labels))
            dead[:, i] = 1 - alive[:, stop - count : stop].mean(axis=1)
    return gradients, saturated, dead


class _Call:
    """One call of the library: the arguments that all have in common, checked, and kept alive until it returns."""

    def __init__(
        self,
        layers: tuple[Layer, ...],
        members: Sequence[MemberConfig],
        parameters: Floats,
        split: Split,
        threads: int,
    ) -> None:
        image = split.images.shape[1:]
        if reason := refusal(layers, image):
            raise ValueError(reason)
        if not members:
            raise ValueError("members must not be empty")
        if not 1 <= threads < 2**31:
            raise ValueError(f"threads must be at least 1, but got {threads}")
        rows, count = table(layers), len(split.labels)
        _check("parameters", parameters, np.float32, (len(members), parameter_count(layers, image)))
        _check("images", split.images, np.uint8, (count, *image))
        _check("labels", split.labels, np.int64, (count,))
        _check_range("labels", split.labels, rows[-1, 1])
        for refused in filter(None, map(SUPPORT.refusal, members)):
            raise ValueError(refused)
        fields = SUPPORT.fields.items()
        choices = np.array([[f.index(getattr(m, name)) for name, f in fields] for m in members], dtype=np.int32)
        numbers = np.array([(m.alpha, m.r, m.learning_rate) for m in members], dtype=np.float64)
        shape, everything = np.array(image, dtype=np.int32), np.arange(count, dtype=np.int64)
        self._kept = (split, numbers, choices, rows, shape, everything)
        self._network = (_at(rows), len(rows), _at(shape), len(members))
        self.settings = (_at(numbers), _at(choices))
        self.data = (_at(split.images), _at(split.labels))
        self.order = (_at(everything), ctypes.c_int64(count))

    def __call__(self, function: str, *arguments: Any) -> None:
        result = getattr(_library(chosen()), function)(*self._network, *arguments)
        if result == NOT_KNOWN:
            raise ValueError(f"{function}: the kernels have no code for what a member asks for, though SUPPORT says so")
        if result:
            raise MemoryError(f"{function}: not enough memory")


def _at(array: NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _check(name: str, array: NDArray[Any], dtype: type, shape: tuple[int, ...], writable: bool = False) -> None:
    if array.dtype != dtype or array.shape != shape:
        right = f"an array of {np.dtype(dtype)} of shape {shape}"
        raise ValueError(f"{name} must be {right}, but got {array.dtype} {array.shape}")
    if not array.flags.c_contiguous or (writable and not array.flags.writeable):
        raise ValueError(f"{name} must be contiguous{' and writable' if writable else ''}")


def _check_range(name: str, array: NDArray[np.int64], bound: int) -> None:
    if array.size == 0 or array.min() < 0 or array.max() >= bound:
        raise ValueError(f"{name} must hold numbers from 0 to {bound - 1}, and at least one")
