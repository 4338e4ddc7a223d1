"""Which build is used, and an installation without a compiler."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trainers.lanes import available, kernels
from trainers.lanes.engine import LaneEngine, applies
from trainers.layers import Dense
from trainers.regimes import network

ROOT = Path(__file__).parents[3]


def test_the_best_build_is_chosen_unless_one_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRADSWEEP_LANES", raising=False)
    assert available() == kernels.builds()[0]
    monkeypatch.setenv("GRADSWEEP_LANES", "portable")
    assert available() == "portable" and kernels.width() == 4
    monkeypatch.setenv("GRADSWEEP_LANES", "mmx")
    with pytest.raises(ValueError, match="no build 'mmx' here, only: .*portable"):
        available()


def test_where_it_applies() -> None:
    layers = network("combined")
    assert applies(layers) is None
    assert "cuda" in applies(layers, "cuda")
    assert "output" in applies((Dense("output", 2000, activated=False),))


def test_without_a_compiled_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(kernels, "__file__", str(tmp_path / "kernels.py"))
    kernels.builds.cache_clear()
    try:
        assert available() is None
        assert "not compiled" in applies(network("combined"))
        with pytest.raises(ValueError, match="not compiled"):
            LaneEngine(network("combined"), None, "cpu", 1)
    finally:
        monkeypatch.undo()
        kernels.builds.cache_clear()


@pytest.mark.skipif(os.name == "nt", reason="needs a shell's /bin/false")
def test_the_build_goes_on_without_a_compiler(tmp_path: Path) -> None:
    command = [sys.executable, "setup.py", "build_ext", f"--build-lib={tmp_path}", f"--build-temp={tmp_path}"]
    environment = os.environ | {"CC": "/bin/false"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0
    assert "training on the CPU will be slower" in done.stderr
    assert not list(tmp_path.rglob("*.so"))
