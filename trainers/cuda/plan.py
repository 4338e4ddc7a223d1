"""A network as the kernels read it: a table of layers, and where everything lies in a program's scratch.

An image of 3 channels lies as rows: row y is 3 pieces of PITCH places (one a channel), a place is one float for each of
the block's images. A border of one place around each image is never written and stays 0: the padding. The pitch is that
of the largest image for all layers, so that every address in a kernel is one pointer plus a constant.

    >>> plan = plan_of(network("combined"), (3, 32, 32), DEVICE)
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from trainers.cuda import SUPPORT
from trainers.layers import Convolution, Dense, Layer, Pooling, Shape, output_shapes, parameter_count, places

CHANNELS = 3
TAPS = 81  # weights of a 3x3 convolution from 3 to 3 channels
PACKED = 128  # places for them: a power of two
MOST_UNITS = 64
MOST_FLAT = 256

# A row of the table of convolutions. `rows` is how many rows a slot works on; areas are offsets in floats.
CONVOLUTION = (
    "height",
    "width",
    "groups",
    "rows",
    "pooled",
    "separable",
    "parameters",
    "input",
    "value",
    "slope",
    "choice",
    "gradient",
    "weights",
    "units",
)
# A row of the table of dense layers.
DENSE = ("inputs", "outputs", "parameters", "bias", "input", "value", "slope", "units")


@dataclass(frozen=True)
class Blocks:
    """How the kernels cut the work up. It decides the order of sums, so it must not depend on the members.

    `lanes` images are a block; `slots` places of a layer are worked on side by side, each a strip of `strip` columns
    and a group of rows; `pixels` are gathered and `sums` partial sums added up at a time; `warps` of 32 threads.
    """

    lanes: int
    slots: int
    strip: int
    pixels: int
    sums: int
    warps: int


DEVICE = Blocks(lanes=32, slots=8, strip=4, pixels=128, sums=32, warps=8)
# The interpreter's time is its number of operations, not their size: the same kernels in larger pieces.
INTERPRETED = Blocks(lanes=32, slots=256, strip=2, pixels=4096, sums=8192, warps=1)


@dataclass(frozen=True)
class Plan:
    """`convolutions` and `dense` are the tables, int32; `scratch` is floats a program, `units` activated units.

    `full` and `sums` are the areas for a separable layer's whole gradient and for partial sums; `flat` is where the
    first dense layer's input goes; `unit_slices` has, for each layer with parameters, its units' place among all.
    """

    blocks: Blocks
    image: Shape
    convolutions: NDArray[np.int32]
    dense: NDArray[np.int32]
    parameters: int
    classes: int
    scratch: int
    units: int
    unit_slices: tuple[slice, ...]
    full: int
    sums: int
    widest: int
    flat: int

    @property
    def pitch(self) -> int:
        """Places a row of one channel."""
        return self.image[2] + 2


def refusal(layers: tuple[Layer, ...], image: Shape, blocks: Blocks = DEVICE) -> str | None:
    """Why the kernels can't run this network on images (channels, height, width), in a line; None where they can."""
    if len(image) != 3 or image[0] != CHANNELS:
        return f"the cuda engine takes images of {CHANNELS} channels, but got {image}"
    if reason := SUPPORT.refusal_of(layers):
        return reason
    shape: Shape = image
    before: Layer | None = None
    for i, (layer, outgoing) in enumerate(zip(layers, output_shapes(layers, image), strict=True)):
        wrong = _wrong(layer, before, shape, blocks)
        if not wrong and isinstance(before, Convolution) and isinstance(layer, Convolution):
            wrong = _racing(shape, any(isinstance(after, Pooling) for after in layers[i + 1 : i + 2]), blocks)
        if wrong:
            return f"layer {layer.name}: {wrong}"
        shape, before = outgoing, layer
    if not isinstance(before, Dense) or before.activated:
        return "the last layer must be a dense one without activation"
    return None


def _wrong(layer: Layer, before: Layer | None, shape: Shape, blocks: Blocks) -> str | None:
    """Why this layer can't come after that one, whose output has that shape."""
    if isinstance(layer, Dense):
        if before is None:
            return "the cuda engine runs networks that begin with a convolution"
        if isinstance(before, Dense) and not before.activated:
            return "only the last dense layer goes without activation"
        if layer.units > MOST_UNITS or prod(shape) > MOST_FLAT:
            return f"the cuda engine runs dense layers of at most {MOST_FLAT} inputs and {MOST_UNITS} units"
        return None
    if len(shape) != 3:
        return "images can't come after a dense layer"
    _, height, width = shape
    if isinstance(layer, Pooling):
        if not isinstance(before, Convolution):
            return "the cuda engine pools after a convolution"
        return "the cuda engine pools even sizes" if height % 2 or width % 2 else None
    if not isinstance(layer, Convolution) or layer.channels != CHANNELS or layer.bias:
        return f"the cuda engine runs convolutions of {CHANNELS} channels without bias"
    if width % blocks.strip or width // blocks.strip > blocks.slots:
        return f"the cuda engine runs widths of {blocks.strip} to {blocks.strip * blocks.slots} by {blocks.strip}"
    return None


def _racing(shape: Shape, pooled: bool, blocks: Blocks) -> str | None:
    """Why a convolution of this shape can't come right after another one.

    Slots for which a layer has no place do another one's work again. On the way back such a pair of layers multiplies
    in place (`by_image`), and two warps that do so at the same place race.
    """
    used = _groups(shape[1], shape[2], pooled, blocks) * (shape[2] // blocks.strip)
    if blocks.warps > 1 and used < blocks.slots:
        return f"a convolution right after another one must have places for {blocks.slots} slots, but has {used}"
    return None


def plan_of(layers: tuple[Layer, ...], image: Shape, blocks: Blocks) -> Plan:
    """Plan a network that `refusal` lets pass; ValueError, with the reason, for others."""
    if reason := refusal(layers, image, blocks):
        raise ValueError(reason)
    pitch, lanes = image[2] + 2, blocks.lanes
    used = 0

    def area(floats: int) -> int:
        nonlocal used
        used += floats
        return used - floats

    def image_area(height: int) -> int:
        return area((height + 2) * CHANNELS * pitch * lanes)

    shapes = [image, *output_shapes(layers, image)]
    starts = {place.name: place.where.start for place in places(layers, image)}
    widest = _power_of_two(max(layer.units for layer in layers if isinstance(layer, Dense)), 16)
    convolutions: list[dict[str, int]] = []
    dense: list[dict[str, int]] = []
    slices: list[slice] = []
    units = 0
    source = image_area(image[1])
    flat = 0
    for i, layer in enumerate(layers):
        if isinstance(layer, Pooling):
            continue
        if isinstance(layer, Convolution):
            _, height, width = shapes[i]
            pooled = isinstance(layers[i + 1], Pooling)
            out = height // 2 if pooled else height
            groups = _groups(height, width, pooled, blocks)
            value, slope = image_area(out), image_area(out)
            convolutions.append(
                {
                    "height": height,
                    "width": width,
                    "groups": groups,
                    "rows": height // groups,
                    "pooled": int(pooled),
                    "separable": int(layer.separable),
                    "parameters": starts[layer.name],
                    "input": source,
                    "value": value,
                    "slope": slope,
                    "choice": image_area(out) if pooled else 0,
                    # by z, of a pool by the one that won; where nothing is pooled it takes the slope's place
                    "gradient": image_area(out) if pooled else slope,
                    "weights": area(2 * PACKED),
                    "units": units,
                }
            )
            source, count = value, prod(shapes[i + 1])
        elif isinstance(layer, Dense):
            inputs = prod(shapes[i])
            if not dense:
                flat = _power_of_two(inputs, 16)
                source = area(flat * lanes)
            value, slope = area(widest * lanes), area(widest * lanes)
            dense.append(
                {
                    "inputs": inputs,
                    "outputs": layer.units,
                    "parameters": starts[layer.name],
                    "bias": int(layer.bias),
                    "input": source,
                    "value": value,
                    "slope": slope,
                    "units": units,
                }
            )
            source, count = value, layer.units if layer.activated else 0
        slices.append(slice(units, units + count))
        units += count
    return Plan(
        blocks=blocks,
        image=image,
        convolutions=np.array([[row[name] for name in CONVOLUTION] for row in convolutions], dtype=np.int32),
        dense=np.array([[row[name] for name in DENSE] for row in dense], dtype=np.int32),
        parameters=parameter_count(layers, image),
        classes=dense[-1]["outputs"],
        unit_slices=tuple(slices),
        units=units,
        full=area(PACKED),
        sums=area(TAPS * blocks.slots * lanes),
        widest=widest,
        flat=flat,
        scratch=used,
    )


def _groups(height: int, width: int, pooled: bool, blocks: Blocks) -> int:
    """The most groups of equally many rows, or pairs of rows, for which there are slots."""
    rows = height // 2 if pooled else height
    most = blocks.slots // (width // blocks.strip)
    return max(n for n in range(1, max(1, most) + 1) if rows % n == 0)


def _power_of_two(number: int, least: int) -> int:
    return max(least, 1 << (number - 1).bit_length())
