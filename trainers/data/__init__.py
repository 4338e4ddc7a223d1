"""Images to train on, by name: `digits`, `cifar10`, `folder:PATH`, `adding:32`; one table of where they come from.

>>> dataset = load("folder:~/pictures")
>>> dataset.train.images.shape, dataset.classes
((45000, 3, 32, 32), ('airplane', 'automobile', ...))

A data set is held once a process however many members are trained on it, and, where it comes from the cache, once a
machine: the arrays are then mapped from files. What a loader needs is imported only when it is asked for.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from trainers import plugins
from trainers.data.sequences import ARGUMENT, TEST, TRAIN, sequences_of
from trainers.errors import DataError

if TYPE_CHECKING:
    from trainers.data.dataset import Dataset


class Images(NamedTuple):
    """How many images each split has, and of how many classes they are."""

    train: int
    validation: int
    test: int
    classes: int


@dataclass(frozen=True)
class Source:
    """One kind of data: its loader, as "module:function", and about how many images it has.

    Where it `takes_path` it is named `name:PATH`, and its functions are given the path; else they are given nothing.
    `argument` is what stands for PATH in messages. For sequences, `steps` says how many steps they have, or raises
    DataError. The loader returns a `Dataset` (`trainers.data.dataset.assemble`) or raises DataError; both it and the
    numbers of images are of the usual HOLDOUT, from which `load` and `images_of` make others.
    """

    loader: str
    images: Callable[..., Images]
    takes_path: bool = False
    argument: str = "PATH"
    steps: Callable[[str], int] | None = None


def _made(loader: str) -> Source:
    """A source of sequences that are made, each of ten classes."""
    return Source(
        loader,
        lambda _: Images(TRAIN - TRAIN // 10, TRAIN // 10, TEST, 10),
        takes_path=True,
        argument=ARGUMENT,
        steps=lambda argument: sequences_of(argument).steps,
    )


def _count_folder(path: str) -> Images:
    from trainers.data.folder import count_folder

    return count_folder(path)


HOLDOUT = 0.1  # the usual share of the training images that is the validation split

DATA: Mapping[str, Source] = {
    "digits": Source("trainers.data.digits:load_digits", lambda: Images(1295, 143, 359, 10)),
    "cifar10": Source("trainers.data.cifar10:load_cifar10", lambda: Images(45000, 5000, 10000, 10)),
    "folder": Source("trainers.data.folder:load_folder", _count_folder, takes_path=True),
    "adding": _made("trainers.data.adding:load_adding"),
    "copy": _made("trainers.data.copy:load_copy"),
}
DATA = plugins.extended(DATA, "gradsweep.data", Source)

_log = logging.getLogger("gradsweep")
_ONE_AT_A_TIME = threading.Lock()
_LOADED: dict[tuple[str, float], Dataset] = {}


@functools.cache
def say(line: str) -> None:
    """Log what was found out about data: once a process, however often they are counted and opened."""
    _log.info("%s", line)


def names() -> str:
    """What data can be, in words."""
    known = plugins.unloaded(DATA).items()
    *most, last = (f"{name}:{s.argument}" if isinstance(s, Source) and s.takes_path else name for name, s in known)
    return f"{', '.join(most)} or {last}"


def source_of(name: str) -> tuple[Source, list[str]]:
    """The source of data of that name, and what its functions are given; raises DataError for an unknown name."""
    word, colon, path = name.partition(":")
    source = DATA.get(word)
    if source is None or source.takes_path != bool(colon):
        raise DataError(f"data must be {names()}, but got {name!r}")
    return source, [path] if source.takes_path else []


def steps_of(name: str) -> int | None:
    """How many steps the sequences of that name have, None for images; raises DataError for an unknown name."""
    source, arguments = source_of(name)
    try:
        return source.steps(*arguments) if source.steps else None
    except DataError as error:
        raise DataError(f"data {name!r}: {error}") from None


def images_of(name: str, holdout: float = HOLDOUT) -> Images:
    """About how many images this data has, before it is loaded; zeros for a folder that can't be read."""
    source, arguments = source_of(name)
    images = source.images(*arguments)
    if holdout == HOLDOUT or not images.train:
        return images
    from trainers.data.dataset import validation_count

    count = images.train + images.validation
    validation = validation_count(count, holdout)
    return images._replace(train=count - validation, validation=validation)


def load(name: str, holdout: float = HOLDOUT) -> Dataset:
    """The data set of that name, of whose training images such a share is the validation split.

    Kept for the life of the process, so a folder that changes later is not read again. Raises DataError, in one line,
    for an unknown name and for data that are missing, broken or can't be kept.
    """
    with _ONE_AT_A_TIME:
        if (usual := (name, HOLDOUT)) not in _LOADED:
            source, arguments = source_of(name)
            module, _, function = source.loader.partition(":")
            _LOADED[usual] = getattr(import_module(module), function)(*arguments)
        if (asked := (name, holdout)) not in _LOADED:
            from trainers.data.dataset import held_out

            _LOADED[asked] = held_out(_LOADED[usual], holdout)
        return _LOADED[asked]
