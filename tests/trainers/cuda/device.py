"""Where these tests run the kernels: on a CUDA device where there is one, else on the CPU by Triton's interpreter.

Imported before anything of Triton's: what has been decorated by then is compiled for ever.
"""

from __future__ import annotations

import os
import sys

import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cpu" and os.environ.get("TRITON_INTERPRET") != "1":
    if "triton.language" in sys.modules:
        raise RuntimeError(
            "Triton was imported before TRITON_INTERPRET=1 was set: run these tests in a process of their own"
        )
    os.environ["TRITON_INTERPRET"] = "1"
