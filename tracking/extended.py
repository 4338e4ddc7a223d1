"""Configurations that were extended: more seeds, or more epochs, are rows of their own in the ledger.

A configuration and what extends it are a family. To all who read the records they are one configuration: it has the
number of the first and the seeds of all, and it is running until all have ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tracking.types import Configuration, Epoch

Family = Sequence[Configuration]


def families(configurations: Sequence[Configuration]) -> dict[int, list[Configuration]]:
    """Each configuration by its number, and after it what extends it."""
    by_number = {c.number: [c] for c in configurations if c.extends is None}
    for c in configurations:
        if c.extends is not None:
            by_number[c.extends].append(c)
    return by_number


def state_of(family: Family) -> str:
    """running | complete | pruned | diverged | failed: that of the whole."""
    states = [c.state for c in family[1:]]
    return next((state for state in ("running", "failed", "diverged") if state in states), family[0].state)


def chains(family: Family) -> list[tuple[list[Configuration], tuple[int, ...]]]:
    """The seeds of a family in groups, each with the rows that have their epochs, from the first epochs to the last.

    A row that trains all epochs anew takes the place of the former ones once it has ended.
    """
    groups: dict[tuple[int, ...], tuple[list[Configuration], list[int]]] = {}
    for seed in dict.fromkeys(seed for c in family for seed in c.seeds):
        chain: list[Configuration] = []
        for c in family:
            if seed in c.seeds and (not chain or c.after >= 0):
                chain.append(c)
            elif seed in c.seeds and c.state != "running":
                chain = [c]
        groups.setdefault(tuple(c.number for c in chain), (chain, []))[1].append(seed)
    return [(chain, tuple(seeds)) for chain, seeds in groups.values()]


def parts(family: Family, epochs: Mapping[int, Sequence[Epoch]]) -> Iterator[tuple[Configuration, list[Epoch]]]:
    """The records of a family as those of one configuration: its rows, each with some of its seeds and its epochs.

    `epochs` are those of each row, by its number. Number and state are the family's; the fields of the members are
    those of the last row that has these seeds.
    """
    state = state_of(family)
    for chain, seeds in chains(family):
        for c in chain:
            own = replace(c, number=family[0].number, state=state, member=chain[-1].member, seeds=seeds)
            rows = [c.seeds.index(seed) for seed in seeds]
            yield own, [replace(e, values=e.values[rows]) for e in epochs.get(c.number, ())]


def as_one(family: Family, epochs: Mapping[int, Sequence[Epoch]], seeds: Sequence[int]) -> list[Epoch]:
    """The epochs of a family that has ended, with a row per seed in this order; objectives are those of the first.

    A seed that was trained before a metric was recorded has NaN there.
    """
    by_epoch: dict[int, dict[int, Epoch]] = {}
    for c, records in parts(family, epochs):
        for e in records:
            of_seeds = zip(c.seeds, e.values, strict=True)
            by_epoch.setdefault(e.epoch, {}).update({seed: replace(e, values=values) for seed, values in of_seeds})
    every = []
    for _, of in sorted(by_epoch.items()):
        names = tuple(dict.fromkeys(name for e in of.values() for name in e.names))
        values = np.stack([_named(of[seed], names) for seed in seeds])
        every.append(replace(next(iter(of.values())), names=names, values=values))
    return every


def _named(row: Epoch, names: tuple[str, ...]) -> NDArray[np.float64]:
    """One seed's values under these names, NaN for those it lacks."""
    if row.names == names:
        return row.values
    own = dict(zip(row.names, row.values.tolist(), strict=True))
    return np.array([own.get(name, np.nan) for name in names])
