"""CIFAR-10 through torchvision: a real download and real checksums, of an archive that is tiny."""

import hashlib
import io
import pickle
import socket
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from trainers.data.cifar10 import load_cifar10
from trainers.errors import DataError

datasets = pytest.importorskip("torchvision.datasets")
NAMES = ["airplane", "automobile", "bird"]


class OldPickler(pickle.Pickler):
    """Writes arrays' types as the published files have them, from NumPy 1.6: with 0 and 1 for False and True."""

    def reducer_override(self, thing: object) -> object:
        if isinstance(thing, np.dtype):
            return np.dtype, (thing.str[1:], 0, 1), (3, "|", None, None, None, -1, -1, 0)
        return NotImplemented


def pickled(thing: object) -> bytes:
    content = io.BytesIO()
    OldPickler(content, protocol=2).dump(thing)
    return content.getvalue()


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 10, 3072), np.uint8)


@pytest.fixture
def archive(pixels, monkeypatch) -> bytes:
    """An archive built as the published one, with its checksums in the place of the published one's."""
    labels = [i % 3 for i in range(10)]
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    files = {n: pickled({"data": p, "labels": labels}) for n, p in zip(names, pixels, strict=True)}
    files["batches.meta"] = pickled({"label_names": NAMES})
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for name, what in files.items():
            about = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            about.size = len(what)
            tar.addfile(about, io.BytesIO(what))
    sums = [[name, md5(what)] for name, what in files.items()]
    monkeypatch.setattr(datasets.CIFAR10, "train_list", sums[:5])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", sums[5:6])
    monkeypatch.setattr(datasets.CIFAR10, "meta", {**datasets.CIFAR10.meta, "md5": sums[6][1]})
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", md5(content.getvalue()))
    return content.getvalue()


@pytest.fixture
def no_network(monkeypatch) -> str:
    """The address of a port that nobody listens at, in the place of the published archive's."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/cifar-10-python.tar.gz"
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(datasets.CIFAR10, "url", url)
    return url


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A folder whose files can be downloaded; CIFAR-10's address is in it."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    served = tmp_path / "served"
    served.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(served))) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.05,))
        thread.start()
        monkeypatch.setenv("no_proxy", "*")
        monkeypatch.setattr(datasets.CIFAR10, "url", f"http://127.0.0.1:{http.server_port}/cifar-10-python.tar.gz")
        yield served
        http.shutdown()
        thread.join()


def test_without_a_network_one_line_says_what_to_do(cache: Path, no_network: str) -> None:
    before = socket.getdefaulttimeout()
    with pytest.raises(DataError) as e:
        load_cifar10()
    said = str(e.value)
    assert said.startswith(f"cifar10 can't be downloaded from {no_network} to {cache / 'cifar10'} (")
    assert "Connection refused" in said
    assert said.endswith("connect to a network, put cifar-10-python.tar.gz into that folder, or use folder:PATH")
    assert "\n" not in said
    assert not list(cache.rglob("*.npy"))
    assert socket.getdefaulttimeout() == before


def test_it_is_downloaded_once(cache: Path, server: Path, archive: bytes, pixels, monkeypatch) -> None:
    (server / "cifar-10-python.tar.gz").write_bytes(archive)
    first = load_cifar10()
    assert first.classes == tuple(NAMES)
    assert [len(s) for s in (first.train, first.validation, first.test)] == [45, 5, 10]
    assert np.array_equal(first.test.images, pixels[5].reshape(10, 3, 32, 32))
    assert first.test.labels.tolist() == [i % 3 for i in range(10)]
    assert isinstance(first.train.images, np.memmap)
    (server / "cifar-10-python.tar.gz").unlink()
    (cache / "cifar10/cifar-10-python.tar.gz").unlink()
    assert load_cifar10().digest == first.digest


@pytest.mark.parametrize("content", [b"", b"a login page"])
def test_a_download_with_another_checksum_is_refused(cache, server, archive, content) -> None:
    (server / "cifar-10-python.tar.gz").write_bytes(content or archive[:-1])
    with pytest.raises(DataError, match="File not found or corrupted"):
        load_cifar10()
    assert not list(cache.rglob("*.npy"))
    (server / "cifar-10-python.tar.gz").write_bytes(archive)
    assert len(load_cifar10().test) == 10


def test_an_archive_put_into_the_cache_needs_no_network(cache: Path, no_network: str, archive: bytes) -> None:
    (cache / "cifar10").mkdir(parents=True)
    (cache / "cifar10/cifar-10-python.tar.gz").write_bytes(archive)
    assert len(load_cifar10().test) == 10


def test_a_cache_that_cannot_be_written_is_said(tmp_path, monkeypatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GRADSWEEP_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"the cache .* can't be written \((Not a directory|File exists)\)"):
        load_cifar10()
