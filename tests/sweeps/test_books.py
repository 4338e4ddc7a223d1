"""The driver's books, with real databases: what is handed out, what is booked, what a dead driver leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from search_spaces.search import Search
from sweeps.driver.packing import Books, name_of
from sweeps.driver.packs import Pack, PackReport, train_pack
from sweeps.spec.reading import SweepSpec, parse
from tracking.spool import Spool
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

Open = Callable[[], Books]


@pytest.fixture
def spec(images: str) -> SweepSpec:
    return parse(SPEC.format(images=images))


@pytest.fixture
def search(spec: SweepSpec, tmp_path: Path) -> Iterator[Search]:
    search = Search.create("small", f"sqlite:///{tmp_path}/optuna.db", spec.search_plan(), {})
    yield search
    search.close()


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool.at(tmp_path / "small.db")
    yield spool
    spool.close()


@pytest.fixture
def books(spec: SweepSpec, search: Search, spool: Spool, tmp_path: Path) -> Open:
    """Opens the books as a driver does; a second time, as the next driver does."""
    return lambda: Books(spec, search, spool, tmp_path / "packs")


def finish(books: Books, pack: Pack) -> None:
    for report in train_pack(pack, books.states_file(pack.id)):
        books.record(report)


def numbers(pack: Pack) -> list[int]:
    return [c.number for c in pack.configurations]


def recorded(spool: Spool) -> dict[tuple[int, int], list[float]]:
    """Everything but the seconds, by configuration and epoch."""
    found = {}
    for c in spool.configurations():
        for epoch in spool.epochs(c.number):
            seconds = epoch.names.index("seconds")
            kept = [v for row in epoch.values.tolist() for i, v in enumerate(row) if i != seconds]
            found[c.number, epoch.epoch] = kept
    return found


def test_arms_come_first_and_a_pack_shares_its_network_and_batches(books: Open) -> None:
    opened = books()
    packs = []
    while pack := opened.next_pack():
        packs.append(pack)
        finish(opened, pack)
    assert [numbers(p) for p in packs] == [[0, 2], [1], [3, 4]]
    assert len({p.id for p in packs}) == 3
    assert [{m.batch_size for c in p.configurations for m in c.members} for p in packs] == [{8}, {16}, {8}]


def test_everything_is_booked_in_both_databases(books: Open, search: Search, spool: Spool) -> None:
    opened = books()
    while pack := opened.next_pack():
        finish(opened, pack)
    assert search.counts().complete == 5
    spooled = spool.configurations()
    assert [(c.number, c.arm, c.state) for c in spooled[:2]] == [(0, "plain", "complete"), (1, "large", "complete")]
    assert spooled[2].name.startswith("alpha=")
    assert [c.values for c in spooled] == [e.values for e in search.ended()]
    assert sorted(recorded(spool)) == [(n, e) for n in range(5) for e in range(3)]
    progress = opened.progress
    assert (progress.counts.complete, progress.epochs, progress.epochs_in_all) == (5, 10, 10)
    assert progress.best is not None
    assert progress.best.value == max(c.values[0] for c in spooled if c.values)
    assert not list(opened.states.iterdir())


def test_the_next_driver_goes_on_where_the_last_one_died(books: Open, spool: Spool, search: Search) -> None:
    first = books()
    pack = first.next_pack()
    other = first.next_pack()
    assert pack is not None and other is not None
    reports = train_pack(pack, first.states_file(pack.id))
    for _ in range(2):
        first.record(next(reports))
    next(reports)  # epoch 2 is trained and never booked
    reports.close()

    second = books()
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
    assert second.progress.counts == search.counts()
    assert search.counts().complete == 5
    assert sorted(recorded(spool)) == [(n, e) for n in range(5) for e in range(3)]


def test_an_epoch_that_is_trained_twice_is_booked_once(books: Open, spool: Spool) -> None:
    opened = books()
    pack = opened.next_pack()
    assert pack is not None
    reports = list(train_pack(pack))
    for report in reports[:2]:
        opened.record(report)
    before, epochs = recorded(spool), opened.progress.epochs
    assert spool.trained_again() == {}
    opened.record(reports[1])
    assert recorded(spool) == before
    assert spool.trained_again() == {(c.number, 1): 1 for c in pack.configurations}
    assert opened.progress.epochs == epochs


def test_what_is_told_but_not_ended_in_the_spool_is_put_right(books: Open, search: Search, spool: Spool) -> None:
    opened = books()
    pack = opened.next_pack()
    assert pack is not None
    spool.add_all(next(train_pack(pack)).records)
    search.tell(0, "complete", [0.5])
    assert spool.configurations()[0].state == "running"

    again = books()
    assert spool.configurations()[0].state == "complete"
    left = [again.next_pack(), again.next_pack()]
    assert (pack.id, [2]) in [(p.id, numbers(p)) for p in left if p]


def test_what_is_booked_to_its_end_is_not_trained_again(books: Open, search: Search, spool: Spool) -> None:
    opened = books()
    pack = opened.next_pack()
    assert pack is not None
    reports = list(train_pack(pack, opened.states_file(pack.id)))
    for report in reports[:2]:
        opened.record(report)
    # The last epoch is booked, and the driver dies before it can tell.
    spool.add_all(reports[2].records)
    again = books()
    assert {e.number: (e.state, e.values) for e in search.ended()} == {
        number: (end.state, end.values) for number, end in reports[2].ended.items()
    }
    left = again.next_pack()
    assert left is not None
    assert left.id != pack.id
    assert [f.name for f in again.states.glob(f"{pack.id}*")] == []
    finish(again, left)
    while pack := again.next_pack():
        finish(again, pack)
    assert (search.counts().complete, spool.trained_again()) == (5, {})
    assert (again.progress.epochs, again.progress.epochs_in_all) == (10, 10)


def test_states_of_packs_that_are_through_are_no_more(books: Open) -> None:
    opened = books()
    through, live = opened.next_pack(), opened.next_pack()
    assert through is not None and live is not None
    finish(opened, through)
    files = [Path(f"{opened.states_file(pack.id)}.{epoch}") for pack in (through, live) for epoch in (1, 2)]
    files[0].parent.mkdir(parents=True, exist_ok=True)
    for file in files:
        file.touch()
    books()
    assert [file.exists() for file in files] == [False, False, True, True]


def test_a_pack_is_issued_again_without_what_has_ended(books: Open, spec: SweepSpec) -> None:
    opened = books()
    pack = opened.next_pack()
    assert pack is not None
    first, *_ = train_pack(pack)
    opened.record(first)
    end = next(iter([r for r in train_pack(pack)][-1].ended.values()))
    opened.record(PackReport(pack.id, 1, {}, {0: end}, last=False))
    again = opened.reissue(pack.id)
    assert numbers(again) == [2]
    assert sorted(again.configurations[0].past) == [0]


def test_a_pack_that_is_handed_back_is_the_next_with_what_has_been_seen_of_it(books: Open) -> None:
    opened = books()
    pack = opened.next_pack()
    assert pack is not None
    first, *_ = train_pack(pack)
    opened.record(first)
    opened.hand_back(pack.id)
    again = opened.next_pack()
    assert again is not None
    assert (again.id, numbers(again)) == (pack.id, numbers(pack))
    assert [sorted(c.past) for c in again.configurations] == [[0]] * len(pack.configurations)
    finish(opened, again)
    while left := opened.next_pack():
        assert opened.more_later
        finish(opened, left)
    opened.hand_back(pack.id)
    assert (opened.next_pack(), opened.more_later) == (None, False)
    assert opened.progress.counts.complete == 5


def test_a_pack_that_no_worker_can_train_has_failed(books: Open, search: Search, spool: Spool) -> None:
    opened = books()
    pack = opened.next_pack()
    assert pack is not None
    opened.give_up(pack.id, "its worker was lost six times")
    assert {e.number: (e.state, e.reason) for e in search.ended()} == {
        n: ("failed", "its worker was lost six times") for n in numbers(pack)
    }
    assert opened.progress.counts.failed == 2
    opened.record(PackReport(pack.id, 0, {}, {}, last=True))
    opened.give_up(pack.id, "again")
    assert search.counts().failed == 2


def test_a_report_that_stops_the_sweep_leaves_the_books_as_they_are(books: Open, search: Search, spool: Spool) -> None:
    opened = books()
    pack = opened.next_pack()
    assert pack is not None
    before = recorded(spool)
    with pytest.raises(SweepStopped, match="the disk is full"):
        opened.record(PackReport(pack.id, 1, {}, {}, last=True, stop="the disk is full"))
    assert recorded(spool) == before
    assert search.counts().running == 3


def test_names_say_what_was_searched() -> None:
    assert name_of("paper", {"alpha": 2.0}) == "paper"
    assert name_of("", {"alpha": 2.0, "r": 0.012345678, "activation": "tanh"}) == "alpha=2 r=0.01235 activation=tanh"
