"""What may change of a sweep that has begun: its words, what it keeps, and how much of it there is."""

from __future__ import annotations

import yaml

from sweeps.spec.reading import SweepSpec
from trainers.members import FIELDS

# These change no training.
REWORDABLE = (
    ("question",),
    ("claim",),
    ("claims",),
    ("resources", "keep"),
    ("resources", "within"),
    ("tracking", "notify"),
)


def differences(before: SweepSpec, now: SweepSpec) -> list[str]:
    """The dotted keys at which a spec is neither that of before nor more of the same.

    More are: configurations, seeds, epochs, arms, and what is confirmed.
    """
    old, new = (yaml.safe_load(spec.to_yaml()) for spec in (before, now))
    different = [".".join(keys) for keys in _differing(old, new) if not _may_change(keys, before, now)]
    # Where they are counted, fresh seeds follow from the seeds of the search: with more of those they are others.
    moved = not {*before.fresh_seeds} <= {*now.fresh_seeds} and "confirm.seeds" not in different
    return different + ["confirm.seeds"] * moved


def _may_change(keys: tuple[str, ...], before: SweepSpec, now: SweepSpec) -> bool:
    if any(keys[: len(known)] == known for known in REWORDABLE):
        return True
    match keys:
        case ("seeds", *_):
            return {*before.seeds} <= {*now.seeds}
        case ("resources", "pack"):  # stated or not, suggestions stay the same
            return before.resources.block == now.resources.block
        case ("base", "epochs"):
            return _epochs(before) <= _epochs(now)
        case ("arms", arm):
            return arm not in before.arms
        case ("arms", arm, "epochs"):
            return _epochs(before, arm) <= _epochs(now, arm)
        case ("search",):
            return before.search is None
        case ("search", "configurations"):
            return before.search_plan().configurations <= now.search_plan().configurations
        case ("confirm", *_):
            if before.confirm is None or now.confirm is None:
                return before.confirm is None
            more = before.confirm.top <= now.confirm.top
            return more and {*before.fresh_seeds} <= {*now.fresh_seeds}
    return False


def _epochs(spec: SweepSpec, arm: str | None = None) -> int:
    fields = spec.base | (spec.arms.get(arm, {}) if arm else {})
    return int(fields.get("epochs", FIELDS["epochs"].default))


def _differing(before: object, now: object, keys: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if before == now:
        return []
    if not isinstance(before, dict) or not isinstance(now, dict):
        return [keys]
    every = dict.fromkeys([*before, *now])
    return [path for key in every for path in _differing(before.get(key), now.get(key), (*keys, key))]
