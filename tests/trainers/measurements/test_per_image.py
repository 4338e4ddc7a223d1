"""The gradients of images and of steps, against autograd through torch.nn's modules, image by image in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tests.trainers.measurements.modules import evaluating, model_of, subject_of
from trainers.layers.recurrent import CELLS
from trainers.measurements import MEASUREMENTS
from trainers.measurements import per_image as measurement
from trainers.measurements.per_image import IMAGES
from trainers.measurements.subject import Subject

PER_IMAGE = MEASUREMENTS["per_image"]
NETWORKS: dict[str, dict[str, Any]] = {
    "dense": {"regime": "mlp", "units": 8, "activation": "relu"},
    "convolutions": {"regime": "combined", "alpha": 2.0},
    "residual": {"regime": "resnet", "normalization": "layer", "channels": 3, "blocks": 1},
    "batch": {"regime": "mlp", "units": 8, "normalization": "batch"},
    **{cell: {"regime": "recurrent", "cell": cell, "units": 5} for cell in CELLS},
}


def gradient(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Of the mean loss, by all parameters in any order."""
    gradients = torch.autograd.grad(cross_entropy(model(images), labels), [*model.parameters()])
    return torch.cat([g.flatten() for g in gradients])


def parameters(model: nn.Module, weights_alone: bool = False) -> Tensor:
    """In the order of `gradient`; biases are 0 where they are not penalized."""
    kept = [p * float(p.dim() > 1 or not weights_alone) for p in model.parameters()]
    return torch.cat([p.detach().flatten() for p in kept])


def of_images(subject: Subject) -> float:
    model = evaluating(subject)
    pairs = zip(subject.images[:IMAGES], subject.labels[:IMAGES], strict=True)
    each = [gradient(model, image[None], label[None]).abs().mean() for image, label in pairs]
    return float(torch.stack(each).mean())


@pytest.mark.parametrize("network", NETWORKS)
def test_the_mean_over_images_is_that_of_a_loop(network: str) -> None:
    subject = subject_of(**NETWORKS[network], batch_size=256)
    found = PER_IMAGE.measure(subject)
    assert found["gradient.image.mean_abs"] == pytest.approx(of_images(subject), rel=1e-10)
    whole = gradient(model_of(subject).train(), subject.images, subject.labels)
    assert found["gradient.step.mean_abs"] == pytest.approx(float(whole.abs().mean()), rel=1e-10)


@pytest.mark.parametrize("network", ["dense", "batch"])
@pytest.mark.parametrize(
    "own",
    [
        {"r": 0.0},
        {"r": 0.3},
        {"r": 0.3, "penalized": "weights"},
        {"r": 0.3, "penalty": "l1"},
        {"r": 0.3, "penalty": "decoupled"},
        {"r": 0.3, "clip": 1e-3},
    ],
    ids=str,
)
def test_a_step_is_what_the_optimizer_sees(network: str, own: dict[str, Any]) -> None:
    """16 does not divide 70: four batches, and 6 images are left out."""
    subject = subject_of(**NETWORKS[network], **own, batch_size=16)
    model = model_of(subject).train()
    weights = parameters(model, own.get("penalized") == "weights")
    penalty = {"l1": weights.sign(), "decoupled": 0 * weights}.get(str(own.get("penalty")), weights)
    seen = []
    for i in range(4):
        batch = slice(16 * i, 16 * (i + 1))
        step = gradient(model, subject.images[batch], subject.labels[batch]) + own["r"] * penalty
        if bound := own.get("clip"):
            assert step.norm() > bound
            step = step * bound / (step.norm() + 1e-6)
        seen.append(step)
    found = PER_IMAGE.measure(subject)
    assert found["gradient.step.mean_abs"] == pytest.approx(float(torch.stack(seen).abs().mean()), rel=1e-9)
    assert found["gradient.step.rms"] == pytest.approx(float(torch.stack(seen).square().mean().sqrt()), rel=1e-9)


def test_gradients_that_cancel_are_small_in_the_mean_alone() -> None:
    """Triangle inequality: the mean of the images' sizes is at least the size of their mean, and here far more."""
    subject = subject_of(change=0.0, **NETWORKS["dense"], batch_size=IMAGES)
    found = PER_IMAGE.measure(subject)
    (of_step, *_) = measurement.by_step(subject)
    assert found["gradient.image.mean_abs"] > 2 * float(of_step.abs().mean())


def test_some_images_at_a_time_are_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = subject_of(**NETWORKS["dense"])
    whole = PER_IMAGE.measure(subject)
    monkeypatch.setattr(measurement, "NUMBERS_AT_ONCE", 7 * len(subject.parameters))
    assert len([*measurement.by_image(subject)]) == 10
    assert PER_IMAGE.measure(subject) == pytest.approx(whole, rel=1e-12)
