"""Initial values: their laws, and that they come from the seed alone."""

from dataclasses import replace
from math import prod, sqrt

import numpy as np
import pytest
import torch
from scipy.stats import truncnorm
from threadpoolctl import threadpool_limits

from tests.trainers.test_engines import TINY
from trainers.data.dataset import Split, probe
from trainers.initialization import CUT, CUT_DEVIATION, DEPTHWISE_FANS, INITIALIZATIONS
from trainers.layers import buffer_shapes, parameter_count, places, tensor_shapes
from trainers.members import MemberConfig, layers_of
from trainers.reference import forward
from trainers.regimes import REGIMES, network
from trainers.states import initial_state

MANY = [MemberConfig(regime="large-parameters", seed=s) for s in range(200)]


def draws(initialization: str, scale: float, count: int = 200) -> np.ndarray:
    layers = network("large-parameters")
    members = [replace(m, initialization=initialization, init_scale=scale) for m in MANY[:count]]
    return np.stack([initial_state(m, layers, TINY).parameters for m in members])


def test_the_papers_uniform_law() -> None:
    values = draws("uniform", 10.0)
    assert -10 <= values.min() < -9.99 and 9.99 < values.max() < 10
    assert values.mean() == pytest.approx(0, abs=0.1)
    assert values.std() == pytest.approx(10 / sqrt(3), rel=0.01)


def test_the_papers_normal_law() -> None:
    values = draws("normal", 0.05)
    assert values.mean() == pytest.approx(0, abs=0.001)
    assert values.std() == pytest.approx(0.05, rel=0.01)
    assert np.abs(values).max() > 0.15  # not truncated


def test_a_truncated_normal_law_is_the_normal_one_without_what_is_beyond_two_deviations() -> None:
    """Keras's TruncatedNormal; where fans decide, its deviation is that of the whole law, as Keras's GlorotNormal's."""
    whole, truncated = draws("normal", 0.05), draws("truncated_normal", 0.05)
    inside = np.abs(whole) <= 0.1
    assert np.array_equal(truncated[inside], whole[inside]) and 0.04 < (~inside).mean() < 0.05
    assert 0.0999 < np.abs(truncated).max() <= 0.1
    assert truncnorm(-CUT, CUT).std() == pytest.approx(CUT_DEVIATION, rel=1e-12)
    assert truncated.std() == pytest.approx(0.05 * CUT_DEVIATION, rel=0.01)
    glorot = draws("glorot_truncated_normal", 1.0)[:, -90:-10]  # the output's weights
    assert np.abs(glorot).max() <= 2 / CUT_DEVIATION * sqrt(2 / 18)
    assert glorot.std() == pytest.approx(sqrt(2 / 18), rel=0.02)


@pytest.mark.parametrize("law", ["uniform", "normal", "truncated_normal"])
@pytest.mark.parametrize(
    ("family", "dense", "depthwise", "pointwise"),
    [
        ("glorot", sqrt(2 / (48 + 8)), sqrt(2 / (9 + 9)), sqrt(2 / 6)),
        ("he", sqrt(2 / 48), sqrt(2 / 9), sqrt(2 / 3)),
        ("lecun", sqrt(1 / 48), sqrt(1 / 9), sqrt(1 / 3)),
    ],
)
def test_fans(family: str, law: str, dense: float, depthwise: float, pointwise: float) -> None:
    values = draws(f"{family}_{law}", 2.0)
    start = {place.name: place.where.start for place in places(network("large-parameters"))}
    conv, first = start["conv1"], start["dense1"]
    assert values[:, first : first + 384].std() == pytest.approx(2 * dense, rel=0.02)
    assert values[:, conv : conv + 27].std() == pytest.approx(2 * depthwise, rel=0.05)
    assert values[:, conv + 27 : conv + 36].std() == pytest.approx(2 * pointwise, rel=0.05)
    assert (values[:, first + 384 : first + 392] == 0).all()  # the bias


@pytest.mark.parametrize(("fans", "inputs", "outputs"), [("own", 9, 9), ("keras", 27, 9), ("pytorch", 9, 27)])
def test_the_fans_of_a_depthwise_convolution(fans: str, inputs: int, outputs: int) -> None:
    """Its draws stay, and so does all else; PyTorch's numbers are asked of PyTorch."""
    if fans == "pytorch":
        weight = torch.nn.Conv2d(3, 3, 3, groups=3).weight
        assert torch.nn.init._calculate_fan_in_and_fan_out(weight) == (inputs, outputs)
    layers = network("large-parameters")
    depthwise = np.concatenate([np.full(prod(s), len(s) == 4 and s[1] == 1) for s in tensor_shapes(layers)])
    assert depthwise.sum() == 6 * 27
    for family, spread in {
        "glorot_uniform": sqrt(18 / (inputs + outputs)),  # 9 and 9 without the field
        "he_normal": sqrt(9 / inputs),
        "lecun_truncated_normal": sqrt(9 / inputs),
        "uniform": 1.0,  # no fans decide
        "orthogonal": 1.0,
    }.items():
        member = MemberConfig(regime="large-parameters", initialization=family, init_scale=2.0)
        usual, ours = (initial_state(m, layers).parameters for m in (member, replace(member, depthwise_fans=fans)))
        assert np.allclose(ours, np.where(depthwise, spread, 1.0) * usual, rtol=1e-6)
        if fans == "own" or spread == 1.0:
            assert ours.tobytes() == usual.tobytes()


def test_plain_convolutions_have_the_same_fans_in_all_libraries() -> None:
    members = [MemberConfig(regime="resnet", depthwise_fans=fans) for fans in DEPTHWISE_FANS]
    assert len({initial_state(m, layers_of(m, 10)).parameters.tobytes() for m in members}) == 1


@pytest.mark.parametrize("initialization", INITIALIZATIONS)
def test_the_same_seed_draws_the_same_numbers_at_any_scale(initialization: str) -> None:
    one, two = draws(initialization, 1.0, 5), draws(initialization, 2.0, 5)
    if INITIALIZATIONS[initialization].calibrated:
        # layers see what is made of the scale of those before; the first one's two factors share it
        assert np.allclose(sqrt(2) * one[:, :36], two[:, :36], rtol=1e-5)
    else:
        assert np.allclose(2 * one, two, rtol=1e-6)
    assert not np.array_equal(one[0], one[1])
    assert np.array_equal(one, draws(initialization, 1.0, 5))


def test_orthogonal_matrices_have_orthonormal_rows_or_columns() -> None:
    """And the signs of QR's factors don't decide them: they are uniform among all such matrices."""
    shapes = [(5, 3, 3, 3), (5,), (40, 6), (6, 40), (1, 1)]
    drawn = [INITIALIZATIONS["orthogonal"].draw(np.random.default_rng(seed), shapes) for seed in range(200)]
    for values in drawn[:3]:
        conv, bias, tall, wide, single = np.split(values, np.cumsum([prod(shape) for shape in shapes])[:-1])
        conv, tall, wide = conv.reshape(5, 27), tall.reshape(40, 6), wide.reshape(6, 40)
        assert np.allclose(conv @ conv.T, np.eye(5)) and np.allclose(wide @ wide.T, np.eye(6))
        assert np.allclose(tall.T @ tall, np.eye(6))
        assert not bias.any() and abs(single) == pytest.approx(1)
    # each entry's square is 1 / 27 on average, its mean is 0
    first = np.array([values[0] for values in drawn])
    assert abs(first.mean()) < 4 / sqrt(27 * 200) and (first**2).mean() == pytest.approx(1 / 27, rel=0.4)
    assert {float(values[-1]) for values in drawn} == {-1.0, 1.0}


@pytest.mark.parametrize("initialization", ["orthogonal", "lsuv"])
def test_the_same_bits_on_any_number_of_threads(initialization: str) -> None:
    member = MemberConfig(regime="mlp", initialization=initialization, units=300)
    found, threads = [], torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            with threadpool_limits(count):
                found.append(initial_state(member, layers_of(member, 10), TINY).parameters.tobytes())
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    assert found[0] == found[1]


@pytest.mark.parametrize("scale", [1.0, 0.3])
@pytest.mark.parametrize("regime", REGIMES)
def test_lsuv_gives_every_layers_outputs_the_deviation_of_the_scale(regime: str, scale: float) -> None:
    """Mishkin and Matas 2016: 1, on the images of the probe."""
    member = MemberConfig(regime=regime, initialization="lsuv", init_scale=scale, activation="relu")
    layers = layers_of(member, 10)
    state = initial_state(member, layers, TINY)
    x = torch.from_numpy(probe(TINY).images.astype(np.float64)) / 255
    parameters = torch.from_numpy(state.parameters).double()
    own = {place.name: parameters[place.where] for place in places(layers)}
    shapes = {place.name: place.tensors for place in places(layers)}
    for i, layer in enumerate(layers):
        if layer.name in own:
            before = layers[:i]
            count = sum(prod(shape) for kept in buffer_shapes(before) for shape, _ in kept.values())
            running = torch.from_numpy(state.buffers[:count]).double()
            start = parameters[: parameter_count(before)]
            incoming = forward(before, member, start, 1.0, x, running, by_batch=True).logits
            pieces = own[layer.name].split([prod(shape) for shape in shapes[layer.name]])
            tensors = [piece.view(shape) for piece, shape in zip(pieces, shapes[layer.name], strict=True)]
            assert float(layer.forward(incoming, iter(tensors)).std()) == pytest.approx(scale, rel=1e-3), layer.name


def test_lsuv_leaves_a_layer_alone_whose_outputs_do_not_vary() -> None:
    black = replace(TINY, train=Split(np.zeros_like(TINY.train.images), TINY.train.labels))
    member = MemberConfig(initialization="lsuv", activation="relu")
    orthogonal = replace(member, initialization="orthogonal")
    states = [initial_state(m, layers_of(m, 10), black) for m in (member, orthogonal)]
    assert np.array_equal(states[0].parameters, states[1].parameters)


def test_biases_have_a_deviation_of_their_own() -> None:
    layers = network("large-parameters")
    weights = np.concatenate([np.full(prod(shape), len(shape) > 1) for shape in tensor_shapes(layers)])

    def drawn(bias_scale: float | None) -> np.ndarray:
        members = [replace(m, bias_scale=bias_scale) for m in MANY]
        return np.stack([initial_state(m, layers).parameters for m in members])

    own, of_half, none = drawn(None), drawn(0.5), drawn(0.0)
    for values in (of_half, none):
        assert np.array_equal(values[:, weights], own[:, weights])
    assert own[:, ~weights].std() == pytest.approx(10 / sqrt(3), rel=0.05)
    assert of_half[:, ~weights].std() == pytest.approx(0.5, rel=0.05)
    assert of_half[:, ~weights].mean() == pytest.approx(0, abs=0.03)
    assert not none[:, ~weights].any()
