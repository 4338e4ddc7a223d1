"""A trained network as PyTorch knows one: its layers as modules, and what `gradsweep weights` writes of a member.

    >>> file = torch.load("1-paper-seed0.pt", weights_only=True)
    >>> model = sequential(file["layers"]).eval()
    >>> model.load_state_dict(file["state_dict"])
    >>> model((images / 255)[:5]).argmax(1)      # where `input` is unit

Modules are those of torch.nn where PyTorch has them (Conv2d, Linear, Tanh, BatchNorm2d, ...), else the four classes of
this file. The softmax is in the loss. A module is described by three plain values: its name in the network, its class,
and the arguments of that.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from io import BytesIO
from typing import Any

import torch
from torch import Tensor, nn

from trainers import layers as kinds
from trainers import plugins
from trainers.activations import ACTIVATIONS, activation
from trainers.data.dataset import Dataset
from trainers.layers import (
    IMAGE,
    NORMALIZATIONS,
    Convolution,
    Dense,
    Layer,
    Pooling,
    Shape,
    output_shapes,
    parameter_count,
)
from trainers.layers.normalization import EPSILON, MOMENTUM
from trainers.members import MemberConfig, layers_of
from trainers.states import MemberState, Vector

Module = tuple[str, str, dict[str, Any]]

# The class of torch.nn that is an activation with alpha = 1, and its argument that is the slope.
STANDARD = {
    "tanh": "Tanh",
    "sigmoid": "Sigmoid",
    "logsigmoid": "LogSigmoid",
    "softsign": "Softsign",
    "relu": "ReLU",
    "leaky_relu": "LeakyReLU",
    "prelu": "PReLU",
    "elu": "ELU",
    "relu6": "ReLU6",
    "silu": "SiLU",
    "hardswish": "Hardswish",
    "gelu": "GELU",
    "mish": "Mish",
    "softplus": "Softplus",
    "hardtanh": "Hardtanh",
    "identity": "Identity",
}
SLOPES = {"leaky_relu": "negative_slope", "prelu": "init", "elu": "alpha"}


class Activation(nn.Module):
    """alpha f(z / alpha), or alpha f(z) where `scaling` is naive; f is `activation`, a name of `ACTIVATIONS`.

    Where alpha is learned it is a parameter of shape (), which all layers share if `learn_alpha` is network; so is a
    learned slope. Random slopes are at their mean, as in evaluation.
    """

    def __init__(
        self, activation: str, scaling: str, alpha: float, slope: float | None = None, learn_alpha: str = "none"
    ) -> None:
        super().__init__()
        self.activation, self.scaling, self.learn_alpha = activation, scaling, learn_alpha
        self.alpha = nn.Parameter(torch.tensor(alpha)) if learn_alpha != "none" else alpha
        self.slope = nn.Parameter(torch.tensor(slope)) if ACTIVATIONS[activation].learned else slope

    def forward(self, z: Tensor) -> Tensor:
        slope = () if self.slope is None else (self.slope,)
        return activation(self.activation, self.scaling)(z, self.alpha, *slope)


class Normalization(nn.Module):
    """An entry of `NORMALIZATIONS` that torch.nn does not have, for images, or rows, of this shape."""

    def __init__(self, normalization: str, shape: Sequence[int]) -> None:
        super().__init__()
        self.normalization = normalization
        entry = NORMALIZATIONS[normalization]
        for name, (size, start) in entry.parameters(tuple(shape)).items():
            self.register_parameter(name, nn.Parameter(torch.full(size, start)))
        for name, (size, start) in entry.buffers(tuple(shape)).items():
            self.register_buffer(name, torch.full(size, start))

    def forward(self, x: Tensor) -> Tensor:
        parameters, buffers = dict(self.named_parameters()), dict(self.named_buffers())
        x, batch = NORMALIZATIONS[self.normalization].forward(x, parameters, None if self.training else buffers)
        if self.training:
            for name, running in buffers.items():
                running.lerp_(batch[name], MOMENTUM)
        return x


class Residual(nn.Sequential):
    """Modules, to whose output their input is added."""

    def __init__(self, layers: Iterable[Module]) -> None:
        super().__init__(_modules(layers))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x
        for module in self:
            y = module(y)
        return y + x


class Recurrent(nn.Module):
    """A layer of `trainers.layers.Recurrent` for images of this shape: the hidden state after the last step.

    Its parameters are those of torch.nn.RNNCell, LSTMCell and GRUCell, without the second bias; `f` are the arguments
    of its `Activation`.
    """

    def __init__(
        self, cell: str, units: int, steps: int, bias: bool, scaled_gates: bool, shape: Sequence[int], f: dict[str, Any]
    ) -> None:
        super().__init__()
        self.layer = kinds.Recurrent("recurrent", cell, units, steps, bias, scaled_gates)
        sizes, bound = self.layer.parameters(tuple(shape)), units**-0.5
        for name, size in zip(("weight_ih", "weight_hh", "bias_ih"), sizes, strict=False):
            self.register_parameter(name, nn.Parameter(torch.empty(size).uniform_(-bound, bound)))
        self.f = Activation(**f)

    def forward(self, x: Tensor) -> Tensor:
        def s(z: Tensor) -> Tensor:
            return activation("sigmoid", self.f.scaling)(z, self.f.alpha if self.layer.scaled_gates else 1.0)

        z = self.layer.forward(x, self.parameters(recurse=False))
        states, _ = self.layer.loop(z, self.get_parameter("weight_hh"), lambda z, _: self.f(z), s)
        return states[-1][0]


OWN: Mapping[str, type[nn.Module]] = {kind.__name__: kind for kind in (Activation, Normalization, Residual, Recurrent)}


def sequential(layers: Iterable[Module]) -> nn.Sequential:
    """The network of these modules, as `modules_of` describes them, at initial values of PyTorch's own."""
    model = nn.Sequential(_modules(layers))
    shared = [m for m in model.modules() if isinstance(m, Activation) and m.learn_alpha == "network"]
    for module in shared[1:]:
        module.alpha = shared[0].alpha
    return model


def _modules(layers: Iterable[Module]) -> OrderedDict[str, nn.Module]:
    return OrderedDict((name, (OWN.get(kind) or getattr(nn, kind))(**arguments)) for name, kind, arguments in layers)


def modules_of(member: MemberConfig, classes: int) -> list[Module]:
    """A member's network on data with so many classes; its parameters have the order of the flat vector."""
    modules: list[Module] = []
    layers = layers_of(member, classes)
    for layer, incoming, output in zip(layers, [IMAGE, *output_shapes(layers)], output_shapes(layers), strict=False):
        if isinstance(layer, kinds.Recurrent):
            modules.append(_recurrent(layer, incoming, member))
            continue
        of_layer = _own(layer, incoming)
        if layer.activated:
            of_layer += [*_normalization(layer, output), _activation(layer, member)]
        modules += [(f"{layer.name}_residual", "Residual", {"layers": of_layer})] if layer.residual else of_layer
    return modules


def _own(layer: Layer, incoming: Shape) -> list[Module]:
    match layer:
        case Pooling():
            return [(layer.name, "MaxPool2d", {"kernel_size": 2})]
        case Dense():
            flat: list[Module] = [("flatten", "Flatten", {})] if len(incoming) > 1 else []
            units = {"in_features": torch.Size(incoming).numel(), "out_features": layer.units}
            return [*flat, (layer.name, "Linear", units | {"bias": layer.bias})]
        case Convolution():
            ends = {"in_channels": incoming[0], "out_channels": layer.channels}
            full = {"kernel_size": 3, "padding": 1}
            if not layer.separable:
                return [(layer.name, "Conv2d", ends | full | {"bias": layer.bias})]
            depthwise = dict.fromkeys(("in_channels", "out_channels", "groups"), incoming[0])
            return [
                (f"{layer.name}_depthwise", "Conv2d", depthwise | full | {"bias": False}),
                (f"{layer.name}_pointwise", "Conv2d", ends | {"kernel_size": 1, "bias": layer.bias}),
            ]
    raise ValueError(f"layer {layer.name}: no module of PyTorch is known for layers of the kind {layer.kind!r}")


def _normalization(layer: Layer, shape: Shape) -> list[Module]:
    name, channels = f"{layer.name}_normalization", shape[0]
    match layer.normalization:
        case "none":
            return []
        case "batch":
            kind = "BatchNorm2d" if len(shape) > 1 else "BatchNorm1d"
            return [(name, kind, {"num_features": channels, "eps": EPSILON, "momentum": MOMENTUM})]
        case "layer":  # over all channels and pixels: one group
            return [(name, "GroupNorm", {"num_groups": 1, "num_channels": channels, "eps": EPSILON})]
    return [(name, "Normalization", {"normalization": layer.normalization, "shape": list(shape)})]


def _activation(layer: Layer, member: MemberConfig) -> Module:
    name, f, slope = f"{layer.name}_activation", member.activation, member.slope
    if f in STANDARD and member.alpha == 1 and member.learn_alpha == "none":
        return name, STANDARD[f], {SLOPES[f]: slope} if f in SLOPES else {}
    return name, "Activation", _scaled(member)


def _recurrent(layer: kinds.Recurrent, incoming: Shape, member: MemberConfig) -> Module:
    own = {name: getattr(layer, name) for name in ("cell", "units", "steps", "bias", "scaled_gates")}
    return layer.name, "Recurrent", own | {"shape": list(incoming), "f": _scaled(member)}


def _scaled(member: MemberConfig) -> dict[str, Any]:
    """The arguments of an `Activation`."""
    arguments = {"activation": member.activation, "scaling": member.scaling, "alpha": float(member.alpha)}
    if member.slope is not None:
        arguments["slope"] = member.slope
    if member.learn_alpha != "none":
        arguments["learn_alpha"] = member.learn_alpha
    return arguments


def content_of(state: MemberState, dataset: Dataset | None = None) -> dict[str, Any]:
    """What a PyTorch file says of a member: plain data and tensors, which torch.load reads with `weights_only`.

    `member` are its fields, `layers` its modules and `state_dict` their values; `input` says what images need:
    `(bytes / divide - mean) / std`, the last two by channel. `packages` are those that the modules need besides
    gradsweep and PyTorch. The data set is needed where the input is standardized.
    """
    member = state.member
    described = modules_of(member, classes_of(state))
    model = sequential(described)
    _fill(list(model.parameters()), state.parameters)
    counters = [buffer for name, buffer in model.named_buffers() if name.endswith("num_batches_tracked")]
    for counter in counters:
        counter.fill_(state.step)
    _fill([buffer for buffer in model.buffers() if buffer.is_floating_point()], state.buffers)
    mean, std = [0.0] * IMAGE[0], [1.0] * IMAGE[0]
    if member.input == "standardized":
        if dataset is None:
            raise ValueError("the mean and deviation of the pixels need the data set")
        mean, std = (values.tolist() for values in dataset.channel_statistics)
    return {
        "member": asdict(member),
        "epoch": state.epoch,
        "layers": described,
        "state_dict": {name: tensor.clone() for name, tensor in model.state_dict().items()},
        "input": {"divide": 1.0 if member.input == "bytes" else 255.0, "mean": mean, "std": std},
        "packages": plugins.adding(member.activation, str(member.normalization)),
    }


def file_of(content: Mapping[str, Any]) -> bytes:
    """The file that torch.load reads."""
    file = BytesIO()
    torch.save(dict(content), file)
    return file.getvalue()


def classes_of(state: MemberState) -> int:
    """How many classes a member's output has, by the length of its vector, which grows by as much for each."""
    one, two = (parameter_count(layers_of(state.member, classes)) for classes in (1, 2))
    return 1 + (len(state.parameters) - one) // (two - one)


@torch.no_grad()
def _fill(tensors: Sequence[Tensor], vector: Vector) -> None:
    """Copy a flat vector into tensors, one after another."""
    for tensor, values in zip(tensors, torch.split(torch.tensor(vector), [t.numel() for t in tensors]), strict=True):
        tensor.copy_(values.view(tensor.shape))
