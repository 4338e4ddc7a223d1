"""The engine for CUDA devices: an array of members trained by a handful of kernels, written in Triton.

README.md beside this file says how it works, and what has been seen of it where. Triton comes with PyTorch on
Linux and compiles what launches its kernels with the machine's C compiler; where either is missing members go to the
reference engine.

    >>> from trainers.cuda import SUPPORT, missing
    >>> missing("cuda")     # None, or why it can't run there
    >>> SUPPORT.refusal(MemberConfig(activation="tanh"))    # None, or which of its fields the kernels have no code for
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sysconfig
from pathlib import Path

from trainers.support import Support

# What the kernels have code for; an activation's place here is its number in them.
SUPPORT = Support(
    engine="cuda",
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
