"""What must hold between the parts of a spec. A check gives its problems, each with its place, and raises nothing."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

from search_spaces.space import Value, unsearched
from sweeps.spec.claims import KINDS
from sweeps.spec.model import SweepSpec
from sweeps.spec.values import Problem
from sweeps.spec.yaml_lines import Path
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
    # The metrics that the networks of all members have.
    first, *others = (names(layers) for layers in dict.fromkeys(layers_of(member, 10) for member in members))
    metrics = [name for name in first if all(name in other for other in others)]
    of_objectives = [*_objectives(spec, metrics)]
    return [*wrong, *(of_objectives or _claims(spec, metrics)), *_search(spec)]


def undecidable(spec: SweepSpec) -> list[str]:
    """A line for each claim about epochs that are not trained: no error, for studies are tried with few epochs."""
    lines = []
    for claim in spec.judged_claims():
        # How many epochs an arm has, or the most that any configuration has.
        epochs = {
            side: spec.search_plan().epochs if side == BEST else spec.members(spec.arms[side])[0].epochs
            for side in (claim.arm, claim.against)
        }
        side = min(epochs, key=epochs.__getitem__)
        if claim.since is not None and claim.since > epochs[side]:
            who = "no configuration has more than" if side == BEST else f"{side} has"
            about = f"is about epochs from {claim.since} on, but {who} {epochs[side]}"
            lines.append(printable(f"claim {claim.name}: {about}: it will be undecided"))
    return lines


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
    if spec.confirm and spec.search is None:
        yield ("confirm",), "needs a search: leave confirm out"
    for seed in sorted({*spec.seeds}.intersection(spec.fresh_seeds)):
        yield ("confirm", "seeds", spec.fresh_seeds.index(seed)), f"must be a fresh seed, but {seed} is one of seeds"


def _members(spec: SweepSpec) -> tuple[list[MemberConfig], list[Problem]]:
    """A member for base, each arm and each corner of the space, and why there are none."""
    members: list[MemberConfig] = []
    wrong: dict[Problem, None] = {}
    for place, values, places in _tried(spec):
        try:
            member = MemberConfig(**{**spec.base, **values})
        except ValueError as error:
            field = next((word for word in str(error).split() if word in FIELDS), "")
            wrong[places.get(field, place), str(error)] = None
        else:
            members.append(member)
            if problem := unsupported(member, member.engine):
                wrong[places.get("engine", place), problem] = None
        if wrong and place == ("base",):
            break
    return members, list(wrong)


def _tried(spec: SweepSpec) -> Iterator[tuple[Path, Mapping[str, Value], Mapping[str, Path]]]:
    """Base, each arm, and the ends of the ranges with the values of the choices: where, values, where each is."""
    yield ("base",), {}, {field: ("base", field) for field in FIELDS}
    for name, arm in spec.arms.items():
        yield ("arms", name), arm, {field: ("arms", name, field) for field in arm}
    if spec.search is None:
        return
    at: Path = ("search", "space")
    ends = [[(key, *end) for end in what.ends.items()] for key, what in spec.search.space.items()]
    for corner in itertools.islice(itertools.product(*ends), MOST_CORNERS):
        yield at, {key: value for key, _, value in corner}, {key: (*at, key, written) for key, written, _ in corner}


def _objectives(spec: SweepSpec, common: Sequence[str]) -> Iterator[Problem]:
    metrics = [objective.metric for objective in spec.objective]
    for i, metric in enumerate(metrics):
        at: Path = ("objective", i, "metric")
        if metric.startswith("test."):
            yield at, "must not be of the test split, which is only reported; validation.accuracy is its like"
        elif metric not in common:
            yield at, _unknown_metric(metric, common)
        elif metric in metrics[:i]:
            yield at, f"the objectives must differ, but got {metric} twice"


def _claims(spec: SweepSpec, common: Sequence[str]) -> Iterator[Problem]:
    arms, seen = [*spec.arms], set[str]()
    for i, (written, claim) in enumerate(zip(spec.claims, spec.judged_claims(), strict=False)):
        key = written.key
        for word, side in ((key, claim.arm), (KINDS[key][1], claim.against)):
            if side == BEST and key == "similar":
                rule = "must be the name of an arm: to be similar to the best is to be as_good as it"
                yield ("claims", i, word), rule
            elif side not in (*arms, BEST):
                hint = did_you_mean(side, (*arms, BEST)) if arms else "there are no arms"
                yield ("claims", i, word), f"must be the name of an arm, or best, but got {shown(side)}; {hint}"
        if claim.metric not in common:
            yield ("claims", i, "metric"), _unknown_metric(claim.metric, common)
        elif not claim.goal:
            yield ("claims", i, "goal"), f"is missing: which {claim.metric} is better? maximize | minimize"
        if claim.name in seen:
            hint = "they must differ" if written.name else "give this one a name"
            yield ("claims", i, "name"), f"another claim has the name {shown(claim.name)}; {hint}"
        seen.add(claim.name)


def _unknown_metric(word: str, known: Sequence[str]) -> str:
    where = "gradsweep metrics lists what is recorded, as validation.accuracy and train.loss"
    return f"unknown metric {shown(word)}; {did_you_mean(word, known, where)}"


def _search(spec: SweepSpec) -> Iterator[Problem]:
    if spec.search is None:
        return
    # Optuna is imported for a spec that searches, and for no other.
    from search_spaces.pruners import check_pruner
    from search_spaces.samplers import check_sampler

    plan = spec.search_plan(spec.search.configurations or 1)
    activations, scalings = (
        plan.space[key].ends.values() if key in plan.space else (plan.base[key],) for key in ("activation", "scaling")
    )
    pairs = itertools.product(activations, scalings)
    if all(unsearched(plan.space, {"activation": a, "scaling": s}) for a, s in pairs):
        text = f"has no effect: rescaling does not change {' or '.join(map(str, activations))}; leave alpha out"
        yield ("search", "space", "alpha"), text
    if spec.search.configurations is None and plan.sampler["name"] != "grid":
        yield ("search", "configurations"), "is missing: how many to try, besides the arms"
    for part, check in (("sampler", check_sampler), ("pruner", check_pruner)):
        try:
            check(plan)
        except OptionError as error:
            path = (error.key,) if error.key == "configurations" else (part, error.key)
            yield ("search", *filter(None, path)), str(error)
