"""The spec as types (section 5 of the design). What each field means is said here once; the command line quotes it.

Pydantic holds the shape; `sweeps.spec.checks` what must hold between the fields. A spec that exists is one that can
run: each of its configurations makes members.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, model_validator
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from search_spaces.plan import SearchPlan, Settings
from search_spaces.space import Choice, Range, Value
from sweeps.spec import checks as spec_checks
from sweeps.spec import claims as spec_claims
from sweeps.spec.checks import Problem
from sweeps.spec.yaml_lines import dump
from tracking.verdict.claims import Claim
from trainers.members import FIELDS, MemberConfig

MOST = 1_000_000  # configurations
MOST_PROCESSORS = 1024  # of a machine


def _members(title: str, without: tuple[str, ...]) -> Any:
    """A mapping of MemberConfig's fields, none of them required, as a type."""
    types = get_type_hints(MemberConfig)
    fields = {
        name: Annotated[types[name], Field(description=field.metadata["help"])]
        for name, field in FIELDS.items()
        if name not in without
    }
    make: Any = TypedDict  # mypy knows none that is made at run time
    typed = make(title, fields, total=False)
    typed.__pydantic_config__ = ConfigDict(extra="forbid", strict=True)
    return typed


if TYPE_CHECKING:
    Base = dict[str, Any]
    Arm = dict[str, Any]
else:
    Base = _members("Base", without=("alpha", "r", "seed"))
    Arm = _members("Arm", without=("seed",))


def problems_error(problems: list[Problem]) -> PydanticCustomError:
    """What a validator raises for problems at several places below its own."""
    return PydanticCustomError("problems", "{text}", {"text": problems[0].message, "problems": problems})


def _checked(check: Any) -> PlainValidator:
    def validate(value: Any) -> Any:
        found, problems = check(value)
        if problems:
            raise problems_error(problems)
        return found

    return PlainValidator(validate)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Objective(_Part):
    """What a configuration is judged by: the mean over its seeds of a metric after its last epoch."""

    metric: str = Field(default="validation.accuracy", description="the name of a metric")
    goal: Literal["maximize", "minimize"] = Field(default="maximize", description="maximize | minimize")


class SearchSpec(_Part):
    """What is searched, how, and how long."""

    space: Annotated[dict[str, Range | Choice], _checked(spec_checks.space)] = Field(
        description="key -> {low, high, log, integer}, or a list to choose from"
    )
    sampler: Annotated[Settings, _checked(spec_checks.settings)] = Field(
        default=Settings("tpe"), description="{name: tpe | random | grid | qmc | gp | cmaes | nsga2, seed, options}"
    )
    configurations: int | None = Field(
        default=None,
        ge=1,
        le=MOST,
        description="how many, besides the arms; a grid has all of its points where it is not given",
    )
    pruner: Annotated[Settings, _checked(spec_checks.settings)] | None = Field(
        default=None, description="{name: asha | hyperband | median | percentile | threshold | patient, options}"
    )


class Confirm(_Part):
    """Against the luck of the best: they and every arm are trained again, and the verdict rests on that alone."""

    top: int = Field(
        default=3, ge=1, le=MOST, description="how many of the best searched configurations, besides the arms"
    )
    seeds: Annotated[int | tuple[int, ...], _checked(spec_checks.fresh_seeds)] = Field(
        default=25, description="how many fresh seeds, or a list of seeds that the search has not"
    )


class ClaimSpec(_Part):
    """What the verdict is to decide: better ... than, as_good ... as, or similar ... to.

    Of each seed its mean over the epochs from since to until is compared: the last epoch where neither is given.
    """

    name: str | None = Field(default=None, description="what it is called; else made of what it says")
    says: str | None = Field(default=None, description="the claim in its author's words")
    better: str | None = Field(default=None, description="an arm, or best, that is better than the arm of than")
    than: str | None = Field(default=None, description="an arm, or best: of all configurations but the other")
    by: Annotated[float | str, _checked(spec_claims.amount)] | None = Field(
        default=None, description="better by more than this, in the metric's unit or as 10%; else by anything"
    )
    as_good: str | None = Field(default=None, description="an arm, or best, that is as good as the arm of as")
    as_: str | None = Field(default=None, alias="as", description="an arm, or best")
    similar: str | None = Field(default=None, description="an arm that is neither better nor worse than the arm of to")
    to: str | None = Field(default=None, description="an arm")
    margin: Annotated[float | str, _checked(spec_claims.amount)] | None = Field(
        default=None, description="the difference that does not matter, in the metric's unit or as 10%"
    )
    metric: str | None = Field(default=None, description="the name of a metric; else the first objective's")
    goal: Literal["maximize", "minimize"] | None = Field(
        default=None, description="which of it is better; else the objective's, where it is one"
    )
    since: int | None = Field(default=None, ge=0, description="the first epoch that counts; 0 is before the first step")
    until: int | None = Field(default=None, ge=0, description="the last epoch that counts")


class Resources(_Part):
    """What a pack may use, and how many train at once."""

    cpus: int = Field(default=1, ge=1, le=MOST_PROCESSORS, description="processors a pack")
    gpus: float = Field(default=0, ge=0, le=1, description="GPUs a pack, one at most; a fraction shares one")
    pack: int = Field(
        default=8, ge=1, description="configurations a pack, at most: fewer where cores would else stand idle"
    )
    concurrent: Annotated[int | Literal["auto"], _checked(spec_checks.concurrent)] = Field(
        default="auto", description="packs at once; auto: as many as the machine or the cluster has room for"
    )


class Tracking(_Part):
    """Where the records go."""

    uri: Annotated[str | None, _checked(spec_checks.tracking_uri)] = Field(
        default=None, description="an MLflow server's address; null: the store's own"
    )


def _listed(value: Any) -> Any:
    """One objective or several; lists are what YAML has, and strict tuples are not made of them."""
    return tuple(value) if isinstance(value, list) else value if isinstance(value, tuple) else (value,)


def _tuple(value: Any) -> Any:
    return () if value is None else tuple(value) if isinstance(value, list) else value


class SweepSpec(_Part):
    """One sweep, as its user asked for it."""

    name: str = Field(description="[a-z0-9-], at most 47 characters")
    question: str | None = Field(default=None, description="what the sweep is to answer")
    base: Base = Field(default={}, description="what every configuration shares: a member without alpha, r and seed")
    seeds: Annotated[tuple[int, ...], _checked(spec_checks.seeds)] = Field(
        default=(0, 1, 2, 3, 4), description="how many seeds a configuration has, or a list of them"
    )
    arms: dict[str, Arm] = Field(default={}, description="name -> what it has instead of base; run first")
    search: SearchSpec | None = Field(default=None, description="what is searched besides; null: the arms alone")
    objective: Annotated[tuple[Objective, ...], BeforeValidator(_listed)] = Field(
        default=(Objective(),), description="{metric, goal}, or a list of them"
    )
    claim: str | None = Field(
        default=None, description="the arm that the verdict is about: better than plain, as good as any"
    )
    claims: Annotated[tuple[ClaimSpec, ...], BeforeValidator(_tuple)] = Field(
        default=(), description="what the verdict decides, in the place of what claim stands for"
    )
    confirm: Confirm | None = Field(default=None, description="what is trained again on fresh seeds after the search")
    resources: Resources = Resources()
    tracking: Tracking = Tracking()

    @model_validator(mode="after")
    def _check(self) -> SweepSpec:
        if problems := spec_checks.problems(self):
            raise problems_error(problems)
        return self

    def members(self, parameters: Mapping[str, Value], *, confirming: bool = False) -> tuple[MemberConfig, ...]:
        """A configuration's members, one a seed (a fresh one, to confirm): base, and over it the parameters."""
        seeds = self.fresh_seeds if confirming else self.seeds
        return tuple(MemberConfig(**{**self.base, **parameters, "seed": seed}) for seed in seeds)

    @property
    def fresh_seeds(self) -> tuple[int, ...]:
        """The seeds of the confirming stage, none of which is one of `seeds`; empty without one."""
        if self.confirm is None:
            return ()
        if isinstance(self.confirm.seeds, tuple):
            return self.confirm.seeds
        return tuple(itertools.islice((s for s in itertools.count() if s not in self.seeds), self.confirm.seeds))

    def judged_claims(self) -> tuple[Claim, ...]:
        """What the verdict decides."""
        return spec_claims.claims_of(self)

    def search_plan(self) -> SearchPlan:
        """What `search_spaces.search.Search` is to do."""
        return spec_checks.search_plan(self)

    def to_yaml(self) -> str:
        """The spec as YAML that reads back to an equal one, with what was left open filled in."""
        counted = self.seeds == tuple(range(len(self.seeds)))
        data: dict[str, Any] = {
            "name": self.name,
            "question": self.question,
            "base": self.base,
            "seeds": len(self.seeds) if counted else list(self.seeds),
            "arms": self.arms,
        }
        if self.search is not None:
            data["search"] = {
                "space": {key: _entry(what) for key, what in self.search.space.items()},
                "sampler": _named(self.search.sampler),
                "configurations": self.search.configurations,
            }
            if self.search.pruner is not None:
                data["search"]["pruner"] = _named(self.search.pruner)
        objectives = [objective.model_dump() for objective in self.objective]
        data["objective"] = objectives if len(objectives) > 1 else objectives[0]
        data["claim"] = self.claim
        # Left out where there are none, so that a sweep begun without them is the same sweep.
        if self.claims:
            data["claims"] = [claim.model_dump(by_alias=True, exclude_none=True) for claim in self.claims]
        if self.confirm is not None:
            fresh = self.confirm.seeds
            data["confirm"] = {"top": self.confirm.top, "seeds": fresh if isinstance(fresh, int) else list(fresh)}
        data["resources"] = self.resources.model_dump()
        data["tracking"] = self.tracking.model_dump()
        return dump(data)


def _entry(what: Range | Choice) -> Any:
    if isinstance(what, Choice):
        return list(what.values)
    flags = {name: True for name in ("log", "integer") if getattr(what, name)}
    return {"low": what.low, "high": what.high, **flags}


def _named(settings: Settings) -> dict[str, Any]:
    return {"name": settings.name, **settings.options}
