"""The pruners by name. `reduction`, `min_epochs` and `max_epochs` are ours; the rest are Optuna's keyword arguments.

Optuna's steps are epochs here. Its Wilcoxon pruner is left out: it treats the steps as independent instances of a
problem, and the epochs of a training run are not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

from search_spaces.options import check_options, construct, split
from search_spaces.plan import Settings
from trainers.errors import OptionError

Needs = Literal["nothing", "rungs", "curves"]
_WARM_UP = {"min_epochs": "n_warmup_steps"}
_RUNGS = {"min_epochs": "min_resource", "reduction": "reduction_factor"}
# The class, what it compares with of other configurations, and our names of its options.
_PRUNERS: dict[str, tuple[type[BasePruner], Needs, Mapping[str, str]]] = {
    "asha": (SuccessiveHalvingPruner, "rungs", _RUNGS),
    "hyperband": (HyperbandPruner, "rungs", _RUNGS | {"max_epochs": "max_resource"}),
    "median": (MedianPruner, "curves", _WARM_UP),
    "percentile": (PercentilePruner, "curves", _WARM_UP),
    "threshold": (ThresholdPruner, "nothing", _WARM_UP),
    "patient": (PatientPruner, "nothing", {}),
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
    return needs(settings.get("wrapped_pruner")) if settings["name"] == "patient" else _PRUNERS[settings["name"]][1]


def make_pruner(settings: Settings, epochs: int) -> BasePruner:
    """The pruner; `epochs` is the most that a configuration trains (Hyperband's brackets)."""
    name, options = split("pruner", settings, NAMES)
    make, _, names = _PRUNERS[name]
    what = f"pruner {name}"
    wrapped = options.pop("wrapped_pruner", None) if name == "patient" else None
    check_options(what, options, make, names)
    for ours, theirs in names.items():
        if ours not in options:
            continue
        if theirs in options:
            raise OptionError(theirs, f"{ours} and {theirs} are the same; give one")
        value, least = options.pop(ours), 2 if ours == "reduction" else 1
        if type(value) is not int or value < least:
            raise OptionError(ours, f"must be a whole number >= {least}, but got {value!r}")
        options[theirs] = value
    if name == "hyperband":
        high = options.setdefault("max_resource", epochs)  # "auto" prunes nothing until one has ended
        if isinstance(high, int) and high < (low := options.get("min_resource", 1)):
            raise OptionError("min_epochs", f"min_epochs <= max_epochs must hold, but got {low} and {high}")
    if name == "patient":
        options["wrapped_pruner"] = None if wrapped is None else _wrapped(wrapped, epochs)
    return construct(what, make, options)


def _wrapped(settings: Any, epochs: int) -> BasePruner:
    if not isinstance(settings, Mapping) or not isinstance(settings.get("name"), str):
        raise OptionError("wrapped_pruner", f"must be a pruner like {{name: median}}, but got {settings!r}")
    try:
        return make_pruner(settings, epochs)
    except OptionError as error:
        raise OptionError("wrapped_pruner", f"{error.key}: {error}" if error.key else str(error)) from None
