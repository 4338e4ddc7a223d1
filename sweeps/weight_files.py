"""The kept states of a sweep as PyTorch files, one per configuration and seed, with what was recorded of each.

>>> write_weights("alpha-r", store, Path("alpha-r-weights"), "paper", seed=0)
[{"file": "alpha-r-weights/1-paper-seed0.pt", "configuration": 1, "arm": "paper", "seed": 0, "epoch": 30, ...}]
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps.driver.kept import Kept
from sweeps.driver.packs import other_data
from tracking.extended import chains, families, state_of
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

# The rows of the ledger that have a configuration's last states, each with some of its seeds where it was extended.
Parts = list[tuple[Configuration, tuple[int, ...]]]


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
        seeds = list(dict.fromkeys(s for _, parts in chosen for _, of_part in parts for s in of_part))
        if seed is not None and seed not in seeds:
            raise RequestError(f"sweep {name!r}: no weights of the seed {seed} are kept, but of {_few(seeds)}")
        for c, (row, of_row) in ((c, part) for c, parts in chosen for part in parts):
            epochs = {epoch.epoch: epoch for _, epoch in ledger.epochs(sweep, [row.number])}
            for state in _load(kept, row, sweep):
                own = state.member.seed
                if own not in of_row or seed not in (None, own):
                    continue
                recorded = epochs[state.epoch]
                values = recorded.values[row.seeds.index(own)].tolist()
                accuracy = {metric: values[recorded.names.index(metric)] for metric in ACCURACIES}
                of = {"sweep": name, "configuration": c.number, "arm": c.arm, "accuracy": accuracy}
                file = folder / f"{c.number}{f'-{c.arm}' if c.arm else ''}-seed{own}.pt"
                _write(state, file, of, _dataset(state, sweep))
                about = {"file": str(file), "configuration": c.number, "arm": c.arm, "seed": own}
                written.append({**about, "epoch": state.epoch, **accuracy})
    return written


def _chosen(
    configurations: list[Configuration], kept: set[int], sweep: Sweep, configuration: str | None
) -> list[tuple[Configuration, Parts]]:
    """The configurations that were asked for and are kept; a confirmed arm has two. Raises RequestError."""
    who, whole = f"sweep {sweep.name!r}", families(configurations)
    asked = [family for family in whole.values() if configuration in (None, family[0].arm, str(family[0].number))]
    if not asked:
        arms = _few(dict.fromkeys(c.arm for c in configurations if c.arm))
        raise RequestError(f"{who} has no configuration {configuration!r}: numbers are {_few(whole)}, arms are {arms}")
    complete = [family for family in asked if state_of(family) == "complete"]
    if configuration is not None and not complete:
        raise RequestError(
            f"{who}: configuration {configuration} is {state_of(asked[0])}: weights are of complete ones"
        )
    chosen = []
    for head, *more in complete:
        # One that is equal to an earlier one was not trained again.
        source = [head, *more] if head.same_as is None else whole[head.same_as]
        if parts := [(chain[-1], seeds) for chain, seeds in chains(source) if chain[-1].number in kept]:
            chosen.append((head, parts))
    if not chosen:
        what = "no weights" if configuration is None else f"no weights of configuration {configuration}"
        raise RequestError(
            f"{who} has kept {what}: resources.keep must be weights (or states) while it trains; run its spec again "
            f"with --set resources.keep=weights --name {_another(sweep.name)}"
        )
    return chosen


def _few(values: Iterable[object]) -> str:
    """Values in a line, the first and the last of many."""
    first, *rest = [str(value) for value in values] or ["none"]
    return ", ".join((first, *rest)) if len(rest) < 8 else f"{first} to {rest[-1]}"


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

    dataset = load(data)  # the digest is that of the usual split
    if (began := sweep.digests.get(data, dataset.digest)) != dataset.digest:
        raise DataError(f"{other_data(data, began, dataset.digest)}: pixels are standardized by it")
    return load(data, state.member.holdout)


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
