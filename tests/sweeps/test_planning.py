"""What a plan says must be what the driver does."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from torch._subclasses.fake_tensor import FakeTensorMode

import sweeps
from sweeps.commands.run import plan_text
from sweeps.commands.text import duration
from sweeps.driver.driver import Driver
from sweeps.driver.kept import Kept
from sweeps.plan import pack_size, plan_of, too_few_seeds
from sweeps.spec.checks import doubts
from sweeps.spec.reading import parse
from sweeps.spec.yaml_lines import dump
from tests.trainers.cuda.fake_device import GB, Device
from tracking.ledger import Ledger
from tracking.types import Sweep
from trainers.cuda import memory
from trainers.cuda.engine import CudaEngine
from trainers.data import images_of, load
from trainers.errors import RequestError
from trainers.layers import parameter_count
from trainers.members import MemberConfig, layers_of
from trainers.regimes import network
from trainers.states import initial_state

SPEC = """\
name: planned
base: {{data: "{images}", epochs: 3}}
seeds: [4, 7]
arms:
  a: {{alpha: 1.0}}
  b: {{alpha: 2.0, batch_size: 16}}
  c: {{regime: many-layers, epochs: 5}}
search:
  space: {{alpha: {{low: 0.5, high: 8.0}}}}
  sampler: {{name: random, seed: 0}}
  configurations: 6
resources: {{pack: 4, concurrent: 1}}
"""


def test_the_packs_of_a_plan_are_those_of_the_driver(images: str, tmp_path: Path) -> None:
    spec = parse(SPEC.format(images=images))
    plan = plan_of(spec)
    assert (plan["configurations"], plan["arms"], plan["searched"]) == (9, 3, 6)
    assert (plan["seeds"], plan["members"], plan["epochs"]) == (2, 18, 5)
    with closing(Ledger.create(f"sqlite:///{tmp_path}/ledger.db")) as ledger:
        driver = Driver(
            spec, ledger, ledger.begin(Sweep("planned", spec.to_yaml())), tmp_path / "packs", Kept(tmp_path / "kept")
        )
        packs = 0
        while driver.next_pack():
            packs += 1
    assert plan["packs"] == packs == 5


def test_more_work_takes_longer_and_gpus_are_not_guessed_at(images: str) -> None:
    text = SPEC.format(images=images)
    changed = ("base.epochs=10", "base.epochs=10000", "resources.gpus=1")
    short, long, gpu = (plan_of(parse(text, settings=[setting]))["seconds"] for setting in changed)
    assert long > short
    assert gpu is None


@pytest.mark.parametrize("engine", ["auto", "reference"])
def test_larger_networks_take_longer_on_every_engine(images: str, engine: str) -> None:
    def seconds(**base: Any) -> float:
        fields = {"regime": "mlp", "data": images, "engine": engine, "epochs": 10_000} | base
        return float(plan_of(parse(dump({"name": "size", "base": fields, "arms": {"a": {}}})))["seconds"])

    small = seconds()
    assert small < seconds(units=256) < seconds(units=1024) and small < seconds(dense=60)
    assert seconds(blocks=2) < seconds(blocks=2, channels=32)
    assert small < seconds(batch_size=1)  # a step costs something by itself


def test_where_the_size_is_searched_a_middle_one_is_planned(images: str) -> None:
    def seconds(base: dict[str, Any], space: dict[str, Any]) -> float:
        fields = {"regime": "deep", "data": images, "epochs": 10_000} | base
        search = {"space": space, "configurations": 6}
        return float(plan_of(parse(dump({"name": "size", "base": fields, "search": search})))["seconds"])

    middle = seconds({"dense": 30}, {"learning_rate": {"low": 0.1, "high": 1.0}})
    assert seconds({"dense": 1}, {"dense": {"low": 10, "high": 50}}) == middle
    assert seconds({"dense": 1}, {"dense": [20, 40]}) == middle


def test_a_plan_names_the_networks(images: str) -> None:
    plan = plan_of(parse(SPEC.format(images=images)))
    known = [(entry["of"], entry["layers"]) for entry in plan["layers"]]
    assert known == [(["a", "b", "base"], 10), (["c"], 14)]
    text = plan_text(plan_of(parse(SPEC.format(images="digits"))))
    assert "a, b, base: 10 layers, 1,078 parameters; c: 14 layers, 1,385 parameters" in text


SEARCHED = ["search={space: {alpha: {low: 0.5, high: 8.0}}, configurations: 4}"]
TIMES = """\
name: times
base: {{data: "{images}", epochs: 2, batch_size: 8}}
seeds: 2
arms: {{plain: {{}}, l2: {{r: 0.01}}, alone: {{alpha: 2.0}}, slow: {{engine: reference}}}}
claims:
  - {{better: alone, than: plain, metric: seconds, goal: minimize}}
  - {{better: alone, than: slow, metric: seconds, goal: minimize}}
  - {{better: plain, than: slow}}
  - {{better: plain, than: best, metric: seconds, goal: minimize}}
resources: {{pack: 2, concurrent: 1}}
"""


def test_that_seconds_are_of_two_programs_is_said_before_and_after(images: str, tmp_path: Path) -> None:
    (tmp_path / "times.yaml").write_text(text := TIMES.format(images=images))
    assert doubts(parse(text)) == [
        "claim alone-better-than-slow: training alone by the lanes engine, slow by the reference engine: "
        "their seconds are those of two programs"
    ]
    assert doubts(parse(text, settings=["base.engine=reference"])) == []
    result = sweeps.run(tmp_path / "times.yaml", store=tmp_path / "store", executor="in-process")
    number, engines, accuracies, best = (claim.sentence for claim in result.verdict.claims)
    assert number.endswith(
        " `alone` was one of 2 networks trained together, `plain` one of 4: what each takes depends on their number."
    )
    assert engines.endswith(
        " `alone` was trained by the lanes engine, `slow` by the reference engine: "
        "their seconds are those of two programs."
    )
    assert engines in result.verdict.text and engines in result.verdict.markdown
    assert "trained" not in accuracies and "share its clock" in best


CLAIMS = """\
name: claims
base: {data: digits}
seeds: 5
arms: {plain: {}, paper: {alpha: 2.0}, wide: {alpha: 8.0}}
claims:
  - {better: paper, than: plain}
  - {as_good: paper, as: best, margin: 0.01}
  - {better: paper, than: plain, metric: seconds, goal: minimize}
"""


@pytest.mark.parametrize(
    ("settings", "needed", "line"),
    [
        (["seeds=8"], {}, ""),
        (
            ["claims=[{better: paper, than: plain}]"],
            {"paper-better-than-plain": 6},
            "With 5 seeds the claim cannot be decided: it takes at least 6 seeds.",
        ),
        (["claims=[{better: paper, than: plain}]", "seeds=6"], {}, ""),
        (
            ["claims=null", "claim=paper"],  # better than plain, and as good as the best of however many
            {"paper-better-than-plain": 7, "paper-as-good-as-best": 7},
            "With 5 seeds no claim can be decided: it takes at least 7 seeds for these 2 claims.",
        ),
        (
            ["seeds=2", "claims.0.name=better", "claims.1.name=as-good"],
            {"better": 7, "as-good": 7},
            "With 2 seeds these of 3 claims cannot be decided: better, as-good. It takes at least 7 seeds.",
        ),
        (
            ["claims=null", "claim=paper", "confirm={top: 1, seeds: 6}", *SEARCHED],
            {"paper-better-than-plain": 7, "paper-as-good-as-best": 7},
            "With 6 fresh seeds no claim can be decided: it takes at least 7 seeds for these 2 claims.",
        ),
        (["claims=null", "claim=paper", "confirm={top: 1, seeds: 7}", *SEARCHED], {}, ""),
    ],
)
def test_that_so_few_seeds_decide_nothing_is_said_before_anything_is_trained(
    settings: list[str], needed: dict[str, int], line: str
) -> None:
    spec = parse(CLAIMS, settings=settings)
    assert plan_of(spec)["undecidable"] == needed
    assert too_few_seeds(spec) == ([line] if line else [])


def test_without_images_there_is_no_time() -> None:
    assert plan_of(parse(SPEC.format(images="folder:/nowhere")))["seconds"] is None


def test_the_number_of_images_is_about_right(images: str) -> None:
    assert images_of("digits").train == len(load("digits").train)
    assert abs(images_of(images).train - len(load(images).train)) <= 1
    assert images_of("folder:/nowhere").train == 0


def test_durations_are_no_more_exact_than_they_are() -> None:
    words = [duration(s) for s in (0.3, 4, 33, 100, 4000, 20000, 400000)]
    assert words == [
        "about 1 s",
        "about 4 s",
        "about 30 s",
        "about 2 min",
        "about 67 min",
        "about 5.6 h",
        "about 4.6 days",
    ]


@pytest.mark.parametrize(
    ("configurations", "pack", "concurrent", "size"), [(2, 8, 2, 1), (10, 8, 2, 5), (60, 8, 2, 8), (5, 8, 1, 5)]
)
def test_no_core_stands_idle_for_want_of_a_pack(configurations: int, pack: int, concurrent: int, size: int) -> None:
    arms = "".join(f"  a{i}: {{alpha: {1 + i}}}\n" for i in range(configurations))
    spec = parse(f"name: few\narms:\n{arms}resources: {{pack: {pack}, concurrent: {concurrent}}}\n", "few")
    assert pack_size(spec) == size


UNTRAINED = """\
name: untrained
base: {{regime: deep, dense: 9, units: 32, epochs: 0}}
seeds: 100
search:
  space: {{init_scale: {{low: 0.5, high: 3.0}}}}
  sampler: {{name: {sampler}}}
  configurations: 100
resources: {{concurrent: 2}}
"""


def test_untrained_packs_are_as_large_as_the_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    """And as full as each other. What is stated stands, and what a sampler learns from."""
    sizes = []
    for bytes_ in (512 * GB, 16 * GB, GB // 2):
        monkeypatch.setattr("sweeps.plan.memory", lambda bytes_=bytes_: bytes_)
        sizes.append(pack_size(spec := parse(UNTRAINED.format(sampler="random"))))
        parameters = parameter_count(layers_of(spec.members({})[0], 10))
        assert sizes[-1] == 1 or 2 * 100 * sizes[-1] * 4 * parameters < bytes_ / 4
    assert sizes[0] == 50 and sizes[1] < 50 and sizes[2] == 1
    assert -(-100 // sizes[1]) % 2 == 0
    monkeypatch.setattr("sweeps.plan.memory", lambda: 512 * GB)
    assert pack_size(parse(UNTRAINED.format(sampler="random"), settings=["resources.pack=8"])) == 8
    assert pack_size(parse(UNTRAINED.format(sampler="random"), settings=["base.epochs=1"])) == 8
    assert pack_size(parse(UNTRAINED.format(sampler="tpe"))) == 8
    dense = "search.space={dense: [1, 200], init_scale: {low: 0.5, high: 3.0}}"
    assert pack_size(parse(UNTRAINED.format(sampler="random"))) > pack_size(
        parse(UNTRAINED.format(sampler="random"), settings=[dense, "base.units=256"])
    )


ON_GPUS = "name: gpus\nbase: {{data: cifar10}}\nseeds: 5\narms: {{a: {{alpha: 1.0}}}}\nresources: {{gpus: {gpus}}}\n"


def on_gpus(gpus: float, *settings: str) -> dict[str, Any]:
    return plan_of(parse(ON_GPUS.format(gpus=gpus), settings=settings))


def test_the_memory_of_a_device_is_stated_where_gpus_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert on_gpus(0)["device_memory"] is None
    assert on_gpus(1, "base.engine=reference")["device_memory"] is None
    assert on_gpus(1, "base.data=folder:/nowhere")["device_memory"] is None
    whole, part = on_gpus(1)["device_memory"], on_gpus(0.25)["device_memory"]
    assert whole and part
    assert whole["members"] == part["members"] == 5
    assert part["pack"] == whole["pack"] > whole["least"]
    assert part["device"] == 4 * whole["device"] and part["least_device"] == 4 * whole["least_device"]
    # the images of CIFAR-10 are there, and little else that grows with it
    assert whole["pack"] > 60_000 * 3072
    larger = on_gpus(1, "seeds=225")["device_memory"]
    assert larger and larger["pack"] > whole["pack"]
    text = plan_text(on_gpus(0.25))
    (line,) = (line for line in text.splitlines() if line.startswith("device memory"))
    assert "5 members at once, 0.25 of a GPU of" in line


@pytest.mark.parametrize("gpus, of", [(0.25, 12 * GB), (0.25, 4 * GB), (0.5, 3 * GB // 2)])
def test_a_plan_says_what_the_engine_does_in_its_part_of_a_device(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, gpus: float, of: int
) -> None:
    """With few members and many, so that all of them fit, or some."""
    found = memory.Device("Some GPU", of, 132)
    monkeypatch.setattr(memory, "first_device", lambda: found)
    spec = ON_GPUS.format(gpus=gpus).replace("cifar10", "digits")
    for seeds in (1, 50, 5000):
        need = plan_of(parse(spec, settings=[f"seeds={seeds}"]))["device_memory"]
        assert need and need["here"]
        Device(monkeypatch, of, memory.share(of, gpus) / of)
        with FakeTensorMode(allow_non_fake_inputs=True):
            engine = CudaEngine(network("combined"), load("digits"), "cuda", 1)
            at_once = engine._fitting([initial_state(MemberConfig(), network("combined"))] * seeds)
        assert min(seeds, at_once) == need["here"]


def test_too_small_a_part_of_a_device_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    found = memory.Device("Some GPU", 80 * GB, 132)
    monkeypatch.setattr(memory, "first_device", lambda: found)
    with pytest.raises(RequestError) as refused:
        on_gpus(0.005)
    assert str(refused.value) == (
        "resources.gpus: 0.005 of this machine's Some GPU is 0.0 GB besides CUDA's own, "
        "but a pack needs at least 0.2 GB: give it 0.02 or more"
    )
    assert on_gpus(0.02)["device_memory"]


def test_a_search_that_leaves_a_cluster_idle_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two packs of 8 are handed out before the first result, however many workers there are."""
    text = (
        "name: waits\narms: {a: {}}\nsearch:\n  space: {alpha: {low: 0.5, high: 8.0}}\n  sampler: {name: tpe}\n"
        "  configurations: 16\n"
    )
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert doubts(parse(text)) == []
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    (line,) = doubts(parse(text))
    assert line.startswith("resources.concurrent: the sampler waits for results, so at most 2 packs train at once")
    for setting in ("resources.concurrent=8", "search.sampler={name: random}", "search.configurations=14"):
        assert doubts(parse(text, settings=[setting])) == []
