"""The executor without a cluster: one pack after another, in this process; for tests and for debugging.

The same interface as `sweeps.ray_tune.run`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sweeps.books import Books
from sweeps.interrupt import Interrupt
from sweeps.packs import train_pack
from sweeps.spec import Resources
from tracking.store import Store


@contextmanager
def opened(resources: Resources, store: Store, interrupt: Interrupt) -> Iterator[None]:
    """Nothing to open."""
    yield


def run(books: Books, resources: Resources, interrupt: Interrupt, folder: Path, bucket: str | None = None) -> None:
    """Train all packs of the books; `folder` and `bucket` are not needed here. Raises Interrupted after a signal."""
    device = "cuda" if resources.gpus else "cpu"
    while (pack := books.next_pack()) is not None:
        reports = train_pack(pack, books.states_file(pack.id), device=device, threads=resources.cpus)
        for report in reports:
            books.record(report)
            interrupt.check()
