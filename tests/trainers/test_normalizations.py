"""The normalizations against PyTorch's own layers, with gradients, in double precision."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from trainers.layers import NORMALIZATIONS
from trainers.layers.normalization import MOMENTUM

SHAPES = [(6, 4, 5, 3), (6, 7)]
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=["images", "units"])


def drawn(shape: tuple[int, ...], seed: int) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=random, dtype=torch.float64) * 2 + 1


def parameters_of(name: str, shape: tuple[int, ...]) -> dict[str, Tensor]:
    shapes = NORMALIZATIONS[name].parameters(shape[1:])
    return {key: drawn(own, i).requires_grad_() for i, (key, (own, _)) in enumerate(shapes.items())}


def agree(ours: Tensor, theirs: Tensor, to: list[Tensor], also: list[Tensor]) -> None:
    """Values, and gradients by `to` of ours and `also` of theirs."""
    assert torch.allclose(ours, theirs, rtol=1e-12, atol=1e-12)
    weights = drawn(tuple(ours.shape), 9)
    pairs = zip(
        torch.autograd.grad((ours * weights).sum(), to),
        torch.autograd.grad((theirs * weights).sum(), also),
        strict=True,
    )
    assert all(torch.allclose(one, other, rtol=1e-10, atol=1e-11) for one, other in pairs)


def module_of(make: Callable[[], nn.Module], parameters: dict[str, Tensor]) -> nn.Module:
    module = make().double()
    with torch.no_grad():
        module.weight.copy_(parameters["scale"])
        module.bias.copy_(parameters["shift"])
    return module


@every_shape
def test_batch_is_pytorchs_in_training_and_in_evaluation(shape: tuple[int, ...]) -> None:
    parameters = parameters_of("batch", shape)
    module = module_of(lambda: (nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d)(shape[1]), parameters)
    running = {
        name: torch.full(own, start, dtype=torch.float64)
        for name, (own, start) in NORMALIZATIONS["batch"].buffers(shape[1:]).items()
    }
    for seed in range(3):
        x = drawn(shape, seed).requires_grad_()
        ours, of_batch = NORMALIZATIONS["batch"].forward(x, parameters, None)
        agree(ours, module(x), [x, *parameters.values()], [x, module.weight, module.bias])
        running = {name: torch.lerp(running[name], of_batch[name], MOMENTUM) for name in running}
        assert torch.allclose(running["mean"], module.running_mean, rtol=1e-12)
        assert torch.allclose(running["variance"], module.running_var, rtol=1e-12)
    x = drawn(shape, 4).requires_grad_()
    ours, _ = NORMALIZATIONS["batch"].forward(x, parameters, running)
    agree(ours, module.eval()(x), [x, *parameters.values()], [x, module.weight, module.bias])


@every_shape
def test_layer_is_pytorchs(shape: tuple[int, ...]) -> None:
    """All channels and pixels of an image as one group."""
    parameters = parameters_of("layer", shape)
    make = {4: lambda: nn.GroupNorm(1, shape[1]), 2: lambda: nn.LayerNorm(shape[1])}[len(shape)]
    module = module_of(make, parameters)
    x = drawn(shape, 3).requires_grad_()
    ours, kept = NORMALIZATIONS["layer"].forward(x, parameters, None)
    agree(ours, module(x), [x, *parameters.values()], [x, module.weight, module.bias])
    assert not kept and not NORMALIZATIONS["layer"].buffers(shape[1:])


@every_shape
def test_dynamic_tanh_is_the_papers(shape: tuple[int, ...]) -> None:
    """Zhu et al. 2025, DyT(x) = gamma tanh(alpha x) + beta, alpha 0.5 at first."""
    assert NORMALIZATIONS["dynamic_tanh"].parameters(shape[1:]) == {
        "dynamic_alpha": ((), 0.5),
        "scale": (shape[1:2], 1.0),
        "shift": (shape[1:2], 0.0),
    }
    parameters = parameters_of("dynamic_tanh", shape)
    alpha, gamma, beta = parameters.values()
    x = drawn(shape, 3).requires_grad_()
    ours, _ = NORMALIZATIONS["dynamic_tanh"].forward(x, parameters, None)
    theirs = torch.tanh(alpha * x).movedim(1, -1).mul(gamma).add(beta).movedim(-1, 1)
    agree(ours, theirs, [x, *parameters.values()], [x, *parameters.values()])


def test_a_batch_of_one_image_is_its_shift() -> None:
    """The last of an epoch may be one, whose units have no variance; PyTorch refuses it."""
    parameters = parameters_of("batch", (1, 7))
    x = drawn((1, 7), 0).requires_grad_()
    ours, kept = NORMALIZATIONS["batch"].forward(x, parameters, None)
    assert torch.equal(ours[0], parameters["shift"])
    assert torch.equal(kept["mean"], x[0].detach()) and not kept["variance"].any()
    assert not torch.autograd.grad(ours.sum(), x)[0].any()
