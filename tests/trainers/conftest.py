"""PyTorch on one thread: its threads wait for each other by spinning, and the networks here are tiny."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    torch.set_num_threads(1)
