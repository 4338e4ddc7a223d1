"""The activations in the kernels, by the lane engine's own measure: to a few units in the last place."""

import numpy as np
import pytest
import torch

from tests.trainers.cuda.device import DEVICE  # isort: skip (before Triton)
import triton
import triton.language as tl

from tests.trainers.lanes.test_functions import Z, exact
from trainers.cuda import SUPPORT
from trainers.cuda.array import launching
from trainers.cuda.kernels.activations import activate
from trainers.cuda.settings import kinds, rows
from trainers.members import MemberConfig


@triton.jit
def activate_kernel(z, value, slope, kinds, settings, SIZE: tl.constexpr):
    at = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    s = settings
    f = (tl.load(s), tl.load(s + 1), tl.load(s + 2), tl.load(s + 3), tl.load(s + 4), tl.load(s + 5))
    values, slopes = activate(tl.load(kinds), (tl.load(z + at),), f, 1)
    tl.store(value + at, values[0])
    tl.store(slope + at, slopes[0])


def activated(member: MemberConfig, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    size = 2**16 if DEVICE == "cpu" else 2**10  # the interpreter's time is its number of operations
    padded = np.zeros(-(-len(z) // size) * size, np.float32)
    padded[: len(z)] = z
    given = torch.tensor(padded, device=DEVICE)
    value, slope = torch.full_like(given, torch.nan), torch.full_like(given, torch.nan)
    numbers = torch.tensor(kinds([member]), device=DEVICE), torch.tensor(rows([member]), device=DEVICE)
    with launching(given.device):
        activate_kernel[len(padded) // size,](given, value, slope, *numbers, SIZE=size, enable_fp_fusion=False)
    return value.cpu().numpy()[: len(z)], slope.cpu().numpy()[: len(z)]


@pytest.mark.parametrize("scaling", ["rescaled", "naive"])
@pytest.mark.parametrize("activation", SUPPORT.fields["activation"])
def test_values_and_slopes_to_a_few_units_in_the_last_place(activation: str, scaling: str) -> None:
    naive = scaling == "naive"
    z = Z[np.abs(np.abs(Z / (1.0 if naive else 1.3)) - 3) > 1e-5]  # where hardswish' jumps
    value, slope = activated(MemberConfig(activation=activation, scaling=scaling, alpha=1.3), z)
    true_value, true_slope, bend = exact(activation, naive, 1.3, z)
    unit = 2.0**-23
    assert (np.abs(value - true_value) <= 2.5 * unit * (np.abs(true_value) + np.abs(z * true_slope)) + 1e-36).all()
    assert (np.abs(slope - true_slope) <= 4 * unit * (np.abs(true_slope) + np.abs(z * bend)) + 3e-16).all()


@pytest.mark.parametrize("activation", SUPPORT.fields["activation"])
def test_nan_stays_nan(activation: str) -> None:
    value, _ = activated(MemberConfig(activation=activation, alpha=2.0), np.array([np.nan, 1.0], np.float32))
    assert np.isnan(value[0]) and not np.isnan(value[1])
