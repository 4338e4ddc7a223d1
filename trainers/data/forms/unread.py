"""Forms that are recognised but not read: how each is told, what it is called, and how it becomes one that is read."""

from __future__ import annotations

import os
import shlex
import tarfile
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from itertools import islice
from typing import NamedTuple

from trainers.data.forms.walk import entries, folders, is_image

SAVE = "save each image as images/<class>/<name>.png, then use folder:images"
# Kaggle's lines are `id,label`; the images are linked, not copied.
LINK = (
    'link the images into folders of their classes, then use folder:images: python3 -c "import csv, glob, os, sys; '
    "[(os.makedirs(f'images/{b}', exist_ok=True), os.symlink(i, f'images/{b}/{os.path.basename(i)}')) "
    "for a, b in list(csv.reader(open(sys.argv[1] + '/trainLabels.csv')))[1:] "
    "for i in glob.glob(f'{glob.escape(os.path.abspath(sys.argv[1]))}/train/{a}.*')]\" {root}"
)


class Unread(NamedTuple):
    """A form: what it is in words, how names of its files look in small letters, and the way to one that is read.

    In `way`, {root} is the path that was given and {file} that of the file, quoted for a shell. `holds` looks closer at
    such a file, where names leave it open.
    """

    words: str
    names: tuple[str, ...]
    way: str
    holds: Callable[[str], bool] = os.path.exists


def _of_webdataset(archive: str) -> bool:
    """Whether the first files are an image and its class, under one name."""
    if not os.path.isfile(archive):  # to open a pipe would be to wait for ever
        return False
    try:
        with tarfile.open(archive, "r:") as tar:
            names = [member.name for member in islice(tar, 20) if member.isfile()]
    except (tarfile.TarError, OSError, EOFError, ValueError):
        return False
    stems = {name.rsplit(".", 1)[0] for name in names if is_image(name)}
    return any(name.endswith((".cls", ".json", ".txt")) and name.rsplit(".", 1)[0] in stems for name in names)


def _of_unpacked_images(table: str) -> bool:
    """Whether the images are beside it, and not in an archive still."""
    return os.path.isdir(os.path.join(os.path.dirname(table), "train"))


UNREAD = (
    Unread("Kaggle's table of the labels of images", ("trainlabels.csv",), LINK, _of_unpacked_images),
    Unread(
        "a Hugging Face dataset as save_to_disk writes it",
        ("dataset_dict.json", "*.arrow"),
        "load it with datasets.load_from_disk, write its splits with to_parquet as images/train.parquet and "
        "images/test.parquet, then use folder:images",
    ),
    Unread(
        "CIFAR-100",
        ("cifar-100-*", "file.txt~", "fine_label_names.txt"),
        f"load it with torchvision.datasets.CIFAR100, {SAVE}",
    ),
    Unread("STL-10", ("train_x.bin", "stl10_binary*"), f"load it with torchvision.datasets.STL10, {SAVE}"),
    Unread("a WebDataset", ("*.tar",), f"load it with webdataset, {SAVE}", _of_webdataset),
    Unread("TFRecord files", ("*.tfrecord*", "*.tfrec"), f"load them with tensorflow_datasets or tf.data, {SAVE}"),
    Unread("an LMDB database", ("data.mdb", "*.lmdb"), f"load it with lmdb, {SAVE}"),
    Unread("an HDF5 file", ("*.h5", "*.hdf5"), f"load it with h5py, {SAVE}"),
    Unread("NumPy's arrays", ("*.npz", "*.npy"), f"load them with numpy.load, and with PIL.Image.fromarray {SAVE}"),
    Unread("a MATLAB file", ("*.mat",), f"load it with scipy.io.loadmat, {SAVE}"),
    Unread("PyTorch's tensors", ("*.pt", "*.pth"), f"load them with torch.load, {SAVE}"),
    Unread("a pickle, which can run programs", ("*.pkl", "*.pickle"), f"if you trust it, load it and {SAVE}"),
    Unread(
        "RecordIO, FFCV or MosaicML shards",
        ("*.rec", "*.beton", "*.mds"),
        f"load them with the library that wrote them, {SAVE}",
    ),
    Unread("a zip archive", ("*.zip",), "unpack it, then use folder:images: python3 -m zipfile -e {file} images"),
    Unread(
        "a tar archive",
        ("*.tar", "*.tar.*", "*.tgz", "*.tbz2", "*.txz"),
        "unpack it, then use folder:images: mkdir images && tar -xf {file} -C images",
    ),
    Unread("an archive", ("*.7z", "*.rar"), "unpack it into a folder, then use folder:THAT-FOLDER"),
    Unread(
        "a table",
        ("*.csv", "*.tsv"),
        "if it has the labels of images, link each image to images/<class>/, then use folder:images",
    ),
)


def recognised(root: str) -> str:
    """What is at a path in words, with the file by which it is told, and the way; "" where nothing is recognised."""
    files = list(_files(root))
    for form in UNREAD:
        for file in files:
            if any(fnmatch(os.path.basename(file).lower(), name) for name in form.names) and form.holds(file):
                way = form.way.replace("{root}", shlex.quote(root)).replace("{file}", shlex.quote(file))
                return f"{file} is {form.words}, which can't be read as it is: {way}"
    if image := next((file for file in files if is_image(file)), ""):
        return f"{image} is an image without a class: move or link each image to train/<class>/"
    return ""


def _files(root: str) -> Iterator[str]:
    """The path itself, and what is in it and in its folders."""
    yield root
    if os.path.isdir(root):
        yield from (entry.path for entry in entries(root))
        for folder in folders(root).values():
            if os.access(folder, os.R_OK | os.X_OK):
                yield from (entry.path for entry in entries(folder))
