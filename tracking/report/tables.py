"""The tables of a report, as text already: every number is shown with the digits that mean something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tracking.figures.lines import lines
from tracking.figures.style import NotDrawn
from tracking.results import Outcome
from tracking.verdict import words as wording

if TYPE_CHECKING:
    from tracking.verdict.verdict import Summary, Verdict

BEST = 10  # so many configurations are ranked besides the arms
NUMBER = "number"


@dataclass(frozen=True)
class Column:
    """A heading; `kind` is number (set to the right), words (may be broken) or nothing."""

    name: str
    kind: str = ""


@dataclass(frozen=True)
class Table:
    """A title, columns, and rows with a text a column."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]


def claims_table(verdict: Verdict) -> Table | None:
    """The numbers that the claims were judged by; None without claims."""
    if not verdict.claims:
        return None
    names = ("claim", "answer", "gain", "95% interval", "has to be", "pairs", "p (corrected)")
    rows = []
    for claim in verdict.claims:
        found = claim.comparison
        bound = (
            "" if claim.threshold is None else f"{'within' if claim.kind == 'similar' else 'above'} {claim.threshold:g}"
        )
        rows.append(
            (
                claim.name,
                claim.answer,
                _number(found.gain if found else None, "+.4g"),
                f"{found.low:+.4g} to {found.high:+.4g}"
                if found and found.low is not None and found.high is not None
                else "",
                bound,
                str(len(found.pairs)) if found else "",
                "" if claim.p is None else f"{claim.p:.2g} ({_number(claim.p_corrected, '.2g')})",
            )
        )
    columns = tuple(Column(name, "" if name in ("claim", "answer", "has to be") else NUMBER) for name in names)
    return Table(
        "The claims in numbers: gains paired over seeds, positive where the claim is better", columns, tuple(rows)
    )


def rankings(verdict: Verdict) -> list[Table]:
    """For each objective the arms and the best, and what was trained again on fresh seeds."""
    found = []
    for o in verdict.objectives:
        way = "higher is better" if o.goal == "maximize" else "lower is better"
        shown = [s for s in o.ranking if s.arm or (s.rank or BEST + 1) <= BEST]
        hidden = len(o.ranking) - len(shown)
        more = f"; {hidden} more not shown" if hidden else ""
        whose = " on the search's own seeds" if o.confirmed else ""
        found.append(_ranking(f"{o.metric} after the last epoch{whose} ({way}{more})", shown))
        if o.confirmed:
            found.append(
                _ranking(f"{o.metric}, trained again on fresh seeds: the claims are judged on these", o.confirmed)
            )
    return found


def measured(frame: pd.DataFrame, outcomes: Mapping[int, Outcome], objective: tuple[str, str]) -> list[Table]:
    """Accuracies at the end and gradients at both ends of what the figures show: means over the seeds."""
    try:
        chosen = lines(frame, outcomes, objective)
    except NotDrawn:
        return []
    columns = [("train accuracy", "train.accuracy", "last", ".1%")]
    columns += [
        ("validation accuracy", "validation.accuracy", "last", ".1%"),
        ("test accuracy", "test.accuracy", "last", ".1%"),
    ]
    for when in ("first", "last"):
        at = "start" if when == "first" else "end"
        columns.append((f"rms of the loss's gradient, {at}", "gradient.data.rms", when, ".2g"))
        columns.append((f"vanished, {at}", "gradient.data.vanished", when, ".0%"))
    columns = [c for c in columns if c[1] in frame]
    rows = []
    for line in chosen:
        own = frame[frame["configuration"] == line.configuration]
        at_ends = {"first": own[own["epoch"] == 0], "last": own[own["epoch"] == own["epoch"].max()]}
        means = [(float(at_ends[when][metric].mean(skipna=False)), shape) for _, metric, when, shape in columns]
        rows.append((line.label, *(_number(value, shape) for value, shape in means)))
    heads = (Column("configuration"), *(Column(c[0], NUMBER) for c in columns))
    whose = "search's own seeds" if any(o.confirms is not None for o in outcomes.values()) else "seeds"
    title = f"Means over the {whose} (vanished: the share of coordinates with |g| < 1e-7)"
    return [Table(title, heads, tuple(rows))]


def _ranking(title: str, summaries: Sequence[Summary]) -> Table:
    # What is wanted first is first: a phone shows three columns.
    names = ("rank", "configuration", "mean", "deviation", "quartiles", "seeds", "epochs", "state")
    columns = tuple(Column(n, "" if n in ("configuration", "state") else NUMBER) for n in names)
    rows = []
    for s in summaries:
        quartiles = f"{s.q25:.4g} to {s.q75:.4g}" if s.q25 is not None and s.q75 is not None else ""
        rows.append(
            (
                "" if s.rank is None else str(s.rank),
                s.name,
                _number(s.mean, ".4g"),
                _number(s.deviation, ".2g"),
                quartiles,
                str(len(s.seeds)),
                "" if s.epoch is None else str(s.epoch),
                wording.state_of(s.state),
            )
        )
    return Table(title, columns, tuple(rows))


def _number(value: float | None, shape: str) -> str:
    return "" if value is None else format(value, shape) if np.isfinite(value) else "not finite"
