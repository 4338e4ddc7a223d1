"""The spec: what is read, what it makes, and that it survives being written and read again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from search_spaces.space import Choice, Range
from sweeps.plan import plan_of
from sweeps.spec.model import PARTS, Arm, Base, ObjectiveSpec, Resources, Tracking
from sweeps.spec.reading import SweepSpec, parse, read, studies
from trainers.activations import ACTIVATIONS
from trainers.errors import SpecError
from trainers.members import MemberConfig
from trainers.objectives import Epochs, Near, Objective

SECTION_5 = """\
name: alpha-r
question: Is (alpha = 2, r = 0.01) as good as the best point of the plane?
base:
  regime: combined
  activation: tanh
  data: digits
  epochs: 30
  batch_size: 32
  learning_rate: 1e-3
  initialization: uniform
  init_scale: 10.0
seeds: 5
arms:
  plain: {alpha: 1.0, r: 0.0}
  paper: {alpha: 2.0, r: 0.01}
search:
  space:
    alpha: {low: 0.5, high: 8.0, log: true}
    r: {low: 1.0e-5, high: 1.0, log: true}
    activation: [tanh, logsigmoid]
  sampler: {name: tpe, seed: 0}
  configurations: 60
  pruner: {name: asha, reduction: 3, min_epochs: 3}
objective: {metric: validation.accuracy, goal: maximize}
claim: paper
resources: {cpus: 1, gpus: 0, pack: 8, concurrent: auto}
tracking: {uri: null}
"""
ARMS = "name: x\narms: {plain: {}}\n"


def test_the_example_of_the_design() -> None:
    spec = parse(SECTION_5)
    plan = spec.search_plan()
    assert plan.total == 62 and plan.goals == ("maximize",) and plan.epochs == 30
    assert plan.space == {
        "alpha": Range(0.5, 8.0, log=True),
        "r": Range(1e-5, 1.0, log=True),
        "activation": Choice(("tanh", "logsigmoid")),
    }
    assert plan.sampler == {"name": "tpe", "seed": 0}
    assert plan.pruner == {"name": "asha", "reduction": 3, "min_epochs": 3}
    members = spec.members({"alpha": 2.0, "r": 0.01, "activation": "logsigmoid"})
    assert [m.seed for m in members] == [0, 1, 2, 3, 4]
    assert members[3] == MemberConfig("combined", activation="logsigmoid", alpha=2.0, r=0.01, init_scale=10.0, seed=3)


def test_what_is_left_out_has_defaults() -> None:
    spec = parse(ARMS)
    assert spec.seeds == (0, 1, 2, 3, 4)
    assert spec.objective == (ObjectiveSpec(metric="validation.accuracy", goal="maximize"),)
    assert spec.resources == Resources(cpus=1, gpus=0, pack=None, concurrent="auto")
    assert spec.search_plan().block == 8
    assert spec.search is None and spec.claim is None and spec.tracking == Tracking(uri=None)
    assert spec.search_plan().configurations == 0 and spec.search_plan().total == 1


@pytest.mark.parametrize("written", ["1e-4", "1.0e-4", "0.0001", "1E-4", "+1e-4", ".1e-3"])
def test_a_number_is_a_number(written: str) -> None:
    assert parse(ARMS + f"base: {{learning_rate: {written}}}\n").base == {"learning_rate": 1e-4}


@pytest.mark.parametrize("word", ["on", "no", "yes", "off", "y", "1_000", "1:30", "2020-01-01"])
def test_words_that_yaml_1_1_takes_for_something_else_are_text(word: str) -> None:
    spec = parse(f"name: x\nquestion: {word}\narms:\n  no: {{}}\n  1: {{}}\n")
    assert spec.question == word
    assert list(spec.arms) == ["no", "1"]


def test_whole_number_fields_are_searched_as_whole_numbers() -> None:
    space = "{batch_size: {low: 8, high: 64, log: true}, alpha: [1, 2]}"
    text = f"name: x\nsearch: {{configurations: 3, space: {space}}}\n"
    found = parse(text).search_plan().space
    assert found == {"batch_size": Range(8, 64, log=True, integer=True), "alpha": Choice((1.0, 2.0))}
    assert all(isinstance(v, float) for v in found["alpha"].ends.values())


def test_a_field_may_depend_on_others() -> None:
    space = (
        "{init_scale: {low: 0.1, high: 10, log: true, when: {initialization: uniform, epochs: [5, 9]}}, "
        "initialization: {values: [uniform, he_normal], when: {activation: tanh}}, epochs: {low: 5, high: 9}, "
        "dense_bias: [true, false]}"
    )
    spec = parse(f"name: x\nsearch: {{configurations: 3, space: {space}}}\n")
    assert spec.search_plan().space == {
        "init_scale": Range(0.1, 10, log=True, when={"initialization": ("uniform",), "epochs": (5, 9)}),
        "initialization": Choice(("uniform", "he_normal"), when={"activation": ("tanh",)}),
        "epochs": Range(5, 9, integer=True),
        "dense_bias": Choice((True, False)),
    }
    assert parse(spec.to_yaml()) == spec
    written = yaml.safe_load(spec.to_yaml())["search"]["space"]
    assert written["init_scale"]["when"] == {"initialization": "uniform", "epochs": [5, 9]}
    assert written["initialization"] == {"values": ["uniform", "he_normal"], "when": {"activation": "tanh"}}


def test_the_corners_that_are_tried_are_those_of_the_conditions() -> None:
    """initialization alone needs an init_scale there, which base does not give."""
    text = (
        "name: x\nsearch:\n  configurations: 3\n  space:\n    batch_size: {low: 8, high: 64}\n"
        "    initialization: {values: [uniform, normal], when: {batch_size: 11}}\n"
    )
    with pytest.raises(SpecError) as caught:
        parse(text, "s.yaml")
    assert caught.value.problems == (
        "s.yaml:4: search.space: init_scale must be given where initialization is 'normal': "
        "the combined regime's own is for 'uniform'",
    )
    scale = "    init_scale: {low: 0.1, high: 2, when: {initialization: normal}}\n"
    assert parse(text + scale).search is not None


def test_an_objective_is_near_a_number_or_of_chosen_epochs() -> None:
    text = ARMS.replace("{}", "{epochs: 40}") + "objective:\n"
    text += "  - {metric: gradient.first_to_last, goal: {near: 1}, epoch: {mean_of_last: 5}}\n"
    text += "  - {epoch: {first_above: 0.5}}\n  - {epoch: best}\n"
    spec = parse(text)
    assert spec.objectives == [
        Objective("gradient.first_to_last", Near(1.0), Epochs("mean_of_last", 5)),
        Objective("validation.accuracy", "minimize", Epochs("first_above", 0.5, never=41)),
        Objective("validation.accuracy", "maximize", Epochs("best")),
    ]
    assert spec.search_plan().goals == ("minimize", "minimize", "maximize")
    assert parse(spec.to_yaml()) == spec and "goal: {near: 1.0}" in spec.to_yaml()
    assert "epoch" not in yaml.safe_load(parse(ARMS).to_yaml())["objective"], "a spec of before is what it was"


def test_a_grid_has_all_of_its_points() -> None:
    text = (
        "name: x\nsearch:\n  sampler: {name: grid, points: 3}\n"
        "  space: {alpha: {low: 1, high: 4, log: true}, activation: [tanh, relu]}\n"
    )
    assert parse(text).search_plan().configurations == 4  # alpha has no effect beside relu


def test_the_epochs_of_a_plan_are_the_most_that_any_configuration_has() -> None:
    text = ARMS.replace("plain: {}", "plain: {epochs: 40}") + "search: {configurations: 1, space: {epochs: [5, 60]}}\n"
    assert parse(text).search_plan().epochs == 60


def test_settings_over_a_file(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + SECTION_5.encode())
    settings = [
        "base.epochs=2",
        "seeds=[3, 5]",
        "search.configurations=8",
        "search.pruner=null",
        "tracking.uri=http://x:1",
    ]
    settings += [
        "arms.extra.r=1e-2",
        "base.data=folder:/some where",
        "search.space.activation=[tanh]",
        "resources.gpus=0.5",
    ]
    spec = read(file, settings)
    assert spec.base["epochs"] == 2 and spec.seeds == (3, 5) and spec.base["data"] == "folder:/some where"
    assert spec.arms["extra"] == {"r": 0.01} and list(spec.arms) == ["plain", "paper", "extra"]
    assert spec.search is not None and spec.search.configurations == 8 and spec.search.pruner is None
    assert spec.tracking.uri == "http://x:1" and spec.resources.gpus == 0.5
    assert spec.search.space["activation"] == Choice(("tanh",))


def test_a_later_setting_wins_and_lists_can_be_entered() -> None:
    text = ARMS + "objective:\n  - {}\n  - {metric: train.loss, goal: minimize}\n"
    spec = parse(text, settings=["seeds=1", "seeds=2", "objective.1.metric=validation.loss"])
    assert spec.seeds == (0, 1)
    assert [o.metric for o in spec.objective] == ["validation.accuracy", "validation.loss"]


def test_a_file_goes_before_a_study_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read("quickstart").name == "quickstart"
    Path("quickstart").write_text(ARMS)
    assert read("quickstart").name == "x"


@pytest.mark.parametrize("name", studies())
def test_shipped_studies_parse_and_plan(name: str) -> None:
    spec = read(name)
    plan = plan_of(spec)
    assert plan["members"] >= 24 and plan["packs"] > 0 and plan["seconds"]
    assert spec.name == name and spec.question and spec.judged_claims()
    assert parse(spec.to_yaml()) == spec


def test_the_main_job_on_a_folder() -> None:
    settings = ["base.data=folder:x", "base.epochs=2", "search.configurations=8", "seeds=2"]
    assert read("alpha-r", settings).search_plan().searching == 10


def test_a_spec_may_be_plain_data() -> None:
    data = {"name": "x", "arms": {"plain": {"alpha": 1}, "paper": {"alpha": 2.0}}, "seeds": [1, 2]}
    spec = read(data, ["base.epochs=2"])
    assert spec == parse("name: x\nbase: {epochs: 2}\narms: {plain: {alpha: 1}, paper: {alpha: 2}}\nseeds: [1, 2]\n")
    assert "base" not in data
    for wrong, message in (
        (
            {"name": "x", "arms": {"a": {"alpa": 1}}},
            "spec: arms.a.alpa: unknown key; did you mean alpha? `gradsweep fields` lists them",
        ),
        ({"name": "x", "arms": {"a": {"r": float("nan")}}}, "spec: arms.a.r: must be a finite number, but got .nan"),
        ({"name": "x", "arms": {"a": {"r": object()}}}, "spec: must be plain data, as in YAML: "),
        ({"arms": {"a": {}}}, "spec: name: is missing"),
    ):
        with pytest.raises(SpecError) as caught:
            read(wrong)
        assert caught.value.problems[0].startswith(message)


def test_every_field_is_described() -> None:
    for part in (SweepSpec, *PARTS.values()):
        assert all(field.description for field in part.model_fields.values()), part
    assert set(Arm.__annotations__) - set(Base.__annotations__) == {"alpha", "r"}


NAMES = st.from_regex(r"[a-z]([a-z0-9-]{0,9}[a-z0-9])?", fullmatch=True)
# What a YAML file can hold; a spec with another character is refused where it is read.
CHARACTERS = st.characters(codec="utf-8").filter(lambda c: not yaml.reader.Reader.NON_PRINTABLE.search(c))
TEXT = st.text(CHARACTERS, max_size=30) | st.sampled_from(["1e-4", "no", "~", "0x1F", "1:30", ""])
POSITIVE = st.floats(1e-300, 1e300)
BASE = {
    "regime": st.sampled_from(["large-parameters", "many-layers", "combined"]),
    "activation": st.sampled_from([name for name, f in ACTIVATIONS.items() if not f.homogeneous]),
    "data": st.text(CHARACTERS, max_size=20).map("folder:".__add__),
    "epochs": st.integers(1, 2**31 - 1),
    "learning_rate": POSITIVE,
    "init_scale": POSITIVE,
    "dense_bias": st.booleans() | st.none(),
}
ARM = BASE | {"alpha": st.floats(1e-6, 1e6), "r": st.floats(0, 1e300)}
SPACE = {
    "alpha": st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=3, unique=True)
    | st.tuples(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6))
    .filter(lambda p: p[0] != p[1])
    .map(sorted)
    .map(lambda p: {"low": p[0], "high": p[1], "log": True}),
    "r": st.floats(0, 10).map(lambda low: {"low": low, "high": low + 1}),
    "batch_size": st.integers(1, 100).map(lambda low: {"low": low, "high": low + 7, "log": True}),
    "activation": st.lists(st.sampled_from(["tanh", "relu", "silu"]), min_size=1, unique=True).map(
        lambda v: ["elu", *v]
    ),
    "penalty": st.sampled_from(
        [
            {"values": ["l2", "l1"], "when": {"scaling": "rescaled"}},
            {"values": ["l1"], "when": {"loss": ["cross_entropy"]}},
        ]
    ),
}
SEARCH = st.fixed_dictionaries(
    {
        "space": st.fixed_dictionaries({"r": SPACE["r"]}, optional={k: v for k, v in SPACE.items() if k != "r"}),
        "configurations": st.integers(1, 10**6),
        "sampler": st.sampled_from(
            [{"name": "tpe", "seed": 3}, {"name": "qmc", "qmc_type": "halton", "scramble": True}]
        ),
    },
    optional={
        "pruner": st.sampled_from(
            [{"name": "median"}, {"name": "patient", "patience": 2, "wrapped_pruner": {"name": "asha"}}]
        )
    },
)
SPECS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "name": NAMES,
        "arms": st.dictionaries(st.from_regex(r"[A-Za-z0-9_-]{1,9}", fullmatch=True).filter(lambda n: n[0] not in "-_"),
                                st.fixed_dictionaries({}, optional=ARM), min_size=1, max_size=3),
    },
    optional={
        "question": TEXT | st.none(),
        "base": st.fixed_dictionaries({}, optional=BASE),
        "seeds": st.integers(1, 50) | st.lists(st.integers(0, 2**62), min_size=1, max_size=5, unique=True),
        "search": SEARCH | st.none(),
        "objective": st.fixed_dictionaries({}, optional={"metric": st.sampled_from(["train.loss", "gradient.data.rms"]),
                                                         "goal": st.sampled_from(["maximize", "minimize"])
                                                         | st.floats(1e-9, 1e9).map(lambda x: {"near": x}),
                                                         "epoch": st.sampled_from(["last", "best"])
                                                         | st.integers(1, 9).map(lambda n: {"mean_of_last": n})}),
        "resources": st.fixed_dictionaries({}, optional={"cpus": st.integers(1, 64),
                                                         "gpus": st.floats(0, 1),
                                                         "concurrent": st.just("auto") | st.integers(1, 9)}),
        "tracking": st.fixed_dictionaries({"uri": st.sampled_from(["http://x:1", "sqlite:///x.db", None])}),
    },
)  # fmt: skip


@settings(max_examples=50)
@given(SPECS)
@example({"name": "a", "question": "two\x85lines\u2028and\u2029more", "arms": {"b": {"data": "folder:\x85"}}})
def test_a_spec_survives_being_written_and_read(data: dict[str, Any]) -> None:
    spec = read(data)
    again = parse(spec.to_yaml())
    assert again == spec
    assert again.search_plan() == spec.search_plan()
    for arm in spec.arms.values():
        assert [m.seed for m in spec.members(arm)] == list(spec.seeds)
