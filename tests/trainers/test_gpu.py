"""The reference engine on a CUDA device: a pack as one batched array, held against the CPU within float32."""

from dataclasses import replace

import pytest
import torch

from tests.trainers.cuda.test_device import hold_engines
from tests.trainers.test_engines import TINY, member_of
from trainers.reference import ReferenceEngine
from trainers.regimes import REGIMES
from trainers.states import initial_state
from trainers.training import layers_of

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.mark.parametrize("regime", REGIMES)
def test_a_batched_pack_agrees_with_the_cpu(regime: str) -> None:
    base = member_of(regime, initialization="glorot_uniform")
    members = [
        replace(base, seed=s, alpha=a, r=r, activation=f)
        for s in range(2)
        for a, r in ((1.0, 0.0), (2.0, 0.01))
        for f in ("tanh", "logsigmoid")
    ]
    layers = layers_of(base, 10)
    states = [initial_state(m, layers) for m in members]
    hold_engines(ReferenceEngine(layers, TINY, "cuda", 1), ReferenceEngine(layers, TINY, "cpu", 2), states)
