"""A sweep's report from what is in its store: one HTML page with charts, the figures, and the files that MLflow shows.

>>> page, charts = make_report(stored_spec("alpha-r", store), store, verdict)
>>> page[:15]
'<!DOCTYPE html>'
>>> draw_figures(spec, store).pictures["surface"].svg
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace

from search_spaces.importance import importance
from search_spaces.space import Range, effective
from sweeps.driver.versions import versions
from sweeps.spec.reading import SweepSpec
from tracking.charts.chart import ChartData
from tracking.charts.charts import Charts
from tracking.charts.charts import draw as draw_charts
from tracking.figures.album import Album, draw
from tracking.figures.data import Axis, FigureData
from tracking.ledger import opened
from tracking.report.page import conditions, measured, page
from tracking.results import load_wide, outcomes
from tracking.store import Store
from tracking.verdict.types import Verdict
from trainers.errors import one_line

log = logging.getLogger("gradsweep")
PAGE = "report.html"


def make_report(spec: SweepSpec, store: Store, verdict: Verdict, status: str | None = None) -> tuple[str, Charts]:
    """The page on what has been recorded so far, and its charts. Raises SearchError.

    `status` is the ledger's or `stopped` (None: as recorded): the driver makes the report just before it is.
    """
    with opened(spec.name, store) as (ledger, sweep):
        configurations = {c.number: c for c in ledger.configurations(sweep)}
    data = _data(spec, store)
    charts = draw_charts(ChartData(data, configurations))
    text = page(
        verdict,
        charts,
        measured(data),
        conditions(data.frame, sweep),
        question=spec.question or "",
        spec=spec.to_yaml(),
        status=status or sweep.status,
        version=versions()["gradsweep"],
    )
    return text, charts


def draw_figures(spec: SweepSpec, store: Store) -> Album:
    """The figures for papers of what has been recorded so far. Raises SearchError."""
    data = _data(spec, store)
    return draw(data.frame, data.outcomes, spec.objectives, data.axes, data.importance)


def leave_for_mlflow(spec: SweepSpec, store: Store, verdict: Verdict, status: str) -> None:
    """Put the page and the figures where the delivery finds them. A sweep does not fail for want of a picture."""
    folder = store.report(spec.name)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        text, _ = make_report(spec, store, verdict, status)
        (folder / "figures").mkdir(parents=True, exist_ok=True)
        (folder / PAGE).write_text(text, encoding="utf-8")
        for name, picture in draw_figures(spec, store).pictures.items():
            (folder / "figures" / f"{name}.svg").write_text(picture.svg, encoding="utf-8")
    except Exception as error:
        log.warning("the figures of %s could not be made: %s", spec.name, one_line(error))


def _data(spec: SweepSpec, store: Store) -> FigureData:
    """The records as figures and charts see them."""
    frame, ended = load_wide(spec.name, store), outcomes(spec.name, store)
    data = FigureData(frame, ended, spec.objectives[0], objectives=spec.objectives)
    axes, shares = _searched(spec, data)
    return replace(data, axes=axes, importance=shares)


def _searched(spec: SweepSpec, data: FigureData) -> tuple[list[Axis], dict[str, dict[str, float]]]:
    """The searched fields as the figures see them, and their importance by metric."""
    if spec.search is None:
        return [], {}
    space, base, shares = spec.search.space, spec.search_plan().base, {}
    fields = data.firsts[list(space)].to_numpy(dtype=object).tolist()
    drawn = {n: dict(zip(space, row, strict=True)) for n, row in zip(data.firsts.index, fields, strict=True)}
    without = {n: effective(space, base, values)[1] for n, values in drawn.items()}
    axes = []
    for key, what in space.items():
        idle = frozenset(n for n in without if key in without[n])
        if isinstance(what, Range):
            axes.append(Axis(key, what.low, what.high, what.log, idle=idle, integer=what.integer))
        else:
            axes.append(Axis(key, choices=what.values, idle=idle))
    for o in spec.objectives:
        tried = replace(data, objective=o).tried["value"].sort_index()
        points = [(drawn[n], value) for n, value in tried.items()]
        shares[o.name] = importance(space, o.direction, points, base)
    return axes, shares
