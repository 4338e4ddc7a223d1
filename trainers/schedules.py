"""The schedules of the learning rate as one table: its course over the steps of a whole training."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from trainers.members import MemberConfig

    Numbers = NDArray[np.float64]


def _cosine(share: Numbers) -> Numbers:
    import numpy as np

    return (1 + np.cos(np.pi * share)) / 2


# The factor at a share of the training, from 0 at the first step (after a warm-up) to 1 after the last.
SCHEDULES: dict[str, Callable[[Numbers], Numbers]] = {
    "constant": lambda share: share**0,
    "cosine": _cosine,
    "linear": lambda share: 1 - share,
}


def learning_rates(member: MemberConfig, epoch: int, steps: int) -> Numbers:
    """The learning rate at each of an epoch's `steps`, (steps,); the first epoch is 1.

    Over the `warmup` epochs it rises in equal steps to the member's; what is left of its epochs is the schedule's. As
    `torch.optim.lr_scheduler`'s LinearLR, CosineAnnealingLR and SequentialLR have it, step by step.
    """
    import numpy as np

    warm, done = member.warmup * steps, (epoch - 1) * steps + np.arange(steps, dtype=np.float64)
    share = (done - warm) / max(1, member.epochs * steps - warm)
    factors = np.where(done < warm, (done + 1) / max(1, warm), SCHEDULES[member.schedule](share))
    rates: NDArray[np.float64] = member.learning_rate * factors
    return rates
