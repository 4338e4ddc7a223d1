"""The executor on Ray where others get in the way: files beside the spec, a thread, a cluster without our packages."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.cluster import Cluster
from tests.service.command import Gradsweep

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

SPEC = """\
name: NAME
base: {init_scale: 1.0, data: "IMAGES", epochs: 2, batch_size: 8}
seeds: 1
arms:
  plain: {alpha: 1.0}
resources: {cpus: 1}
"""

# In a folder of its own, as a notebook's cell would.
IN_A_THREAD = """
import json, os, sys, threading
from pathlib import Path
from types import SimpleNamespace

import ray
from ray._private import ray_constants
from ray.tune.execution import class_cache

def state():
    return dict(os.environ), set(class_cache.ENV_VARS_TO_PROPAGATE), ray_constants.ENABLE_RAY_CLUSTER

before = state()
from sweeps.driver.packs import Pack, PackedConfiguration
from sweeps.driver.signals import Interrupt
from sweeps.executors import ray_tune
from sweeps.spec.reading import Resources
from trainers.members import MemberConfig
from trainers.objectives import Objective

assert state() == before, "an import has changed something"

class Books:
    states, waiting, more_later, kept, time_is_up = Path("states").absolute(), (), False, None, False
    epochs, packs = [], []
    def next_pack(self):
        return self.packs.pop() if self.packs else None
    def record(self, report):
        self.epochs.append(report.epoch)

member = MemberConfig(data=sys.argv[1], init_scale=1.0, epochs=2, batch_size=8)
objectives = (Objective("validation.accuracy"),)
Books.packs.append(Pack("p0", (PackedConfiguration(0, (member.with_seed(0),), {}),), objectives, epochs=2))

def sweep():
    with ray_tune.opened(Resources(cpus=1), SimpleNamespace(variables=[]), Interrupt()):
        ray_tune.run(Books(), Resources(cpus=1), Interrupt())

thread = threading.Thread(target=sweep)
thread.start()
thread.join()
names = (os.environ.keys() | before[0].keys()) - {"_MLFLOW_TELEMETRY_SESSION_ID"}  # MLflow's own
changed = [name for name in names if os.environ.get(name) != before[0].get(name)]
print(json.dumps({"epochs": Books.epochs, "changed": changed, "patched": state()[1:] != before[1:]}))
"""


@pytest.fixture
def crowded(tmp_path: Path) -> Path:
    """A folder with files named as our packages and those of others."""
    for name in ("sweeps", "trainers", "click", "yaml", "tqdm"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a file of the user was imported')\n")
    (tmp_path / "tracking").mkdir()
    (tmp_path / "tracking" / "__init__.py").write_text("raise SystemExit('a file of the user was imported')\n")
    return tmp_path


def test_a_run_in_a_thread_needs_nothing_and_changes_nothing(crowded: Path, images: str) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", IN_A_THREAD, images], cwd=crowded, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"epochs": [0, 1, 2], "changed": [], "patched": False}


def test_files_beside_the_spec_do_not_get_in_the_way(crowded: Path, images: str, gradsweep: Gradsweep) -> None:
    """Neither of the command, nor of the driver that it starts, nor of that one's workers."""
    spec = gradsweep.spec(SPEC.replace("NAME", "crowded").replace("IMAGES", images))
    gradsweep("submit", spec, PYTHONSAFEPATH="1")
    assert "1 complete" in gradsweep("logs", "crowded", "-f", PYTHONSAFEPATH="1").stdout


def test_what_workers_can_not_import_is_said_once(cluster: Cluster, images: str, gradsweep: Gradsweep) -> None:
    """A driver on a cluster whose Python lacks our packages, which it did not bring along."""
    spec = gradsweep.spec(SPEC.replace("NAME", "bare").replace("IMAGES", images))
    ended = gradsweep("run", spec, status=1, RAY_ADDRESS=f"127.0.0.1:{cluster.gcs}")
    lines = [line for line in ended.stderr.splitlines() if "No module named" in line]
    assert len(lines) == 1 and "a worker can't start: ModuleNotFoundError: No module named 'sweeps'" in lines[0]
    assert "its worker was lost" not in ended.stderr
    status = gradsweep.json("status", "bare")
    assert (status["failed"], status["ended"]) == (0, 0), "its configurations are left for a resume"
    assert not list((gradsweep.folder / "gradsweep-store").rglob("tune")), "Tune's own folder is gone"
