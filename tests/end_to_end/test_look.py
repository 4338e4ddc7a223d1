"""A sweep that is looked at while it runs, on a terminal of 80 columns and from elsewhere, and once it was killed."""

from __future__ import annotations

import re
import signal
from typing import Any

from tests.terminal import Terminal

SPEC = """\
name: looked-at
question: Is what is seen of a sweep while it runs what is recorded of it, and does all of it fit a terminal?
base: {init_scale: 1.0, data: digits, epochs: 100000, batch_size: 128}
seeds: 2
arms:
  plain: {alpha: 1.0}
  paper: {alpha: 2.0, r: 0.01}
search:
  space:
    alpha: {low: 0.5, high: 8.0, log: true}
    r: {low: 1.0e-5, high: 1.0, log: true}
    learning_rate: {low: 1.0e-4, high: 1.0e-2, log: true}
  sampler: {name: random, seed: 0}
  configurations: 60
resources: {pack: 3, concurrent: 1}
"""
ROW = re.compile(r" *(\d+)  (\S.*?) +running +(\d+)/100000 +(\S+)  ([▁▂▃▄▅▆▇█]+)$", re.MULTILINE)


def fits(terminal: Terminal) -> None:
    """Nothing is wrapped, but for what is to be copied."""
    assert max(len(line) for line in terminal.lines if not line.startswith("MLflow: ")) <= 80, terminal.text


def test_a_sweep_is_seen_while_it_runs_from_anywhere_and_is_stopped_when_killed(command: Any) -> None:
    here = {"GRADSWEEP_STORE": str(command.store.folder)}
    spec = command.spec("looked-at", SPEC)
    with Terminal(["run", spec, "--executor", "in-process"], command.folder, here) as run:
        run.until(lambda text: " left\n" in text and f"MLflow: gradsweep ui --store {command.store.folder}\n" in text)
        fits(run)
        assert re.search(r"^MLflow: ", run.text, re.MULTILINE)  # between two frames
        assert "0/62" in run.text and "… and " not in run.text
        assert re.search(r"^best 0\.\d+ \((plain|paper|.*), running, epoch \d+\)", run.text, re.MULTILINE)
        assert {int(row[1]) for row in ROW.finditer(run.text)} == {0, 1, 2}
        cut = [row[2] for row in ROW.finditer(run.text) if row[1] == "2"]
        assert all(name.startswith("alpha=") and name.endswith("…") for name in cut)

        status = command.json("status", "looked-at")
        assert (status["state"], status["running"], status["ended"], status["total"]) == ("running", 3, 0, 62)
        assert status["best"]["state"] == "running" and status["best"]["epoch"] > 0
        assert [c["number"] for c in status["configurations"]] == [2, 1, 0]
        assert all(
            c["course"][-1] == c["value"] and len(c["course"]) == c["epoch"] + 1 for c in status["configurations"]
        )
        (listed,) = command.json("list")
        assert listed["question"].startswith("Is what is seen") and listed["seconds"] > 0 and listed["started"]
        assert listed["best"] and "configurations" not in listed

        with Terminal(["list"], command.folder, here) as lines:
            fits(lines.end())
            head, row, *_ = lines.lines
            assert head.split() == ["sweep", "state", "started", "duration", "best", "ended", "question"]
            assert row.startswith("looked-at  running  ") and row.endswith("…") and " 0/62 " in row
        with Terminal(["status", "looked-at"], command.folder, here) as once:
            fits(once.end())
            assert "3 of" not in once.text and len(ROW.findall(once.text)) == 3
        with Terminal(["status", "looked-at", "-w"], command.folder, here) as watching:
            watching.until(lambda text: " left\n" in text)
            fits(watching)
            assert {int(row[1]) for row in ROW.finditer(watching.text)} == {0, 1, 2}
            watching.process.send_signal(signal.SIGINT)
            watching.end(130)
        elsewhere = command.start("status", "looked-at", "-w")
        assert elsewhere.stdout.readline().startswith("looked-at: 0/62 configurations (3 running), ")
        assert run.process.poll() is None

        run.process.kill()
        run.process.wait()
        out, err = elsewhere.communicate()
        assert (elsewhere.returncode, err) == (0, "") and re.search(r"^state +stopped$", out, re.MULTILINE)
    status = command.json("status", "looked-at", "-w")
    assert (status["state"], status["process"], status["best"]["state"]) == ("stopped", None, "stopped")
    assert {c["state"] for c in status["configurations"]} == {"stopped"} and status["finished"]
    text = command("status", "looked-at").stdout
    assert "running" not in text and re.search(r"^unfinished +3$", text, re.MULTILINE)
    assert re.search(
        r"^looked-at  stopped +\d{4}-\d\d-\d\d \d\d:\d\d +\d+ (s|min) ", command("list").stdout, re.MULTILINE
    )
