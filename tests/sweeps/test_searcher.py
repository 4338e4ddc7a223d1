"""What Tune is told when there is no pack: to wait, or that all is done."""

from __future__ import annotations

from typing import Any

from ray.tune.search import Searcher

from sweeps.packs import Pack
from sweeps.ray_tune import PackSearcher


class Books:
    """Two packs, and a third once these have ended, as a confirming stage has."""

    def __init__(self) -> None:
        self.packs: list[Pack] = [Pack("a", (), ()), Pack("b", (), ())]
        self.more_later = True

    def next_pack(self) -> Pack | None:
        return self.packs.pop(0) if self.packs else None


def test_tune_waits_for_what_comes_when_the_search_has_ended() -> None:
    books: Any = Books()
    searcher = PackSearcher(books, None)
    assert all(isinstance(searcher.suggest(name), dict) for name in ("1", "2"))
    assert searcher.suggest("3") is None
    searcher.on_trial_complete("1")
    assert searcher.suggest("3") is None
    searcher.on_trial_complete("2")
    books.packs, books.more_later = [Pack("c", (), ())], False
    assert isinstance(searcher.suggest("3"), dict)
    assert searcher.suggest("4") == Searcher.FINISHED
