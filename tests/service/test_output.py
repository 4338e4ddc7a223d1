"""A driver's output as it is read back: without what Ray says around it, and without what a terminal would obey."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sweeps.targets.output import last_line, last_words, message, split_lines

# Ray's own command as KubeRay's submitter runs it, with the answers of a cluster that is not there.
JOB_LOGS = """
import sys
from types import SimpleNamespace
from ray.dashboard.modules.job import cli

status, output = sys.argv[1:]

class Client:
    def __init__(self, *_, **__): pass
    def get_version(self): return "4"
    def get_address(self): return "http://head:8265"
    def get_job_info(self, job):
        text = f"Job entrypoint command failed with exit code 1, last available logs (truncated):\\n{output}"
        return SimpleNamespace(status=cli.JobStatus[status], message=text if status == "FAILED" else None)
    async def tail_job_logs(self, job): yield output

cli.JobSubmissionClient = Client
cli.job_cli_group(["logs", "--address", "http://head:8265", "--follow", "alpha-r-x7d9f"])
"""


@pytest.mark.parametrize("state", ["SUCCEEDED", "STOPPED", "FAILED", "RUNNING"])
def test_what_ray_prints_around_a_drivers_output_is_not_its_last_line(state: str) -> None:
    """Ray's frame, with its colours: a newer Ray that words it otherwise fails here."""
    output = "alpha-r: 2/2 configurations\nthe claim is confirmed\n"
    done = subprocess.run([sys.executable, "-c", JOB_LOGS, state, output], capture_output=True, text=True, timeout=120)
    assert done.stdout.count("alpha-r-x7d9f") == 1 and "\x1b[" in done.stdout, done.stderr
    assert last_line(split_lines([done.stdout])) == "the claim is confirmed"


def test_no_line_moves_a_terminal() -> None:
    pieces = ["epoch 1\r\n\x1b[2J\x1b[1;31mred\x1b", "[0m\n\x1b]0;title\x07named\tand tabbed\n", "bell\x07 \x9b2J"]
    assert list(split_lines(pieces)) == ["epoch 1", "red", "named\tand tabbed", r"bell\x07 \x9b2J"]
    assert message("a\n\x1b[1mb\x1b[0m, last available logs (truncated):\nc") == "a b"
    assert last_words("starting\n\x1b[31mgradsweep: no room\x1b[0m\nbye\n") == "no room"


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["", " "],
        ["Waiting for Ray Dashboard GCS to become healthy at http://head:8265 ..."],
        ["2026-08-19 10:00:00,092\tINFO worker.py:1942 -- Connecting to existing Ray cluster"],
    ],
)
def test_a_driver_that_has_printed_nothing(lines: list[str]) -> None:
    assert last_line(lines) == ""
