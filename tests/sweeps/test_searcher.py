"""What Tune is told when there is no pack: to wait, or that all is done; and what becomes of a pack's states."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.search import Searcher

from sweeps.driver.bucket import Bucket
from sweeps.driver.packs import Pack, PackedConfiguration
from sweeps.driver.signals import Interrupt
from sweeps.executors.ray_tune import Bookkeeper, PackSearcher


class Books:
    """Two packs, and a third once these have ended, as a confirming stage has."""

    def __init__(self) -> None:
        self.packs: list[Pack] = [Pack("a", (), ()), Pack("b", (), ())]
        self.more_later = True

    def next_pack(self) -> Pack | None:
        return self.packs.pop(0) if self.packs else None


def test_tune_waits_for_what_comes_when_the_search_has_ended() -> None:
    books: Any = Books()
    searcher = PackSearcher(books)
    assert all(isinstance(searcher.suggest(name), dict) for name in ("1", "2"))
    assert searcher.suggest("3") is None
    searcher.on_trial_complete("1")
    assert searcher.suggest("3") is None
    searcher.on_trial_complete("2")
    books.packs, books.more_later = [Pack("c", (), ())], False
    assert isinstance(searcher.suggest("3"), dict)
    assert searcher.suggest("4") == Searcher.FINISHED


@pytest.mark.parametrize(("broken", "left"), [(False, 0), (True, 0), (False, 1)])
def test_states_stay_in_a_bucket_while_the_books_have_not_what_came_of_them(
    broken: bool, left: int, tmp_path: Path
) -> None:
    """As where the time is up, and a configuration is left that has not ended."""

    def record(report: object) -> None:
        if broken:
            raise OSError("the disk is full")

    url = (tmp_path / "bucket").as_uri()
    Bucket(url, "sweep", "p0").put("p0.npz.1", b"states")
    unfinished = Pack("p0", (PackedConfiguration(0, ()),) * left, ())
    books: Any = SimpleNamespace(record=record, reissue=lambda pack: unfinished)
    keeper = Bookkeeper(books, Interrupt(), (url, "sweep"))
    trial = SimpleNamespace(config={"parcel": SimpleNamespace(id="p0")})
    keeper.on_trial_result(trial=trial, result={"report": "the last"})
    keeper.on_trial_complete(trial=trial)
    assert Bucket(url, "sweep", "p0").names() == ({"p0.npz.1"} if broken or left else set())
