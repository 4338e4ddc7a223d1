"""`logs -f` of a sweep in the background of this machine ends with what the sweep has come to.

tests/k8s/test_target.py has the same for a Kubernetes namespace, tests/service/test_ray.py for a Ray cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sweeps.cli import _status
from sweeps.driver.driver import Driver
from sweeps.driver.kept import Kept
from sweeps.driver.packs import train_pack
from sweeps.spec.reading import parse
from tracking.ledger import Ledger
from tracking.store import Store
from tracking.types import Sweep

SPEC = """\
name: small
base: {{init_scale: 1.0, data: "{images}", epochs: 1, batch_size: 8}}
seeds: 1
arms: {{plain: {{alpha: 1.0}}, large: {{alpha: 2.0}}}}
resources: {{pack: 1, concurrent: 1}}
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """One to which the sweep was submitted: its output is there."""
    store = Store.at(tmp_path / "store").create()
    (store.folder / "logs").mkdir()
    (store.folder / "logs" / "small.log").write_text("epoch 1\n")
    return store


@pytest.fixture
def driver(store: Store, images: str, tmp_path: Path) -> Iterator[tuple[Driver, Callable[[str, str], None]]]:
    """The sweep's driver, and what notes the end of the sweep."""
    spec, ledger = parse(SPEC.format(images=images)), Ledger.create(store.ledger_url)
    sweep = ledger.begin(Sweep("small", spec.to_yaml()))
    driver = Driver(spec, ledger, sweep, tmp_path / "packs", Kept(tmp_path / "kept"))
    yield driver, lambda status, note: ledger.finish(sweep, status, note, trained=True)
    ledger.close()


def train(driver: Driver, packs: int) -> None:
    for _ in range(packs):
        assert (pack := driver.next_pack()) is not None
        for report in train_pack(pack, driver.states_file(pack.id)):
            driver.record(report)


@pytest.mark.parametrize(
    ("packs", "status", "note", "exit_status", "says"),
    [
        (2, "finished", "The verdict.", 0, ""),
        (1, "killed", "Interrupted; it can be resumed.", 0, "sweep 'small' was stopped; to continue: RESUME"),
        (
            1,
            "failed",
            "LedgerError: the ledger can't be written\n\n```\nTraceback\n```",
            1,
            "gradsweep: sweep 'small' has failed: LedgerError: the ledger can't be written; to continue: RESUME",
        ),
    ],
)
def test_the_exit_status_is_the_sweeps(
    packs: int,
    status: str,
    note: str,
    exit_status: int,
    says: str,
    store: Store,
    driver: tuple[Driver, Callable[[str, str], None]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    train(driver[0], packs)
    driver[1](status, note)
    to = ["--store", str(store.folder)]
    assert _status(["logs", "small", "-f", *to]) == exit_status
    again = f"gradsweep resume small --store {store.folder}"
    assert capsys.readouterr() == ("epoch 1\n", f"{says.replace('RESUME', again)}\n" if says else "")
    assert _status(["logs", "small", *to]) == 0  # who only looks has what they wanted
    capsys.readouterr()
    assert _status(["status", "small", *to]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert (f"next {again}" in lines) == (status != "finished")
    assert ("state failed: LedgerError: the ledger can't be written" in lines) == (status == "failed")


def test_configurations_that_failed_are_a_failure(
    store: Store, driver: tuple[Driver, Callable[[str, str], None]], capsys: pytest.CaptureFixture[str]
) -> None:
    """As they are for `run`."""
    train(driver[0], 1)
    assert (pack := driver[0].next_pack()) is not None
    driver[0].give_up(pack.id, "its worker was lost six times")
    driver[1]("finished", "The verdict.")
    assert _status(["logs", "small", "-f", "--store", str(store.folder)]) == 1
    assert capsys.readouterr().err == "gradsweep: sweep 'small' has failed: 1 x its worker was lost six times\n"
