"""Where these tests run the kernels: on a CUDA device where there is one, else on the CPU by Triton's interpreter."""

from __future__ import annotations

import torch

from trainers.cuda import interpreted

DEVICE = "cuda" if torch.cuda.is_available() and not interpreted() else "cpu"
if DEVICE == "cpu" and not interpreted():
    raise RuntimeError("without a CUDA device these tests need TRITON_INTERPRET=1, which tests/conftest.py sets")
