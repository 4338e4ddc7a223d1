"""A disk that is full while states, the ledger and the mirrors are written; a file of states that is torn."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sweeps.driver.kept import Kept
from sweeps.driver.packs import Pack, PackedConfiguration, train_pack
from tests.faults.harness import CONFIGURATIONS, EPOCHS, RECORDS, Harness, moments
from trainers.members import MemberConfig
from trainers.objectives import Objective

pytestmark = pytest.mark.timeout(3600)
OF = f"of {RECORDS} records, {CONFIGURATIONS} configurations"
BLOCK = 4096


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 100 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"needs root and a kernel that mounts a tmpfs: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk: Path, left: int) -> Path:
    """Fill a disk, on which others write meanwhile, up to so many bytes."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(BLOCK)):
            pass
    os.truncate(filler, max(0, filler.stat().st_size - left))
    return filler


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["in-process", pytest.param("ray", marks=pytest.mark.ray)])
def test_the_disk_is_full(
    make_sweep: Callable[..., Harness], undisturbed: pd.DataFrame, small_disk: Path, noted: Any, executor: str
) -> None:
    with noted("faults", f"the disk is full, {executor}", seed := 21) as note:
        sweep = make_sweep(undisturbed, small_disk)
        words, tried = ["run", sweep.spec_file(), "--executor", executor], []
        draw = random.Random(seed)
        # Which of the files is the first to find no room depends on how much is left.
        for moment in moments(seed, 4):
            process = sweep.start(*words)
            at = sweep.reach(moment, process)
            left = draw.choice([0, 4, 16, 64]) * BLOCK
            filler = fill(small_disk, left)
            err = sweep.finish(process, 1)
            (last,) = [line for line in err.splitlines() if line.startswith("gradsweep: ")]
            tried.append(f"{left // 1024} kB left at {at}: {last.removeprefix('gradsweep: ').partition(' ')[0]}")
            assert "To continue: gradsweep run" in err
            filler.unlink()
            words = [*words[:4], "--resume"]
        sweep(*words)
        note.tried = f"a tmpfs, {'; '.join(tried)} {OF}; each time room was made, then run --resume"
        note.outcome = f"each time one line and exit 1; resumed: {sweep.must_be_sound()}"


def test_the_disk_is_full_when_weights_are_kept(small_disk: Path, tmp_path: Path) -> None:
    """Nothing has ended, no file is there in part, and with room again the sweep goes on."""
    kept = Kept(small_disk / "kept", keep="weights")
    kept.folder.mkdir()
    member = MemberConfig(regime="mlp", epochs=2, batch_size=128)
    pack = Pack("p0", (PackedConfiguration(0, (member,)),), (Objective("validation.accuracy"),), epochs=2)
    filler = fill(small_disk, BLOCK)
    *_, last = train_pack(pack, tmp_path / "p0.npz", kept)
    assert (last.epoch, dict(last.ended)) == (2, {})
    assert last.stop == f"can't save the states of pack p0 in {kept.folder}: No space left on device"
    assert not list(kept.folder.iterdir())
    filler.unlink()
    past = {0: 0.0, 1: 0.0}
    again = replace(pack, configurations=(replace(pack.configurations[0], past=past),))
    (report,) = train_pack(again, tmp_path / "p0.npz", kept)
    assert report.ended[0].state == "complete" and [s.epoch for s in kept.load(0)] == [2]


def tear(file: Path, draw: random.Random) -> None:
    """Leave a part of a file, or put something else into the middle of it."""
    content = file.read_bytes()
    place = draw.randrange(len(content))
    if draw.random() < 0.5:
        file.write_bytes(content[:place])
    else:
        noise = draw.randbytes(64)
        file.write_bytes(content[:place] + noise + content[place + len(noise) :])


@pytest.mark.slow
def test_a_torn_file_of_states(sweep: Harness, noted: Any) -> None:
    with noted("faults", "a torn checkpoint", seed := 22) as note:
        words, draw, torn = ["run", sweep.spec_file(), "--executor", "in-process"], random.Random(seed), []
        at = 0
        for moment in moments(seed, 4):
            process = sweep.start(*words)
            # Another pack than before: what is torn twice costs two epochs.
            at = sweep.reach(max(moment, at + 2 * (EPOCHS + 1) + 1), process)
            sweep.wait(lambda: len(newest(sweep)) > 0, process)
            process.kill()
            process.communicate()
            for file in newest(sweep):
                tear(file, draw)
                torn.append(file.suffix)
            words = [*words[:4], "--resume"]
        sweep(*words)
        found = sweep.must_be_sound()
        note.tried = f"SIGKILL of four drivers, then the last file of each pack in training torn ({len(torn)} files)"
        note.outcome = str(found)
        assert len(torn) >= 4
        # One epoch of a configuration at most each time, so two configurations a torn file.
        assert found.again <= 2 * len(torn)


def newest(sweep: Harness) -> list[Path]:
    """The last file of states of each pack in training."""
    files: dict[str, Path] = {}
    for epoch in range(1, EPOCHS + 1):
        for file in sweep.store.states("faults").glob(f"*.npz.{epoch}"):
            files[file.stem] = file
    return list(files.values())
