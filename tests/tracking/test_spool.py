from __future__ import annotations

import sqlite3
import struct
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracking.outbox import Outbox
from tracking.spool import Spool, SpoolError, SweepRun
from trainers.members import EpochRecord, MemberConfig

ANY_FLOAT = st.floats() | st.sampled_from([float("nan"), float("inf"), float("-inf"), -0.0, 5e-324])


def bits(value: float) -> bytes:
    return struct.pack("<d", value)


@settings(deadline=None, max_examples=50)
@given(rows=st.lists(st.lists(ANY_FLOAT, min_size=4, max_size=4), min_size=1, max_size=3))
def test_every_float_comes_back_to_the_bit(tmp_path_factory: pytest.TempPathFactory, rows: list[list[float]]) -> None:
    spool = Spool.at(tmp_path_factory.mktemp("spool") / "s.db")
    names = ("a", "b", "c", "d")
    members = [MemberConfig(seed=s) for s in range(len(rows))]
    records = [
        EpochRecord(m, 0, "reference", dict(zip(names, r, strict=True))) for m, r in zip(members, rows, strict=True)
    ]
    spool.start(0, "", "x", members)
    spool.add(0, records[::-1])
    spool.close()
    again = Spool.at(spool.file)
    (epoch,) = again.epochs(0)
    again.close()
    assert epoch.names == names
    assert epoch.values.tobytes() == b"".join(bits(v) for row in rows for v in row)


def test_what_is_known_changes_nothing(spool: Spool, maker: Any) -> None:
    maker.begin(spool)
    maker.configuration(spool, 0)
    before, epochs = spool.configuration(0), spool.epochs(0)
    spool.begin(SweepRun(name="another"))
    spool.start(0, "x", "y", maker.members(0))
    changed = [EpochRecord(r.member, r.epoch, "other", {k: 0.0 for k in r.metrics}) for r in maker.records(0, 1)]
    spool.add(0, changed)
    spool.end(0, "failed", None, "again")
    assert spool.configuration(0) == before
    assert [(e.at, e.engine, e.values.tobytes()) for e in spool.epochs(0)] == [
        (e.at, e.engine, e.values.tobytes()) for e in epochs
    ]
    sweep = spool.sweep()
    assert sweep is not None and sweep.name == "sweep" and sweep.versions == {"torch": "2.15.0"}


def test_an_epoch_of_several_configurations_is_there_as_a_whole_or_not(spool: Spool, maker: Any) -> None:
    for number in (0, 1):
        maker.configuration(spool, number, "running", epochs=1)
    with pytest.raises(ValueError, match="each member of configuration 1"):
        spool.add_all({0: maker.records(0, 1), 1: maker.records(1, 1)[:2]})
    assert [len(spool.epochs(number)) for number in (0, 1)] == [1, 1]
    spool.add_all({number: maker.records(number, 1) for number in (0, 1)})
    assert [len(spool.epochs(number)) for number in (0, 1)] == [2, 2]


def test_what_is_trained_again_is_counted(spool: Spool, maker: Any) -> None:
    maker.configuration(spool, 0, "running", epochs=3)
    assert spool.trained_again() == {}
    for epoch in (1, 2, 2):
        spool.add(0, maker.records(0, epoch))
    assert spool.trained_again() == {(0, 1): 1, (0, 2): 2}


def test_a_spool_of_the_former_version_is_taken_over(spool: Spool, maker: Any) -> None:
    maker.configuration(spool, 0)
    with spool.writing() as db:
        db.execute("DROP TABLE again")
        db.execute("PRAGMA user_version=1")
    newer = Spool.at(spool.file)
    newer.add(0, maker.records(0, 1))
    assert newer.trained_again() == {(0, 1): 1}
    newer.close()


def test_every_event_waits_until_it_is_delivered(spool: Spool, maker: Any) -> None:
    maker.begin(spool)
    maker.configuration(spool, 0)
    spool.finish("FINISHED", "note")
    assert spool.waiting() == 1 + 1 + 3 + 1 + 1
    outbox = Outbox(spool)
    events = outbox.events(0)
    assert [(e.kind, e.epoch) for e in events] == [("end", 0), ("epoch", 0), ("start", 0), ("epoch", 1), ("epoch", 2)]
    outbox.delivered(events)
    assert spool.waiting() == 2
    # A sweep that goes on has not finished.
    maker.begin(spool)
    assert [e.kind for e in outbox.events()] == ["begin"]
    state = outbox.state()
    assert state is not None and state.status is None


def test_the_means_are_those_of_the_packs(spool: Spool, maker: Any) -> None:
    from sweeps.driver.packs import mean

    maker.configuration(spool, 4)
    expected = {epoch: mean(maker.records(4, epoch), "validation.accuracy") for epoch in range(3)}
    assert spool.means(4, "validation.accuracy") == expected
    assert spool.means(5, "validation.accuracy") == {}


def test_wrong_calls_are_refused(spool: Spool, maker: Any) -> None:
    maker.configuration(spool, 0, "running", epochs=1)
    with pytest.raises(ValueError, match="each member of configuration 0"):
        spool.add(0, maker.records(0, 1)[:2])
    with pytest.raises(ValueError, match="each member of configuration 0"):
        spool.add(0, [*maker.records(0, 1)[:2], maker.records(0, 2)[2]])
    with pytest.raises(ValueError, match="state must be one of"):
        spool.end(0, "done")
    with pytest.raises(ValueError, match="status must be one of"):
        spool.finish("done", "")
    with pytest.raises(ValueError, match="at least one member"):
        spool.start(1, "", "", [])
    with pytest.raises(KeyError):
        spool.add(7, maker.records(7, 0))


def test_a_full_disk_is_a_clear_error_and_the_spool_stays_whole(spool: Spool, maker: Any) -> None:
    maker.configuration(spool, 0, "running", epochs=1)
    with spool.reading() as db:
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        db.execute(f"PRAGMA max_page_count={pages}")
    number = 1
    with pytest.raises(SpoolError, match=r"can't write the spool .*sweep\.db: database or disk is full") as caught:  # noqa: PT012
        while number < 1_000:
            maker.configuration(spool, number, "running", epochs=1)
            number += 1
    assert "\n" not in str(caught.value)
    with spool.reading() as db:
        db.execute("PRAGMA max_page_count=1000000")
    maker.configuration(spool, number, "running", epochs=2)
    assert [e.epoch for e in spool.epochs(number)] == [0, 1]
    assert all(len(spool.epochs(n)) == 1 for n in range(number))


def test_what_is_no_spool_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("not a database" * 100)
    with pytest.raises(SpoolError, match=r"the spool .*text\.db: file is not a database"):
        Spool.at(tmp_path / "text.db")
    with pytest.raises(SpoolError, match="can't open the spool"):
        Spool.at(tmp_path / "no" / "folder.db")
    with sqlite3.connect(tmp_path / "newer.db") as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(SpoolError, match="its version is 99"):
        Spool.at(tmp_path / "newer.db")


def test_one_thread_writes_while_another_reads(spool: Spool, maker: Any) -> None:
    maker.begin(spool)
    other = Spool.at(spool.file)
    seen: list[int] = []
    done = threading.Event()

    def read() -> None:
        outbox = Outbox(other)
        while not done.is_set() or outbox.waiting():
            for waiting in outbox.waiting():
                events = outbox.events(waiting.number)
                seen.extend(e.epoch for e in events if e.kind == "epoch")
                outbox.delivered(events)

    thread = threading.Thread(target=read)
    thread.start()
    for number in range(30):
        maker.configuration(spool, number)
    done.set()
    thread.join(30)
    other.close()
    assert sorted(seen) == sorted([0, 1, 2] * 30)
    assert spool.waiting() == 1
