"""The verdict on tables that a test can reckon with."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.tracking.tables import table
from tracking.verdict.claims import AS_GOOD, BEST, BETTER, SIMILAR, Claim, default_claims
from tracking.verdict.judge import Stage
from tracking.verdict.sections import sections
from tracking.verdict.tables import number
from tracking.verdict.types import ClaimVerdict, Verdict
from tracking.verdict.verdict import judge, summaries
from trainers.objectives import Epochs, Near, Objective

ACCURACY = Objective()
PLAIN = [0.50, 0.52, 0.49, 0.51, 0.53, 0.50, 0.48, 0.51]
GAINS = [0.10, 0.11, 0.09, 0.12, 0.13, 0.08, 0.14, 0.07]
PAPER = [p + g for p, g in zip(PLAIN, GAINS, strict=True)]
CLOSE = [p + g for p, g in zip(PLAIN, [0.01, -0.01, 0.02, -0.02, 0.01, -0.005, 0.02, -0.01], strict=True)]


def claim(kind: str = BETTER, arm: str = "paper", against: str = "plain", **more: Any) -> Claim:
    return Claim(kind, arm, against, **{"metric": "validation.accuracy", **more})


def verdict_of(values: Mapping[str, list[float]], *claims: Claim, **more: Any) -> Verdict:
    judging = {k: more.pop(k) for k in ("confirming", "later", "left", "seeds_added") if k in more}
    frame, outcomes = table(values, **more)
    arms = [o.arm for o in outcomes.values() if o.arm]
    stated = claims or default_claims("paper", arms, [ACCURACY])
    result = judge(frame, outcomes, [ACCURACY], stated, claim="paper", sweep="alpha-r", **judging)
    json.dumps(asdict(result), allow_nan=False)
    return result


def answer(values: Mapping[str, list[float]], stated: Claim, **more: Any) -> ClaimVerdict:
    (result,) = verdict_of(values, stated, **more).claims
    return result


def shifted(by: float) -> list[float]:
    """PLAIN with a small noise of mean 0 around a difference."""
    noise = [0.002, -0.003, 0.001, -0.001, 0.003, -0.002, 0.0015, -0.0015]
    return [p + by + n for p, n in zip(PLAIN, noise, strict=True)]


def test_what_naming_an_arm_claims() -> None:
    verdict = verdict_of({"plain": PLAIN, "paper": PAPER, "alpha=3": PLAIN})
    better, as_good = verdict.claims
    assert (better.name, better.answer, better.candidates) == ("paper-better-than-plain", "confirmed", 0)
    assert (as_good.name, as_good.answer, as_good.candidates) == ("paper-as-good-as-best", "confirmed", 2)
    assert better.comparison is not None and better.comparison.gains == pytest.approx(GAINS)
    assert better.comparison.gain == pytest.approx(np.mean(GAINS)) and better.comparison.pairs == tuple(range(8))
    assert [better.comparison.low, better.comparison.high] == pytest.approx([0.08, 0.13])
    assert better.p == 2 / 2**8 and better.p_corrected == 4 / 2**8, "Holm: twice the smallest of two"
    assert as_good.threshold == -0.01
    (o,) = verdict.objectives
    assert o.claim is not None and o.claim.rank == 1
    assert verdict.text.splitlines()[:3] == [
        "alpha-r: 3 configurations (3 complete).",
        "validation.accuracy (higher is better): `paper` (the claim) ranks 1st of 3, at 0.61 "
        "(mean of 8 seeds, standard deviation 0.03).",
        "2 claims: 2 confirmed.",
    ]
    assert (
        "- Is validation.accuracy of `paper` higher than that of `plain` after the last epoch? Confirmed: higher by "
        "0.105 over 8 seeds (8 higher, 0 lower); 95% interval +0.08 to +0.13; Wilcoxon p = 0.0078; Holm-corrected p = "
        "0.016 (2 claims)." in verdict.text
    )


def test_default_claims() -> None:
    arms = ("plain", "paper", "other")
    assert [(c.kind, c.against) for c in default_claims("paper", arms, [ACCURACY])] == [
        (BETTER, "plain"),
        (AS_GOOD, BEST),
    ]
    without_plain = default_claims("paper", arms[1:], [Objective("train.loss", "minimize")])
    assert [(c.kind, c.against, c.goal) for c in without_plain] == [(BETTER, "other", "minimize")]
    both = default_claims("paper", arms, [ACCURACY, Objective("train.loss", "minimize")])
    assert len({c.name for c in both}) == len(both) == 3


@pytest.mark.parametrize(
    ("by", "expected"), [(0.105, "confirmed"), (-0.105, "refuted"), (0.0, "undecided"), (0.001, "undecided")]
)
def test_better(by: float, expected: str) -> None:
    assert answer({"plain": PLAIN, "paper": shifted(by)}, claim()).answer == expected


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        (0.02, "confirmed"),
        (0.005, "refuted"),
        (0.0, "refuted"),
        (-0.02, "refuted"),
        (0.01, "undecided"),
    ],
)
def test_better_by_a_margin_excludes_what_is_too_small_to_matter(by: float, expected: str) -> None:
    result = answer({"plain": PLAIN, "paper": shifted(by)}, claim(margin=0.01))
    assert (result.answer, result.threshold) == (expected, 0.01)
    assert "higher than that of `plain` by more than 0.01 after the last epoch?" in result.question


@pytest.mark.parametrize(
    ("by", "expected"),
    [(0.02, "confirmed"), (0.0, "confirmed"), (-0.005, "confirmed"), (-0.01, "undecided"), (-0.02, "refuted")],
)
def test_as_good_is_non_inferiority_by_a_margin(by: float, expected: str) -> None:
    result = answer({"plain": PLAIN, "paper": shifted(by)}, claim(AS_GOOD, margin=0.01))
    assert (result.answer, result.threshold) == (expected, -0.01)
    assert "at most 0.01 lower than that of `plain`" in result.question


@pytest.mark.parametrize(
    ("by", "expected"),
    [(0.0, "confirmed"), (0.01, "undecided"), (-0.01, "undecided"), (0.02, "refuted"), (-0.02, "refuted")],
)
def test_similar_has_two_bounds(by: float, expected: str) -> None:
    assert answer({"plain": PLAIN, "paper": shifted(by)}, claim(SIMILAR, margin=0.01)).answer == expected


@pytest.mark.parametrize(
    ("goal", "ratio", "kind", "margin", "expected"),
    [
        # At most 10% lower is a ratio above 0.9, at most 10% higher one below 1.1; a percentage is no more symmetric.
        ("maximize", 0.905, AS_GOOD, "10%", "confirmed"),
        ("maximize", 0.895, AS_GOOD, "10%", "refuted"),
        ("minimize", 1.095, AS_GOOD, "10%", "confirmed"),
        ("minimize", 1.105, AS_GOOD, "10%", "refuted"),
        ("maximize", 1.105, BETTER, "10%", "confirmed"),
        ("minimize", 0.895, BETTER, "10%", "confirmed"),
        ("minimize", 0.905, BETTER, "10%", "refuted"),
        ("minimize", 2.1, AS_GOOD, "120%", "confirmed"),
        ("maximize", 0.905, SIMILAR, "10%", "confirmed"),
        ("minimize", 1.105, SIMILAR, "10%", "refuted"),
        ("maximize", 10.5, BETTER, "10x", "confirmed"),
        ("maximize", 9.5, BETTER, "10x", "refuted"),
        ("minimize", 0.11, BETTER, "10x", "refuted"),
        ("minimize", 0.51, SIMILAR, "2x", "confirmed"),
        ("maximize", 0.49, SIMILAR, "2x", "refuted"),
        ("maximize", 0.51, AS_GOOD, "2x", "confirmed"),
    ],
)
def test_a_margin_that_is_a_ratio(goal: str, ratio: float, kind: str, margin: str, expected: str) -> None:
    amount = float(margin[:-1])
    of: dict[str, Any] = (
        {"margin": amount, "times": True} if "x" in margin else {"margin": amount / 100, "relative": True}
    )
    # Noise of its own, in the logs: 0.1% each way.
    paper = [
        p * ratio * math.exp(n / 1000) for p, n in zip(PLAIN, [1, -1, 0.5, -0.5, 0.2, -0.2, 0.7, -0.7], strict=True)
    ]
    result = answer({"plain": PLAIN, "paper": paper}, claim(kind, goal=goal, **of))
    assert result.answer == expected
    c = result.comparison
    assert c is not None and c.low is not None and c.high is not None
    assert c.scale == "log" and c.gain == pytest.approx(ratio, rel=1e-3)
    assert ratio * 0.998 < c.low < ratio < c.high < ratio * 1.002
    assert c.ones == pytest.approx(paper) and c.others == pytest.approx(PLAIN)
    sign = 1 if goal == "maximize" else -1
    assert c.gains == pytest.approx([sign * math.log(a / b) for a, b in zip(paper, PLAIN, strict=True)])
    assert f"{number(ratio, '.3g')} times as high over 8 seeds (" in result.sentence
    assert f"; 95% interval {number(c.low, '.3g')}x to {number(c.high, '.3g')}x; " in result.sentence
    assert (f"a factor of {margin[:-1]}" if "x" in margin else margin) in result.question


@pytest.mark.parametrize(
    ("kind", "goal", "margin", "required", "threshold"),
    [
        (BETTER, "maximize", {"margin": 0.1, "relative": True}, "above 1.1x", 1.1),
        (BETTER, "minimize", {"margin": 0.1, "relative": True}, "below 0.9x", 0.9),
        (AS_GOOD, "maximize", {"margin": 0.1, "relative": True}, "above 0.9x", 0.9),
        (AS_GOOD, "minimize", {"margin": 0.1, "relative": True}, "below 1.1x", 1.1),
        (SIMILAR, "minimize", {"margin": 0.1, "relative": True}, "0.9x to 1.1x", 1.1),
        (SIMILAR, "maximize", {"margin": 2.0, "times": True}, "0.5x to 2x", 2.0),
        (BETTER, "minimize", {"scale": "log"}, "below 1x", 1.0),
        (AS_GOOD, "minimize", {"margin": 0.01}, "above -0.01", -0.01),
        (SIMILAR, "minimize", {"margin": 0.01}, "within 0.01", 0.01),
        (BETTER, "maximize", {"margin": 0.1, "relative": True, "scale": "linear"}, "above 0.0505", 0.0505),
    ],
)
def test_what_is_required(kind: str, goal: str, margin: dict[str, Any], required: str, threshold: float) -> None:
    result = answer({"plain": PLAIN, "paper": PAPER}, claim(kind, goal=goal, **margin))
    assert result.required == required and result.threshold == pytest.approx(threshold)
    assert required in verdict_of({"plain": PLAIN, "paper": PAPER}, claim(kind, goal=goal, **margin)).markdown


def test_the_scale_is_that_of_the_metric_unless_it_is_given() -> None:
    def log(metric: str, **more: Any) -> bool:
        return claim(metric=metric, **more).log

    assert log("gradient.data.rms") and log("seconds") and log("layer.conv1.gradient.data.mean_abs")
    assert not log("validation.accuracy") and not log("validation.loss") and not log("gradient.data.vanished")
    assert log("validation.loss", scale="log") and not log("gradient.data.rms", scale="linear")
    assert log("validation.loss", relative=True, margin=0.1) and log("train.loss", times=True, margin=2.0)
    assert not log("gradient.data.rms", margin=1.0), "in the metric's unit"
    assert not log("gradient.first_to_last", goal=Near(1.0)) and not log("saturated", epoch=Epochs("first_above", 0.1))


def test_on_the_linear_scale_a_percentage_is_of_each_value() -> None:
    plain = [0.1 * 2**i for i in range(8)]
    paper = [1.2 * p + 0.001 * (-1) ** i for i, p in enumerate(plain)]
    result = answer({"plain": plain, "paper": paper}, claim(margin=0.1, relative=True, scale="linear"))
    assert result.answer == "confirmed" and result.threshold == pytest.approx(0.1 * np.mean(plain))
    c = result.comparison
    assert c is not None and c.low is not None and c.scale == "linear" and c.low > (result.threshold or 0)


def test_few_seeds_settle_nothing() -> None:
    result = answer({"plain": PLAIN[:3], "paper": PAPER[:3]}, claim())
    assert (result.answer, result.p) == ("undecided", 0.25)
    assert (
        "With 3 seeds and 1 claim, the corrected p cannot fall below 0.25; a decision needs at least 6 seeds."
        in result.sentence
    )
    assert answer({"plain": PLAIN[:1], "paper": PAPER[:1]}, claim()).answer == "undecided"


def test_more_claims_take_more_evidence() -> None:
    six = {"plain": PLAIN[:6], "paper": PAPER[:6], "other": PLAIN[:6]}
    assert answer(six, claim()).answer == "confirmed"
    both = verdict_of(six, claim(), claim(arm="other")).claims
    assert [c.p for c in both] == [2 / 2**6, 1.0] and both[0].p_corrected == 4 / 2**6
    assert [c.answer for c in both] == ["undecided", "refuted"]


def test_what_is_the_same_on_every_seed_is_not_better() -> None:
    result = answer({"plain": PLAIN, "paper": PLAIN}, claim())
    assert result.answer == "refuted" and "identical on all 8 seeds" in result.sentence
    assert answer({"plain": PLAIN, "paper": PLAIN}, claim(SIMILAR, margin=0.01)).answer == "confirmed"


def test_the_best_is_each_of_the_others() -> None:
    values = {"plain": PLAIN, "paper": shifted(0.1), "alpha=3": shifted(0.1), "alpha=4": shifted(0.2)}
    behind = answer(values, claim(AS_GOOD, "paper", BEST, margin=0.01))
    assert (behind.answer, behind.candidates) == ("refuted", 3)
    assert behind.comparison is not None and behind.comparison.other == "alpha=4"
    assert "than that of the best other configuration, `alpha=4`, after the last epoch" in behind.question
    assert "Refuted. Of 3 comparisons, that with `alpha=4` decided: lower by 0.1" in behind.sentence
    assert "max-T p against the margin = 0.0078 (of 3 comparisons)." in behind.sentence
    values.pop("alpha=4")
    assert answer(values, claim(AS_GOOD, "paper", BEST, margin=0.01)).answer == "confirmed"
    assert answer(values, claim(BETTER, "paper", BEST)).answer == "refuted", "alpha=3 is its equal on every seed"
    assert answer(values, claim(BETTER, BEST, "plain", margin=0.05)).answer == "confirmed"
    worst = answer(values, claim(BETTER, BEST, "paper", margin=0.05))
    assert (worst.answer, worst.candidates) == ("refuted", 2)


def test_that_many_were_tried_counts_against_the_best() -> None:
    random = np.random.default_rng(0)
    tried = {f"alpha={i}": (np.array(PLAIN) + random.normal(0, 0.05, 8)).tolist() for i in range(30)}
    ahead = [p + g for p, g in zip(PLAIN, [0.01, 0.02, 0.011, 0.021, 0.03, 0.022, 0.012, 0.001], strict=True)]
    one_rival = answer({"paper": PLAIN, "alpha": ahead}, claim(AS_GOOD, "paper", BEST))
    of_many = answer({"paper": PLAIN, "alpha": ahead, **tried}, claim(AS_GOOD, "paper", BEST))
    assert (one_rival.answer, of_many.answer) == ("refuted", "undecided")
    assert one_rival.p == 2 / 2**8 and of_many.p is not None and of_many.p > 0.05
    copies = {f"alpha={i}": ahead for i in range(30)}
    assert answer({"paper": PLAIN, **copies}, claim(AS_GOOD, "paper", BEST)).p == 2 / 2**8, "what is one counts once"


def test_a_loss_of_seventy_points_on_eight_seeds_is_no_matter_of_how_many_were_tried() -> None:
    """As of `quickstart`: what is claimed trains no better than plain, and most of what was searched does."""
    random = np.random.default_rng(0)
    values = {name: (0.1 + 0.05 * random.random(8)).tolist() for name in ("plain", "paper", "alpha=1")}
    values |= {f"alpha={i}": (0.7 + 0.1 * random.random(8)).tolist() for i in range(2, 20)}
    better, as_good = verdict_of(values).claims
    assert (better.answer, as_good.answer) == ("undecided", "refuted")
    assert as_good.p == 2 / 2**8 and as_good.p_corrected == 4 / 2**8
    assert "max-T p against the margin = 0.0078 (of 20 comparisons); Holm-corrected p = 0.016" in as_good.sentence


def test_the_comparison_that_decided_is_named() -> None:
    paper = shifted(0.1)
    noisy = [p + g for p, g in zip(paper, [0.1, -0.12, 0.08, -0.11, 0.05, -0.07, 0.04, -0.05], strict=True)]
    values = {"plain": PLAIN, "paper": paper, "alpha=3": noisy, "alpha=4": [p + 0.005 for p in paper]}
    undecided = answer(values, claim(AS_GOOD, "paper", BEST, margin=0.01))
    assert (undecided.answer, undecided.best, undecided.candidates) == ("undecided", "alpha=4", 3)
    assert undecided.comparison is not None and undecided.comparison.other == "alpha=3"
    assert "of the best other configuration, `alpha=4`, after the last epoch? Undecided." in undecided.sentence
    assert "Of 3 comparisons, that with `alpha=3` left it so: " in undecided.sentence
    confirmed = answer({k: v for k, v in values.items() if k != "alpha=3"}, claim(AS_GOOD, "paper", BEST, margin=0.01))
    assert "Confirmed. Of 2 comparisons, that with `alpha=4` decided: lower by 0.005" in confirmed.sentence
    better = answer(values, claim(BETTER, BEST, "plain", margin=0.05))
    assert "Confirmed. Of 3 comparisons, that with `" in better.sentence and "(of 3 comparisons)" in better.sentence


def test_copies_have_no_rank_and_are_no_rivals() -> None:
    """As of `one-point`: a space of one point, which is the arm's, suggested four times."""
    names = ["plain", "paper", "alpha=2", "alpha=2 again", "alpha=3", "alpha=3 again"]
    values = {name: PAPER if "2" in name or name == "paper" else PLAIN for name in names}
    same = {n: 0.1 for n in ("paper", "alpha=2", "alpha=2 again")} | {n: 0.2 for n in ("alpha=3", "alpha=3 again")}
    as_good = claim(AS_GOOD, "paper", BEST, margin=0.01)
    verdict = verdict_of(values, as_good, claim(BETTER, BEST, "paper"), learning_rate=same, alpha={})
    assert verdict.copies == 2, "of alpha=2 and alpha=3: the arm has another alpha here"
    alike = dict.fromkeys(names, 1.0)
    verdict = verdict_of(values, as_good, claim(BETTER, BEST, "paper"), learning_rate=same, alpha=alike)
    (o,) = verdict.objectives
    assert [(s.name, s.rank) for s in o.ranking] == [("paper", 1), ("plain", 2), ("alpha=3", 2)]
    assert o.best == o.claim == o.ranking[0]
    assert verdict.copies == 3 and verdict.text.startswith("alpha-r: 6 configurations, 3 distinct (6 complete).")
    assert "`paper` (the claim) ranks 1st of 3" in verdict.text
    assert [(c.answer, c.candidates) for c in verdict.claims] == [("confirmed", 2), ("refuted", 2)]


def test_the_pareto_front_of_several_objectives() -> None:
    values = {"plain": [0.5] * 3, "paper": [0.6] * 3, "alpha=3": [0.7] * 3, "alpha=4": [0.6] * 3, "alpha=5": [0.9] * 3}
    loss = {"plain": 0.5, "paper": 0.4, "alpha=3": 0.6, "alpha=4": 0.3, "alpha=5": 0.1}
    frame, outcomes = table(values, {"alpha=5": "pruned"}, **{"train.loss": loss})
    objectives = [ACCURACY, Objective("train.loss", "minimize")]
    verdict = judge(frame, outcomes, objectives)
    assert [(p.name, p.arm, p.dominated_by) for p in verdict.pareto] == [
        ("alpha=3", "", ()),
        ("alpha=4", "", ()),
        ("paper", "paper", (3,)),
        ("plain", "plain", (1, 3)),
    ]
    assert verdict.pareto[0].values == (pytest.approx(0.7), pytest.approx(0.6))
    front = sections(verdict)[1]
    assert front.title == "Pareto front: 2 of 4 complete configurations"
    assert front.sentences == ("`paper` is dominated by `alpha=4`.", "`plain` is dominated by `alpha=4` and `paper`.")
    (shown,) = front.tables
    assert shown.columns == ("configuration~", "validation.accuracy#", "train.loss#")
    assert shown.rows == (("alpha=3", "0.7", "0.6"), ("alpha=4", "0.6", "0.3"))
    assert front.title in verdict.text and front.title in verdict.markdown
    assert judge(frame, outcomes, objectives[:1]).pareto == ()


def test_the_pareto_front_is_that_of_the_fresh_seeds() -> None:
    values = {"plain": [0.5] * 3, "alpha=3": [0.9] * 3, "confirm plain": [0.6] * 3, "confirm alpha=3": [0.5] * 3}
    frame, outcomes = table(values, **{"train.loss": dict.fromkeys(values, 0.2)})
    verdict = judge(frame, outcomes, [ACCURACY, Objective("train.loss", "minimize")], confirming=True)
    points = [(p.configuration, p.arm, p.name, p.dominated_by) for p in verdict.pareto]
    assert points == [(2, "plain", "plain", ()), (3, "", "alpha=3", (2,))]


def test_lower_is_better_when_it_is_to_be_minimized() -> None:
    values = {"plain": PLAIN, "paper": PAPER}
    loss = claim(metric="validation.loss", goal="minimize")
    result = answer(values, loss)
    assert result.answer == "confirmed" and "lower by 0.105 over 8 seeds" in result.sentence
    assert result.comparison is not None and result.comparison.low is not None and result.comparison.high is not None
    low, high = result.comparison.low, result.comparison.high
    assert 0 < low < 0.105 < high, "as a gain"
    assert f"95% interval {-high:+.3g} to {-low:+.3g}; Wilcoxon" in result.sentence, "as a difference, like the mean"
    frame, outcomes = table(values)
    both = judge(frame, outcomes, [ACCURACY, Objective("validation.loss", "minimize")], [loss], claim="paper")
    assert [o.claim and o.claim.rank for o in both.objectives] == [1, 1]


def test_epochs_are_averaged_by_seed() -> None:
    rms = {"gradient.data.rms": {"plain": (1e-9, 5e-3), "paper": (1e-3, 1e-3)}}
    values = {"plain": PLAIN, "paper": PAPER}
    at = {"metric": "gradient.data.rms"}
    for more, expected, epochs in (
        ({"until": 0}, "confirmed", "at epoch 0"),
        ({"since": 0, "until": 0}, "confirmed", "at epoch 0"),
        ({}, "refuted", "after the last epoch"),
        ({"since": 1}, "refuted", "at epoch 1"),
        ({"until": 5}, "confirmed", "over epochs 0 to 1"),
        ({"until": 5, "scale": "linear"}, "refuted", "over epochs 0 to 1"),
    ):
        result = answer(values, claim(**at, **more), **rms)
        assert (result.answer, result.epochs) == (expected, epochs)
    result = answer(values, claim(**at, until=5, scale="linear"), **rms)
    assert result.comparison is not None and result.comparison.gain == pytest.approx(1e-3 - 2.5e-3)
    # A size's mean over epochs is a geometric one: of 1e-9 and 5e-3.
    result = answer(values, claim(**at, until=5), **rms)
    assert result.comparison is not None and result.comparison.gain == pytest.approx(1e-3 / math.sqrt(5e-12))
    assert result.comparison.others == pytest.approx([math.sqrt(5e-12)] * 8)
    beyond = answer(values, claim(**at, since=11), **rms)
    assert (
        beyond.answer == "undecided" and "no value of gradient.data.rms in common from epoch 11 on" in beyond.sentence
    )


def test_tiny_differences_of_tiny_numbers_count() -> None:
    frame, outcomes = table({"plain": PLAIN, "paper": PAPER})
    frame["gradient.data.rms"] = frame["validation.accuracy"] * 1e-20
    for scale, gain in (("log", "1.21x"), ("linear", "+1.05e-21")):
        verdict = judge(frame, outcomes, [], [claim(metric="gradient.data.rms", scale=scale)])
        assert verdict.claims[0].answer == "confirmed" and verdict.claims[0].p == 2 / 2**8
        (table_of_claims,) = sections(verdict)[1].tables
        assert table_of_claims.rows[0][2] == gain


def test_one_huge_number_does_not_make_the_others_nothing() -> None:
    """Gradients span decades: one seed's of 1e9 took away the digits of those of 1e-5, and their pairs as ties."""
    frame, outcomes = table({"plain": PLAIN, "paper": PAPER})
    frame["gradient.data.rms"] = frame["validation.accuracy"] * np.where(frame["seed"] == 7, 1e9, 1e-5)
    for scale in ("log", "linear"):
        result = judge(frame, outcomes, [], [claim(metric="gradient.data.rms", scale=scale)]).claims[0]
        assert result.p == 2 / 2**8


def test_a_size_of_zero_counts_as_the_smallest_number_and_a_negative_one_has_no_log() -> None:
    values = {"plain": PLAIN, "paper": PAPER}
    frame, outcomes = table(values)
    dead = (frame["configuration"] == 0) & (frame["seed"] < 3) & (frame["epoch"] == 1)
    zeros = frame.assign(**{"gradient.data.rms": np.where(dead, 0.0, frame["validation.accuracy"])})
    result = judge(zeros, outcomes, [], [claim(metric="gradient.data.rms")]).claims[0]
    assert result.answer == "confirmed" and "`plain` is 0 on 3 seeds, which counts as 1.4e-45." in result.sentence
    assert result.comparison is not None and result.comparison.others[:4] == pytest.approx([2**-149] * 3 + PLAIN[3:4])
    before = judge(zeros, outcomes, [], [claim(metric="gradient.data.rms", until=0)]).claims[0]
    assert "counts as" not in before.sentence, "there, nothing is 0"
    for how in ("best", "mean_of_last"):
        of = claim(metric="gradient.data.rms", goal="minimize", epoch=Epochs(how, 2))
        assert "`plain` is 0 on 3 seeds" in judge(zeros, outcomes, [], [of]).claims[0].sentence
    negative = frame.assign(**{"gradient.data.rms": np.where(dead, -1.0, 1.0)})
    result = judge(negative, outcomes, [], [claim(metric="gradient.data.rms")]).claims[0]
    assert result.sentence.endswith(
        "Undecided: gradient.data.rms is below 0 for 3 of 8 pairs: compare it with scale: linear."
    )
    assert judge(negative, outcomes, [], [claim(metric="gradient.data.rms", scale="linear")]).claims[0].p is not None


def test_gains_with_a_tail_against_the_answer_are_warned_of() -> None:
    random = np.random.default_rng(0)
    plain = (0.5 + random.normal(0, 0.001, 25)).tolist()
    paper = [p + 0.03 + random.normal(0, 0.005) for p in plain]
    paper[3], paper[11] = plain[3] - 0.4, plain[11] - 0.41
    result = answer({"plain": plain, "paper": paper}, claim())
    assert result.answer == "confirmed" and result.warning == (
        "The differences are skewed: 2 of 25 seeds at -0.4 or lower. The test assumes symmetry, so this may be wrong."
    )
    assert result.sentence.endswith(result.warning)
    assert answer({"plain": plain, "paper": paper}, claim(goal="minimize")).answer == "refuted"
    lower = answer({"plain": plain, "paper": paper}, claim(goal="minimize"))
    assert "2 of 25 seeds at -0.4 or lower" in lower.warning, "of the difference, whichever way is better"
    assert answer({"plain": paper, "paper": plain}, claim()).warning.startswith(
        "The differences are skewed: 2 of 25 seeds at +0.4 or higher."
    )
    ratio = answer({"plain": plain, "paper": paper}, claim(scale="log")).warning
    assert ratio.startswith("The ratios are skewed: 2 of 25 seeds at 0.2x or lower.")
    for_it = [p + 0.03 for p in plain[:-2]] + [p + 0.9 for p in plain[-2:]]
    assert answer({"plain": plain, "paper": for_it}, claim()).warning == "", "a tail for the answer is none against it"


def test_a_claim_is_tested_only_once_the_one_it_comes_after_is_confirmed() -> None:
    six = {"plain": PLAIN[:6], "paper": PAPER[:6], "other": PLAIN[:6]}
    first, second = claim(name="first"), claim(name="second", margin=0.01, after="first")
    assert [c.answer for c in verdict_of(six, first, replace(second, after="")).claims] == ["undecided"] * 2
    ordered = verdict_of(six, second, first).claims
    assert [(c.answer, c.p_corrected, c.after) for c in ordered] == [
        ("confirmed", 2 / 2**6, "first"),
        ("confirmed", 2 / 2**6, ""),
    ]
    hopeless = verdict_of(six, claim(name="first", arm="other"), replace(second, kind=BETTER)).claims
    assert [c.answer for c in hopeless] == ["refuted", "undecided"]
    assert hopeless[1].sentence.endswith("? Undecided: not tested, because `first` is not confirmed.")
    assert (hopeless[1].p, hopeless[1].comparison) == (None, None)
    with pytest.raises(ValueError, match="claim 'second' comes after 'third', which is no claim"):
        verdict_of(six, first, replace(second, after="third"))


def test_seconds_are_paired_over_epochs_for_seeds_share_the_clock() -> None:
    frame, outcomes = table({"plain": PLAIN, "paper": PAPER})
    longer = pd.concat([frame.assign(epoch=e, seconds=1 + frame["configuration"] / 2 + e / 99) for e in range(1, 8)])
    judged = judge(longer, outcomes, [], [claim(metric="seconds", margin=0.1, relative=True)]).claims[0]
    assert judged.comparison is not None and judged.answer == "confirmed" and judged.epochs == "over epochs 1 to 7"
    assert (judged.comparison.paired_over, judged.comparison.pairs) == ("epoch", tuple(range(1, 8)))
    assert judged.comparison.gain == pytest.approx(1.48, abs=0.01) and "over 7 epochs" in judged.sentence


def test_what_so_few_seeds_can_say_beside_a_claim_with_more_pairs() -> None:
    """12 epochs give a smaller p than 6 seeds can, which Holm then corrects for one claim less."""
    claims = (claim(metric="seconds", margin=0.1, relative=True, name="time"), claim())
    for paper, expected in ((PAPER[:6], "confirmed"), ([*PAPER[:5], 0.1], "undecided")):
        frame, outcomes = table({"plain": PLAIN[:6], "paper": paper})
        longer = pd.concat(
            [frame.assign(epoch=e, seconds=1 + frame["configuration"] / 2 + e / 99) for e in range(1, 13)]
        )
        judged = judge(longer, outcomes, [], claims).claims[1]
        assert judged.answer == expected and "cannot fall below" not in judged.sentence


@pytest.mark.parametrize("against", ["plain", BEST])
def test_seconds_of_one_pack_are_no_comparison(against: str) -> None:
    """They are the pack's time shared out equally: the same to the bit, whatever each configuration costs."""
    frame, outcomes = table({"plain": PLAIN, "paper": PAPER})
    longer = pd.concat([frame.assign(epoch=e, seconds=1 + e / 99) for e in range(1, 12)])
    as_good = claim(AS_GOOD, "paper", against, metric="seconds", goal="minimize", margin=0.1, relative=True)
    judged = judge(longer, outcomes, [], [as_good]).claims[0]
    assert judged.answer == "undecided" and "share its clock; set resources.pack to 1" in judged.sentence


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ({"paper": "diverged"}, "refuted"),
        ({"plain": "diverged"}, "undecided"),
        ({"paper": "diverged", "plain": "diverged"}, "undecided"),
        ({"paper": "failed"}, "undecided"),
        ({"paper": "running"}, "undecided"),
        ({"plain": "pruned"}, "undecided"),
    ],
)
def test_what_is_not_complete_is_no_answer_but_a_claim_that_breaks_down_is(
    states: dict[str, str], expected: str
) -> None:
    result = answer({"plain": PLAIN, "paper": PAPER, "alpha=3": PLAIN}, claim(), states=states)
    assert result.answer == expected and result.p is None
    words = {"diverged": "diverged", "failed": "failed", "running": "is unfinished", "pruned": "was pruned"}
    broken = [f"`{name}` {words[states[name]]}" for name in ("paper", "plain") if name in states]
    assert result.sentence.endswith(f": {' and '.join(broken)}.")
    best = answer({"plain": PLAIN, "paper": PAPER, "alpha=3": PLAIN}, claim(AS_GOOD, "paper", BEST), states=states)
    assert best.answer == {"diverged": "refuted", None: "confirmed"}.get(states.get("paper"), "undecided")


@pytest.mark.parametrize(
    ("metric", "goal", "expected"),
    [
        ("gradient.data.rms", "maximize", "undecided"),
        ("gradient.data.rms", "minimize", "refuted"),
        ("validation.loss", "minimize", "refuted"),
        ("seconds", "minimize", "undecided"),
    ],
)
def test_breaking_down_refutes_no_claim_that_gradients_grow(metric: str, goal: str, expected: str) -> None:
    stated = claim(metric=metric, goal=goal)
    result = answer({"plain": PLAIN, "paper": PAPER}, stated, states={"paper": "diverged"})
    assert result.answer == expected and "`paper` diverged" in result.sentence
    against = claim(AS_GOOD, "paper", BEST, metric=metric, goal=goal, margin=0.01)
    assert answer({"plain": PLAIN, "paper": PAPER}, against, states={"paper": "diverged"}).answer == expected


def test_what_has_no_records_or_no_numbers_is_undecided() -> None:
    assert "`other` has no records yet" in answer({"plain": PLAIN, "paper": PAPER}, claim(arm="other")).sentence
    nan = {"gradient.data.rms": {"plain": math.nan}}
    result = answer({"plain": PLAIN, "paper": PAPER}, claim(metric="gradient.data.rms"), **nan)
    assert result.answer == "undecided" and "gradient.data.rms is not finite for 8 of 8 pairs" in result.sentence
    in_part = {"gradient.data.rms": {"plain": (math.nan, 1e-9)}}
    result = answer({"plain": PLAIN, "paper": PAPER}, claim(metric="gradient.data.rms", until=1), **in_part)
    assert result.answer == "undecided" and "gradient.data.rms is not finite for 8 of 8 pairs" in result.sentence
    alone = answer({"paper": PAPER}, claim(AS_GOOD, "paper", BEST, margin=0.01))
    assert (
        alone.answer == "undecided"
        and "no other configuration is complete that `paper` could be compared with" in alone.sentence
    )


def test_only_common_seeds_are_paired() -> None:
    result = answer({"plain": PLAIN[:6], "paper": PAPER}, claim()).comparison
    assert result is not None and result.pairs == tuple(range(6))


def test_with_a_confirming_stage_the_fresh_seeds_alone_count() -> None:
    lucky = {"plain": PLAIN, "paper": PLAIN, "alpha=3": PAPER}
    claims = (claim(AS_GOOD, "paper", BEST, margin=0.01), claim())
    waiting = verdict_of(lucky, *claims, confirming=True)
    assert [c.answer for c in waiting.claims] == ["undecided", "undecided"]
    assert "`paper` has no records yet" in waiting.claims[0].sentence
    again = {"confirm plain": PLAIN, "confirm paper": shifted(0.05), "confirm alpha=3": shifted(0.05)}
    verdict = verdict_of(lucky | again, *claims, confirming=True)
    assert [c.answer for c in verdict.claims] == ["confirmed", "confirmed"]
    assert verdict.claims[1].comparison is not None
    assert verdict.claims[1].comparison.pairs == tuple(range(100, 108))
    assert verdict.claims[1].comparison.one == "confirm paper"
    (o,) = verdict.objectives
    assert [s.name for s in o.ranking] == ["alpha=3", "plain", "paper"]
    assert len(o.confirmed) == 3 and o.claim is not None and o.claim.name == "paper"
    assert "Judged on 8 fresh seeds that were not used for selection." in verdict.text
    assert o.best is not None and o.best.name == "confirm paper"
    assert "validation.accuracy (higher is better), on fresh seeds: `paper` (the claim) ranks 1st of 3" in verdict.text
    assert "On the search's own seeds: the first is `alpha=3`, at 0.61" in verdict.text


def test_the_best_is_not_known_before_all_have_ended() -> None:
    verdict = verdict_of({"plain": PLAIN, "paper": PAPER, "alpha=3": PLAIN}, left=4)
    assert [c.answer for c in verdict.claims] == ["confirmed", "undecided"]
    assert "the best is unknown while 4 configurations remain unfinished" in verdict.claims[1].sentence


def test_a_claim_stated_later_says_so() -> None:
    verdict = verdict_of({"plain": PLAIN, "paper": PAPER}, claim(name="after", says="it works"), later=["after"])
    assert verdict.claims[0].stated_later
    assert '- "it works" (post hoc: stated after results were available): Is validation.accuracy' in verdict.text


def test_all_claims_of_seeds_that_were_added_after_a_look_say_so() -> None:
    stated = (claim(name="after", says="it works"), claim(AS_GOOD, margin=0.01))
    verdict = verdict_of({"plain": PLAIN, "paper": PAPER}, *stated, later=["after"], seeds_added=True)
    assert all(c.seeds_added for c in verdict.claims)
    both = '"it works" (post hoc: stated and seeds were added after results were available)'
    assert verdict.claims[0].lead == both and f"- {both}: Is validation.accuracy" in verdict.text
    added = "`paper-as-good-as-plain` (post hoc: seeds were added after results were available)"
    assert verdict.claims[1].lead == added and added in verdict.markdown


def test_the_description_in_mlflow() -> None:
    values = {"plain": PLAIN, "paper": PAPER, **{f"alpha={i}": PLAIN for i in range(9)}}
    text = verdict_of(values, claim(says="a | b"), claim(SIMILAR, margin=0.01)).markdown
    assert text.startswith(
        '**2 claims: 1 confirmed, 1 refuted.**\n\n- "a | b": Is validation.accuracy of `paper` higher'
    )
    assert "| claim | answer | gain | 95% interval | required | p | Holm p |\n| --- | --- | ---: |" in text
    assert "| paper-better-than-plain | confirmed | +0.105 | +0.08 to +0.13 | above 0 |" in text
    assert "corrected for all claims); pairs: 8:\n" in text
    assert "validation.accuracy after the last epoch (higher is better); seeds: 8; epochs: 1; all complete:" in text
    assert "| 1 | paper | 0.61 | 0.03 | 0.58 to 0.63 |" in text
    assert text.count("| alpha=") == 9, "all share rank 2; more is cut off by rank"
    assert "**What the gradients show**" in text and "| vanished coordinates | 0 | 25.0% | 25.0% |" in text
    assert len(text) < 8000


def test_a_description_too_long_for_mlflow_ends_with_a_whole_line() -> None:
    claims = [claim(margin=by / 1000, name=f"by-{by}") for by in range(40)]
    verdict = verdict_of({"plain": PLAIN, "paper": PAPER}, *claims)
    assert 7000 < len(verdict.markdown) <= 8000
    assert verdict.markdown.splitlines()[-1].endswith((".", " |"))


@pytest.mark.parametrize(
    ("value", "shape", "text"),
    [
        (None, ".4g", ""),
        (math.nan, ".4g", "not finite"),
        (0.61234, ".4g", "0.6123"),
        (1.05e-21, "+.3g", "+1.05e-21"),
        (113.4, ".2g", "113"),
        (1234.5, "+.3g", "+1234"),
        (1.5e9, ".2g", "1.5e+09"),
    ],
)
def test_powers_of_ten_are_shown_where_they_are_needed(value: float | None, shape: str, text: str) -> None:
    assert number(value, shape) == text


def test_only_complete_configurations_are_ranked() -> None:
    states = {"alpha=3": "pruned", "alpha=4": "diverged", "alpha=5": "running"}
    values = {"plain": PLAIN, "paper": PAPER, "alpha=3": [0.9] * 8, "alpha=4": [0.9] * 7 + [math.nan], "alpha=5": []}
    verdict = verdict_of(values, states=states)
    ranking = verdict.objectives[0].ranking
    assert [(s.name, s.rank) for s in ranking[:2]] == [("paper", 1), ("plain", 2)]
    assert [(s.name, s.rank) for s in ranking[2:]] == [("alpha=3", None), ("alpha=4", None), ("alpha=5", None)]
    assert ranking[3].values[-1] is None and ranking[3].mean is None
    assert (ranking[4].values, ranking[4].epoch) == ((), None)
    assert verdict.states == {"complete": 2, "pruned": 1, "diverged": 1, "running": 1}
    counts = "5 of 8 configurations (2 complete, 1 diverged, 1 pruned, 1 unfinished)"
    of_more = verdict_of(values, states=states, left=4)
    assert of_more.text.startswith(f"alpha-r: {counts}.") and (of_more.total, verdict.total) == (8, 5)
    assert verdict.claims[1].candidates == 1


def test_the_metrics_must_be_recorded_and_the_goals_goals() -> None:
    frame, outcomes = table({"plain": PLAIN})
    for objectives, claims in (([Objective("accuracy")], []), ([], [claim(metric="accuracy")])):
        with pytest.raises(ValueError, match="no metric 'accuracy'"):
            judge(frame, outcomes, objectives, claims)
    with pytest.raises(ValueError, match="maximize or minimize"):
        judge(frame, outcomes, [Objective("validation.accuracy", "up")])
    assert judge(frame.iloc[:0], outcomes, [ACCURACY], [claim()]).claims[0].answer == "undecided"
    alone = judge(frame, outcomes, [ACCURACY])
    assert alone.objectives[0].claim is None and alone.claims == () and "the best is `plain`" in alone.text
    assert "nothing to compare" in judge(pd.DataFrame(), {}, [ACCURACY]).text


def test_equal_means_share_a_rank() -> None:
    frame, outcomes = table({"plain": PLAIN, "paper": PAPER, "a": PLAIN, "b": [0.1] * 8})
    result = summaries(Stage(frame, outcomes), ACCURACY)
    assert [(s.name, s.rank) for s in result] == [("paper", 1), ("plain", 2), ("a", 2), ("b", 4)]


def test_spread_is_over_seeds() -> None:
    frame, outcomes = table({"plain": PLAIN})
    (s,) = summaries(Stage(frame, outcomes), ACCURACY)
    assert s.mean == math.fsum(PLAIN) / 8 and s.deviation == pytest.approx(np.std(PLAIN, ddof=1))
    assert (s.q25, s.q50, s.q75) == tuple(np.quantile(PLAIN, (0.25, 0.5, 0.75)))
