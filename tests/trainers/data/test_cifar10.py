"""CIFAR-10 through torchvision: a real download and real checksums, of an archive that is tiny."""

import hashlib
import socket
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from trainers.data.cifar10 import load_cifar10
from trainers.errors import DataError

datasets = pytest.importorskip("torchvision.datasets")
NAMES = ("airplane", "automobile", "bird")


@pytest.fixture(autouse=True)
def nothing_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, and the home: without data."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(here))
    return here


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
    assert first.classes == NAMES
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


def test_an_archive_in_the_cache_that_is_damaged_is_called_that(cache: Path, no_network: str, archive: bytes) -> None:
    there = cache / "cifar10/cifar-10-python.tar.gz"
    there.parent.mkdir(parents=True)
    there.write_bytes(archive[:-1])
    checksum = hashlib.sha256(archive[:-1]).hexdigest()[:12]
    with pytest.raises(DataError, match=rf"^{there} is damaged \(its MD5 sum must be .*; sha256 {checksum}\): connect"):
        load_cifar10()


def test_a_cache_that_cannot_be_written_is_said(tmp_path, monkeypatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GRADSWEEP_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"the cache .* can't be written \((Not a directory|File exists)\)"):
        load_cifar10()


@pytest.mark.parametrize("kept", ["unpacked", "archive"])
@pytest.mark.parametrize("place", ["here", "home"])
def test_what_is_in_the_folder_data_is_not_downloaded(
    cache, no_network, archive, python_version, nothing_at_hand, tmp_path, monkeypatch, kept, place
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    root = tmp_path / place / "data"
    root.mkdir(parents=True)
    if kept == "archive":
        (root / "cifar-10-python.tar.gz").write_bytes(archive)
    else:
        python_version(root / "cifar-10-batches-py")
    before = sorted(root.rglob("*"))
    assert len(load_cifar10().test) == 10
    assert sorted(root.rglob("*")) == before
    assert not (cache / "cifar10/cifar-10-batches-py").exists()


def test_what_is_broken_in_the_folder_data_is_passed_over(
    cache, server, archive, python_version, nothing_at_hand, caplog
) -> None:
    (server / "cifar-10-python.tar.gz").write_bytes(archive)
    (python_version(nothing_at_hand / "data/cifar-10-batches-py") / "test_batch").write_bytes(b"torn")
    assert len(load_cifar10().test) == 10
    assert f"{nothing_at_hand}/data is passed over: test_batch of" in caplog.text
    assert len(load_cifar10().test) == 10
