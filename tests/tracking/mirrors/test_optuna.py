"""The mirror in a real SQLite database of Optuna's, read back through Optuna's own API."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution, distribution_to_json
from optuna.study import StudyDirection
from optuna.trial import TrialState

from tests.tracking.mirrors.conftest import Made, in_optuna, mirrored, runs_of
from tracking.ledger import Ledger
from tracking.mirrors.follower import Lag, Mirrors, refuse_foreign
from tracking.mirrors.optuna import CONFIRMED, OptunaMirror
from tracking.store import Store
from tracking.types import SWEEP, Configuration, Sweep, Taken
from trainers.errors import SearchError, Unmendable

UP_TO_DATE = Lag(0, None)
SPACE = {
    "alpha": FloatDistribution(0.5, 8.0, log=True),
    "dense": IntDistribution(1, 20),
    "activation": CategoricalDistribution(("tanh", "relu")),
}
OBJECTIVES = (("validation.accuracy", "maximize"), ("validation.loss", "minimize"))


@pytest.fixture
def sweep(ledger: Ledger, maker: Any) -> Sweep:
    space = {name: distribution_to_json(distribution) for name, distribution in SPACE.items()}
    return ledger.begin(Sweep("sweep", "name: sweep\n", objectives=OBJECTIVES, space=space))


def study_of(store: Store, name: str = "sweep") -> optuna.Study:
    return optuna.load_study(study_name=name, storage=store.optuna_url)


def end(ledger: Ledger, sweep: Sweep, c: Configuration, state: str = "complete", **changes: Any) -> Configuration:
    ended = replace(c, state=state, order=c.number, **changes)
    ledger.record(sweep, {}, [ended])
    return ledger.configurations(sweep, [c.number])[0]


def test_a_sweep_is_a_study_with_named_objectives(store: Store, ledger: Ledger, sweep: Sweep, maker: Any) -> None:
    points = [
        {"alpha": 2.0, "dense": 3, "activation": "tanh"},
        {"alpha": 0.5, "activation": "relu"},  # `dense` is not searched where it has no meaning
        None,  # an arm outside the space
        {"alpha": 8.0, "dense": 20, "activation": "relu"},
    ]
    added = [replace(maker.added(number), point=point) for number, point in enumerate(points)]
    ledger.add(sweep, added)
    for c in added:
        for epoch in range(2):
            ledger.record(sweep, {c.number: maker.epoch(c.number, epoch)}, [])
    ends = (
        end(ledger, sweep, added[0], values=(0.1 + 0.2, math.inf)),
        end(ledger, sweep, added[1], "pruned", reason="asha"),
        end(ledger, sweep, added[2], "diverged", reason="the loss is not finite"),
        end(ledger, sweep, added[3], values=(0.25, math.nan)),
    )
    assert mirrored(store) == UP_TO_DATE

    study = study_of(store)
    assert study.metric_names == ["validation.accuracy", "validation.loss"]
    assert study.directions == [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE]
    assert study.user_attrs == {"gradsweep.mark": sweep.mark}
    objectives = ledger.objectives(sweep)
    states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.FAIL)
    for trial, c, point, state in zip(study.trials, ends, points, states, strict=True):
        assert (trial.number, trial.state) == (c.number, state)
        assert trial.params == (point or {})
        assert trial.distributions == {name: SPACE[name] for name in point or {}}
        assert trial.intermediate_values == objectives[c.number]
        attributes = {"configuration": c.number, "name": c.name, "state": c.state, "arm": c.arm, "reason": c.reason}
        assert trial.user_attrs == {key: value for key, value in attributes.items() if value != ""}
        assert trial.datetime_start == datetime.fromtimestamp(c.started / 1000)
        assert trial.datetime_complete == datetime.fromtimestamp((c.ended or 0) / 1000)
    assert study.trials[0].values == [0.1 + 0.2, math.inf]
    assert optuna.get_all_study_names(store.optuna_url) == ["sweep"]


def test_trials_come_in_the_order_of_their_numbers(store: Store, ledger: Ledger, sweep: Sweep, maker: Any) -> None:
    added = [maker.added(number) for number in range(3)]
    ledger.add(sweep, added)
    for number in (2, 0):
        end(ledger, sweep, added[number], values=(0.5, 0.5))
    mirror = OptunaMirror(store, ledger)
    while mirror.round(sweep, True):
        pass
    assert [t.user_attrs["configuration"] for t in study_of(store).trials] == [0]
    end(ledger, sweep, added[1], values=(0.5, 0.5))
    assert mirror.round(sweep, False)
    assert not mirror.round(sweep, False)
    mirror.close()
    assert [t.user_attrs["configuration"] for t in study_of(store).trials] == [0, 1, 2]


def test_confirmations_are_a_study_of_their_own(store: Store, ledger: Ledger, sweep: Sweep, maker: Any) -> None:
    added = [maker.added(0), replace(maker.added(1, (100, 101)), confirms=0), maker.added(2)]
    ledger.add(sweep, added)
    for c in added:
        end(ledger, sweep, c, values=(0.5, 0.5))
    assert mirrored(store) == UP_TO_DATE
    assert [t.user_attrs["configuration"] for t in study_of(store).trials] == [0, 2]
    (trial,) = study_of(store, "sweep (confirmed)").trials
    assert (trial.user_attrs["configuration"], trial.user_attrs["confirms"]) == (1, 0)
    assert study_of(store, "sweep (confirmed)").metric_names == study_of(store).metric_names
    assert runs_of(store)["#1 confirm paper"].data.tags["gradsweep.confirms"] == "0"


@pytest.mark.parametrize("name", ["sweep", "sweep (confirmed)"])
def test_somebody_elses_study_is_not_touched(store: Store, ledger: Ledger, sweep: Sweep, maker: Any, name: str) -> None:
    theirs = optuna.create_study(study_name=name, storage=store.optuna_url, directions=["minimize"])
    theirs.add_trial(optuna.trial.create_trial(value=1.0))
    before = study_of(store, name).trials
    with pytest.raises(SearchError, match="that is no sweep is in this database; choose another name with --name"):
        refuse_foreign(store, "sweep")
    refuse_foreign(store, "free")
    added = [maker.added(0), replace(maker.added(1), confirms=0)]
    ledger.add(sweep, added)
    for c in added:
        end(ledger, sweep, c, values=(0.5, 0.5))
    for rebuild in (False, True):
        lag = mirrored(store, rebuild=rebuild)
        assert lag.waiting >= 1
        assert lag.problem is not None and "choose another name" in lag.problem
        # One mirror keeps no other waiting.
        assert {n: r.info.status for n, r in runs_of(store).items() if n.startswith("#0")} == {"#0 plain": "FINISHED"}
    study = study_of(store, name)
    assert (study.trials, study.user_attrs, study.metric_names) == (before, {}, None)


def test_an_empty_study_is_ours_only_where_we_were_about_to_make_it(store: Store, ledger: Ledger, sweep: Sweep) -> None:
    optuna.create_study(study_name="sweep", storage=store.optuna_url, directions=["maximize", "minimize"])
    mirror = OptunaMirror(store, ledger)
    with pytest.raises(Unmendable, match="choose another name"):
        mirror.round(sweep, True)
    assert study_of(store).user_attrs == {}
    ledger.take(sweep, "optuna", [Taken(SWEEP, attempted=True), Taken(CONFIRMED)])
    assert not mirror.round(sweep, True)
    mirror.close()
    assert study_of(store).user_attrs == {"gradsweep.mark": sweep.mark}
    assert study_of(store).metric_names == ["validation.accuracy", "validation.loss"]


def test_a_trial_that_optuna_refuses_keeps_no_other_waiting(
    store: Store, ledger: Ledger, sweep: Sweep, maker: Any
) -> None:
    added = [replace(maker.added(number), point={"alpha": alpha}) for number, alpha in enumerate((100.0, 2.0))]
    ledger.add(sweep, added)
    for c in added:
        end(ledger, sweep, c, values=(0.5, 0.5))
    lag = mirrored(store)
    assert lag.waiting == 1
    assert lag.problem is not None and lag.problem.startswith("configuration 0: Optuna refuses it: ")
    assert [t.params for t in study_of(store).trials] == [{"alpha": 2.0}]


def test_a_database_that_is_none_keeps_mlflow_not_waiting(
    store: Store, ledger: Ledger, made: Made, until: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    for file in store.folder.glob("optuna.db*"):
        file.unlink()
    (store.folder / "optuna.db").write_text("not a database at all" * 100)
    sweep = made("complete", "pruned", status="finished")
    mirrors = Mirrors(store, "sweep")
    mirrors.start()
    until(lambda: (own := ledger.taken(sweep, "mlflow", [SWEEP])) and own[SWEEP].ended)
    lag = mirrors.close(0.1)
    assert lag.waiting == 2
    assert lag.problem is not None and "file is not a database" in lag.problem and "\n" not in lag.problem
    assert runs_of(store)["sweep"].info.status == "FINISHED"
    warnings = [r for r in caplog.records if r.levelname == "WARNING" and r.name == "gradsweep"]
    assert len(warnings) == 1 and "retrying in the background" in warnings[0].getMessage()


def test_a_study_that_was_deleted_is_made_anew(store: Store, ledger: Ledger, made: Made) -> None:
    made("complete", "pruned", "failed", status="finished")
    assert mirrored(store) == UP_TO_DATE
    before = in_optuna(store)
    assert len(before["sweep"][-1]) == 3
    optuna.delete_study(study_name="sweep", storage=store.optuna_url)
    assert mirrored(store, rebuild=True) == UP_TO_DATE
    assert in_optuna(store) == before
