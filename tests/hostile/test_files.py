"""Checkpoints and Parquet files from elsewhere: nothing is unpickled, and what is not ours is said in one line."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sweeps.cli import _status
from sweeps.driver.packs import Pack, PackedConfiguration, train_pack
from tests.hostile.command import Gradsweep, _memory, images
from trainers.members import MemberConfig
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
    outcome="refused in one line; nothing unpickled, nothing taken over",
)
@pytest.mark.parametrize("case", CHECKPOINTS)
def test_a_checkpoint_from_elsewhere(gradsweep: Gradsweep, case: str) -> None:
    file = gradsweep.here / "pack.npz"
    file.write_bytes(CHECKPOINTS[case]())
    with _memory(), pytest.raises(ValueError, match="not a file of member states, or a torn one") as caught:
        load_states(file)
    assert "\n" not in str(caught.value)
    assert sorted(f.name for f in gradsweep.here.iterdir()) == ["pack.npz", "s.yaml"]


@pytest.mark.inputs(
    "A checkpoint of another network, of a network of other data, under the name of ours",
    outcome="its configurations end as failed, with the reason; nothing is read beyond an array",
)
@pytest.mark.parametrize("count", [1, COUNT - 1, COUNT + 1, 1_000_000])
def test_a_checkpoint_of_another_network(gradsweep: Gradsweep, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    data = f"folder:{images(gradsweep.root / 'pictures')}"
    (fitting,) = [MemberConfig(data=data, epochs=3, batch_size=4)]
    wrong = np.zeros(count, np.float32)
    state = initial_state(fitting, network("combined", 2))
    other = type(state)(fitting, 1, 1, wrong, (wrong, wrong))
    save_states([other], gradsweep.here / "p.npz.1")
    pack = Pack("p", (PackedConfiguration(0, (fitting,), {0: 0.5, 1: 0.5}),), ("validation.accuracy",), epochs=3)
    reports = list(train_pack(pack, gradsweep.here / "p.npz"))
    assert reports[-1].ended[0].state == "failed" and "\n" not in reports[-1].ended[0].reason


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of which only MLflow's part has come here: the records are read from its artifacts."""
    root = tmp_path_factory.mktemp("elsewhere")
    data = images(root / "pictures")
    (root / "s.yaml").write_text(
        f'name: x\nbase: {{epochs: 1, batch_size: 4, data: "folder:{data}"}}\nseeds: 2\n'
        "arms: {a: {}, b: {r: 0.1}}\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("GRADSWEEP_CACHE", str(root / "cache"))
        assert _status(["run", "s.yaml", "--executor", "in-process", "--store", str(root / "store")]) == 0
    shutil.rmtree(root / "store/spool")
    return root / "store"


def parquet(frame: pd.DataFrame, **options: Any) -> bytes:
    content = io.BytesIO()
    frame.to_parquet(content, **options)
    return content.getvalue()


def written(table: pa.Table, **options: Any) -> bytes:
    content = io.BytesIO()
    pq.write_table(table, content, **options)
    return content.getvalue()


def extension() -> bytes:
    """A column whose type is to be unpickled, as pyarrow did before 14.0.1 (CVE-2023-47248)."""
    kind = pa.field("x", pa.int64()).with_metadata(
        {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": pickle.dumps(Owned())}
    )
    return written(pa.table([pa.array([1])], schema=pa.schema([kind])))


def pandas_metadata() -> bytes:
    table = pa.table({"x": [1]}).replace_schema_metadata({"pandas": '{"index_columns": [{"kind": "os.system"}]}'})
    return written(table)


PARQUETS: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda sound: b"",
    "text": lambda sound: b"x" * 1000,
    "a pickle": lambda sound: pickle.dumps(Owned()),
    "a CSV": lambda sound: b"sweep,configuration\nx,0\n",
    "the magic alone": lambda sound: b"PAR1PAR1",
    "a footer of 4 GB": lambda sound: b"PAR1" + b"\xff\xff\xff\xff" + b"PAR1",
    "a footer of nothing": lambda sound: b"PAR1" + bytes(4) + b"PAR1",
    "cut off": lambda sound: sound[: len(sound) // 2],
    "cut off at the front": lambda sound: sound[len(sound) // 2 :],
    "noise inside": lambda sound: sound[:100] + bytes(i * 37 % 256 for i in range(len(sound) - 200)) + sound[-100:],
    "no columns": lambda sound: parquet(pd.DataFrame()),
    "other columns": lambda sound: parquet(pd.DataFrame({"x": [1]})),
    "a column too few": lambda sound: parquet(pd.read_parquet(io.BytesIO(sound)).drop(columns="seed")),
    "no rows": lambda sound: parquet(pd.read_parquet(io.BytesIO(sound)).iloc[:0].drop(columns="epoch")),
    "text for numbers": lambda sound: parquet(pd.read_parquet(io.BytesIO(sound)).astype({"epoch": str})),
    "lists for numbers": lambda sound: parquet(pd.read_parquet(io.BytesIO(sound)).assign(seed=[[1]] * 4)),
    "nulls for seeds": lambda sound: parquet(pd.read_parquet(io.BytesIO(sound)).assign(seed=None)),
    "the same column twice": lambda sound: written(pa.table([pa.array([1]), pa.array([2])], names=["seed", "seed"])),
    "a type that is unpickled": lambda sound: extension(),
    "metadata for pandas that is none": lambda sound: pandas_metadata(),
    "a hundred million zeros": lambda sound: written(pa.table({"x": np.zeros(100_000_000, np.int8)})),
}
ENTRY = {"number": 0, "arm": "a", "name": "a", "state": "complete", "reason": "", "artifacts": "/", "run": "x"}
INDEXES = {
    "nothing": b"",
    "no JSON": b"x",
    "JSON, deep": b"[" * 100_000,
    "not UTF-8": b'["\xff"]',
    "a number": b"5",
    "a list of numbers": b"[1]",
    "other keys": b'[{"x": 1}]',
    "places that are numbers": json.dumps([ENTRY | {"artifacts": 5}]).encode(),
    "places that are nowhere": json.dumps([ENTRY | {"artifacts": "file:///nowhere"}]).encode(),
    "places of a kind that is not known": json.dumps([ENTRY | {"artifacts": "plugin://x"}]).encode(),
    "numbers that are text": json.dumps([ENTRY | {"number": "x"}, ENTRY]).encode(),
    "names that are lists": json.dumps([ENTRY | {"name": [], "state": {}, "arm": 1}]).encode(),
}


def refuses(gradsweep: Gradsweep, elsewhere: Path, artifact: str, content: Callable[[bytes], bytes]) -> None:
    file = min(f for f in (elsewhere / "artifacts").rglob(artifact))
    sound = file.read_bytes()
    file.write_bytes(content(sound))
    try:
        gradsweep.refuses("export", "x", "all.csv", "--store", str(elsewhere))
        gradsweep.refuses("report", "x", "--store", str(elsewhere))
        assert not (gradsweep.here / "owned").exists()
    finally:
        file.write_bytes(sound)


@pytest.mark.inputs("Parquet files from elsewhere among a sweep's artifacts: export and report")
@pytest.mark.parametrize("case", PARQUETS)
def test_records_from_elsewhere(gradsweep: Gradsweep, elsewhere: Path, case: str) -> None:
    refuses(gradsweep, elsewhere, "records.parquet", PARQUETS[case])


@pytest.mark.inputs("A list of configurations from elsewhere among a sweep's artifacts: export and report")
@pytest.mark.parametrize("case", INDEXES)
def test_an_index_from_elsewhere(gradsweep: Gradsweep, elsewhere: Path, case: str) -> None:
    refuses(gradsweep, elsewhere, "configurations.json", lambda _: INDEXES[case])


def test_what_was_spoiled_was_sound(gradsweep: Gradsweep, elsewhere: Path) -> None:
    assert gradsweep("export", "x", "all.csv", "--store", str(elsewhere))[0] == 0
    assert len(pd.read_csv(gradsweep.here / "all.csv")) == 8
