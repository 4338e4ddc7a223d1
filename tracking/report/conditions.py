"""What a sweep's numbers hold for: data, seeds, epochs, engine, versions, commit."""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd

from tracking.report.tables import Column, Table
from tracking.tidy import MEMBER
from tracking.types import Sweep

MOST = 6  # so many values of a field are named, of more the first and the last
_ASIDE = ("alpha", "r")  # what is compared; the rest are the conditions


def conditions(frame: pd.DataFrame, sweep: Sweep) -> Table:
    """What the numbers hold for, a row each."""
    rows: list[tuple[str, str]] = []
    if len(frame):
        seeds = sorted(frame["seed"].unique().tolist())
        rows.append(("seeds", f"{len(seeds)}: {_several([str(s) for s in seeds])}"))
        rows.append(("epochs recorded", f"0 to {int(frame['epoch'].max())}"))
        for name in (m for m in MEMBER if m in frame and m not in _ASIDE):
            values = [f"{v:g}" if isinstance(v, float) else str(v) for v in frame[name].drop_duplicates().tolist()]
            rows.append((name.replace("_", " "), _several(values)))
    rows += [(f"sha256 of {data}", digest) for data, digest in sweep.digests.items()]
    for what, at in (("begun", sweep.begun), ("ended", sweep.ended)):
        if at is not None:
            rows.append((what, f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d %H:%M} UTC"))
    if sweep.commit:
        rows.append(("git commit", sweep.commit))
    rows += [(package, version) for package, version in sweep.versions.items()]
    return Table("What the numbers hold for", (Column("condition"), Column("value", "words")), tuple(rows))


def _several(values: list[str]) -> str:
    return ", ".join(values) if len(values) <= MOST else f"{values[0]}, {values[1]}, … {values[-1]}"
