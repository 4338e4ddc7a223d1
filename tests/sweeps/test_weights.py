"""What a sweep keeps of complete configurations, and the PyTorch files that `gradsweep weights` makes of it."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sweeps
from sweeps.cli import _status
from sweeps.driver.bucket import Bucket
from sweeps.driver.driver import Driver
from sweeps.driver.kept import Kept
from sweeps.plan import kept_bytes
from sweeps.spec.reading import parse
from tests.packages import install
from tracking.store import MARK, Store
from trainers.data import load
from trainers.errors import FailedError, RequestError
from trainers.weights import sequential

DOCS = (Path(__file__).parents[2] / "docs" / "weights.md").read_text(encoding="utf-8")
SPEC = """\
name: how-large
base: {init_scale: 1.0, data: digits, epochs: 2}
seeds: 2
arms:
  plain: {}
  paper: {alpha: 2.0, r: 0.01}
search:
  space: {alpha: {low: 0.5, high: 8.0, log: true}}
  sampler: {name: random, seed: 0}
  configurations: 2
resources: {keep: weights}
"""
Say = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a spec, and the store of a finished sweep of it that has kept its weights."""
    folder = tmp_path_factory.mktemp("weights")
    (folder / "spec.yaml").write_text(SPEC)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert _status(["run", "spec.yaml", "--executor", "in-process"]) == 0
    return folder


@pytest.fixture
def say(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    monkeypatch.chdir(folder)

    def say(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = _status(list(words))
        return (status, *capsys.readouterr())

    return say


def accuracy(file: Any, split: str) -> float:
    """The share of images of a split that the network of a file classifies correctly."""
    dataset = load(file["member"]["data"], file["member"]["holdout"])
    model, of = sequential(file["layers"]).eval(), dataset.splits()[split]
    model.load_state_dict(file["state_dict"])
    into = file["input"]
    mean, std = (torch.tensor(into[name]).view(3, 1, 1) for name in ("mean", "std"))
    with torch.no_grad():
        logits = model((torch.tensor(of.images) / into["divide"] - mean) / std)
    return (logits.argmax(1) == torch.tensor(of.labels)).double().mean().item()


def test_a_file_per_configuration_and_seed_reproduces_what_was_recorded(say: Say, folder: Path) -> None:
    status, out, _ = say("weights", "how-large", "files", "--json")
    written = json.loads(out)
    assert status == 0
    names = [f"{n}{arm}-seed{s}.pt" for n, arm in enumerate(("-plain", "-paper", "", "")) for s in (0, 1)]
    assert [file["file"] for file in written] == [f"files/{name}" for name in names]
    assert sorted(os.listdir(folder / "files")) == sorted(names)
    frame = sweeps.report("how-large").frame.set_index(["configuration", "seed", "epoch"])
    for about in written:
        file = torch.load(about["file"], weights_only=True)
        row = frame.loc[(about["configuration"], about["seed"], 2)]
        assert (file["sweep"], file["epoch"], file["packages"]) == ("how-large", 2, [])
        assert (file["configuration"], file["arm"]) == (about["configuration"], about["arm"])
        assert [file["member"][name] for name in ("alpha", "r", "epochs")] == [row["alpha"], row["r"], 2]
        assert file["member"]["seed"] == about["seed"]
        for split in ("validation", "test"):
            recorded = row[f"{split}.accuracy"]
            assert about[f"{split}.accuracy"] == file["accuracy"][f"{split}.accuracy"] == recorded
            assert accuracy(file, split) == pytest.approx(recorded, abs=1e-6)


def test_one_is_chosen_by_number_or_arm_and_seed(say: Say, folder: Path) -> None:
    by_arm = json.loads(say("weights", "how-large", "--configuration", "paper", "--seed", "1", "--json")[1])
    assert [file["file"] for file in by_arm] == ["how-large-weights/1-paper-seed1.pt"]
    status, out, _ = say("weights", "how-large", "some", "--configuration", "1")
    assert status == 0 and [line.split()[0] for line in out.splitlines()] == [
        "file",
        "some/1-paper-seed0.pt",
        "some/1-paper-seed1.pt",
    ]
    one, again = ((folder / place / "1-paper-seed1.pt").read_bytes() for place in ("how-large-weights", "some"))
    assert one == again
    in_python = sweeps.weights("how-large", folder / "python", configuration=2, seed=0)
    assert [Path(file["file"]).name for file in in_python] == ["2-seed0.pt"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["weights", "nobody"], "there is no sweep named 'nobody'"),
        (["weights", "how-large", "--configuration", "papre"], "numbers are 0, 1, 2, 3, arms are plain, paper"),
        (["weights", "how-large", "--configuration", "4"], "has no configuration '4'"),
        (["weights", "how-large", "--seed", "7"], "no weights of the seed 7 are kept, but of 0, 1"),
        (["weights", "how-large", "spec.yaml"], "can't be written"),
        (["plan", "spec.yaml", "--set", "resources.keep=all"], "resources.keep"),
    ],
)
def test_a_wrong_request_is_one_line(say: Say, words: list[str], says: str) -> None:
    status, out, err = say(*words)
    assert (status, out) == (2, "") and says in err and len(err.splitlines()) == 1


def test_the_blocks_of_the_docs(say: Say, folder: Path) -> None:
    """On what the commands before them write; the first in a Python that has no gradsweep."""
    for command in re.findall(r"`(gradsweep weights [^`]+)`", DOCS):
        assert say(*shlex.split(command)[1:])[0] == 0
    plain, ours = re.findall(r"```python\n(.*?)```", DOCS, re.S)
    images = load("digits").test.images[:50]
    np.save(folder / "images.npy", images)
    shown = "import numpy, sys\nprint(classify(torch.tensor(numpy.load('images.npy'))).tolist())\n"
    without = "import sys\nsys.modules.update(trainers=None, sweeps=None)\n"
    done = subprocess.run([sys.executable, "-c", without + plain + shown], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    names: dict[str, Any] = {}
    exec(ours, names)
    with torch.no_grad():
        assert json.loads(done.stdout) == names["model"](torch.tensor(images) / 255).argmax(1).tolist()
    documented = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", DOCS, re.M))))
    assert documented == names["file"].keys()


def test_a_sweep_that_kept_nothing_says_how_to_get_weights(say: Say, folder: Path) -> None:
    run = ["run", "spec.yaml", "--executor", "in-process", "--name", "none"]
    less = ["--set", "seeds=1", "--set", "search.configurations=1"]
    assert say(*run, *less, "--set", "resources.keep=null")[0] == 0
    assert not Store.at(folder / "gradsweep-store").kept("none").exists()
    status, out, err = say("weights", "none")
    assert (status, out) == (2, "")
    assert err.strip() == (
        "gradsweep: sweep 'none' has kept no weights: resources.keep must be weights (or states) while it trains; run "
        "its spec again with --set resources.keep=weights --name none-weights"
    )
    # As it says.
    settings = shlex.split(err.partition("again with ")[2])
    assert say("run", "spec.yaml", "--executor", "in-process", *less, *settings)[0] == 0
    assert len(json.loads(say("weights", "none-weights", "--json")[1])) == 3


def test_the_setting_may_change_when_a_sweep_is_resumed(
    say: Say, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no part of what is trained, and what was kept before stays."""
    run = ["run", "spec.yaml", "--executor", "in-process", "--name", "later", "--set", "resources.pack=1"]
    record, ended = Driver.record, []

    def recording(driver: Driver, report: Any) -> None:
        record(driver, report)
        ended.extend(report.ended)
        if len(ended) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Driver, "record", recording)
        assert say(*run, "--set", "resources.keep=null")[0] != 0
    assert say("weights", "later")[0] == 2
    assert say(*run, "--resume", "--set", "resources.keep=states")[0] == 0
    kept = Kept.of("later", Store.at(folder / "gradsweep-store"))
    assert kept.numbers() == {0, 1, 2, 3} - set(ended)
    assert all(state.trainable for number in kept.numbers() for state in kept.load(number))
    files = json.loads(say("weights", "later", "--json")[1])
    assert {file["configuration"] for file in files} == kept.numbers()
    status, _, err = say("weights", "later", "--configuration", str(ended[0]))
    assert status == 2 and f"has kept no weights of configuration {ended[0]}: " in err
    assert say(*run, "--resume", "--set", "resources.keep=null")[0] == 0
    assert len(json.loads(say("weights", "later", "--json")[1])) == len(files)
    assert say(*run, "--resume", "--set", "resources.cpus=2")[0] == 2


def test_an_extended_sweep_has_the_weights_of_all_seeds_after_their_last_epoch(say: Say, tmp_path: Path) -> None:
    """The same to the bit as where it was begun so; a suggestion that equals an arm has the arm's."""
    search = "search: {space: {alpha: [1.0, 3.0]}, sampler: {name: grid}}\nresources: {keep: states}"
    spec = re.sub(r"^search:.*", search, SPEC, flags=re.M | re.S)
    (tmp_path / "grown.yaml").write_text(spec)
    run = ["run", str(tmp_path / "grown.yaml"), "--executor", "in-process"]
    more = ["--set", "base.epochs=3", "--set", "seeds=2"]
    assert say(*run, "--name", "grown", "--set", "seeds=1")[0] == 0
    assert say(*run, "--name", "grown", "--resume", *more)[0] == 0
    assert say(*run, "--name", "begun", *more)[0] == 0
    grown, begun = (json.loads(say("weights", name, str(tmp_path / name), "--json")[1]) for name in ("grown", "begun"))
    key = [(file["configuration"], file["seed"]) for file in begun]
    assert key == [(number, seed) for number in range(4) for seed in (0, 1)]
    assert sorted((file["configuration"], file["seed"]) for file in grown) == key
    assert {file["epoch"] for file in grown} == {3}
    for about in grown:
        other = tmp_path / "begun" / Path(about["file"]).name
        file, other = (torch.load(f, weights_only=True) for f in (about["file"], other))
        assert file["accuracy"] == other["accuracy"] and file["arm"] == other["arm"]
        assert all(torch.equal(tensor, other["state_dict"][name]) for name, tensor in file["state_dict"].items())
        assert accuracy(file, "test") == pytest.approx(file["accuracy"]["test.accuracy"], abs=1e-6)
    states = Kept.of("grown", Store.at("gradsweep-store"))
    assert states.load(0)[0].epoch == 2 and 2 not in states.numbers(), "the equal one was not trained"


def test_without_it_a_spec_reads_as_before() -> None:
    spec = parse(SPEC, settings=["resources.keep=null"])
    assert "keep" not in spec.to_yaml()
    kept = parse(SPEC)
    assert "keep: weights" in kept.to_yaml() and parse(kept.to_yaml()) == kept


def test_states_that_are_torn_are_a_failure(say: Say, folder: Path, tmp_path: Path) -> None:
    store = Store.at(folder / "gradsweep-store")
    file = store.kept("how-large") / "0.weights.npz"
    whole = file.read_bytes()
    try:
        file.write_bytes(whole[:100])
        with pytest.raises(FailedError, match="not a file of member states, or a torn one"):
            sweeps.weights("how-large", tmp_path)
    finally:
        file.write_bytes(whole)


def test_weights_come_from_the_bucket(images: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "store.yaml"
    file.write_text(f"folder: {tmp_path}/store\ncheckpoints: {(tmp_path / 'bucket').as_uri()}\n")
    spec = {"name": "x", "base": {"data": images, "epochs": 1, "batch_size": 8}, "seeds": 1, "arms": {"a": {}}}
    sweeps.run(spec | {"resources": {"keep": "weights"}}, store=file, executor="in-process")
    assert {f.name for f in (tmp_path / "bucket" / "x.kept").iterdir()} == {MARK, "0.weights.npz"}
    assert not (tmp_path / "store" / "kept").exists()
    (written,) = sweeps.weights("x", tmp_path / "files", store=file)
    assert torch.load(written["file"], weights_only=True)["accuracy"]["test.accuracy"] == written["test.accuracy"]

    def away(_: Bucket) -> None:
        raise OSError("the bucket does not answer")

    monkeypatch.setattr(Bucket, "names", away)
    with pytest.raises(FailedError, match="^what is kept in file://.*/bucket/x.kept can't be listed: .*not answer"):
        sweeps.weights("x", tmp_path / "files", store=file)


@pytest.mark.ray
def test_workers_of_ray_keep_them_and_the_drivers_cleaning_leaves_them(images: str, tmp_path: Path) -> None:
    base = {"data": images, "epochs": 2, "batch_size": 8}
    (tmp_path / "spec.yaml").write_text(
        json.dumps({"name": "x", "base": base, "seeds": 2, "arms": {"a": {}, "b": {"r": 0.1}}})
    )
    run = [sys.executable, "-m", "sweeps.cli", "run", "spec.yaml", "--set", "resources.keep=states"]
    for words in (run, [*run, "--resume"]):
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        store = Store.at(tmp_path / "gradsweep-store")
        assert not list(store.states("x").glob("*.npz*"))
        assert Kept.of("x", store).numbers() == {0, 1}
    assert len(sweeps.weights("x", tmp_path / "files", store=store)) == 4


def test_standardized_pixels_need_the_data_that_was_trained_on(
    tmp_path: Path, images: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = {"data": images, "epochs": 1, "batch_size": 8, "input": "standardized"}
    arms = {"usual": {}, "half": {"holdout": 0.5}}  # each is standardized by its own training split
    spec = {"name": "x", "base": base, "seeds": 1, "arms": arms, "resources": {"keep": "weights"}}
    sweeps.run(spec, store=tmp_path, executor="in-process")
    means = []
    for written in sweeps.weights("x", tmp_path / "files", store=tmp_path):
        file = torch.load(written["file"], weights_only=True)
        assert accuracy(file, "validation") == pytest.approx(file["accuracy"]["validation.accuracy"], abs=1e-6)
        means.append(file["input"]["mean"])
    assert means[0] != means[1]
    other = replace(load(images), digest="0" * 64)
    monkeypatch.setattr("trainers.data.load", lambda _: other)
    with pytest.raises(RequestError, match="is not the data that the sweep was started with"):
        sweeps.weights("x", tmp_path / "files", store=tmp_path)


def test_a_package_that_a_network_needs_is_named(tmp_path: Path) -> None:
    packages = install(tmp_path / "packages")
    (tmp_path / "spec.yaml").write_text(
        SPEC.replace("  plain: {}", "  plain: {activation: swish2, normalization: halves}")
    )

    def gradsweep(*words: str, path: Path = packages) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "sweeps.cli", *words],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(path)},
            capture_output=True,
            text=True,
        )

    done = gradsweep("run", "spec.yaml", "--executor", "in-process", "--set", "seeds=1", "--set", "base.epochs=1")
    assert done.returncode == 0, done.stderr
    written = json.loads(gradsweep("weights", "how-large", "--json").stdout)
    needed = [torch.load(tmp_path / file["file"], weights_only=True)["packages"] for file in written]
    assert needed == [["gradsweep-all==0.1"], [], [], []]
    refused = gradsweep("weights", "how-large", "--configuration", "plain", path=tmp_path)
    assert refused.returncode == 2 and refused.stderr.splitlines() == [
        "gradsweep: the states of configuration 0: the packages are not those that the sweep was started with: "
        f"gradsweep-all was 0.1 (sha256 {digest(refused.stderr)}) and is not there here: install those again"
    ]
    assert gradsweep("weights", "how-large", "--configuration", "paper", path=tmp_path).returncode == 0


def digest(line: str) -> str:
    return re.findall(r"sha256 (\w{12})", line)[0]


@pytest.mark.parametrize("keep", ["weights", "states"])
def test_how_much_is_kept_is_estimated(images: str, keep: str, tmp_path: Path) -> None:
    base = {"data": images, "epochs": 1, "batch_size": 8, "regime": "mlp", "normalization": "batch"}
    arms = {"a": {}, "b": {"optimizer": "sgd"}, "c": {"units": 16}}
    spec = {"name": "x", "base": base, "seeds": 3, "arms": arms, "confirm": {"top": 1, "seeds": 2}}
    spec["search"] = {"space": {"r": {"low": 1e-5, "high": 1.0, "log": True}}, "configurations": 2}
    result = sweeps.run(spec | {"resources": {"keep": keep}}, store=tmp_path, executor="in-process")
    assert set(result.frame["state"]) == {"complete"}
    size = sum(file.stat().st_size for file in Store.at(tmp_path).kept("x").iterdir())
    assert kept_bytes(result.spec) == pytest.approx(size, rel=0.05)
    without = parse(result.spec.to_yaml(), settings=["resources.keep=null"])
    assert kept_bytes(without) == 0
