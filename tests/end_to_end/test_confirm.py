"""The confirming stage on real Ray: begun when the last of the search has ended, and gone on with after a SIGKILL."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from tracking.results import outcomes

EPOCHS = 20
SPEC = f"""\
name: again
base: {{init_scale: 1.0, data: "IMAGES", epochs: {EPOCHS}, batch_size: 8}}
seeds: 2
arms:
  plain: {{alpha: 1.0}}
search:
  space: {{alpha: {{low: 0.5, high: 8.0, log: true}}}}
  sampler: {{name: random, seed: 0}}
  configurations: 3
claims:
  - {{better: best, than: plain}}
confirm: {{top: 2, seeds: 6}}
resources: {{cpus: 1, pack: 1, concurrent: 2}}
"""
SEARCHED = 4 * (EPOCHS + 1)
EPOCHS_IN_ALL = 7 * (EPOCHS + 1)


@pytest.mark.ray
@pytest.mark.slow
def test_killed_in_the_confirming_stage(command: Any, make_command: Any, images: str) -> None:
    text = SPEC.replace("IMAGES", images)
    spec, undisturbed = command.spec("s", text), make_command()
    document = undisturbed.json("run", undisturbed.spec("s", text), "--executor", "in-process")
    process = command.start("run", spec)
    command.until(lambda: command.epochs("again") >= SEARCHED + 5, process)
    process.kill()
    process.communicate()
    assert command.epochs("again") < EPOCHS_IN_ALL
    status = command.json("status", "again")
    assert (status["state"], status["total"], status["ended"] >= 4) == ("stopped", 7, True)
    again = command.json("run", spec, "--resume", "--executor", "in-process")
    assert command.epochs("again") == EPOCHS_IN_ALL
    assert command.json("status", "again")["state"] == "finished"
    pd.testing.assert_frame_equal(command.table("again"), undisturbed.table("again"), check_exact=True)
    assert again["verdict"] == document["verdict"]
    assert again["verdict"]["claims"][0]["comparison"]["pairs"] == [2, 3, 4, 5, 6, 7]
    assert [o.confirms for o in outcomes("again", command.store).values()][4] == "plain"
