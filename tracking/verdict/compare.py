"""Two sweeps held against each other: what both have trained, paired over the seeds that both have used.

    >>> compared = compare(Side("first", frame, outcomes), Side("second", frame, outcomes), objective)
    >>> [(pair.name, pair.comparison.gain, pair.answer) for pair in compared.pairs]
    [('plain', 0.0123, 'second')]

Arms of one name are a pair, whatever they train, and so are configurations whose members are equal. The statistics are
those of a verdict (`tracking.verdict.verdict`): Wilcoxon's test, corrected after Holm over all pairs. Sizes are
compared as ratios. Pairs are not chosen by their results, so none of them is there by luck.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from tracking.results import Outcome
from tracking.tidy import KEYS, MEMBER
from tracking.verdict.claims import BETTER, SECONDS, Claim
from tracking.verdict.comparisons import Paired, values
from tracking.verdict.judge import UNDECIDED, Stage
from tracking.verdict.statistics import LEVEL, holm, least_p, pairs_needed
from tracking.verdict.tables import P, code, count, number
from tracking.verdict.types import Comparison, Summary
from tracking.verdict.verdict import summaries
from tracking.verdict.words import STATES
from trainers.objectives import Objective

FIRST, SECOND, EQUAL = "first", "second", "equal"
_WHAT = [name for name in MEMBER if name != "engine"]  # which says how something is trained, not what


@dataclass(frozen=True)
class Side:
    """One of the two sweeps: its records (`tracking.results.load_wide`), and how its configurations stand."""

    name: str
    frame: pd.DataFrame
    outcomes: Mapping[int, Outcome]


@dataclass(frozen=True)
class Standing:
    """How many configurations of a sweep are in which state, and the best of them: on fresh seeds, where there are."""

    name: str
    states: Mapping[str, int]
    best: Summary | None


@dataclass(frozen=True)
class Pair:
    """One configuration in both sweeps: its name (both, where they differ), and its number in each.

    `answer` says where it is better (higher, without a goal): first | second | equal | undecided; None where that can't
    be asked, and `reason` says why. `same_bits`: all that both have recorded is equal on the common seeds, but for the
    time it took. In `comparison` the second sweep's is `one`: its gains are positive where the second is better. p is
    two-sided.
    """

    name: str
    configurations: tuple[int, int]
    answer: str | None = None
    reason: str = ""
    same_bits: bool = False
    comparison: Comparison | None = None
    p: float | None = None
    p_corrected: float | None = None


@dataclass(frozen=True)
class SweepComparison:
    """Two sweeps compared by one metric: `what` of it, and at which `epochs`.

    `goal` is maximize, minimize, or "" where neither is better. `alone` names what only one of the two has.
    `differences` are (what, its value in the first sweep, that in the second).
    """

    sweeps: tuple[Standing, Standing]
    metric: str
    goal: str
    what: str
    epochs: str
    pairs: tuple[Pair, ...]
    alone: tuple[tuple[str, ...], tuple[str, ...]]
    notes: tuple[str, ...]
    differences: tuple[tuple[str, str, str], ...] = ()


def compare(first: Side, second: Side, objective: Objective, *, directed: bool = True) -> SweepComparison:
    """What the two have in common, by an objective; if it is not `directed`, more of its metric is not better.

    Raises ValueError for a metric that one of them has not recorded.
    """
    for side in (first, second):
        if len(side.frame) and objective.metric not in side.frame:
            raise ValueError(f"sweep {side.name!r} has no metric {objective.metric!r}")
    own, fresh = ([Stage(s.frame, s.outcomes, fresh=again) for s in (first, second)] for again in (False, True))
    claim = Claim(BETTER, second.name, first.name, objective.metric, objective.goal, epoch=objective.epoch)
    arms = [name for name in own[0].arms if name in own[1].arms]
    pairs: list[Pair] = []
    tests: list[tuple[int, Paired]] = []
    alone: tuple[list[str], list[str]] = [], []
    for stages in (own, fresh):
        matched = _matched(stages[0], stages[1], arms)
        for names, stage, taken in zip(alone, stages, (matched.keys(), {*matched.values()}), strict=True):
            names += [outcome.name for n, outcome in stage.outcomes.items() if n not in taken]
        for numbers in matched.items():
            pair, paired = _pair(claim, (first.name, second.name), stages, numbers)
            if paired:
                tests.append((len(pairs), paired))
            pairs.append(pair)
    corrected = [holm([paired.p[side] for _, paired in tests]) for side in (0, 1)]
    for i, (place, paired) in enumerate(tests):
        pairs[place] = _answered(pairs[place], paired, corrected[0][i], corrected[1][i])
    standings = [
        Standing(side.name, dict(Counter(o.state for o in side.outcomes.values())), _best(stages, objective, directed))
        for side, stages in zip((first, second), zip(own, fresh, strict=True), strict=True)
    ]
    return SweepComparison(
        (standings[0], standings[1]),
        objective.metric,
        objective.direction if directed else "",
        objective.what,
        "epoch by epoch" if objective.metric == SECONDS else objective.when,
        tuple(pairs),
        (tuple(alone[0]), tuple(alone[1])),
        tuple(_notes(objective, pairs, [paired for _, paired in tests])),
    )


def _matched(first: Stage, second: Stage, arms: Sequence[str]) -> dict[int, int]:
    """Number in the first -> number in the second: arms by their names, then what has equal members, each once."""
    matched = {first.arms[name]: second.arms[name] for name in arms if name in first.arms and name in second.arms}
    others: dict[str, int] = {}
    for n in sorted(second.rows.keys() - matched.values()):
        others.setdefault(_member(second.rows[n]), n)
    for n in sorted(first.rows.keys() - matched.keys()):
        if (equal := others.pop(_member(first.rows[n]), None)) is not None:
            matched[n] = equal
    return matched


def _member(rows: pd.DataFrame) -> str:
    """The fields of a configuration's members; as text, where what is left open is equal to itself."""
    return repr(rows[[name for name in _WHAT if name in rows]].iloc[0].tolist())


def _pair(
    claim: Claim, names: tuple[str, str], stages: Sequence[Stage], numbers: tuple[int, int]
) -> tuple[Pair, Paired | None]:
    """A pair, and the values to be tested where there are any."""
    outcomes = [stage.outcomes[n] for stage, n in zip(stages, numbers, strict=True)]
    pair = Pair("/".join(dict.fromkeys(outcome.name for outcome in outcomes)), numbers)
    for name, outcome, stage in zip(names, outcomes, stages, strict=True):
        if outcome.state != "complete" or outcome.number not in stage.rows:
            return replace(pair, reason=f"it {STATES.get(outcome.state, 'has no records')} in {code(name)}"), None
    rows = [stage.rows[n] for stage, n in zip(stages, numbers, strict=True)]
    common = set(rows[0]["seed"]).intersection(rows[1]["seed"])
    if not common:
        return replace(pair, reason="the two sweeps trained it on no common seed"), None
    sides = [(n, name, values(of, claim)) for n, name, of in zip(numbers, names, rows, strict=True)]
    paired = Paired(claim, *reversed(sides))
    pair = replace(pair, same_bits=_same_bits(*(of[of["seed"].isin(common)] for of in rows)))
    if not paired.decidable:
        return replace(pair, reason=paired.flaw(claim.objective.when)), None
    return pair, paired


def _same_bits(first: pd.DataFrame, second: pd.DataFrame) -> bool:
    """Whether the same epochs have the same numbers, in every metric that both have but the time."""
    by = ["seed", "epoch"]
    names = [n for n in first if n in second and n not in (*KEYS, *MEMBER, SECONDS)]
    one, two = (of.set_index(by)[names].sort_index() for of in (first, second))
    return bool(one.index.equals(two.index)) and np.array_equal(one.to_numpy(float), two.to_numpy(float), True)


def _answered(pair: Pair, paired: Paired, above: float, below: float) -> Pair:
    """With p, and what it says: `above` and `below` are those corrected for all pairs, one-sided."""
    answer = UNDECIDED
    if pair.same_bits or paired.same:
        answer = EQUAL
    elif 2 * above <= LEVEL:
        answer = SECOND
    elif 2 * below <= LEVEL:
        answer = FIRST
    p, corrected = min(1.0, 2 * min(paired.p)), min(1.0, 2 * min(above, below))
    return replace(pair, answer=answer, comparison=paired.comparison(), p=p, p_corrected=corrected)


def _best(stages: Sequence[Stage], objective: Objective, directed: bool) -> Summary | None:
    if not directed:
        return None
    own, fresh = (summaries(stage, objective) for stage in stages)
    return next((s for s in fresh or own if s.rank == 1), None)


def _notes(objective: Objective, pairs: Sequence[Pair], tests: Sequence[Paired]) -> list[str]:
    """What a reader should know of the pairs as a whole."""
    notes = []
    if not pairs:
        notes.append("The two sweeps have no arm and no configuration in common.")
    most = max((len(paired.pairs) for paired in tests), default=0)
    if (undecided := [paired for paired in tests if not paired.same]) and least_p(most, len(tests)) > LEVEL:
        over, compared = undecided[0].paired_over, count(len(tests), "comparison")
        notes.append(
            f"With {count(most, over)} and {compared}, the corrected p cannot fall below "
            f"{number(least_p(most, len(tests)), P)}; a decision needs at least {pairs_needed(len(tests))} {over}s."
        )
    if objective.metric == SECONDS and tests:
        notes.append("The seconds are those of two runs, each beside whatever else its machine did at the time.")
    return notes
