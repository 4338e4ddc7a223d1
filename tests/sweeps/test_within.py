"""A sweep whose time is up ends in good order, says how far it has come, and goes on as if nothing had happened."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

import sweeps
from sweeps.cli import _status
from sweeps.driver.driver import Driver
from sweeps.driver.kept import Kept
from sweeps.driver.signals import Interrupt
from sweeps.driver.status import look_at
from sweeps.driver.sweep import Outcome, run
from sweeps.spec.reading import parse
from sweeps.spec.values import seconds, span
from tracking.ledger import Ledger, opened
from tracking.mirrors.mlflow import MlflowMirror
from tracking.results import load
from tracking.store import Store
from tracking.types import Sweep
from trainers.errors import RequestError, SpecError

SPEC = """\
name: timed
base: {{init_scale: 1.0, data: "{images}", epochs: 4, batch_size: 8}}
seeds: 2
arms:
  plain: {{alpha: 1.0}}
  paper: {{alpha: 2.0, r: 0.01}}
search:
  space: {{alpha: {{low: 0.5, high: 8.0, log: true}}}}
  sampler: {{name: tpe, seed: 0}}
  configurations: 4
claim: paper
resources: {{pack: 2, concurrent: 1, within: {within}}}
"""

Go = Callable[..., Outcome]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.at(tmp_path / "store")


@pytest.fixture
def go(images: str, store: Store) -> Go:
    def go(within: str = "2h", resume: bool = False, place: Store = store, seeds: str = "2") -> Outcome:
        spec = parse(SPEC.format(images=images, within=within), settings=[f"seeds={seeds}"])
        with Interrupt() as interrupt:
            return run(spec, place, interrupt, executor="in-process", resume=resume, show=lambda *_: nullcontext())

    return go


def up_after(epochs: int, patch: pytest.MonkeyPatch) -> None:
    """The time is up once so many epochs of configurations have been trained."""
    patch.setattr(Driver, "time_is_up", property(lambda driver: driver.progress.epochs >= epochs))


@pytest.mark.parametrize(
    ("written", "length", "shown"),
    [("2h", 7200, "2h"), ("90m", 5400, "1h30m"), ("30s", 30, "30s"), ("1h30m", 5400, "1h30m"), ("1d", 86400, "1d")]
    + [(45, 45, "45s"), (0.5, 0.5, "0.5s"), ("1.5h", 5400, "1h30m"), ("26h", 93600, "1d2h")],
)
def test_a_time_is_written_as_people_write_it(written: object, length: float, shown: str) -> None:
    assert (seconds(written), span(length)) == (length, shown)
    assert seconds(shown) == length


@pytest.mark.parametrize("written", ["soon", "", "2", "30m1h", "-1h", "0h", 0, -5, True, None, float("inf"), "1:30"])
def test_what_is_no_time_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="must be a time like 2h, 90m, 30s, 1h30m or 1d, or seconds, but got"):
        seconds(written)


def test_it_is_in_the_spec_only_where_it_is_given(images: str) -> None:
    spec = parse(SPEC.format(images=images, within="90m"))
    assert "within: 1h30m" in spec.to_yaml() and parse(spec.to_yaml()) == spec
    without = parse(spec.to_yaml(), settings=["resources.within=null"])
    assert "within" not in without.to_yaml()
    with pytest.raises(SpecError, match=r"spec:\d+: resources.within: must be a time like 2h"):
        parse(SPEC.format(images=images, within="soon"))


def test_the_clock_is_the_drivers_own(images: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr("sweeps.driver.driver.time", SimpleNamespace(monotonic=lambda: clock.now))
    spec = parse(SPEC.format(images=images, within="2h"))
    ledger = Ledger.create(f"sqlite:///{tmp_path}/ledger.db")
    sweep = ledger.begin(Sweep(spec.name, spec.to_yaml()))
    driver = Driver(spec, ledger, sweep, tmp_path / "packs", Kept(tmp_path / "kept"))
    clock.now += 7199
    assert not driver.time_is_up and driver.next_pack() is not None and driver.more_later
    clock.now += 1
    assert driver.time_is_up and driver.next_pack() is None and not driver.more_later
    again = Driver(spec, ledger, sweep, tmp_path / "packs", Kept(tmp_path / "kept"))
    assert not again.time_is_up and again.next_pack() is not None
    ledger.close()


def test_a_sweep_ends_after_the_epoch_that_it_is_in_and_goes_on_as_if_nothing_had_happened(
    go: Go, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = Store.at(tmp_path / "undisturbed")
    go(place=undisturbed)
    with monkeypatch.context() as patch:
        up_after(11, patch)
        outcome = go()
    assert outcome.time_is_up == "The time (within: 2h) is up: 2 of 6 configurations have ended."
    assert outcome.interrupted is None and outcome.verdict is not None
    assert "paper" in outcome.verdict.text and outcome.lag.waiting == 0
    # Of the second pack 2 epochs of each configuration, and its states.
    assert load("timed", store).groupby("configuration")["epoch"].max().tolist() == [4, 4, 2, 2]
    assert list(store.states("timed").glob("*.npz*"))
    assert look_at("timed", store)["state"] == "stopped"
    with opened("timed", store) as (_, sweep):
        assert sweep.status == "killed"
        assert sweep.note.startswith("The time (within: 2h) is up: 2 of 6 configurations have ended.\n\n")

    outcome = go(within="3h", resume=True)
    assert (outcome.time_is_up, outcome.counts.complete) == ("", 6)
    whole, resumed = (load("timed", place).drop(columns="seconds") for place in (undisturbed, store))
    pd.testing.assert_frame_equal(resumed, whole, check_exact=True)
    with opened("timed", store) as (ledger, sweep):
        assert (sweep.status, "within: 3h" in sweep.spec) == ("finished", True)
        assert ledger.trained_again(sweep) == {}


def test_mlflow_shows_a_stop(go: Go, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        up_after(11, patch)
        go()
    states = statuses(store)
    assert states["timed"] == "KILLED" and list(states.values()).count("FINISHED") == 2
    assert list(states.values()).count("KILLED") == 3
    go(resume=True)
    assert set(statuses(store).values()) == {"FINISHED"} and len(statuses(store)) == 7


def statuses(store: Store) -> dict[str, str]:
    with opened("timed", store) as (ledger, sweep):
        mirror = MlflowMirror(store, ledger)
        try:
            return {str(run.info.run_name): run.info.status for run in mirror.runs(sweep)}
        finally:
            mirror.close()


def test_a_resume_with_fewer_seeds_is_still_refused(go: Go) -> None:
    go(within="0.0001s")
    with pytest.raises(RequestError, match="a different seeds:"):
        go(resume=True, seeds="1")


def test_the_command_says_how_to_continue(
    images: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A time that is up at once: nothing is handed out, and nothing is wrong."""
    monkeypatch.chdir(tmp_path)
    Path("timed.yaml").write_text(SPEC.format(images=images, within="0.0001s"))
    assert _status(["run", "timed.yaml", "--executor", "in-process"]) == 0
    out, err = capsys.readouterr()
    assert err.splitlines()[-1] == (
        "The time (within: 0.0001s) is up: 0 of 6 configurations have ended. "
        "To continue: gradsweep run timed.yaml --resume --executor in-process"
    )
    assert "timed: 0 of 6 configurations" in out
    assert _status(["run", "timed.yaml", "--resume", "--executor", "in-process", "--set", "resources.within=1h"]) == 0
    assert look_at("timed", Store.at(None))["state"] == "finished"


def test_in_python_a_warning_says_so(images: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spec = {"name": "x", "base": {"data": images}, "arms": {"a": {}}, "resources": {"within": 0.0001}}
    with caplog.at_level(logging.WARNING, "gradsweep"):
        result = sweeps.run(spec, store=tmp_path / "store", executor="in-process")
    assert result.name == "x"
    assert "is up: 0 of 1 configurations have ended. To continue: sweeps.run(..., resume=True)" in caplog.text


def test_plan_says_so(images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "timed.yaml"
    file.write_text(SPEC.format(images=images, within="90m"))
    assert _status(["plan", str(file), "--set", "tracking.notify=https://host/x"]) == 0
    out, _ = capsys.readouterr()
    assert "\nwithin          1h30m, then the sweep stops; a resume has the whole time again\n" in out
    assert out.endswith("\nnotify          https://host/x\n")
    assert _status(["plan", str(file), "--set", "resources.within=null"]) == 0
    out, _ = capsys.readouterr()
    assert "within" not in out and "notify" not in out
