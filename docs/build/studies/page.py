"""A study's page: its question, what came out in sentences, figures and tables, its claims, and its conditions.

What came out is told by the module of the study's name beside this one. It has `SMALL`, the settings with which the
study takes seconds, and `parts`, which makes sections and figures of the records. Every number on the page is from the
records or from `trainers.theory`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib import rc_context

from docs.build.pages import answer, finished, minutes, note, seeds, table, versions
from sweeps.driver.status import stored_spec
from sweeps.driver.sweep import verdict_of
from sweeps.spec.reading import SweepSpec, studies
from tracking.figures.album import Drawing
from tracking.figures.style import RC, write
from tracking.ledger import opened
from tracking.results import load, load_layers
from tracking.store import Store
from tracking.tidy import MEMBER
from tracking.types import Sweep
from tracking.verdict.tables import Section, markdown
from tracking.verdict.types import Verdict
from trainers.errors import RequestError

STUDIES = ("edge-of-chaos", "born-dead", "isometry", "alpha-depth", "recurrent")
Frame = Any  # a table with several keys for a row or a column, of which the stubs of pandas know too little
NOTES = Path(__file__).parents[2] / "notes"


@dataclass(frozen=True)
class Records:
    """What was recorded of a study, without the confirming stage: `seeds` of every configuration."""

    name: str
    store: Store

    @cached_property
    def members(self) -> pd.DataFrame:
        """As `tracking.load`."""
        return _searched(load(self.name, self.store))

    @cached_property
    def layers(self) -> pd.DataFrame:
        """As `tracking.load_layers`, with the fields of the members."""
        rows, keys = _searched(load_layers(self.name, self.store)), ["configuration", "seed", "epoch"]
        fields = self.members[[*keys, *(name for name in MEMBER if name not in rows)]]
        return rows.merge(fields, on=keys)


def small(study: str) -> tuple[str, ...]:
    """The settings with which a study takes seconds."""
    settings: tuple[str, ...] = _module(study).SMALL
    return settings


def write_page(study: str, folder: Path, out: Path) -> Path:
    """Write NAME.md and its figures about the study that is finished in the store `folder`; the page's path.

    Raises RequestError where it is not.
    """
    store = Store.at(folder)
    if not finished(study, store):
        raise RequestError(f"{folder}: the study {study} is not finished there")
    out.mkdir(parents=True, exist_ok=True)
    spec = stored_spec(study, store)
    with opened(study, store) as (_, sweep):
        verdict = verdict_of(spec, store)
    parts = [
        f"# {study}",
        spec.question or "",
        _about(study),
        note(NOTES, study),
        *_told(study, Records(study, store), out),
        *_claims(verdict),
        _conditions(spec, sweep),
        f"Written by `make studies` from the records of the sweep, which is "
        f"[{study}.yaml](../../sweeps/studies/{study}.yaml).",
    ]
    page = out / f"{study}.md"
    page.write_text("\n\n".join(part for part in parts if part) + "\n")
    return page


def _about(study: str) -> str:
    """The comment with which the study's file begins."""
    lines = studies()[study].splitlines()
    return "\n".join(line.removeprefix("#").strip() for line in lines[: lines.index(f"name: {study}")])


def _told(study: str, records: Records, out: Path) -> Iterator[str]:
    with rc_context(rc=RC):
        figures = 0
        for part in _module(study).parts(records):
            if isinstance(part, Drawing):
                figures += 1
                file = out / (f"{study}.svg" if figures == 1 else f"{study}-{figures}.svg")
                write(part.figure, file)
                yield f"![{part.alt}]({file.name})"
                yield part.caption
            else:
                yield f"## {part.title}" if part.title else ""
                marks = "- " * (len(part.sentences) > 1)
                yield markdown([Section("", tuple(f"{marks}{sentence}" for sentence in part.sentences), part.tables)])


def _claims(verdict: Verdict) -> Iterator[str]:
    yield "## The claims"
    yield table(("claim", "answer"), [(claim.question, answer(claim)) for claim in verdict.claims])
    if verdict.fresh_seeds:
        yield f"Judged on {len(verdict.fresh_seeds)} seeds that nothing else on this page is from."
    for claim in verdict.claims:
        yield f"> {claim.says}\n\n{claim.sentence}"


def _conditions(spec: SweepSpec, sweep: Sweep) -> str:
    base = ", ".join(f"{name} {_value(value)}" for name, value in spec.base.items() if value is not None)
    rows = [
        ("configurations", str(spec.search_plan().total)),
        ("seeds of each", seeds(spec.seeds)),
        *([("fresh seeds, of the arms", seeds(spec.fresh_seeds))] if spec.confirm else []),
        ("shared by all", base),
        ("data", ", ".join(f"{data}, sha256 {digest}" for data, digest in sweep.digests.items())),
        ("minutes", minutes(sweep)),
        ("commit", (sweep.commit or "")[:12]),
        ("versions", versions(sweep)),
    ]
    return "## The conditions\n\n" + table(("what", ""), rows)


def _value(value: object) -> str:
    return " and ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _searched(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["phase"] == "search"].reset_index(drop=True)


def _module(study: str) -> Any:
    return importlib.import_module(f"{__package__}.{study.replace('-', '_')}")
