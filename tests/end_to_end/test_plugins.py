"""What packages add, from their entry points to the records; the example of docs/plugins.md among them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow import MlflowClient

from tests.packages import ENTRIES, SOURCE, install

PAGE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
SPEC = """\
name: added
base: {init_scale: 1.0, data: dark, epochs: 2, batch_size: 8}
seeds: 2
arms:
  plain: {}
  activation: {activation: swish2, alpha: 2.0}
  normalization: {normalization: halves}
  initialization: {initialization: signs}
resources: {cpus: 1, pack: 4, concurrent: 1}
"""


class Added:
    """The command where a package is installed."""

    def __init__(self, command: Any, folder: Path) -> None:
        self.command, self.path = command, str(folder)

    def __call__(self, *words: str, status: int = 0) -> tuple[str, str]:
        process = self.command.start(*words, PYTHONPATH=self.path)
        out, err = process.communicate(timeout=480)
        assert process.returncode == status, f"{words}: {process.returncode}\n{out}\n{err}"
        return out, err

    def refused(self, *words: str, status: int = 2) -> str:
        """The last line of what it says, where it is refused; the package is named in it."""
        out, err = self(*words, status=status)
        assert out == "" and "Traceback" not in err
        return err.splitlines()[-1].removeprefix("gradsweep: ")

    def table(self, layers: bool = False) -> pd.DataFrame:
        file = Path(self.path) / "table.parquet"
        self("export", "added", str(file), *(["--layers"] if layers else []))
        return pd.read_parquet(file)


@pytest.fixture
def added(command: Any, tmp_path: Path) -> Added:
    return Added(command, install(tmp_path / "packages"))


def digest_of(added: Added, package: str) -> str:
    with added.command.ledger("added") as (_, sweep):
        return str(sweep.digests[package])


def content(module: Path, name: str = "gradsweep_all", entries: Mapping[str, Mapping[str, str]] = ENTRIES) -> str:
    """The sha256 of a package of one module, as the records should have it."""
    lines = [f"{module.name} {sha256(module.read_bytes()).hexdigest()}"]
    lines += sorted(f"gradsweep.{g} {n} {name}:{v}" for g, of in entries.items() for n, v in of.items())
    return sha256("\n".join(lines).encode()).hexdigest()


def holds_what_was_added(added: Added) -> None:
    """Every arm is complete, with the metrics of the package; name, version and content of it are noted."""
    frame, layers = added.table(), added.table(layers=True)
    assert len(frame) == 4 * 2 * 3 and set(frame["state"]) == {"complete"}
    assert set(frame.loc[frame.arm.isin(["activation", "normalization"]), "engine"]) == {"reference"}
    assert set(frame["data"]) == {"dark"}
    first = layers[layers.depth == 1].sort_values(["configuration", "seed", "epoch"])
    assert frame["first.norm"].tolist() == first["weight_norm"].tolist()
    assert (layers["largest"] > 0).all() and (layers["largest"] <= layers["weight_norm"]).all()
    signs = layers[(layers.arm == "initialization") & (layers.epoch == 0)]
    assert (abs(signs["largest"] - 0.1) < 1e-7).all()
    name, digest = "gradsweep-all==0.1", content(Path(added.path) / "gradsweep_all.py")
    assert digest_of(added, name) == digest
    client = MlflowClient(added.command.store.mlflow_uri)
    (experiment,) = [e for e in client.search_experiments() if e.name == "added"]
    (parent,) = [
        r for r in client.search_runs([experiment.experiment_id]) if r.data.tags.get("gradsweep.kind") == "sweep"
    ]
    assert parent.data.tags["gradsweep.package.gradsweep-all"] == f"0.1, sha256 {digest}"
    assert name not in parent.data.tags["gradsweep.data.digest"]
    page = Path(added.path) / "report.html"
    added("report", "added", "--html", str(page))
    assert f"sha256 of {name}" in page.read_text() and digest in page.read_text()


def test_in_process_and_resumed_with_another_version(added: Added) -> None:
    spec = added.command.spec("added", SPEC)
    run = ["run", spec, "--executor", "in-process"]
    added(*run)
    holds_what_was_added(added)
    folder = Path(added.path)
    # The same, as long as the package is the same, installed or editable.
    added(*run, "--resume")
    install(folder, editable=True)
    added(*run, "--resume")
    old = digest_of(added, "gradsweep-all==0.1")[:12]
    for change, now in ({"version": "0.2"}, "0.2"), ({"source": SOURCE + "\n# changed\n"}, "0.1"):
        install(folder, **change)
        new = content(folder / "gradsweep_all.py")[:12]
        assert added.refused(*run, "--resume") == (
            "the packages are not those that the sweep was started with: gradsweep-all was "
            f"0.1 (sha256 {old}) and is {now} (sha256 {new}) here: install those again, or choose another --name"
        )
    # Where the package is not installed the records are still read, with all that is in them.
    added.path = str(folder / "empty")
    Path(added.path).mkdir()
    assert "first.norm" in added.table() and "largest" in added.table(layers=True)
    assert all("added" in added(*words)[0] for words in (["list"], ["status", "added"], ["report", "added"]))


@pytest.mark.ray
def test_on_ray(added: Added) -> None:
    added("run", added.command.spec("added", SPEC))
    holds_what_was_added(added)


@pytest.mark.parametrize(
    ("source", "entries", "spec", "says"),
    [
        (
            "import nowhere",
            {"activations": {"swish2": "swish2"}},
            "activation: swish2",
            "base.activation: activation 'swish2': gradsweep-x 1, entry point swish2 of gradsweep.activations: "
            "gradsweep_x:swish2 can't be imported: ModuleNotFoundError: No module named 'nowhere'",
        ),
        (
            "halves = 2",
            {"layers": {"halves": "halves"}},
            "normalization: halves",
            "base.normalization: normalization 'halves': gradsweep-x 1, entry point halves of gradsweep.layers: "
            "gradsweep_x:halves must be a trainers.layers.normalization.Normalization, but is of type int",
        ),
        (
            "raise RuntimeError('no')",
            {"metrics": {"layer.largest": "largest"}},
            "",
            "gradsweep-x 1, entry point layer.largest of gradsweep.metrics: gradsweep_x:largest can't be imported: "
            "RuntimeError: no",
        ),
        (
            "",
            {"activations": {"tanh": "tanh"}},
            "",
            "gradsweep-x 1, entry point tanh of gradsweep.activations: this name is taken: "
            "uninstall the package, or rename what it adds",
        ),
        (
            "",
            {"metrics": {"seed": "seed"}},
            "",
            "gradsweep-x 1, entry point seed of gradsweep.metrics: this name is taken: "
            "uninstall the package, or rename what it adds",
        ),
    ],
)
def test_a_broken_package_is_named_where_it_is_used_and_nowhere_else(
    source: str, entries: Mapping[str, Mapping[str, str]], spec: str, says: str, command: Any, tmp_path: Path
) -> None:
    broken = Added(command, install(tmp_path / "packages", source, entries, name="gradsweep-x", version="1"))
    file = command.spec("b", f"name: broken\nbase: {{epochs: 1, {spec}}}\nseeds: 1\narms: {{plain: {{}}}}\n")
    assert says in broken.refused("run", file, "--executor", "in-process")
    for words in ["list"], ["fields"], ["metrics"]:
        broken(*words)


def test_two_packages_with_one_name(added: Added) -> None:
    install(Path(added.path), name="gradsweep-other", version="3", entries={"activations": {"swish2": "swish2"}})
    says = added.refused("run", added.command.spec("added", SPEC), "--executor", "in-process")
    assert "entry point swish2 of gradsweep.activations: gradsweep-" in says
    assert "gradsweep-all 0.1" in says and "gradsweep-other 3" in says and "uninstall one of them" in says


def test_the_page_s_example(command: Any, tmp_path: Path) -> None:
    (about,), (source,) = (re.findall(rf"```{language}\n(.*?)```", PAGE, re.S) for language in ("toml", "python"))
    project = tomllib.loads(about)["project"]
    entries = {
        group.removeprefix("gradsweep."): {name: value.partition(":")[2] for name, value in of.items()}
        for group, of in project["entry-points"].items()
    }
    folder = install(tmp_path / "packages", source, entries, name=project["name"], version=project["version"])
    assert len((about + source).splitlines()) <= 22
    example = Added(command, folder)
    spec = "name: added\nbase: {activation: swish2, epochs: 1, batch_size: 256}\nseeds: 1\narms: {plain: {}}\n"
    _, err = example("run", command.spec("added", spec), "--executor", "in-process")
    assert "trained by the reference engine: the lanes engine does not have the activation 'swish2'" in err
    assert (example.table(layers=True)["largest_weight"] > 0).all()
    assert digest_of(example, "gradsweep-swish==0.1") == content(
        folder / "gradsweep_swish.py", "gradsweep_swish", entries
    )
    assert "swish2" in example("fields", "base.activation")[0]
    assert "of the package gradsweep-swish 0.1" in example("metrics", "layer.NAME.largest_weight")[0]
