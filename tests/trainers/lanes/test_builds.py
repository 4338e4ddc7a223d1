"""Which build is used, and an installation without a compiler."""

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from tests.trainers.lanes.judge import images
from trainers.activations import ACTIVATIONS, Activation
from trainers.lanes import available, kernels
from trainers.lanes.engine import LaneEngine, applies
from trainers.lanes.tables import SUPPORT, header
from trainers.layers import Dense
from trainers.members import MemberConfig
from trainers.regimes import network

ROOT = Path(__file__).parents[3]


def test_the_best_build_is_chosen_unless_one_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRADSWEEP_LANES", raising=False)
    assert available() == kernels.builds()[0]
    monkeypatch.setenv("GRADSWEEP_LANES", "portable")
    assert available() == "portable"
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


def test_the_libraries_are_compiled_from_pythons_tables(build: str) -> None:
    assert kernels._tables(build) in header()


def test_a_library_of_other_tables_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that was compiled before an activation got its place: its numbers would mean another one."""
    monkeypatch.setattr(kernels, "header", lambda: header().replace("TANH, SIGMOID", "SIGMOID, TANH").upper())
    kernels.builds.cache_clear()
    try:
        assert available() is None
        assert applies(network("combined")) == (
            "the lane engine was compiled from other tables: run python setup.py build_ext --inplace"
        )
    finally:
        monkeypatch.undo()
        kernels.builds.cache_clear()


def test_what_the_kernels_have_no_code_for_is_refused(build: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By Python's table; and where that says more than the kernels know, by the kernels."""
    split = images(5, (3, 4, 4), 3, 0)
    layers = (Dense("output", 3, activated=False),)
    monkeypatch.setitem(ACTIVATIONS, "toy", Activation(lambda z: z))

    def evaluate(**fields: str) -> None:
        member = MemberConfig()
        for name, value in fields.items():
            object.__setattr__(member, name, value)
        kernels.evaluate(layers, [MemberConfig(), member], np.zeros((2, 144), np.float32), split, 1)

    evaluate()
    for field, values in SUPPORT.fields.items():
        with pytest.raises(ValueError, match=f"the lanes engine does not have the {field} 'toy'"):
            evaluate(**{field: "toy"})
        half_added = replace(SUPPORT, fields=SUPPORT.fields | {field: (*values, "toy")})
        with monkeypatch.context() as patched:
            patched.setattr(kernels, "SUPPORT", half_added)
            with pytest.raises(ValueError, match="the kernels have no code for what a member asks for"):
                evaluate(**{field: "toy"})


def test_a_layer_of_another_kind_is_refused() -> None:
    @dataclass(frozen=True)
    class Toy(Dense):
        kind = "toy"
        name: str = "toy"
        units: int = 8

    reason = kernels.refusal((Toy(), Dense("output", 3, activated=False)), (3, 4, 4))
    assert reason == "layer toy: the lanes engine does not have layers of the kind 'toy'"


def test_the_header_takes_nothing_but_the_standard_library() -> None:
    """setup.py writes it where nothing else is installed yet."""
    code = "import sys; sys.path.insert(0, '.'); from trainers.lanes.tables import header; print(header())"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.rstrip() == header().rstrip()
