"""What a member refuses, and what the regime fills in."""

import re
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainers.initialization import INITIALIZATIONS
from trainers.layers import (
    Convolution,
    Dense,
    Layer,
    Pooling,
    output_shapes,
    parameter_count,
    places,
    tensor_shapes,
)
from trainers.measurements import MEASUREMENTS
from trainers.members import CHOICES, FIELDS, NUMBERS, OPTIONAL, WHOLE, EpochRecord, MemberConfig, layers_of
from trainers.metrics import names
from trainers.optimizers import OPTIMIZERS
from trainers.regimes import REGIMES
from trainers.states import initial_state


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"regime": "wide"}, "regime must be one of large-parameters, many-layers, combined, .*, but got 'wide'"),
        ({"activation": "swish"}, "activation must be one of tanh, .*, but got 'swish'"),
        ({"scaling": "none"}, "scaling must be one of rescaled, naive, but got 'none'"),
        ({"penalty": "l3"}, "penalty must be one of l2, l1, decoupled, but got 'l3'"),
        ({"initialization": "xavier"}, "initialization must be one of uniform, .*, but got 'xavier'"),
        ({"alpha": 0.0}, "alpha > 0 must hold and be finite, but got 0.0"),
        ({"alpha": float("nan")}, "alpha > 0 must hold and be finite, but got nan"),
        ({"alpha": 1e7}, r"1e-06 <= alpha <= 1e\+06 must hold, but got 10000000.0"),
        ({"r": -0.1}, "r >= 0 must hold and be finite, but got -0.1"),
        ({"r": float("inf")}, "r >= 0 must hold and be finite, but got inf"),
        ({"holdout": 0.0}, "holdout > 0 must hold and be finite, but got 0.0"),
        ({"holdout": 0.51}, "holdout <= 0.5 must hold, but got 0.51"),
        ({"learning_rate": 0}, "learning_rate > 0 must hold and be finite, but got 0"),
        ({"r": 10**400}, "r >= 0 must hold and be finite, but got 1000"),
        ({"learning_rate": 10**400}, "learning_rate > 0 must hold and be finite, but got 1000"),
        ({"init_scale": 10**400}, "init_scale > 0 must hold and be finite, but got 1000"),
        ({"dense_bias": "no"}, "dense_bias must be true or false, but got 'no'"),
        ({"epochs": -1}, "epochs >= 0 must hold and be finite, but got -1"),
        ({"epochs": 1.5}, "epochs must be a whole number, but got 1.5"),
        ({"batch_size": True}, "batch_size must be a whole number, but got True"),
        ({"seed": -1}, "seed >= 0 must hold and be finite, but got -1"),
        ({"data": "mnist"}, "data must be digits, cifar10, folder:PATH, .*, but got 'mnist'"),
        ({"initialization": "normal"}, "init_scale must be given where initialization is 'normal'"),
    ],
)
def test_a_wrong_value_is_refused_with_the_rule_and_the_value(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MemberConfig(**wrong)


def test_the_regimes_own_is_filled_in() -> None:
    member = MemberConfig(regime="many-layers")
    assert (member.initialization, member.init_scale, member.convolution, member.dense_bias) == (
        "normal",
        0.05,
        "plain",
        False,
    )
    assert MemberConfig(regime="large-parameters").convolution == "separable"
    assert MemberConfig(regime="combined", initialization="glorot_normal").init_scale == 1.0


def test_what_is_filled_in_stays_when_a_field_is_replaced() -> None:
    member = MemberConfig(init_scale=0.5)
    assert replace(member, seed=4) == member.with_seed(4) == MemberConfig(init_scale=0.5, seed=4)


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_divergence(loss: float) -> None:
    fine = {"train.loss": 1.0, "validation.loss": 2.0}
    assert not EpochRecord(MemberConfig(), 1, "reference", fine).diverged
    assert EpochRecord(MemberConfig(), 1, "reference", fine | {"validation.loss": loss}).diverged


# ---- any valid combination of fields

NAMES = {name: sorted(choices) for name, choices in CHOICES.items()}
FEW = {
    "blocks": 3,
    "convolutions": 3,
    "channels": 6,
    "dense": 3,
    "units": 9,
    "steps": 1024,
    "epochs": 5,
    "warmup": 5,
    "batch_size": 40,
}
# None where the regime fills it in, or where there is nothing of the kind
OPEN = ("blocks", "convolutions", "channels", "dense", "units", "normalization", "residual", "convolution")
OPEN += ("dense_bias", "cell", "steps", "scaled_gates", "initialization", "init_scale", "measure", *OPTIONAL)


GONE = ("slope", "forget_bias")  # given, and None where there is nothing of the kind


def values_of(name: str) -> st.SearchStrategy[Any]:
    """What a field takes."""
    if name == "data":
        values: st.SearchStrategy[Any] = st.sampled_from(["digits", "cifar10"])
    elif name in ("residual", "dense_bias", "scaled_gates"):
        values = st.booleans()
    elif name == "measure":
        general = [name for name, measurement in MEASUREMENTS.items() if not measurement.needs]
        values = st.lists(st.sampled_from(general), unique=True).map(tuple) if general else st.just(())
    elif name == "measure_at":
        values = st.lists(st.integers(0, 100), unique=True).map(tuple)
    elif name in NAMES:
        values = st.sampled_from(NAMES[name])
    elif name in WHOLE:
        values = st.integers(WHOLE[name][1], FEW.get(name, 2**40))
    else:
        relation, least = NUMBERS[name]
        values = st.floats(1e-6 if relation == ">" else least, 0.5 if name == "holdout" else 1e6)
    return st.one_of(st.none(), values) if name in OPEN else values


@settings(max_examples=150)
@given(st.fixed_dictionaries({}, optional={name: values_of(name) for name in FIELDS}))
def test_any_valid_combination_builds_a_network(fields: dict[str, Any]) -> None:
    """Whose parameters are those of its places, without a gap, and are as many as its initial values."""
    needs = INITIALIZATIONS[fields.get("initialization") or "lsuv"].needs_scale
    if needs and fields.get("init_scale") is None:
        fields["init_scale"] = 0.1
    fields["warmup"] = min(fields.get("warmup", 0), fields.get("epochs", 30))
    if (fields.get("cell") or REGIMES[fields.get("regime", "combined")].cell) != "none":
        fields |= {"blocks": 0, "normalization": "none", "steps": 2 ** ((fields.get("steps") or 0) % 11)}
    member = MemberConfig(**fields)
    assert all(getattr(member, name) is not None for name in FIELDS if name not in OPTIONAL)
    assert member == replace(member) and hash(member) == hash(replace(member))
    assert {
        name: getattr(member, name) for name, value in fields.items() if value is not None and name not in GONE
    } == {name: value for name, value in fields.items() if value is not None and name not in GONE}
    layers = layers_of(member, 10)
    end = 0
    for place in places(layers):
        assert place.where == slice(end, end + sum(map(prod, place.tensors)))
        end = place.where.stop
        for part in place.learned.values():
            assert part.start == end
            end = part.stop
    assert end == parameter_count(layers) == sum(map(prod, tensor_shapes(layers)))
    if member.initialization != "lsuv":
        state = initial_state(member, layers)
        assert len(state.parameters) == end and np.isfinite(state.parameters).all()
        assert len(state.kept) == len(OPTIMIZERS[member.optimizer].state)
    every = names(layers, member.measure or ())
    assert every[-1] == "seconds" and len(set(every)) == len(every)


WRONG = [("data", "mnist"), ("residual", "no"), ("dense_bias", 1)]
WRONG += [("measure", ["nonsense"]), ("measure", "jacobian"), ("measure_at", [0, 0]), ("measure_at", [-1])]
WRONG += [(name, value) for name in CHOICES for value in ("nonsense", 7)]
WRONG += [(name, value) for name in NUMBERS for value in (-0.1, float("nan"), float("inf"), "1", True)]
WRONG += [(name, value) for name in WHOLE for value in (-1, 1.5, True, "1")]
WRONG += [(name, 2**31) for name in WHOLE if name != "seed"]


@pytest.mark.parametrize("name, value", WRONG)
def test_a_bad_value_of_any_field_is_refused_by_its_name(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{name} .*but got {re.escape(repr(value))}$"):
        MemberConfig(**{name: value})


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"blocks": 6}, "layer pool6: 2x2 pooling needs images of at least 2 x 2, but gets 1 x 1"),
        ({"warmup": 31}, "warmup"),
        ({"regime": "mlp", "initialization": "uniform"}, "init_scale must be given"),
    ],
)
def test_what_cannot_be_built_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MemberConfig(**fields)


@pytest.mark.parametrize(
    "layers, message",
    [
        ((Dense("d", 4), Convolution("c"), Dense("output", 3)), "layer c: a convolution needs images"),
        ((Dense("d", 4), Pooling("p"), Dense("output", 3)), "layer p: 2x2 pooling needs images .*, but gets 4"),
        ((Dense("d", 4, residual=True),), r"layer d: its input of \(3, 32, 32\) can't be added to \(4,\)"),
    ],
)
def test_layers_that_do_not_fit_are_refused_by_name(layers: tuple[Layer, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        output_shapes(layers)


def test_a_slope_is_kept_where_the_activation_has_one() -> None:
    """So that members that are trained alike are equal."""
    assert MemberConfig(activation="elu").slope == 1.0
    assert MemberConfig(activation="elu", slope=2).slope == 2.0
    assert MemberConfig(activation="tanh", slope=2) == MemberConfig(activation="tanh")
