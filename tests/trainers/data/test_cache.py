"""The cache: where it is, several processes at once, damage, and what is said when it can't be written."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from trainers.data import cache as kept
from trainers.data.folder import load_folder
from trainers.errors import DataError

PROJECT = Path(__file__).parents[3]


def test_where_it_is(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("GRADSWEEP_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert kept.cache_folder() == tmp_path / ".cache/gradsweep"
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert kept.cache_folder() == Path("/xdg/gradsweep")
    monkeypatch.setenv("GRADSWEEP_CACHE", "~/own")
    assert kept.cache_folder() == tmp_path / "own"
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


def test_writers_at_the_same_moment_leave_one_set_and_all_have_the_data(tree, cache) -> None:
    """Where there is none yet, and where there is a damaged one that each of them would repair."""
    dataset = load_folder(str(tree()))
    for key in ("new", "damaged"):
        if key == "damaged":
            (cache / "arrays/damaged").mkdir()
            (cache / "arrays/damaged/dataset.json").write_text("{")
        with ThreadPoolExecutor(8) as pool:
            sets = [*pool.map(lambda _, key=key: kept.write(key, dataset), range(8)), kept.read(key, "x")]
        assert len({os.stat(found.train.images.filename).st_ino for found in sets}) == 1
        for found in sets:
            assert found.digest == dataset.digest and np.array_equal(found.train.images, dataset.train.images)
    assert nothing_half_written(cache)


def test_who_comes_second_waits_and_takes_what_the_first_has_written(tree, cache) -> None:
    dataset = load_folder(str(tree()))
    with ThreadPoolExecutor(1) as pool:
        with kept.alone(cache):
            second = pool.submit(kept.write, "other", dataset)
            assert not (cache / "arrays/other").exists()
            first = cache / "arrays" / "other"
            shutil.copytree(next((cache / "arrays").iterdir()), first)
            before = first.stat().st_ino
        assert second.result(timeout=60).digest == dataset.digest
    assert first.stat().st_ino == before


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


def load_as_nobody(root: Path, tmp_path: Path, **variables: str) -> str:
    """The digest and the cache's folder, as a user says them who may write in no home; the temporary folder is open."""
    temporary = tmp_path / "tmp"
    temporary.mkdir(exist_ok=True)
    temporary.chmod(0o1777)
    code = (
        "import logging, os, sys; logging.basicConfig(level=logging.WARNING)\n"
        "from trainers.data.cache import cache_folder; from trainers.data.folder import load_folder\n"
        "from trainers.data.images import endings; endings()\n"  # imports what root alone may be able to read
        "if os.geteuid() == 0: os.setgid(54321), os.setuid(54321)\n"  # in no list of users
        "print(load_folder(sys.argv[1]).digest, cache_folder())"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("HOME", "GRADSWEEP_CACHE", "XDG_CACHE_HOME")}
    environment |= {"TMPDIR": str(temporary)} | variables
    done = subprocess.run(
        [sys.executable, "-c", code, str(root)],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.strip()


@pytest.fixture
def open_root(tree) -> Iterator[Path]:
    """A tree that everybody can read, though pytest's own folders are for their owner alone."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(shutil.copytree(tree(), Path(folder) / "pictures"))


@pytest.mark.parametrize("home", ["", "/", "/nonexistent", "read-only"])
def test_without_a_home_that_can_be_written_to_the_cache_is_in_a_temporary_folder_of_ones_own(
    open_root, cache, home
) -> None:
    expected = load_folder(str(open_root)).digest
    place = open_root.parent
    if home == "read-only":
        home = str(place / "home")
        os.mkdir(home, 0o555)
    variables = {"HOME": home} if home else {}
    if not home and os.geteuid() != 0:
        pytest.skip("the home of a user in the list of users is known without HOME")
    first = load_as_nobody(open_root, place, **variables).split()
    assert first[0] == expected and Path(first[1]).parent == place / "tmp"
    assert Path(first[1]).stat().st_mode & 0o777 == 0o700
    arrays = next((Path(first[1]) / "arrays").iterdir()).stat().st_ino
    assert load_as_nobody(open_root, place, **variables).split() == first
    assert next((Path(first[1]) / "arrays").iterdir()).stat().st_ino == arrays


def test_what_is_in_a_home_that_can_only_be_read_is_used(open_root, monkeypatch) -> None:
    home = open_root.parent / "home"
    monkeypatch.setenv("GRADSWEEP_CACHE", str(home / ".cache/gradsweep"))
    expected = load_folder(str(open_root)).digest
    for folder in home.rglob("*"):
        folder.chmod(0o555)
    answer = load_as_nobody(open_root, open_root.parent, HOME=str(home)).split()
    assert answer[0] == expected and not (Path(answer[1]) / "arrays").exists()
    for folder in home.rglob("*"):
        folder.chmod(0o755)


def test_a_temporary_folder_that_others_have_made_is_not_used(tmp_path, monkeypatch) -> None:
    """What they put there would be trained on."""
    for name in ("GRADSWEEP_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "nowhere"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    place = tmp_path / f"gradsweep-cache-{os.geteuid()}"
    assert kept.cache_folder() == place
    place.chmod(0o777)
    assert kept.cache_folder() == tmp_path / "nowhere/.cache/gradsweep"
    place.rmdir()
    (tmp_path / "of-others").mkdir(0o700)
    place.symlink_to(tmp_path / "of-others")
    assert kept.cache_folder() == tmp_path / "nowhere/.cache/gradsweep"
