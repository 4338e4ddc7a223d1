"""A sweep's report as one HTML file that asks nothing of anybody: no script, no request, images and style within.

    >>> text = page(verdict, draw(frame, outcomes), tables, conditions(frame, sweep))

The verdict comes first, then what it rests on. Whatever a user has written is escaped by jinja2; the page's own
Content-Security-Policy forbids the browser to load anything.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from tracking.figures.album import Album, Picture
from tracking.verdict.sections import rankings, sections
from tracking.verdict.tables import Table
from tracking.verdict.types import Verdict

_HERE = Path(__file__).parent
_PROLOGUE = re.compile(r"^.*?(?=<svg)", re.DOTALL)
_BOX = re.compile(r'viewBox="0 0 ([\d.]+) ([\d.]+)"')
_CODE = re.compile(r"`([^`]+)`")


def page(
    verdict: Verdict,
    album: Album,
    tables: Sequence[Table],
    conditions: Table,
    *,
    question: str = "",
    spec: str = "",
    status: str = "finished",
    version: str = "",
) -> str:
    """The whole file as text.

    `tables` are results below the figures and the rankings; `spec` is YAML; `status` is that of the ledger's sweep.
    """
    now = datetime.now(UTC)
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["code"] = _with_code
    return environment.get_template("page.html").render(
        name=verdict.sweep,
        question=question,
        style=Markup((_HERE / "page.css").read_text(encoding="utf-8")),
        notes=_notes(verdict, status, now),
        sections=sections(verdict),
        fresh=verdict.fresh_seeds,
        pictures=[(picture, *_image(picture)) for picture in album.pictures],
        left_out=album.left_out,
        tables=[*rankings(verdict), *tables],
        conditions=conditions,
        spec=spec,
        made=f"Made by gradsweep{' ' + version if version else ''} on {now:%Y-%m-%d at %H:%M} UTC.",
    )


def _notes(verdict: Verdict, status: str, now: datetime) -> list[str]:
    notes = []
    if status in ("running", "killed"):
        how = "is running" if status == "running" else "was interrupted"
        notes.append(f"This sweep {how}: the report shows its state on {now:%Y-%m-%d at %H:%M} UTC.")
    lost = [f"{amount} {state}" for state in ("diverged", "failed") if (amount := verdict.states.get(state))]
    if lost:
        notes.append(f"Of the configurations, {' and '.join(lost)}. They have no rank, and their lines end early.")
    return notes


def _with_code(text: str) -> Markup:
    """Text with names between backticks set as code; the rest is escaped."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))


def _image(picture: Picture) -> tuple[str, int, int]:
    """Its data URI, and its size in CSS pixels so that the page does not jump while it is read."""
    drawn = _PROLOGUE.sub("", picture.svg)
    box = _BOX.search(drawn)
    width, height = (math.ceil(float(points) * 96 / 72) for points in box.groups()) if box else (1, 1)
    return f"data:image/svg+xml;base64,{base64.b64encode(drawn.encode()).decode('ascii')}", width, height
