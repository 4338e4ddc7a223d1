"""How folders of images are walked: in the order of names, through links, and no further than once.

Links are followed, wherever they lead: that is how shared data are put together. What they lead to must be a file of an
image's size, as everything that is read. Names that begin with a dot are passed over.
"""

from __future__ import annotations

import os
import stat

from trainers.data.images import endings, readable
from trainers.errors import DataError

LARGEST = 1 << 28  # bytes of a file: a photograph has a hundredth of that


def entries(folder: str) -> list[os.DirEntry[str]]:
    """What is in a folder, by name; raises DataError where it can't be read."""
    with readable(folder, "use another folder"), os.scandir(folder) as scan:
        return sorted((entry for entry in scan if not entry.name.startswith(".")), key=lambda entry: entry.name)


def folders(folder: str) -> dict[str, str]:
    """The paths of the folders in a folder by their names."""
    return {entry.name: entry.path for entry in entries(folder) if is_folder(entry)}


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder or a link to one; only for links is anything looked up."""
    return entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and os.path.isdir(entry.path))


def is_image(name: str) -> bool:
    """Whether a file's name ends like an image's."""
    return name.lower().endswith(endings())


def followed(path: str) -> None:
    """Raises DataError for a link that leads nowhere, as those of data that were not fetched."""
    if os.path.islink(path) and not os.path.exists(path):
        raise DataError(
            f"{path} is a link to {os.readlink(path)}, which does not exist: fetch the data "
            "(git annex get, dvc pull), or remove the link"
        )


def below(folder: str) -> tuple[list[str], list[str]]:
    """The paths of the images in a folder and in the folders below it, as ImageFolder walks, and of all other files.

    Raises DataError for what can't be read, and where links lead to one folder twice: it could be for ever.
    """
    images: list[str] = []
    others: list[str] = []
    walked: set[tuple[int, int]] = set()
    left = [folder]
    while left:
        here = left.pop()
        with readable(here, "use another folder"):
            about = os.stat(here)
        if (about.st_dev, about.st_ino) in walked:
            raise DataError(f"{here} leads to a folder that was read already: remove this link")
        walked.add((about.st_dev, about.st_ino))
        further: list[str] = []
        for entry in entries(here):
            (further if is_folder(entry) else images if is_image(entry.name) else others).append(entry.path)
        left += reversed(further)
    return images, others


def about_image(path: str) -> os.stat_result:
    """What is known of a file that is to be read; raises DataError for a pipe, a device, or what no image can be."""
    with readable(path):
        try:
            about = os.stat(path)
        except FileNotFoundError:
            followed(path)
            raise
    # Opening anything else, such as a pipe, could wait for ever.
    if not stat.S_ISREG(about.st_mode):
        raise DataError(f"{path} is not a file: the folder of a class holds images and folders of images")
    if about.st_size > LARGEST:
        raise DataError(f"{path} is larger than any image, {LARGEST >> 20} MiB: remove it")
    return about
