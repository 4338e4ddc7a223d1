"""A sweep in the background of this machine: `gradsweep submit` without `--to`."""

from __future__ import annotations

import pytest

from tests.service.command import Gradsweep

SPEC = """\
name: here
base: {init_scale: 1.0, data: "IMAGES", epochs: 2000, batch_size: 8}
seeds: 1
arms:
  plain: {alpha: 1.0}
resources: {cpus: 1}
"""


def test_what_the_driver_refuses_is_refused_and_leaves_nothing(gradsweep: Gradsweep) -> None:
    spec = gradsweep.spec(SPEC.replace("IMAGES", "folder:/nowhere"))
    assert "/nowhere" in gradsweep.refused("submit", spec)
    assert "--dry-run" in gradsweep.refused("submit", spec, "--dry-run")
    assert {file.name for file in (gradsweep.folder / "gradsweep-store" / "logs").iterdir()} <= {"here.lock"}
    assert gradsweep.json("list") == []


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(900)
def test_submit_follow_stop_resume(gradsweep: Gradsweep, images: str) -> None:
    spec = gradsweep.spec(SPEC.replace("IMAGES", images))
    submitted = gradsweep.json("submit", spec)
    assert (submitted["name"], submitted["to"]) == ("here", "")
    follower = gradsweep.start("logs", "here", "-f")
    status = gradsweep.json("status", "here")
    assert (status["state"], status["total"]) == ("running", 1)
    for more in ([], ["--resume"]):
        assert f"already running (process {status['process']})" in gradsweep.refused("submit", spec, *more)

    assert gradsweep.json("stop", "here")["state"] == "stopped"
    printed, said = follower.communicate()
    assert (follower.returncode, said) == (0, "sweep 'here' was stopped; to continue: gradsweep resume here\n")
    assert printed.splitlines()[-1].endswith("gradsweep resume here")
    assert "is not running" in gradsweep.refused("stop", "here")
    assert "continue it with --resume" in gradsweep.refused("submit", spec)

    assert gradsweep.json("resume", "here")["name"] == "here"
    assert [(s["name"], s["state"]) for s in gradsweep.json("list")] == [("here", "running")]
    assert gradsweep.json("stop", "here")["state"] == "stopped"
    assert gradsweep("logs", "here").stdout.startswith(printed)
