"""What the C kernels have code for, as data, and the header in which the C compiler reads it.

`setup.py` writes the header when it compiles the kernels; nobody else has these numbers. A library that was compiled
from another header than this one is not used (`trainers.lanes.kernels.builds`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from trainers.activations import ABOVE_ZERO, ACTIVATIONS, RANDOM_SLOPES, SATURATED_BELOW
from trainers.layers import CELLS, Layer, Recurrent, normalization
from trainers.optimizers import BETA1, BETA2, DECAY, MOMENTUM
from trainers.support import Support

# A value's place here is its number in the kernels, and these fields, in this order, are what they know of a member's
# choices, the struct `Choices` in C.
SUPPORT = Support(
    engine="lanes",
    fields={
        "activation": (
            *("tanh", "sigmoid", "logsigmoid", "arctan", "softsign"),
            *("relu", "leaky_relu", "elu", "relu6", "silu", "hardswish"),
            *("prelu", "rrelu", "gelu", "mish", "softplus", "hardtanh", "identity"),
        ),
        "scaling": ("rescaled", "naive"),
        "learn_alpha": ("none", "network", "layer"),
        "loss": ("cross_entropy", "squared"),
        "penalty": ("l2", "l1", "decoupled"),
        "penalized": ("all", "weights"),
        "optimizer": ("adam", "sgd", "momentum", "nesterov", "rmsprop"),
        "epsilon_at": ("after", "before"),
        "schedule": ("constant", "cosine", "linear"),
        "input": ("unit", "bytes", "standardized"),
    },
    layers=("convolution", "pooling", "dense", "recurrent"),
    normalizations=("none", "batch", "layer", "dynamic_tanh"),
    residual=True,
    every=("slope", "epsilon", "clip", "warmup"),
)

# How the kernels read a layer: its kind, outputs, and whether it has a bias; and what is common to all kinds.
KINDS = ("PLAIN", "SEPARABLE", "POOLING", "DENSE", "RECURRENT")
PLAIN, SEPARABLE, POOLING, DENSE, RECURRENT = range(len(KINDS))
ROWS: dict[str, Callable[[Any], tuple[int, int, int]]] = {
    "convolution": lambda layer: (SEPARABLE if layer.separable else PLAIN, layer.channels, layer.bias),
    "pooling": lambda layer: (POOLING, 0, 0),
    "dense": lambda layer: (DENSE, layer.units, layer.bias),
    "recurrent": lambda layer: (RECURRENT, layer.units, layer.bias),
}
ROW = (
    *("kind", "outputs", "bias", "activated", "normalization", "residual", "learns_alpha", "learns_slope"),
    *("cell", "steps", "scaled_gates"),  # 0 but of recurrent layers
)


def row(layer: Layer) -> tuple[int, ...]:
    """The numbers of ROW of a layer."""
    normalization = SUPPORT.normalizations.index(layer.normalization) if layer.activated else 0
    learned = tuple(int(name in layer.learned) for name in ("alpha", "slope"))
    common = (*ROWS[layer.kind](layer), int(layer.activated), normalization, int(layer.residual), *learned)
    if not isinstance(layer, Recurrent):
        return (*common, 0, 0, 0)
    return (*common, list(CELLS).index(layer.cell), layer.steps, int(layer.scaled_gates))


# What Python hands over in a call, the struct `Call` in C: arrays, with their types, and whole numbers. `table` has a
# row per layer; `numbers` (NUMBERS) and `choices` (the fields of SUPPORT) have one per member. `orders` are the images
# to use: (members, count) where members are trained, which is where `steps`, the learning `rates` (members, batches),
# and what the optimizer keeps, `first` and `second`, are given, else (count,). A probe gives `gradients` as well,
# `often` (members, layers that are not pooling) and `alive` (members, units). `channel_scales` (channels, 2) are a
# factor and an addend for bytes that were divided by 255, where these are not used as they are.
ARRAYS = {"table": "int32", "numbers": "float64", "choices": "int32", "images": "uint8", "labels": "int64"}
ARRAYS |= {"orders": "int64", "steps": "int64", "rates": "float64", "losses": "float64", "accuracies": "float64"}
ARRAYS |= dict.fromkeys(("parameters", "first", "second", "buffers", "gradients", "channel_scales"), "float32")
ARRAYS |= {"often": "int64", "alive": "uint8"}
STRUCTS = {"table": "Row", "numbers": "Numbers", "choices": "Choices"}
FLAT = ("low", "high", "from", "to")  # of an Activation
NUMBERS = ("alpha", "r", "epsilon", "clip", "slope", "key", *FLAT)
COUNTS = ("rows", "channels", "height", "width", "members", "count", "batch_size", "threads")


def header() -> str:
    """The C header: what a call is, what the numbers in the kernels' tables mean, and the activations' own."""
    lines = ["/* Written by setup.py from trainers/lanes/tables.py. */"]
    lines.append(f"typedef struct {{ int32_t {', '.join(ROW)}; }} Row;")
    lines.append(f"typedef struct {{ double {', '.join(NUMBERS)}; }} Numbers;")
    lines.append(f"typedef struct {{ int32_t {', '.join(SUPPORT.fields)}; }} Choices;")
    lines.append(f"#define CHOICE_COUNTS {', '.join(f'{name.upper()}_COUNT' for name in SUPPORT.fields)}")
    types = {"float32": "float", "float64": "double"}
    call = [f"{STRUCTS.get(name) or types.get(kind, f'{kind}_t')} *{name};" for name, kind in ARRAYS.items()]
    lines.append(f"typedef struct {{ {' '.join(call)} int64_t {', '.join(COUNTS)}; }} Call;")
    for field, values in SUPPORT.fields.items():
        lines.append(f"enum {{ {', '.join(value.upper() for value in values)}, {field.upper()}_COUNT }};")
    lines.append(f"enum {{ {', '.join(KINDS)} }};")
    lines.append(f"enum {{ {', '.join(cell.upper() for cell in CELLS)}, CELL_COUNT }};")
    rows = []
    for name in SUPPORT.fields["activation"]:
        if ACTIVATIONS[name].flat is None:
            raise ValueError(f"the lane engine can't have {name}: ACTIVATIONS does not say where it is flat")
        rows.append(f"{{{int(ACTIVATIONS[name].monotone)}, {int(ACTIVATIONS[name].homogeneous)}}}")
    lines.append("#define ACTIVATION_ROWS " + ", \\\n    ".join(rows))
    names = (f"{name.upper()}_NORMALIZATION" for name in SUPPORT.normalizations)
    lines.append(f"enum {{ {', '.join(names)} }};")
    constants = {"BETA1": BETA1, "BETA2": BETA2, "DECAY": DECAY, "MOMENTUM_OF_SGD": MOMENTUM}
    constants |= {"EPSILON_OF_VARIANCE": normalization.EPSILON, "MOMENTUM_OF_STATISTICS": normalization.MOMENTUM}
    constants |= {"SATURATED_BELOW": SATURATED_BELOW, "ABOVE_ZERO": ABOVE_ZERO}
    constants |= dict(zip(("RANDOM_LOW", "RANDOM_HIGH"), RANDOM_SLOPES, strict=True))
    lines += [f"#define {name} {value!r}" for name, value in constants.items()]
    lines.append(f'#define TABLES "{hashlib.sha256("".join(lines).encode()).hexdigest()}"')
    return "\n".join(lines) + "\n"
