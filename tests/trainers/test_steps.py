"""Whole training steps against PyTorch's own optimizers, schedules, clipping and losses, in double precision."""

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR

from trainers.layers import Dense
from trainers.losses import LOSSES
from trainers.members import MemberConfig
from trainers.optimizers import OPTIMIZERS, Epsilon
from trainers.penalties import PENALIZED, PENALTIES
from trainers.reference import Array
from trainers.schedules import SCHEDULES, learning_rates
from trainers.states import initial_state

LAYERS = (Dense("dense1", 2, bias=True), Dense("output", 3, bias=True, activated=False))
EPOCHS, STEPS = 3, 4
RANDOM = np.random.default_rng(0)
IMAGES = torch.tensor(RANDOM.normal(size=(EPOCHS * STEPS, 5, 3, 32, 32)))
LABELS = torch.tensor(RANDOM.integers(0, 3, (EPOCHS * STEPS, 5)))


def in_doubles(array: Array) -> Array:
    """The array in double precision."""
    array.parameters, array.buffers = array.parameters.double(), array.buffers.double()
    array.kept = tuple(kept.double() for kept in array.kept)
    members = [state.member for state in array.states]
    array.alpha, array.r = (torch.tensor([getattr(m, n) for m in members], dtype=torch.float64) for n in ("alpha", "r"))
    return array


def array_of(member: MemberConfig) -> Array:
    return in_doubles(Array(LAYERS, [initial_state(member, LAYERS)], torch.device("cpu")))


def by_us(member: MemberConfig) -> list[Tensor]:
    """The parameters after each step."""
    array, after = array_of(member), []
    rates = np.concatenate([learning_rates(member, epoch, STEPS) for epoch in range(1, EPOCHS + 1)])
    for images, labels, rate in zip(IMAGES, LABELS, rates, strict=True):
        gradients, _, _ = array.gradients(images[None], labels[None])
        array.update(gradients, torch.tensor([[rate]]))
        after.append(array.parameters[0].clone())
    return after


def optimizer_of(member: MemberConfig, groups: list[dict[str, Any]]) -> Optimizer:
    rate = member.learning_rate
    decoupled = member.penalty == "decoupled"
    if member.optimizer == "adam" and decoupled:
        return AdamW(groups, rate, eps=member.epsilon)
    if member.optimizer == "adam":
        return Adam(groups, rate, eps=member.epsilon)
    if member.optimizer == "rmsprop":
        return RMSprop(groups, rate, eps=member.epsilon)
    momentum = 0.0 if member.optimizer == "sgd" else 0.9
    return SGD(groups, rate, momentum=momentum, nesterov=member.optimizer == "nesterov")


def schedule_of(member: MemberConfig, optimizer: Optimizer) -> LRScheduler:
    warm = member.warmup * STEPS
    rest = EPOCHS * STEPS - warm
    after: LRScheduler = {
        "constant": lambda: LinearLR(optimizer, 1.0, 1.0, rest),
        "cosine": lambda: CosineAnnealingLR(optimizer, rest),
        "linear": lambda: LinearLR(optimizer, 1.0, 0.0, rest),
    }[member.schedule]()
    if not warm:
        return after
    return SequentialLR(optimizer, [LinearLR(optimizer, 1 / warm, 1.0, warm - 1), after], [warm])


def by_pytorch(member: MemberConfig) -> list[Tensor]:
    """Nothing of ours but the initial values."""
    shapes = [(2, 3072), (2,), (3, 2), (3,)]
    start = array_of(member).parameters[0].split([6144, 2, 6, 3])
    tensors = [p.clone().view(shape).requires_grad_() for p, shape in zip(start, shapes, strict=True)]
    penalized = [p for p in tensors if member.penalized == "all" or p.dim() > 1]
    adamw = member.optimizer == "adam" and member.penalty == "decoupled"
    groups = [{"params": [p], "weight_decay": member.r * adamw * any(p is q for q in penalized)} for p in tensors]
    optimizer = optimizer_of(member, groups)
    schedule, after = schedule_of(member, optimizer), []
    for images, labels in zip(IMAGES, LABELS, strict=True):
        optimizer.zero_grad()
        first, bias, second, last = tensors
        loss = F.cross_entropy(F.linear(F.linear(images.flatten(1), first, bias).tanh(), second, last), labels)
        flat = torch.cat([p.flatten() for p in penalized])
        if member.penalty != "decoupled":
            loss = loss + member.r * (flat.abs().sum() if member.penalty == "l1" else flat.square().sum() / 2)
        loss.backward()
        if member.clip:
            torch.nn.utils.clip_grad_norm_(tensors, member.clip)
        if member.penalty == "decoupled" and not adamw:  # PyTorch has it for Adam alone
            with torch.no_grad():
                for p in penalized:
                    p *= 1 - schedule.get_last_lr()[0] * member.r
        optimizer.step()
        schedule.step()
        after.append(torch.cat([p.detach().flatten() for p in tensors]))
    return after


@pytest.mark.filterwarnings("ignore:The epoch parameter in:UserWarning")  # PyTorch's own SequentialLR
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_schedule_clipping_and_penalty_is_pytorchs(optimizer: str, penalty: str) -> None:
    apart = set()
    for schedule, warmup, clip, penalized in product(SCHEDULES, (0, 1), (0.0, 0.3), PENALIZED):
        member = MemberConfig(
            **dict(optimizer=optimizer, penalty=penalty, schedule=schedule, warmup=warmup, clip=clip),
            **dict(penalized=penalized, r=0.05, learning_rate=0.02, epochs=EPOCHS, init_scale=0.05, bias_scale=0.5),
        )
        for step, (ours, theirs) in enumerate(zip(by_us(member), by_pytorch(member), strict=True)):
            assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-12), (member, step)
        apart.add(tuple(ours.tolist()))
    assert len(apart) == 2 * 2 * 2 * len(SCHEDULES)  # each of them does something


def test_epsilon_before_the_correction_is_keras() -> None:
    """Kingma and Ba's second formula, which Keras follows: lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + epsilon)."""
    gradients = torch.tensor(RANDOM.normal(size=(6, 1, 9)))
    ours, theirs = torch.ones(1, 9, dtype=torch.float64), torch.ones(1, 9, dtype=torch.float64)
    state = torch.zeros_like(ours), torch.zeros_like(ours)
    m, v, rate = torch.zeros_like(ours), torch.zeros_like(ours), torch.tensor([[0.01]], dtype=torch.float64)
    for t, g in enumerate(gradients, 1):
        OPTIMIZERS["adam"].update(ours, g, state, t, rate, Epsilon(0.3, after=False))
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        theirs = theirs - 0.01 * (1 - 0.999**t) ** 0.5 / (1 - 0.9**t) * m / (v.sqrt() + 0.3)
        assert torch.allclose(ours, theirs, rtol=1e-12)


def test_the_first_batch_of_a_warm_up_has_its_share_and_the_last_step_is_near_0() -> None:
    member = MemberConfig(schedule="linear", warmup=1, epochs=3, learning_rate=1.0)
    rates = np.concatenate([learning_rates(member, epoch, 4) for epoch in (1, 2, 3)])
    assert rates == pytest.approx([1 / 4, 2 / 4, 3 / 4, 1, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8])
    assert learning_rates(MemberConfig(), 30, 5).tolist() == [0.001] * 5


@pytest.mark.parametrize("loss", LOSSES)
def test_the_losses_are_pytorchs(loss: str) -> None:
    outputs, labels = torch.tensor(RANDOM.normal(size=(7, 4))), torch.tensor(RANDOM.integers(0, 4, 7))
    targets = F.one_hot(labels, 4).double()
    by_image, mean = {
        "cross_entropy": lambda: (F.cross_entropy(outputs, labels, reduction="none"), F.cross_entropy(outputs, labels)),
        "squared": lambda: (F.mse_loss(outputs, targets, reduction="none").mean(1), F.mse_loss(outputs, targets)),
    }[loss]()
    assert torch.allclose(LOSSES[loss].of(outputs, labels, "none"), by_image, rtol=1e-12)
    assert torch.allclose(LOSSES[loss].of(outputs, labels, "mean"), mean, rtol=1e-12)
