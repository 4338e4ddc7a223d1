"""The records of the paper's sweeps that are kept with the project: two small files a sweep, without its store.

    >>> save("figure-1", Store.at("paper-store/figure-1"), Path("docs/records"))
    >>> load("figure-1", Path("docs/records")).verdict.claims[0].answer
    'confirmed'

NAME.parquet is the tidy table of `tracking.load`, with a row per member and epoch. What claims and objectives are
judged on, a metric at the epochs that they are about, is float64 to the bit: the verdict on the claims is that of the
store. All else is rounded to MANTISSA bits, which is four digits, one more than any page shows. What EVERY_EPOCH names
is there at each epoch; other metrics are at some epochs, see `_some`; of single layers there is only what LAYERS names,
at EPOCHS. The first and the last epoch are always among them, and where a member diverged the last one before.

NAME.json has the rest: the spec as it was run, the outcomes, the conditions, and what is the same in all rows. Neither
file names a folder of the machine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from docs.build.pages import finished
from search_spaces.space import Range
from sweeps.driver.sweep import verdict_of
from sweeps.spec.reading import SweepSpec, parse
from sweeps.spec.yaml_lines import dump
from sweeps.spec.yaml_lines import load as load_yaml
from tracking.figures.data import Axis, FigureData
from tracking.ledger import opened
from tracking.results import Outcome, load_wide, outcomes
from tracking.store import Store
from tracking.tidy import KEYS, LAYER, MEMBER
from tracking.verdict.gradients import LOSSES
from tracking.verdict.types import Verdict
from tracking.verdict.verdict import judge
from trainers.errors import RequestError
from trainers.files import replaced

FORMAT = 1
FOLDER = Path(__file__).parents[2] / "records"
MANTISSA = 12
EVERY_EPOCH = re.compile(r"\w+\.accuracy|gradient\.(data|total)\.mean_abs")  # what the figures have
EPOCHS = (0, 1, 2, 5, 10, 20)
LAYERS = ("gradient.data.rms", "saturated", "dead", "weight_norm", "saddle.product", "saddle.linear")
LEFT_OUT = re.compile(r"seconds|gradient\.\w+\.q\d\d")  # of a network's metrics, where no claim is about them
DATA, TOTAL = "gradient.data.", "gradient.total."
KEY = ["configuration", "seed", "epoch"]


@dataclass(frozen=True)
class Conditions:
    """Under what a sweep was run: digests of its data by name, versions by package, minutes with any pauses."""

    study: str
    digests: Mapping[str, str]
    versions: Mapping[str, str]
    commit: str | None
    minutes: float | None


@dataclass(frozen=True)
class Record:
    """One finished sweep as it is kept: its tidy table, wide as `load_wide` has it, and all that a page says of it.

    `later` are the names of claims stated after results were available; `seeds_added` is whether seeds were then.
    """

    name: str
    spec: SweepSpec
    frame: pd.DataFrame
    outcomes: Mapping[int, Outcome]
    conditions: Conditions
    later: tuple[str, ...]
    seeds_added: bool

    @cached_property
    def verdict(self) -> Verdict:
        """The verdict, judged anew."""
        return judge(
            self.frame,
            self.outcomes,
            self.spec.objectives,
            self.spec.judged_claims(),
            claim=self.spec.claim,
            sweep=self.name,
            confirming=self.spec.confirm is not None,
            later=self.later,
            seeds_added=self.seeds_added,
        )

    @cached_property
    def data(self) -> FigureData:
        """The same as figures see it."""
        space = self.spec.search.space if self.spec.search else {}
        axes = [
            Axis(key, what.low, what.high, what.log, integer=what.integer)
            if isinstance(what, Range)
            else Axis(key, choices=what.values)
            for key, what in space.items()
        ]
        return FigureData(self.frame, self.outcomes, self.spec.objectives[0], axes, objectives=self.spec.objectives)


def save(name: str, store: Store, folder: Path = FOLDER, study: str = "") -> tuple[Path, Path]:
    """Write both files of a finished sweep, the spec's last; their paths. Raises RequestError where it has not ended.

    `study` is the shipped study that it is a run of, if its name is another.
    """
    if not finished(name, store):
        raise RequestError(f"the sweep {name} is not finished in {store.where}")
    with opened(name, store) as (_, sweep):
        pass
    spec = parse(sweep.spec, name, begun=True)
    verdict = verdict_of(spec, store)
    written = load_yaml(sweep.spec)[0]
    named = _folders(written)
    frame = load_wide(name, store).replace(named)
    columns, same, copied = _columns(frame, spec)
    about = {
        "format": FORMAT,
        "name": name,
        "study": study or name,
        "commit": sweep.commit,
        "minutes": None if sweep.ended is None else round((sweep.ended - sweep.begun) / 60_000, 1),
        "versions": dict(sweep.versions),
        "digests": {named.get(data, data): digest for data, digest in sweep.digests.items()},
        "later": [claim.name for claim in verdict.claims if claim.stated_later],
        "seeds_added": any(claim.seeds_added for claim in verdict.claims),
        "outcomes": [asdict(outcome) for outcome in outcomes(name, store).values()],
        "spec": _renamed(written, named),
        "same": same,
        "as_data": copied,
    }
    folder.mkdir(parents=True, exist_ok=True)
    table, rest = _files(name, folder)
    # Smooth columns of few values as a dictionary, noise with its bytes apart: so zstd finds what there is to find.
    noise = [c for c in columns if columns[c].dtype.kind == "f" and columns[c].nunique() > len(columns) / 8]
    arrow = pa.Table.from_pandas(columns, preserve_index=False).replace_schema_metadata(None)
    with replaced(table) as new:
        pq.write_table(
            arrow,
            new,
            compression="zstd",
            compression_level=19,
            use_dictionary=[c for c in columns if c not in noise],
            column_encoding=dict.fromkeys(noise, "BYTE_STREAM_SPLIT"),
            write_statistics=False,
        )
    with replaced(rest) as new:
        new.write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n")
    return table, rest


def load(name: str, folder: Path = FOLDER) -> Record:
    """The record of a sweep. Raises RequestError where there is none, or where it is of another format."""
    table, rest = _files(name, folder)
    if not (table.is_file() and rest.is_file()):
        raise RequestError(f"there is no record of the sweep {name} in {folder}")
    about = json.loads(rest.read_text())
    if about["format"] != FORMAT:
        raise RequestError(f"{rest}: a record of format {FORMAT} is wanted, but this is of {about['format']}")
    frame = pq.read_table(table).to_pandas()
    for column in about["as_data"]:
        frame[column] = frame[column].fillna(frame[column.replace(TOTAL, DATA)])
    metrics = {c: frame[c].astype(np.float64) for c in frame if frame[c].dtype.kind == "f"}
    same = {c: np.nan if value is None else value for c, value in about["same"].items()}
    rest_of = {c: frame[c] for c in frame if c not in metrics}
    every: dict[str, Any] = {**same, **rest_of, **metrics}
    order = [*(c for c in (*KEYS, *MEMBER) if c in every), *(c for c in every if c not in (*KEYS, *MEMBER))]
    return Record(
        name,
        parse(dump(about["spec"]), name, begun=True),
        pd.DataFrame({c: every[c] for c in order}, index=frame.index),
        {each["number"]: Outcome(**each) for each in about["outcomes"]},
        Conditions(*(about[key] for key in ("study", "digests", "versions", "commit", "minutes"))),
        tuple(about["later"]),
        about["seeds_added"],
    )


def recorded(name: str, folder: Path = FOLDER) -> bool:
    """Whether there is a record of a sweep."""
    return all(file.is_file() for file in _files(name, folder))


def minutes(name: str, folder: Path = FOLDER) -> float | None:
    """How long a recorded sweep took, without its table."""
    measured: float | None = json.loads(_files(name, folder)[1].read_text())["minutes"]
    return measured


def _files(name: str, folder: Path) -> tuple[Path, Path]:
    return folder / f"{name}.parquet", folder / f"{name}.json"


def _columns(frame: pd.DataFrame, spec: SweepSpec) -> tuple[pd.DataFrame, dict[str, Any], list[str]]:
    """(what the table has, what is the same in all rows, which metrics of the total gradient are those of the data's
    where they are missing)."""
    fields = [c for c in (*KEYS, *MEMBER) if c in frame]
    same = {c: _plain(frame[c].iloc[0]) for c in fields if c not in KEY and frame[c].nunique(dropna=False) == 1}
    columns = {c: frame[c] for c in fields if c not in same}
    exact, copied = _judged(frame, spec), []
    ends = [_last(frame), _last(frame[~_broken(frame)])]
    at_end = pd.concat([frame["epoch"] == frame["configuration"].map(last) for last in ends], axis=1).any(axis=1)
    for c in map(str, frame):
        of_layer = c.startswith(LAYER)
        if c in fields or c not in exact and (c.split(".", 2)[2] not in LAYERS if of_layer else LEFT_OUT.fullmatch(c)):
            continue
        values = _rounded(frame[c])
        if not EVERY_EPOCH.fullmatch(c):
            values = values.where(at_end | (frame["epoch"].isin(EPOCHS) if of_layer else _some(frame["epoch"])))
        if c in exact:
            values = values.astype(np.float64).where(~exact[c], frame[c])
        elif (data := frame.get(c.replace(TOTAL, DATA))) is not None and c.startswith(TOTAL):
            # Without a penalty the two are one: it is not kept twice.
            if not (frame[c].isna() & data.notna()).any() and c.replace(TOTAL, DATA) not in exact:
                copied.append(c)
                values = values.where(frame[c] != data)
        columns[c] = values
    return pd.DataFrame(columns), same, copied


def _judged(frame: pd.DataFrame, spec: SweepSpec) -> dict[str, pd.Series[bool]]:
    """Metric -> the rows on which a claim or an objective may be judged."""
    rows: dict[str, pd.Series[bool]] = {o.metric: frame["epoch"] >= 0 for o in spec.objectives}
    for claim in spec.judged_claims():
        first, last = claim.since or 0, np.inf if claim.until is None else claim.until
        rows[claim.metric] = rows.get(claim.metric, frame["epoch"] < 0) | frame["epoch"].between(first, last)
    return rows


def _some(epochs: pd.Series[int]) -> pd.Series[bool]:
    """The first ten, every fifth up to 40, and every twentieth."""
    return (epochs <= 10) | (epochs <= 40) & (epochs % 5 == 0) | (epochs % 20 == 0)


def _broken(frame: pd.DataFrame) -> pd.Series[bool]:
    """The records of epochs at which a seed of the configuration is no longer finite, of which no page has a mean."""
    finite = pd.Series(np.isfinite(frame.filter(items=LOSSES).to_numpy()).all(axis=1), index=frame.index)
    return ~finite.groupby([frame["configuration"], frame["epoch"]]).transform("all")


def _last(frame: pd.DataFrame) -> dict[Any, int]:
    return {number: int(rows.max()) for number, rows in frame.groupby("configuration")["epoch"]}


def _rounded(values: pd.Series[float]) -> pd.Series[float]:
    """As float32 with MANTISSA bits after the first; what is no number as it is."""
    with np.errstate(over="ignore"):
        short = values.to_numpy().astype(np.float32)
    dropped = 23 - MANTISSA
    bits = short.view(np.uint32)
    near = ((bits + np.uint32(1 << (dropped - 1))) & np.uint32(0xFFFFFFFF << dropped & 0xFFFFFFFF)).view(np.float32)
    return pd.Series(np.where(np.isfinite(short), near, short), index=values.index)


def _plain(value: Any) -> Any:
    """As JSON has it: None for NaN."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if value != value else value


def _folders(written: Any) -> dict[str, str]:
    """What the folders of images in a spec are called in a record, by what they are there."""
    found = dict.fromkeys(text for text in _texts(written) if text.startswith("folder:"))
    return {text: "folder:images" if i == 0 else f"folder:images-{i + 1}" for i, text in enumerate(found)}


def _texts(data: Any) -> list[str]:
    if isinstance(data, str):
        return [data]
    parts = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    return [text for part in parts for text in _texts(part)]


def _renamed(data: Any, names: Mapping[str, str]) -> Any:
    if isinstance(data, dict):
        return {key: _renamed(value, names) for key, value in data.items()}
    if isinstance(data, list):
        return [_renamed(value, names) for value in data]
    return names.get(data, data) if isinstance(data, str) else data
