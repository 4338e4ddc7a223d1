"""What `signal` says of each layer, against torch.nn's modules, and what theory says of wide networks."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity, normalize

from tests.trainers.measurements.modules import model_of, seen, subject_of
from trainers.activations import ACTIVATIONS, SCALINGS
from trainers.layers import NORMALIZATIONS, places
from trainers.layers.recurrent import CELLS
from trainers.measurements import MEASUREMENTS
from trainers.measurements.signal import IMAGES, NOISE, signal, with_copies
from trainers.measurements.subject import Subject
from trainers.members import LEARN_ALPHA

NETWORKS: dict[str, dict[str, Any]] = {
    "convolutions": {"regime": "combined"},
    "separable": {"regime": "large-parameters"},
    "residual": {"regime": "resnet", "channels": 3},
    **{cell: {"regime": "recurrent", "cell": cell, "units": 12, "alpha": 2.0} for cell in CELLS},
    **{f"dense {name}": {"regime": "mlp", "normalization": name} for name in NORMALIZATIONS},
    **{f"convolutions {name}": {"regime": "combined", "normalization": name} for name in NORMALIZATIONS},
    **{f"learned by {name}": {"learn_alpha": name, "alpha": 2.0, "activation": "prelu"} for name in LEARN_ALPHA},
    **{f"naive, {name}": {"learn_alpha": name, "alpha": 2.0, "scaling": "naive"} for name in LEARN_ALPHA},
}


def expected(subject: Subject) -> dict[str, float]:
    values: dict[str, float] = {"signal.born_dead": 0.0}
    for name, (z, out, slope) in seen(model_of(subject), with_copies(subject.images)).items():
        z, copies, out, slope = z[:IMAGES], z[IMAGES:], out[:IMAGES], slope[:IMAGES]
        directions = normalize(z)
        of_layer = {
            "variance": float((z**2).mean()),
            "correlation": float((directions @ directions.T)[tuple(torch.triu_indices(IMAGES, IMAGES, 1))].mean()),
            "noise_correlation": float(cosine_similarity(z, copies).mean()),
            "zero": float((out == 0).all(0).double().mean()),
            "slope": float(slope.abs().mean()),
            "squared_slope": float((slope**2).mean()),
        }
        values |= {f"layer.{name}.signal.{metric}": value for metric, value in of_layer.items()}
    return values


@pytest.mark.parametrize("network", NETWORKS)
def test_it_is_what_the_modules_see_in_every_kind_of_layer(network: str) -> None:
    subject = subject_of(**NETWORKS[network])
    assert signal(subject) == pytest.approx(expected(subject), rel=1e-9)
    assert [*signal(subject)] == [*expected(subject)]


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_it_is_what_the_modules_see_with_every_activation(activation: str, scaling: str) -> None:
    subject = subject_of(regime="mlp", activation=activation, scaling=scaling, alpha=3.0)
    assert signal(subject) == pytest.approx(expected(subject), rel=1e-9)


def test_its_rows_are_the_layers_with_an_activation() -> None:
    subject = subject_of(regime="combined", normalization="batch")
    names = MEASUREMENTS["signal"].names(subject.layers)
    assert set(names) == set(signal(subject)) and len(names) == 1 + 6 * 9
    assert not any(name.startswith(("layer.output.", "layer.pool")) for name in names)


def test_the_noise_is_a_hundredth_of_each_image_and_always_the_same() -> None:
    images = subject_of().images
    both = with_copies(images)
    assert torch.equal(both[:IMAGES], images[:IMAGES])
    with_copies.cache_clear()
    assert torch.equal(with_copies(images), both)
    noise = (both[IMAGES:] - both[:IMAGES]) / images[:IMAGES].square().mean((1, 2, 3), keepdim=True).sqrt()
    assert noise.std() == pytest.approx(NOISE, rel=0.01) and abs(noise.mean()) < NOISE / 100
    assert len({*noise[:, 0, 0, 0].tolist()}) == IMAGES


@pytest.mark.parametrize("regime, dead", [("mlp", 1.0), ("resnet", 0.0)])
def test_a_network_with_a_dead_layer_is_born_dead_unless_a_residual_leads_around_it(regime: str, dead: float) -> None:
    subject = subject_of(change=0, regime=regime, activation="relu", normalization="none", channels=3, dense=1)
    (place,) = (p for p in places(subject.layers) if p.name == ("dense1" if regime == "mlp" else "conv2"))
    killed = subject.state.parameters.copy()
    killed[place.where] = -np.abs(killed[place.where])
    of_killed = signal(replace(subject, state=replace(subject.state, parameters=killed)))
    assert of_killed[f"layer.{place.name}.signal.zero"] == 1
    assert of_killed["signal.born_dead"] == dead
    assert signal(subject)["signal.born_dead"] == 0


def test_behind_a_dead_layer_there_is_no_correlation() -> None:
    subject = subject_of(change=0, regime="deep", dense=3, activation="relu", dense_bias=False)
    dead = signal(replace(subject, state=replace(subject.state, parameters=-np.abs(subject.state.parameters))))
    assert dead["layer.dense1.signal.correlation"] > 0.5
    assert dead["layer.dense2.signal.variance"] == 0 and dead["signal.born_dead"] == 1
    assert math.isnan(dead["layer.dense2.signal.correlation"])
    assert math.isnan(dead["layer.dense2.signal.noise_correlation"])


def test_what_is_not_finite_is_no_error() -> None:
    subject = subject_of(regime="mlp")
    values = signal(replace(subject, state=replace(subject.state, parameters=subject.state.parameters * np.inf)))
    assert math.isnan(values["layer.dense2.signal.variance"])


def test_in_wide_relu_networks_hes_variance_keeps_theorys_q_and_chi_is_1() -> None:
    """He et al. 2015: sigma_w^2 = 2 is critical, since E[f'^2] = 1/2, and c grows to 1 (Cho and Saul 2009)."""
    subject = subject_of(change=0, regime="deep", dense=6, units=600, activation="relu")
    values = signal(subject)
    of = [{m: values[f"layer.dense{i}.signal.{m}"] for m in METRICS} for i in range(1, 7)]
    q, c = of[0]["variance"], of[0]["correlation"]
    for layer in of[1:]:
        assert layer["variance"] == pytest.approx(q, rel=0.25)
        assert 2 * layer["squared_slope"] == pytest.approx(1, abs=0.1)
        angle = math.acos(c)
        c = (math.sin(angle) + (math.pi - angle) * c) / math.pi
        assert layer["correlation"] == pytest.approx(c, abs=0.03)


METRICS = ("variance", "correlation", "squared_slope")
