"""Claims and the confirming stage as they are written: what they come to, and what is wrong with a wrong one."""

# ruff: noqa: E501 (messages are compared whole)
from __future__ import annotations

import pytest

from sweeps.spec.checks import doubts
from sweeps.spec.reading import parse, read
from tracking.verdict.claims import AS_GOOD, BEST, BETTER, SIMILAR, Claim, default_claims, parents
from trainers.errors import SpecError
from trainers.objectives import Near

ARMS = "name: x\narms:\n  plain: {}\n  l2: {r: 0.01}\n"
SEARCH = ARMS + "search: {configurations: 3, space: {r: [0, 1]}}\n"


def test_what_is_written_is_what_is_judged() -> None:
    spec = parse(
        ARMS
        + "claims:\n"
        + "  - {name: helps, says: it helps, better: l2, than: plain, by: 0.01, since: 11, until: 40}\n"
        + "  - {as_good: best, as: plain, margin: 2.5%, metric: train.loss, goal: minimize}\n"
        + "  - {similar: l2, to: plain, margin: 1, until: 10}\n"
        + "  - {better: l2, than: plain}\n"
    )
    accuracy = "validation.accuracy"
    assert spec.judged_claims() == (
        Claim(BETTER, "l2", "plain", accuracy, margin=0.01, since=11, until=40, name="helps", says="it helps"),
        Claim(AS_GOOD, BEST, "plain", "train.loss", "minimize", 0.025, True, name="best-as-good-as-plain"),
        Claim(SIMILAR, "l2", "plain", accuracy, margin=1.0, until=10, name="l2-similar-to-plain"),
        Claim(BETTER, "l2", "plain", accuracy, name="l2-better-than-plain"),
    )
    assert parse(spec.to_yaml()) == spec


def test_a_scale_a_factor_and_an_order() -> None:
    spec = parse(
        ARMS
        + "claims:\n"
        + "  - {better: l2, than: plain, by: 2.5x, metric: gradient.data.rms, goal: maximize, name: larger}\n"
        + "  - {better: l2, than: plain, metric: train.loss, goal: minimize, scale: log, after: larger}\n"
    )
    larger, lower = spec.judged_claims()
    assert (larger.margin, larger.times, larger.relative, larger.log, larger.ratios) == (
        2.5,
        True,
        False,
        True,
        (0.4, 2.5),
    )
    assert (lower.scale, lower.log, lower.after) == ("log", True, "larger")
    assert parents(spec.judged_claims()) == (None, 0)
    assert parse(spec.to_yaml()) == spec
    given = "{better: l2, than: plain, by: "
    names = [claim.name for claim in parse(ARMS + f"claims: [{given}2x}}, {given}10%}}]\n").judged_claims()]
    assert names == ["l2-better-than-plain-by-2x", "l2-better-than-plain-by-10%"]


def test_names_that_would_be_the_same_say_what_differs() -> None:
    pair = "better: l2, than: plain"
    text = "claims:\n" + "".join(
        f"  - {{{claim}}}\n"
        for claim in (
            f"{pair}, by: 0.01, since: 11",
            f"{pair}, metric: gradient.data.rms, goal: maximize, until: 0",
            "similar: l2, to: plain, margin: 1, until: 10",
            "as_good: l2, as: plain, margin: 1%",
            "as_good: l2, as: plain, margin: 0.02",
            "as_good: plain, as: l2, margin: 1, since: 3, until: 5",
            "as_good: plain, as: l2, margin: 1, since: 3",
        )
    )
    spec = parse(ARMS + text)
    assert [claim.name for claim in spec.judged_claims()] == [
        "l2-better-than-plain-in-validation.accuracy",
        "l2-better-than-plain-in-gradient.data.rms",
        "l2-similar-to-plain",
        "l2-as-good-as-plain-by-1%",
        "l2-as-good-as-plain-by-0.02",
        "plain-as-good-as-l2-since-3-until-5",
        "plain-as-good-as-l2-since-3",
    ]
    assert parse(spec.to_yaml()) == spec


def test_claims_go_before_what_claim_stands_for_and_either_may_be_left_out() -> None:
    assert [c.name for c in parse(ARMS + "claim: l2\n").judged_claims()] == [
        "l2-better-than-plain",
        "l2-as-good-as-best",
    ]
    both = parse(ARMS + "claim: l2\nclaims: [{similar: l2, to: plain, margin: 0.1}]\n")
    assert both.claim == "l2" and [c.kind for c in both.judged_claims()] == [SIMILAR]
    assert parse(ARMS).judged_claims() == parse(ARMS + "claims: null\n").judged_claims() == ()


def test_the_goal_is_the_objectives_where_the_metric_is_one() -> None:
    objective = "objective: [{}, {metric: train.loss, goal: minimize}]\n"
    spec = parse(
        ARMS + objective + "claims: [{better: l2, than: plain, metric: train.loss}, {better: plain, than: l2}]\n"
    )
    assert [c.goal for c in spec.judged_claims()] == ["minimize", "maximize"]


def test_the_epochs_are_the_objectives_where_the_metric_is_one() -> None:
    """A goal is one of the epochs, too: to be early is none of the last epoch."""
    first, best = "{epoch: {first_above: 0.5}}", "{metric: train.loss, goal: minimize, epoch: best}"
    text = ARMS + f"objective: [{first}, {best}]\nclaims:\n"
    text += "  - {better: l2, than: plain}\n  - {better: plain, than: l2, metric: train.loss}\n"
    text += "  - {better: l2, than: plain, goal: maximize, since: 3}\n"
    text += "  - {better: l2, than: plain, metric: train.loss, epoch: {mean_of_last: 3}}\n"
    text += "  - {better: l2, than: plain, metric: gradient.first_to_last, goal: {near: 1}}\n"
    text += "  - {better: l2, than: plain, metric: validation.loss, epoch: {first_above: 2}}\n"
    spec = parse(text)
    assert [(c.goal, c.epoch.how, c.epoch.never, c.since) for c in spec.judged_claims()] == [
        ("minimize", "first_above", 31, None),
        ("minimize", "best", 0, None),
        ("maximize", "last", 0, 3),
        ("minimize", "mean_of_last", 0, None),
        (Near(1.0), "last", 0, None),
        ("minimize", "first_above", 31, None),
    ]
    assert parse(spec.to_yaml()) == spec
    names = [c.name for c in default_claims("l2", ["plain", "l2"], spec.objectives)]
    assert names[0] == "l2-better-than-plain-in-first-epoch-with-validation.accuracy-above-0.5" and len(names) == 2
    with pytest.raises(SpecError, match="claims.0.goal: is missing: which validation.accuracy is better"):
        parse(ARMS + f"objective: {first}\nclaims: [{{better: l2, than: plain, until: 0}}]\n")


def test_settings_reach_into_claims() -> None:
    text = ARMS + "claims: [{better: l2, than: plain}]\n"
    assert parse(text, settings=["claims.0.by=0.02"]).judged_claims()[0].margin == 0.02
    with pytest.raises(SpecError, match="--set claims.0.by=-1: claims.0.by: must be a number >= 0"):
        parse(text, settings=["claims.0.by=-1"])


def test_fresh_seeds_are_no_seeds_of_the_search() -> None:
    spec = parse(SEARCH + "seeds: [1, 3]\nconfirm: {top: 1, seeds: 4}\n")
    assert spec.fresh_seeds == (0, 2, 4, 5)
    assert [m.seed for m in spec.members({"r": 0.5}, confirming=True)] == [0, 2, 4, 5]
    plan = spec.search_plan()
    assert (plan.searching, plan.confirming, plan.total) == (5, 3, 8)
    assert parse(spec.to_yaml()) == spec
    listed = parse(SEARCH + "confirm: {seeds: [7, 9]}\n")
    assert listed.fresh_seeds == (7, 9) and listed.confirm is not None and listed.confirm.top == 3
    assert parse(listed.to_yaml()) == listed
    assert parse(SEARCH).fresh_seeds == () and parse(SEARCH).search_plan().confirming == 0


def test_no_more_is_confirmed_than_is_searched() -> None:
    assert parse(SEARCH + "confirm: {top: 9}\n").search_plan().confirming == 2 + 3


def test_a_claim_about_epochs_that_are_not_trained_is_no_error_but_said() -> None:
    text = (
        "name: x\nbase: {epochs: 6}\narms:\n  plain: {}\n  l2: {r: 0.01}\n  long: {epochs: 20}\nclaims:\n"
        "  - {name: a, better: l2, than: plain, since: 7}\n  - {name: b, better: long, than: plain, since: 6}\n"
        "  - {name: c, better: best, than: long, since: 20}\n  - {name: d, better: best, than: long, since: 21}\n"
    )
    assert doubts(parse(text)) == [
        "claim a: is about epochs from 7 on, but l2 has 6: it will be undecided",
        "claim d: is about epochs from 21 on, but no configuration has more than 20: it will be undecided",
    ]
    assert doubts(read("figure-1")) == [] != doubts(read("figure-1", ["base.epochs=1"]))
    assert doubts(parse(SEARCH)) == []


CLAIM = ARMS + "claims:\n  - "
WRONG = [
    ("{better: l3, than: plain}", "6: claims.0.better: must be the name of an arm, or best, but got 'l3'; known are plain, l2, best"),
    ("{better: l2}", "6: claims.0.than: is missing: better 'l2' than which arm?"),
    ("{better: l2, as_good: plain}", "6: claims.0.as_good: must have one of better, as_good and similar, but got better and as_good"),
    ("{says: nothing}", "6: claims.0: must have one of better, as_good and similar, but got none of them"),
    ("{better: l2, than: l2}", "6: claims.0.than: must be another one than better, but got 'l2' twice"),
    ("{as_good: l2, as: best}", "6: claims.0.margin: is missing: the difference that does not matter, in the metric's unit, as 10% or 2x"),
    ("{as_good: l2, as: best, margin: -1}", "6: claims.0.margin: must be a number >= 0, a percentage like 10% or a factor like 2x, but got -1"),
    ("{as_good: l2, as: best, margin: 5 percent}", "6: claims.0.margin: must be a number >= 0, a percentage like 10% or a factor like 2x, but got '5 percent'"),
    ("{similar: l2, to: best, margin: 1}", "6: claims.0.to: must be the name of an arm: to be similar to the best is to be as_good as it"),
    ("{better: l2, than: plain, margin: 1}", "6: claims.0.margin: does not go with better: a claim of better has than and by"),
    ("{better: l2, than: plain, metric: train.loss}", "6: claims.0.goal: is missing: which train.loss is better? maximize | minimize"),
    ("{better: l2, than: plain, metric: train.los}", "6: claims.0.metric: unknown metric 'train.los'; did you mean train.loss? Known are train.loss, train.accuracy, validation.loss, validation.accuracy, test.accuracy, gradient.first_to_last, saturated, dead, dead_layers, seconds, and those of gradients and layers that `gradsweep metrics` lists"),
    ("{better: l2, than: plain, goal: up}", "6: claims.0.goal: must be maximize, minimize or {near: NUMBER}, but got 'up'"),
    ("{better: l2, than: plain, since: 4, until: 2}", "6: claims.0.until: since <= until must hold, but got 4 and 2"),
    ("{better: l2, than: plain, since: 1, epoch: best}", "6: claims.0.epoch: does not go with since and until: they say which epochs count, too"),
    ("{better: l2, than: plain, metric: seconds, goal: minimize, epoch: best}", "6: claims.0.epoch: must be left out: seconds are compared epoch by epoch; since and until can limit them"),
    ("{better: l2, than: plain, goal: maximize, epoch: {first_above: 1}}", "6: claims.0.goal: must be minimize, or left out, where epoch is first_above (the earlier, the better), but got 'maximize'"),
    ("{better: l2, than: plain, metric: gradient.data.rms, goal: {near: -1}}", "6: claims.0.goal.near: must be above 0, since the distance of gradient.data.rms is one of logarithms, but got -1"),
    ("{better: l2, than: plain, since: -1}", "6: claims.0.since: must be at least 0, but got -1"),
    ("{bettr: l2, than: plain}", "6: claims.0.bettr: unknown key; did you mean better? `gradsweep fields` lists them"),
    ("{better: l2, then: plain}", "6: claims.0.then: unknown key; did you mean than? `gradsweep fields` lists them"),
    ("{better: 5, than: plain}", "6: claims.0.better: must be text, but got 5"),
    ("l2", "6: claims.0: must be a mapping of keys to values, but got 'l2'"),
    ("{better: l2, than: plain}\n  - {better: l2, than: plain}", "7: claims.1.name: another claim has the name 'l2-better-than-plain'; give this one a name"),
    ("{better: l2, than: plain, after: a}\n  - {better: plain, than: l2, name: aa}", "6: claims.0.after: must be the name of another claim, but got 'a'; did you mean aa?"),
    ("{better: l2, than: plain, after: l2-better-than-plain}", "6: claims.0.after: must be another claim, but got this one's own name, 'l2-better-than-plain'"),
    ("{better: l2, than: plain, name: a, after: b}\n  - {better: plain, than: l2, name: b, after: a}", "6: claims.0.after: claims must not go in a circle: a -> b -> a"),
    ("{better: l2, than: plain, by: 2x, scale: linear}", "6: claims.0.by: must be a number or a percentage where scale is linear: a factor is a ratio"),
    ("{better: l2, than: plain, by: 0.1, scale: log}", "6: claims.0.by: must be a percentage like 10% or a factor like 2x where scale is log, but got 0.1"),
    ("{better: l2, than: plain, goal: {near: 0.9}, scale: log}", "6: claims.0.scale: must be linear, or left out: distances from a target are compared by their differences"),
    ("{better: l2, than: plain, epoch: {first_above: 0.5}, by: 2x}", "6: claims.0.by: must be a number or a percentage: epochs are compared by their differences"),
    ("{as_good: l2, as: plain, margin: 100%}", "6: claims.0.margin: must be below 100%, since nothing is lower by more, but got 100%"),
    ("{better: l2, than: plain, scale: square}", "6: claims.0.scale: must be linear or log, but got 'square'"),
    ("{better: l2, than: plain, by: 0.5x}", "6: claims.0.by: must be a number >= 0, a percentage like 10% or a factor like 2x, but got '0.5x'"),
    ("{better: l2, than: plain, name: a}\n  - {better: l2, than: plain, name: a}", "7: claims.1.name: another claim has the name 'a'; they must differ"),
]  # fmt: skip


@pytest.mark.parametrize(("claim", "message"), WRONG)
def test_a_wrong_claim_says_where_and_what_would_be_right(claim: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse(CLAIM + claim + "\n", "s.yaml")
    assert caught.value.problems == (f"s.yaml:{message}",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ARMS + "claims: {better: l2}\n", "5: claims: must be a list, but got {'better': 'l2'}"),
        (
            ARMS + "confirm: {top: 3}\n",
            "5: confirm: needs a search: leave confirm out",
        ),
        (SEARCH + "confirm: {top: 0}\n", "6: confirm.top: must be at least 1, but got 0"),
        (
            SEARCH + "confirm: {seeds: 0}\n",
            "6: confirm.seeds: must be a count from 1 to 10000 or a list of seeds, but got 0",
        ),
        (SEARCH + "confirm: {seeds: [7, 2]}\n", "6: confirm.seeds.1: must be a fresh seed, but 2 is one of seeds"),
        (SEARCH + "confirm: {seed: 7}\n", "6: confirm.seed: unknown key; did you mean seeds? Known are top, seeds"),
        (SEARCH + "confirm: 5\n", "6: confirm: must be a mapping of keys to values, but got 5"),
        (
            "name: x\narms: {plain: {}, best: {}}\n",
            "2: arms.best: an arm can't be called best: in a claim, best is whichever configuration is the best",
        ),
    ],
)
def test_what_else_can_be_wrong(text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse(text, "s.yaml")
    assert caught.value.problems == (f"s.yaml:{message}",)


DEEP = "name: x\nbase: {regime: deep}\narms:\n  five: {dense: 5}\n  deep: {dense: 9, alpha: 1.0}\n  paper: {dense: 9, alpha: 2.0}\n"
OF_A_LAYER = "metric: layer.dense9.gradient.data.rms, goal: maximize"


def test_a_claim_may_be_about_a_layer_that_its_own_arms_have() -> None:
    claims = parse(DEEP + f"claims: [{{better: paper, than: deep, {OF_A_LAYER}}}]\n").judged_claims()
    assert claims[0].metric == "layer.dense9.gradient.data.rms"
    for pair in ("better: paper, than: five", "better: paper, than: best"):
        with pytest.raises(SpecError, match="claims.0.metric: unknown metric 'layer.dense9.gradient.data.rms'"):
            parse(DEEP + f"claims: [{{{pair}, {OF_A_LAYER}}}]\n")


@pytest.mark.parametrize(("epochs", "holds"), [("until: 0", True), ("since: 1, until: 3", False), ("", False)])
def test_a_claim_may_be_about_a_measurement_at_the_epochs_at_which_it_is_made(epochs: str, holds: bool) -> None:
    text = "name: x\nbase: {epochs: 3, measure: [jacobian], measure_at: [0]}\narms: {plain: {}, l2: {r: 0.01}}\n"
    text += f"claims: [{{better: l2, than: plain, metric: jacobian.condition, goal: minimize, {epochs}}}]\n"
    if holds:
        assert parse(text).judged_claims()[0].metric == "jacobian.condition"
    else:
        with pytest.raises(
            SpecError,
            match="claims.0.metric: jacobian.condition is not measured at every epoch that counts here, only at 0",
        ):
            parse(text)
