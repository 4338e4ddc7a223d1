"""A sweep's report as one HTML file that asks nothing of anybody: no script, no request, images and style within.

    >>> text = page(verdict, question, found_album, tables, conditions_table)

The verdict comes first, then what it rests on. Whatever a user has written is escaped by jinja2; the page's own
Content-Security-Policy forbids the browser to load anything.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tracking.figures.album import Album, Picture
from tracking.report.tables import Table, claims_table
from tracking.verdict import words as wording

if TYPE_CHECKING:
    from tracking.verdict.verdict import Verdict

_HERE = Path(__file__).parent
_PROLOGUE = re.compile(r"^.*?(?=<svg)", re.DOTALL)
_BOX = re.compile(r'viewBox="0 0 ([\d.]+) ([\d.]+)"')


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

    `tables` are the results below the figures; `spec` is YAML; `status` is that of the ledger's sweep.
    """
    now = datetime.now(UTC)
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    fresh = sorted({seed for o in verdict.objectives for s in o.confirmed for seed in s.seeds})
    return environment.get_template("page.html").render(
        name=verdict.sweep,
        question=question,
        style=Markup((_HERE / "page.css").read_text(encoding="utf-8")),
        notes=_notes(verdict, status, now),
        summary=f"{wording.standing(verdict.states, verdict.total)}.",
        lead=wording.summary(verdict.claims),
        basis=wording.basis(fresh),
        gradients=wording.gradients(fresh),
        fresh=fresh,
        claims=verdict.claims,
        claims_table=claims_table(verdict),
        text=verdict.text,
        causes=verdict.causes,
        pictures=[asdict(picture) | _image(picture) for picture in album.pictures],
        left_out=album.left_out,
        tables=tables,
        conditions=conditions,
        spec=spec,
        made=f"Made by gradsweep{' ' + version if version else ''} on {now:%Y-%m-%d at %H:%M} UTC.",
    )


def _notes(verdict: Verdict, status: str, now: datetime) -> list[str]:
    found = []
    if status in ("running", "killed"):
        how = "is running" if status == "running" else "was interrupted before its end"
        found.append(f"This sweep {how}: what follows is what there was on {now:%Y-%m-%d at %H:%M} UTC.")
    lost = [f"{count} {state}" for state in ("diverged", "failed") if (count := verdict.states.get(state))]
    if lost:
        found.append(f"Of the configurations {' and '.join(lost)}: they have no rank, and their lines end early.")
    return found


def _image(picture: Picture) -> dict[str, object]:
    """Its data URI, and its size in CSS pixels so that the page does not jump while it is read."""
    drawn = _PROLOGUE.sub("", picture.svg)
    box = _BOX.search(drawn)
    width, height = (math.ceil(float(points) * 96 / 72) for points in box.groups()) if box else (1, 1)
    encoded = base64.b64encode(drawn.encode()).decode("ascii")
    return {"source": f"data:image/svg+xml;base64,{encoded}", "width": width, "height": height}
