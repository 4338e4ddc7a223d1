"""The gradient of one image and that of a step, beside the recorded gradient of the mean loss over the whole probe.

`gradient.data.mean_abs` is the mean |coordinate| of a mean of gradients, in which those of the images cancel. Where it
is small, each image's gradient may be small, as where it vanishes, or they may cancel, as at a minimum or on a plateau.

- `image.mean_abs`: the mean |coordinate| of the gradient of an image's own loss, mean over the first `IMAGES` images.
- `step.mean_abs`, `step.rms`: mean |coordinate| and root mean square of what the optimizer sees, over all coordinates
  of the batches of the member's `batch_size` into which the first 256 images fall, in their order; images left over are
  left out, and where all are fewer than a batch they are one. It is the gradient of the batch's mean loss and of the
  penalty, which is part of it unless it is decoupled, and it is clipped where the member clips.

All are NaN where a coordinate is not finite. Batch normalization takes a batch's own statistics in `step`, as in
training, and in `image` those of all 256 images, held fixed. Random slopes are at their mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from trainers.losses import LOSSES
from trainers.measurements.subject import Subject
from trainers.optimizers import clipped
from trainers.penalties import PENALTIES
from trainers.reference import forward
from trainers.statistics import penalized

IMAGES = 64
NUMBERS_AT_ONCE = 2**21  # images times parameters


def per_image(subject: Subject) -> dict[str, float]:
    """See the module."""
    of_images = torch.cat([gradients.abs().mean(1) for gradients in by_image(subject)])
    of_steps = torch.stack([torch.stack((g.abs().mean(), g.square().mean())) for g in by_step(subject)])
    mean_abs, mean_square = of_steps.mean(0)
    values = {
        "gradient.image.mean_abs": of_images.mean(),
        "gradient.step.mean_abs": mean_abs,
        "gradient.step.rms": mean_square.sqrt(),
    }
    return {name: float(value) if value.isfinite() else math.nan for name, value in values.items()}


def by_image(subject: Subject) -> Iterator[Tensor]:
    """The gradients of the first images' own losses, (images, parameters), some images at a time."""
    member, buffers = subject.member, subject.fixed_buffers

    def loss(parameters: Tensor, image: Tensor, label: Tensor) -> Tensor:
        logits = forward(subject.layers, member, parameters, member.alpha, image[None], buffers).logits
        return LOSSES[member.loss].of(logits, label[None], "mean")

    each = torch.func.vmap(torch.func.grad(loss), (None, 0, 0))
    size = max(1, NUMBERS_AT_ONCE // len(subject.parameters))
    for start in range(0, min(IMAGES, len(subject.labels)), size):
        part = slice(start, min(start + size, IMAGES))
        yield each(subject.parameters, subject.images[part], subject.labels[part])


def by_step(subject: Subject) -> Iterator[Tensor]:
    """What the optimizer sees of each batch, (parameters,)."""
    member, labels = subject.member, subject.labels
    mask = torch.from_numpy(penalized(member, subject.layers))
    size = min(member.batch_size, len(labels))
    for start in range(0, len(labels) - size + 1, size):
        batch = slice(start, start + size)
        parameters = subject.parameters.clone().requires_grad_()
        loss = subject.loss(parameters, subject.images[batch], labels[batch])
        loss = loss + PENALTIES[member.penalty].value(parameters * mask, member.r)
        (gradient,) = torch.autograd.grad(loss, parameters)
        yield clipped(gradient, member.clip) if member.clip else gradient
