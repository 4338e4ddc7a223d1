"""Members of any kind, drawn by hypothesis, and small data to train them on."""

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from trainers.data.dataset import Dataset, Split
from trainers.lanes.tables import SUPPORT
from trainers.layers import CELLS, NORMALIZATIONS, places
from trainers.members import LEARN_ALPHA, MemberConfig, layers_of
from trainers.regimes import REGIMES
from trainers.states import MemberState, initial_state


def split(count: int, seed: int) -> Split:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 10, count)
    images = random.integers(0, 200, (count, 3, 32, 32)) + 5 * labels[:, None, None, None]
    return Split(images.astype(np.uint8), labels)


def data(count: int) -> Dataset:
    return Dataset("few", tuple("abcdefghij"), split(count, 0), split(7, 1), split(19, 2), digest="")


layered = st.builds(
    MemberConfig,
    regime=st.sampled_from([name for name in REGIMES if name not in ("deep", "recurrent")]),
    blocks=st.sampled_from([0, 1, 2]),
    convolutions=st.sampled_from([1, 2]),
    channels=st.sampled_from([1, 3, 8]),
    dense=st.sampled_from([0, 1, 2]),
    units=st.sampled_from([3, 20, 40]),
    normalization=st.sampled_from(["none", *NORMALIZATIONS]),
    residual=st.booleans(),
    convolution=st.sampled_from(["plain", "separable"]),
    dense_bias=st.booleans(),
    activation=st.sampled_from(SUPPORT.fields["activation"]),
    scaling=st.sampled_from(["rescaled", "naive"]),
    alpha=st.sampled_from([0.5, 1.0, 3.0]),
    learn_alpha=st.sampled_from(list(LEARN_ALPHA)),
    slope=st.sampled_from([None, 0.3]),
    loss=st.sampled_from(["cross_entropy", "squared"]),
    penalty=st.sampled_from(["l1", "l2", "decoupled"]),
    penalized=st.sampled_from(["all", "weights"]),
    r=st.sampled_from([0.0, 0.01]),
    optimizer=st.just("momentum"),  # what it keeps of the first step is the gradient
    clip=st.sampled_from([0.0, 0.1]),
    initialization=st.just("glorot_uniform"),
    init_scale=st.just(1.0),
    bias_scale=st.just(0.1),
    input=st.sampled_from(["unit", "standardized"]),
    batch_size=st.sampled_from([11, 16, 33, 40]),
    seed=st.integers(0, 1000),
)


def recurrent(member: MemberConfig, cell: str, steps: int, scaled_gates: bool) -> MemberConfig:
    of_network = {"regime": "recurrent", "blocks": 0, "normalization": "none"}
    return replace(member, **of_network, cell=cell, steps=steps, scaled_gates=scaled_gates)


steps = st.sampled_from([1, 4, 32, 64])  # a whole image, eight rows, rows, half rows
members = layered | st.builds(recurrent, layered, st.sampled_from(list(CELLS)), steps, st.booleans())


def started(member: MemberConfig, dataset: Dataset) -> MemberState:
    """Where no parameter is at a special value, as a scale of 1 and a shift of 0; alphas and scales may be negative."""
    state = initial_state(member, layers_of(member, 10), dataset)
    random, parameters = np.random.default_rng(member.seed), state.parameters.copy()
    for place in places(layers_of(member, 10)):
        for name, where in place.learned.items():
            drawn = random.uniform(0.5, 1.5, where.stop - where.start) * random.choice([-1, 1])
            turned = name in ("alpha", "scale")
            parameters[where] = parameters[where] * drawn if turned else parameters[where] + 0.3 * drawn
    buffers = state.buffers + random.uniform(0, 0.5, len(state.buffers)).astype(np.float32)
    return replace(state, parameters=parameters, buffers=buffers)
