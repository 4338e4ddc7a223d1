"""Any network against the same one as PyTorch's modules, written from a member's fields alone: in double precision."""

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.trainers.test_engines import TINY, member_of, training_of
from tests.trainers.test_steps import in_doubles
from trainers.activations import ACTIVATIONS, SCALINGS
from trainers.layers import NORMALIZATIONS, places
from trainers.losses import LOSSES
from trainers.members import CONVOLUTIONS, LEARN_ALPHA, MemberConfig, layers_of
from trainers.optimizers import OPTIMIZERS
from trainers.penalties import PENALIZED, PENALTIES
from trainers.reference import Array, Images, ReferenceEngine, forward
from trainers.regimes import network
from trainers.states import initial_state
from trainers.streams import slope_key, uniform

PLAIN = {
    "arctan": torch.arctan,
    "leaky_relu": lambda z, slope: torch.where(z > 0, z, slope * z),
    "elu": lambda z, slope: torch.where(z > 0, z, slope * torch.expm1(z.clamp(max=0))),
    "identity": lambda z: z,
}
PLAIN |= dict.fromkeys(("prelu", "rrelu"), PLAIN["leaky_relu"])
PLAIN |= {name: getattr(F, name) for name in ACTIVATIONS if name not in PLAIN}


class DynamicTanh(nn.Module):
    """Zhu et al. 2025."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.tensor(0.5))
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.alpha * x).movedim(1, -1).mul(self.weight).add(self.bias).movedim(-1, 1)


class Unit(nn.Module):
    """A convolution or dense layer with its normalization and activation, and its input added."""

    def __init__(self, member: MemberConfig, deep: nn.Module, incoming: int, outgoing: int, first: bool) -> None:
        super().__init__()
        image = not isinstance(deep, nn.Linear)
        self.member, self.deep, self.depth, self.step = member, deep, 0, 0
        self.residual = bool(member.residual) and incoming == outgoing
        normalizations: dict[str, Any] = {
            "batch": nn.BatchNorm2d if image else nn.BatchNorm1d,
            "layer": (lambda n: nn.GroupNorm(1, n)) if image else nn.LayerNorm,
            "dynamic_tanh": DynamicTanh,
            "none": lambda n: nn.Identity(),
        }
        self.normalization = normalizations[str(member.normalization)](outgoing)
        learns = member.learn_alpha == "layer" or (first and member.learn_alpha == "network")
        self.alpha = nn.Parameter(torch.tensor(member.alpha)) if learns else None
        learned = ACTIVATIONS[member.activation].learned
        self.slope = nn.Parameter(torch.tensor(member.slope)) if learned else None

    def forward(self, x: Tensor, alpha: Tensor) -> Tensor:
        z = self.normalization(self.deep(x))
        slope = member_slope = self.member.slope
        if self.slope is not None:
            slope = self.slope
        if self.member.activation == "rrelu" and self.training:
            key = slope_key(self.member.seed)
            drawn = uniform(key, self.step, self.depth, torch.arange(z.numel()).view(z.shape))
            slope = 1 / 8 + (1 / 3 - 1 / 8) * (drawn / 2**24)
        u = z / alpha if self.member.scaling == "rescaled" else z
        f = PLAIN[self.member.activation]
        z = alpha * (f(u) if member_slope is None else f(u, slope))
        return z + x if self.residual else z


class Plain(nn.Module):
    """A member's whole network."""

    def __init__(self, member: MemberConfig) -> None:
        super().__init__()
        self.member, self.units = member, nn.ModuleList()
        channels, side = 3, 32
        for block in range(member.blocks):
            for i in range(member.convolutions):
                self.units.append(self.convolution(channels, block == i == 0))
                channels = member.channels
            self.units.append(nn.MaxPool2d(2))
            side //= 2
        width = channels * side**2
        for i in range(member.dense):
            deep = nn.Linear(width, member.units, bias=bool(member.dense_bias))
            # an image is no row of units, whatever its size
            unit = Unit(member, deep, width if i else 0, member.units, i == 0 and not member.blocks)
            self.units.append(unit)
            width = member.units
        self.output = nn.Linear(width, 10, bias=bool(member.dense_bias))
        for depth, unit in enumerate((u for u in self.units if isinstance(u, Unit)), 1):
            unit.depth = depth
        self.double()

    def convolution(self, incoming: int, first: bool) -> Unit:
        outgoing = self.member.channels
        if self.member.convolution == "plain":
            deep: nn.Module = nn.Conv2d(incoming, outgoing, 3, padding=1, bias=False)
        else:
            depthwise = nn.Conv2d(incoming, incoming, 3, padding=1, groups=incoming, bias=False)
            deep = nn.Sequential(depthwise, nn.Conv2d(incoming, outgoing, 1, bias=False))
        return Unit(self.member, deep, incoming, outgoing, first)

    def tensors(self) -> list[nn.Parameter]:
        """In our order: a layer's own, what its normalization learns, alpha, slope."""
        ordered: list[nn.Parameter | None] = []
        for unit in self.units:
            if isinstance(unit, Unit):
                ordered += [*unit.deep.parameters(), *unit.normalization.parameters(), unit.alpha, unit.slope]
        return [p for p in ordered if p is not None] + list(self.output.parameters())

    def running(self) -> Tensor:
        """The running statistics, flat."""
        kept = [
            (m.running_mean, m.running_var) for m in self.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)
        ]
        return torch.cat([t.detach().clone() for pair in kept for t in pair] + [torch.zeros(0, dtype=torch.float64)])

    def load(self, vector: Tensor) -> None:
        sizes = [p.numel() for p in self.tensors()]
        assert sum(sizes) == len(vector)
        with torch.no_grad():
            for p, values in zip(self.tensors(), vector.split(sizes), strict=True):
                p.copy_(values.view(p.shape))

    def forward(self, x: Tensor) -> Tensor:
        alpha = torch.tensor(self.member.alpha, dtype=torch.float64)
        for unit in self.units:
            if isinstance(unit, nn.MaxPool2d):
                x = unit(x)
                continue
            if isinstance(unit.deep, nn.Linear):
                x = x.flatten(1)
            alpha = alpha if unit.alpha is None else unit.alpha
            x = unit(x, alpha)
        return self.output(x.flatten(1))

    def objective(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What is minimized, the loss, and how many are classified correctly."""
        member, logits = self.member, self(images)
        targets = F.one_hot(labels, 10).double()
        loss = F.cross_entropy(logits, labels) if member.loss == "cross_entropy" else F.mse_loss(logits, targets)
        return loss + self.penalty(), loss, (logits.argmax(1) == labels).sum()

    def penalty(self) -> Tensor:
        member = self.member
        deep = [p for p in self.tensors() if member.penalized == "all" or p.dim() > 1]
        flat = torch.cat([p.flatten() for p in deep])
        size = {"l1": flat.abs().sum(), "l2": flat.square().sum() / 2, "decoupled": torch.zeros(())}[member.penalty]
        return member.r * size


common = st.fixed_dictionaries(
    {
        "blocks": st.integers(0, 2),
        "convolutions": st.integers(1, 2),
        "channels": st.integers(1, 4),
        "dense": st.integers(0, 2),
        "units": st.integers(1, 6),
        "normalization": st.sampled_from(["none", *NORMALIZATIONS]),
        "residual": st.booleans(),
        "convolution": st.sampled_from(CONVOLUTIONS),
        "dense_bias": st.booleans(),
        "activation": st.sampled_from(list(ACTIVATIONS)),
        "scaling": st.sampled_from(SCALINGS),
        "learn_alpha": st.sampled_from(list(LEARN_ALPHA)),
        "slope": st.one_of(st.none(), st.floats(0, 2)),
        "loss": st.sampled_from(list(LOSSES)),
        "penalty": st.sampled_from(list(PENALTIES)),
        "penalized": st.sampled_from(list(PENALIZED)),
        "optimizer": st.sampled_from(list(OPTIMIZERS)),
        "clip": st.sampled_from([0.0, 0.5]),
    }
)
own = st.fixed_dictionaries({"alpha": st.floats(0.5, 3), "r": st.floats(0, 0.1), "seed": st.integers(0, 2**40)})


def started(members: list[MemberConfig], seed: int) -> Array:
    """An array of members in double precision, at values that leave nothing at 0 or 1."""
    layers, random = layers_of(members[0], 10), np.random.default_rng(seed)
    states = []
    for member in members:
        state = initial_state(member, layers)
        noise = random.normal(size=state.parameters.shape) * 0.1
        states.append(replace(state, parameters=(state.parameters + noise).astype(np.float32)))
    return in_doubles(Array(layers, states, torch.device("cpu")))


@settings(max_examples=60)
@given(common=common, own=st.lists(own, min_size=1, max_size=3), seed=st.integers(0, 99))
def test_two_steps_of_any_network_are_those_of_pytorchs_modules(
    common: dict[str, Any], own: list[dict[str, Any]], seed: int
) -> None:
    """Alone, and as one of a batched array: gradients, losses, hits, running statistics, then evaluation."""
    members = [MemberConfig(initialization="he_normal", **common, **fields) for fields in own]
    random = torch.Generator().manual_seed(seed)
    images = torch.rand(2, len(members), 5, 3, 32, 32, generator=random, dtype=torch.float64)
    labels = torch.randint(0, 10, (2, len(members), 5), generator=random)
    rates = torch.full((len(members), 1), 0.01, dtype=torch.float64)
    together = started(members, seed)
    alone = [started([m], seed) for m in members]
    plain = [Plain(m) for m in members]
    for one, module, parameters in zip(alone, plain, together.parameters, strict=True):
        one.parameters = parameters[None].clone()
        module.load(parameters)
    for step in range(2):
        batched = together.gradients(images[step], labels[step])
        together.update(batched[0], rates)
        for i, (one, module) in enumerate(zip(alone, plain, strict=True)):
            for unit in module.units:
                unit.step = step
            module.load(one.parameters[0])
            value, loss, hits = module.train().objective(images[step, i], labels[step, i])
            gradient = torch.cat([g.flatten() for g in torch.autograd.grad(value, module.tensors())])
            single = one.gradients(images[step, i : i + 1], labels[step, i : i + 1])
            for ours in (single, [part[i : i + 1] for part in batched]):
                close(ours[0][0], gradient)
                close(ours[1], loss[None])
                assert int(ours[2]) == int(hits)
            one.update(single[0], rates[:1])
            for array, at in ((one, 0), (together, i)):
                close(array.buffers[at], module.running())
            close(together.parameters[i], one.parameters[0], 1e-7)
    for i, (one, module) in enumerate(zip(alone, plain, strict=True)):
        module.load(one.parameters[0])
        alpha = members[i].alpha
        ours = forward(one.layers, members[i], one.parameters[0], alpha, images[0, i], one.buffers[0]).logits
        close(ours, module.eval()(images[0, i]))


def close(ours: Tensor, theirs: Tensor, within: float = 1e-9) -> None:
    theirs = theirs.detach()
    size = float(theirs.abs().max()) if theirs.numel() else 0.0
    assert ours.shape == theirs.shape
    assert torch.allclose(ours, theirs, rtol=within, atol=within * max(1.0, size))


# ---- what a learned alpha's gradient is


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("learn_alpha", ["network", "layer"])
@pytest.mark.parametrize("name", ["tanh", "softplus", "elu"])
def test_a_learned_alphas_gradient(name: str, learn_alpha: str, scaling: str) -> None:
    """a = alpha f(u), u = z / alpha: dL/d alpha is the sum of (f(u) - u f'(u)) dL/da. Naive, u = z: of f(u) dL/da."""
    member = MemberConfig(regime="mlp", units=6, activation=name, learn_alpha=learn_alpha, scaling=scaling, alpha=1.7)
    array = started([member], 3)
    placed = {place.name: place for place in places(array.layers)}
    own = [placed[n].learned.get("alpha") for n in ("dense1", "dense2")]
    assert [where is not None for where in own] == [True, learn_alpha == "layer"]
    images, labels = torch.rand(1, 8, 3, 32, 32, dtype=torch.float64), torch.arange(8)[None]
    gradient, _, _ = array.gradients(images, labels)

    module, f = Plain(member), PLAIN[name]
    parameter = () if member.slope is None else (member.slope,)
    module.load(array.parameters[0])
    first, second = module.units
    sums, values = [], []
    x, alpha = images[0].flatten(1), None
    for unit in (first, second):
        alpha = unit.alpha if unit.alpha is not None else alpha
        z = unit.deep(x)
        u = (z / alpha if scaling == "rescaled" else z).detach().requires_grad_()
        slope = torch.autograd.grad(f(u, *parameter).sum(), u)[0]
        x = alpha * f(z / alpha if scaling == "rescaled" else z, *parameter)
        x.retain_grad()
        values.append(x)
        sums.append(f(u, *parameter) - u * slope if scaling == "rescaled" else f(u, *parameter))
    F.cross_entropy(module.output(x), labels[0]).backward()
    parts = [float((s.detach() * a.grad).sum()) for s, a in zip(sums, values, strict=True)]
    expected = parts if learn_alpha == "layer" else [sum(parts)]
    # retained gradients of the first layer hold what comes through the second
    ours = [float(gradient[0, where.start]) for where in own if where]
    assert ours == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("learn_alpha, layers", [("network", ["dense1"]), ("layer", ["dense1", "dense2"])])
def test_what_is_learned_is_recorded(learn_alpha: str, layers: list[str]) -> None:
    fields = {"learn_alpha": learn_alpha, "alpha": 2.0, "activation": "prelu", "scaling": "naive"}
    member = member_of("mlp", units=8, epochs=1, init_scale=0.5, **fields)
    of = layers_of(member, 10)
    training = training_of([initial_state(member, of)], ReferenceEngine(of, TINY, "cpu", 1))
    first, last = training
    (state,) = training.state()
    where = {place.name: place.learned for place in places(of)}
    for record, alpha, slope in ((first, 2.0, 0.25), (last, None, None)):
        known = [name for name in record.metrics if name.endswith("learned.alpha")]
        assert known == ["learned.alpha", *(f"layer.{layer}.learned.alpha" for layer in layers)]
        for what, value in (("alpha", alpha), ("slope", slope)):
            of_layers = [layer for layer in where if what in where[layer]]
            expected = [value or float(state.parameters[where[layer][what].start]) for layer in of_layers]
            assert [record.metrics[f"layer.{layer}.learned.{what}"] for layer in of_layers] == expected
            assert record.metrics[f"learned.{what}"] == pytest.approx(np.mean(expected))
    assert last.metrics["learned.alpha"] != 2.0 and last.metrics["learned.slope"] != 0.25


# ---- regimes and inputs


def test_the_regimes_beyond_the_papers() -> None:
    def sizes(regime: str) -> list[int]:
        placed = places(network(regime))
        return [sum(map(prod, p.tensors)) + sum(s.stop - s.start for s in p.learned.values()) for p in placed]

    assert sizes("mlp") == [3072 * 64 + 64, 64 * 64 + 64, 64 * 10 + 10]
    assert sizes("deep") == [3072 * 32 + 32, *[32 * 32 + 32] * 19, 32 * 10 + 10]
    of_batch = 2 * 16
    assert sizes("resnet") == [27 * 16 + of_batch, *[144 * 16 + of_batch] * 8, 16 * 4 * 4 * 10 + 10]
    assert sizes("recurrent") == [32 * 96 + 32 * 32 + 32, 32 * 10 + 10]
    # the first one's input has 3 channels, and a pooling's output another size
    residual = [layer.name for layer in network("resnet") if layer.residual]
    assert residual == [f"conv{i}" for i in range(2, 10)]


def test_the_inputs() -> None:
    images = {
        name: Images(TINY, "train", torch.device("cpu")).take(np.arange(70), name)[0] for name in ("unit", "bytes")
    }
    pixels = TINY.train.images.astype(np.float32)
    assert np.array_equal(images["bytes"].numpy(), pixels)
    assert np.array_equal(images["unit"].numpy(), pixels / np.float32(255))
    standardized, _ = Images(TINY, "train", torch.device("cpu")).take(np.arange(70), "standardized")
    assert standardized.mean((0, 2, 3)).tolist() == pytest.approx([0] * 3, abs=1e-5)
    assert standardized.std((0, 2, 3), correction=0).tolist() == pytest.approx([1] * 3, abs=1e-5)
    # of the training split whatever is looked at
    mean, deviation = (pixels / 255).mean((0, 2, 3)), (pixels / 255).std((0, 2, 3))
    test, _ = Images(TINY, "test", torch.device("cpu")).take(np.array([3]), "standardized")
    expected = (TINY.test.images[3] / 255 - mean[:, None, None]) / deviation[:, None, None]
    assert np.allclose(test[0].numpy(), expected, atol=1e-4)
