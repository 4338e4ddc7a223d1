"""Two sweeps of stores compared: what they were asked to do and with what, and what came of it.

>>> compare_sweeps((spec, store), (other_spec, store)).differences
(('base.epochs', '30', '60'), ('torch', '2.15.0', '2.16.0'))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from sweeps.spec.reading import SweepSpec
from tracking.ledger import opened
from tracking.results import load_wide, outcomes
from tracking.store import Store
from tracking.types import Sweep
from tracking.verdict.claims import SECONDS
from tracking.verdict.compare import Side, SweepComparison, compare
from trainers.errors import RequestError, did_you_mean
from trainers.objectives import Objective

Stored = tuple[SweepSpec, Store]
SHORT = 12  # characters of a checksum or a commit


def compare_sweeps(first: Stored, second: Stored, metric: str | None = None) -> SweepComparison:
    """By the first one's first objective, or the last epoch's `metric`.

    Raises RequestError for a sweep and itself, and for a metric that is not recorded.
    """
    (spec, store), (other, place) = first, second
    if (spec.name, store.where) == (other.name, place.where):
        raise RequestError(f"a comparison needs two sweeps, but got {spec.name!r} twice")
    (a, begun), (b, also) = _read(spec.name, store), _read(other.name, place)
    recorded = [str(name) for name in a.frame.select_dtypes("number") if name in b.frame]
    if metric is not None and metric not in recorded and len(a.frame) and len(b.frame):
        hint = did_you_mean(metric, recorded, "gradsweep metrics lists what is recorded")
        raise RequestError(f"--metric {metric}: not a metric that both sweeps have recorded; {hint}")
    objective, directed = _objective(spec, metric)
    compared = compare(a, b, objective, directed=directed)
    notes, theirs = list(compared.notes), other.objectives[0].name
    if metric is None and theirs != objective.name:
        notes.append(f"The first objective of {other.name} is another one: {theirs}.")
    arms = [name for name in spec.arms if name in other.arms]
    one, two = _facts(spec, arms, begun, a.frame), _facts(other, arms, also, b.frame)
    both = {key: (one.get(key, ""), two.get(key, "")) for key in dict.fromkeys([*one, *two])}
    differences = tuple((key, *values) for key, values in both.items() if values[0] != values[1])
    return replace(compared, notes=tuple(notes), differences=differences)


def _read(name: str, store: Store) -> tuple[Side, Sweep]:
    with opened(name, store) as (_, sweep):
        return Side(name, load_wide(name, store), outcomes(name, store)), sweep


def _objective(spec: SweepSpec, metric: str | None) -> tuple[Objective, bool]:
    """What is compared, and whether one way of it is known to be better."""
    if of_sweep := [o for o in spec.objectives if metric in (None, o.metric)]:
        return of_sweep[0], True
    name = str(metric)
    less_is_better = name == SECONDS or name.endswith(".loss")
    return Objective(name, "minimize" if less_is_better else "maximize"), less_is_better or name.endswith(".accuracy")


def _facts(spec: SweepSpec, arms: Sequence[str], sweep: Sweep, frame: pd.DataFrame) -> dict[str, str]:
    """What a sweep was asked to do and with what it did it, each as a text; `arms` are those that both sweeps have."""
    facts = {f"base.{name}": "" if v is None else str(v) for name, v in spec.search_plan(1).base.items()}
    facts |= {f"arms.{arm}.{name}": str(value) for arm in arms for name, value in spec.arms[arm].items()}
    facts |= {"seeds": _listed(spec.seeds), "fresh seeds": _listed(spec.fresh_seeds)}
    facts["objective"] = "; ".join(f"{o.direction} {o.name}" for o in spec.objectives)
    facts["engine"] = ", ".join(sorted(set(frame["engine"]))) if len(frame) else ""
    facts |= {f"sha256 of {name}": digest[:SHORT] for name, digest in sweep.digests.items()}
    return facts | dict(sweep.versions) | {"commit": (sweep.commit or "")[:SHORT]}


def _listed(seeds: Sequence[int]) -> str:
    if seeds == tuple(range(seeds[0], seeds[0] + len(seeds)) if seeds else ()) and len(seeds) > 1:
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))
