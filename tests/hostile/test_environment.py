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


@pytest.mark.inputs("GRADSWEEP_STORE and --store: addresses, devices, files, names that no folder can have")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("way", ["GRADSWEEP_STORE", "--store"])
def test_odd_places(gradsweep: Gradsweep, monkeypatch: pytest.MonkeyPatch, way: str, place: str) -> None:
    if way == "--store":
        said = gradsweep.refuses("run", "s.yaml", "--store", place)
    else:
        monkeypatch.setenv(way, place)
        said = gradsweep.refuses("run", "s.yaml")
    assert "secret" not in said


@pytest.mark.inputs("GRADSWEEP_STORE and --store, where a sweep is looked for")
@pytest.mark.parametrize("place", [p for p in PLACES if p not in ("/dev/null/x", "/proc/self/x", "/sys/kernel/x")])
@pytest.mark.parametrize("command", ["status", "export"])
def test_odd_places_looked_at(gradsweep: Gradsweep, command: str, place: str) -> None:
    gradsweep.refuses(command, "x", *(["x.csv"] if command == "export" else []), "--store", place)


CACHES = ["/dev/null", "/dev/null/x", "/etc/passwd", "/sys/kernel/x", "~nobody-of-this-name/x", "x" * 300]


@pytest.mark.inputs("GRADSWEEP_CACHE and XDG_CACHE_HOME: devices, files, names that no folder can have")
@pytest.mark.parametrize("place", CACHES)
@pytest.mark.parametrize("variable", ["GRADSWEEP_CACHE", "XDG_CACHE_HOME"])
def test_odd_caches(gradsweep: Gradsweep, monkeypatch: pytest.MonkeyPatch, variable: str, place: str) -> None:
    root = images(gradsweep.root / "pictures")
    gradsweep.spec.write_text(SPEC.replace("data: digits", f'data: "folder:{root}"'))
    monkeypatch.delenv("GRADSWEEP_CACHE")
    monkeypatch.setenv(variable, place)
    gradsweep.refuses("run", "s.yaml", says="GRADSWEEP_CACHE")


@pytest.mark.inputs("GRADSWEEP_LANES: a build that there is none of")
@pytest.mark.parametrize("build", ["sse", "../../x", "portable.so", "avx512 ", "\udcff"])
def test_odd_builds(gradsweep: Gradsweep, monkeypatch: pytest.MonkeyPatch, build: str) -> None:
    monkeypatch.setenv("GRADSWEEP_LANES", build)
    gradsweep.refuses("run", "s.yaml", says="GRADSWEEP_LANES")


@pytest.mark.inputs(
    "Environments that are merely poor: no HOME, another encoding, odd sizes of the terminal",
    outcome="the same output, with escapes for what can't be shown",
)
@pytest.mark.parametrize(
    "odd",
    [
        {"HOME": ""},
        {"HOME": "/nonexistent"},
        {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONUTF8": "0", "LC_ALL": "POSIX"},
        {"COLUMNS": "x", "LINES": "-1", "TERM": "nonsense"},
        {"COLUMNS": "1"},
        {"TMPDIR": "/nonexistent"},
        {"NO_COLOR": "", "FORCE_COLOR": "x"},
    ],
    ids=str,
)
def test_a_poor_environment(gradsweep: Gradsweep, odd: dict[str, str]) -> None:
    gradsweep.spec.write_text(SPEC + "question: „Größe“ 大きさ?\n")
    command = [sys.executable, "-m", "sweeps.cli", "plan", "s.yaml"]
    found = subprocess.run(command, cwd=gradsweep.here, env=os.environ | odd, capture_output=True)
    assert found.returncode == 0, found.stderr
    assert found.stderr == b"" and b"1 (1 arms, 0 searched)" in found.stdout


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


OPTUNA: dict[str, Callable[[Path], object]] = {
    "of a newer Optuna": lambda f: sql(f, "UPDATE alembic_version SET version_num='v99.0.0.a'"),
    "of an older Optuna": lambda f: sql(f, "UPDATE alembic_version SET version_num='v0.9.0.a'"),
    "text": lambda f: f.write_text("x" * 10_000),
    "cut off": lambda f: os.truncate(f, 5000),
    "noise inside": lambda f: f.write_bytes(f.read_bytes()[:100] + bytes(200_000)),
    "a folder": lambda f: replaced(f, lambda f: f.mkdir()),
    "a link to itself": lambda f: replaced(f, lambda f: f.symlink_to(f.name)),
    "a device": lambda f: replaced(f, lambda f: f.symlink_to("/dev/zero")),
}


@pytest.mark.inputs("A store whose Optuna database is of another version, another file, or broken")
@pytest.mark.parametrize("case", OPTUNA)
@pytest.mark.parametrize("words", [["run", "s.yaml", "--name", "y"], ["status", "x"]], ids=lambda w: w[0])
def test_another_optuna_database(gradsweep: Gradsweep, store: Path, case: str, words: list[str]) -> None:
    OPTUNA[case](store / "optuna.db")
    gradsweep.refuses(*words)


SPOOLS: dict[str, Callable[[Path], object]] = {
    "of a newer version": lambda f: sql(f, "PRAGMA user_version=99"),
    "of a negative version": lambda f: sql(f, "PRAGMA user_version=-1"),
    "text": lambda f: f.write_text("x" * 10_000),
    "noise inside": lambda f: f.write_bytes(f.read_bytes()[:100] + bytes(200_000)),
    "without its tables": lambda f: sql(f, "DROP TABLE configurations"),
    "a folder": lambda f: replaced(f, lambda f: f.mkdir()),
    "a device": lambda f: replaced(f, lambda f: f.symlink_to("/dev/zero")),
}


@pytest.mark.inputs("A sweep whose spool is of a newer version, another file, or broken")
@pytest.mark.parametrize("case", SPOOLS)
@pytest.mark.parametrize("words", [["run", "s.yaml", "--resume"], ["report", "x"]], ids=lambda w: w[0])
def test_another_spool(gradsweep: Gradsweep, store: Path, case: str, words: list[str]) -> None:
    if words[0] == "report" and case in ("a folder", "a device"):
        (store / "mlflow.db").unlink()  # else it would tell what there is to report
    SPOOLS[case](store / "spool/x.db")
    gradsweep.refuses(*words)


MLFLOWS: dict[str, Callable[[Path], object]] = {
    "of a newer MLflow": lambda f: sql(f, "UPDATE alembic_version SET version_num='ffffffffffff'"),
    "of an older MLflow": lambda f: sql(f, "UPDATE alembic_version SET version_num='451aebb31d03'"),
    "text": lambda f: f.write_text("x" * 10_000),
    "noise inside": lambda f: f.write_bytes(f.read_bytes()[:100] + bytes(200_000)),
    "a folder": lambda f: replaced(f, lambda f: f.mkdir()),
}


@pytest.mark.inputs("A store whose MLflow database is of another version, another file, or broken")
@pytest.mark.parametrize("case", MLFLOWS)
@pytest.mark.parametrize("words", [["run", "s.yaml", "--name", "y"], ["report", "x"]], ids=lambda w: w[0])
def test_another_mlflow_database(gradsweep: Gradsweep, store: Path, case: str, words: list[str]) -> None:
    MLFLOWS[case](store / "mlflow.db")
    if words[0] == "report":
        (store / "spool/x.db").unlink()
    gradsweep.refuses(*words)


FORMATS = {"newer": b"2\n", "older": b"0\n", "text": b"gradsweep\n", "no text": b"\xff\xfe1", "large": b"1" * 100_000}


@pytest.mark.inputs("A store of another format")
@pytest.mark.parametrize("case", [*FORMATS, "a folder"])
@pytest.mark.parametrize("words", [["run", "s.yaml", "--name", "y"], *READING], ids=lambda w: w[0])
def test_another_format(gradsweep: Gradsweep, store: Path, case: str, words: list[str]) -> None:
    file = store / "format"
    if case == "a folder":
        replaced(file, lambda f: f.mkdir())
    else:
        file.write_bytes(FORMATS[case])
    gradsweep.refuses(*words, says="format")


def test_a_store_of_before_there_was_a_format_is_taken_over(gradsweep: Gradsweep, store: Path) -> None:
    (store / "format").unlink()
    assert gradsweep("status", "x")[0] == 0
    assert gradsweep("run", "s.yaml", "--resume")[0] == 0
    assert (store / "format").read_text() == "1\n"


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
    gradsweep.refuses("run", "s.yaml", "--store", str(place / "store"), says="MiB are wanted")
    gradsweep.refuses("run", "s.yaml", "--store", str(place), says="MiB are wanted")
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


@pytest.mark.inputs("export to a place that can't be written")
@pytest.mark.parametrize(
    "file",
    [
        "/nowhere/x.csv",
        "/dev/null/x.csv",
        "/proc/x.csv",
        "x" * 300 + ".csv",
        "a\nb/x.csv",
        "x.pkl",
        "x",
        "..",
        "/",
        "x.csv.gz",
    ],
)
def test_odd_files_of_an_export(gradsweep: Gradsweep, store: Path, file: str) -> None:
    gradsweep.refuses("export", "x", file)
