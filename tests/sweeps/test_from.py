"""A sweep whose sampler is told what an earlier one knows: marked, the same at a resume, and in none of its results."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweeps.commands.run import plan_text
from sweeps.driver.driver import Driver
from sweeps.driver.signals import Interrupt
from sweeps.driver.sweep import Outcome, run
from sweeps.plan import plan_of
from sweeps.report_page import make_report
from sweeps.spec.reading import parse
from tracking.ledger import opened
from tracking.results import load
from tracking.store import Store
from trainers.errors import RequestError, SpecError

Go = Callable[..., Outcome]


@pytest.fixture(scope="module")
def make(images: str) -> Callable[..., str]:
    """A spec as text: `changes` by dotted keys."""

    def make(name: str, changes: Mapping[str, Any] = {}) -> str:
        spec: dict[str, Any] = {
            "name": name,
            "base": {"init_scale": 1.0, "data": images, "epochs": 1, "batch_size": 8},
            "seeds": 2,
            "arms": {"plain": {"alpha": 1.0}},
            "search": {
                "space": {"alpha": {"low": 0.5, "high": 8.0, "log": True}},
                "sampler": {"name": "tpe", "seed": 0, "n_startup_trials": 2},
                "configurations": 4,
            },
            "claim": "plain",
            "resources": {"pack": 2, "concurrent": 1},
        }
        for key, value in changes.items():
            *path, last = key.split(".")
            inner = spec
            for part in path:
                inner = inner[part]
            inner[last] = value
        return yaml.safe_dump(spec, sort_keys=False)

    return make


@pytest.fixture(scope="module")
def go(make: Callable[..., str]) -> Go:
    def go(store: Store, name: str, resume: bool = False, **changes: Any) -> Outcome:
        spec = parse(make(name, {key.replace("__", "."): value for key, value in changes.items()}))
        with Interrupt() as interrupt:
            return run(spec, store, interrupt, executor="in-process", resume=resume, show=lambda *_: nullcontext())

    return go


@pytest.fixture(scope="module")
def store(go: Go, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with the earlier sweep, `first`, and one that was told of it, `second`."""
    store = Store.at(tmp_path_factory.mktemp("from") / "store")
    go(store, "first")
    go(store, "second", search__from="first")
    return store


def searched(store: Store, name: str) -> list[Any]:
    with opened(name, store) as (ledger, sweep):
        return [c.parameters for c in ledger.configurations(sweep) if not c.arm]


def test_the_sampler_knows_more_from_its_first_suggestion_on(store: Store) -> None:
    assert len(searched(store, "second")) == 4
    # Of one seed: without `from` they would be equal. The first of `first` are drawn at random.
    assert searched(store, "second")[0] != searched(store, "first")[0]


def test_it_is_marked_and_in_no_record(store: Store, go: Go, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "gradsweep"):
        outcome = go(store, "second", search__from="first", resume=True)
    line = "first: 5 configurations told to the sampler"
    assert f"from {line}" in caplog.text
    with opened("second", store) as (_, sweep):
        assert sweep.settings["from"] == line
    assert outcome.counts.total == 5 and set(load("second", store)["sweep"]) == {"second"}
    assert outcome.verdict is not None and len(outcome.verdict.objectives[0].ranking) == 5
    page, _ = make_report(outcome.spec, store, outcome.verdict)
    assert line in page
    with opened("first", store) as (_, sweep):
        assert "from" not in sweep.settings


def test_a_resume_is_told_the_same_whatever_the_earlier_sweep_has_done_since(
    go: Go, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Store.at(tmp_path / "store")
    go(place, "first")
    with monkeypatch.context() as patch:
        patch.setattr(Driver, "time_is_up", property(lambda driver: driver.progress.epochs >= 1))
        stopped = go(place, "second", search__from="first", resources__within="1h")
    assert stopped.counts.ended < 5
    go(place, "first", search__configurations=8, resume=True)
    assert len(searched(place, "first")) == 8
    go(place, "second", search__from="first", resume=True)
    assert searched(place, "second") == searched(store, "second")


def test_what_does_not_lie_in_the_space_is_counted(go: Go, store: Store) -> None:
    go(store, "other", search__from="first", search__space={"alpha": {"low": 100.0, "high": 200.0}})
    with opened("other", store) as (_, sweep):
        assert sweep.settings["from"] == (
            "first: 0 configurations told to the sampler; 5 left out, which this search does not have: 5 in alpha"
        )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"search__from": "nobody"}, "search.from: there is no sweep named 'nobody' in the store; there are first"),
        (
            {"search__from": "first", "objective": {"metric": "train.loss", "goal": "minimize"}},
            "search.from: first has another objective: maximize validation.accuracy, and not minimize train.loss",
        ),
    ],
)
def test_a_sweep_that_can_tell_nothing_is_refused(go: Go, store: Store, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(RequestError) as error:
        go(store, "third", **changes)
    assert says in str(error.value) and error.value.exit_code == 2
    with pytest.raises(RequestError, match="no sweep named"), opened("third", store):
        pass


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"search.from": "third"}, "search.from: must be another sweep, but got this one's own name, 'third'"),
        ({"search.from": "No Name"}, "search.from: must be 1 to 47 of a-z"),
        (
            {"search.from": "first", "search.sampler": {"name": "random"}},
            "search.from: has no effect: sampler random learns from no results; tpe, gp, cmaes, nsga2 do",
        ),
        (
            {"search.from": "first", "search.sampler": {"name": "cmaes", "sigma0": 0.1}},
            "search.from: does not go with sigma0: it says where cmaes starts, too",
        ),
    ],
)
def test_a_wrong_request(make: Callable[..., str], changes: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError) as error:
        parse(make("third", changes))
    assert says in str(error.value)


def test_the_spec_and_the_plan(make: Callable[..., str]) -> None:
    spec = parse(make("second", {"search.from": "first"}))
    assert "from: first" in spec.to_yaml() and parse(spec.to_yaml()) == spec
    assert "\nfrom            first: its results in this space are told to the sampler" in plan_text(plan_of(spec))
    without = parse(make("second"))
    assert "from" not in without.to_yaml() and "\nfrom " not in plan_text(plan_of(without))
