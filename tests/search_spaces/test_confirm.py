"""The confirming stage in the study: what it trains again, when, and that a kill at any point changes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from search_spaces.confirm import chosen
from search_spaces.plan import SearchPlan
from search_spaces.search import Configuration, Ended, Search
from tests.search_spaces.test_search import PLAN, Killed, kill_before, value

SMALL = replace(PLAN, configurations=6, confirm=2, pruner=None)


def drive(url: str, plan: SearchPlan = SMALL, until: int = 99) -> list[Ended]:
    """A driver, from wherever the last one was, in packs of 3; stops after `until` were told."""
    try:
        search = Search.open("s", url, plan)
    except Exception:
        search = Search.create("s", url, plan, {})
    waiting = search.running()
    while until and (waiting or (waiting := search.ask(3, f"p{search.counts().ended:03}"))):
        c = waiting.pop(0)
        until -= 1
        diverged = c.number == 4
        search.tell(c.number, "diverged" if diverged else "complete", None if diverged else [value(c)])
    ended = search.ended()
    search.close()
    return ended


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/optuna.db"


def test_all_arms_and_the_best_are_trained_again(url: str) -> None:
    ended = drive(url)
    searched = [e for e in ended if e.confirms is None]
    again = [e for e in ended if e.confirms is not None]
    assert [e.number for e in searched] == list(range(8)) and [e.number for e in again] == list(range(8, 12))
    assert [(e.confirms, e.arm) for e in again[:2]] == [(0, "plain"), (1, "paper")]
    assert [e.parameters for e in again[:2]] == [e.parameters for e in ended[:2]]
    by_value = sorted((e for e in searched[2:] if e.values), key=lambda e: -(e.values or (0.0,))[0])
    assert [e.confirms for e in again[2:]] == [e.number for e in by_value[:2]]
    assert [e.parameters for e in again[2:]] == [e.parameters for e in by_value[:2]]
    reader = Search.open("s", url)
    assert (reader.counts().total, reader.counts().ended) == (12, 12)
    assert reader.attributes == {}
    reader.close()
    study = optuna.load_study(study_name="s", storage=url)
    assert [t.params for t in study.trials[8:]] == [{}] * 4, "no second points of the search"
    assert [t.user_attrs["asked"]["confirms"] for t in study.trials[7:]] == [None, *(e.confirms for e in again)]
    study._storage.remove_session()


def test_the_search_does_not_know_of_it(tmp_path: Path) -> None:
    without = drive(f"sqlite:///{tmp_path}/without.db", replace(SMALL, confirm=0))
    assert drive(f"sqlite:///{tmp_path}/with.db")[:8] == without


def test_nothing_is_confirmed_before_all_have_ended(url: str) -> None:
    search = Search.create("s", url, SMALL, {})
    asked = search.ask(99, "a")
    assert len(asked) == 8 and search.ask(99, "b") == [] and search.counts().total == 12
    for c in asked[1:]:
        search.tell(c.number, "complete", [value(c)])
    assert search.ask(99, "b") == []
    search.tell(0, "failed", None)
    assert [c.confirms is not None for c in search.ask(99, "b")] == [True] * 4
    search.close()


def test_what_has_no_value_is_not_confirmed_and_what_is_the_same_once(url: str) -> None:
    search = Search.create("s", url, replace(SMALL, confirm=5), {})
    paper = {"alpha": 2.0, "r": 0.01, "activation": "tanh"}
    for c in search.ask(99, "a"):
        state = {2: "pruned", 3: "diverged", 4: "failed"}.get(c.number, "complete")
        search.tell(c.number, state, [0.5] if state in ("complete", "pruned") else None)
    rows = search._rows()
    doubled = [replace(r, parameters=paper) if r.number == 5 else r for r in rows]
    doubled[7] = replace(rows[7], parameters=rows[6].parameters)
    assert search.ask(99, "b")[-1].confirms == 7
    assert search.counts().total == 8 + 2 + 3, "three of six are complete"
    assert chosen(replace(SMALL, confirm=5), doubled) == [0, 1, 6], "5 is an arm, 7 is 6"
    search.close()


def test_nothing_to_confirm_ends_the_sweep(url: str) -> None:
    plan = replace(SMALL, arms={})
    search = Search.create("s", url, plan, {})
    for c in search.ask(99, "a"):
        search.tell(c.number, "diverged", None)
    assert search.counts().total == 8
    assert search.ask(99, "b") == [] and search.counts().total == 6
    search.close()


def test_a_kill_at_any_write_of_it_changes_nothing(tmp_path: Path) -> None:
    undisturbed = drive(f"sqlite:///{tmp_path}/whole.db")
    # From the 8 that are searched on: 1 write decides, 3 ask, 6 tell; then 1 asks, 2 tell.
    for which in [1, 2, 3, 4, 5, 6, 10, 11, 12, 13]:
        url = f"sqlite:///{tmp_path}/{which}.db"
        assert drive(url, until=8) == undisturbed[:8]
        with pytest.MonkeyPatch.context() as patch:
            kill_before(patch, which)
            with pytest.raises(Killed):
                drive(url)
        assert drive(url) == undisturbed, which


def test_a_database_of_before_can_be_read(url: str) -> None:
    search = Search.create("s", url, PLAN, {})
    (first,) = search.ask(1, "a")
    assert first == Configuration(0, "plain", {"alpha": 1.0, "r": 0.0}, "a")
    trial_id = search._storage.get_trial_id_from_study_id_trial_number(search._study_id, 0)
    note = dict(search._storage.get_trial(trial_id).user_attrs["asked"])
    note.pop("confirms")
    search._storage.set_trial_user_attr(trial_id, "asked", note)
    search._storage.set_study_user_attr(search._study_id, "created", {"total": 14})
    search.close()
    again = Search.open("s", url, PLAN)
    assert again.running() == [first] and again.counts().total == 14
    again.close()
