"""A cache of each test's own, and a way to write small trees of real image files."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

Tree = Callable[..., Path]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "cache"
    monkeypatch.setenv("GRADSWEEP_CACHE", str(place))
    return place


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Writes `{"train/cat/0.png": pixels or bytes, ...}`; without it two classes of three and two images."""

    def write(files: Mapping[str, NDArray[np.uint8] | bytes] | None = None, name: str = "pictures") -> Path:
        root = tmp_path / name
        for path, content in (two_classes() if files is None else files).items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                (root / path).write_bytes(content)
            else:
                Image.fromarray(content).save(root / path)
        return root

    return write


@pytest.fixture
def files() -> dict[str, NDArray[np.uint8] | bytes]:
    """The files of the tree of two classes, to be changed before it is written."""
    return dict(two_classes())


def two_classes() -> dict[str, NDArray[np.uint8]]:
    random = np.random.default_rng(0)
    return {
        f"{part}/{name}/{i}.png": random.integers(0, 256, (32, 32, 3), np.uint8)
        for part, count in (("train", 3), ("test", 2))
        for name in ("dog", "cat")
        for i in range(count)
    }
