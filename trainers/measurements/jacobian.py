"""Singular values of the Jacobian of the logits by the image: how a small change of its pixels comes out.

One Jacobian (classes, pixels) for each of the first `IMAGES` of the probe, by pixels as the member's `input` has them.

- `largest`, `smallest`, and `condition`, their quotient: medians over images. No Jacobian has a higher rank than the
  narrowest layer has units, so of a network with 8 units before 10 logits the eighth is the smallest. Where it is below
  `ROUNDING` times the largest, which is what float64 leaves of a 0, it is 0, and the condition infinite: where relus
  are off, or layer normalization takes a direction out of 8.
- `mean_square`: the sum of squares over the number of logits, mean over images. In theory, in a wide network whose
  weights have the variance sigma_w^2 / fan_in, it is sigma_w^2 times the product of chi over the activated layers.

All are NaN where a derivative is not finite. Batch normalization takes the statistics of the probe's images, held fixed
as running ones are in evaluation, so that an image's logits depend on no other image. Random slopes are at their mean.
"""

from __future__ import annotations

import math
from math import prod

import numpy as np
import torch

from trainers.layers import output_shapes
from trainers.measurements import MEASUREMENTS
from trainers.measurements.subject import Subject
from trainers.reference import forward

IMAGES = 16
ROUNDING = 32 * 2.0**-52


def jacobian(subject: Subject) -> dict[str, float]:
    """See the module."""
    images = subject.images[:IMAGES].clone().requires_grad_()
    member, buffers = subject.member, subject.fixed_buffers
    logits = forward(subject.layers, member, subject.parameters, member.alpha, images, buffers).logits
    # one backward pass a logit: an image's logits depend on that image alone
    rows = [torch.autograd.grad(logit.sum(), images, retain_graph=True)[0] for logit in logits.unbind(1)]
    jacobians = torch.stack(rows, 1).flatten(2)
    if not jacobians.isfinite().all():
        return dict.fromkeys(MEASUREMENTS["jacobian"].network, math.nan)
    rank = min(prod(shape) for shape in output_shapes(subject.layers))
    singular = torch.linalg.svdvals(jacobians)[:, :rank].numpy()
    largest, smallest = singular[:, 0], np.where(singular[:, -1] > ROUNDING * singular[:, 0], singular[:, -1], 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        condition = np.where(smallest > 0, largest / smallest, math.inf)
    return {
        "jacobian.largest": float(np.median(largest)),
        "jacobian.smallest": float(np.median(smallest)),
        "jacobian.mean_square": float(jacobians.square().sum(2).mean()),
        "jacobian.condition": float(np.median(condition)),
    }
