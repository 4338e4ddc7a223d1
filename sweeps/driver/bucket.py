"""The states of packs in training in a bucket, `checkpoints: s3://...` of a store file: no machine shares a folder.

A worker keeps its states in a folder of its own machine and copies them to the bucket before each report, so what is
recorded is in the bucket. The worker that replaces a lost one, on any machine, fetches them first.

    with mirror("s3://bucket/sweeps", "alpha-r", "p00000-3f2a91") as (states, push):
        for report in train_pack(pack, states):
            push()
            tune.report(...)

Keys, region and endpoint of the bucket come from the environment of every machine (AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL), or from the machine's own role.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from pyarrow import fs
from tenacity import retry, retry_if_exception_type, wait_random_exponential

PATIENCE_SECONDS = 120.0


class Bucket:
    """One folder in a bucket. Its methods raise OSError."""

    def __init__(self, url: str, *inside: str) -> None:
        self._files, root = fs.FileSystem.from_uri("/".join([url.rstrip("/"), *inside]))
        self._root = root.rstrip("/")

    def names(self, kind: fs.FileType = fs.FileType.File) -> set[str]:
        """The files in it, or the folders."""
        entries = self._files.get_file_info(fs.FileSelector(self._root, allow_not_found=True))
        return {info.base_name for info in entries if info.type == kind}

    def has(self, name: str) -> bool:
        """Whether a file is there."""
        return bool(self._files.get_file_info(f"{self._root}/{name}").type == fs.FileType.File)

    def put(self, name: str, content: bytes) -> None:
        """Write a file; in a bucket it is there whole or not at all."""
        if isinstance(self._files, fs.LocalFileSystem):
            self._files.create_dir(self._root)
        with self._files.open_output_stream(f"{self._root}/{name}") as stream:
            stream.write(content)

    def read(self, name: str) -> bytes:
        """What a file holds."""
        with self._files.open_input_stream(f"{self._root}/{name}") as stream:
            return bytes(stream.read())

    def delete(self, name: str) -> None:
        """Delete a file."""
        self._files.delete_file(f"{self._root}/{name}")

    def everything(self) -> list[str]:
        """The files in it and in the folders in it, by their paths inside."""
        entries = self._files.get_file_info(fs.FileSelector(self._root, allow_not_found=True, recursive=True))
        return [info.path.removeprefix(f"{self._root}/") for info in entries if info.type == fs.FileType.File]

    def delete_everything(self) -> None:
        """Delete it with all that is in it, if it is there."""
        if self._files.get_file_info(self._root).type == fs.FileType.Directory:
            self._files.delete_dir(self._root)


patient = retry(
    retry=retry_if_exception_type(OSError),
    wait=wait_random_exponential(multiplier=0.25, max=10),
    stop=lambda state: (state.seconds_since_start or 0) >= PATIENCE_SECONDS,
    reraise=True,
)


@contextmanager
def mirror(url: str, sweep: str, pack: str) -> Iterator[tuple[Path, Callable[[], None]]]:
    """The beginning of the names of a pack's state files on this machine, and what copies them to the bucket.

    They are gone here with the block, what is in the bucket stays until `forget`. A bucket that does not answer is
    retried for PATIENCE_SECONDS, then OSError is raised.
    """
    bucket = Bucket(url, sweep, pack)
    # By the bucket too: sweeps of one name in several have packs of the same names.
    prefix = f"gradsweep-{sha256(f'{url}/{sweep}/{pack}'.encode()).hexdigest()[:16]}-"
    # Of a worker that was killed here; one that was only given up for lost loses its folder, and ends.
    for left in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix) as temporary:
        folder, base = Path(temporary), Path(temporary) / f"{pack}.npz"

        @patient
        def fetch() -> None:
            for name in bucket.names():
                (folder / name).write_bytes(bucket.read(name))

        @patient
        def push() -> None:
            """What is new here is copied, what is gone here is deleted there; states never change under their name."""
            here = {file.name: file for file in folder.glob(f"{base.name}.*") if file.suffix[1:].isdecimal()}
            there = bucket.names()
            for name in here.keys() - there:
                bucket.put(name, here[name].read_bytes())
            # Without a folder of its own any more another worker is at work on the pack.
            for name in there - here.keys() if here else ():
                bucket.delete(name)

        fetch()
        yield base, push


def forget(url: str, sweep: str, pack: str) -> None:
    """Delete the states of a pack that has ended. Raises OSError."""
    bucket = Bucket(url, sweep, pack)
    for name in bucket.names():
        bucket.delete(name)


def forget_others(url: str, sweep: str, packs: Collection[str]) -> None:
    """Delete the states of all packs but these, which a killed driver left. Raises OSError."""
    for pack in Bucket(url, sweep).names(fs.FileType.Directory) - set(packs):
        forget(url, sweep, pack)
