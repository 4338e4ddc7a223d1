"""What must hold in a spec beyond its shape. A check gives its problems, each with its place, and raises nothing."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from search_spaces.plan import SearchPlan, Settings
from search_spaces.space import SEARCHABLE, Choice, Range, Value, unsearched
from sweeps.spec.yaml_lines import Path
from trainers.members import FIELDS, MemberConfig
from trainers.metrics import names
from trainers.regimes import network

if TYPE_CHECKING:
    from sweeps.spec.model import SweepSpec

NAME = re.compile(r"[a-z]([a-z0-9-]{0,45}[a-z0-9])?")
ARM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,46}")
MOST_SEEDS = 10_000
MOST_CORNERS = 4096
MOST_MEMBERS = 100_000  # of a pack: an array of them is some gigabytes
URI_SCHEMES = ("http", "https", "sqlite", "postgresql")
_KINDS = {"str": "text", "int": "a whole number", "float": "a number", "bool": "true or false"}
_TYPES = {name: str(field.type).split(" ")[0] for name, field in FIELDS.items()}


@dataclass(frozen=True)
class Problem:
    """`message` says what is wrong at `path` (below the place of the check), and what would be right."""

    path: Path
    message: str


Checked = tuple[Any, list[Problem]]


def shown(value: Any) -> str:
    """A value in a message: one line, not too long."""
    words = {"None": "null", "True": "true", "False": "false"}  # as YAML has them
    text = words.get(repr(value), repr(value))
    return text if len(text) <= 60 else f"{text[:57]}..."


def close(word: str, known: tuple[str, ...]) -> str:
    """A hint at what may have been meant."""
    found = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {found[0]}?" if found else f"known here are {', '.join(known)}"


def seeds(value: Any) -> Checked:
    """A count, or a list of different seeds."""
    if isinstance(value, int) and not isinstance(value, bool):
        if not 1 <= value <= MOST_SEEDS:
            return None, [Problem((), f"must be a count from 1 to {MOST_SEEDS} or a list of seeds, but got {value}")]
        return tuple(range(value)), []
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= MOST_SEEDS:
        return None, [Problem((), f"must be a count or a list of seeds, but got {shown(value)}")]
    found = []
    seen: set[int] = set()
    for i, seed in enumerate(value):
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            found.append(Problem((i,), f"must be a whole number >= 0, but got {shown(seed)}"))
        elif seed in seen:
            found.append(Problem((i,), f"the seeds must differ, but got {seed} twice"))
        else:
            seen.add(seed)
    return tuple(value), found


def fresh_seeds(value: Any) -> Checked:
    """A count, which stays one, or a list of different seeds."""
    found, problems = seeds(value)
    return (value if isinstance(value, int) else found), problems


def concurrent(value: Any) -> Checked:
    """auto, or how many."""
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value, []
    return None, [Problem((), f"must be auto or a whole number >= 1, but got {shown(value)}")]


def tracking_uri(value: Any) -> Checked:
    """An address without a password: a spec is shown to everybody who may see the sweep."""
    if value is not None and not isinstance(value, str):
        return None, [Problem((), f"must be text, but got {shown(value)}")]
    if value is not None and re.search(r"://[^/@]*:[^/@]*@", value):
        hint = "leave it out and set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        return None, [Problem((), f"a password has no place in a spec: {hint}")]
    return value, []


def settings(value: Any) -> Checked:
    """A sampler or pruner; its options are checked with the rest, where Optuna is imported."""
    if isinstance(value, Settings):
        return value, []
    if not isinstance(value, Mapping):
        return None, [Problem((), f"must be a mapping with a name, but got {shown(value)}")]
    name = value.get("name")
    if not isinstance(name, str):
        return None, [Problem(("name",), "is missing" if name is None else f"must be text, but got {shown(name)}")]
    return Settings(name, {key: v for key, v in value.items() if key != "name"}), []


def space(value: Any) -> Checked:
    """A range or a choice for each key."""
    if not isinstance(value, Mapping):
        return None, [Problem((), f"must be a mapping of what is searched, but got {shown(value)}")]
    if not value:
        return None, [Problem((), "must have something to search; leave search out for the arms alone")]
    found: dict[str, Range | Choice] = {}
    problems = []
    for key, what in value.items():
        entry, wrong = _entry(key, what)
        problems += [Problem((key, *p.path), p.message) for p in wrong]
        found[key] = entry
    return found, problems


def _entry(key: str, what: Any) -> Checked:
    if isinstance(what, Range | Choice):
        return what, []
    if key not in SEARCHABLE:
        if key in FIELDS:
            return None, [Problem((), f"can't be searched; can be: {', '.join(SEARCHABLE)}")]
        return None, [Problem((), f"unknown key; {close(key, SEARCHABLE)}")]
    kind = _TYPES[key]
    if isinstance(what, list):
        wrong = [
            Problem((i,), f"must be {_KINDS[kind]}, but got {shown(v)}") for i, v in enumerate(what) if not _is(v, kind)
        ]
        return (None, wrong) if wrong else _built(Choice, tuple(float(v) if kind == "float" else v for v in what))
    if not isinstance(what, Mapping):
        return None, [Problem((), f"must be a range like {{low: 1, high: 2}} or a list, but got {shown(what)}")]
    if kind not in ("int", "float"):
        return None, [Problem((), f"{key} is {_KINDS[kind]}: give a list to choose from, not a range")]
    return _range(what, kind)


def _range(what: Mapping[str, Any], kind: str) -> Checked:
    keys = {"low": "float", "high": "float", "log": "bool", "integer": "bool"}
    wrong = [Problem((k,), f"unknown key; {close(k, tuple(keys))}") for k in what if k not in keys]
    wrong += [Problem((k,), "is missing") for k in ("low", "high") if k not in what]
    wrong += [
        Problem((k,), f"must be {_KINDS[keys[k]]}, but got {shown(v)}")
        for k, v in what.items()
        if k in keys and not _is(v, keys[k])
    ]
    if kind == "int" and what.get("integer") is False:
        wrong.append(Problem(("integer",), "must be true, or left out: this field is a whole number"))
    if wrong:
        return None, wrong
    low, high = what["low"], what["high"]
    integer = kind == "int" or what.get("integer", False)
    return _built(Range, low, high, what.get("log", False), integer)


def _built(make: Any, *values: Any) -> Checked:
    try:
        return make(*values), []
    except ValueError as error:
        word = str(error).split()[0]
        return None, [Problem((word,) if word in ("low", "high") else (), str(error))]


def _is(value: Any, kind: str) -> bool:
    if kind == "float":
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value).__name__ == kind


def problems(spec: SweepSpec) -> list[Problem]:
    """Everything that is wrong between the parts of a spec."""
    found = []
    if not NAME.fullmatch(spec.name):
        found.append(
            Problem(
                ("name",),
                "must be 1 to 47 of a-z, 0-9 and -, begin with a letter and not end with -, "
                f"but got {shown(spec.name)}",
            )
        )
    for arm in spec.arms:
        if not ARM.fullmatch(arm):
            found.append(Problem(("arms", arm), "the name of an arm must be 1 to 47 of a-z, A-Z, 0-9, _ and -"))
    if not spec.arms and spec.search is None:
        found.append(Problem((), "there is nothing to run: give arms, or search, or both"))
    if spec.claim is not None and spec.claim not in spec.arms:
        hint = close(spec.claim, tuple(spec.arms)) if spec.arms else "there are none"
        found.append(Problem(("claim",), f"must be the name of an arm, but got {shown(spec.claim)}; {hint}"))
    found += _resources(spec)
    if spec.tracking.uri is not None and (why := _wrong_uri(spec.tracking.uri)):
        found.append(Problem(("tracking", "uri"), why))
    members, wrong = _members(spec)
    if wrong:
        return found + wrong
    from sweeps.spec import claims as spec_claims  # which builds on this module

    metrics = common_metrics(members)
    found += _objectives(spec, metrics) or spec_claims.problems(spec, metrics)
    found += _confirm(spec)
    return found + (_search(spec) if spec.search is not None else [])


def _confirm(spec: SweepSpec) -> list[Problem]:
    if spec.confirm is None:
        return []
    found = []
    if spec.search is None:
        found.append(Problem(("confirm",), "there is no search whose luck is to be ruled out: leave confirm out"))
    if not isinstance(spec.confirm.seeds, int):
        for i, seed in enumerate(spec.confirm.seeds):
            if seed in spec.seeds:
                found.append(Problem(("confirm", "seeds", i), f"must be a fresh seed, but {seed} is one of seeds"))
    return found


def _resources(spec: SweepSpec) -> list[Problem]:
    found = []
    pack = spec.resources.pack
    seeds = max(len(spec.seeds), len(spec.fresh_seeds))
    if pack > 1 and pack * seeds > MOST_MEMBERS:
        at_most = max(1, MOST_MEMBERS // seeds)
        found.append(Problem(("resources", "pack"), f"must be at most {at_most} with these seeds, but got {pack}"))
    return found


def _wrong_uri(uri: str) -> str | None:
    """What is wrong with MLflow's address. It is kept with the sweep in plain sight, so it may hold no password."""
    right = "must be like http://HOST:5000"
    try:
        parts = urlsplit(uri)
        parts.port  # noqa: B018 (raises where it is none)
    except ValueError as error:
        return f"{right}: {error}"
    if parts.password is not None or (parts.username and parts.scheme in ("http", "https")):
        return "must not hold a password: give it in MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    if parts.scheme.partition("+")[0] not in URI_SCHEMES or not (parts.netloc or parts.scheme == "sqlite"):
        return f"{right} (or {', '.join(URI_SCHEMES[1:])}), but got {shown(uri)}"
    return None


def _members(spec: SweepSpec) -> tuple[list[MemberConfig], list[Problem]]:
    """A member for base, each arm and each corner of the space, and why there are none."""
    try:
        members = [MemberConfig(**spec.base)]
    except ValueError as error:
        return [], [Problem(("base", _field(error)), str(error))]
    found: dict[Problem, None] = {}
    for name, arm in spec.arms.items():
        try:
            members.append(MemberConfig(**{**spec.base, **arm}))
        except ValueError as error:
            field = _field(error)
            found[Problem(("arms", name, field) if field in arm else ("arms", name), str(error))] = None
    for corner in _corners(spec.search.space if spec.search else {}):
        values = {key: value for key, (_, value) in corner.items()}
        try:
            members.append(MemberConfig(**{**spec.base, **values}))
        except ValueError as error:
            field = _field(error)
            at: Path = ("search", "space", *([field, corner[field][0]] if field in corner else []))
            found[Problem(at, str(error))] = None
    return members, list(found)


def _field(error: ValueError) -> str:
    """MemberConfig's messages begin with the field."""
    return str(error).split()[0]


def _corners(space: Mapping[str, Range | Choice]) -> Iterator[dict[str, tuple[str | int, Value]]]:
    """The ends of the ranges with the values of the choices: key -> (where it is written, value)."""
    ends: list[list[tuple[str, tuple[str | int, Value]]]] = []
    for key, what in space.items():
        if isinstance(what, Choice):
            ends.append([(key, (i, value)) for i, value in enumerate(what.values)])
        else:
            low, high = (int(v) if what.integer and _TYPES[key] == "int" else v for v in (what.low, what.high))
            ends.append([(key, ("low", low)), (key, ("high", high))])
    if space:
        yield from (dict(corner) for corner in itertools.islice(itertools.product(*ends), MOST_CORNERS))


def common_metrics(members: Iterable[MemberConfig]) -> tuple[str, ...]:
    """The metrics that the networks of all of these members have."""
    networks = {(m.regime, m.convolution, m.dense_bias) for m in members}
    known = [names(network(r, separable=c == "separable", dense_bias=b)) for r, c, b in sorted(networks, key=str)]
    return tuple(name for name in known[0] if all(name in others for others in known))


def _objectives(spec: SweepSpec, common: tuple[str, ...]) -> list[Problem]:
    found = []
    for i, objective in enumerate(spec.objective):
        at: Path = ("objective", i, "metric")
        if objective.metric.startswith("test."):
            found.append(
                Problem(at, "must not be of the test split, which is only reported; validation.accuracy is its like")
            )
        elif objective.metric not in common:
            found.append(Problem(at, f"unknown metric {shown(objective.metric)}; {near(objective.metric, common)}"))
        elif objective.metric in [o.metric for o in spec.objective[:i]]:
            found.append(Problem(at, f"the objectives must differ, but got {objective.metric} twice"))
    return found or ([] if spec.objective else [Problem(("objective",), "must not be empty")])


def near(word: str, known: tuple[str, ...]) -> str:
    """A hint at the metric that may have been meant: there are too many to list."""
    hint = close(word, known)
    return (
        hint
        if hint.startswith("did")
        else "gradsweep's records have validation.accuracy, validation.loss, train.loss, ..."
    )


def _search(spec: SweepSpec) -> list[Problem]:
    # Optuna is imported for a spec that searches, and for no other.
    from search_spaces.pruners import check_pruner
    from search_spaces.samplers import check_sampler
    from trainers.errors import OptionError

    assert spec.search is not None
    plan, found = _plan(spec), []
    activations, scalings = (
        what.values if isinstance(what := plan.space.get(key), Choice) else (plan.base[key],)
        for key in ("activation", "scaling")
    )
    pairs = itertools.product(activations, scalings)
    if all(unsearched(plan.space, {"activation": a, "scaling": s}) for a, s in pairs):
        text = f"has no effect: rescaling does not change {' or '.join(map(str, activations))}; leave alpha out"
        found.append(Problem(("search", "space", "alpha"), text))
    configurations = spec.search.configurations
    try:
        check_sampler(plan.sampler, plan.space, plan.base, plan.goals, plan.configurations)
        if configurations is None and plan.sampler.name != "grid":
            found.append(Problem(("search", "configurations"), "is missing: how many to try, besides the arms"))
    except OptionError as error:
        at: Path = ("search", "configurations") if error.key == "configurations" else ("search", "sampler", error.key)
        found.append(Problem(at if error.key else ("search", "sampler"), str(error)))
    if plan.pruner is not None:
        try:
            check_pruner(plan.pruner, plan.goals, plan.epochs)
        except OptionError as error:
            found.append(Problem(("search", "pruner", *([error.key] if error.key else [])), str(error)))
    return found


def search_plan(spec: SweepSpec) -> SearchPlan:
    """The part of a spec that `search_spaces` works on."""
    plan = _plan(spec)
    if spec.search is None or spec.search.configurations is not None:
        return plan
    from search_spaces.grid import grid

    options = plan.sampler.options
    size = len(grid(plan.space, plan.base, options.get("points"), options.get("seed", 0)))
    return replace(plan, configurations=size)


def _plan(spec: SweepSpec) -> SearchPlan:
    base = {name: spec.base.get(name, field.default) for name, field in FIELDS.items() if name != "seed"}
    epochs = [base["epochs"], *(arm["epochs"] for arm in spec.arms.values() if "epochs" in arm)]
    goals = tuple(objective.goal for objective in spec.objective)
    if spec.search is None:
        return SearchPlan(goals, spec.arms, base=base, epochs=max(epochs))
    what = spec.search.space.get("epochs")
    if what is not None:
        epochs += [int(what.high)] if isinstance(what, Range) else [int(v) for v in what.values]
    return SearchPlan(
        goals=goals,
        arms=spec.arms,
        space=spec.search.space,
        configurations=spec.search.configurations or 1,
        base=base,
        epochs=max(epochs),
        sampler=spec.search.sampler,
        pruner=spec.search.pruner,
        confirm=spec.confirm.top if spec.confirm else 0,
    )
