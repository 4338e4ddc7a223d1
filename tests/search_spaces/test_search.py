"""The study behind a sweep: what it keeps, and that a kill at any point loses nothing."""

from __future__ import annotations

import math
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.storages import RDBStorage

from search_spaces import storage
from search_spaces.plan import SearchPlan, Settings
from search_spaces.search import Configuration, Counts, Ended, Search, studies
from search_spaces.space import Choice, Range
from trainers.errors import OptionError, SearchError

PLAN = SearchPlan(
    arms={"plain": {"alpha": 1.0, "r": 0.0}, "paper": {"alpha": 2.0, "r": 0.01}},
    space={"alpha": Range(0.5, 8.0, log=True), "r": Range(1e-5, 1.0, log=True), "activation": Choice(("tanh", "relu"))},
    configurations=12,
    base={"regime": "combined", "activation": "tanh", "scaling": "rescaled"},
    epochs=9,
    sampler=Settings("tpe", {"n_startup_trials": 3}),
    pruner=Settings("asha", {"reduction": 2, "min_epochs": 2}),
)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/optuna.db"


def value(c: Configuration) -> float:
    return -abs(math.log(float(c.parameters["alpha"]) / 2)) - float(c.parameters["r"])


def test_a_sweep_from_end_to_end(url: str) -> None:
    search = Search.create("s", url, PLAN, {"spec": "name: s"})
    first = search.ask(8, "a")
    assert [c.number for c in first] == list(range(8)) and {c.pack for c in first} == {"a"}
    assert search.running() == first
    assert search.counts() == Counts(14, 0, 0, 0, 0, 8)
    search.tell(0, "complete", [0.5])
    search.tell(1, "pruned", None, intermediate={1: 0.1, 2: 0.2})
    search.tell(2, "diverged", None, reason="the loss is not finite")
    search.tell(3, "failed", None, reason="worker lost")
    assert search.counts() == Counts(14, 1, 1, 1, 1, 4) and search.counts().ended == 4
    assert search.running() == first[4:]
    assert [c.number for c in search.ask(8, "b")] == list(range(8, 14)), "no more than the plan has"
    assert search.ask(8, "c") == []
    assert [(e.state, e.values, e.reason) for e in search.ended()] == [
        ("complete", (0.5,), ""),
        ("pruned", (0.2,), ""),
        ("diverged", None, "the loss is not finite"),
        ("failed", None, "worker lost"),
    ]
    search.close()

    study = optuna.load_study(study_name="s", storage=url)
    assert [t.state.name for t in study.trials[:5]] == ["COMPLETE", "PRUNED", "FAIL", "FAIL", "RUNNING"]
    assert [t.values for t in study.trials[:4]] == [[0.5], [0.2], None, None]
    assert study.trials[0].params == {}, "r = 0 lies outside of its range"
    assert study.trials[1].params == {"alpha": 2.0, "r": 0.01, "activation": "tanh"}
    for trial in study.trials[2:]:
        assert ("alpha" in trial.params) == (trial.params["activation"] == "tanh")
    study._storage.remove_session()


def test_what_was_told_first_stays(url: str) -> None:
    search = Search.create("s", url, PLAN, {})
    search.ask(2, "a")
    search.tell(0, "complete", [0.5])
    search.tell(0, "failed", None, reason="again")
    assert search.ended() == [Ended(0, "plain", {"alpha": 1.0, "r": 0.0}, "complete", (0.5,), "")]
    search.close()
    search = Search.open("s", url, PLAN)
    search.tell(0, "complete", [0.7])
    assert search.ended()[0].values == (0.5,)
    search.close()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_an_objective_that_is_not_finite_is_a_failure(url: str, bad: float) -> None:
    search = Search.create("s", url, PLAN, {})
    search.ask(2, "a")
    search.tell(0, "complete", [bad])
    search.tell(1, "pruned", [bad], intermediate={1: bad})
    assert [(e.state, e.values, e.reason) for e in search.ended()] == [
        ("failed", None, "the objective is not a finite number"),
        ("pruned", None, ""),
    ]
    search.close()


def test_what_can_not_be_told(url: str) -> None:
    search = Search.create("s", url, PLAN, {})
    search.ask(1, "a")
    with pytest.raises(ValueError, match="state must be one of complete, pruned, diverged, failed, but got 'done'"):
        search.tell(0, "done", [1.0])
    with pytest.raises(ValueError, match=r"a complete configuration has 1 value\(s\), but got \[1.0, 2.0\]"):
        search.tell(0, "complete", [1.0, 2.0])
    with pytest.raises(SearchError, match="the sweep 's' has no configuration 7"):
        search.tell(7, "complete", [1.0])
    search.close()


def test_names_and_attributes(url: str) -> None:
    assert studies(url) == []
    with pytest.raises(SearchError, match="there is no sweep named 's'"):
        Search.open("s", url, PLAN)
    assert not Path(url.removeprefix("sqlite:///")).exists(), "looking creates nothing"
    search = Search.create("s", url, PLAN, {"spec": "name: s\n" * 1000})
    Search.create("t", url, PLAN, {}).close()
    with pytest.raises(SearchError, match="a sweep named 's' exists already"):
        Search.create("s", url, PLAN, {})
    with pytest.raises(SearchError, match="there is no sweep named 'u'"):
        Search.open("u", url, PLAN)
    search.set_attribute("state", "stopped")
    assert search.attributes == {"spec": "name: s\n" * 1000, "state": "stopped"}
    assert studies(url) == ["s", "t"]
    search.close()


def test_to_read_no_plan_is_needed(url: str) -> None:
    driver = Search.create("s", url, PLAN, {})
    driver.ask(4, "a")
    reader = Search.open("s", url)
    driver.tell(0, "complete", [0.5])
    assert reader.counts() == Counts(14, 1, 0, 0, 0, 3) and len(reader.ended()) == 1
    for use in (lambda: reader.ask(1, "b"), lambda: reader.tell(1, "failed", None), reader.history):
        with pytest.raises(SearchError, match="opened without its plan: it can only be read"):
            use()
    driver.close()
    reader.close()


def test_a_plan_with_other_objectives_is_refused(url: str) -> None:
    Search.create("s", url, PLAN, {}).close()
    with pytest.raises(SearchError, match="begun with other objectives"):
        Search.open("s", url, SearchPlan(("minimize",), PLAN.arms))
    with pytest.raises(OptionError, match="unknown sampler"):
        Search.create("t", url, SearchPlan(space=PLAN.space, configurations=1, sampler=Settings("x")), {})


def test_a_database_that_can_not_be_opened(tmp_path: Path) -> None:
    with pytest.raises(SearchError, match="can't open sqlite:///.*/no/optuna.db: .*No such file or directory"):
        Search.create("s", f"sqlite:///{tmp_path}/no/optuna.db", PLAN, {})
    with pytest.raises(SearchError, match=r"can't open nosql://u:\*\*\*@h/d: "):
        Search.create("s", "nosql://u:secret@h/d", PLAN, {})


def test_several_drivers_make_the_tables_of_a_new_database(tmp_path: Path) -> None:
    ready = threading.Barrier(4)

    def create(name: str) -> None:
        ready.wait()
        Search.create(name, f"sqlite:///{tmp_path}/optuna.db", PLAN, {}).close()

    with ThreadPoolExecutor(4) as drivers:
        list(drivers.map(create, "abcd"))
    assert sorted(studies(f"sqlite:///{tmp_path}/optuna.db")) == list("abcd")


@pytest.mark.parametrize("folder", ["a {SCHEMA} b", "100%", "ü 1'2"])
def test_a_folder_may_have_any_name(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir()
    url = f"sqlite:///{tmp_path / folder}/optuna.db"
    search = Search.create("s", url, PLAN, {})
    search.ask(1, "a")
    search.close()
    assert (tmp_path / folder / "optuna.db").is_file() and studies(url) == ["s"]


def test_a_second_driver_is_noticed(url: str) -> None:
    one = Search.create("s", url, PLAN, {})
    two = Search.open("s", url, PLAN)
    one_asks, two_asks = one._rows(), two._rows()
    one._create(one_asks, 1, "a", 1)
    with pytest.raises(SearchError, match="another driver is at work on the sweep 's'"):
        two._create(two_asks, 1, "b", 1)
    one.close()
    two.close()


def test_a_creation_that_was_interrupted_leaves_nothing_of_another_plan(url: str) -> None:
    whole = Search.create("s", url, replace(PLAN, goals=("minimize", "minimize"), pruner=None), {"spec": "other"})
    key = sqlalchemy.text("DELETE FROM study_user_attributes WHERE key = 'created'")
    with whole._rdb.engine.begin() as connection:
        connection.execute(key)
    whole.close()
    Search.create("s", url, PLAN, {}).close()
    with closing(Search.open("s", url, PLAN)) as again:
        assert again.attributes == {}
        assert again.counts().running == 0


def test_the_history_of_a_pack_is_what_was_known_when_it_was_asked_for(url: str) -> None:
    search = Search.create("s", url, PLAN, {})
    search.ask(3, "a")
    search.tell(0, "complete", [0.5], intermediate={1: 0.1, 9: 0.5}, pruner_attributes={"completed_rung_0": 0.3})
    search.ask(3, "b")
    search.tell(1, "pruned", None, intermediate={1: 0.1}, pruner_attributes={"completed_rung_0": 0.1})
    search.tell(2, "diverged", None)
    search.tell(3, "pruned", None, intermediate={2: 0.2}, pruner_attributes={"completed_rung_0": 0.2})
    search.tell(4, "diverged", None, intermediate={1: 0.4, 2: 0.1})
    assert [p.number for p in search.history().past] == [0, 1, 3]
    known = search.history("b")
    assert [p.number for p in known.past] == [0], "1 was told later"
    assert [(p.number, p.intermediate) for p in known.own] == [(3, {2: 0.2}), (4, {1: 0.4})]
    assert known.past[0].intermediate == {9: 0.5} and known.past[0].attributes == {"completed_rung_0": 0.3}
    assert known.study == "s" and known.arms == 2
    search.close()
    again = Search.open("s", url, PLAN)
    assert again.history("b") == known
    again.close()


class Killed(BaseException):
    """Stands for SIGKILL: nothing below it is run any more."""


WRITES = (
    "create_new_study",
    "set_study_user_attr",
    "_create_new_trial",
    "set_trial_user_attr",
    "set_trial_state_values",
)


def kill_before(patch: pytest.MonkeyPatch, which: int) -> None:
    """Ends the driver before its `which`-th write, which is as good as after the one before."""
    left = [which]
    for name in WRITES:
        write: Callable[..., Any] = getattr(RDBStorage, name)

        def dying(*arguments: Any, write: Callable[..., Any] = write, **keywords: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                raise Killed
            return write(*arguments, **keywords)

        patch.setattr(RDBStorage, name, dying)


def drive(url: str) -> list[Ended]:
    """A driver, from wherever the last one was."""
    try:
        search = Search.open("s", url, PLAN)
    except SearchError:
        search = Search.create("s", url, PLAN, {"spec": "x"})
    waiting = search.running()
    while waiting or (waiting := search.ask(5, f"p{search.counts().ended}")):
        for c in waiting:
            state = "diverged" if c.number % 5 == 4 else "complete"
            search.tell(c.number, state, [value(c)] if state == "complete" else None)
        waiting = []
    assert search.attributes == {"spec": "x"}
    ended = search.ended()
    search.close()
    return ended


def test_a_kill_at_any_write_changes_nothing(tmp_path: Path) -> None:
    undisturbed = drive(f"sqlite:///{tmp_path}/whole.db")
    assert len(undisturbed) == 14
    # 3 to create, then packs of 5: 5 to ask, 10 to tell. In the second pack tpe has begun to learn.
    for which in [2, 3, 4, 7, 9, 10, 18, 19, 20, 21, 23, 24, 25, 26, 33, 41]:
        url = f"sqlite:///{tmp_path}/{which}.db"
        with pytest.MonkeyPatch.context() as patch:
            kill_before(patch, which)
            with pytest.raises(Killed):
                drive(url)
        study = optuna.load_study(study_name="s", storage=url) if studies_of_anybody(url) else None
        if study is not None and not study.user_attrs:
            optuna.delete_study(study_name="s", storage=url)  # without a mark it is nobody's but its user's to delete
        assert drive(url) == undisturbed, which


def studies_of_anybody(url: str) -> list[str]:
    try:
        return [study.study_name for study in optuna.get_all_study_summaries(url)]
    except sqlalchemy.exc.OperationalError:
        return []


def test_a_real_sigkill(tmp_path: Path, url: str) -> None:
    program = """
import runpy, sys
test = runpy.run_path(sys.argv[1])
search = test["Search"].create("s", sys.argv[2], test["PLAN"], {"spec": "x"})
while pack := search.ask(5, f"p{search.counts().ended}"):
    for c in pack:
        diverged = c.number % 5 == 4
        search.tell(c.number, "diverged" if diverged else "complete", None if diverged else [test["value"](c)])
        print(c.number, flush=True)
        if c.number == 7:
            sys.stdin.read()
"""
    child = subprocess.Popen(
        [sys.executable, "-c", program, __file__, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None and child.stdin is not None
    while child.stdout.readline().strip() != "7":
        assert child.poll() is None
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdin.close()
    child.stdout.close()
    assert drive(url) == drive(f"sqlite:///{tmp_path}/whole.db")


def test_sqlite_is_set_up_for_many_small_writes_that_a_power_failure_does_not_take(url: str) -> None:
    search = Search.create("s", url, PLAN, {})
    with search._rdb.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    search.close()


def test_few_commits_a_configuration(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    commits = []

    def commit(connection: sqlite3.Connection) -> None:
        if connection.in_transaction:
            commits.append(1)
        sqlite3.Connection.commit(connection)

    search = Search.create("s", url, PLAN, {})
    monkeypatch.setattr(storage._Connection, "commit", commit, raising=False)
    for c in search.ask(7, "a"):
        search.tell(c.number, "complete", [1.0], intermediate=dict.fromkeys(range(100), 1.0))
    search.close()
    assert len(commits) == 3 * 7


def test_a_study_of_somebody_else_is_neither_deleted_nor_read_as_a_sweep(url: str) -> None:
    foreign = optuna.create_study(study_name="s", storage=url, direction="maximize")
    foreign.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    optuna.create_study(study_name="t", storage=url).set_user_attr("created", "yesterday")
    optuna.create_study(study_name="empty", storage=url)
    for name in ("s", "t", "empty"):
        with pytest.raises(SearchError, match=f"a study named '{name}' that is no sweep is in this database"):
            Search.create(name, url, PLAN, {})
        with pytest.raises(SearchError, match="there is no sweep named"):
            Search.open(name, url)
    assert studies(url) == []
    assert len(optuna.load_study(study_name="s", storage=url).trials) == 3
    assert {s.study_name for s in optuna.get_all_study_summaries(url)} == {"s", "t", "empty"}
