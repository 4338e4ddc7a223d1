"""Images to train on, by name: `digits`, `cifar10`, `folder:PATH`.

>>> dataset = load("folder:~/pictures")
>>> dataset.train.images.shape, dataset.classes
((45000, 3, 32, 32), ('airplane', 'automobile', ...))

A data set is held once a process however many members are trained on it, and, where it comes from the cache, once a
machine: the arrays are then mapped from files. What a loader needs is imported only when it is asked for.
"""

from __future__ import annotations

import functools
import threading

from trainers.data.dataset import Dataset, Split, probe
from trainers.errors import DataError

__all__ = ["DataError", "Dataset", "Split", "load", "probe"]

_ONE_AT_A_TIME = threading.Lock()


def load(name: str) -> Dataset:
    """The data set of that name: `digits`, `cifar10` or `folder:PATH`.

    Kept for the life of the process, so a folder that changes later is not read again. Raises DataError, in one line,
    for an unknown name and for data that are missing, broken or can't be kept.
    """
    # functools.cache alone would let two threads load the same data side by side and keep two copies.
    with _ONE_AT_A_TIME:
        return _load(name)


@functools.cache
def _load(name: str) -> Dataset:
    if name == "digits":
        from trainers.data.digits import load_digits

        return load_digits()
    if name == "cifar10":
        from trainers.data.cifar10 import load_cifar10

        return load_cifar10()
    if name.startswith("folder:"):
        from trainers.data.folder import load_folder

        return load_folder(name.removeprefix("folder:"))
    raise DataError(f"data {name!r} is unknown: it must be digits, cifar10 or folder:PATH")
