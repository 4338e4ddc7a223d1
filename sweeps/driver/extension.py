"""What an extended sweep still has to train of the configurations that it has: new seeds, and more epochs.

Only complete configurations are extended. More epochs go on from the states that were kept (`resources.keep: states`),
if the learning rate is constant; with a schedule the first epochs are others, too, and all of them are trained anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from sweeps.driver.kept import Kept
from sweeps.spec.reading import SweepSpec
from tracking.extended import Family, chains, families, state_of
from tracking.types import Configuration
from tracking.verdict.tables import count

CONSTANT = "constant"


def lacking(spec: SweepSpec, family: Family, kept: Kept) -> Iterator[Configuration]:
    """The rows that a configuration lacks to be what the spec asks for, not yet numbered; `kept` has the states."""
    head = family[0]
    if state_of(family) != "complete" or head.same_as is not None:
        return
    parameters = spec.arms[head.arm] if head.arm else head.parameters
    asked = spec.seeds if head.confirms is None else spec.fresh_seeds
    member = {k: v for k, v in vars(spec.member(parameters, asked[0])).items() if k != "seed"}
    epochs = member["epochs"]
    row = Configuration(
        -1, head.name, member, asked, head.arm, head.confirms, parameters, head.point, extends=head.number
    )
    groups = chains(family)
    have = [seed for _, seeds in groups for seed in seeds]
    if new := tuple(seed for seed in asked if seed not in have):
        yield replace(row, name=f"{head.name}, {_range('seed', new)}", seeds=new)
    for chain, seeds in groups:
        last = chain[-1]
        if (before := last.member["epochs"]) < epochs:
            goes_on = member["schedule"] == CONSTANT and kept.has_states(last.number)
            after = before if goes_on else -1
            name = f"{head.name}, {_range('epoch', range(after + 1, epochs + 1))}"
            yield replace(row, name=name, seeds=seeds, after=after)


def extensions(spec: SweepSpec, configurations: Sequence[Configuration], kept: Kept) -> list[str]:
    """A line on each way in which configurations are to be extended; empty where none are."""
    ways: dict[str, set[int]] = {}
    for number, family in families(configurations).items():
        have = {seed for part in family for seed in part.seeds}
        for c in lacking(spec, family, kept):
            epochs, schedule = c.member["epochs"], c.member["schedule"]
            if more := len({*c.seeds} - have):
                way = f"{more} more seeds"
            elif c.after >= 0:
                way = f"epochs {c.after + 1} to {epochs}, from the states that were kept"
            elif schedule == CONSTANT:
                way = f"{epochs} epochs from the start: states were not kept (resources.keep: states)"
            else:
                way = f"{epochs} epochs from the start: over more epochs the {schedule} schedule is another"
            ways.setdefault(way, set()).add(number)
    return [f"extending {count(len(numbers), 'configuration')}: {way}" for way, numbers in ways.items()]


def _range(word: str, numbers: Sequence[int]) -> str:
    first, last = numbers[0], numbers[-1]
    return f"{word} {first}" if first == last else f"{word}s {first} to {last}"
