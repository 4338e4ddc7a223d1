"""The spec as types (section 5 of the design). What each field means is said here once; `gradsweep fields` prints it.

Pydantic holds the shape; `sweeps.spec.checks` what must hold between the parts.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    WrapValidator,
    model_validator,
    with_config,
)
from typing_extensions import TypedDict

from search_spaces.plan import SearchPlan
from search_spaces.space import Choice, Range, Value
from sweeps.spec import values
from sweeps.spec.claims import ClaimSpec, judged
from sweeps.spec.values import (
    EPOCH,
    GOAL,
    Concurrent,
    EachSeed,
    Epoch,
    Goal,
    Name,
    Part,
    Seconds,
    Seeds,
    Uri,
    Webhook,
    earlier_is_better,
    optional,
)
from sweeps.spec.yaml_lines import dump
from tracking.verdict.claims import Claim, default_claims
from trainers.members import FIELDS, MemberConfig
from trainers.objectives import LAST, Objective

MOST = 1_000_000  # configurations
MOST_PROCESSORS = 1024  # of a machine
AHEAD = 2  # packs
PACK = 8  # configurations


def _written(space: Mapping[str, Range | Choice]) -> dict[str, Any]:
    """A choice without a condition as its values; the others as what of them is neither false nor empty."""
    parts: dict[str, Any] = {}
    for key, what in space.items():
        part = {name: v for name, v in vars(what).items() if v is not False and name != "when"}
        if what.when:
            part["when"] = {field: v if len(v) > 1 else v[0] for field, v in what.when.items()}
        parts[key] = part["values"] if [*part] == ["values"] else part
    return parts


if TYPE_CHECKING:
    Base = dict[str, Any]
    Arm = dict[str, Any]
    Space = dict[str, Range | Choice]
else:

    def _mapping(title, types):
        """A mapping of these keys, none of them required, as a type."""
        return with_config(values.STRICT)(TypedDict(title, types, total=False))

    Arm = _mapping("Arm", {name: hint for name, hint in values.MEMBER_TYPES.items() if name != "seed"})
    Base = _mapping("Base", {name: hint for name, hint in Arm.__annotations__.items() if name not in ("alpha", "r")})
    Space = Annotated[_mapping("Space", values.SPACE), WrapValidator(values.space), PlainSerializer(_written)]


@with_config(values.STRICT | {"extra": "allow"})
class Named(TypedDict):
    """A sampler or pruner; its options are checked with the rest, where Optuna is imported."""

    name: str


class ObjectiveSpec(Part):
    """What a configuration is judged by: the mean over its seeds of a metric, or of its distance from a number."""

    metric: str = optional("validation.accuracy", "the name of a metric")
    goal: Goal = optional("maximize", GOAL)
    epoch: Epoch = optional(LAST, EPOCH)

    _first = model_validator(mode="before")(earlier_is_better)


class SearchSpec(Part):
    """What is searched, how, and how long."""

    space: Space = Field(description="field -> {low, high, ...}, or a list to choose from, or {values, when}")
    sampler: Named = optional({"name": "tpe"}, "{name, seed, ...}: the sampler and its options")
    configurations: int | None = optional(
        None, "how many, besides the arms; a grid has all of its points where it is not given", ge=1, le=MOST
    )
    from_: Name | None = optional(
        None, "an earlier sweep of the store, whose results in this space the sampler is told first", alias="from"
    )
    pruner: Named | None = optional(None, "{name, min_epochs, ...}: the pruner and its options")


class Confirm(Part):
    """Against the luck of the best: they and every arm are trained again, and the verdict rests on that alone."""

    top: int = optional(3, "how many of the best searched configurations, besides the arms", ge=1, le=MOST)
    seeds: Seeds = optional(25, "how many fresh seeds, or a list of seeds that the search does not use")


class Resources(Part):
    """What a pack may use, and how many train at once."""

    cpus: int = optional(1, "processors per pack", ge=1, le=MOST_PROCESSORS)
    gpus: float = optional(0, "GPUs per pack, at most one; packs share one by fractions", ge=0, le=1)
    pack: int | None = optional(
        None,
        "configurations per pack, at most, and fewer where cores would be idle; null: 8, or where epochs is 0 as many "
        "as the memory holds",
        ge=1,
    )
    concurrent: Concurrent = optional("auto", "packs at once; auto: as many as the machine or the cluster has room for")
    within: Seconds | None = optional(
        None, "how long a driver trains, as 2h, 90m, 1h30m, 1d or seconds; then the sweep stops, and can be resumed"
    )
    keep: Literal["weights", "states"] | None = optional(
        None,
        "of each complete configuration, weights: what `gradsweep weights` writes as PyTorch files | "
        "states: the optimizer's vectors as well, from which more epochs can go on",
    )

    @property
    def block(self) -> int:
        """How many configurations are suggested on the same results: `pack`, or PACK, whatever the memory holds."""
        return self.pack or PACK

    @property
    def ahead(self) -> int:
        """How many packs a sampler that learns from results, or a pruner, may have in training at once.

        It follows from the spec alone, so that suggestions are the same on any machine.
        """
        return AHEAD if self.concurrent == "auto" else int(self.concurrent)


class Tracking(Part):
    """Where the records go."""

    uri: Uri | None = optional(None, "an MLflow server's address; null: the store's own")
    notify: Webhook | None = optional(
        None, "a web address that is sent one JSON document when the sweep ends, stops or fails"
    )


def _listed(value: Any) -> Any:
    """One objective or several."""
    if value == []:
        raise ValueError("must not be empty")
    return value if isinstance(value, list) else [value]


class SweepSpec(Part):
    """One sweep, as its user asked for it."""

    name: Name = Field(description="[a-z0-9-], at most 47 characters")
    question: str | None = optional(None, "what the sweep is to answer")
    base: Base = optional({}, "the fields of a network that all configurations share")
    seeds: EachSeed = optional((0, 1, 2, 3, 4), "how many seeds per configuration, or a list of them")
    arms: Annotated[dict[str, Arm], AfterValidator(values.arms)] = optional(
        {}, "name -> what it has instead of base; run first"
    )
    search: SearchSpec | None = optional(None, "what is searched besides; null: the arms alone")
    objective: Annotated[tuple[ObjectiveSpec, ...], BeforeValidator(_listed)] = optional(
        (ObjectiveSpec(),), "{metric, goal, epoch}, or a list of them", strict=False
    )
    claim: str | None = optional(None, "the arm that the verdict is about: better than plain, as good as the best")
    claims: Annotated[tuple[ClaimSpec, ...], BeforeValidator(lambda value: () if value is None else value)] = optional(
        (), "what the verdict decides, in the place of what claim stands for", strict=False
    )
    confirm: Confirm | None = optional(None, "what is trained again on fresh seeds after the search")
    resources: Resources = optional(Resources(), "what a pack may use, and how many train at once")
    tracking: Tracking = optional(Tracking(), "where the records go")

    def members(self, parameters: Mapping[str, Value], *, confirming: bool = False) -> tuple[MemberConfig, ...]:
        """A configuration's members, one per seed (a fresh one, to confirm): base, and over it the parameters."""
        return tuple(self.member(parameters, seed) for seed in (self.fresh_seeds if confirming else self.seeds))

    def member(self, parameters: Mapping[str, Value], seed: int) -> MemberConfig:
        """One of a configuration's members. Raises ValueError for what no network can be."""
        return MemberConfig(**{**self.base, **parameters, "seed": seed})

    @property
    def fresh_seeds(self) -> tuple[int, ...]:
        """The seeds of the confirming stage, none of which is one of `seeds`; empty without one."""
        seeds = self.confirm.seeds if self.confirm else ()
        if isinstance(seeds, int):
            seeds = tuple(itertools.islice((s for s in itertools.count() if s not in self.seeds), seeds))
        return seeds

    @property
    def longest(self) -> int:
        """The most epochs that any configuration trains."""
        every = [self.base.get("epochs", FIELDS["epochs"].default)]
        every += [arm["epochs"] for arm in self.arms.values() if "epochs" in arm]
        if self.search and "epochs" in self.search.space:
            every += self.search.space["epochs"].ends.values()
        return int(max(every))

    @property
    def objectives(self) -> list[Objective]:
        """What a configuration is judged by."""
        return [Objective(o.metric, o.goal, o.epoch.within(self.longest)) for o in self.objective]

    def judged_claims(self) -> tuple[Claim, ...]:
        """What the verdict decides: the claims that are stated, or what `claim` stands for."""
        if self.claims:
            return judged(self.claims, self.objectives, self.longest)
        return default_claims(self.claim, self.arms, self.objectives) if self.claim is not None else ()

    def search_plan(self, configurations: int | None = None) -> SearchPlan:
        """What is to be searched; a grid has all of its points where no number is given."""
        base = {name: self.base.get(name, field.default) for name, field in FIELDS.items() if name != "seed"}
        goals, confirm = tuple(o.direction for o in self.objectives), self.confirm.top if self.confirm else 0
        packs: dict[str, Any] = {"block": self.resources.block, "ahead": self.resources.ahead}
        if (search := self.search) is None:
            return SearchPlan(goals, self.arms, base=base, epochs=self.longest, **packs)
        if not (configurations := configurations or search.configurations):
            from search_spaces.samplers import grid  # and Optuna with it

            configurations = len(grid(search.space, base, **search.sampler))
        searched = dict(search) | {"configurations": configurations}
        del searched["from_"]
        return SearchPlan(goals, self.arms, base=base, epochs=self.longest, confirm=confirm, **packs, **searched)

    def to_yaml(self) -> str:
        """The spec as YAML that reads back to an equal one, with what was left open filled in."""
        data = self.model_dump()
        if self.seeds == tuple(range(len(self.seeds))):
            data["seeds"] = len(self.seeds)
        for objective, written in zip(self.objective, data["objective"], strict=True):
            if objective.epoch == LAST:
                del written["epoch"]
        if len(self.objective) == 1:
            (data["objective"],) = data["objective"]
        data["claims"] = [claim.given for claim in self.claims]
        if search := data["search"]:
            search["from"] = search.pop("from_")
        # Left out where there are none, so that a sweep begun without them is the same sweep.
        named = (data, "search"), (data, "claims"), (data, "confirm"), (search, "pruner"), (search, "from")
        resources, tracking = data["resources"], data["tracking"]
        options = *((resources, key) for key in ("within", "keep", "pack")), (tracking, "notify")
        for part, key in (*named, *options):
            if part and not part[key]:
                del part[key]
        return dump(data)


PARTS: dict[str, type[Part]] = {
    "search": SearchSpec,
    "objective": ObjectiveSpec,
    "claims": ClaimSpec,
    "confirm": Confirm,
    "resources": Resources,
    "tracking": Tracking,
}
