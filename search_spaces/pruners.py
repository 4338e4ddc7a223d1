"""The pruners by name. `reduction`, `min_epochs` and `max_epochs` are ours; the rest are Optuna's keyword arguments.

Optuna's steps are epochs here. Its Wilcoxon pruner is left out: it treats the steps as independent instances of a
problem, and the epochs of a training run are not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    PatientPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
    ThresholdPruner,
)

from search_spaces.options import check_name, check_options, construct
from search_spaces.plan import Settings
from trainers.errors import OptionError

Needs = Literal["nothing", "rungs", "curves"]


@dataclass(frozen=True)
class _Entry:
    """`needs`: what the pruner compares with, of other configurations; `names` maps our option names to Optuna's."""

    make: type[BasePruner]
    needs: Needs
    names: Mapping[str, str] = field(default_factory=dict)


_RESOURCES = {"min_epochs": "min_resource", "max_epochs": "max_resource", "reduction": "reduction_factor"}
_WARM_UP = {"min_epochs": "n_warmup_steps"}
_PRUNERS = {
    "asha": _Entry(SuccessiveHalvingPruner, "rungs", {k: v for k, v in _RESOURCES.items() if k != "max_epochs"}),
    "hyperband": _Entry(HyperbandPruner, "rungs", _RESOURCES),
    "median": _Entry(MedianPruner, "curves", _WARM_UP),
    "percentile": _Entry(PercentilePruner, "curves", _WARM_UP),
    "threshold": _Entry(ThresholdPruner, "nothing", _WARM_UP),
    "patient": _Entry(PatientPruner, "nothing"),
}
NAMES = tuple(_PRUNERS)


def check_pruner(settings: Settings, goals: Sequence[str], epochs: int) -> None:
    """Raises OptionError for an unknown name, a wrong option, or several objectives."""
    if len(goals) > 1:
        raise OptionError("", f"a pruner compares one objective, but there are {len(goals)}: leave it out")
    make_pruner(settings, epochs)


def needs(settings: Settings | None) -> Needs:
    """What the pruner compares with, of other configurations."""
    if settings is None:
        return "nothing"
    if settings.name == "patient":
        return needs(_wrapped(settings.options))
    return _PRUNERS[settings.name].needs


def make_pruner(settings: Settings, epochs: int) -> BasePruner:
    """The pruner; `epochs` is the most that a configuration trains (Hyperband's brackets)."""
    name = settings.name
    check_name("pruner", name, NAMES)
    entry, what = _PRUNERS[name], f"pruner {name}"
    options = dict(settings.options)
    wrapped = _wrapped(options) if name == "patient" else None
    if name == "patient":
        options.pop("wrapped_pruner", None)
    for ours, theirs in entry.names.items():
        if ours in options and theirs in options:
            raise OptionError(theirs, f"{ours} and {theirs} are the same; give one")
    check_options(what, {k: v for k, v in options.items() if k not in entry.names}, entry.make, entry.names)
    for ours in [key for key in options if key in entry.names]:
        value = options.pop(ours)
        least = 2 if ours == "reduction" else 1
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise OptionError(ours, f"must be a whole number >= {least}, but got {value!r}")
        options[entry.names[ours]] = value
    if name == "hyperband":
        options.setdefault("max_resource", epochs)  # "auto" prunes nothing until one has ended
        if isinstance(options["max_resource"], int) and options["max_resource"] < options.get("min_resource", 1):
            raise OptionError(
                "min_epochs",
                f"min_epochs <= max_epochs must hold, but got {options['min_resource']} and {options['max_resource']}",
            )
    if name == "patient":
        try:
            options["wrapped_pruner"] = None if wrapped is None else make_pruner(wrapped, epochs)
        except OptionError as error:
            raise OptionError("wrapped_pruner", f"{error.key}: {error}" if error.key else str(error)) from None
    return construct(what, entry.make, options)


def _wrapped(options: Mapping[str, Any]) -> Settings | None:
    inner = options.get("wrapped_pruner")
    if inner is None:
        return None
    if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str):
        raise OptionError("wrapped_pruner", f"must be a pruner like {{name: median}}, but got {inner!r}")
    return Settings(inner["name"], {k: v for k, v in inner.items() if k != "name"})
