"""The samplers by name. Each gets Optuna's own keyword arguments, as written in the spec.

A sampler is made anew for every configuration, seeded by (seed, number): its suggestion then depends on the earlier
configurations alone, so that a sweep that was killed continues as if nothing had happened.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, NSGAIISampler, QMCSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from search_spaces.options import check_options, construct, split
from search_spaces.plan import SearchPlan, Settings
from search_spaces.space import Range, Space, Value, combinations
from trainers.errors import OptionError

LARGEST = 100_000  # points of a grid
FEWEST = 10  # trials for cmaes to start from, which is from the best tenth of them


class _Sequence(QMCSampler):
    """The quasi-random sequence by index. Optuna's own counts its points in the study, where a kill would lose one,
    and takes its space from the first trial, which may be an arm."""

    def __init__(self, *, space: dict[str, BaseDistribution], index: int, **options: Any) -> None:
        super().__init__(**options)
        self._gradsweep_space, self._gradsweep_index = space, index

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {name: d for name, d in self._gradsweep_space.items() if not d.single()}

    def _find_sample_id(self, study: optuna.Study, search_space: dict[str, BaseDistribution]) -> int:
        return self._gradsweep_index


def grid(
    space: Space, base: Mapping[str, Value | None], *, seed: int = 0, points: int | None = None, **name: Any
) -> list[dict[str, Value]]:
    """The configurations of a grid, each once, in an order shuffled by the seed; `points` are taken from each range.

    Optuna's GridSampler does not fit: it counts points by trial numbers (here arms come first), and repeats a
    combination for each value of a parameter that has no effect (alpha beside relu). Raises OptionError where a range
    needs `points` and has none, and for a grid of more than `LARGEST` points.
    """
    for key, what in space.items():
        if isinstance(what, Range) and not what.integer and points is None:
            needs = "sampler grid needs points, the number of values to take from each range"
            ends = f"from {what.low:g} to {what.high:g}"
            raise OptionError("points", f"{needs}: {key} {ends} has no finite set of values")
    if points is not None and not 1 <= points <= LARGEST:
        raise OptionError("points", f"1 <= points <= {LARGEST} must hold, but got {points}")
    axes = [what.points(points) if isinstance(what, Range) else what.values for what in space.values()]
    if (size := math.prod(map(len, axes))) > LARGEST:
        raise OptionError("points", f"a grid may have {LARGEST} points, but this has {size}")
    order = list(combinations(space, base, axes))
    random.Random(seed).shuffle(order)
    return order


Sees = Literal["nothing", "window", "all"]
# The class, which configurations it is shown (see `search_spaces.suggest`), and whether it takes several objectives.
_SAMPLERS: dict[str, tuple[Callable[..., Any], Sees, bool]] = {
    "tpe": (TPESampler, "window", True),
    "random": (RandomSampler, "nothing", True),
    "grid": (grid, "nothing", True),
    "qmc": (QMCSampler, "nothing", True),
    "gp": (GPSampler, "window", True),
    "cmaes": (CmaEsSampler, "all", False),
    "nsga2": (NSGAIISampler, "all", True),
}
NAMES = tuple(_SAMPLERS)


def check_sampler(plan: SearchPlan) -> None:
    """Raises OptionError for an unknown name, a wrong option, or a search that the sampler can't do."""
    name, options = split("sampler", plan.sampler, NAMES)
    make, _, several = _SAMPLERS[name]
    seed = options.get("seed", 0)
    if type(seed) is not int or seed < 0:
        raise OptionError("seed", f"seed must be a whole number >= 0, but got {seed!r}")
    check_options(f"sampler {name}", options, make)
    if name != "grid":
        construct(f"sampler {name}", make, options | {"seed": 0})
    elif plan.configurations > (size := len(grid(plan.space, plan.base, **options))):
        most = f"must be at most {size}, the size of the grid"
        raise OptionError("configurations", f"{most}, but got {plan.configurations}")
    if len(plan.goals) > 1 and not several:
        able = ", ".join(n for n, (_, _, several) in _SAMPLERS.items() if several)
        raise OptionError("name", f"sampler {name} can't search for several objectives; {able} can")


def sees(settings: Settings) -> Sees:
    """Which of the earlier configurations the sampler is shown."""
    return _SAMPLERS[settings["name"]][1]


def make_sampler(
    settings: Settings,
    number: int,
    index: int,
    space: dict[str, BaseDistribution],
    earlier: Sequence[FrozenTrial] = (),
) -> BaseSampler:
    """The sampler for one configuration; `index` is its number among the searched ones, cmaes starts from `earlier`."""
    name, options = split("sampler", settings, NAMES)
    make, seed = _SAMPLERS[name][0], options.pop("seed", 0)
    if name in ("qmc", "gp", "cmaes"):  # that parts of a space are sampled independently is no news
        options.setdefault("warn_independent_sampling", False)
    if name == "qmc":
        return construct("sampler qmc", _Sequence, options | {"space": space, "index": index, "seed": seed})
    if source_trials := _sources(earlier):
        options["source_trials"] = source_trials
    options["seed"] = int.from_bytes(hashlib.sha256(f"{seed}/{number}".encode()).digest()[:4], "big")
    sampler: BaseSampler = construct(f"sampler {name}", make, options)
    if isinstance(sampler, (CmaEsSampler, NSGAIISampler)):
        # The parameters that all trials have: here the whole space. Optuna searches all trials for them anew with every
        # sampler, at half the cost of a suggestion. Not by a subclass: the notes of nsga2 go by the name of its class.
        common = dict(sorted(space.items()))
        sampler._search_space = SimpleNamespace(calculate=lambda study: common)  # type: ignore[assignment]
    return sampler


def _sources(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The trials from which cmaes starts: complete ones, in the part of the space that it can search."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    space = complete[0].distributions if complete else {}
    searched = {
        k: what for k, what in space.items() if not (isinstance(what, CategoricalDistribution) or what.single())
    }
    if not searched:
        return []
    sources = [
        create_trial(value=t.value, params={k: t.params[k] for k in searched}, distributions=searched) for t in complete
    ]
    # Of fewer than ten there is no best tenth.
    return sources * math.ceil(FEWEST / len(sources))
