"""Checkpoints from elsewhere: nothing is unpickled, and what is not ours is said in one line."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sweeps.driver.packs import Pack, PackedConfiguration, train_pack
from tests.hostile.command import Gradsweep, images, limited_memory
from trainers.members import MemberConfig
from trainers.objectives import Objective
from trainers.regimes import network
from trainers.states import initial_state, load_states, save_states

pytestmark = pytest.mark.timeout(600)


class Owned:
    """Unpickled, it leaves a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch owned",)


STATE = initial_state(MemberConfig(), network("combined"))
PARTS = ("about", "parameters", "first_moment", "second_moment")


def parts(**other: Any) -> dict[str, Any]:
    """What is in a sound file, with something else."""
    about = {"member": vars(STATE.member), "epoch": 0, "step": 0}
    found: dict[str, Any] = dict(zip(PARTS[1:], ([v] for v in (STATE.parameters, *STATE.kept)), strict=True))
    found["about"] = np.array(json.dumps([about | other.pop("entry", {})]))
    return found | other


def archive(compressed: bool = False, **other: Any) -> bytes:
    content = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(content, **parts(**other))
    return content.getvalue()


def member(**other: Any) -> bytes:
    return archive(entry={"member": vars(STATE.member) | other})


def about(text: str) -> bytes:
    return archive(about=np.array(text))


def header(shape: str, dtype: str = "<f4") -> bytes:
    """A file whose parameters say a shape and have no data."""
    said = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    content = io.BytesIO(archive())
    with zipfile.ZipFile(content) as old:
        kept = {n: old.read(n) for n in old.namelist()}
    kept["parameters.npy"] = b"\x93NUMPY\x01\x00" + len(said).to_bytes(2, "little") + said.encode()
    with zipfile.ZipFile(content := io.BytesIO(), "w") as new:
        for name, data in kept.items():
            new.writestr(name, data)
    return content.getvalue()


COUNT = len(STATE.parameters)
SOUND = archive()
CHECKPOINTS: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "a pickle": lambda: pickle.dumps(Owned()),
    "a pickle of PyTorch": lambda: pickle.dumps({"state_dict": Owned()}, protocol=2),
    "a .npy": lambda: (
        b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(127)
        + b"\n"
        + pickle.dumps([Owned()])
    ),
    "objects for parameters": lambda: archive(parameters=np.array([Owned()], dtype=object)),
    "objects for what it is about": lambda: archive(about=np.array([Owned()], dtype=object)),
    "cut off": lambda: SOUND[: len(SOUND) // 2],
    "a byte changed": lambda: SOUND[:1000] + bytes([SOUND[1000] ^ 1]) + SOUND[1001:],
    "an empty zip": lambda: b"PK\x05\x06" + bytes(18),
    "a zip of other names": lambda: archive()[:0] + _zip({"../../owned": b"x"}),
    "one part only": lambda: _zip({"about.npy": b"x"}),
    "compressed": lambda: archive(compressed=True),
    "a bomb": lambda: archive(compressed=True, parameters=np.zeros((1, 20_000_000), np.float32)),
    "a terabyte, it says": lambda: header("(1, 250000000000)"),
    "ten gigabytes, it says": lambda: header("(1, 2500000000)"),
    "a negative shape": lambda: header("(1, -5)"),
    "a shape that is code": lambda: header("__import__('os').system('touch owned')"),
    "a type that is an object": lambda: header("(1, 1)", "|O"),
    "float64": lambda: archive(parameters=np.zeros((1, COUNT))),
    "whole numbers": lambda: archive(parameters=np.zeros((1, COUNT), np.int32)),
    "text": lambda: archive(parameters=np.array([["x"] * COUNT])),
    "a scalar": lambda: archive(parameters=np.float32(1)),
    "a dimension more": lambda: archive(parameters=np.zeros((1, COUNT, 1), np.float32)),
    "two members' parameters": lambda: archive(parameters=np.zeros((2, COUNT), np.float32)),
    "another network's moment": lambda: archive(first_moment=np.zeros((1, COUNT + 1), np.float32)),
    "no JSON": lambda: about("x"),
    "JSON of another kind": lambda: about("5"),
    "JSON, deep": lambda: about("[" * 100_000 + "]" * 100_000),
    "JSON with NaN for a step": lambda: archive(entry={"step": float("nan")}),
    "an epoch that is text": lambda: archive(entry={"epoch": "1"}),
    "a negative epoch": lambda: archive(entry={"epoch": -1}),
    "a step of 2^70": lambda: archive(entry={"step": 2**70}),
    "no member": lambda: archive(entry={"member": None}),
    "a member with a field more": lambda: member(x=1),
    "a member of data that are a number": lambda: member(data=5),
    "a member of a regime that is a list": lambda: member(regime=["combined"]),
    "a member of an alpha that is text": lambda: member(alpha="2"),
    "a member of a batch of 2^40": lambda: member(batch_size=2**40),
}


def _zip(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as made:
        for name, data in files.items():
            made.writestr(name, data)
    return content.getvalue()


@pytest.mark.inputs(
    "Checkpoints from elsewhere: pickles, objects, bombs, wrong types and shapes",
    cases=CHECKPOINTS,
    outcome="refused in one line; nothing unpickled, nothing taken over",
)
def test_a_checkpoint_from_elsewhere(gradsweep: Gradsweep, subtests: pytest.Subtests) -> None:
    file = gradsweep.here / "pack.npz"
    for case, content in CHECKPOINTS.items():
        with subtests.test(case):
            file.write_bytes(content())
            with (
                limited_memory(),
                pytest.raises(ValueError, match="not a file of member states, or a torn one") as caught,
            ):
                load_states(file)
            assert "\n" not in str(caught.value)
            assert sorted(f.name for f in gradsweep.here.iterdir()) == ["pack.npz", "s.yaml"]


COUNTS = [1, COUNT - 1, COUNT + 1, 1_000_000]


@pytest.mark.inputs(
    "A checkpoint of another network, of a network of other data, under the name of ours",
    cases=COUNTS,
    outcome="its configurations end as failed, with the reason; nothing is read beyond an array",
)
def test_a_checkpoint_of_another_network(gradsweep: Gradsweep, subtests: pytest.Subtests) -> None:
    data = f"folder:{images(gradsweep.root / 'pictures')}"
    fitting = MemberConfig(data=data, epochs=3, batch_size=4)
    state = initial_state(fitting, network("combined", 2))
    for count in COUNTS:
        with subtests.test(count=count):
            wrong = np.zeros(count, np.float32)
            save_states([type(state)(fitting, 1, 1, wrong, (wrong, wrong), state.buffers)], gradsweep.here / "p.npz.1")
            pack = Pack("p", (PackedConfiguration(0, (fitting,), {0: 0.5, 1: 0.5}),), (Objective(),), epochs=3)
            reports = list(train_pack(pack, gradsweep.here / "p.npz"))
            assert reports[-1].ended[0].state == "failed" and "\n" not in reports[-1].ended[0].reason
