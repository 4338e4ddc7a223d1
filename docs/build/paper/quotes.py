"""Numbers in prose: what people write about the records quotes them by placeholders, and holds none of its own.

    The penalty ends at {mean figure-1 l2 validation.accuracy last:.0%}, which is {gain figure-1 improves} higher
    ({low figure-1 improves} to {high figure-1 improves}; p = {p figure-1 improves}, {seeds figure-1} seeds).

A placeholder is {FUNCTION WORD ...} or {FUNCTION WORD ...:FORMAT}: a function of FUNCTIONS, its words as in a shell,
and a format of Python's. Metrics are columns of `tracking.load`, or layer.NAME.METRIC; epochs are a number, `last`, or
FIRST-LAST, over which the mean of each seed is taken. A word in the place of an arm may be any configuration's name.
Nothing in a placeholder is run as Python.
"""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from docs.build.paper.records import FOLDER, Record, load, recorded
from tracking.results import per_seed
from tracking.verdict.types import ClaimVerdict, Comparison
from trainers.errors import RequestError
from trainers.objectives import LAST, Objective

PLACEHOLDER = re.compile(r"\{([^{}:]*)(?::([^{}]*))?\}")
PER_CENT = re.compile(r"accuracy|vanished|saturated|dead|zero")


@dataclass
class Records:
    """The records of a folder by name, each read once."""

    folder: Path = FOLDER
    read: dict[str, Record] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Record:
        if name not in self.read:
            self.read[name] = load(name, self.folder)
        return self.read[name]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and recorded(name, self.folder)

    def claim(self, sweep: str, claim: str) -> ClaimVerdict:
        """The answer to a claim. Raises RequestError where the sweep has none of this name."""
        found = {c.name: c for c in self[sweep].verdict.claims}
        if claim not in found:
            raise RequestError(f"the sweep {sweep} has no claim {claim!r}, but {', '.join(found)}")
        return found[claim]

    def comparison(self, sweep: str, claim: str) -> Comparison:
        """The numbers behind that answer. Raises RequestError where nothing could be compared."""
        if (comparison := self.claim(sweep, claim).comparison) is None:
            raise RequestError(f"nothing could be compared for the claim {claim} of {sweep}")
        return comparison

    def values(self, sweep: str, arm: str, metric: str, epochs: str) -> pd.Series[float]:
        """The value of a metric by seed. Raises RequestError for no such arm, metric or epoch."""
        record = self[sweep]
        numbers = [n for n, o in record.outcomes.items() if arm in (o.arm, o.name)]
        rows = record.frame[record.frame["configuration"].isin(numbers[:1])]
        if not len(rows):
            raise RequestError(f"the sweep {sweep} has no configuration {arm!r}")
        if metric not in rows:
            raise RequestError(f"the record of {sweep} has no metric {metric!r}")
        if epochs == "last":
            return per_seed(rows, Objective(metric, epoch=LAST)).droplevel("configuration")
        if not re.fullmatch(r"\d+(-\d+)?", epochs):
            raise RequestError(f"epochs are a number, `last` or FIRST-LAST, but got {epochs!r}")
        first, last = (int(epoch) for epoch in (epochs.split("-") * 2)[:2])
        of = rows[rows["epoch"].between(first, last)]
        # Of some metrics a record has not every epoch: the mean of the rest would be another number.
        known = of["epoch"][of[metric].notna()].unique()
        if {*known.tolist()} != {*range(first, last + 1)}:
            raise RequestError(f"the record of {sweep} has {metric} of {arm} not at every one of the epochs {epochs}")
        return of.groupby("seed")[metric].mean()


def claim_gain(records: Records, sweep: str, claim: str) -> float | None:
    """By how much the claim's own side is better; a ratio on the log scale."""
    return records.comparison(sweep, claim).gain


def claim_low(records: Records, sweep: str, claim: str) -> float | None:
    """The lower end of the gain's interval."""
    return records.comparison(sweep, claim).low


def claim_high(records: Records, sweep: str, claim: str) -> float | None:
    """The upper end of the gain's interval."""
    return records.comparison(sweep, claim).high


def claim_p(records: Records, sweep: str, claim: str) -> float | None:
    """p, corrected for all claims of the sweep."""
    return records.claim(sweep, claim).p_corrected


def claim_pairs(records: Records, sweep: str, claim: str) -> float:
    """How many seeds were compared."""
    return len(records.comparison(sweep, claim).pairs)


def claim_better(records: Records, sweep: str, claim: str) -> float:
    """On how many seeds the claim's own side is better."""
    return sum(gain > 0 for gain in records.comparison(sweep, claim).gains)


def mean(records: Records, sweep: str, arm: str, metric: str, epochs: str) -> float:
    """The mean over the seeds."""
    return float(records.values(sweep, arm, metric, epochs).mean(skipna=False))


def median(records: Records, sweep: str, arm: str, metric: str, epochs: str) -> float:
    """The median over the seeds."""
    return float(records.values(sweep, arm, metric, epochs).median(skipna=False))


def least(records: Records, sweep: str, arm: str, metric: str, epochs: str) -> float:
    """The smallest of any seed."""
    return float(records.values(sweep, arm, metric, epochs).min())


def most(records: Records, sweep: str, arm: str, metric: str, epochs: str) -> float:
    """The largest of any seed."""
    return float(records.values(sweep, arm, metric, epochs).max())


def above(records: Records, sweep: str, arm: str, metric: str, epochs: str, threshold: str) -> float:
    """The number of seeds with more than a threshold."""
    return int((records.values(sweep, arm, metric, epochs) > float(threshold)).sum())


def ratio(records: Records, sweep: str, arm: str, to: str, metric: str, epochs: str) -> float:
    """The median over the seeds of what one arm has over another."""
    values = records.values(sweep, arm, metric, epochs) / records.values(sweep, to, metric, epochs)
    return float(values.median(skipna=False))


def first_above(records: Records, sweep: str, arm: str, metric: str, threshold: str) -> float:
    """The first epoch at which the median over the seeds is above a threshold."""
    last = int(records[sweep].frame["epoch"].max())
    for epoch in range(last + 1):
        if median(records, sweep, arm, metric, str(epoch)) > float(threshold):
            return epoch
    raise RequestError(f"{metric} of {arm} in {sweep} is never above {threshold}")


def seeds(records: Records, sweep: str) -> float:
    """How many seeds a sweep has of each configuration."""
    return len(records[sweep].spec.seeds)


def epochs(records: Records, sweep: str) -> float:
    """How many epochs it trains."""
    return int(records[sweep].frame["epoch"].max())


FUNCTIONS: dict[str, Callable[..., float | None]] = {
    "gain": claim_gain,
    "low": claim_low,
    "high": claim_high,
    "p": claim_p,
    "pairs": claim_pairs,
    "better": claim_better,
    "mean": mean,
    "median": median,
    "min": least,
    "max": most,
    "above": above,
    "ratio": ratio,
    "first-above": first_above,
    "seeds": seeds,
    "epochs": epochs,
}


def filled(text: str, records: Records) -> str:
    """The text with its numbers. Raises RequestError, which quotes the placeholder, for what the records have not."""
    return PLACEHOLDER.sub(lambda match: _number(match, records), text)


def sweeps_in(text: str) -> list[str]:
    """The sweeps that a text quotes, in their order."""
    words = [shlex.split(match[1]) for match in PLACEHOLDER.finditer(text)]
    return list(dict.fromkeys(of[1] for of in words if len(of) > 1))


def _number(match: re.Match[str], records: Records) -> str:
    try:
        name, *words = shlex.split(match[1]) or [""]
        if name not in FUNCTIONS:
            raise RequestError(f"the functions are {', '.join(FUNCTIONS)}")
        wanted = [*inspect.signature(FUNCTIONS[name]).parameters][1:]
        if len(words) != len(wanted):
            raise RequestError(f"{name} takes {' '.join(wanted).upper()}")
        value = FUNCTIONS[name](records, *words)
        if value is None:
            raise RequestError("there is no such number")
        return format(value, match[2] or _format(value, words))
    except (RequestError, ValueError) as error:
        raise RequestError(f"{match[0]}: {error}") from None


def _format(value: float, words: list[str]) -> str:
    """Whole numbers as they are, shares in per cent, all else with two digits."""
    if isinstance(value, int):
        return "d"
    return ".0%" if len(words) > 2 and PER_CENT.search(words[2]) else ".2g"
