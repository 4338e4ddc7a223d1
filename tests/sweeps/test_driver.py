"""The driver on a real ledger: what is handed out, what is recorded, what a dead driver leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sweeps.driver.driver import Driver
from sweeps.driver.kept import Kept
from sweeps.driver.packs import End, Pack, PackReport, train_pack
from sweeps.driver.progress import name_of
from sweeps.driver.status import look_at
from sweeps.spec.reading import SweepSpec, parse
from tracking.ledger import Ledger
from tracking.store import Store
from tracking.types import Sweep
from trainers.errors import SweepStopped

SPEC = """\
name: small
base: {{init_scale: 1.0, data: "{images}", epochs: 2, batch_size: 8}}
seeds: 2
arms:
  plain: {{alpha: 1.0}}
  large: {{alpha: 2.0, batch_size: 16}}
search:
  space: {{alpha: {{low: 0.5, high: 8.0, log: true}}}}
  sampler: {{name: random, seed: 0}}
  configurations: 3
resources: {{pack: 3, concurrent: 1}}
"""

# Of these, one diverges.
SEARCH = SPEC.replace("epochs: 2", "epochs: 4").replace("  large:", "  wild: {{learning_rate: 1.0e+30}}\n  large:")
SAMPLER, RANGE = "  sampler: {{name: random, seed: 0}}\n", "{{low: 0.5, high: 8.0, log: true}}"
PROGRESS = {
    "pruned": SEARCH.replace(SAMPLER, f"{SAMPLER}  pruner: {{{{name: hyperband, min_resource: 1}}}}\n"),
    "confirmed": f"{SEARCH}confirm: {{{{top: 2, seeds: 2}}}}\n",
    "copied": SEARCH.replace(RANGE, "[1.0, 2.0, 3.0]"),
}

Open = Callable[[], Driver]


@pytest.fixture
def spec(images: str) -> SweepSpec:
    return parse(SPEC.format(images=images))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger.create(f"sqlite:///{tmp_path}/ledger.db")
    yield ledger
    ledger.close()


@pytest.fixture
def sweep(ledger: Ledger, spec: SweepSpec) -> Sweep:
    return ledger.begin(Sweep("small", spec.to_yaml()))


@pytest.fixture
def start(spec: SweepSpec, ledger: Ledger, sweep: Sweep, tmp_path: Path) -> Open:
    """A driver; called again, the next one, after the first has died."""
    return lambda: Driver(spec, ledger, sweep, tmp_path / "packs", Kept(tmp_path / "kept"))


def finish(driver: Driver, pack: Pack) -> None:
    for report in train_pack(pack, driver.states_file(pack.id)):
        driver.record(report)


def numbers(pack: Pack) -> list[int]:
    return [c.number for c in pack.configurations]


def recorded(ledger: Ledger, sweep: Sweep) -> dict[tuple[int, int], list[float]]:
    """Everything but the seconds, by configuration and epoch."""
    values = {}
    for number, epoch in ledger.epochs(sweep):
        seconds = epoch.names.index("seconds")
        values[number, epoch.epoch] = [v for row in epoch.values.tolist() for i, v in enumerate(row) if i != seconds]
    return values


def states(ledger: Ledger, sweep: Sweep) -> list[str]:
    return [c.state for c in ledger.configurations(sweep)]


def test_arms_come_first_and_a_pack_shares_its_network_and_batches(start: Open) -> None:
    driver = start()
    packs = []
    while pack := driver.next_pack():
        packs.append(pack)
        finish(driver, pack)
    assert [numbers(p) for p in packs] == [[0, 2], [1], [3, 4]]
    assert len({p.id for p in packs}) == 3
    assert [{m.batch_size for c in p.configurations for m in c.members} for p in packs] == [{8}, {16}, {8}]


def test_everything_is_in_the_ledger(start: Open, ledger: Ledger, sweep: Sweep) -> None:
    driver = start()
    while pack := driver.next_pack():
        finish(driver, pack)
    assert states(ledger, sweep) == ["complete"] * 5
    configurations = ledger.configurations(sweep)
    assert [(c.number, c.arm) for c in configurations[:2]] == [(0, "plain"), (1, "large")]
    assert configurations[2].name.startswith("alpha=")
    last = {number: epoch for number, epoch in ledger.epochs(sweep)}
    assert [c.values for c in configurations] == [(last[c.number].objective,) for c in configurations]
    assert sorted(c.order for c in configurations) == [0, 1, 2, 3, 4]
    assert sorted(recorded(ledger, sweep)) == [(n, e) for n in range(5) for e in range(3)]
    progress = driver.progress
    assert (progress.counts.complete, progress.epochs, progress.epochs_in_all) == (5, 10, 10)
    assert progress.best is not None
    assert progress.best.value == max(c.values[0] for c in configurations if c.values)
    assert not list(driver.states.iterdir())


def test_the_next_driver_goes_on_where_the_last_one_died(start: Open, ledger: Ledger, sweep: Sweep) -> None:
    first = start()
    pack = first.next_pack()
    other = first.next_pack()
    assert pack is not None and other is not None
    reports = train_pack(pack, first.states_file(pack.id))
    for _ in range(2):
        first.record(next(reports))
    next(reports)  # epoch 2 is trained and never recorded
    reports.close()

    second = start()
    again = second.next_pack()
    assert again is not None
    assert (again.id, numbers(again)) == (pack.id, numbers(pack))
    assert [sorted(c.past) for c in again.configurations] == [[0, 1], [0, 1]]
    assert [r.epoch for r in train_pack(again, second.states_file(again.id))] == [2]
    finish(second, again)
    assert (rest := second.next_pack()) is not None
    assert (rest.id, numbers(rest)) == (other.id, numbers(other))
    finish(second, rest)
    while pack := second.next_pack():
        finish(second, pack)
    assert states(ledger, sweep) == ["complete"] * 5
    assert sorted(recorded(ledger, sweep)) == [(n, e) for n in range(5) for e in range(3)]


@pytest.mark.parametrize("kind", PROGRESS)
def test_the_next_driver_is_as_far_as_the_last_one(kind: str, images: str, tmp_path: Path) -> None:
    """A resume changes neither what is done nor the total, and `status` says the same."""
    spec = parse(PROGRESS[kind].format(images=images))
    store = Store.at(tmp_path / "store").create()
    ledger = Ledger.create(store.ledger_url)
    sweep = ledger.begin(Sweep("small", spec.to_yaml()))
    deaths = 0

    def start() -> Driver:
        return Driver(spec, ledger, sweep, tmp_path / "packs", Kept(tmp_path / "kept"))

    driver, epochs = start(), 0
    while pack := driver.next_pack():
        with closing(train_pack(pack, driver.states_file(pack.id))) as reports:
            for report in reports:
                driver.record(report)
                epochs += 1
                if epochs % 4 == 0:
                    break
        if epochs % 4 == 0:
            before, driver, deaths = driver.progress, start(), deaths + 1
            for progress in (driver.progress, look_at("small", store)["progress"]):
                assert progress.counts == before.counts
                assert (progress.epochs, progress.epochs_in_all) == (before.epochs, before.epochs_in_all)
                assert (progress.records, progress.records_left) == (before.records, before.records_left)
    assert deaths > 2 and driver.progress.epochs == driver.progress.epochs_in_all
    ledger.close()


def test_an_epoch_that_is_trained_twice_is_recorded_once(start: Open, ledger: Ledger, sweep: Sweep) -> None:
    driver = start()
    pack = driver.next_pack()
    assert pack is not None
    reports = list(train_pack(pack))
    for report in reports[:2]:
        driver.record(report)
    before, epochs = recorded(ledger, sweep), driver.progress.epochs
    assert ledger.trained_again(sweep) == {}
    driver.record(reports[1])
    assert recorded(ledger, sweep) == before
    assert ledger.trained_again(sweep) == {(c.number, 1): 1 for c in pack.configurations}
    assert driver.progress.epochs == epochs


def test_states_of_packs_that_are_through_are_no_more(start: Open) -> None:
    driver = start()
    through, live = driver.next_pack(), driver.next_pack()
    assert through is not None and live is not None
    finish(driver, through)
    files = [Path(f"{driver.states_file(pack.id)}.{epoch}") for pack in (through, live) for epoch in (1, 2)]
    files[0].parent.mkdir(parents=True, exist_ok=True)
    for file in files:
        file.touch()
    start()
    assert [file.exists() for file in files] == [False, False, True, True]


def test_a_pack_is_issued_again_without_what_has_ended(start: Open) -> None:
    driver = start()
    pack = driver.next_pack()
    assert pack is not None
    first, *_ = train_pack(pack)
    driver.record(first)
    end = next(iter([r for r in train_pack(pack)][-1].ended.values()))
    driver.record(PackReport(pack.id, 1, {}, {0: end}, last=False))
    again = driver.reissue(pack.id)
    assert numbers(again) == [2]
    assert sorted(again.configurations[0].past) == [0]


def test_a_pack_that_is_handed_back_is_the_next_with_what_has_been_seen_of_it(start: Open) -> None:
    driver = start()
    pack = driver.next_pack()
    assert pack is not None
    first, *_ = train_pack(pack)
    driver.record(first)
    driver.hand_back(pack.id)
    again = driver.next_pack()
    assert again is not None
    assert (again.id, numbers(again)) == (pack.id, numbers(pack))
    assert [sorted(c.past) for c in again.configurations] == [[0]] * len(pack.configurations)
    finish(driver, again)
    while left := driver.next_pack():
        assert driver.more_later
        finish(driver, left)
    driver.hand_back(pack.id)
    assert (driver.next_pack(), driver.more_later) == (None, False)
    assert driver.progress.counts.complete == 5


def test_a_pack_that_no_worker_can_train_has_failed(start: Open, ledger: Ledger, sweep: Sweep) -> None:
    driver = start()
    pack = driver.next_pack()
    assert pack is not None
    driver.give_up(pack.id, "its worker was lost six times", "Traceback ...")
    ended = {c.number: (c.state, c.reason, c.traceback) for c in ledger.configurations(sweep) if c.ended}
    assert ended == {n: ("failed", "its worker was lost six times", "Traceback ...") for n in numbers(pack)}
    assert driver.progress.counts.failed == 2
    driver.record(PackReport(pack.id, 0, {}, {}, last=True))
    driver.give_up(pack.id, "again")
    assert states(ledger, sweep).count("failed") == 2


def test_a_report_that_stops_the_sweep_leaves_the_ledger_as_it_is(start: Open, ledger: Ledger, sweep: Sweep) -> None:
    driver = start()
    pack = driver.next_pack()
    assert pack is not None
    before = recorded(ledger, sweep)
    with pytest.raises(SweepStopped, match="the disk is full"):
        driver.record(PackReport(pack.id, 1, {}, {}, last=True, stop="the disk is full"))
    assert recorded(ledger, sweep) == before
    assert states(ledger, sweep).count("running") == 3


def test_names_say_what_was_searched() -> None:
    assert name_of("paper", {"alpha": 2.0}) == "paper"
    assert name_of("", {"alpha": 2.0, "r": 0.012345678, "activation": "tanh"}) == "alpha=2 r=0.01235 activation=tanh"


def test_a_programming_error_keeps_its_traceback(start: Open, ledger: Ledger, sweep: Sweep) -> None:
    driver = start()
    pack = driver.next_pack()
    assert pack is not None
    ends = {
        n: End("failed", reason="ZeroDivisionError: division by zero", traceback="Traceback ...") for n in numbers(pack)
    }
    driver.record(PackReport(pack.id, 0, {}, ends, last=True))
    assert {c.traceback for c in ledger.configurations(sweep) if c.ended} == {"Traceback ..."}
