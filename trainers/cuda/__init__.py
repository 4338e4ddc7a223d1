"""The engine for CUDA devices: an array of members trained by a handful of kernels, written in Triton.

How it works, and what has been seen of it where, is told in README.md beside this file. Triton comes with PyTorch on
Linux; where it is missing members go to the reference engine.

    >>> from trainers.cuda import missing
    >>> missing("cuda")     # None, or why it can't run there
"""

from __future__ import annotations

import importlib.util
import os


def interpreted() -> bool:
    """Whether TRITON_INTERPRET=1 asks for Triton's interpreter: the same kernels on a CPU, for tests."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def missing(device: str) -> str | None:
    """What the engine lacks on PyTorch's device of that name, in a line; None where it can run."""
    if importlib.util.find_spec("triton") is None:
        return "the cuda engine needs Triton, which is not installed"
    if device.split(":")[0] != "cuda" and not interpreted():
        return f"the cuda engine runs on a CUDA device, not on {device}"
    return None
