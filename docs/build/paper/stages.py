"""The stages in which the paper's sweeps are run, as data.

Each is meant to take less than an hour on two cores, but for figure 4, whose plateau is long. A sweep is a study that
ships with gradsweep, under a name, with settings over it, on seeds that nobody has looked at: claims and margins were
written after looks at the seeds below its first one. Only figure 4 had been run on its seeds before, for 80 epochs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sweeps.plan import plan_of
from sweeps.spec.reading import SweepSpec, read, studies

FRESH = 50  # the figures' first runs, from which their claims are, had the seeds before
LATER = 100  # the other studies were tried on some of these


@dataclass(frozen=True)
class Planned:
    """A sweep of a stage: its name, its study where that has another one, settings, and the first of its seeds.

    With `own_data` it is not about the data that the paper is about.
    """

    name: str
    study: str = ""
    settings: tuple[str, ...] = ()
    first_seed: int = LATER
    own_data: bool = False

    @property
    def of(self) -> str:
        """The name of its study."""
        return self.study or self.name

    @property
    def written(self) -> bool:
        """Whether there is such a study."""
        return self.of in studies()


def _figures(suffix: str, numbers: Sequence[int], *settings: str) -> tuple[Planned, ...]:
    return tuple(Planned(f"figure-{n}{suffix}", f"figure-{n}", settings, FRESH) for n in numbers)


def _plane(regime: str, study: str) -> Planned:
    """A search of the plane of alpha and r, and what it finds beside the paper's choice, on fresh seeds."""
    smaller = ("search.configurations=20", "seeds=2", "base.epochs=30", "confirm.top=2", "confirm.seeds=12")
    return Planned(f"plane-{regime}", study, smaller)


# The paper does not say its batch size. The figures are at 32, TensorFlow's default, and at 128: figure 2 with as many
# epochs, and figures 1 and 3, where the penalty needs its number of steps, with as many steps.
STAGES: dict[str, tuple[Planned, ...]] = {
    "figure-1": _figures("", (1,)),
    "figure-2": _figures("", (2,)),
    "figure-3": _figures("", (3,)),
    "figure-2-128": _figures("-128", (2,), "base.batch_size=128", "seeds=12"),
    "equal-steps": _figures("-steps", (1, 3), "base.batch_size=128", "base.epochs=160", "seeds=10"),
    "figure-4": _figures("", (4,), "base.epochs=180", "seeds=12"),
    "epsilon": (Planned("epsilon"),),
    "inputs": tuple(Planned(f"inputs-figure-{n}") for n in (1, 2, 3)),
    "strength": (Planned("penalty-strength"),),
    "plane": (
        _plane("large-parameters", "alpha-r-large-parameters"),
        _plane("many-layers", "alpha-r-many-layers"),
        _plane("combined", "alpha-r"),
    ),
    "optimizers": (Planned("optimizers", settings=("seeds=12", "base.epochs=25")),),
    "rivals": (Planned("remedies", settings=("seeds=10", "base.epochs=25")),),
    "types": (
        Planned("sigmoid-types", settings=("seeds=12", "base.epochs=30")),
        Planned("penalties", settings=("seeds=12", "base.epochs=25")),
    ),
    "table-4": (Planned("table-4"),),
    "others": (Planned("second-data", own_data=True), Planned("widths")),
    "why": (Planned("why-many-layers"), Planned("why-saturation")),
}
SWEEPS = {planned.name: planned for stage in STAGES.values() for planned in stage}


@dataclass(frozen=True)
class Less:
    """What a run has instead of the studies' own: for tests, and for repeating it all on other seeds."""

    data: str = "cifar10"
    epochs: int | None = None
    seeds: int | None = None
    first_seed: int | None = None


def settings(planned: Planned, less: Less) -> list[str]:
    """The settings with which a sweep is run. A study that lists seeds of its own keeps them."""
    changed = list(planned.settings)
    changed += [] if planned.own_data else [f"base.data={less.data}"]
    changed += [f"base.epochs={less.epochs}"] if less.epochs else []
    spec = read(planned.of, planned.settings)
    own, fresh = spec.seeds, spec.fresh_seeds
    if less.seeds or less.first_seed is not None or own == tuple(range(len(own))):
        first = planned.first_seed if less.first_seed is None else less.first_seed
        after = first + (less.seeds or len(own))
        changed.append(f"seeds={list(range(first, after))}")
        changed += [f"confirm.seeds={list(range(after, after + (less.seeds or len(fresh))))}"] if fresh else []
    return changed


def spec_of(planned: Planned, less: Less) -> SweepSpec:
    """What is run. Raises SpecError."""
    return read(planned.of, settings(planned, less), planned.name)


def estimate(planned: Planned, less: Less) -> float | None:
    """About how many minutes a sweep takes on this machine; None where its data is not there."""
    seconds = plan_of(spec_of(planned, less))["seconds"]
    return None if seconds is None else float(seconds) / 60
