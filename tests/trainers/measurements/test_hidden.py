"""The gradient by the hidden state against autograd of the whole loop, written by hand, in double precision."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.trainers.test_engines import TINY, member_of
from tests.trainers.test_recurrent import by_hand, tensors_of
from trainers.layers import CELLS
from trainers.measurements import MEASUREMENTS
from trainers.measurements.subject import Subject
from trainers.members import MemberConfig, layers_of
from trainers.reference import Images
from trainers.states import initial_state

HIDDEN = MEASUREMENTS["hidden"]


def subject_of(member: MemberConfig) -> Subject:
    layers = layers_of(member, 10)
    return Subject(initial_state(member, layers, TINY), layers, Images(TINY, "probe", torch.device("cpu")))


@pytest.mark.parametrize("loss", ["cross_entropy", "squared"])
@pytest.mark.parametrize("cell", CELLS)
def test_it_is_the_derivative_by_a_shift_of_the_state(cell: str, loss: str) -> None:
    """Of each image's own loss by what is added to h, or to c, after a step: by torch.func.jacrev of the whole loop."""
    member = member_of("recurrent", cell=cell, units=4, steps=8, dense=1, alpha=1.5, activation="softsign", loss=loss)
    subject = subject_of(member)
    tensors = tensors_of(subject.parameters, subject.layers)
    images, labels, states = subject.images, subject.labels, CELLS[cell].states

    def losses(shifts: Tensor) -> Tensor:
        """Of all images, whose h and c after each step are shifted: (states, steps, images, units) -> (images,)."""
        h = by_hand(member, tensors, images, shifts)[-1][0]
        dense, dense_bias, output, output_bias = tensors[3:]
        hidden = 1.5 * F.softsign(F.linear(h, dense, dense_bias) / 1.5)
        logits = F.linear(hidden, output, output_bias)
        if loss == "cross_entropy":
            return F.cross_entropy(logits, labels, reduction="none")
        return (logits - F.one_hot(labels, 10)).square().mean(1)

    none = torch.zeros(states, 8, len(images), 4, dtype=torch.float64)
    by_shift = torch.func.jacrev(lambda shifts: losses(shifts).sum())(none)
    values = HIDDEN.measure(subject)
    assert set(values) == set(HIDDEN.names(subject.layers))
    rms = by_shift.square().mean((2, 3)).sqrt()
    for k in range(8):
        assert values[f"layer.step{k}.gradient.hidden.rms"] == pytest.approx(float(rms[0, 7 - k]), rel=1e-10)
        mean_abs = float(by_shift[0, 7 - k].abs().mean())
        assert values[f"layer.step{k}.gradient.hidden.mean_abs"] == pytest.approx(mean_abs, rel=1e-10)
        assert values[f"layer.step{k}.gradient.cell.rms"] == pytest.approx(float(rms[-1, 7 - k]), rel=1e-10)
    assert values["gradient.hidden.first_to_last"] == pytest.approx(float(rms[0, 0] / rms[0, 7]), rel=1e-10)
    assert values["gradient.cell.first_to_last"] == pytest.approx(float(rms[-1, 0] / rms[-1, 7]), rel=1e-10)


def test_it_vanishes_as_the_power_of_an_identity_networks_weights() -> None:
    """Of a linear network with U = 0.5 I the gradient is halved at each step back."""
    member = member_of("recurrent", activation="identity", init_scale=0.5, recurrent_initialization="identity")
    values = HIDDEN.measure(subject_of(member))
    last = values["layer.step0.gradient.hidden.rms"]
    for k in range(32):
        assert values[f"layer.step{k}.gradient.hidden.rms"] == pytest.approx(last / 2**k, rel=1e-9)
    assert values["gradient.hidden.first_to_last"] == pytest.approx(2.0**-31)


@pytest.mark.parametrize("steps, rows, first", [(1, 1, 0), (128, 128, 127), (256, 128, 255), (1024, 128, 1023)])
def test_at_most_128_rows_evenly_spaced(steps: int, rows: int, first: int) -> None:
    layers = layers_of(member_of("recurrent", steps=steps), 10)
    names = HIDDEN.rows(layers)
    back = [int(name.removeprefix("step")) for name in names]
    assert len(back) == rows == len(set(back)) and (back[0], back[-1]) == (0, first)
    gaps = {b - a for a, b in zip(back, back[1:], strict=False)}
    assert not gaps or max(gaps) - min(gaps) <= 1


def test_a_network_without_a_recurrent_layer_is_refused() -> None:
    with pytest.raises(ValueError, match="measure hidden needs a recurrent layer, but this network has none"):
        replace(MemberConfig(), measure=("hidden",))
