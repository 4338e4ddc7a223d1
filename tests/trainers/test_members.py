"""What a member refuses, and what the regime fills in."""

from dataclasses import replace

import pytest

from trainers.members import EpochRecord, MemberConfig


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
        ({"learning_rate": 0}, "learning_rate > 0 must hold and be finite, but got 0"),
        ({"r": 10**400}, "r >= 0 must hold and be finite, but got 1000"),
        ({"learning_rate": 10**400}, "learning_rate > 0 must hold and be finite, but got 1000"),
        ({"init_scale": 10**400}, "init_scale > 0 must hold and be finite, but got 1000"),
        ({"dense_bias": "no"}, "dense_bias must be true or false, but got 'no'"),
        ({"epochs": 0}, "epochs >= 1 must hold and be finite, but got 0"),
        ({"epochs": 1.5}, "epochs must be a whole number, but got 1.5"),
        ({"batch_size": True}, "batch_size must be a whole number, but got True"),
        ({"seed": -1}, "seed >= 0 must hold and be finite, but got -1"),
        ({"data": "mnist"}, "data must be digits, cifar10 or folder:PATH, but got 'mnist'"),
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
