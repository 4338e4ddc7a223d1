"""The gradient of the loss by the hidden state of a recurrent layer, step by step: where it vanishes or explodes.

As in Bengio et al. (1994) and Pascanu et al. (2013). Step K is K steps before the last.
"""

from __future__ import annotations

import torch

from trainers.layers.recurrent import State
from trainers.losses import LOSSES
from trainers.measurements.subject import Subject


def hidden(subject: Subject) -> dict[str, float]:
    """The size of the gradients of each image's own loss, over images and units, by the state after each step.

    Of an LSTM those by h, which leave the cell of the same step as it is, and by the cell c, part of which goes through
    that step's h.
    """
    gradients = by_state(subject)
    by_h, by_c = ([of_step[i].square().mean().sqrt() for of_step in gradients] for i in (0, -1))
    values = {
        "gradient.hidden.first_to_last": float(by_h[0] / by_h[-1]),
        "gradient.cell.first_to_last": float(by_c[0] / by_c[-1]),
    }
    for k, (of_step, h, c) in enumerate(zip(reversed(gradients), reversed(by_h), reversed(by_c), strict=True)):
        values[f"layer.step{k}.gradient.hidden.rms"] = float(h)
        values[f"layer.step{k}.gradient.hidden.mean_abs"] = float(of_step[0].abs().mean())
        values[f"layer.step{k}.gradient.cell.rms"] = float(c)
    return values


def by_state(subject: Subject) -> list[State]:
    """The gradients by h, or h and c, after each step from the first: (images, units) each."""
    outputs = subject.forward(subject.parameters.detach().requires_grad_())
    assert outputs.steps  # there is a recurrent layer
    states = outputs.steps.states
    loss = LOSSES[subject.member.loss].of(outputs.logits, subject.labels, "none").sum()
    flat = iter(torch.autograd.grad(loss, [part for state in states for part in state]))
    return [tuple(next(flat) for _ in state) for state in states]
