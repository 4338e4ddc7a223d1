"""The judge of whole steps: torch.optim.Adam in double precision."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from tests.trainers.lanes.judge import Case, forward


def by_torch(case: Case, order: np.ndarray, batch_size: int) -> np.ndarray:
    """One epoch with torch.optim.Adam and nothing of ours but the network, in double precision."""
    (member,) = case.members
    parameters = torch.tensor(case.parameters[0]).double().requires_grad_()
    optimizer = torch.optim.Adam([parameters], lr=member.learning_rate, eps=1e-7)
    x, labels = torch.tensor(case.split.images).double() / 255, torch.tensor(case.split.labels)
    for batch in torch.tensor(order).split(batch_size):
        optimizer.zero_grad()
        logits, _ = forward(case.layers, member, parameters, x[batch])
        l1, l2 = parameters.abs().sum(), parameters.square().sum() / 2
        (F.cross_entropy(logits, labels[batch]) + member.r * (l1 if member.penalty == "l1" else l2)).backward()
        optimizer.step()
    return parameters.detach().numpy()
