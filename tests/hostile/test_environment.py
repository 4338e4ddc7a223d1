"""Environment variables of odd values, and stores that are none, of another version, full or read-only."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sweeps.cli import _status
from tests.hostile.command import SPEC, Gradsweep, images

pytestmark = pytest.mark.timeout(600)

READING = [["list"], ["status", "x"], ["report", "x"], ["export", "x", "x.csv"]]
PLACES = [
    "postgresql://user:secret@host/x",
    "https://host/x",
    "file:///tmp/x",
    "~nobody-of-this-name/x",
    "~nobody-of-this-name/x.yaml",
    "/dev/null",
    "/dev/null/x",
    "/etc/passwd",
    "s.yaml",
    "s.yaml/x",
    "nowhere.yaml",
    "/proc/self/x",
    "/sys/kernel/x",
    " ",
    "a?b",
    "a\nb",
    "\x1b[2J",
    "\udcff",
    "\u202e",
    "x" * 300,
    "x/" * 3000,
]


@pytest.mark.inputs(
    "GRADSWEEP_STORE and --store: addresses, devices, files, names that no folder can have", cases=PLACES
)
def test_odd_places(gradsweep: Gradsweep, monkeypatch: pytest.MonkeyPatch, subtests: pytest.Subtests) -> None:
    for place in PLACES:
        with subtests.test(ascii(place[:30])):
            assert "secret" not in gradsweep.refuses("run", "s.yaml", "--store", place)
            if place not in ("/dev/null/x", "/proc/self/x", "/sys/kernel/x"):
                gradsweep.refuses("status", "x", "--store", place)
    for place in PLACES[:3]:
        monkeypatch.setenv("GRADSWEEP_STORE", place)
        assert "secret" not in gradsweep.refuses("run", "s.yaml")


CACHES = ["/dev/null", "/dev/null/x", "/etc/passwd", "/sys/kernel/x", "~nobody-of-this-name/x", "x" * 300]


@pytest.mark.inputs("GRADSWEEP_CACHE and XDG_CACHE_HOME: devices, files, names that no folder can have", cases=CACHES)
@pytest.mark.parametrize("variable", ["GRADSWEEP_CACHE", "XDG_CACHE_HOME"])
def test_odd_caches(
    gradsweep: Gradsweep, monkeypatch: pytest.MonkeyPatch, subtests: pytest.Subtests, variable: str
) -> None:
    root = images(gradsweep.root / "pictures")
    gradsweep.spec.write_text(SPEC.replace("data: digits", f'data: "folder:{root}"'))
    monkeypatch.delenv("GRADSWEEP_CACHE")
    for place in CACHES:
        with subtests.test(ascii(place[:30])):
            monkeypatch.setenv(variable, place)
            gradsweep.refuses("run", "s.yaml", says="GRADSWEEP_CACHE")


BUILDS = ["sse", "../../x", "portable.so", "avx512 ", "\udcff"]


@pytest.mark.inputs("GRADSWEEP_LANES: a build that there is none of", cases=BUILDS)
def test_odd_builds(gradsweep: Gradsweep, monkeypatch: pytest.MonkeyPatch, subtests: pytest.Subtests) -> None:
    for build in BUILDS:
        with subtests.test(ascii(build)):
            monkeypatch.setenv("GRADSWEEP_LANES", build)
            gradsweep.refuses("run", "s.yaml", says="GRADSWEEP_LANES")


POOR = [
    {"HOME": "", "LC_ALL": "C", "PYTHONIOENCODING": "ascii"},
    {"HOME": "/nonexistent", "PYTHONUTF8": "0", "LC_ALL": "POSIX", "TMPDIR": "/nonexistent"},
    {"PYTHONIOENCODING": "latin-1", "COLUMNS": "x", "LINES": "-1", "TERM": "nonsense", "FORCE_COLOR": "x"},
]


@pytest.mark.inputs(
    "Environments that are merely poor: no HOME, another encoding, odd sizes of the terminal",
    cases=POOR,
    outcome="the same output, with escapes for what can't be shown",
)
def test_a_poor_environment(gradsweep: Gradsweep, subtests: pytest.Subtests) -> None:
    gradsweep.spec.write_text(SPEC + "question: „Größe“ 大きさ?\n")
    command = [sys.executable, "-m", "sweeps.cli", "plan", "s.yaml"]
    for odd in POOR:
        with subtests.test(ascii(odd)):
            planned = subprocess.run(command, cwd=gradsweep.here, env=os.environ | odd, capture_output=True)
            assert planned.returncode == 0, planned.stderr
            assert planned.stderr == b"" and b"1 (1 arms, 0 searched)" in planned.stdout


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a sweep that has ended, and its spec beside it."""
    root = tmp_path_factory.mktemp("sound")
    data = images(root / "pictures")
    (root / "s.yaml").write_text(SPEC.replace("data: digits", f'data: "folder:{data}", batch_size: 4'))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("GRADSWEEP_CACHE", str(root / "cache"))
        assert _status(["run", "s.yaml", "--executor", "in-process", "--store", str(root / "store")]) == 0
    return root


@pytest.fixture
def store(gradsweep: Gradsweep, sound: Path) -> Path:
    """A copy of it, to be spoiled, where commands look for it."""
    shutil.copy(sound / "s.yaml", gradsweep.spec)
    shutil.copytree(sound / "cache", gradsweep.root / "cache")
    return Path(shutil.copytree(sound / "store", gradsweep.here / "gradsweep-store"))


def sql(file: Path, statement: str) -> None:
    with closing(sqlite3.connect(file)) as db:
        db.execute(statement)
        db.commit()


def replaced(file: Path, make: Callable[[Path], object]) -> None:
    file.unlink()
    make(file)


DATABASES: dict[str, Callable[[Path], object]] = {
    "of a newer version": lambda f: sql(f, f"UPDATE {_VERSION[f.name]}"),
    "text": lambda f: f.write_text("x" * 10_000),
    "cut off": lambda f: os.truncate(f, 5000),
    "noise inside": lambda f: f.write_bytes(f.read_bytes()[:100] + bytes(200_000)),
    "a folder": lambda f: replaced(f, lambda f: f.mkdir()),
    "a link to itself": lambda f: replaced(f, lambda f: f.symlink_to(f.name)),
    "a device": lambda f: replaced(f, lambda f: f.symlink_to("/dev/zero")),
}
_VERSION = {
    "ledger.db": "gradsweep_ledger SET format=99",
    "optuna.db": "alembic_version SET version_num='v99.0.0.a'",
    "mlflow.db": "alembic_version SET version_num='ffffffffffff'",
}


@pytest.mark.inputs("A store whose ledger is of another version, another file, or broken", cases=DATABASES)
@pytest.mark.parametrize("case", DATABASES)
def test_another_ledger(gradsweep: Gradsweep, store: Path, case: str) -> None:
    DATABASES[case](store / "ledger.db")
    for words in (["run", "s.yaml", "--name", "y"], ["run", "s.yaml", "--resume"], *READING):
        gradsweep.refuses(*words)


@pytest.mark.inputs(
    "A store whose MLflow and Optuna databases are of another version, other files, or broken",
    cases=DATABASES,
    outcome="what they mirror is read from the ledger all the same",
)
@pytest.mark.parametrize("case", DATABASES)
def test_broken_mirrors(gradsweep: Gradsweep, store: Path, case: str) -> None:
    for name in ("mlflow.db", "optuna.db"):
        DATABASES[case](store / name)
    for words in READING:
        assert gradsweep(*words)[0] == 0


FORMATS = {"newer": b"3\n", "older": b"1\n", "text": b"gradsweep\n", "no text": b"\xff\xfe1", "large": b"1" * 100_000}


@pytest.mark.inputs("A store of another format", cases=[*FORMATS, "a folder", "of before there were formats"])
def test_another_format(gradsweep: Gradsweep, store: Path, subtests: pytest.Subtests) -> None:
    file = store / "format"
    for case, content in FORMATS.items():
        file.write_bytes(content)
        for words in (["run", "s.yaml", "--name", "y"], *READING):
            with subtests.test(f"{case}, {words[0]}"):
                gradsweep.refuses(*words, says="format")
    replaced(file, lambda f: f.mkdir())
    gradsweep.refuses("list", says="format")
    file.rmdir()
    (store / "spool").mkdir()
    gradsweep.refuses("run", "s.yaml", "--resume", says="was made by version 0.1 of gradsweep")


@pytest.fixture
def mounted(gradsweep: Gradsweep) -> Iterator[Callable[[str], Path]]:
    """Mounts a tmpfs with these options."""
    place = gradsweep.root / "mounted"
    place.mkdir()

    def mount(options: str) -> Path:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True)
        if done.returncode:
            pytest.skip(f"nothing can be mounted here: {done.stderr.decode().strip()}")
        return place

    yield mount
    if place.is_mount():
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.inputs("A full disk, before a sweep is begun")
@pytest.mark.parametrize("size", ["64k", "1m", "7m"])
def test_a_full_disk(gradsweep: Gradsweep, mounted: Callable[[str], Path], size: str) -> None:
    place = mounted(f"size={size}")
    gradsweep.refuses("run", "s.yaml", "--store", str(place / "store"), says="MiB are needed")
    gradsweep.refuses("run", "s.yaml", "--store", str(place), says="MiB are needed")
    assert not list(place.iterdir())


@pytest.mark.inputs("A disk without files left, a read-only disk, before a sweep is begun")
@pytest.mark.parametrize("options", ["size=20m,nr_inodes=2", "size=20m,ro"])
def test_a_disk_that_takes_nothing(gradsweep: Gradsweep, mounted: Callable[[str], Path], options: str) -> None:
    place = mounted(options)
    gradsweep.refuses("run", "s.yaml", "--store", str(place), says="can't write the store")


@pytest.mark.inputs("A store on a read-only disk: to go on with its sweep, or to begin another")
@pytest.mark.parametrize("words", [["--resume"], ["--name", "y"]], ids=str)
def test_a_read_only_store(gradsweep: Gradsweep, store: Path, words: list[str]) -> None:
    bind = ["mount", "--bind", str(store), str(store)]
    if subprocess.run(bind, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(store)], check=True)
        gradsweep.refuses("run", "s.yaml", *words)
    finally:
        subprocess.run(["umount", "--lazy", str(store)], check=True)  # the process that was refused is this one


FILES = ["/nowhere/x.csv", "/dev/null/x.csv", "/proc/x.csv", "x" * 300 + ".csv", "a\nb/x.csv", "x.pkl", "x", "..", "/"]


@pytest.mark.inputs("export to a place that can't be written", cases=FILES)
def test_odd_files_of_an_export(gradsweep: Gradsweep, store: Path, subtests: pytest.Subtests) -> None:
    for file in FILES:
        with subtests.test(ascii(file[:30])):
            gradsweep.refuses("export", "x", file)
