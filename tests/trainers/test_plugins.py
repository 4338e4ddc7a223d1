"""Packages that add to the tables: imported when they are used, sent to workers, and compared there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sweeps.driver.packs import Pack, PackedConfiguration, PackReport, train_pack
from tests.packages import install
from trainers import plugins
from trainers.members import MemberConfig


def python(code: str, *path: Path) -> Any:
    """What a Python with these folders on its path prints, as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", f"import json, sys\nfrom trainers import plugins\n{code}"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("editable", [False, True])
def test_a_package_that_was_sent_is_the_same_one(editable: bool, tmp_path: Path) -> None:
    here, there = install(tmp_path / "here", editable=editable), tmp_path / "there"
    used = "print(json.dumps(plugins.packages(['swish2'])))"
    sent = python(f"from pathlib import Path; plugins.send(Path({str(there)!r})); {used}", here)
    assert list(sent) == ["gradsweep-all==0.1"]
    assert python(used, there) == sent
    difference = f"print(json.dumps(plugins.difference({sent})))"
    assert python(difference, there) == ""
    # What was sent comes before what a worker has itself.
    assert python(difference, there, install(tmp_path / "old", version="0.0")) == ""
    assert python(difference, tmp_path) == (
        "the packages are not those that the sweep was started with: "
        f"gradsweep-all was 0.1 (sha256 {sent['gradsweep-all==0.1'][:12]}) and is not there here"
    )
    # Another metric would be in the records of some workers alone.
    install(there, "", {"metrics": {"more": "more"}}, name="gradsweep-more")
    assert "gradsweep-more was not there and is 0.1" in python(difference, there)


def test_nothing_is_imported_before_it_is_used(tmp_path: Path) -> None:
    path = install(tmp_path)
    imports = "from trainers import MemberConfig, metrics; metrics.described()"
    shown = "print(json.dumps('gradsweep_all' in sys.modules))"
    assert python(f"{imports}; {shown}", path) is False
    assert python(f"{imports}; MemberConfig(activation='swish2'); {shown}", path) is True


def test_a_worker_without_the_package_stops_the_sweep_before_it_trains() -> None:
    configuration = PackedConfiguration(0, (MemberConfig(epochs=1),))
    pack = Pack("p", (configuration,), ("validation.accuracy",), packages={"gradsweep-gone==1": "ab" * 32})
    (report,) = train_pack(pack)
    assert isinstance(report, PackReport) and report.last and not report.records and not report.ended
    assert report.stop.endswith("gradsweep-gone was 1 (sha256 abababababab) and is not there here")


def test_the_names_of_data_are_no_packages() -> None:
    digests = {"digits": "a", "folder:/a==b": "b", "gradsweep-swish==0.1": "c"}
    assert plugins.among(digests) == {"gradsweep-swish==0.1": "c"}
