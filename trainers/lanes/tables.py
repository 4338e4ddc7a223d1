"""What the C kernels have code for, as data, and the header in which the C compiler reads it.

`setup.py` writes the header when it compiles the kernels; nobody else has these numbers. A library that was compiled
from another header than this one is not used (`trainers.lanes.kernels.builds`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from math import isinf
from typing import Any

from trainers.activations import ACTIVATIONS
from trainers.members import MemberConfig
from trainers.optimizers import BETA1, BETA2
from trainers.support import Support

# A value's place here is its number in the kernels, and these fields, in this order, are what they know of a member's
# choices (`settings_of` in engine.c).
SUPPORT = Support(
    engine="lanes",
    fields={
        "activation": (
            *("tanh", "sigmoid", "logsigmoid", "arctan", "softsign"),
            *("relu", "leaky_relu", "elu", "relu6", "silu", "hardswish"),
        ),
        "scaling": ("rescaled", "naive"),
        "penalty": ("l2", "l1"),
    },
    layers=("convolution", "pooling", "dense"),
)

# How the kernels read a layer of each kind: (its number, outputs, bias, activated).
PLAIN, SEPARABLE, POOLING, DENSE = range(4)
ROWS: dict[str, Callable[[Any], tuple[int, int, int, int]]] = {
    "convolution": lambda layer: (SEPARABLE if layer.separable else PLAIN, layer.channels, layer.bias, 1),
    "pooling": lambda layer: (POOLING, 0, 0, 0),
    "dense": lambda layer: (DENSE, layer.units, layer.bias, layer.activated),
}

# What Python hands over in a call, the struct `Call` in C: arrays, with their types, and whole numbers. `table` has a
# row per layer; `numbers` (alpha, r, learning rate) and `choices` (the fields of SUPPORT) have one per member. `orders`
# are the images to use: (members, count) where members are trained, which is where `steps` are given, else (count,). A
# probe gives `gradients` as well, `often` (members, layers that are not pooling) and `alive` (members, units).
ARRAYS = {"table": "int32", "numbers": "float64", "choices": "int32", "images": "uint8", "labels": "int64"}
ARRAYS |= {"orders": "int64", "steps": "int64", "losses": "float64", "accuracies": "float64"}
ARRAYS |= dict.fromkeys(("parameters", "first_moment", "second_moment", "gradients"), "float32")
ARRAYS |= {"often": "int64", "alive": "uint8"}
COUNTS = ("rows", "channels", "height", "width", "members", "count", "batch_size", "threads")


def header() -> str:
    """The C header: what a call is, what the numbers in the kernels' tables mean, and the activations' own."""
    lines = ["/* Written by setup.py from trainers/lanes/tables.py. */"]
    types = {"float32": "float", "float64": "double"}
    call = [f"{types.get(kind, f'{kind}_t')} *{name};" for name, kind in ARRAYS.items()]
    lines.append(f"typedef struct {{ {' '.join(call)} int64_t {', '.join(COUNTS)}; }} Call;")
    for field, values in SUPPORT.fields.items():
        lines.append(f"enum {{ {', '.join(value.upper() for value in values)}, {field.upper()}_COUNT }};")
    lines.append(f"enum {{ PLAIN = {PLAIN}, SEPARABLE = {SEPARABLE}, POOLING = {POOLING}, DENSE = {DENSE} }};")
    rows = []
    for name in SUPPORT.fields["activation"]:
        flat = ACTIVATIONS[name].flat_at(ACTIVATIONS[name].slope)
        if flat is None:
            raise ValueError(f"the lane engine can't have {name}: ACTIVATIONS does not say where it is flat")
        rows.append(f"{{{', '.join(map(_float, flat))}, {int(ACTIVATIONS[name].monotone)}}}")
    lines.append("#define ACTIVATION_ROWS " + ", \\\n    ".join(rows))
    constants = {"BETA1": BETA1, "BETA2": BETA2, "EPSILON": MemberConfig.epsilon}
    lines += [f"#define {name} {value!r}" for name, value in constants.items()]
    lines.append(f'#define TABLES "{hashlib.sha256("".join(lines).encode()).hexdigest()}"')
    return "\n".join(lines) + "\n"


def _float(number: float) -> str:
    return f"{'-' if number < 0 else ''}__builtin_inff()" if isinf(number) else f"{number!r}f"
