"""Recurrent layers against PyTorch's own, and against the equations written by hand, in double precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.trainers.test_engines import TINY, member_of
from tests.trainers.test_steps import in_doubles
from trainers.bench import of_a_step, plain_module
from trainers.engines import unsupported
from trainers.initialization import INITIALIZATIONS, RECURRENT
from trainers.layers import CELLS, IMAGE, Layer, Recurrent, multiply_adds, output_shapes, places, tensor_shapes
from trainers.members import MemberConfig, layers_of
from trainers.reference import Array, Images, ReferenceEngine, forward
from trainers.regimes import network
from trainers.states import initial_state
from trainers.streams import slope_key, uniform

THEIRS: dict[str, Any] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
FUNCTIONS = {"tanh": torch.tanh, "softsign": F.softsign, "relu": torch.relu, "identity": lambda z: z}
FUNCTIONS |= {"softplus": F.softplus}


def tensors_of(parameters: Tensor, layers: tuple[Layer, ...]) -> list[Tensor]:
    """A flat vector as its tensors."""
    shapes = tensor_shapes(layers)
    return [
        part.view(shape)
        for part, shape in zip(parameters.split([int(np.prod(s)) for s in shapes]), shapes, strict=True)
    ]


def by_hand(
    member: MemberConfig,
    tensors: Sequence[Tensor],
    images: Tensor,
    shifts: Tensor | None = None,
    start: Sequence[Tensor] | None = None,
    at: int | None = None,
) -> list[tuple[Tensor, ...]]:
    """The state after each step by the equations; `shifts` are added to it, (states, steps, images, units).

    Or after the step `at` alone, from `start`.
    """
    alpha, units, steps = member.alpha, int(member.units or 0), int(member.steps or 0)

    def scaled(f: Any, z: Tensor) -> Tensor:
        inner = z / alpha if member.scaling == "rescaled" else z
        return alpha * f(inner)

    def big_f(z: Tensor) -> Tensor:
        return scaled(FUNCTIONS[member.activation], z)

    def big_s(z: Tensor) -> Tensor:
        return scaled(torch.sigmoid, z) if member.scaled_gates else torch.sigmoid(z)

    w, u = tensors[:2]
    b = tensors[2] if member.dense_bias else torch.zeros(len(w), dtype=w.dtype)
    state = tuple(start or [torch.zeros(len(images), units, dtype=w.dtype)] * CELLS[str(member.cell)].states)
    pixels, after = 1024 // steps, []
    flat = images.flatten(2)
    for t in range(steps) if at is None else [at]:
        x = torch.cat([flat[:, channel, t * pixels : (t + 1) * pixels] for channel in range(3)], 1)
        h = state[0]
        z, r = x @ w.T + b, h @ u.T
        part = [slice(i * units, (i + 1) * units) for i in range(4)]
        if member.cell == "rnn":
            state = (big_f(z + r),)
        elif member.cell == "lstm":
            i, f, g, o = (z[:, p] + r[:, p] for p in part)
            c = big_s(f) * state[1] + big_s(i) * big_f(g)
            if shifts is not None:
                c = c + shifts[1, t]
            state = (big_s(o) * big_f(c), c)
        else:
            reset, kept = big_s(z[:, part[0]] + r[:, part[0]]), big_s(z[:, part[1]] + r[:, part[1]])
            n = big_f(z[:, part[2]] + reset * r[:, part[2]])
            state = ((1 - kept) * n + kept * h,)
        if shifts is not None:
            state = (state[0] + shifts[0, t], *state[1:])
        after.append(state)
    return after


def images_and_labels(count: int = 6) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    return torch.rand(count, *IMAGE, generator=random, dtype=torch.float64), torch.arange(count) % 10


def started(member: MemberConfig) -> Tensor:
    """Initial values, and none of them 0."""
    state = initial_state(member, layers_of(member, 10), TINY)
    noise = np.random.default_rng(1).normal(size=state.parameters.shape) * 0.1
    return torch.from_numpy(state.parameters + noise)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("steps", [1, 4, 32, 256])
@pytest.mark.parametrize("cell", CELLS)
def test_with_tanh_it_is_pytorchs(cell: str, steps: int, bias: bool) -> None:
    """Every hidden state, and the gradient of all weights; the second bias is 0. At 32 steps it reads row by row."""
    member = member_of("recurrent", cell=cell, steps=steps, units=5, dense_bias=bias)
    layers = layers_of(member, 10)
    parameters = started(member).requires_grad_()
    images, labels = images_and_labels()
    outputs = forward(layers, member, parameters, 1.0, images, torch.zeros(0))
    assert outputs.steps
    inputs = 3072 // steps
    sequence = images.view(6, 3, steps, inputs // 3).transpose(1, 2).flatten(2)
    if steps == 32:
        assert torch.equal(sequence[:, 7, 32:64], images[:, 1, 7])
    theirs = THEIRS[cell](inputs, 5, bias=bias, batch_first=True).double()
    w, u, *rest = tensors_of(parameters.detach(), layers)
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(w)
        theirs.weight_hh_l0.copy_(u)
        if bias:
            theirs.bias_ih_l0.copy_(rest[0])
            theirs.bias_hh_l0.zero_()
    every, last = theirs(sequence)
    ours = torch.stack([state[0] for state in outputs.steps.states], 1)
    assert torch.allclose(ours, every, rtol=1e-12, atol=1e-14)
    if cell == "lstm":
        assert torch.allclose(outputs.steps.states[-1][1], last[1][0], rtol=1e-12, atol=1e-14)
    *_, weight, output_bias = rest if bias else (*rest, None)
    logits = F.linear(every[:, -1], weight, output_bias)
    assert torch.allclose(outputs.logits, logits, rtol=1e-12, atol=1e-14)
    F.cross_entropy(logits, labels).backward()
    F.cross_entropy(outputs.logits, labels).backward()
    own = [theirs.weight_ih_l0.grad, theirs.weight_hh_l0.grad, *([theirs.bias_ih_l0.grad] if bias else [])]
    expected = torch.cat([gradient.flatten() for gradient in own])
    assert parameters.grad is not None
    assert torch.allclose(parameters.grad[: len(expected)], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("scaling, scaled_gates", [*product(["rescaled", "naive"], [False, True])])
@pytest.mark.parametrize("activation", FUNCTIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_the_equations_with_any_activation_and_alpha(
    cell: str, activation: str, scaling: str, scaled_gates: bool
) -> None:
    fields = {"cell": cell, "activation": activation, "scaling": scaling, "scaled_gates": scaled_gates, "alpha": 1.7}
    member = member_of("recurrent", steps=8, units=4, **fields)
    layers, parameters = layers_of(member, 10), started(member)
    images, _ = images_and_labels()
    outputs = forward(layers, member, parameters, member.alpha, images, torch.zeros(0))
    assert outputs.steps
    for ours, theirs in zip(outputs.steps.states, by_hand(member, tensors_of(parameters, layers), images), strict=True):
        for part, their_part in zip(ours, theirs, strict=True):
            assert torch.allclose(part, their_part, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_saturation_is_of_the_arguments_of_the_activation_at_every_step(cell: str) -> None:
    """Of the RNN's only one, the LSTM's g and the GRU's n."""
    member = member_of("recurrent", cell=cell, steps=4, units=6, alpha=1.5, init_scale=6.0)
    layers = layers_of(member, 10)
    state = initial_state(member, layers)
    engine = ReferenceEngine(layers, TINY, "cpu", 1)
    (probe,) = engine.probe([state])
    images = Images(TINY, "probe", torch.device("cpu")).take(np.arange(70), "unit")[0].double()
    tensors = tensors_of(torch.from_numpy(state.parameters).double(), layers)
    w, u, b = tensors[:3]
    before = [torch.zeros(70, 6, dtype=torch.float64)]
    before += [after[0] for after in by_hand(member, tensors, images)][:-1]
    flat = []
    for t, h in enumerate(before):
        x = images.flatten(2)[:, :, t * 256 : (t + 1) * 256].flatten(1)
        z, r = x @ w.T + b, h @ u.T
        if cell == "rnn":
            argument = z + r
        elif cell == "lstm":
            argument = (z + r)[:, 12:18]
        else:
            argument = z[:, 12:] + torch.sigmoid(z[:, :6] + r[:, :6]) * r[:, 12:]
        flat.append(1 - torch.tanh(argument / 1.5) ** 2 < 0.01)
    expected = torch.stack(flat, 1)  # (images, steps, units)
    assert 0.02 < float(expected.double().mean()) < 0.98
    assert probe.saturated[0] == pytest.approx(float(expected.double().mean()), abs=0.005)
    assert probe.dead[0] == pytest.approx(float(expected.all(0).double().mean()), abs=0.05)
    assert probe.saturated[1] == probe.dead[1] == 0
    assert places(layers)[0].units == 4 * 6


@pytest.mark.parametrize("learn_alpha", ["none", "network", "layer"])
@pytest.mark.parametrize("activation", ["prelu", "rrelu", "tanh"])
@pytest.mark.parametrize("cell", CELLS)
def test_steps_of_training_are_autograds(cell: str, activation: str, learn_alpha: str) -> None:
    """With learned alphas and slopes and random ones, drawn by the step within the layer: alone and in an array."""
    common = {"cell": cell, "activation": activation, "learn_alpha": learn_alpha, "scaled_gates": True, "clip": 0.05}
    common |= {"steps": 4, "units": 3, "dense": 1, "scaling": "naive", "penalized": "weights"}
    members = [member_of("recurrent", seed=seed, alpha=alpha, r=0.1, **common) for seed, alpha in ((1, 1.3), (2, 0.8))]
    layers = layers_of(members[0], 10)
    states = [initial_state(m, layers) for m in members]
    together = in_doubles(Array(layers, states, torch.device("cpu")))
    images, labels = images_and_labels(10)
    batch, of_labels = images.view(2, 5, *IMAGE), labels.view(2, 5)
    gradients, losses, _ = together.gradients(batch, of_labels)
    for i, (member, state) in enumerate(zip(members, states, strict=True)):
        parameters = torch.from_numpy(state.parameters).double().requires_grad_()
        shapes = dict(enumerate(tensors_of(parameters, layers)))
        names = ["w", "u", "b", *(["alpha"] if learn_alpha != "none" else []), *(["slope"] * (activation == "prelu"))]
        names += ["dense", "dense_bias", *(["alpha2"] if learn_alpha == "layer" else [])]
        names += [*(["slope2"] * (activation == "prelu")), "output", "output_bias"]
        own: dict[str, Any] = dict(zip(names, shapes.values(), strict=True))
        alpha = own.get("alpha", member.alpha)

        def f(z: Tensor, slope: Any, alpha: Any) -> Tensor:
            return alpha * (torch.tanh(z) if activation == "tanh" else torch.where(z > 0, z, slope * z))

        def drawn(depth: int, count: int, member: MemberConfig = member) -> Any:
            key = slope_key(member.seed)
            numbers = torch.arange(5 * count).view(5, count)
            return 1 / 8 + (1 / 3 - 1 / 8) * (uniform(key, 0, depth, numbers) / 2**24)

        random = activation == "rrelu"
        first = drawn(1, 4 * 3).view(5, 4, 3) if random else own.get("slope")
        second = drawn(2, 3) if random else own.get("slope2")
        state_now = [torch.zeros(5, 3, dtype=torch.float64)] * 2
        for t in range(4):
            slope = first[:, t] if random else first
            x = batch[i].flatten(2)[:, :, t * 256 : (t + 1) * 256].flatten(1)
            z, r = x @ own["w"].T + own["b"], state_now[0] @ own["u"].T
            s = [alpha * torch.sigmoid(part) for part in (z + r).split(3, 1)]
            if cell == "rnn":
                state_now[0] = f(z + r, slope, alpha)
            elif cell == "lstm":
                state_now[1] = s[1] * state_now[1] + s[0] * f((z + r)[:, 6:9], slope, alpha)
                state_now[0] = s[3] * f(state_now[1], slope, alpha)
            else:
                n = f(z[:, 6:] + s[0] * r[:, 6:], slope, alpha)
                state_now[0] = (1 - s[1]) * n + s[1] * state_now[0]
        hidden = f(F.linear(state_now[0], own["dense"], own["dense_bias"]), second, own.get("alpha2", alpha))
        loss = F.cross_entropy(F.linear(hidden, own["output"], own["output_bias"]), of_labels[i])
        penalty = sum(own[name].square().sum() for name in ("w", "u", "dense", "output")) * 0.05
        (expected,) = torch.autograd.grad(loss + penalty, parameters)
        alone = in_doubles(Array(layers, [state], torch.device("cpu")))
        single, own_loss, _ = alone.gradients(batch[i : i + 1], of_labels[i : i + 1])
        for ours in (gradients[i], single[0]):
            assert torch.allclose(ours, expected, rtol=1e-8, atol=1e-10)
        assert float(losses[i]) == pytest.approx(float(loss.detach())) == pytest.approx(float(own_loss[0]))


# ---- shapes and what is refused


@pytest.mark.parametrize("cell, gates", [("rnn", 1), ("lstm", 4), ("gru", 3)])
def test_shapes_places_and_multiply_adds(cell: str, gates: int) -> None:
    layers = network("recurrent", cell=cell, steps=16, units=7, dense=1)
    rows = gates * 7
    assert tensor_shapes(layers)[:3] == ((rows, 192), (rows, 7), (rows,))
    assert output_shapes(layers) == [(7,), (7,), (10,)]
    assert [(p.name, p.depth, p.kind, p.units) for p in places(layers)] == [
        ("recurrent", 1, "recurrent", 16 * 7),
        ("dense1", 2, "dense", 7),
        ("output", 3, "dense", 0),
    ]
    assert multiply_adds(layers) == [16 * rows * (192 + 7), 49, 70]


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"steps": 48}, "layer recurrent: steps must divide the 1024 pixels of an image, but got 48"),
        ({"steps": 2048}, "steps <= 1024 must hold, but got 2048"),
        ({"blocks": 1}, "blocks must be 0 where cell is 'rnn', but got 1"),
        ({"normalization": "layer"}, "normalization must be none where cell is 'rnn', but got 'layer'"),
        ({"cell": "elman"}, "cell must be one of none, rnn, lstm, gru, but got 'elman'"),
        ({"forget_bias": -1.0}, "forget_bias >= 0 must hold and be finite, but got -1.0"),
        ({"scaled_gates": 1}, "scaled_gates must be true or false, but got 1"),
        ({"recurrent_initialization": "eye"}, "recurrent_initialization must be one of same, orthogonal, identity"),
    ],
)
def test_what_cannot_be_built_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MemberConfig(regime="recurrent", **fields)


def test_a_recurrent_layer_reads_images_alone() -> None:
    with pytest.raises(ValueError, match="layer r: a recurrent layer needs images, and can't follow a dense layer"):
        output_shapes((Recurrent("q"), Recurrent("r")))


def test_any_regime_without_blocks_can_have_a_cell() -> None:
    layers = layers_of(MemberConfig(regime="mlp", cell="gru", residual=True), 10)
    assert [layer.name for layer in layers] == ["recurrent", "dense1", "dense2", "output"]
    assert [layer.residual for layer in layers] == [False, True, True, False]
    assert layers_of(MemberConfig(regime="mlp"), 10) == layers_of(MemberConfig(regime="mlp", steps=4), 10)


def test_the_cuda_engine_says_that_it_has_none() -> None:
    reason = "layer recurrent: the cuda engine does not have layers of the kind 'recurrent'"
    assert unsupported(MemberConfig(regime="recurrent"), "cuda") == reason


# ---- initial values

BASE = MemberConfig(regime="recurrent", units=24)


def initial(member: MemberConfig) -> list[np.ndarray]:
    layers = layers_of(member, 10)
    parameters = torch.from_numpy(initial_state(member, layers, TINY).parameters)
    return [tensor.numpy() for tensor in tensors_of(parameters, layers)]


@pytest.mark.parametrize("cell", CELLS)
def test_each_gates_weights_have_fans_of_their_own(cell: str) -> None:
    gates = CELLS[cell].gates
    values = [initial(replace(BASE, cell=cell, initialization="glorot_normal", seed=seed)) for seed in range(20)]
    w, u = (np.stack([of_seed[i] for of_seed in values]) for i in (0, 1))
    assert w.std() == pytest.approx(np.sqrt(2 / (96 + 24)), rel=0.02)
    assert u.std() == pytest.approx(np.sqrt(2 / (24 + 24)), rel=0.03)
    w, u, *_ = initial(replace(BASE, cell=cell, initialization="orthogonal", init_scale=2.0))
    for gate in range(gates):
        of_w, of_u = (part[gate * 24 : (gate + 1) * 24] / 2 for part in (w, u))
        assert np.allclose(of_w @ of_w.T, np.eye(24), atol=1e-6) and np.allclose(of_u @ of_u.T, np.eye(24), atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("kind", RECURRENT)
def test_recurrent_weights_of_their_own_leave_all_else_as_it_is(kind: str, cell: str) -> None:
    same = initial(replace(BASE, cell=cell, init_scale=0.5))
    own = initial(replace(BASE, cell=cell, init_scale=0.5, recurrent_initialization=kind))
    assert all(np.array_equal(a, b) for i, (a, b) in enumerate(zip(same, own, strict=True)) if i != 1)
    blocks = own[1].reshape(CELLS[cell].gates, 24, 24)
    if kind == "same":
        assert np.array_equal(same[1], own[1])
    elif kind == "identity":
        assert np.array_equal(blocks, np.stack([0.5 * np.eye(24)] * len(blocks)))
    else:
        assert all(np.allclose(4 * block @ block.T, np.eye(24), atol=1e-6) for block in blocks)
        assert len({block.tobytes() for block in blocks}) == len(blocks)
        other = initial(replace(BASE, cell=cell, recurrent_initialization=kind, init_scale=0.5, seed=1))
        assert not np.array_equal(own[1], other[1])


@pytest.mark.parametrize("kind", ["orthogonal", "identity"])
def test_a_scale_that_is_no_factor_leaves_them_alone(kind: str) -> None:
    """The network of Le et al. (2015): input weights of deviation 0.001, and the identity between steps."""
    member = replace(BASE, initialization="normal", init_scale=0.001, bias_scale=0.0, recurrent_initialization=kind)
    w, u, b, *_ = initial(member)
    assert w.std() == pytest.approx(0.001, rel=0.05) and not b.any()
    assert np.allclose(u @ u.T, np.eye(24), atol=1e-6)


@pytest.mark.parametrize("bias_scale", [None, 0.3])
def test_the_forget_bias_is_added_to_the_forget_gates_bias(bias_scale: float | None) -> None:
    member = replace(BASE, cell="lstm", bias_scale=bias_scale)
    none, default, two = (initial(replace(member, forget_bias=value)) for value in (0.0, None, 2.0))
    for tensors, value in ((default, 1.0), (two, 2.0)):
        assert np.allclose((tensors[2] - none[2]).reshape(4, 24), np.array([0, value, 0, 0])[:, None], atol=1e-6)
        assert all(np.array_equal(a, b) for i, (a, b) in enumerate(zip(none, tensors, strict=True)) if i != 2)
    assert bool(none[2].any()) == (bias_scale is not None)


def test_without_a_forget_gates_bias_there_is_no_forget_bias() -> None:
    assert MemberConfig(regime="recurrent", cell="lstm").forget_bias == 1.0
    for fields in ({"cell": "gru"}, {"cell": "lstm", "dense_bias": False}, {"regime": "mlp"}):
        member = MemberConfig(**{"regime": "recurrent", "forget_bias": 2.0} | fields)
        assert member.forget_bias is None and member == replace(member, forget_bias=3.0)


@pytest.mark.parametrize("cell", CELLS)
def test_lsuv_calibrates_what_the_steps_read_and_leaves_the_recurrent_weights_orthogonal(cell: str) -> None:
    member = replace(BASE, cell=cell, initialization="lsuv", init_scale=0.7)
    assert INITIALIZATIONS["lsuv"].calibrated
    w, u, b, *_ = (torch.from_numpy(tensor).double() for tensor in initial(member))
    images = Images(TINY, "probe", torch.device("cpu")).take(np.arange(70), "unit")[0].double()
    layer = layers_of(member, 10)[0]
    assert float(layer.forward(images, iter((w, u, torch.zeros_like(b)))).std(correction=0)) == pytest.approx(
        0.7, rel=1e-5
    )
    for block in u.split(24):
        assert torch.allclose(block @ block.T, 0.49 * torch.eye(24, dtype=torch.float64), atol=1e-6)


# ---- what it is timed against


@pytest.mark.parametrize("cell", CELLS)
def test_the_bench_times_pytorchs_own_module(cell: str) -> None:
    member = member_of("recurrent", cell=cell, units=5, steps=16)
    module = plain_module(member)
    own = next(m for m in module.modules() if isinstance(m, THEIRS[cell]))
    parameters = initial_state(member, layers_of(member, 10)).parameters
    w, u, b, weight, bias = tensors_of(torch.from_numpy(parameters), layers_of(member, 10))
    with torch.no_grad():
        for theirs, ours in zip(own.parameters(), (w, u, b, torch.zeros_like(b)), strict=True):
            theirs.copy_(ours)
        module[-1].weight.copy_(weight)
        module[-1].bias.copy_(bias)
    images = images_and_labels()[0].float()
    logits = forward(layers_of(member, 10), member, torch.from_numpy(parameters), 1.0, images, torch.zeros(0)).logits
    assert torch.allclose(module(images), logits, atol=1e-5)
    with pytest.raises(RuntimeError, match="PyTorch's recurrent modules have tanh alone, and no alpha"):
        plain_module(replace(member, alpha=2.0))


def test_a_training_step_has_gradients_of_all_but_the_image() -> None:
    layers = network("recurrent", cell="gru", steps=16, units=7)
    read, between, output = 16 * 21 * 192, 16 * 21 * 7, 70
    assert of_a_step(layers) == 2 * read + 3 * (between + output)
