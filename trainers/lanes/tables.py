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
from trainers.optimizers import BETA1, BETA2, EPSILON
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
    optimizers=("adam",),
)

# How the kernels read a layer of each kind: (its number, outputs, bias, activated).
PLAIN, SEPARABLE, POOLING, DENSE = range(4)
ROWS: dict[str, Callable[[Any], tuple[int, int, int, int]]] = {
    "convolution": lambda layer: (SEPARABLE if layer.separable else PLAIN, layer.channels, layer.bias, 1),
    "pooling": lambda layer: (POOLING, 0, 0, 0),
    "dense": lambda layer: (DENSE, layer.units, layer.bias, layer.activated),
}


def header() -> str:
    """The C header: what the numbers in the kernels' tables mean, and the activations' and the optimizer's own."""
    lines = ["/* Written by setup.py from trainers/lanes/tables.py. */"]
    for field, values in SUPPORT.fields.items():
        lines.append(f"enum {{ {', '.join(value.upper() for value in values)}, {field.upper()}_COUNT }};")
    lines.append(f"enum {{ PLAIN = {PLAIN}, SEPARABLE = {SEPARABLE}, POOLING = {POOLING}, DENSE = {DENSE} }};")
    rows = []
    for name in SUPPORT.fields["activation"]:
        flat = ACTIVATIONS[name].flat
        if flat is None:
            raise ValueError(f"the lane engine can't have {name}: ACTIVATIONS does not say where it is flat")
        rows.append(f"{{{', '.join(map(_float, flat))}, {int(ACTIVATIONS[name].monotone)}}}")
    lines.append("#define ACTIVATION_ROWS " + ", \\\n    ".join(rows))
    lines += [f"#define {name} {value!r}" for name, value in (("BETA1", BETA1), ("BETA2", BETA2), ("EPSILON", EPSILON))]
    lines.append(f'#define TABLES "{hashlib.sha256("".join(lines).encode()).hexdigest()}"')
    return "\n".join(lines) + "\n"


def _float(number: float) -> str:
    return f"{'-' if number < 0 else ''}__builtin_inff()" if isinf(number) else f"{number!r}f"
