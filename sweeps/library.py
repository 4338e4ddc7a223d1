"""The service in Python, in a script, a notebook or a thread: what `sweeps` exports.

    >>> result = sweeps.run({"name": "x", "arms": {"plain": {}, "paper": {"alpha": 2.0, "r": 0.01}}}, set=["seeds=3"])
    >>> result.frame.groupby("arm")["validation.accuracy"].mean()

Errors are those of `trainers.errors`. Ctrl-C leaves a sweep that `run(..., resume=True)` continues.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sweeps.driver.signals import Interrupt, Interrupted
from sweeps.store_file import open_store
from tracking.store import Store

if TYPE_CHECKING:
    import pandas as pd

    from sweeps.spec.reading import SweepSpec
    from tracking.figures.album import Drawing
    from tracking.verdict.compare import SweepComparison
    from tracking.verdict.types import Summary, Verdict

log = logging.getLogger("gradsweep")
Source = str | Path | Mapping[str, Any]


class Result:
    """What a sweep has found so far; each part is read from the store when it is asked for first."""

    def __init__(self, name: str, store: Store) -> None:
        self.name, self.store = name, store

    @cached_property
    def spec(self) -> SweepSpec:
        """The spec that the sweep was begun with."""
        from sweeps.driver.status import stored_spec

        return stored_spec(self.name, self.store)

    @cached_property
    def verdict(self) -> Verdict:
        """The claims and their answers."""
        from sweeps.driver.sweep import verdict_of

        return verdict_of(self.spec, self.store)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row per member and epoch."""
        import tracking

        return tracking.load(self.name, self.store)

    @cached_property
    def layers(self) -> pd.DataFrame:
        """One row per member, epoch and layer."""
        import tracking

        return tracking.load_layers(self.name, self.store)

    @cached_property
    def best(self) -> Summary | None:
        """The best configuration by the first objective, on fresh seeds where it was confirmed; or None."""
        return self.verdict.objectives[0].best

    @cached_property
    def figures(self) -> dict[str, Drawing]:
        """The figures of the report by name, each with its title, caption and SVG."""
        from sweeps.report_page import draw_figures

        return dict(draw_figures(self.spec, self.store).pictures)

    @property
    def failures(self) -> dict[str, int]:
        """Why configurations failed, and how many."""
        return dict(status(self.name, self.store)["failures"])

    def __repr__(self) -> str:
        return f"Result({self.name!r}, {str(self.store.where)!r})"

    def _repr_markdown_(self) -> str:
        return self.verdict.markdown


def run(
    spec: Source,
    *,
    store: str | Path | Store | None = None,
    executor: Literal["ray", "in-process"] = "ray",
    resume: bool = False,
    set: Sequence[str] = (),
    name: str | None = None,
) -> Result:
    """Run a sweep here and wait: a spec as plain data, a YAML file or a shipped study's name, `set` as --set.

    Raises RequestError where the request was wrong; KeyboardInterrupt after Ctrl-C, in a state that can be resumed, as
    is a sweep whose time (`resources.within`) was up.
    """
    from sweeps.spec.reading import read

    return _run(read(spec, set, name), _store(store), executor, resume)


def extend(
    name: str,
    *,
    configurations: int | None = None,
    seeds: int | Sequence[int] | None = None,
    epochs: int | None = None,
    arms: Mapping[str, Mapping[str, Any]] = {},
    spec: Source | None = None,
    store: str | Path | Store | None = None,
    executor: Literal["ray", "in-process"] = "ray",
) -> Result:
    """Train more of a sweep that is there: numbers are those in all, `spec` is a whole one with more of anything.

    Raises RequestError where something would be less or another; as `run`.
    """
    place = _store(store)
    given: dict[str, Any] = {"search.configurations": configurations, "seeds": seeds, "base.epochs": epochs}
    given |= {f"arms.{arm}": fields for arm, fields in arms.items()}
    settings = [f"{key}={json.dumps(value)}" for key, value in given.items() if value is not None]
    return _run(extended_spec(name, place, settings, spec), place, executor, resume=True)


def extended_spec(name: str, store: Store, settings: Sequence[str], spec: Source | None = None) -> SweepSpec:
    """The spec of a sweep that is there, or another one for it, with `key=value` settings over it."""
    from sweeps.driver.status import stored_text
    from sweeps.spec.reading import parse, read

    text = stored_text(name, store)
    return read(spec, settings, name) if spec is not None else parse(text, name, settings)


def _run(spec: SweepSpec, store: Store, executor: str, resume: bool) -> Result:
    from sweeps.display import display
    from sweeps.driver.sweep import run as run_sweep

    again = f"Interrupted. To continue: sweeps.run(..., resume=True) for {spec.name!r}"
    try:
        with Interrupt(farewell=None) as interrupt:
            outcome = run_sweep(spec, store, interrupt, executor=executor, resume=resume, show=display)
    except Interrupted:
        raise KeyboardInterrupt(again) from None
    if outcome.interrupted is not None:
        raise KeyboardInterrupt(again)
    if outcome.time_is_up:
        log.warning("%s To continue: sweeps.run(..., resume=True)", outcome.time_is_up)
    return Result(spec.name, store)


def submit(
    spec: Source,
    to: str | None = None,
    *,
    store: str | Path | Store | None = None,
    resume: bool = False,
    set: Sequence[str] = (),
    name: str | None = None,
    pool: Path | None = None,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Run a sweep in the background, here or at a cluster's address: its name, and where to look.

    `pool` is the file of a Kubernetes pool; with `dry_run` nothing is sent there, but is the answer's `manifest`.
    """
    from sweeps.driver.sweep import with_absolute_paths
    from sweeps.spec.reading import read
    from sweeps.targets.target import target_at

    checked = with_absolute_paths(read(spec, set, name))
    return asdict(target_at(to, _option(store), pool).submit(checked.name, checked.to_yaml(), resume, dry_run))


def status(name: str, store: str | Path | Store | None = None, to: str | None = None) -> dict[str, Any]:
    """How far a sweep is, and whether it is running: what `gradsweep status --json` prints."""
    from sweeps.commands.places import document
    from sweeps.targets.target import target_at

    return document(target_at(to, _option(store)).status(name), to)


def delete(name: str, store: str | Path | Store | None = None, to: str | None = None) -> dict[str, Any]:
    """Delete a sweep with its records, its copies in MLflow and Optuna and its files: what `delete --json` prints."""
    from sweeps.targets.target import target_at

    return asdict(target_at(to, _option(store)).delete(name))


def report(name: str, store: str | Path | Store | None = None) -> Result:
    """What a sweep that is in the store has found so far. Raises SearchError where there is none."""
    result = Result(name, _store(store))
    _ = result.spec
    return result


def compare(
    first: str | Result, second: str | Result, store: str | Path | Store | None = None, metric: str | None = None
) -> SweepComparison:
    """Two sweeps held against each other, arm by arm and seed by seed: what `gradsweep compare --json` prints.

    By the first one's first objective, or the last epoch's `metric`. A sweep of another store is given as its `report`.
    Raises SearchError where there is no such sweep, RequestError for a metric that is not recorded.
    """
    from sweeps.comparison import compare_sweeps

    one, two = (report(name, store) if isinstance(name, str) else name for name in (first, second))
    return compare_sweeps((one.spec, one.store), (two.spec, two.store), metric)


def weights(
    name: str,
    folder: str | Path | None = None,
    *,
    configuration: str | int | None = None,
    seed: int | None = None,
    store: str | Path | Store | None = None,
) -> list[dict[str, Any]]:
    """Write the trained weights that a sweep has kept as PyTorch files, and say of each whose it is.

    All of them, or those of one configuration (a number, or an arm's name) and seed. Raises RequestError where nothing
    was kept.
    """
    from sweeps.weight_files import write_weights

    chosen = None if configuration is None else str(configuration)
    return write_weights(name, _store(store), Path(folder or f"{name}-weights"), chosen, seed)


def _store(store: str | Path | Store | None) -> Store:
    return store if isinstance(store, Store) else open_store(store)


def _option(store: str | Path | Store | None) -> str | None:
    return None if store is None else str(store.where if isinstance(store, Store) else store)
