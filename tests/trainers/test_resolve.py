"""Which engine trains a member, and what members trained together must share."""

import subprocess
import sys
from dataclasses import replace

import pytest

from trainers import MemberConfig, train
from trainers.activations import ACTIVATIONS, Activation
from trainers.engines import kind_of, resolve
from trainers.lanes import available
from trainers.lanes.tables import SUPPORT

needs_lanes = pytest.mark.skipif(available() is None, reason="the lane engine was not compiled")


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> MemberConfig:
    """A member of an activation that only the table knows."""
    monkeypatch.setitem(ACTIVATIONS, "toy", Activation(lambda z: z * z.sigmoid()))
    return MemberConfig(activation="toy", epochs=1)


@needs_lanes
def test_lanes_on_the_cpu_and_the_reference_engine_for_the_rest(toy: MemberConfig) -> None:
    assert resolve(MemberConfig()) == ("lanes", None)
    assert resolve(MemberConfig(engine="reference")) == ("reference", None)
    assert resolve(toy) == ("reference", "the lanes engine does not have the activation 'toy'")
    engine, reason = resolve(MemberConfig(), "cpu", classes=2000)
    assert engine == "reference" and str(reason).startswith("layer output: the lane kernels run at most")


def test_an_engine_that_is_asked_for_and_cannot_train_it_is_refused(toy: MemberConfig) -> None:
    with pytest.raises(ValueError, match="the lanes engine does not have the activation 'toy'"):
        resolve(replace(toy, engine="lanes"))
    with pytest.raises(ValueError, match="the cuda engine does not have the activation 'toy'"):
        resolve(replace(toy, engine="cuda"))


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_no_pack_mixes_engines(toy: MemberConfig, device: str) -> None:
    """So no member decides with which engine, and to which bits, another one is trained."""
    kinds = [kind_of(m, device) for m in (MemberConfig(), MemberConfig(alpha=2.0, seed=3, penalty="l1"), toy)]
    assert kinds[0] == kinds[1] != kinds[2]
    assert kind_of(replace(toy, engine="reference"), device)[-1] == kinds[2][-1] == "reference"
    with pytest.raises(ValueError, match="members trained together must share the engine, but got"):
        train([MemberConfig(), toy], device=device)


def test_members_trained_together_share_their_split() -> None:
    usual, half = MemberConfig(epochs=0), MemberConfig(epochs=0, holdout=0.5)
    assert kind_of(usual) != kind_of(half)
    with pytest.raises(ValueError, match="members trained together must share holdout, but got"):
        train([usual, half])
    losses = [next(iter(train([member]))).metrics["validation.loss"] for member in (usual, half)]
    assert losses[0] != losses[1]  # of other images


def test_what_the_lane_engine_supports_is_in_the_tables() -> None:
    for name in SUPPORT.fields["activation"]:
        assert ACTIVATIONS[name].flat is not None
        assert SUPPORT.refusal(MemberConfig(activation=name, alpha=2.0, r=0.1, seed=1)) is None


def test_splitting_packs_imports_no_torch() -> None:
    code = "import sys; from trainers import MemberConfig; from trainers.engines import kind_of; "
    code += "print(kind_of(MemberConfig(), 'cuda')[-1], kind_of(MemberConfig())[-1], 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["cuda", "lanes", "False"]
