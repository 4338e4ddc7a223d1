"""What must hold between the parts of a spec. A check gives its problems, each with its place, and raises nothing."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping

from search_spaces.space import Choice, Range, Value, unsearched
from sweeps.spec import claims as spec_claims
from sweeps.spec.claims import unknown_metric
from sweeps.spec.model import SweepSpec
from sweeps.spec.values import Path, Problem
from tracking.verdict.claims import BEST
from trainers.engines import unsupported
from trainers.errors import OptionError, did_you_mean, printable, shown
from trainers.members import FIELDS, MemberConfig, layers_of
from trainers.metrics import names

MOST_CORNERS = 4096
MOST_MEMBERS = 100_000  # of a pack: an array of them is some gigabytes


def problems(spec: SweepSpec) -> list[Problem]:
    """Everything that is wrong between the parts of a spec."""
    wrong = [*_parts(spec)]
    members, untrainable = _members(spec)
    if untrainable:
        return wrong + untrainable
    metrics = common_metrics(members)
    of_objectives = [*_objectives(spec, metrics)]
    wrong += of_objectives or spec_claims.problems(spec.claims, [*spec.arms], spec.objectives, metrics)
    return [*wrong, *_confirm(spec), *_search(spec)]


def undecidable(spec: SweepSpec) -> list[str]:
    """A line for each claim about epochs that a side of it does not reach: no error, for fewer epochs are a quick look.

    A shipped study is tried with `--set base.epochs=1`, whatever its claims are about.
    """
    lines = []
    for claim in spec.judged_claims():
        # How many epochs an arm has, or the most that any configuration has.
        sides = [
            (spec.search_plan().epochs if side == BEST else spec.members(spec.arms[side])[0].epochs, side)
            for side in (claim.arm, claim.against)
        ]
        most, side = min(sides, key=lambda epochs_and_side: epochs_and_side[0])
        if claim.since is not None and claim.since > most:
            who = "no configuration has more than" if side == BEST else f"{side} has"
            about = f"is about epochs from {claim.since} on, but {who} {most}"
            lines.append(printable(f"claim {claim.name}: {about}: it will be undecided"))
    return lines


def common_metrics(members: Iterable[MemberConfig]) -> tuple[str, ...]:
    """The metrics that the networks of all of these members have."""
    networks = dict.fromkeys(layers_of(member, 10) for member in members)
    first, *others = (names(layers) for layers in networks)
    return tuple(name for name in first if all(name in other for other in others))


def _parts(spec: SweepSpec) -> Iterator[Problem]:
    if not spec.arms and spec.search is None:
        yield (), "there is nothing to run: give arms, or search, or both"
    if spec.claim is not None and spec.claim not in spec.arms:
        hint = did_you_mean(spec.claim, spec.arms) if spec.arms else "there are none"
        yield ("claim",), f"must be the name of an arm, but got {shown(spec.claim)}; {hint}"
    pack, seeds = spec.resources.pack, max(len(spec.seeds), len(spec.fresh_seeds))
    if pack > 1 and pack * seeds > MOST_MEMBERS:
        at_most = max(1, MOST_MEMBERS // seeds)
        yield ("resources", "pack"), f"must be at most {at_most} with these seeds, but got {pack}"


def _confirm(spec: SweepSpec) -> Iterator[Problem]:
    if spec.confirm is None:
        return
    if spec.search is None:
        yield ("confirm",), "needs a search: leave confirm out"
    for i, seed in enumerate(spec.confirm.seeds if isinstance(spec.confirm.seeds, tuple) else ()):
        if seed in spec.seeds:
            yield ("confirm", "seeds", i), f"must be a fresh seed, but {seed} is one of seeds"


def _members(spec: SweepSpec) -> tuple[list[MemberConfig], list[Problem]]:
    """A member for base, each arm and each corner of the space, and why there are none."""
    members: list[MemberConfig] = []
    wrong: dict[Problem, None] = {}

    def add(values: Mapping[str, Value], place: Path, places: Mapping[str, Path]) -> None:
        try:
            member = MemberConfig(**{**spec.base, **values})
        except ValueError as error:
            field = next((word for word in str(error).split() if word in FIELDS), "")
            wrong[places.get(field, place), str(error)] = None
            return
        members.append(member)
        if problem := unsupported(member, member.engine):
            wrong[places.get("engine", place), problem] = None

    add({}, ("base",), {field: ("base", field) for field in FIELDS})
    if wrong:
        return [], list(wrong)
    for name, arm in spec.arms.items():
        add(arm, ("arms", name), {field: ("arms", name, field) for field in arm})
    at: Path = ("search", "space")
    for corner in _corners(spec.search.space) if spec.search else ():
        values = {key: value for key, (_, value) in corner.items()}
        add(values, at, {key: (*at, key, written) for key, (written, _) in corner.items()})
    return members, list(wrong)


def _corners(space: Mapping[str, Range | Choice]) -> Iterator[dict[str, tuple[str | int, Value]]]:
    """The ends of the ranges with the values of the choices: key -> (where it is written, value)."""
    ends: list[list[tuple[str | int, Value]]] = []
    for what in space.values():
        if isinstance(what, Choice):
            ends.append(list(enumerate(what.values)))
        else:
            low, high = (int(end) if what.integer else end for end in (what.low, what.high))
            ends.append([("low", low), ("high", high)])
    for corner in itertools.islice(itertools.product(*ends), MOST_CORNERS):
        yield dict(zip(space, corner, strict=True))


def _objectives(spec: SweepSpec, common: tuple[str, ...]) -> Iterator[Problem]:
    metrics = [objective.metric for objective in spec.objective]
    for i, metric in enumerate(metrics):
        at: Path = ("objective", i, "metric")
        if metric.startswith("test."):
            yield at, "must not be of the test split, which is only reported; validation.accuracy is its like"
        elif metric not in common:
            yield at, unknown_metric(metric, common)
        elif metric in metrics[:i]:
            yield at, f"the objectives must differ, but got {metric} twice"


def _search(spec: SweepSpec) -> Iterator[Problem]:
    if spec.search is None:
        return
    # Optuna is imported for a spec that searches, and for no other.
    from search_spaces.pruners import check_pruner
    from search_spaces.samplers import check_sampler

    plan = spec.search_plan(spec.search.configurations or 1)
    activations, scalings = (
        what.values if isinstance(what := plan.space.get(key), Choice) else (plan.base[key],)
        for key in ("activation", "scaling")
    )
    pairs = itertools.product(activations, scalings)
    if all(unsearched(plan.space, {"activation": a, "scaling": s}) for a, s in pairs):
        text = f"has no effect: rescaling does not change {' or '.join(map(str, activations))}; leave alpha out"
        yield ("search", "space", "alpha"), text
    try:
        check_sampler(plan.sampler, plan.space, plan.base, plan.goals, plan.configurations)
        if spec.search.configurations is None and plan.sampler["name"] != "grid":
            yield ("search", "configurations"), "is missing: how many to try, besides the arms"
    except OptionError as error:
        path = (error.key,) if error.key == "configurations" else _option("sampler", error)
        yield ("search", *path), str(error)
    if plan.pruner is not None:
        try:
            check_pruner(plan.pruner, plan.goals, plan.epochs)
        except OptionError as error:
            yield ("search", *_option("pruner", error)), str(error)


def _option(part: str, error: OptionError) -> Path:
    return (part, error.key) if error.key else (part,)
