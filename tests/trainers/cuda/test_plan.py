"""Where the engine applies, who is asked when, and how much memory a pack takes: nothing here needs the kernels."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.trainers.cuda.harness import BLOCKS, IMAGE, SMALL
from tests.trainers.lanes.judge import glorot, regimes_of
from trainers import cuda, reference
from trainers.activations import ACTIVATIONS, Activation
from trainers.cuda import engine as engine_of
from trainers.cuda import memory, self_check
from trainers.cuda.array import Array, Workshop, _Batch, resident
from trainers.cuda.plan import DEVICE as COMPILED
from trainers.cuda.plan import INTERPRETED, plan_of, refusal
from trainers.data.dataset import Dataset, Split
from trainers.lanes.engine import LaneEngine
from trainers.layers import Convolution, Dense, Pooling, parameter_count
from trainers.members import MemberConfig
from trainers.regimes import network
from trainers.states import MemberState
from trainers.training import _engine, layers_of

TINY = Dataset("tiny", tuple("abcdefghij"), *[Split(np.zeros((4, 3, 32, 32), np.uint8), np.arange(4))] * 3, digest="")


@pytest.mark.parametrize("blocks", [COMPILED, INTERPRETED])
@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("regime", regimes_of("cuda"))
def test_every_regime_is_planned_and_nothing_overlaps(regime: str, bias: bool, separable: bool, blocks) -> None:
    layers = network(regime, 10, convolution="separable" if separable else "plain", dense_bias=bias)
    plan = plan_of(layers, (3, 32, 32), blocks)
    assert plan.parameters == parameter_count(layers)
    areas = []
    for height, width, groups, rows, pooled, _, _, _, value, slope, choice, gradient, weights, _ in plan.convolutions:
        assert groups * rows == height and groups * width // blocks.strip <= blocks.slots
        assert not pooled or rows % 2 == 0
        size = (height // (1 + pooled) + 2) * 3 * plan.pitch * blocks.lanes
        assert pooled or gradient == slope
        images = (value, slope, choice, gradient) if pooled else (value, slope)
        areas += [*((at, size) for at in images), (weights, 256)]
        # the kernels read a row ahead, below the last one of an image too
        assert max(images) + size + 3 * plan.pitch * blocks.lanes <= plan.scratch
    for _, _, _, _, _, value, slope, _ in plan.dense:
        areas += [(value, plan.widest * blocks.lanes), (slope, plan.widest * blocks.lanes)]
    areas += [(0, 34 * 3 * 34 * blocks.lanes), (int(plan.dense[0, 4]), plan.flat * blocks.lanes)]
    areas += [(plan.full, 128), (plan.sums, 81 * blocks.slots * blocks.lanes)]
    areas.sort()
    assert all(at + size <= after for (at, size), (after, _) in zip(areas, areas[1:], strict=False))
    assert areas[-1][0] + areas[-1][1] <= plan.scratch


@pytest.mark.parametrize(
    "layers",
    [
        (Dense("output", 3, activated=False),),
        (Convolution("c", 4), Dense("output", 3, activated=False)),
        (Convolution("c", bias=True), Pooling("p"), Pooling("q"), Pooling("r"), Dense("output", 3, activated=False)),
        (Convolution("c"), Pooling("p"), Pooling("twice"), Dense("output", 3, activated=False)),
        (Convolution("c"), Dense("wide", 8), Dense("output", 3, activated=False)),
        (*network("combined")[:-1], Dense("output", 65, activated=False)),
        network("combined")[:-1],
        (Convolution("c"), Dense("d", 3, activated=False), Dense("output", 3, activated=False)),
        (),
    ],
)
def test_networks_that_the_kernels_do_not_run(layers: tuple) -> None:
    reason = refusal(layers, (3, 32, 32))
    assert reason and "\n" not in reason
    with pytest.raises(ValueError, match="cuda engine|last layer|only the last"):
        plan_of(layers, (3, 32, 32), COMPILED)


def test_no_two_warps_of_a_program_write_where_they_read() -> None:
    """The gradient by z takes the slope's place: a slot with another one's work would multiply it a second time."""
    for regime in regimes_of("cuda"):
        plan = plan_of(network(regime), (3, 32, 32), COMPILED)
        for _, width, groups, *_ in plan.convolutions:
            assert groups * (width // COMPILED.strip) == COMPILED.slots
    pair = (Convolution("a"), Convolution("b"), Dense("output", 3, activated=False))
    assert refusal(pair, (3, 8, 8), COMPILED) is None
    for image in ((3, 4, 4), (3, 12, 4), (3, 6, 12)):
        assert "slots" in (refusal(pair, image, COMPILED) or "")
        assert refusal(pair, image, replace(COMPILED, warps=1)) is None
        assert refusal(pair[1:], image, COMPILED) is None


def chosen(device: str, member: MemberConfig) -> object:
    return _engine(member, layers_of(member, 10), TINY, device, 1)


def test_who_trains_where(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    auto, asked = MemberConfig(), MemberConfig(engine="cuda")
    assert isinstance(chosen("cpu", auto), LaneEngine)  # never the interpreter, unless it is asked for
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(ValueError, match="the cuda engine runs on a CUDA device, not on cpu"):
        chosen("cpu", asked)
    # what is chosen on a device, without one: both engines stand still before they touch it
    for engine, name in ((engine_of, "CudaEngine"), (reference, "ReferenceEngine")):
        monkeypatch.setattr(engine, name, lambda layers, data, device, threads, name=name: f"{name} on {device}")
    monkeypatch.setattr(self_check, "earned", lambda device: "its gradient is wrong")
    assert chosen("cuda", asked) == "CudaEngine on cuda"
    assert chosen("cuda", auto) == "ReferenceEngine on cuda"
    assert caplog.messages == ["trained by the reference engine: its gradient is wrong"]
    caplog.clear()
    monkeypatch.setattr(self_check, "earned", lambda device: None)
    assert chosen("cuda", auto) == "CudaEngine on cuda"
    monkeypatch.setitem(ACTIVATIONS, "toy", Activation(lambda z: z))
    assert chosen("cuda", MemberConfig(activation="toy")) == "ReferenceEngine on cuda"
    assert caplog.messages == ["trained by the reference engine: the cuda engine does not have the activation 'toy'"]
    caplog.clear()
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "no" / "folder"))
    assert chosen("cuda", asked) == "CudaEngine on cuda"  # it would be made
    (tmp_path / "no").write_text("a file")
    with pytest.raises(ValueError, match=r"no/folder, which can't be written to \(TRITON_CACHE_DIR\)"):
        chosen("cuda", asked)
    monkeypatch.delenv("TRITON_CACHE_DIR")
    monkeypatch.setattr(engine_of, "refusal", lambda layers, image: "layer conv1: too odd")
    with caplog.at_level(logging.INFO, "gradsweep"):
        assert chosen("cuda", auto) == "ReferenceEngine on cuda"
    assert caplog.messages == ["trained by the reference engine: layer conv1: too odd"]
    with pytest.raises(ValueError, match="too odd"):
        chosen("cuda", asked)
    caplog.clear()
    monkeypatch.setattr(cuda.sysconfig, "get_path", lambda name: "/nowhere")
    with pytest.raises(ValueError, match="needs Python's headers"):
        chosen("cuda", asked)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(cuda.shutil, "which", lambda name: None)
    with caplog.at_level(logging.INFO, "gradsweep"):
        assert chosen("cuda", auto) == "ReferenceEngine on cuda"
    assert "needs a C compiler" in caplog.text
    monkeypatch.setattr(cuda.importlib.util, "find_spec", lambda name: None)
    assert chosen("cuda", auto) == "ReferenceEngine on cuda"
    with pytest.raises(ValueError, match="needs Triton"):
        chosen("cuda", asked)


@pytest.mark.parametrize("members, batch_size", [(1, 8), (3, 40), (7, 100)])
def test_the_stated_need_covers_every_tensor(members: int, batch_size: int) -> None:
    """The sum of all tensors that are alive at once, in training and on the probe, is at most what was stated."""
    plan = plan_of(SMALL, IMAGE, BLOCKS)
    random = np.random.default_rng(0)
    counts = {"train": 100, "validation": 10, "test": 20, "probe": 70}
    splits = [Split.__new__(Split) for _ in counts]
    for split, n in zip(splits, counts.values(), strict=True):
        object.__setattr__(split, "images", random.integers(0, 256, (n, *IMAGE), dtype=np.uint8))
        object.__setattr__(split, "labels", random.integers(0, 3, n))
    on_device = [resident(s, torch.device("cpu")) for s in splits]
    workshop = Workshop(plan, torch.device("cpu"), programs=2)
    parameters = glorot(SMALL, IMAGE, 0)
    zeros = np.zeros_like(parameters)
    states = [MemberState(MemberConfig(seed=s), 0, 0, parameters, (zeros, zeros), zeros[:0]) for s in range(members)]
    array = Array(workshop, states)

    def size(*owners: object) -> int:
        tensors = {id(t): t for o in owners for t in vars(o).values() if isinstance(t, torch.Tensor)}
        return sum(t.nbytes for t in tensors.values())

    orders = torch.zeros((members, 100), dtype=torch.int32)
    training = _Batch(array, on_device[0], orders, torch.zeros(members), min(batch_size, 100), 100)
    probing = array._whole(on_device[3], gradients=True)
    least = size(workshop, array, *on_device)
    stated = memory.need(plan, memory.Sizes(**counts), members, batch_size, programs=2)
    slack = 8192 + members * 64  # tables, counters
    assert least + size(training) <= stated + slack
    assert least + size(probing) + members * (plan.units + plan.parameters) * 4 <= stated + slack
    statistics = (
        members * 8 * memory.STATISTICS * plan.parameters
    )  # of which half is taken at least: test_statistics.py
    assert stated <= 2 * (least + max(size(training), size(probing), statistics // 2)) + slack
    assert memory.members_that_fit(plan, memory.Sizes(**counts), batch_size, 2, stated) == members
    assert memory.members_that_fit(plan, memory.Sizes(**counts), batch_size, 2, 10_000) == 0


def test_a_pack_that_does_not_fit_is_trained_in_parts(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine = engine_of.CudaEngine.__new__(engine_of.CudaEngine)
    engine.plan, engine.sizes, engine.programs = plan_of(SMALL, IMAGE, BLOCKS), memory.Sizes(100, 10, 20, 70), 2
    engine._room = memory.need(engine.plan, engine.sizes, 2, 32, 2)
    engine._at_once = None
    one = np.zeros(1, np.float32)
    states = [MemberState(replace(MemberConfig(), seed=s), 0, 0, one, (one, one), one[:0]) for s in range(5)]
    with caplog.at_level(logging.WARNING, "gradsweep"):
        seen = engine._in_parts(lambda part: [len(part)] * len(part), states)
        assert seen == engine._in_parts(lambda part: [len(part)] * len(part), states) == [2, 2, 2, 2, 1]
        pairs = engine._in_parts(lambda *parts: list(zip(*parts, strict=True)), states, states[::-1])
    assert pairs == list(zip(states, states[::-1], strict=True))
    assert caplog.messages == ["5 members don't fit on the device: they are trained 2 at a time"]
