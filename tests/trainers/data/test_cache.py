"""The cache: where it is, several processes at once, damage, and what is said when it can't be written."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from trainers.data import cache as kept
from trainers.data.folder import load_folder
from trainers.errors import DataError

PROJECT = Path(__file__).parents[3]


def test_where_it_is(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.delenv("GRADSWEEP_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert kept.cache_folder() == Path("/home/someone/.cache/gradsweep")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert kept.cache_folder() == Path("/xdg/gradsweep")
    monkeypatch.setenv("GRADSWEEP_CACHE", "~/own")
    assert kept.cache_folder() == Path("/home/someone/own")
    monkeypatch.setenv("GRADSWEEP_CACHE", "")
    assert kept.cache_folder() == Path("/xdg/gradsweep")
    monkeypatch.setenv("GRADSWEEP_CACHE", "own")
    monkeypatch.chdir(tmp_path)
    assert kept.cache_folder() == tmp_path / "own"


def start(root: Path, before: str = "") -> subprocess.Popen[str]:
    """A process that waits for a line, loads the folder and prints its digest."""
    code = (
        "import sys; from trainers.data import load; from trainers.errors import DataError\n"
        f"{before}\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "try: print(load('folder:' + sys.argv[1]).digest)\n"
        "except DataError as e: print('DataError:', e)"
    )
    command = [sys.executable, "-c", code, str(root)]
    return subprocess.Popen(
        command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def answers(processes: list[subprocess.Popen[str]]) -> list[str]:
    """Lets all go at once, and gives what each prints."""
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60) for process in processes]
    assert [err for _, err in said] == [""] * len(said)
    return [out.strip() for out, _ in said]


def nothing_half_written(cache: Path) -> bool:
    return not [p for p in cache.rglob(".*")]


def test_two_processes_may_load_the_same_folder_at_once(tree, cache) -> None:
    root = tree()
    first, second = answers([start(root), start(root)])
    assert len(first) == 64 and first == second == load_folder(str(root)).digest
    assert len(list((cache / "arrays").iterdir())) == 1
    assert nothing_half_written(cache)


def test_of_two_writers_the_first_one_wins(tree, cache) -> None:
    dataset = load_folder(str(tree()))
    key = next((cache / "arrays").iterdir()).name
    before = (cache / "arrays" / key).stat().st_ino
    assert kept.write(key, dataset).digest == dataset.digest
    assert (cache / "arrays" / key).stat().st_ino == before
    assert nothing_half_written(cache)


def test_a_writer_overtaken_while_it_looks_leaves_the_winners_set(tree, cache, monkeypatch) -> None:
    """The other one finishes right after this one has first looked at the place, or right before it is taken."""
    dataset = load_folder(str(tree()))
    read, rename, winner = kept.read, Path.rename, []

    def other() -> None:
        if not winner:
            winner.append(0)
            kept.write("other", dataset)
            winner[0] = (cache / "arrays/other").stat().st_ino

    def read_and_be_overtaken(key: str, name: str):
        found = read(key, name)
        other()
        return found

    def be_overtaken_and_rename(self: Path, target: Path) -> Path:
        other()
        return rename(self, target)

    monkeypatch.setattr(kept, "read", read_and_be_overtaken)
    monkeypatch.setattr(Path, "rename", be_overtaken_and_rename)
    assert kept.write("other", dataset).digest == dataset.digest
    assert (cache / "arrays/other").stat().st_ino == winner[0]
    assert nothing_half_written(cache)


def test_of_two_that_repair_the_same_damage_both_have_the_data(tree, cache, monkeypatch) -> None:
    """The other one has replaced the damaged set between this one's look at it and what it does about it."""
    dataset = load_folder(str(tree()))
    (cache / "arrays/other").mkdir()
    (cache / "arrays/other/dataset.json").write_text("{")
    read, others = kept.read, []

    def read_and_be_overtaken(key: str, name: str):
        found = read(key, name)
        if not others:
            others.append(None)
            others[0] = kept.write("other", dataset)
        return found

    monkeypatch.setattr(kept, "read", read_and_be_overtaken)
    ours = kept.write("other", dataset)
    for found in (ours, others[0], read("other", "x")):
        assert found.digest == dataset.digest and np.array_equal(found.train.images, dataset.train.images)
    assert nothing_half_written(cache)


@pytest.mark.parametrize("damaged", ["dataset.json", "train-images.npy", "test-labels.npy"])
@pytest.mark.parametrize("how", ["gone", "empty", "cut off"])
def test_damage_is_repaired(tree, cache, damaged, how) -> None:
    root = tree()
    before = load_folder(str(root))
    digest, pixels = before.digest, np.array(before.train.images)
    file = next((cache / "arrays").iterdir()) / damaged
    if how == "gone":
        file.unlink()
    else:
        os.truncate(file, 0 if how == "empty" else file.stat().st_size - 1)
    again = load_folder(str(root))
    assert again.digest == digest and np.array_equal(again.train.images, pixels)
    assert nothing_half_written(cache)


def test_a_cache_that_cannot_be_written_is_one_clear_line(tree, tmp_path, monkeypatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GRADSWEEP_CACHE", str(tmp_path / "file/cache"))
    with pytest.raises(DataError) as e:
        load_folder(str(tree()))
    assert str(e.value) == (
        f"the cache {tmp_path}/file/cache can't be written (Not a directory): "
        "make room there, or set GRADSWEEP_CACHE to a folder with room that may be written to"
    )


def test_a_full_cache_is_one_clear_line_and_leaves_nothing_behind(tree, cache) -> None:
    root = tree()
    # The nearest thing to a full disk that needs no disk: no file may grow beyond 4,096 bytes.
    full = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))"
    (said,) = answers([start(root, full)])
    assert said.startswith(f"DataError: the cache {cache} can't be written (File too large): make room there")
    assert not list((cache / "arrays").iterdir())
    assert len(load_folder(str(root)).test) == 4
