"""What the tests of all rooms share: where they note what came out, for docs/reliability.md; how Triton runs;
and which examples hypothesis tries."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from hypothesis import settings

from tests.reliability.notes import Note, noting

# Without an NVIDIA device Triton's kernels are interpreted (tests/trainers/cuda). This is set before anything imports
# Triton, as torchvision does: what has been decorated by then is compiled for ever.
if not any(Path("/dev").glob("nvidia[0-9]*")):
    os.environ.setdefault("TRITON_INTERPRET", "1")


# The default run tries the same examples every time: what has passed passes. New ones are looked
# for by `make slow` and by --hypothesis-profile new.
settings.register_profile("same", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("new", deadline=None, print_blob=True)
settings.load_profile("same")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--reliability",
        metavar="DIR",
        type=Path,
        help="note what became of each fault, load and odd input in this folder: docs/reliability",
    )


@pytest.fixture
def noted(request: pytest.FixtureRequest) -> Callable[..., AbstractContextManager[Note]]:
    """`with noted("faults", what, seed) as note:` and `note.tried`, `note.outcome` in the block."""
    folder = request.config.getoption("--reliability")
    return lambda table, what, seed=None: noting(folder, table, what, seed)
