"""Every field of a member and every choice of it, in a spec: in base, in an arm and in the space, and trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_type_hints

import pandas as pd
import pytest

import sweeps
import tracking
from search_spaces.space import SEARCHABLE
from sweeps.spec.reading import parse
from sweeps.spec.yaml_lines import dump
from trainers.members import CHOICES, FIELDS, NUMBERS, OPTIONAL, WHOLE, MemberConfig

TINY = {
    "regime": "combined",
    "blocks": 1,
    "convolutions": 1,
    "channels": 2,
    "dense": 1,
    "units": 4,
    "init_scale": 1.0,
    "epochs": 1,
    "batch_size": 32,
}
# What a field needs beside it to mean something.
BESIDE: dict[str, dict[str, Any]] = {"slope": {"activation": "leaky_relu"}, "epsilon": {"optimizer": "rmsprop"}}
BESIDE |= {"regime": {"blocks": 0}, "cell": {"blocks": 0}}
BESIDE["scaled_gates"] = {"blocks": 0, "cell": "lstm"}
BESIDE["forget_bias"] = {"blocks": 0, "cell": "lstm", "dense_bias": True}
NUMBER_VALUES = {"alpha": (0.5, 3.0), "learning_rate": (0.01, 0.1), "epsilon": (1e-9, 1e-3)}
NUMBER_VALUES["holdout"] = (0.2, 0.5)
WHOLE_VALUES = {"blocks": (0, 2), "batch_size": (8, 64), "warmup": (0, 1)}
LISTS = {"measure": (["signal"], ["jacobian", "signal"]), "measure_at": ([0], [1, 0])}
SWITCHES = {"residual", "dense_bias", "scaled_gates"}
NOT_IN_BASE = ("alpha", "r")


def values_of(field: str) -> list[Any]:
    """Every choice of a field, or some of its numbers."""
    if field in CHOICES:
        return [*CHOICES[field]]
    if field in NUMBERS:
        return [*NUMBER_VALUES.get(field, (0.25, 2.0)), *([None] if field in OPTIONAL else [])]
    if field in WHOLE:
        return [*WHOLE_VALUES.get(field, (1, 3))]
    return [*LISTS.get(field, (True, False))]


FIELDS_OF_A_SPEC = [name for name in FIELDS if name not in ("seed", "data")]
# A device is what the cuda engine takes.
EVERY = {field: [v for v in values_of(field) if v != "cuda"] for field in FIELDS_OF_A_SPEC}
# Of numbers one stands for all.
TRAINED = [(f, v) for f, values in EVERY.items() for v in (values[1:] if f in NUMBERS or f in WHOLE else values)]


def spec_of(images: str, base: dict[str, Any], **more: Any) -> str:
    return dump({"name": "every", "base": TINY | {"data": images} | base, "seeds": [3], **more})


def is_value(recorded: Any, value: Any) -> bool:
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    return bool(pd.isna(recorded)) if value is None else bool(recorded == value)


def of_member(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def test_no_field_is_left_out() -> None:
    known = {*CHOICES, *NUMBERS, *WHOLE, *LISTS, "data"}
    assert {name for name in FIELDS if name not in known} == SWITCHES
    assert all(get_type_hints(MemberConfig)[name] == bool | None for name in SWITCHES)


@pytest.mark.parametrize("field", FIELDS_OF_A_SPEC)
def test_a_field_is_read_in_base_in_an_arm_and_in_the_space(images: str, field: str) -> None:
    for value in values_of(field):
        beside = BESIDE.get(field, {}) if value is not None else {}
        if field not in NOT_IN_BASE:
            (member,) = parse(spec_of(images, {**beside, field: value}, arms={"a": {}})).members({})
            assert getattr(member, field) == of_member(value)
        spec = parse(spec_of(images, beside, arms={"a": {field: value}}))
        (member,) = spec.members(spec.arms["a"])
        assert getattr(member, field) == of_member(value)
    if field in SEARCHABLE:
        choices = [value for value in values_of(field) if value is not None]
        spec = parse(spec_of(images, BESIDE.get(field, {}), search={"space": {field: choices}, "configurations": 1}))
        assert spec.search and spec.search.space[field].values == tuple(choices)
        if field in NUMBERS or field in WHOLE:
            ends = {"low": choices[0], "high": choices[-1]}
            spec = parse(spec_of(images, BESIDE.get(field, {}), search={"space": {field: ends}, "configurations": 1}))
            assert spec.search and spec.search.space[field].integer == (field in WHOLE)


def test_a_network_of_each_value_is_trained_and_its_records_carry_it(images: str, tmp_path: Path) -> None:
    arms = {
        f"{field}-{place}": {**(BESIDE.get(field, {}) if value is not None else {}), field: value}
        for place, (field, value) in enumerate(TRAINED)
    }
    result = sweeps.run(
        {"name": "every", "base": TINY | {"data": images}, "seeds": [3], "arms": arms, "resources": {"pack": 200}},
        store=tmp_path,
        executor="in-process",
    )
    assert result.failures == {}
    frame = tracking.load("every", tmp_path)
    ends = frame.loc[frame.groupby("arm")["epoch"].idxmax()].set_index("arm")
    for arm, (field, value) in zip(arms, TRAINED, strict=True):
        end = ends.loc[arm]
        if (field, value) != ("engine", "auto"):
            assert is_value(end[field], value), arm
        assert end["epoch"] == (value if field == "epochs" else 1)
    assert set(tracking.load_layers("every", tmp_path)["arm"]) == set(arms)


@pytest.mark.slow
@pytest.mark.parametrize("field", FIELDS_OF_A_SPEC)
def test_what_is_given_in_base_or_found_by_a_grid_is_what_is_trained(images: str, tmp_path: Path, field: str) -> None:
    for place, value in enumerate(EVERY[field] if field not in NOT_IN_BASE else []):
        base = {**(BESIDE.get(field, {}) if value is not None else {}), field: value}
        text = spec_of(images, base, arms={"a": {}})
        (tmp_path / "base.yaml").write_text(text, encoding="utf-8")
        name = f"base-{place}"
        sweeps.run(tmp_path / "base.yaml", store=tmp_path / "store", executor="in-process", name=name)
        recorded = tracking.load(name, tmp_path / "store")[field].unique().tolist()
        assert len(recorded) == 1 and (value == "auto" or is_value(recorded[0], value))
    if field in SEARCHABLE:
        choices = [value for value in EVERY[field] if value is not None]
        search = {"space": {field: choices}, "sampler": {"name": "grid"}}
        (tmp_path / "grid.yaml").write_text(spec_of(images, BESIDE.get(field, {}), search=search), encoding="utf-8")
        sweeps.run(tmp_path / "grid.yaml", store=tmp_path / "store", executor="in-process", name="grid")
        assert set(tracking.load("grid", tmp_path / "store")[field]) == set(choices)
