"""docs/architecture.md, followed literally: each "how to add" in a copy of the packages, and then used.

What was added is trained on the reference engine and comes through `gradsweep fields`, a spec, a plan and the records.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trainers.lanes.kernels import builds

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
BLOCK = re.compile(
    r"In `([\w/.]+)`, (?:in the table `(\w+)`|a new file|(among the imports)):\n\n```python\n(.*?)```", re.S
)

# Plans a spec, trains each of its arms, and prints what a user would see of them.
USE = """
import json, logging, sys

from sweeps.commands.look import network_table
from sweeps.plan import plan_of
from sweeps.spec.reading import parse
from trainers import metrics, train
from trainers.data import load
from trainers.layers import places
from trainers.members import FIELDS, layers_of

lines = []

class Lines(logging.Handler):
    def emit(self, record):
        lines.append(record.getMessage())

log = logging.getLogger("gradsweep")
log.setLevel(logging.INFO)
log.addHandler(Lines())
spec = parse(sys.stdin.read())
plan = plan_of(spec)
arms = {}
for name, parameters in spec.search_plan().arms.items():
    (member,) = spec.members(parameters)
    lines.clear()
    arms[name] = {
        "records": [[r.engine, r.epoch, r.metrics] for r in train([member])],
        "lines": list(lines),
        "rows": [layer["kind"] for layer in network_table(member.regime)],
        "places": [place[:3] for place in places(layers_of(member, len(load(member.data).classes)))],
        "learned": {place.name: list(place.learned) for place in places(layers_of(member, 10))},
    }
print(json.dumps({
    "packs": plan["packs"],
    "seconds": plan["seconds"],
    "fields": {name: field.metadata["help"] for name, field in FIELDS.items()},
    "metrics": metrics.described(),
    "arms": arms,
}))
"""
SPEC = """
name: added
base: {data: digits, epochs: 1, batch_size: 256, init_scale: 1.0}
seeds: 1
arms:
  plain: {}
  activation: {activation: selu, alpha: 2.0}
  optimizer: {optimizer: adagrad}
  loss: {loss: brier}
  penalty: {penalty: log, r: 0.1}
  normalization: {normalization: rms}
  layer: {regime: gated}
  regime: {regime: shallow}
  initialization: {initialization: signs, init_scale: 0.1}
  measurement: {measure: [stable_rank], measure_at: [1]}
  data: {data: stripes, batch_size: 32}
"""
# The rooms of these two are not followed here.
OTHERS = ("a figure", "a target")
SECTIONS = [section for section in re.findall(r"^## How to add (.*)$", PAGE, re.M) if section not in OTHERS]


def follow(section: str, folder: Path) -> None:
    """Do in the folder what a section says."""
    text = PAGE.split(f"## How to add {section}\n")[1].split("\n## ")[0]
    steps = BLOCK.findall(text)
    assert steps and len(steps) == text.count("```python"), f"not all of the section on {section} can be followed"
    for file, table, imports, block in steps:
        path = folder / file
        content = path.read_text(encoding="utf-8") if table or imports else ""
        if table:
            content, count = re.subn(rf"^{table}\b.*= {{\n", lambda line: line[0] + block, content, flags=re.M)  # noqa: B023
            assert count == 1
        elif imports:
            content = content.replace("\nfrom trainers", f"\n{block}from trainers", 1)
        else:
            assert not path.exists()
            content = block
        path.write_text(content, encoding="utf-8")


def used(folder: Path, spec: str) -> dict[str, Any]:
    """What the packages in the folder make of a spec."""
    done = subprocess.run(
        [sys.executable, "-c", USE],
        input=spec,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages, in which every section has been followed."""
    copy = tmp_path_factory.mktemp("copy")
    for room in ("trainers", "search_spaces", "tracking", "sweeps"):
        shutil.copytree(ROOT / room, copy / room, ignore=shutil.ignore_patterns("__pycache__"))
    for section in SECTIONS:
        follow(section, copy)
    return copy


@pytest.fixture(scope="module")
def added(folder: Path) -> dict[str, Any]:
    return used(folder, SPEC)


def by_the_reference_engine(arm: dict[str, Any], reason: str) -> bool:
    """Whether the reference engine trained it, and one line says why."""
    line = f"trained by the reference engine: {reason}"
    return {engine for engine, _, _ in arm["records"]} == {"reference"} and (not builds() or arm["lines"] == [line])


def test_each_is_planned_and_trained(added: dict[str, Any]) -> None:
    """In packs apart where the engine, the network or the data differ."""
    assert added["seconds"] > 0
    apart = {"activation", "optimizer", "loss", "penalty", "normalization", "layer", "regime", "data"}
    assert added["packs"] == len({"plain and initialization", *apart})
    for arm in added["arms"].values():
        assert [epoch for _, epoch, _ in arm["records"]] == [0, 1]
        assert all(abs(value) < float("inf") for _, _, metrics in arm["records"] for value in metrics.values())
    assert added["arms"]["plain"]["lines"] == [] or not builds()


def test_an_activation(added: dict[str, Any]) -> None:
    assert "selu" in added["fields"]["activation"]
    assert by_the_reference_engine(added["arms"]["activation"], "the lanes engine does not have the activation 'selu'")


def test_an_optimizer(added: dict[str, Any]) -> None:
    arm = added["arms"]["optimizer"]
    assert "adagrad: Adagrad (Duchi et al. 2011)" in added["fields"]["optimizer"]
    assert by_the_reference_engine(arm, "the lanes engine does not have the optimizer 'adagrad'")
    (_, _, first), (_, _, last) = arm["records"]
    (_, _, started), (_, _, by_adam) = added["arms"]["plain"]["records"]
    assert first["validation.loss"] == pytest.approx(started["validation.loss"], rel=1e-4)
    assert last["layer.conv1.update_to_weight"] > 0
    assert last["validation.loss"] != pytest.approx(by_adam["validation.loss"], rel=1e-4)


def test_a_loss(added: dict[str, Any]) -> None:
    arm = added["arms"]["loss"]
    assert "brier: the squared loss of the softmax of the outputs" in added["fields"]["loss"]
    assert by_the_reference_engine(arm, "the lanes engine does not have the loss 'brier'")
    assert all(0 < metrics["validation.loss"] < 0.2 for _, _, metrics in arm["records"])  # at most 2 / 10


def test_a_normalization(added: dict[str, Any]) -> None:
    arm = added["arms"]["normalization"]
    assert "rms: Zhang and Sennrich 2019" in added["fields"]["normalization"]
    assert by_the_reference_engine(arm, "layer conv1: the lanes engine does not have rms normalization")
    assert arm["learned"]["conv1"] == ["scale"] and not arm["learned"]["output"]


def test_a_penalty(added: dict[str, Any]) -> None:
    arm = added["arms"]["penalty"]
    assert "log: r times the sum of log(1 + w^2)" in added["fields"]["penalty"]
    assert by_the_reference_engine(arm, "the lanes engine does not have the penalty 'log'")
    _, _, first = arm["records"][0]
    assert first["gradient.total.rms"] != first["gradient.data.rms"]


def test_a_kind_of_layer(added: dict[str, Any]) -> None:
    arm = added["arms"]["layer"]
    assert by_the_reference_engine(arm, "layer gate: the lanes engine does not have layers of the kind 'gate'")
    assert ["gate", 4, "gate"] in arm["places"] and "a gain per channel or unit" in arm["rows"]
    _, _, last = arm["records"][1]
    assert last["layer.gate.update_to_weight"] > 0


def test_a_regime(added: dict[str, Any]) -> None:
    arm = added["arms"]["regime"]
    assert "shallow: one convolution, one hidden layer" in added["fields"]["regime"]
    assert arm["rows"] == ["3x3 convolution", "2x2 max pooling", "dense", "dense"]
    assert [name for name, _, _ in arm["places"]] == ["conv1", "dense1", "output"]
    assert arm["lines"] == [] or not builds()  # nothing that the fast engine lacks


def test_an_initialization(added: dict[str, Any]) -> None:
    assert "signs" in added["fields"]["initialization"]
    _, _, first = added["arms"]["initialization"]["records"][0]
    assert first["layer.conv1.weight_norm"] == pytest.approx(0.1 * 81**0.5)


def test_a_metric(added: dict[str, Any]) -> None:
    assert added["metrics"]["layer.NAME.largest_weight"] == "largest absolute value of the parameters"
    _, _, first = added["arms"]["plain"]["records"][0]
    assert 0.9 < first["layer.conv1.largest_weight"] <= 1.0


def test_a_measurement(added: dict[str, Any]) -> None:
    assert "stable_rank" in added["fields"]["measure"]
    (_, _, first), (_, _, last) = added["arms"]["measurement"]["records"]
    assert "layer.output.stable_rank" not in first and 1 <= last["layer.output.stable_rank"] <= 8


def test_a_data_set(added: dict[str, Any]) -> None:
    assert "stripes" in added["fields"]["data"]
    _, _, last = added["arms"]["data"]["records"][1]
    assert last["train.accuracy"] > 0.4


def test_no_section_goes_without_a_test() -> None:
    followed = ["activation", "optimizer", "loss", "penalty", "normalization", "kind of layer"]
    followed += ["regime", "initialization", "metric", "measurement", "data set"]
    assert [section.split(" ", 1)[1] for section in SECTIONS] == followed
