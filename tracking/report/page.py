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

from tracking.figures.album import Album, Drawing
from tracking.verdict.sections import rankings, sections
from tracking.verdict.tables import Table
from tracking.verdict.types import Verdict

_HERE = Path(__file__).parent
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
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"code": _with_code, "source": _source}
    return environment.get_template("page.html").render(
        verdict=verdict,
        question=question,
        style=Markup((_HERE / "page.css").read_text(encoding="utf-8")),
        lost=[f"{amount} {state}" for state in ("diverged", "failed") if (amount := verdict.states.get(state))],
        sections=sections(verdict),
        album=album,
        rankings=list(rankings(verdict)),
        tables=list(tables),
        conditions=conditions,
        spec=spec,
        status=status,
        version=version,
        now=f"{datetime.now(UTC):%Y-%m-%d at %H:%M} UTC",
    )


def _with_code(text: str) -> Markup:
    """Text with names between backticks set as code; the rest is escaped."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))


def _source(picture: Drawing) -> Markup:
    """Its data URI, and its size in CSS pixels so that the page does not jump while it is read."""
    width, height = (math.ceil(round(float(inches) * 96, 6)) for inches in picture.figure.get_size_inches())
    drawn = base64.b64encode(picture.svg.encode()).decode("ascii")
    return Markup(f'src="data:image/svg+xml;base64,{drawn}" width="{width}" height="{height}"')
