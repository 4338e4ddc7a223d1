"""Parquet files with an image and a label column, as the Hugging Face hub keeps them; one file, or a folder of them.

The image column holds encoded images: bytes, or a struct whose `bytes` they are. The label column holds whole numbers
or text; the classes are those named in the hub's note in the file, else the values in their order. Files are of a part
by the first word of their names (`train-00000-of-00001.parquet`) or by the name of their folder. Without a test part,
as with one file alone, a fifth of the images becomes it.
"""

from __future__ import annotations

import glob
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainers.data import Images
from trainers.data.dataset import SIDE, Split
from trainers.data.forms import PARTS, Contents, Form, Opened, counted, of_files
from trainers.data.images import damaged, decode, in_parallel
from trainers.errors import DataError

IMAGE = ("image", "img")
LABEL = ("label", "labels", "class", "target", "fine_label")
AT_ONCE = 1024
_WORDS = {word for words in PARTS.values() for word in words}


class _Columns(NamedTuple):
    image: str
    label: str
    classes: tuple[str, ...] | None


def _files(root: str) -> dict[str, list[str]]:
    """The files of each part in the order of their names; none where there are none at the path."""
    if os.path.isfile(root):
        return {"train": [root]} if root.endswith(".parquet") else {}
    parts: dict[str, list[str]] = {}
    for below in ("*.parquet", os.path.join("*", "*.parquet")):
        for path in filter(os.path.isfile, sorted(glob.glob(os.path.join(glob.escape(root), below)))):
            folder, name = os.path.split(path.lower())
            words = (re.split(r"[-_.]", name)[0], os.path.basename(folder))
            parts.setdefault(next((word for word in words if word in _WORDS), ""), []).append(path)
    if list(parts) == [""]:
        return {"train": parts[""]}
    chosen = {part: next((parts[word] for word in words if word in parts), []) for part, words in PARTS.items()}
    return {part: paths for part, paths in chosen.items() if paths}


def _count(root: str) -> Images:
    parts, pa = _parts(root), _arrow()
    with _readable(root):
        rows = {part: sum(pa.parquet.read_metadata(path).num_rows for path in paths) for part, paths in parts.items()}
    columns = _columns(parts["train"][0])
    classes = columns.classes or np.unique(_labels(parts["train"], columns.label))
    return counted(rows["train"], rows.get("test"), len(classes))


def _parts(root: str) -> dict[str, list[str]]:
    parts = _files(root)
    if "train" not in parts:
        raise DataError(f"{root} has no Parquet file for training: call one train.parquet, or train-*.parquet")
    return parts


def _open(root: str) -> Opened:
    parts = _parts(root)
    kind = [FORM.words, {part: len(paths) for part, paths in parts.items()}]
    return of_files(kind, [path for paths in parts.values() for path in paths], lambda: _contents(parts))


FORM = Form("Parquet files with an image and a label column", lambda root: bool(_files(root)), _count, _open)


def _contents(parts: dict[str, list[str]]) -> Contents:
    columns = _columns(parts["train"][0])
    labels = {part: _labels(paths, columns.label) for part, paths in parts.items()}
    if len({values.dtype.kind for values in labels.values()}) > 1:
        raise DataError(
            f"column {columns.label} of {parts['test'][0]} has another type than that of {parts['train'][0]}"
        )
    if columns.classes is None:
        values = np.unique(labels["train"])
        names = tuple(str(value) for value in values)
    else:
        values, names = np.arange(len(columns.classes)), columns.classes
    if len(names) < 2:
        raise DataError(f"{parts['train'][0]} has {len(names)} class: there must be two or more")
    splits = {}
    for part, paths in parts.items():
        if len(strange := np.setdiff1d(labels[part], values)):
            raise DataError(
                f"column {columns.label} of {paths[0]}: the label {strange[0]} is none of the {len(names)} classes "
                f"{', '.join(names[:10])}{', ...' * (len(names) > 10)}"
            )
        images = np.empty((len(labels[part]), 3, SIDE, SIDE), np.uint8)
        _decode(paths, columns.image, images)
        splits[part] = Split(images, np.searchsorted(values, labels[part]).astype(np.int64))
    return Contents(names, splits["train"], splits.get("test"))


def _columns(path: str) -> _Columns:
    """Which columns hold images and labels, and the classes where the hub's note names them."""
    pa = _arrow()
    with _readable(path):
        schema = pa.parquet.read_schema(path)
    image = _column(path, schema, "images, as bytes or as a struct with bytes", IMAGE, _holds_images)
    label = _column(path, schema, "labels, whole numbers or text", LABEL, _holds_labels)
    try:
        note = json.loads((schema.metadata or {})[b"huggingface"])
        classes = tuple(str(name) for name in note["info"]["features"][label]["names"])
    except (KeyError, TypeError, ValueError):
        classes = None
    return _Columns(image, label, classes if pa.types.is_integer(schema.field(label).type) else None)


def _column(path: str, schema: Any, what: str, known: tuple[str, ...], fits: Any) -> str:
    """The column of that kind: the only one, or the one that is called as such columns are."""
    fitting = [field.name for field in schema if fits(field.type)]
    named = [name for name in known if name in fitting]
    if len(fitting) == 1 or named:
        return str((named or fitting)[0])
    has = (
        f"{len(fitting)} such columns, {', '.join(fitting)}" if fitting else f"only {', '.join(schema.names) or 'none'}"
    )
    raise DataError(f"{path} must have a column of {what}, called {' or '.join(known)}, but has {has}")


def _holds_images(kind: Any) -> bool:
    types = _arrow().types
    if types.is_struct(kind):
        return any(field.name == "bytes" and _holds_images(field.type) for field in kind)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _holds_labels(kind: Any) -> bool:
    types = _arrow().types
    if types.is_dictionary(kind):
        return _holds_labels(kind.value_type)
    return bool(types.is_integer(kind) or types.is_string(kind) or types.is_large_string(kind))


def _batches(paths: list[str], column: str) -> Iterator[tuple[str, int, Any]]:
    """A column without nulls: in pieces, each with its file and the number of its first row."""
    pa = _arrow()
    for path in paths:
        with _readable(path), pa.parquet.ParquetFile(path) as file:
            if column not in file.schema_arrow.names:
                raise DataError(
                    f"{path} must have the column {column}, but has only {', '.join(file.schema_arrow.names)}"
                )
            start = 0
            for batch in file.iter_batches(AT_ONCE, columns=[column]):
                values = batch.column(0)
                if pa.types.is_struct(values.type):
                    values = pa.compute.struct_field(values, "bytes")
                if pa.types.is_dictionary(values.type):
                    values = values.dictionary_decode()
                if values.null_count:
                    row = start + values.is_null().to_pylist().index(True)
                    raise DataError(f"column {column} of {path} is empty in row {row}: every row must have a value")
                yield path, start, values
                start += len(values)


def _labels(paths: list[str], column: str) -> NDArray[Any]:
    pieces = [np.array(values.to_pylist()) for _, _, values in _batches(paths, column)]
    if not pieces or len(kinds := {piece.dtype.kind for piece in pieces}) > 1:
        what = "no rows" if not pieces else f"labels of several types ({', '.join(kinds)})"
        raise DataError(f"column {column} of {paths[0]} has {what}: there must be labels of one type")
    return np.concatenate(pieces)


def _decode(paths: list[str], column: str, images: NDArray[np.uint8]) -> None:
    """Decode all images of the files into an array, which has room for them."""
    at = 0
    for path, start, values in _batches(paths, column):
        encoded = values.to_pylist()
        rows = [(content, f"row {start + i} of {path}") for i, content in enumerate(encoded)]
        images[at : at + len(rows)] = in_parallel(lambda row: decode(*row), rows)
        at += len(rows)


def _arrow() -> Any:
    """pyarrow, which only this form needs."""
    try:
        import pyarrow
        import pyarrow.compute
        import pyarrow.parquet
    except ImportError as e:
        raise DataError(f"Parquet files need pyarrow ({e}): install it") from e
    return pyarrow


@contextmanager
def _readable(path: str) -> Iterator[None]:
    pa = _arrow()
    try:
        yield
    except (pa.ArrowException, ValueError, OSError) as e:  # ValueError: a name that is no UTF-8
        if not os.path.isfile(path):
            raise DataError(f"{path} can't be read ({e}): allow it, or remove it") from e
        raise damaged(path, e, "replace it with a sound Parquet file, or remove it") from e
