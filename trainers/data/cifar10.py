"""CIFAR-10 as it was published, through torchvision: downloaded once into the cache, checked against its checksums.

Never a substitute: without the data there is one line that says what to do.
"""

from __future__ import annotations

import hashlib
import json
import logging
import socket
import tarfile
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException

import numpy as np

from trainers.data import cache
from trainers.data.dataset import Dataset, Split, assemble
from trainers.errors import DataError

NAME = "cifar10"
SECONDS_WITHOUT_A_BYTE = 30.0

_log = logging.getLogger("gradsweep")


def load_cifar10() -> Dataset:
    """CIFAR-10: 45,000 training, 5,000 validation, 10,000 test images; raises DataError where it can't be had."""
    try:
        from torchvision.datasets import CIFAR10
    except (ImportError, RuntimeError) as e:  # RuntimeError: a torchvision that was built for another torch
        raise DataError(f"cifar10 needs a torchvision that fits torch ({e}): install both from one index") from e
    checksums = [CIFAR10.train_list, CIFAR10.test_list, CIFAR10.meta["md5"]]
    key = f"{NAME}-" + hashlib.sha256(json.dumps(checksums).encode()).hexdigest()
    if kept := cache.read(key, NAME):
        return kept
    place = cache.cache_folder() / NAME
    with cache.alone(place):  # torchvision writes the files under their final names
        if kept := cache.read(key, NAME):
            return kept
        _log.info("taking CIFAR-10 from %s, or downloading it there", place)
        try:
            with _patience(), warnings.catch_warnings():
                # The published files are pickles of an old NumPy, which 2.4.0 to 2.4.4 read with a warning.
                warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
                train, test = (CIFAR10(place, train=part, download=True) for part in (True, False))
        except (OSError, HTTPException, RuntimeError, tarfile.TarError, EOFError, zlib.error) as e:
            raise DataError(
                f"cifar10 can't be downloaded from {CIFAR10.url} to {place} ({e}): connect to a network, "
                f"put {CIFAR10.filename} into that folder, or use folder:PATH"
            ) from e
        whole = [
            Split(np.ascontiguousarray(part.data.transpose(0, 3, 1, 2)), np.array(part.targets, np.int64))
            for part in (train, test)
        ]
        dataset = cache.write(key, assemble(NAME, tuple(train.classes), *whole))
        _log.info("CIFAR-10 is in %s", cache.cache_folder())
        return dataset


@contextmanager
def _patience() -> Iterator[None]:
    """torchvision sets no time limit, and a network that drops everything would be waited for for minutes."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SECONDS_WITHOUT_A_BYTE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
