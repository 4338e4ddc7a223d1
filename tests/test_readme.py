"""The README is true: what it shows is run, in its order and in one store.

The text is what a reader types. What a test changes is here: LESS to train, no Ray, a cluster that only notes what it
is asked, and HELP_ONLY for what serves until Ctrl-C or measures for minutes.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import optuna
import pytest

from sweeps.cli import _status, app
from sweeps.driver import sweep as driving
from sweeps.plan import plan_of
from sweeps.spec.reading import parse
from sweeps.store_file import parse_store
from sweeps.targets import local, target
from sweeps.targets.target import Kind, Submitted, SweepStatus
from tracking.store import Address

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
# (language, text), in order; what is quoted within a line has no language.
BLOCKS = [
    (language, block or quoted)
    for language, block, quoted in re.findall(r"^```(\w+)\n(.*?)^```|`([^`\n]+)`", TEXT, re.M | re.S)
]
SPEC, DEEP, BIRTH, CLAIMS, TEAM = (text for language, text in BLOCKS if language == "yaml")
LESS = ["--set", "base.epochs=1", "--set", "seeds=2", "--set", "search.configurations=2"]
HELP_ONLY = ("ui", "bench")


def _commands(language: str, text: str) -> list[str]:
    lines = text.splitlines() if language == "sh" else [text] if not language else []
    typed = [shlex.join(shlex.split(line, comments=True)) for line in lines if line.startswith(("gradsweep ", "make "))]
    return [command for command in typed if command != "gradsweep COMMAND --help"]


COMMANDS = list(dict.fromkeys(command for block in BLOCKS for command in _commands(*block)))
OURS = [command for command in COMMANDS if command.startswith("gradsweep ")]
AWAY = [command for command in OURS if "--to" in command]


class Cluster:
    """A target that notes what it is asked."""

    asked: list[tuple[str, str, str, str | None, str | None, bool]] = []

    def __init__(self, address: str, store: str | None, pool: Path | None) -> None:
        self._place = (address, store, str(pool) if pool else None)

    def _note(self, word: str, name: str, option: bool = False) -> None:
        self.asked.append((word, name, *self._place, option))

    def submit(self, name: str, spec: str, resume: bool = False, dry_run: bool = False) -> Submitted:
        self._note("submit", name, resume)
        return Submitted(name, self._place[0])

    def list(self) -> Sequence[SweepStatus]:
        self._note("list", "")
        return []

    def logs(self, name: str, follow: bool) -> Iterator[str]:
        self._note("logs", name, follow)
        yield "a line"

    def status(self, name: str) -> SweepStatus:
        return SweepStatus(name, "finished")

    def stop(self, name: str) -> SweepStatus:
        self._note("stop", name)
        return SweepStatus(name, "stopped")

    def resume(self, name: str) -> Submitted:
        self._note("resume", name)
        return Submitted(name, self._place[0])


class Followed(NamedTuple):
    """What came of the README: its commands' exit statuses and output, and the names that its Python left."""

    folder: Path
    printed: dict[str, tuple[int, str]]
    python: dict[str, Any]


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Followed:
    folder, python = tmp_path_factory.mktemp("reader"), dict[str, Any]()
    printed, drivers = dict[str, tuple[int, str]](), list[subprocess.Popen[bytes]]()

    def start(words: list[str], **options: Any) -> subprocess.Popen[bytes]:
        """The driver that `submit` starts here."""
        drivers.append(subprocess.Popen([*words, "--executor", "in-process"], **options))
        return drivers[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("GRADSWEEP_STORE", raising=False)
        patch.setenv("COLUMNS", "110")  # as wide as the terminal whose output is quoted
        (folder / "k8s").symlink_to(ROOT / "k8s")
        clusters = [Kind((s,), f"{s}://x", "a cluster", f"{__name__}:Cluster", pool=True) for s in ("http", "k8s")]
        patch.setattr(target, "TARGETS", (target.TARGETS[0], *clusters))
        run = driving.run
        patch.setattr(driving, "run", lambda *a, **options: run(*a, **options | {"executor": "in-process"}))
        patch.setattr(local, "subprocess", SimpleNamespace(Popen=start, DEVNULL=subprocess.DEVNULL))
        for language, text in BLOCKS:
            if text is SPEC:
                Path("how-large.yaml").write_text(text)
            elif text is DEEP:
                Path("how-deep.yaml").write_text(text)
            elif text is BIRTH:
                Path("at-birth.yaml").write_text(text)
            elif text is CLAIMS:
                Path("how-large.yaml").write_text(_claiming())
            elif text is TEAM:
                Path("team.yaml").write_text(text)
            elif language == "python":
                exec(text, python)
            for command in _commands(language, text):
                for typed in _made(command) if command.startswith("make ") else [command]:
                    printed[typed] = _gradsweep(typed)
        for driver in drivers:
            driver.wait()
    return Followed(folder, printed, python)


def _made(command: str) -> list[str]:
    """The commands of ours that make would run."""
    made = subprocess.run([*command.split(), "--dry-run"], cwd=ROOT, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return re.findall(r"^\.venv/bin/(gradsweep .*\S)", made.stdout, re.M)


def _claiming() -> str:
    return re.sub(r"^claim:.*\n", "", SPEC, flags=re.M) + CLAIMS


def _gradsweep(command: str) -> tuple[int, str]:
    words = shlex.split(command)[1:]
    less = LESS if words[0] in ("run", "submit") else ["--help"] if words[0] in HELP_ONLY else []
    with redirect_stdout(StringIO()) as out, redirect_stderr(out):
        return _status([*words, *less]), out.getvalue()


def test_the_readme_shows_every_command() -> None:
    shown = {command.split()[1] for command in OURS}
    assert shown == {
        command.name or command.callback.__name__ for command in app.registered_commands if command.callback
    }


@pytest.mark.parametrize("command", OURS)
def test_a_command_works(command: str, followed: Followed) -> None:
    status, printed = followed.printed[command]
    assert status == 0, printed
    assert "Traceback" not in printed


def test_what_the_commands_promise(followed: Followed) -> None:
    printed = {command: text for command, (_, text) in followed.printed.items()}
    assert "26 (2 arms, 24 searched)" in printed["gradsweep plan how-large.yaml"]
    assert {"quickstart", "how-large", "how-large-10"} <= set(printed["gradsweep list"].split())
    assert "post hoc" in printed["gradsweep run how-large.yaml --resume"]
    assert (followed.folder / "how-large.html").read_text().startswith("<!DOCTYPE html>")


@pytest.mark.parametrize("command", AWAY)
def test_a_command_reaches_the_cluster(command: str, followed: Followed) -> None:
    words = shlex.split(command)[1:]
    option = dict(zip(words, words[1:], strict=False))
    name = "" if words[0] == "list" else words[1].removesuffix(".yaml")
    marked = "-f" in words or "--resume" in words
    assert (words[0], name, option["--to"], option.get("--store"), option.get("--pool"), marked) in Cluster.asked


@pytest.mark.parametrize("command", [command for command in AWAY if command.startswith("gradsweep submit ")])
def test_a_submission_is_right_for_its_cluster(
    command: str, followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the real targets: as far as a manifest for Kubernetes, and the network for Ray."""
    monkeypatch.chdir(followed.folder)
    kubernetes = "k8s://" in command
    status, printed = _gradsweep(command + " --dry-run" * kubernetes)
    assert ("kind: RayJob" if kubernetes else "no Ray cluster answers at http://head:8265") in printed
    assert status == (0 if kubernetes else 1)


def test_make_runs_the_quickstart_and_the_tests(followed: Followed) -> None:
    assert [c for c in COMMANDS if c.startswith("make ")] == ["make quickstart", "make test", "make paper"]
    assert _made("make quickstart") == ["gradsweep run quickstart"]
    assert followed.printed["gradsweep run quickstart"][0] == 0


def test_each_command_has_help() -> None:
    for command in app.registered_commands:
        word = command.name or getattr(command.callback, "__name__", "")
        status, printed = _gradsweep(f"gradsweep {word} --help")
        assert status == 0 and "Usage: " in printed


@pytest.mark.parametrize("addition", [t for language, t in BLOCKS if not language and re.match(r"[a-z]+: [{a-z]", t)])
def test_what_may_be_added_to_a_spec_is_planned(addition: str) -> None:
    assert plan_of(parse(f"{re.sub('^claim:.*$', '', SPEC, flags=re.M)}\n{addition}\n", "README.md"))["searched"] == 24


def test_the_claims_are_judged_in_the_spec_that_they_belong_to() -> None:
    spec = parse(_claiming(), "README.md")
    assert len(spec.claims) == 4 and plan_of(spec)["members"] == 26 * 8


@pytest.mark.parametrize("key", ["ledger", "optuna"])
def test_the_store_file_is_read(key: str) -> None:
    store = parse_store(TEAM.replace("ledger:", f"{key}:"), Path("team.yaml"))
    assert store.ledger == Address(env="GRADSWEEP_LEDGER_URL")
    assert store.mlflow == Address("https://mlflow.example.com")
    assert store.checkpoints == "s3://bucket/gradsweep"


def test_the_python_gives_what_it_says(followed: Followed) -> None:
    frame, layers, result = (followed.python[name] for name in ("frame", "layers", "result"))
    assert not frame.duplicated(["configuration", "seed", "epoch"]).any()
    assert len(layers) == len(frame) * layers.layer.nunique()
    assert result.best.name in ("plain", "paper") and "accuracy-and-gradients" in result.figures


def test_optuna_opens_its_mirror(followed: Followed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(followed.folder)
    (url,) = re.findall(r"`optuna-dashboard (\S+)`", TEXT)
    study = optuna.load_study(study_name="how-large", storage=url)
    assert [trial.params.keys() for trial in study.trials][2:] == [{"init_scale", "r"}] * 2


def test_the_store_has_the_parts_that_are_listed(followed: Followed) -> None:
    parts = re.findall(r"`([a-z]+(?:\.db|/))`", TEXT[TEXT.index("## The store") :])
    assert len(parts) == 7 and all((followed.folder / "gradsweep-store" / part).exists() for part in parts)


def test_the_quoted_output_has_the_words_of_a_run(followed: Followed) -> None:
    """Its headings, which are the lines without numbers that are no sentences, and the question of its first claim."""
    (quoted,) = (text for language, text in BLOCKS if language == "text")
    printed = followed.printed["gradsweep run quickstart"][1]
    lines = {" ".join(line.split()) for line in quoted.splitlines() if not re.search(r"\d|^- ", line)} - {""}
    assert len(lines) >= 3 and not lines - {" ".join(line.split()) for line in printed.splitlines()}
    assert re.findall(r"Is .*?\?", " ".join(quoted.split()))[0] in printed


def test_its_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)]+)\)", TEXT):
        assert (ROOT / link).exists(), link
