"""Trees of folders of classes: `train/<class>/*` and `test/<class>/*`, or one folder of classes, which is split.

`val` is the test part where `test` has none of the classes, as ImageNet comes; beside a `test` it is not used, because
the validation split is a tenth of the training part. Without a test part a fifth of each class becomes it, always the
same. Classes and images are in the order of their names; files that don't end like images are passed over and counted.
"""

from __future__ import annotations

import functools
import hashlib
import os
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainers.data import Images, say
from trainers.data.dataset import SIDE, Split, test_count
from trainers.data.forms import PARTS, Contents, Form, Opened, counted, key_of
from trainers.data.forms.walk import about_image, below, entries, folders, followed, is_folder, is_image
from trainers.data.images import decode, in_parallel, read_file
from trainers.errors import DataError
from trainers.streams import stream

ANNOTATIONS = "val_annotations.txt"  # tiny-imagenet's: a line for each file of `images`, its name and its class


class _Labelled(NamedTuple):
    """An image: its part, the index of its class, and its path."""

    part: str
    label: int
    path: str


class _File(NamedTuple):
    path: str
    part: str
    label: int
    size: int
    modified: int
    changed: int


@dataclass(frozen=True)
class _Tree:
    """Every image in its order, training part first."""

    classes: tuple[str, ...]
    images: list[_Labelled]

    def count(self) -> Images:
        train = sum(image.part == "train" for image in self.images)
        return counted(train, len(self.images) - train, len(self.classes))

    def open(self) -> Opened:
        files = []
        for part, label, path in self.images:
            about = about_image(path)
            files.append(_File(path, part, label, about.st_size, about.st_mtime_ns, about.st_ctime_ns))

        def read() -> tuple[str, Contents]:
            pixels = np.empty((len(files), 3, SIDE, SIDE), np.uint8)
            # of the very bytes that are decoded, should a file have just changed
            key = _key(self.classes, files, pixels)
            labels = np.array([file.label for file in files], np.int64)
            cut = sum(file.part == "train" for file in files)
            return key, Contents(self.classes, Split(pixels[:cut], labels[:cut]), Split(pixels[cut:], labels[cut:]))

        return Opened([self.classes, files], functools.partial(_key, self.classes, files), read)


def parts_of(root: str) -> dict[str, list[str]]:
    """The folders that each part could be, in the order of PARTS and whatever the case of their names."""
    places = {}
    for entry in entries(root):
        if any(entry.name.lower() in words for words in PARTS.values()):
            followed(entry.path)
            if is_folder(entry):
                places[entry.name.lower()] = entry.path
    return {part: [places[word] for word in words if word in places] for part, words in PARTS.items()}


def _is_parted(root: str) -> bool:
    return os.path.isdir(root) and all(any(map(folders, places)) for places in parts_of(root).values())


def _parted(root: str) -> _Tree:
    parts = parts_of(root)
    train = next(filter(folders, parts["train"]))
    classes = _classes(train)
    test = _test_of(parts["test"], classes)
    of_test = classes if _is_annotated(test) else _classes(test)
    for place, part, missing in ((test, "train", {*classes} - {*of_test}), (train, "test", {*of_test} - {*classes})):
        if missing:
            raise DataError(
                f"{place} lacks the classes {', '.join(sorted(missing))} of {part}: both must have the same"
            )
    _refuse_one(train, classes)
    for place in parts["test"]:
        if place != test:
            after = parts["test"].index(place) > parts["test"].index(test)
            why = "the validation split is a tenth of the training images" if after else "it has none of the classes"
            say(f"{place} is ignored: {why}")
    if os.path.basename(test).lower() not in ("test", "testing"):
        say(f"{test} is used as the test split")
    passed: list[str] = []
    images = _images("train", train, classes, passed)
    images += _annotated(test, classes) if _is_annotated(test) else _images("test", test, classes, passed)
    _say_passed(root, passed)
    return _Tree(classes, images)


def _test_of(places: list[str], classes: tuple[str, ...]) -> str:
    """The first with one of the classes, or else with any: what it lacks will be said."""
    of_classes = (place for place in places if _is_annotated(place) or not folders(place).keys().isdisjoint(classes))
    return next(of_classes, None) or next(filter(folders, places))


def _undivided(root: str) -> str:
    """The folder of the classes where there is one part alone: `train`, or the root itself; "" where there is none."""
    if not os.path.isdir(root):
        return ""
    parts = parts_of(root)
    train = next(filter(folders, parts["train"]), "")
    if parts["test"] and (train or parts["train"]):
        return ""
    if train:
        return "" if all(parts_of(train).values()) else train
    # A class may have a part's name, as the train among vehicles, but holds no folders then.
    if any(folders(place) for places in parts.values() for place in places):
        return ""
    classes = folders(root).values()
    if any(parts_of(place)["train"] for place in classes):  # each is a data set of its own
        return ""
    return root if sum(map(_holds_images, classes)) > 1 else ""


def _holds_images(folder: str) -> bool:
    """Whether images are in a folder, or in the only folder in it."""
    inner = list(folders(folder).values())
    places = [folder, *inner] if len(inner) == 1 else [folder]
    return any(is_image(entry.name) for place in places for entry in entries(place))


def _split(root: str) -> _Tree:
    place = _undivided(root)
    classes = _classes(place)
    _refuse_one(place, classes)
    passed: list[str] = []
    images = _images("train", place, classes, passed)
    _say_passed(root, passed)
    counts = np.bincount([image.label for image in images]).tolist()
    if (least := min(counts)) < 2:
        raise DataError(
            f"{place} has only one image of the class {classes[counts.index(least)]}: without a test part, every class "
            "must have two or more"
        )
    random = stream(0, "test split")
    parts = []
    for count in counts:
        of_class = np.full(count, "train", object)
        of_class[random.permutation(count)[: test_count(count)]] = "test"
        parts += of_class.tolist()
    images = [image._replace(part=part) for image, part in zip(images, parts, strict=True)]
    images.sort(key=lambda image: image.part == "test")
    say(
        f"{place} has no test part: {parts.count('test')} of its {len(images)} images, a fifth of each class and "
        "always the same ones, are held out as the test split"
    )
    return _Tree(classes, images)


PARTED = Form(
    "a tree of train/<class>/* and test/<class>/* (or val/<class>/*) images",
    _is_parted,
    lambda root: _parted(root).count(),
    lambda root: _parted(root).open(),
)
UNDIVIDED = Form(
    "a folder of images for each class, at the top or in train, of which a fifth is the test split",
    lambda root: bool(_undivided(root)),
    lambda root: _split(root).count(),
    lambda root: _split(root).open(),
)


def _classes(place: str) -> tuple[str, ...]:
    """The names of the folders in the folder of a part."""
    for entry in entries(place):
        followed(entry.path)
    return tuple(folders(place))


def _refuse_one(place: str, classes: tuple[str, ...]) -> None:
    if len(classes) < 2:
        raise DataError(f"{place} has only the class {classes[0]}: it must hold a folder for each of at least two")


def _images(part: str, place: str, classes: tuple[str, ...], passed: list[str]) -> list[_Labelled]:
    """The images of a part, class by class; the paths of all other files are added to `passed`."""
    passed += [entry.path for entry in entries(place) if not is_folder(entry)]
    images = []
    for label, name in enumerate(classes):
        paths, others = below(os.path.join(place, name))
        if not paths:
            has = f"has no images, only {os.path.basename(others[0])}" if others else "is empty"
            raise DataError(f"{os.path.join(place, name)} {has}: every class must have at least one image")
        images += [_Labelled(part, label, path) for path in paths]
        passed += others
    return images


def _say_passed(root: str, passed: list[str]) -> None:
    if passed:
        files = "1 file" if len(passed) == 1 else f"{len(passed)} files"
        say(
            f"ignored {files} below {root} not named like an image, or outside the folders of the classes, "
            f"such as {passed[0]}"
        )


def _is_annotated(place: str) -> bool:
    return os.path.isfile(os.path.join(place, ANNOTATIONS)) and os.path.isdir(os.path.join(place, "images"))


def _annotated(place: str, classes: tuple[str, ...]) -> list[_Labelled]:
    """tiny-imagenet's test part."""
    file = os.path.join(place, ANNOTATIONS)
    about_image(file)
    labels = {name: label for label, name in enumerate(classes)}
    images = []
    for number, line in enumerate(os.fsdecode(read_file(file)).splitlines(), 1):
        name, kind = [*line.split("\t"), "", ""][:2]
        if not name or os.path.basename(name) != name or kind not in labels:
            raise DataError(f"line {number} of {file} must begin with an image's name and its class, but is {line!r}")
        images.append(_Labelled("test", labels[kind], os.path.join(place, "images", name)))
    if missing := set(range(len(classes))).difference(image.label for image in images):
        names = ", ".join(classes[label] for label in sorted(missing))
        raise DataError(f"{file} has no image of the classes {names}: every class must have at least one")
    return sorted(images, key=lambda image: (image.label, image.path))


def _key(classes: tuple[str, ...], files: list[_File], images: NDArray[np.uint8] | None = None) -> str:
    """The key of what is in the files, which are also decoded into `images` where these are given."""

    def content(index: int) -> str:
        data = read_file(files[index].path)
        if images is not None:
            images[index] = decode(data, files[index].path)
        return hashlib.sha256(data).hexdigest()

    contents = zip(files, in_parallel(content, range(len(files))), strict=True)
    return key_of(classes, [(file.part, file.label, digest) for file, digest in contents])
