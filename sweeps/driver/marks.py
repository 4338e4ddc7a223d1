"""Whose states of members a folder or a bucket holds, those in training and those kept: a file in it has the mark of
the sweep that made it.

Two ledgers may share them and have sweeps of the same name. Nothing beside another mark, or beside none, is read,
overwritten or deleted.

    >>> refuse_foreign(store, "alpha-r", "")         # for a new sweep: there must be nothing
    >>> claim(store, sweep)                          # from here on it is this sweep's
    >>> release(store, sweep)                        # nobody's any more, once there are no states
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sweeps.driver.bucket import Bucket
from sweeps.driver.kept import Kept
from tracking.store import MARK, Store
from tracking.types import Sweep
from trainers.errors import RequestError, SearchError, one_line


def refuse_foreign(store: Store, name: str, mark: str) -> None:
    """See that states of a sweep can be kept: nothing is there, or it has this mark (\"\": of a new sweep).

    Raises SearchError for somebody else's files, RequestError for a place that can't be read.
    """
    for url in _places(store, name):
        with _usable(url):
            theirs = _mark(place := Bucket(url))
            # Without a mark they were made for a sweep of this ledger, before there were marks.
            foreign = theirs != mark if theirs else not mark and bool(place.everything())
        if foreign:
            raise SearchError(
                f"{url} has files of another sweep, or of somebody else: choose another name with --name, or "
                "delete them"
            )


def claim(store: Store, sweep: Sweep) -> None:
    """Mark the places of a sweep's states as its own."""
    for url in _places(store, sweep.name):
        with _usable(url):
            if not _mark(place := Bucket(url)):
                place.put(MARK, sweep.mark.encode())


def release(store: Store, sweep: Sweep, *, states: bool = False) -> None:
    """Delete the mark where there is nothing else, with `states` all that is beside it as well."""
    for url in _places(store, sweep.name):
        with _usable(url):
            there = (place := Bucket(url)).everything()
            if not there or (_mark(place) == sweep.mark and (states or there == [MARK])):
                place.delete_everything()


def _places(store: Store, name: str) -> list[str]:
    in_bucket = [f"{store.checkpoints.rstrip('/')}/{name}"] if store.checkpoints else []
    return [str(store.states(name)), Kept.of(name, store).place, *in_bucket]


def _mark(place: Bucket) -> str:
    return place.read(MARK).decode() if place.has(MARK) else ""


@contextmanager
def _usable(url: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise RequestError(f"the states of members can't be kept in {url}: {one_line(error)}") from None
