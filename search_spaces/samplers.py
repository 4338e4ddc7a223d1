"""The samplers by name. Each gets Optuna's own keyword arguments, as written in the spec.

A sampler is made anew for every configuration, seeded by (seed, number): its suggestion then depends on the earlier
configurations alone, so that a sweep that was killed continues as if nothing had happened.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial

from search_spaces.grid import grid
from search_spaces.options import check_name, check_options, construct, plain_options
from search_spaces.plan import Settings
from search_spaces.space import Space, Value
from trainers.errors import OptionError

with warnings.catch_warnings():
    warnings.simplefilter("ignore", ExperimentalWarning)
    from optuna.samplers import QMCSampler


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


class _Common:
    """The parameters that all trials have: here the whole space. Optuna searches all trials for them anew with every
    sampler, at half the cost of a suggestion."""

    def __init__(self, space: dict[str, BaseDistribution]) -> None:
        self._space = dict(sorted(space.items()))

    def calculate(self, study: optuna.Study) -> dict[str, BaseDistribution]:
        return self._space


@dataclass(frozen=True)
class _Entry:
    """`sees`: which configurations the sampler is shown (see `search_spaces.suggest`); `several`: objectives."""

    make: type[BaseSampler]
    sees: Literal["nothing", "window", "all"]
    several: bool = True


_SAMPLERS = {
    "tpe": _Entry(TPESampler, "window"),
    "random": _Entry(RandomSampler, "nothing"),
    "qmc": _Entry(QMCSampler, "nothing"),
    "gp": _Entry(GPSampler, "window"),
    "cmaes": _Entry(CmaEsSampler, "all", several=False),
    "nsga2": _Entry(NSGAIISampler, "all"),
}
NAMES = ("tpe", "random", "grid", "qmc", "gp", "cmaes", "nsga2")


def check_sampler(
    settings: Settings, space: Space, base: Mapping[str, Value | None], goals: Sequence[str], configurations: int
) -> None:
    """Raises OptionError for an unknown name, a wrong option, or a search that the sampler can't do."""
    check_name("sampler", settings.name, NAMES)
    seed = settings.options.get("seed", 0)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise OptionError("seed", f"seed must be a whole number >= 0, but got {seed!r}")
    if settings.name == "grid":
        check_options("sampler grid", settings.options, _grid_options)
        size = len(grid(space, base, settings.options.get("points"), seed))
        if configurations > size:
            raise OptionError(
                "configurations", f"must be at most {size}, the size of the grid, but got {configurations}"
            )
        return
    entry = _SAMPLERS[settings.name]
    check_options(f"sampler {settings.name}", settings.options, entry.make)
    construct(f"sampler {settings.name}", entry.make, {**settings.options, "seed": 0})
    if len(goals) > 1 and not entry.several:
        able = ", ".join(n for n in NAMES if n not in _SAMPLERS or _SAMPLERS[n].several)
        raise OptionError("name", f"sampler {settings.name} can't search for several objectives; {able} can")


def _grid_options(*, seed: int = 0, points: int | None = None) -> None: ...


def sees(settings: Settings) -> Literal["nothing", "window", "all"]:
    """Which of the earlier configurations the sampler is shown."""
    return _SAMPLERS[settings.name].sees


def make_sampler(settings: Settings, number: int, index: int, space: dict[str, BaseDistribution]) -> BaseSampler:
    """The sampler for one configuration; `index` is its number among the searched ones."""
    entry = _SAMPLERS[settings.name]
    options = dict(settings.options)
    seed = options.pop("seed", 0)
    if settings.name != "tpe" and "warn_independent_sampling" in plain_options(entry.make):
        # That parts of a space are sampled independently is no news; tpe deprecates the argument.
        options.setdefault("warn_independent_sampling", False)
    if settings.name == "qmc":
        options |= {"space": space, "index": index, "seed": seed}
        return construct("sampler qmc", _Sequence, options)
    options["seed"] = int.from_bytes(hashlib.sha256(f"{seed}/{number}".encode()).digest()[:4], "big")
    sampler = construct(f"sampler {settings.name}", entry.make, options)
    if isinstance(sampler, (CmaEsSampler, NSGAIISampler)):
        # Not by a subclass: the notes of nsga2 go by the name of its class.
        sampler._search_space = _Common(space)  # type: ignore[assignment]
    return sampler
