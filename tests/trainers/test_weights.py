"""A member as a PyTorch file: plain PyTorch gets from it what was recorded, whatever the network and the engine."""

from __future__ import annotations

from io import BytesIO
from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.trainers.test_engines import member_of, split, training_of
from trainers.activations import ACTIVATIONS, SCALINGS
from trainers.data.dataset import Dataset, Split
from trainers.engines import unsupported
from trainers.lanes import available
from trainers.lanes.engine import LaneEngine
from trainers.layers import CELLS, NORMALIZATIONS, Layer, parameter_count
from trainers.members import CONVOLUTIONS, INPUTS, LEARN_ALPHA, EpochRecord, MemberConfig, layers_of
from trainers.reference import ReferenceEngine
from trainers.regimes import REGIMES
from trainers.states import MemberState, initial_state
from trainers.weights import STANDARD, Activation, classes_of, content_of, sequential

DATA = Dataset("few", tuple("abcdefghij"), split(64, 0), split(90, 1), split(110, 2), digest="")
ENGINES = {"lanes": LaneEngine, "reference": ReferenceEngine}


def trained(engine: str, member: MemberConfig) -> tuple[EpochRecord, MemberState]:
    """A member's last record, and its state then."""
    if engine == "lanes" and available() is None:
        pytest.skip("the lane engine was not compiled")
    if reason := unsupported(member, engine):
        pytest.skip(reason)
    layers = layers_of(member, 10)
    training = training_of([initial_state(member, layers, DATA)], ENGINES[engine](layers, DATA, "cpu", 1), DATA)
    record = [next(training) for _ in range(member.epochs + 1)][-1]
    (state,) = training.state()
    return record, state


def written_and_read(state: MemberState) -> Any:
    """The content of a file, as torch.load gives it without running any code."""
    file = BytesIO()
    torch.save(content_of(state, DATA), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def outputs(content: Any, of: Split) -> torch.Tensor:
    """What the network of a file puts out for the images of a split."""
    model = sequential(content["layers"])
    model.load_state_dict(content["state_dict"])
    into = content["input"]
    mean, std = (torch.tensor(into[name]).view(3, 1, 1) for name in ("mean", "std"))
    with torch.no_grad():
        result: torch.Tensor = model.eval()((torch.tensor(of.images) / into["divide"] - mean) / std)
    return result


def is_reproduced(record: EpochRecord, state: MemberState) -> nn.Sequential:
    """The network of the file, which must give the recorded accuracies and loss."""
    content = written_and_read(state)
    assert content["epoch"] == record.epoch and MemberConfig(**content["member"]) == record.member
    for name in ("validation", "test"):
        of = DATA.splits()[name]
        logits, labels = outputs(content, of), torch.tensor(of.labels)
        accuracy = (logits.argmax(1) == labels).double().mean().item()
        assert accuracy == pytest.approx(record.metrics[f"{name}.accuracy"], abs=1e-6)
        if name == "validation" and record.member.loss == "cross_entropy":
            assert F.cross_entropy(logits, labels).item() == pytest.approx(record.metrics["validation.loss"], rel=1e-4)
    model = sequential(content["layers"])
    assert sum(p.numel() for p in model.parameters()) == parameter_count(layers_of(record.member, 10))
    return model


@pytest.mark.parametrize("normalization", ["none", *NORMALIZATIONS])
@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("engine", ENGINES)
def test_the_recorded_accuracy_is_reproduced(engine: str, regime: str, normalization: str) -> None:
    if normalization != "none" and REGIMES[regime].cell != "none":
        pytest.skip("a recurrent network is not normalized")
    for residual, learn_alpha in product((False, True), LEARN_ALPHA):
        fields = {"normalization": normalization, "residual": residual, "learn_alpha": learn_alpha}
        member = member_of(regime, epochs=1, alpha=1.5, **fields)
        is_reproduced(*trained(engine, member))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation(activation: str) -> None:
    for scaling, alpha, slope in product(SCALINGS, (1.0, 2.0), (None, 0.2)):
        fields = {"scaling": scaling, "alpha": alpha, "slope": slope, "channels": 4, "blocks": 2, "epochs": 1}
        model = is_reproduced(*trained("reference", member_of(activation=activation, **fields)))
        standard = alpha == 1 and activation in STANDARD
        assert any(isinstance(m, Activation) for m in model) is not standard


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("bias", [False, True])
def test_every_cell(cell: str, bias: bool) -> None:
    for scaled_gates, alpha, learn_alpha in product((False, True), (1.0, 2.0), LEARN_ALPHA):
        fields = {"scaled_gates": scaled_gates, "alpha": alpha, "learn_alpha": learn_alpha, "activation": "prelu"}
        fields |= {"cell": cell, "dense_bias": bias, "steps": 16, "dense": 1, "units": 6, "epochs": 1}
        is_reproduced(*trained("reference", member_of("recurrent", **fields)))


@pytest.mark.parametrize("cell", CELLS)
def test_the_weights_of_a_cell_are_those_of_pytorchs(cell: str) -> None:
    member = member_of("recurrent", cell=cell, units=5, bias_scale=0.3)
    content = content_of(initial_state(member, layers_of(member, 10)))
    model = sequential(content["layers"])
    model.load_state_dict(content["state_dict"])
    theirs = {"rnn": nn.RNNCell, "lstm": nn.LSTMCell, "gru": nn.GRUCell}[cell](96, 5)
    own = dict(model[0].named_parameters())
    theirs.load_state_dict(own | {"bias_hh": torch.zeros_like(own["bias_ih"])})
    images, state = torch.rand(7, 3, 32, 32), None
    for row in range(32):
        state = theirs(images[:, :, row].flatten(1), state)
    assert state is not None
    last = state[0] if cell == "lstm" else state
    assert torch.allclose(model[0](images), last, atol=1e-5)


@pytest.mark.parametrize("convolution", CONVOLUTIONS)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("input", INPUTS)
def test_every_input_convolution_and_bias(convolution: str, bias: bool, input: str) -> None:
    fields = {"convolution": convolution, "dense_bias": bias, "bias_scale": 0.5 if bias else None, "input": input}
    is_reproduced(*trained("lanes", member_of(channels=5, dense=2, epochs=2, loss="squared", **fields)))


def test_what_pytorch_has_is_pytorchs() -> None:
    member = member_of("resnet", activation="relu")
    model = sequential(written_and_read(initial_state(member, layers_of(member, 7)))["layers"])
    own = [m for m in model.modules() if not type(m).__module__.startswith("torch.")]
    assert {type(m).__name__ for m in own} == {"Residual"}
    assert isinstance(model[-1], nn.Linear) and model[-1].out_features == 7


def test_an_alpha_of_the_whole_network_is_one_parameter() -> None:
    member = member_of(learn_alpha="network", activation="prelu", alpha=1.5)
    state = initial_state(member, layers_of(member, 10))
    model = sequential(content_of(state)["layers"])
    activations = [m for m in model if isinstance(m, Activation)]
    assert len(activations) == 9 and len({id(m.alpha) for m in activations}) == 1
    assert len({id(m.slope) for m in activations}) == 9
    each = sequential(content_of(initial_state(m := member_of(learn_alpha="layer"), layers_of(m, 10)))["layers"])
    assert len({id(m.alpha) for m in each if isinstance(m, Activation)}) == 9


def test_training_can_go_on_in_pytorch() -> None:
    member = member_of(normalization="batch", learn_alpha="layer", epochs=1)
    _, state = trained("reference", member)
    model = sequential(content_of(state)["layers"])
    model.load_state_dict(content_of(state)["state_dict"])
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = torch.optim.Adam(model.parameters())
    F.cross_entropy(model.train()(torch.tensor(DATA.train.images) / 255), torch.tensor(DATA.train.labels)).backward()
    optimizer.step()
    assert all(not torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("classes", [1, 2, 3, 10, 100])
def test_classes_are_read_off_the_vector(classes: int) -> None:
    for regime in REGIMES:
        member = member_of(regime)
        assert classes_of(initial_state(member, layers_of(member, classes))) == classes


def test_pixels_are_not_standardized_without_the_data() -> None:
    member = member_of(input="standardized")
    with pytest.raises(ValueError, match="need the data set"):
        content_of(initial_state(member, layers_of(member, 10)))


def test_a_kind_of_layer_without_a_module_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gate(Layer):
        kind, name, activated, description = "gate", "gate", False, ""

        def output(self, incoming: Any) -> Any:
            return incoming

        def parameters(self, incoming: Any) -> Any:
            return ()

        def forward(self, x: Any, tensors: Any) -> Any:
            return x

    member = member_of()
    monkeypatch.setattr("trainers.weights.layers_of", lambda *_: (Gate(), *layers_of(member, 10)))
    with pytest.raises(ValueError, match="layer gate: no module of PyTorch is known for layers of the kind 'gate'"):
        from trainers.weights import modules_of

        modules_of(member, 10)
