"""A cache of each test's own, and ways to write small trees of real image files, and a small CIFAR-10."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.trainers.data.files import packed, pickled, written

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


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 10, 3072), np.uint8)


@pytest.fixture
def published(pixels, monkeypatch) -> dict[str, bytes]:
    """The files of a small CIFAR-10, with their checksums in the place of the published ones'."""
    datasets = pytest.importorskip("torchvision.datasets")
    labels = [i % 3 for i in range(10)]
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    files = {n: pickled({"data": p, "labels": labels}) for n, p in zip(names, pixels, strict=True)}
    files["batches.meta"] = pickled({"label_names": ["airplane", "automobile", "bird"]})
    sums = [[name, hashlib.md5(content).hexdigest()] for name, content in files.items()]
    monkeypatch.setattr(datasets.CIFAR10, "train_list", sums[:5])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", sums[5:6])
    monkeypatch.setattr(datasets.CIFAR10, "meta", {**datasets.CIFAR10.meta, "md5": sums[6][1]})
    return files


@pytest.fixture
def archive(published, monkeypatch) -> bytes:
    """An archive built as the published one, which a download must be."""
    datasets = pytest.importorskip("torchvision.datasets")
    content = packed(published, "cifar-10-batches-py")
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", hashlib.md5(content).hexdigest())
    return content


@pytest.fixture
def python_version(published) -> Callable[[Path], Path]:
    """Writes the published files into a folder."""
    return lambda folder: written(folder, published)


@pytest.fixture
def binary_version(pixels) -> dict[str, bytes]:
    """The same images and labels as the files of the binary version."""
    labels = np.arange(10, dtype=np.uint8)[:, None] % 3
    names = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
    files = {n: np.concatenate([labels, p], 1).tobytes() for n, p in zip(names, pixels, strict=True)}
    return files | {"batches.meta.txt": b"airplane\nautomobile\nbird\n\n"}
