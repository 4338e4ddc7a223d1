"""Objectives near a number and over chosen epochs, and conditions, from the spec to everything that shows a sweep."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean

import optuna
import pytest

import sweeps
from search_spaces.plan import History
from sweeps.driver.driver import Driver
from sweeps.driver.kept import Kept
from sweeps.driver.packs import Pack, PackedConfiguration, train_pack
from sweeps.spec.reading import parse
from tracking.ledger import Ledger
from tracking.types import Sweep
from trainers.members import MemberConfig
from trainers.objectives import Epochs, Near, Objective

RATIO = "gradient.first_to_last"
SPEC = """\
name: near
base: {epochs: 4, init_scale: 1.0, learning_rate: 0.02, batch_size: 64}
seeds: 2
arms:
  plain: {}
  dead: {activation: relu6, init_scale: 1000.0}
search:
  space:
    initialization: [uniform, he_normal]
    init_scale: {low: 0.3, high: 3, log: true, when: {initialization: uniform}}
  sampler: {name: tpe, seed: 0, n_startup_trials: 2}
  configurations: 10
objective:
  - {metric: gradient.first_to_last, goal: {near: 1.0}}
  - {epoch: {first_above: 0.25}}
claims:
  - {better: plain, than: dead}
  - {better: plain, than: dead, metric: validation.accuracy, epoch: {first_above: 0.25}}
confirm: {top: 1, seeds: 2}
"""


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> sweeps.Result:
    file = tmp_path_factory.mktemp("near") / "near.yaml"
    file.write_text(SPEC)
    return sweeps.run(file, store=file.parent / "store", executor="in-process")


def test_the_value_is_the_mean_over_the_seeds_of_what_the_objective_says(result: sweeps.Result) -> None:
    frame = result.frame
    for summary in result.verdict.objectives[0].ranking:
        rows = frame[(frame["configuration"] == summary.configuration) & (frame["epoch"] == 4)]
        distances = [Objective(RATIO, Near(1.0)).score(value) for value in rows[RATIO]]
        assert summary.mean == pytest.approx(fmean(distances))
        if all(0 < value < math.inf for value in rows[RATIO]):
            assert distances == pytest.approx([abs(math.log(value)) for value in rows[RATIO]])
    for summary in result.verdict.objectives[1].ranking:
        rows = frame[(frame["configuration"] == summary.configuration) & (frame["epoch"] > 0)]
        above = rows[rows["validation.accuracy"] > 0.25].groupby("seed")["epoch"].min()
        assert summary.values == tuple(above.get(seed, 5) for seed in (0, 1))


def test_a_dead_network_is_the_last(result: sweeps.Result) -> None:
    near, first = result.verdict.objectives
    assert (near.metric, near.goal, near.name) == (RATIO, "minimize", f"log distance of {RATIO} from 1")
    ranks = {summary.name: summary.rank for summary in near.ranking}
    assert ranks["dead"] == max(rank for rank in ranks.values() if rank)
    dead = next(summary for summary in first.ranking if summary.name == "dead")
    assert dead.mean == 5.0 and dead.rank == max(s.rank for s in first.ranking if s.rank)
    assert result.best is not None and result.best.name != "confirm dead"


def test_the_metric_itself_is_shown_beside_its_distance(result: sweeps.Result) -> None:
    plain = next(s for s in result.verdict.objectives[0].ranking if s.name == "plain")
    frame = result.frame
    rows = frame[(frame["arm"] == "plain") & (frame["phase"] == "search") & (frame["epoch"] == 4)]
    assert plain.measured == pytest.approx(rows[RATIO].mean())
    assert result.verdict.objectives[1].ranking[0].measured is None
    markdown = result.verdict.markdown
    assert f"| rank | configuration | mean | {RATIO} | deviation |" in markdown
    assert f"log distance of {RATIO} from 1 after the last epoch on the search's own seeds (lower is better" in markdown
    assert "first epoch with validation.accuracy above 0.25 on the search's own seeds (lower is better" in markdown


def test_the_claims_compare_the_same(result: sweeps.Result) -> None:
    near, first = result.verdict.claims
    assert near.question.startswith(f"Is the log distance of {RATIO} from 1 of `plain` lower than that of `dead`")
    assert (
        first.question == "Is the first epoch with validation.accuracy above 0.25 of `plain` lower than that of `dead`?"
    )
    assert near.comparison is not None and first.comparison is not None
    assert all(gain > 0 for gain in near.comparison.gains + first.comparison.gains)
    assert first.comparison.others == (5.0, 5.0)


def test_what_has_no_effect_is_no_parameter_and_varies_nothing(result: sweeps.Result) -> None:
    with_ledger = Ledger.open(result.store.ledger_url)
    assert with_ledger is not None
    searched = [c for c in with_ledger.configurations(with_ledger.sweep("near")) if not c.arm and c.confirms is None]
    with_ledger.close()
    kinds = {c.parameters["initialization"] for c in searched}
    assert kinds == {"uniform", "he_normal"}
    for c in searched:
        uniform = c.parameters["initialization"] == "uniform"
        assert ("init_scale" in c.parameters) == uniform == ("init_scale" not in c.drawn)
        assert c.member["init_scale"] == (c.parameters["init_scale"] if uniform else 1.0)
        assert c.point is not None and 0.3 <= c.point["init_scale"] <= 3
        assert uniform or c.name == "initialization=he_normal"


def test_the_best_is_the_nearest_wherever_it_is_told(result: sweeps.Result) -> None:
    objective = result.verdict.objectives[0]
    on_fresh_seeds = min((s for s in objective.confirmed if s.state == "complete"), key=lambda s: s.mean or 0.0)
    best = sweeps.status("near", result.store)["best"]
    assert (f"confirm {best['name']}", best["value"]) == (on_fresh_seeds.name, pytest.approx(on_fresh_seeds.mean))
    assert result.best == objective.best == on_fresh_seeds
    nearest = min((s for s in objective.ranking if s.state == "complete"), key=lambda s: s.mean or 0.0)
    assert best["metric"] == f"log distance of {RATIO} from 1"
    study = optuna.load_study(study_name="near", storage=result.store.optuna_url)
    assert study.metric_names == [best["metric"], "first epoch with validation.accuracy above 0.25"]
    assert [d.name for d in study.directions] == ["MINIMIZE", "MINIMIZE"]
    assert min(t.values[0] for t in study.trials if t.values) == pytest.approx(nearest.mean)
    json.dumps(sweeps.status("near", result.store))


def test_the_figures_are_of_the_objective(result: sweeps.Result) -> None:
    seeds = result.figures["seeds"]
    assert f"log distance of {RATIO} from 1" in seeds.caption
    names = [name for name in result.figures if name.startswith("parallel")]
    assert names == [
        "parallel-log-distance-of-gradient-first_to_last-from-1",
        "parallel-first-epoch-with-validation-accuracy-above-0-25",
    ]


OBJECTIVES = (
    Objective(epoch=Epochs("best")),
    Objective("train.loss", "minimize", Epochs("mean_of_last", 2)),
    Objective(RATIO, Near(1.0), Epochs("best")),
)


def packed(images: str, **past: object) -> Pack:
    member = MemberConfig(data=images, init_scale=1.0, epochs=5, batch_size=8)
    configuration = PackedConfiguration(3, (member, member.with_seed(1)), **past)  # type: ignore[arg-type]
    return Pack("p0", (configuration,), OBJECTIVES, epochs=5)


@pytest.mark.parametrize("torn", [False, True])
def test_a_worker_that_replaces_a_lost_one_judges_the_whole_course(images: str, tmp_path: Path, torn: bool) -> None:
    whole = list(train_pack(packed(images)))
    states = tmp_path / "p0.npz"
    worker = train_pack(packed(images), states)
    seen = [next(worker) for _ in range(4)]
    worker.close()
    if torn:  # one epoch is trained again
        (tmp_path / "p0.npz.3").write_bytes(b"")
    courses = {r.epoch: tuple(tuple(m.metrics[o.metric] for m in r.records[3]) for o in OBJECTIVES) for r in seen}
    past = {r.epoch: r.values[3] for r in seen}
    again = list(train_pack(packed(images, past=past, courses=courses), states))
    assert [r.epoch for r in again] == ([3, 4, 5] if torn else [4, 5])
    assert [r.values for r in again] == [r.values for r in whole[again[0].epoch :]]
    assert again[-1].ended[3].values == whole[-1].ended[3].values
    accuracies = [[m.metrics["validation.accuracy"] for m in r.records[3]] for r in whole[1:]]
    assert whole[-1].values[3] == fmean(map(max, zip(*accuracies, strict=True)))
    losses = [fmean(m.metrics["train.loss"] for m in r.records[3]) for r in whole[-2:]]
    values = whole[-1].ended[3].values
    assert values is not None and values[1] == pytest.approx(fmean(losses))


def test_the_next_driver_knows_the_whole_course(images: str, tmp_path: Path) -> None:
    text = (
        f'name: best\nbase: {{init_scale: 1.0, data: "{images}", epochs: 5, batch_size: 8}}\nseeds: 2\n'
        "arms: {plain: {}}\nobjective: [{epoch: best}, {epoch: {mean_of_last: 3}}]\n"
    )
    spec = parse(text)
    values: dict[bool, object] = {}
    for interrupted in (False, True):
        ledger = Ledger.create(f"sqlite:///{tmp_path}/{interrupted}.db")
        sweep = ledger.begin(Sweep("best", spec.to_yaml()))
        open_ = partial(Driver, spec, ledger, sweep, tmp_path / f"{interrupted}", Kept(tmp_path / "kept"))
        driver = open_()
        pack = driver.next_pack()
        assert pack is not None
        if interrupted:
            reports = train_pack(pack, driver.states_file(pack.id))
            for _ in range(3):
                driver.record(next(reports))
            reports.close()
            (here,) = driver.reissue(pack.id).configurations
            driver = open_()
            pack = driver.next_pack()
            assert pack is not None and pack.configurations == (here,)
            assert sorted(here.courses) == [0, 1, 2]
        for report in train_pack(pack, driver.states_file(pack.id)):
            driver.record(report)
        (c,) = ledger.configurations(sweep)
        values[interrupted] = (c.values, ledger.objectives(sweep))
        ledger.close()
    assert values[True] == values[False]


def test_a_pruner_sees_the_distance_so_far(images: str) -> None:
    """None is farther from an accuracy of 1 than 1, and all are farther than 0."""
    near = replace(packed(images), objectives=(Objective(goal=Near(1.0), epoch=Epochs("best")),), history=History())
    (first, second, *_) = reports = list(train_pack(replace(near, pruner={"name": "threshold", "upper": 1.0})))
    assert len(reports) == 6 and reports[-1].ended[3].state == "complete"
    stopped = list(train_pack(replace(near, pruner={"name": "threshold", "upper": second.values[3] / 2})))
    assert [r.epoch for r in stopped] == [0, 1] and stopped[-1].ended[3].state == "pruned"
    assert stopped[-1].ended[3].values == (second.values[3],)
    distances = [r.values[3] for r in reports[1:]]
    assert distances == sorted(distances, reverse=True) and 0 <= distances[-1] <= first.values[3] <= 1
