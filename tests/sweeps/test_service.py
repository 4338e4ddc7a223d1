"""A sweep's two books must both be there, and be of one sweep: Optuna's database and the spool."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from sweeps.errors import RequestError
from sweeps.interrupt import Interrupt
from sweeps.service import Outcome, run
from sweeps.spec import parse
from tracking.results import load
from tracking.store import Store

SPEC = """\
name: small
base: {{init_scale: 1.0, data: "{images}", epochs: 1, batch_size: 8}}
seeds: 2
arms:
  plain: {{alpha: 1.0}}
  large: {{alpha: {alpha}}}
"""

Run = Callable[..., Outcome]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.at(tmp_path / "store")


@pytest.fixture
def go(images: str, store: Store, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the sweep in this process."""
    monkeypatch.setenv("GRADSWEEP_SPOOL", "")  # the driver marks its own process

    def run_(alpha: float = 2.0, resume: bool = False) -> Outcome:
        spec = parse(SPEC.format(images=images, alpha=alpha))
        with Interrupt() as interrupt:
            return run(spec, store, interrupt, executor="in-process", resume=resume, show=lambda *_: nullcontext())

    return run_


def test_the_records_of_another_sweep_of_this_name_are_not_added_to(go: Run, store: Store) -> None:
    go()
    before = load("small", store)
    for file in store.folder.glob("optuna.db*"):
        file.unlink()
    for resume in (False, True):
        with pytest.raises(RequestError, match="Optuna's database does not have: start this one by --name NAME"):
            go(alpha=4.0, resume=resume)
    assert not (store.folder / "optuna.db").exists()
    assert load("small", store).equals(before)


def test_a_sweep_whose_records_are_elsewhere_is_not_gone_on_with(go: Run, store: Store) -> None:
    go()
    shutil.move(store.spool_file("small"), store.folder / "elsewhere")
    with pytest.raises(RequestError, match="are not in .*: resume it on the machine of its driver"):
        go(resume=True)
    assert not store.spool_file("small").exists()
    shutil.move(store.folder / "elsewhere", store.spool_file("small"))
    assert go(resume=True).counts.complete == 2
