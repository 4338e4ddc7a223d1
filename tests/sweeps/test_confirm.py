"""A whole sweep with a confirming stage, in process: what it trains, what it records, what its verdict rests on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from sweeps.commands.results import verdict_text
from sweeps.driver.driver import Driver
from sweeps.driver.kept import Kept
from sweeps.driver.packs import Pack, train_pack
from sweeps.driver.signals import Interrupt
from sweeps.driver.status import look_at, stored_spec
from sweeps.driver.sweep import Outcome, run, verdict_of
from sweeps.plan import plan_of
from sweeps.report_page import make_report
from sweeps.spec.reading import SweepSpec, parse
from tracking.ledger import Ledger
from tracking.results import load_wide, outcomes
from tracking.store import Store
from tracking.types import Sweep
from trainers.errors import RequestError

SPEC = """\
name: confirmed
question: Does it hold?
base: {{init_scale: 1.0, data: "{images}", epochs: 2, batch_size: 8}}
seeds: 2
arms:
  plain: {{alpha: 1.0}}
  paper: {{alpha: 2.0, batch_size: 16}}
search:
  space: {{alpha: {{low: 0.5, high: 8.0, log: true}}}}
  sampler: {{name: tpe, seed: 0, n_startup_trials: 2}}
  configurations: 4
  pruner: {{name: median, n_startup_trials: 1}}
claims:
  - {{as_good: paper, as: best, margin: 0.01}}
  - {{better: paper, than: plain}}
confirm: {{top: 2, seeds: 7}}
resources: {{pack: 3, concurrent: 1}}
"""
Run = Any


@pytest.fixture
def spec(images: str) -> SweepSpec:
    return parse(SPEC.format(images=images))


@pytest.fixture
def sweep(tmp_path: Path) -> Iterator[Run]:
    """Runs a sweep in the store at tmp_path."""
    store = Store.at(tmp_path / "store")

    def go(spec: SweepSpec, *, resume: bool = False) -> Outcome:
        show = lambda name, state: nullcontext()  # noqa: E731
        return run(spec, store, Interrupt(), executor="in-process", resume=resume, show=show)

    go.store = store  # type: ignore[attr-defined]
    yield go


def everything(store: Store) -> pd.DataFrame:
    return load_wide("confirmed", store).drop(columns="seconds")


def test_the_arms_and_the_best_are_judged_on_fresh_seeds_alone(
    spec: SweepSpec, sweep: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    packs: list[Pack] = []
    next_pack = Driver.next_pack

    def noted(driver: Driver) -> Pack | None:
        pack = next_pack(driver)
        packs.extend([pack] if pack else [])
        return pack

    monkeypatch.setattr(Driver, "next_pack", noted)
    ended = sweep(spec)
    plan = plan_of(spec)
    assert (plan["configurations"], plan["confirmed"], plan["members"]) == (6, 4, 6 * 2 + 4 * 7)
    assert (ended.counts.total, ended.counts.running, len(packs)) == (10, 0, plan["packs"])

    frame, found = load_wide("confirmed", sweep.store), outcomes("confirmed", sweep.store)
    again = {n: o for n, o in found.items() if o.confirms is not None}
    assert list(again) == [6, 7, 8, 9] and [o.name for o in again.values()][:2] == ["confirm plain", "confirm paper"]
    assert all(o.name.startswith("confirm alpha=") and o.arm == "" for o in list(again.values())[2:])
    assert {o.name.removeprefix("confirm ") for o in again.values()} < {o.name for o in found.values()}
    seeds = frame.groupby("configuration").seed.unique().map(set)
    assert all(seeds[n] == {0, 1} for n in range(6)) and all(seeds[n] == set(range(2, 9)) for n in again)
    assert set(frame[frame.configuration.isin(list(again))].groupby("configuration").epoch.max()) == {2}, "not pruned"
    assert list(frame[frame.configuration == 7].batch_size.unique()) == [16]

    verdict = ended.verdict
    assert verdict is not None and "Judged on 7 fresh seeds that were not used for selection." in verdict.text
    for claim in verdict.claims:
        assert claim.comparison is not None and claim.comparison.pairs == tuple(range(2, 9))
    assert verdict.claims[0].candidates == 3
    assert len(verdict.objectives[0].ranking) == 6 and len(verdict.objectives[0].confirmed) == 4
    assert "(the claim)" not in verdict.text
    singled = verdict_of(spec.model_copy(update={"claim": "paper"}), sweep.store).text
    assert re.search(r"on fresh seeds: .*`paper` \(the claim\) ranks \d.. of 4, at ", singled)
    shown = verdict_text(verdict)
    assert shown.index("last epoch on the search's own seeds") < shown.index("last epoch on fresh seeds, on which")
    assert "What the gradients show on the fresh seeds\n" in shown
    assert all(shown.count(f"  {s.name} ") == 1 for o in verdict.objectives for s in o.confirmed)
    page = " ".join(make_report(spec, sweep.store, verdict)[0].split())
    for title in (
        '<h3 class="part">What the gradients show on the fresh seeds</h3>',
        "validation.accuracy after the last epoch on the search&#39;s own seeds (",
        "validation.accuracy after the last epoch on fresh seeds, on which the claims are judged",
        "Over the search&#39;s own seeds medians of rms",
        "The figures show the search's own seeds, except where they name the fresh ones.",
    ):
        assert title in page
    status = look_at("confirmed", sweep.store)
    assert (status["state"], status["total"]) == ("finished", 10)
    best = verdict.objectives[0].best
    assert best is not None and best.name == f"confirm {status['best']['name']}", "one best everywhere"
    assert status["best"]["value"] == pytest.approx(best.mean) and status["best"]["configuration"] < 6

    client = MlflowClient(sweep.store.mlflow_uri)
    (experiment,) = [e for e in client.search_experiments() if e.name == "confirmed"]
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [r for r in runs if "mlflow.parentRunId" not in r.data.tags]
    assert len(runs) == 1 + len(found)
    note = parent.data.tags["mlflow.note.content"]
    assert note == f"Does it hold?\n\n{verdict.markdown}" and "| undecided |" in note


def test_a_driver_that_dies_anywhere_is_succeeded_by_one_that_ends_the_same(spec: SweepSpec, tmp_path: Path) -> None:
    def drive(folder: Path, reports: int = 10**6) -> dict[tuple[int, int], list[float]]:
        """A driver, from wherever the last one was, until it has recorded so many reports."""
        folder.mkdir(exist_ok=True)
        ledger = Ledger.create(f"sqlite:///{folder}/ledger.db")
        sweep = ledger.begin(Sweep("confirmed", spec.to_yaml()))
        driver = Driver(spec, ledger, sweep, folder / "packs", Kept(folder / "kept"))
        while reports and (pack := driver.next_pack()):
            for report in train_pack(pack, driver.states_file(pack.id)):
                driver.record(report)
                reports -= 1
                if not reports:
                    break
        done = list(ledger.epochs(sweep))
        timeless = [e.names.index("seconds") for _, e in done]
        ledger.close()
        return {
            (n, e.epoch): np.delete(e.values, i, 1).ravel().tolist() for (n, e), i in zip(done, timeless, strict=True)
        }

    undisturbed = drive(tmp_path / "whole")
    assert len({number for number, _ in undisturbed}) == 10
    searched = sum(1 for number, _ in undisturbed if number < 6)
    for reports in (6, 9, 10, 11, 13, 16):
        folder = tmp_path / f"killed-{reports}"
        before = drive(folder, reports)
        assert len(before) < len(undisturbed)
        assert drive(folder) == undisturbed
    assert any(number >= 6 for number, _ in before) and searched < len(before)


def test_claims_may_be_stated_anew_without_training(spec: SweepSpec, sweep: Run, images: str) -> None:
    first = sweep(spec)
    assert first.verdict is not None and not any(c.stated_later for c in first.verdict.claims)
    before = everything(sweep.store)
    other = SPEC.format(images=images).replace(
        "  - {better: paper, than: plain}", "  - {similar: paper, to: plain, margin: 0.5, says: no difference}"
    )
    again = sweep(parse(other), resume=True)
    assert again.verdict is not None
    assert [(c.kind, c.stated_later) for c in again.verdict.claims] == [("as good", False), ("similar", True)]
    assert '"no difference" (post hoc: stated after results were available)' in again.verdict.text
    pd.testing.assert_frame_equal(everything(sweep.store), before)
    # It stays so, and what report reads is what was said last.
    told = verdict_of(stored_spec("confirmed", sweep.store), sweep.store)
    assert told == again.verdict
    with pytest.raises(RequestError, match="was started with a different confirm.top"):
        sweep(parse(other.replace("top: 2", "top: 1")), resume=True)
