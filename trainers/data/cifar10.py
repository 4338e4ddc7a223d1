"""CIFAR-10 as it was published, through torchvision: downloaded once into the cache, checked against its checksums.

What is in `./data` or `~/data`, where scripts that use torchvision mostly have it, is not downloaded again. Never a
substitute: without the data there is one line that says what to do.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import socket
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException

from trainers.data import cache
from trainers.data.dataset import Dataset, assemble
from trainers.data.forms import Contents, cifar
from trainers.data.images import damaged
from trainers.errors import DataError

NAME = "cifar10"
SECONDS_WITHOUT_A_BYTE = 30.0
ROOTS = ("data", "~/data")

_log = logging.getLogger("gradsweep")


def load_cifar10() -> Dataset:
    """CIFAR-10: 45,000 training, 5,000 validation, 10,000 test images; raises DataError where it can't be had."""
    kind = cifar.published()
    checksums = [kind.train_list, kind.test_list, kind.meta["md5"]]
    key = f"{NAME}-" + hashlib.sha256(json.dumps(checksums).encode()).hexdigest()
    if kept := cache.read(key, NAME):
        return kept
    place = cache.cache_folder() / NAME
    with cache.alone(place):  # torchvision writes the files under their final names
        if kept := cache.read(key, NAME):
            return kept
        dataset = cache.write(key, assemble(NAME, *(_at_hand() or _downloaded())))
        _log.info("CIFAR-10 is in %s", cache.cache_folder())
        return dataset


def _at_hand() -> Contents | None:
    """The published files in one of ROOTS; one with others is passed over, with a warning."""
    for root in map(os.path.realpath, map(os.path.expanduser, ROOTS)):
        if cifar.PYTHON.is_at(root):
            try:
                _, contents = cifar.PYTHON.open(root).read()
                _log.info("CIFAR-10 is taken from %s", root)
                return contents
            except DataError as e:
                _log.warning("%s is passed over: %s", root, e)
    return None


def _downloaded() -> Contents:
    place, kind = cache.cache_folder() / NAME, cifar.published()
    _log.info("taking CIFAR-10 from %s, or downloading it there", place)
    try:
        with _patience():
            return cifar.contents(place / kind.base_folder, download=True)
    except (OSError, HTTPException, RuntimeError, tarfile.TarError, EOFError, zlib.error) as e:
        right = f"connect to a network, put {kind.filename} into that folder, or use folder:PATH"
        why = f"cifar10 can't be downloaded from {kind.url} to {place} ({e})"
        if (archive := place / kind.filename).is_file():  # a sound one would have been unpacked
            raise damaged(str(archive), f"its MD5 sum must be {kind.tgz_md5}, and {why}", right) from e
        raise DataError(f"{why}: {right}") from e


@contextmanager
def _patience() -> Iterator[None]:
    """torchvision sets no time limit, and a network that drops everything would be waited for for minutes."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SECONDS_WITHOUT_A_BYTE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
