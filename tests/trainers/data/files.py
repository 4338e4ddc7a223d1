"""Small files of the published kinds, for the tests of data."""

import io
import pickle
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np


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


def written(folder: Path, files: Mapping[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def packed(files: Mapping[str, bytes], folder: str) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for name, what in files.items():
            about = tarfile.TarInfo(f"{folder}/{name}")
            about.size = len(what)
            tar.addfile(about, io.BytesIO(what))
    return content.getvalue()
