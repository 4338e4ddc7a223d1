"""A sweep's report from what is in its store: the figures and one HTML page; and the files that MLflow shows.

>>> made = make_report(stored_spec("alpha-r", store), store, verdict)
>>> made.page[:15]
'<!DOCTYPE html>'
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search_spaces.space import Range, Value
from sweeps.driver.versions import versions
from sweeps.spec.reading import SweepSpec
from tracking.ledger import opened
from tracking.results import load_wide, outcomes
from tracking.store import Store
from trainers.errors import one_line

if TYPE_CHECKING:
    from tracking.figures.album import Album
    from tracking.figures.data import Searched
    from tracking.verdict.types import Verdict

log = logging.getLogger("gradsweep")
PAGE = "report.html"
Point = tuple[Mapping[str, Value], float]  # what was searched, and what it reached


@dataclass(frozen=True)
class Report:
    """The page as text, and its figures."""

    page: str
    album: Album


def make_report(spec: SweepSpec, store: Store, verdict: Verdict, status: str | None = None) -> Report:
    """Draw the figures and write the page on what has been recorded so far. Raises SearchError.

    `status` is the ledger's (None: as recorded): the driver makes the report just before it is.
    """
    from tracking.figures.album import draw
    from tracking.figures.data import FigureData, points
    from tracking.report.page import page
    from tracking.report.tables import conditions, measured

    with opened(spec.name, store) as (_, sweep):
        frame, ended = load_wide(spec.name, store), outcomes(spec.name, store)
    search = _searched(spec, lambda metric, fields: points(frame, ended, metric, fields))
    album = draw(frame, ended, spec.objectives, search)
    text = page(
        verdict,
        album,
        measured(FigureData(frame, ended, spec.objectives[0])),
        conditions(frame, sweep),
        question=spec.question or "",
        spec=spec.to_yaml(),
        status=status or sweep.status,
        version=versions()["gradsweep"],
    )
    return Report(text, album)


def leave_for_mlflow(spec: SweepSpec, store: Store, verdict: Verdict, status: str) -> None:
    """Put the page and the figures where the delivery finds them. A sweep does not fail for want of a picture."""
    folder = store.report(spec.name)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        made = make_report(spec, store, verdict, status)
        files = {PAGE: made.page} | {f"figures/{p.name}.svg": p.svg for p in made.album.pictures}
        for name, text in files.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    except Exception as error:
        log.warning("the figures of %s could not be made: %s", spec.name, one_line(error))


def _searched(spec: SweepSpec, points: Callable[[str, Sequence[str]], Sequence[Point]]) -> Searched:
    """The search as the figures see it; `points` gives the values of some fields and what was reached by a metric."""
    from search_spaces.importance import importance
    from tracking.figures.data import Axis, Searched

    if spec.search is None:
        return Searched()
    space, base = spec.search.space, spec.search_plan().base
    axes = tuple(
        Axis(key, what.low, what.high, what.log) if isinstance(what, Range) else Axis(key, choices=what.values)
        for key, what in space.items()
    )
    shares = {o.metric: importance(space, o.goal, points(o.metric, list(space)), base) for o in spec.objective}
    return Searched(axes, shares)
