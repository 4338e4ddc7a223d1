"""The kept states of a sweep as PyTorch files, one per configuration and seed, with what was recorded of each.

>>> write_weights("alpha-r", store, Path("alpha-r-weights"), "paper", seed=0)
[{"file": "alpha-r-weights/1-paper-seed0.pt", "configuration": 1, "arm": "paper", "seed": 0, "epoch": 30, ...}]
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps.driver.kept import Kept
from sweeps.driver.packs import other_data
from tracking.ledger import opened
from tracking.store import Store
from tracking.types import Configuration, Sweep
from trainers import plugins
from trainers.errors import DataError, FailedError, RequestError, one_line
from trainers.files import replaced
from trainers.states import MemberState, States

if TYPE_CHECKING:
    from trainers.data.dataset import Dataset

ACCURACIES = ("validation.accuracy", "test.accuracy")


def write_weights(
    name: str, store: Store, folder: Path, configuration: str | None = None, seed: int | None = None
) -> list[dict[str, Any]]:
    """Write a file per member, of one configuration (its number, or an arm) and seed where they are given.

    What was written: the file, whose it is, and its accuracies. Raises RequestError where nothing was kept, SearchError
    for no such sweep, FailedError for a file of states that can't be read.
    """
    kept, written = Kept.of(name, store), []
    with opened(name, store) as (ledger, sweep):
        try:
            numbers = kept.numbers()
        except OSError as error:
            raise FailedError(f"what is kept in {kept.place} can't be listed: {one_line(error)}") from None
        chosen = _chosen(ledger.configurations(sweep), numbers, sweep, configuration)
        if seed is not None and not any(seed in c.seeds for c in chosen):
            seeds = ", ".join(map(str, dict.fromkeys(s for c in chosen for s in c.seeds)))
            raise RequestError(f"sweep {name!r}: no weights of the seed {seed} are kept, but of {seeds}")
        for c in chosen:
            epochs = {epoch.epoch: epoch for _, epoch in ledger.epochs(sweep, [c.number])}
            for state in _load(kept, c, sweep):
                if seed not in (None, state.member.seed):
                    continue
                recorded = epochs[state.epoch]
                row = recorded.values[c.seeds.index(state.member.seed)].tolist()
                accuracy = {metric: row[recorded.names.index(metric)] for metric in ACCURACIES}
                of = {"sweep": name, "configuration": c.number, "arm": c.arm, "accuracy": accuracy}
                arm = f"-{c.arm}" if c.arm else ""
                file = folder / f"{c.number}{arm}-seed{state.member.seed}.pt"
                _write(state, file, of, _dataset(state, sweep))
                about = {"file": str(file), "configuration": c.number, "arm": c.arm, "seed": state.member.seed}
                written.append({**about, "epoch": state.epoch, **accuracy})
    return written


def _chosen(
    configurations: list[Configuration], kept: set[int], sweep: Sweep, configuration: str | None
) -> list[Configuration]:
    """The configurations that were asked for and are kept; a confirmed arm has two. Raises RequestError."""
    who = f"sweep {sweep.name!r}"
    asked = [c for c in configurations if configuration in (None, c.arm, str(c.number))]
    if not asked:
        arms = ", ".join(dict.fromkeys(c.arm for c in configurations if c.arm)) or "none"
        numbers = f"0 to {len(configurations) - 1}" if configurations else "none yet"
        raise RequestError(f"{who} has no configuration {configuration!r}: numbers are {numbers}, arms are {arms}")
    complete = [c for c in asked if c.state == "complete"]
    if configuration is not None and not complete:
        raise RequestError(f"{who}: configuration {configuration} is {asked[0].state}: weights are of complete ones")
    if not (chosen := [c for c in complete if c.number in kept]):
        what = "no weights" if configuration is None else f"no weights of configuration {configuration}"
        raise RequestError(
            f"{who} has kept {what}: resources.keep must be weights (or states) while it trains; run its spec again "
            f"with --set resources.keep=weights --name {_another(sweep.name)}"
        )
    return chosen


def _another(name: str) -> str:
    """A name like this one for another sweep."""
    return f"{name[:39].rstrip('-')}-weights"


def _load(kept: Kept, c: Configuration, sweep: Sweep) -> States:
    try:
        return kept.load(c.number)
    except OSError as error:
        raise FailedError(f"the states of configuration {c.number} in {kept.place}: {one_line(error)}") from None
    except ValueError as error:
        if why := plugins.difference(plugins.among(sweep.digests)):
            raise RequestError(f"the states of configuration {c.number}: {why}: install those again") from None
        raise FailedError(str(error)) from None


def _dataset(state: MemberState, sweep: Sweep) -> Dataset | None:
    """The data by which a member's pixels are standardized; None for others. Raises DataError."""
    data = state.member.data
    if state.member.input != "standardized":
        return None
    from trainers.data import load

    dataset = load(data)
    if (began := sweep.digests.get(data, dataset.digest)) != dataset.digest:
        raise DataError(f"{other_data(data, began, dataset.digest)}: pixels are standardized by it")
    return dataset


def _write(state: MemberState, file: Path, of: dict[str, Any], dataset: Dataset | None) -> None:
    """Write a member's file, whole or not at all. Raises RequestError where that can't be."""
    from trainers.weights import content_of, file_of

    content = file_of(of | content_of(state, dataset))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replaced(file) as new:
            new.write_bytes(content)
    except OSError as error:
        raise RequestError(f"{file}: can't be written: {error.strerror or error}") from None
