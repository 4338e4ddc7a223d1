"""The engine for CUDA devices: an array of members trained by a handful of kernels, written in Triton.

How it works, and what has been seen of it where, is told in README.md beside this file. Triton comes with PyTorch on
Linux and compiles what launches its kernels with the machine's C compiler; where either is missing members go to the
reference engine.

    >>> from trainers.cuda import missing, unsupported
    >>> missing("cuda")     # None, or why it can't run there
    >>> unsupported(MemberConfig(activation="tanh"))    # None, or which of its fields the kernels have no code for
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sysconfig
from dataclasses import fields
from pathlib import Path

from trainers.members import MemberConfig

# What the kernels have code for: by the field of a member, and by the class of a layer. An activation's place here is
# its number in the kernels.
SUPPORTS: dict[str, tuple[str, ...]] = {
    "activation": (
        "tanh",
        "sigmoid",
        "logsigmoid",
        "arctan",
        "softsign",
        "relu",
        "leaky_relu",
        "elu",
        "relu6",
        "silu",
        "hardswish",
    ),
    "scaling": ("rescaled", "naive"),
    "penalty": ("l2", "l1"),
    "layer": ("Convolution", "Pooling", "Dense"),
}
# Fields of any value: numbers that the kernels take, and what is decided before they start, as the network (`plan`).
ANY_VALUE = {
    *("alpha", "r", "learning_rate", "batch_size", "epochs", "seed"),
    *("regime", "convolution", "dense_bias", "initialization", "init_scale", "data", "engine"),
}


def unsupported(member: MemberConfig) -> str | None:
    """What of a member the kernels have no code for, in a line; None where they can train it.

    A field that this file does not know has to be at its default.
    """
    for field in fields(member):
        value = getattr(member, field.name)
        if field.name not in ANY_VALUE and value not in SUPPORTS.get(field.name, (field.default,)):
            return f"the cuda engine does not have the {field.name} {value!r}"
    return None


def interpreted() -> bool:
    """Whether TRITON_INTERPRET=1 asks for Triton's interpreter: the same kernels on a CPU, for tests."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def missing(device: str) -> str | None:
    """What the engine lacks on PyTorch's device of that name, in a line; None where it can run."""
    if importlib.util.find_spec("triton") is None:
        return "the cuda engine needs Triton, which is not installed"
    if interpreted():
        return None
    if device.split(":")[0] != "cuda":
        return f"the cuda engine runs on a CUDA device, not on {device}"
    if not (os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")):
        return "the cuda engine needs a C compiler, with which Triton builds its launcher: there is no gcc and no clang"
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        return "the cuda engine needs Python's headers, with which Triton builds its launcher: they are not installed"
    from triton import knobs

    # where the folder is not there yet it is made in the next one above
    cache = os.path.abspath(knobs.cache.dir)
    there = next(str(folder) for folder in (Path(cache), *Path(cache).parents) if os.path.exists(folder))
    if not (os.path.isdir(there) and os.access(there, os.W_OK | os.X_OK)):
        return f"the cuda engine keeps what Triton compiles in {cache}, which can't be written to (TRITON_CACHE_DIR)"
    return None
