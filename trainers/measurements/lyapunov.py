"""Lyapunov exponents of a recurrent layer: how fast states that differ a little move apart along a sequence.

By QR of the steps' Jacobians, one after another (Benettin et al. 1980; of recurrent networks: Engelken et al. 2023,
Vogt et al. 2022), along the sequences of a few images: exponents above 0 are chaos, and where the largest is far below
0 gradients vanish.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import nan

import torch
from torch import Tensor

from trainers.measurements.subject import Subject

IMAGES = 8
NUMBERS_AT_ONCE = 2**21


def lyapunov(subject: Subject) -> dict[str, float]:
    """The largest and the mean exponent and how many are above 0, of the mean spectrum of the first images.

    Not a number where a state is not finite or there is one step alone; minus infinity where a step loses a dimension.
    """
    if not any(layer.steps > 1 for layer in subject.layers):
        return dict.fromkeys(("lyapunov.largest", "lyapunov.mean", "lyapunov.positive"), nan)
    spectrum = exponents(subject, subject.images[:IMAGES]).sort(1, descending=True).values.mean(0)
    return {
        "lyapunov.largest": float(spectrum[0]),
        "lyapunov.mean": float(spectrum.mean()),
        "lyapunov.positive": float((spectrum > 0).sum()),
    }


def exponents(subject: Subject, images: Tensor) -> Tensor:
    """Those of each image (images, dimensions), in nats per step, from the state after the first step to the last.

    A state has the dimensions of h, or of h and c.
    """
    logs = []
    directions: Tensor | None = None
    for of_step in jacobians(subject, images):
        directions, stretched = torch.linalg.qr(of_step if directions is None else of_step @ directions)
        logs.append(stretched.diagonal(dim1=1, dim2=2).abs().log())
    return torch.stack(logs).mean(0)


def jacobians(subject: Subject, images: Tensor) -> Iterator[Tensor]:
    """(images, dimensions, dimensions) for each step but the first: the state after it by the state before it."""
    with torch.no_grad():
        steps = subject.forward(images=images).steps
    assert steps  # there is a recurrent layer
    states = [torch.cat(state, 1) for state in steps.states]
    count, sizes = states[0].shape[1], [part.shape[1] for part in steps.states[0]]
    at_once = max(1, NUMBERS_AT_ONCE // (len(images) * count**2))
    last = len(states) - 1
    for start in range(0, last, at_once):
        stop = min(start + at_once, last)
        before = torch.cat(states[start:stop]).requires_grad_()
        inputs = steps.inputs[:, start + 1 : stop + 1].transpose(0, 1).flatten(0, 1)
        after = torch.cat(steps.after(torch.split(before, sizes, 1), inputs), 1)
        # rows don't meet in a step, so that one vector is for all of them
        vectors = torch.eye(count, dtype=after.dtype)[:, None].expand(-1, len(after), -1)
        (columns,) = torch.autograd.grad(after, before, vectors, is_grads_batched=True)
        yield from columns.transpose(0, 1).reshape(-1, len(images), count, count)
