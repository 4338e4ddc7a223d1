"""What must hold between the parts of a spec. A check gives its problems, each with its place, and raises nothing."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from search_spaces.space import Choice, Range, Value, effective, own_values
from sweeps.environment import ray_address
from sweeps.spec.claims import KINDS
from sweeps.spec.model import SearchSpec, SweepSpec
from sweeps.spec.values import Problem
from sweeps.spec.yaml_lines import Path
from tracking.verdict.claims import AS_GOOD, BEST, BETTER, SECONDS, Claim
from trainers.engines import kind_of, unsupported
from trainers.errors import OptionError, did_you_mean, printable, shown
from trainers.initialization import INITIALIZATIONS
from trainers.measurements import MEASUREMENTS
from trainers.members import FIELDS, MemberConfig, alpha_acts, layers_of
from trainers.metrics import names, on_log_scale
from trainers.objectives import LAST, Near

MOST_CORNERS = 4096
_SPACE: Path = ("search", "space")
MOST_MEMBERS = 100_000  # of a pack: an array of them is some gigabytes


def problems(spec: SweepSpec) -> list[Problem]:
    """Everything that is wrong between the parts of a spec."""
    wrong = [*_parts(spec)]
    if unmet := [*_conditions(spec)]:
        return wrong + unmet
    members, untrainable = _members(spec)
    if untrainable:
        return wrong + untrainable
    metrics = _recorded(members)
    of_objectives = [*_objectives(spec, metrics, members)]
    return [*wrong, *(of_objectives or _claims(spec, members)), *_search(spec)]


def doubts(spec: SweepSpec) -> list[str]:
    """A line for each claim about epochs that are not trained, or about the seconds of two engines, and one for a
    search that leaves a part of a cluster idle.

    These are no errors: studies are tried with few epochs, and two engines may be what is to be compared.
    """
    lines, device = [], "cuda" if spec.resources.gpus else "cpu"
    for claim in spec.judged_claims():
        sides = (claim.arm, claim.against)
        arms = {side: spec.members(spec.arms[side])[0] for side in sides if side != BEST}
        # How many epochs an arm has, or the most that any configuration has.
        epochs = {side: arms[side].epochs if side in arms else spec.search_plan().epochs for side in sides}
        side = min(epochs, key=epochs.__getitem__)
        if claim.since is not None and claim.since > epochs[side]:
            who = "no configuration has more than" if side == BEST else f"{side} has"
            about = f"is about epochs from {claim.since} on, but {who} {epochs[side]}"
            lines.append(printable(f"claim {claim.name}: {about}: it will be undecided"))
        engines = {side: kind_of(member, device)[-1] for side, member in arms.items()}
        if claim.metric == SECONDS and len({*engines.values()}) > 1:
            who = ", ".join(f"{side} by the {engine} engine" for side, engine in engines.items())
            lines.append(printable(f"claim {claim.name}: training {who}: their seconds are those of two programs"))
    if spec.search and spec.resources.concurrent == "auto" and (spec.resources.gpus or ray_address()):
        from search_spaces.samplers import sees  # and Optuna with it
        from search_spaces.search import windowed

        plan = spec.search_plan()
        if windowed(plan) and plan.searching > plan.block * plan.ahead:
            waits = f"the {'pruner' if sees(plan.sampler) == 'nothing' else 'sampler'} waits for results"
            lines.append(
                f"resources.concurrent: {waits}, so at most {plan.ahead} packs train at once; a number allows more"
            )
    return lines


def _parts(spec: SweepSpec) -> Iterator[Problem]:
    if not spec.arms and spec.search is None:
        yield (), "there is nothing to run: give arms, or search, or both"
    if spec.claim is not None and spec.claim not in spec.arms:
        hint = did_you_mean(spec.claim, spec.arms) if spec.arms else "there are none"
        yield ("claim",), f"must be the name of an arm, but got {shown(spec.claim)}; {hint}"
    pack, seeds = spec.resources.block, max(len(spec.seeds), len(spec.fresh_seeds))
    if pack > 1 and pack * seeds > MOST_MEMBERS:
        at_most = max(1, MOST_MEMBERS // seeds)
        yield ("resources", "pack"), f"must be at most {at_most} with these seeds, but got {pack}"
    if spec.confirm and spec.search is None:
        yield ("confirm",), "needs a search: leave confirm out"
    for seed in sorted({*spec.seeds}.intersection(spec.fresh_seeds)):
        yield ("confirm", "seeds", spec.fresh_seeds.index(seed)), f"must be a fresh seed, but {seed} is one of seeds"


def _conditions(spec: SweepSpec) -> Iterator[Problem]:
    """Conditions that never hold or go in a circle, and a range whose numbers would not mean the same everywhere."""
    if spec.search is None:
        return
    space, at = spec.search.space, _SPACE
    needs = {key: {*what.when, *(("activation", "scaling") if key == "alpha" else ())} for key, what in space.items()}
    try:
        TopologicalSorter({key: [f for f in space if f in fields] for key, fields in needs.items()}).prepare()
    except CycleError as error:
        *circle, _ = reversed(error.args[1])  # each depends on the next, and the last on the first
        while circle[1 % len(circle)] not in space[circle[0]].when:  # alpha depends on some without saying so
            circle.append(circle.pop(0))
        rule = f"conditions must not go in a circle: {' -> '.join([*circle, circle[0]])}"
        yield (*at, circle[0], "when", circle[1 % len(circle)]), rule
        return
    for key, what in space.items():
        for field, allowed in what.when.items():
            inside, values = _possible(spec, field)
            ends = [f"from {inside.low:g} to {inside.high:g}"] if inside else []
            for place, value in enumerate(allowed):
                if value not in values and not (inside and value in inside):
                    path = (*at, key, "when", field, *([place] if len(allowed) > 1 else []))
                    can = " or ".join(ends + [*map(shown, values)])
                    yield path, f"{field} is never {shown(value)} in this search: it is {can}"
    if isinstance(scale := space.get("init_scale"), Range):
        units: dict[str, str] = {}
        for regime, initialization in itertools.product(_choices(spec, "regime"), _choices(spec, "initialization")):
            name = initialization or own_values(str(regime)).get("initialization")
            chosen = {"regime": regime, "initialization": name}
            if name in INITIALIZATIONS and all(chosen[f] in scale.when.get(f, (chosen[f],)) for f in chosen):
                units.setdefault(INITIALIZATIONS[str(name)].unit, str(name))
        if len(units) > 1:
            each = " and ".join(f"the {unit} of {name}" for unit, name in units.items())
            yield (
                (*at, "init_scale"),
                f"is {each}: keep it to one unit, as by when: {{initialization: {[*units.values()][0]}}}",
            )


def _choices(spec: SweepSpec, field: str) -> list[Value | None]:
    """The values that a field which is no number can have in the search; None where it is the regime's own."""
    space = spec.search.space if spec.search else {}
    what, given = space.get(field), [spec.base.get(field, FIELDS[field].default)]
    return [*what.ends.values(), *(given if what.when else ())] if what else given


def _possible(spec: SweepSpec, field: str) -> tuple[Range | None, list[Value]]:
    """What a field can be in the search: a range, where it has one, and single values."""
    what = spec.search.space.get(field) if spec.search else None
    if isinstance(what, Range) and not what.when:
        return what, []
    given = [spec.base.get(field, FIELDS[field].default)] if isinstance(what, Range) else _choices(spec, field)
    regimes = _choices(spec, "regime")
    values = [v for v in given if v is not None]
    values += [own_values(str(regime)).get(field) for regime in regimes if None in given]
    return what if isinstance(what, Range) else None, list(dict.fromkeys(values))


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
    space, at = spec.search.space, _SPACE
    ends = [[(key, *end) for end in _ends(what).items()] for key, what in space.items()]
    for key, what in space.items():  # the values within a range that others depend on
        if isinstance(what, Range):
            between = [value for other in space.values() for value in other.when.get(key, ())]
            ends[[*space].index(key)] += [(key, (), value) for value in between]
    for corner in itertools.islice(itertools.product(*ends), MOST_CORNERS):
        values, _ = effective(space, spec.base, {key: value for key, _, value in corner})
        yield at, values, {key: (*at, key, *written) for key, written, _ in corner}


def _ends(what: Range | Choice) -> dict[Path, Value]:
    """The ends of a range or the values of a choice, by where they are written."""
    if isinstance(what, Range):
        return {(name,): value for name, value in what.ends.items()}
    return {("values", place) if what.when else (place,): value for place, value in what.ends.items()}


def _objectives(spec: SweepSpec, common: Sequence[str], members: Sequence[MemberConfig]) -> Iterator[Problem]:
    names = [objective.name for objective in spec.objectives]
    for i, objective in enumerate(spec.objective):
        at, metric = ("objective", i, "metric"), objective.metric
        if metric.startswith("test."):
            yield at, "must not be of the test split, which is only reported; validation.accuracy is its like"
        elif metric not in common:
            yield at, _not_recorded(metric, common, members)
        elif names[i] in names[:i]:
            yield at, f"the objectives must differ, but got {names[i]} twice"
        else:
            yield from _target(("objective", i), metric, objective.goal)


def _target(at: Path, metric: str, goal: str | Near) -> Iterator[Problem]:
    """What must hold between a metric and a goal."""
    if isinstance(goal, Near) and on_log_scale(metric) and goal.target <= 0:
        rule = f"must be above 0, since the distance of {metric} is one of logarithms"
        yield (*at, "goal", "near"), f"{rule}, but got {goal.target:g}"


def _recorded(members: Iterable[MemberConfig], claim: Claim | None = None) -> list[str]:
    """The metrics that all of these members have at every epoch, or at those that a claim is about."""
    kinds = dict.fromkeys((layers_of(m, 10), _measured(m, claim)) for m in members)
    first, *others = (names(layers, measure) for layers, measure in kinds)
    return [name for name in first if all(name in other for other in others)]


def _measured(member: MemberConfig, claim: Claim | None) -> tuple[str, ...]:
    """Which of the measurements that it asks for a member has at every one of these epochs."""
    epochs = range(member.epochs + 1)
    if claim and (claim.since, claim.until) != (None, None):
        epochs = epochs[claim.since or 0 : None if claim.until is None else claim.until + 1]
    elif claim and claim.epoch == LAST:
        epochs = epochs[-1:]
    at = member.measure_at
    return member.measure or () if at is None or all(epoch in at for epoch in epochs) else ()


def _claims(spec: SweepSpec, members: Sequence[MemberConfig]) -> Iterator[Problem]:
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
        sides = [spec.members(spec.arms[side])[0] for side in (claim.arm, claim.against) if side in spec.arms]
        about = sides if len(sides) == 2 else members
        common = _recorded(about, claim)
        if claim.metric not in common:
            yield ("claims", i, "metric"), _not_recorded(claim.metric, common, about)
        elif not claim.goal:
            yield ("claims", i, "goal"), f"is missing: which {claim.metric} is better? maximize | minimize"
        else:
            yield from _target(("claims", i), claim.metric, claim.goal)
            yield from _scale(("claims", i), KINDS[key][2], claim)
        if claim.name in seen:
            hint = "they must differ" if written.name else "give this one a name"
            yield ("claims", i, "name"), f"another claim has the name {shown(claim.name)}; {hint}"
        seen.add(claim.name)
    yield from _order(spec.judged_claims()[: len(spec.claims)])


def _scale(at: Path, key: str, claim: Claim) -> Iterator[Problem]:
    """What must hold between the scale of a claim and its margin, whose key is `key`."""
    linear = "distances from a target" if isinstance(claim.goal, Near) else "epochs"
    if isinstance(claim.goal, Near) or claim.epoch.how == "first_above":
        if claim.scale == "log":
            yield (*at, "scale"), f"must be linear, or left out: {linear} are compared by their differences"
        if claim.times:
            yield (*at, key), f"must be a number or a percentage: {linear} are compared by their differences"
    elif claim.scale == "linear" and claim.times:
        yield (*at, key), "must be a number or a percentage where scale is linear: a factor is a ratio"
    elif claim.scale == "log" and claim.margin and not (claim.relative or claim.times):
        rule = "must be a percentage like 10% or a factor like 2x where scale is log"
        yield (*at, key), f"{rule}, but got {claim.margin:g}"
    # The claim's margin goes down where less is better, or where what is as good may be less.
    elif claim.log and claim.ratios[0] <= 0 and (claim.kind, claim.sign) not in ((BETTER, 1), (AS_GOOD, -1)):
        yield (*at, key), f"must be below 100%, since nothing is lower by more, but got {100 * claim.margin:g}%"


def _order(claims: Sequence[Claim]) -> Iterator[Problem]:
    """That claims come after others, and not in a circle."""
    places = {claim.name: i for i, claim in enumerate(claims)}
    for i, claim in enumerate(claims):
        if claim.after == claim.name:
            yield ("claims", i, "after"), f"must be another claim, but got this one's own name, {shown(claim.name)}"
            return
        if claim.after and claim.after not in places:
            hint = did_you_mean(claim.after, [name for name in places if name != claim.name])
            yield ("claims", i, "after"), f"must be the name of another claim, but got {shown(claim.after)}; {hint}"
            return
    try:
        TopologicalSorter({claim.name: [claim.after] for claim in claims if claim.after}).prepare()
    except CycleError as error:
        circle = [*reversed(error.args[1])]
        yield ("claims", places[circle[0]], "after"), f"claims must not go in a circle: {' -> '.join(circle)}"


def _told(name: str, search: SearchSpec) -> Iterator[str]:
    """Why a sampler can't be told what an earlier sweep knows."""
    from search_spaces.samplers import NAMES, sees

    sampler = search.sampler["name"]
    if search.from_ == name:
        yield f"must be another sweep, but got this one's own name, {shown(name)}"
    if sampler in NAMES and sees(search.sampler) == "nothing":
        able = ", ".join(other for other in NAMES if sees({"name": other}) != "nothing")
        yield f"has no effect: sampler {sampler} learns from no results; {able} do"
    if sampler == "cmaes" and (given := [o for o in ("x0", "sigma0", "use_separable_cma") if o in search.sampler]):
        yield f"does not go with {given[0]}: it says where cmaes starts, too"


def _not_recorded(word: str, known: Sequence[str], members: Sequence[MemberConfig]) -> str:
    """Why a metric is not among the `known`: not measured, not at every epoch, or there is none of the name."""
    of_layer = word.split(".", 2)[-1] if word.startswith("layer.") else ""
    by = next((name for name, of in MEASUREMENTS.items() if word in of.network or of_layer in of.layer), None)
    if by and (lacking := [m.measure or () for m in members if by not in (m.measure or ())]):
        return f"{word} is only recorded where it is asked for: add measure: [{', '.join((*lacking[0], by))}]"
    if by and all(word in names(layers_of(m, 10), m.measure or ()) for m in members):
        at = next(m.measure_at for m in members if m.measure_at is not None)
        epochs = f"only at {', '.join(map(str, at))}" if at else "at none"
        return f"{word} is not measured at every epoch that counts here, {epochs}: leave measure_at out"
    of_gradients = ("gradient.data.", "gradient.total.", "layer.")
    short = [name for name in known if not name.startswith(of_gradients)]
    where = f"known are {', '.join(short)}, and those of gradients and layers that `gradsweep metrics` lists"
    return f"unknown metric {shown(word)}; {did_you_mean(word, known, where)}"


def _search(spec: SweepSpec) -> Iterator[Problem]:
    if spec.search is None:
        return
    # Optuna is imported for a spec that searches, and for no other.
    from search_spaces.pruners import check_pruner
    from search_spaces.samplers import check_sampler

    plan = spec.search_plan(spec.search.configurations or 1)
    activations, scalings, gates = (_choices(spec, key) for key in ("activation", "scaling", "scaled_gates"))
    every = itertools.product(activations, scalings, gates)
    if "alpha" in plan.space and not any(alpha_acts(str(a), str(s), g is True) for a, s, g in every):
        text = f"has no effect: rescaling does not change {' or '.join(map(str, activations))}; leave alpha out"
        yield ("search", "space", "alpha"), text
    if spec.search.configurations is None and plan.sampler["name"] != "grid":
        yield ("search", "configurations"), "is missing: how many to try, besides the arms"
    if spec.search.from_ is not None:
        yield from ((("search", "from"), rule) for rule in _told(spec.name, spec.search))
    for part, check in (("sampler", check_sampler), ("pruner", check_pruner)):
        try:
            check(plan)
        except OptionError as error:
            path = (error.key,) if error.key == "configurations" else (part, error.key)
            yield ("search", *filter(None, path)), str(error)
