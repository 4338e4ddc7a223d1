"""Members of any kind against the reference engine's own functions in double precision: a step, evaluation, probe."""

import numpy as np
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.trainers.lanes.members import data, members, started
from trainers import reference
from trainers.data.dataset import Dataset
from trainers.lanes.engine import LaneEngine
from trainers.layers import places
from trainers.members import MemberConfig, layers_of
from trainers.reference import ReferenceEngine
from trainers.states import MemberState
from trainers.streams import order_of_images

NOISE = 3e-7  # of a parameter: what float32 does not know of it, a few times
RANGE = 1e15  # through many steps a naive activation may leave that of float32


lanes_settings = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much, HealthCheck.too_slow],
)


class Exact(reference.Array):
    """A member of the reference engine in double precision, its parameters off by a part of themselves."""

    def __init__(self, state: MemberState, off: np.ndarray | float = 0.0) -> None:
        super().__init__(layers_of(state.member, 10), [state], torch.device("cpu"))
        self.parameters = torch.tensor(state.parameters.astype(np.float64) * (1 + off))[None]
        self.buffers, self.kept = self.buffers.double(), tuple(k.double() for k in self.kept)


class Doubled(reference.Images):
    """Their images, in double precision."""

    def take(self, where: np.ndarray, input: str) -> tuple[torch.Tensor, torch.Tensor]:
        images, labels = super().take(where, input)
        return images.double(), labels


def exactly(state: MemberState, dataset: Dataset, off: np.ndarray | float = 0.0) -> dict[str, np.ndarray]:
    """All that is compared, in double precision."""
    member, cpu = state.member, torch.device("cpu")
    engine = ReferenceEngine(layers_of(member, 10), dataset, "cpu", 1)
    engine.splits = {name: Doubled(dataset, name, cpu) for name in dataset.splits()}
    order = order_of_images(member.seed, 1, len(dataset.train))[None]
    array = Exact(state, off)
    gradients, loss, _ = array.gradients(*engine.splits["train"].take(order, member.input))
    if member.clip:
        gradients = reference.clipped(gradients, member.clip)
    (probe,) = engine._probe(Exact(state, off))
    return {
        "gradient": gradients[0].numpy(),
        "loss": loss.numpy(),
        "buffers": array.buffers[0].numpy(),
        "probe": probe.gradient,
        "evaluation": np.array(engine._evaluate(Exact(state, off), "test")[0][:1]),
        "saturated": np.append(probe.saturated, probe.dead),
    }


def computed(state: MemberState, dataset: Dataset, threads: int) -> dict[str, np.ndarray]:
    """The same by the kernels; one step is an epoch."""
    engine = LaneEngine(layers_of(state.member, 10), dataset, "cpu", threads)
    ((after, loss, _),) = engine.train_epoch([state])
    (probe,) = engine.probe([state])
    return {
        "gradient": after.kept[0],
        "loss": np.array([loss]),
        "buffers": after.buffers,
        "probe": probe.gradient,
        "evaluation": np.array(engine.evaluate([state], "test")[0][:1]),
        "saturated": np.append(probe.saturated, probe.dead),
    }


@lanes_settings
@given(member=members, threads=st.integers(1, 3))
def test_of_any_kind(build: str, member: MemberConfig, threads: int) -> None:
    """As exact as float32 knows the parameters: what their last bits decide, a near-tie say, nobody can tell."""
    dataset = data(member.batch_size)
    state, random = started(member, dataset), np.random.default_rng(1)
    true, found = exactly(state, dataset), computed(state, dataset, threads)
    assume(all(np.abs(exact).max(initial=0) < RANGE for exact in true.values()))
    shifted = [exactly(state, dataset, NOISE * random.standard_normal(len(state.parameters))) for _ in range(3)]
    pieces: dict[str, list[slice]] = {name: [slice(None)] for name in true}
    for place in places(layers_of(member, 10)):
        pieces["gradient"] += (place.where, *place.learned.values())
    pieces["probe"] = pieces["gradient"]
    for name, exact in true.items():
        assert np.isfinite(found[name]).all() and found[name].shape == exact.shape
        for piece in pieces[name]:
            size, whole = np.linalg.norm(exact[piece]), np.linalg.norm(exact)
            unknown = max(np.linalg.norm(s[name][piece] - exact[piece]) for s in shifted)
            if unknown > 1e-2 * size + 1e-6 * whole:
                continue
            off = np.linalg.norm(found[name][piece] - exact[piece])
            assert off <= 1e-4 * size + 10 * unknown + 1e-6 * whole, (name, piece, off, size, whole, unknown)
    assume(np.linalg.norm(true["gradient"]) > 0)
