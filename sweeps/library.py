"""The service in Python: `sweeps.run`, `submit`, `status` and `report`, in a script, a notebook or a thread.

    >>> result = sweeps.run({"name": "x", "arms": {"plain": {}, "paper": {"alpha": 2.0, "r": 0.01}}}, set=["seeds=3"])
    >>> result.frame.groupby("arm")["validation.accuracy"].mean()

Errors are those of `trainers.errors`. Ctrl-C leaves a sweep that `run(..., resume=True)` continues.
"""

from __future__ import annotations

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
    from tracking.verdict.types import Summary, Verdict

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
        """The configuration that is first by the first objective, on fresh seeds where it was confirmed; or None."""
        objective = self.verdict.objectives[0]
        return next((s for s in objective.confirmed or objective.ranking if s.rank == 1), None)

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

    Raises RequestError where the request was wrong; KeyboardInterrupt after Ctrl-C, in a state that can be resumed.
    """
    from sweeps.display import display
    from sweeps.driver.sweep import run as run_sweep
    from sweeps.spec.reading import read

    checked, place = read(spec, set, name), _store(store)
    again = f"Interrupted. To continue: sweeps.run(..., resume=True) for {checked.name!r}"
    try:
        with Interrupt(farewell=None) as interrupt:
            outcome = run_sweep(checked, place, interrupt, executor=executor, resume=resume, show=display)
    except Interrupted:
        raise KeyboardInterrupt(again) from None
    if outcome.interrupted is not None:
        raise KeyboardInterrupt(again)
    return Result(checked.name, place)


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


def report(name: str, store: str | Path | Store | None = None) -> Result:
    """What a sweep that is in the store has found so far. Raises SearchError where there is none."""
    result = Result(name, _store(store))
    _ = result.spec
    return result


def _store(store: str | Path | Store | None) -> Store:
    return store if isinstance(store, Store) else open_store(store)


def _option(store: str | Path | Store | None) -> str | None:
    return None if store is None else str(store.where if isinstance(store, Store) else store)
