"""The forms of data: the same images are the same data set in each, and what is broken is named in one line."""

import gzip
import hashlib
import io
import json
import os
import pickle
import re
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.trainers.data.files import packed, written
from trainers.data import images_of, load
from trainers.data.folder import FORMS, load_folder
from trainers.data.forms import cifar
from trainers.data.forms import idx as idx_form
from trainers.data.forms import parquet as parquet_form
from trainers.data.images import decode
from trainers.errors import DataError

pytestmark = pytest.mark.usefixtures("cache")
PROJECT = Path(__file__).parents[3]
CIFAR = Path(os.environ.get("GRADSWEEP_TEST_CIFAR", PROJECT.parent / "shared/data/cifar10-jpeg.tar"))
NAMES = ["airplane", "automobile", "bird"]
LABELS = [i % 3 for i in range(10)]


def png(pixels: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def table(images: list[bytes | None], labels: list[Any], names: list[str] | None = None, **more: Any) -> pa.Table:
    """As the hub keeps images: a struct of the file's bytes and its path, and a note of the classes' names."""
    encoded = [{"bytes": image, "path": None} for image in images]
    made = pa.table({"img": encoded, "label": labels, **more})
    note = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
    return made.replace_schema_metadata({"huggingface": json.dumps(note)}) if names else made


def idx(values: np.ndarray) -> bytes:
    return bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


@pytest.fixture
def pngs(pixels) -> list[bytes]:
    return [png(image.reshape(3, 32, 32).transpose(1, 2, 0)) for image in pixels.reshape(-1, 3072)]


@pytest.fixture
def hub(tmp_path, pngs) -> Path:
    """A folder as one of the hub: the training part in two files."""
    root = tmp_path / "hub"
    (root / "data").mkdir(parents=True)
    for name, start, stop in (
        ("train-00000-of-00002", 0, 20),
        ("train-00001-of-00002", 20, 50),
        ("test-00000", 50, 60),
    ):
        labels = LABELS * ((stop - start) // 10)
        pq.write_table(table(pngs[start:stop], labels, NAMES), root / f"data/{name}.parquet", row_group_size=7)
    return root


@pytest.fixture
def greys() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        "train-images-idx3-ubyte": random.integers(0, 256, (12, 28, 28), np.uint8),
        "train-labels-idx1-ubyte": np.array([3, 1, 7] * 4, np.uint8),
        "t10k-images-idx3-ubyte": random.integers(0, 256, (5, 28, 28), np.uint8),
        "t10k-labels-idx1-ubyte": np.array([7, 3, 1, 1, 3], np.uint8),
    }


def test_the_same_images_are_the_same_data_set_in_every_form(
    tmp_path, published, binary_version, hub, pixels, caplog
) -> None:
    caplog.set_level("INFO", "gradsweep")
    written(tmp_path / "python/cifar-10-batches-py", published)
    written(tmp_path / "renamed", published)
    written(tmp_path / "binary/cifar-10-batches-bin", binary_version)
    python, binary = packed(published, "cifar-10-batches-py"), packed(binary_version, "cifar-10-batches-bin")
    written(tmp_path / "archives", {"cifar-10-python.tar.gz": python, "other-name.tgz": binary})
    written(tmp_path / "archive", {"cifar-10-binary.tar.gz": binary})
    python_words, binary_words, parquet_words = cifar.PYTHON.words, cifar.BINARY.words, parquet_form.FORM.words
    forms = {
        "python": python_words,
        "python/cifar-10-batches-py": python_words,
        "renamed": python_words,
        "archives": python_words,
        "archives/cifar-10-python.tar.gz": python_words,
        "binary": binary_words,
        "binary/cifar-10-batches-bin": binary_words,
        "archives/other-name.tgz": binary_words,
        "archive": binary_words,
        "hub": parquet_words,
        "hub/data": parquet_words,
    }
    digests = set()
    for place, words in forms.items():
        dataset = load(f"folder:{tmp_path / place}")
        assert f"folder:{tmp_path / place}: {words}" in caplog.messages
        assert dataset.classes == tuple(NAMES)
        assert [len(s) for s in (dataset.train, dataset.validation, dataset.test)] == [45, 5, 10]
        assert np.array_equal(dataset.test.images, pixels[5].reshape(10, 3, 32, 32))
        assert dataset.test.labels.tolist() == LABELS
        digests.add(dataset.digest)
    assert len(digests) == 1


@pytest.mark.parametrize("name", ["{}", "{}.gz", "dot", "MNIST/raw/{}"])
def test_idx_files_under_all_of_their_names(tmp_path, greys, name) -> None:
    for file, values in greys.items():
        file = file.replace("-idx", ".idx") if name == "dot" else name.format(file)
        path = tmp_path / "data" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(idx(values)) if file.endswith(".gz") else idx(values))
    dataset = load_folder(str(tmp_path / ("data/MNIST" if "/" in name else "data")))
    assert dataset.classes == ("1", "3", "7")
    assert dataset.test.labels.tolist() == [2, 1, 0, 0, 1]
    assert len(dataset.train) == 11 and len(dataset.validation) == 1
    for image, grey in zip(dataset.test.images, greys["t10k-images-idx3-ubyte"], strict=True):
        assert np.array_equal(image, decode(png(grey), "x"))
        assert np.array_equal(image[0], image[1]) and np.array_equal(image[0], image[2])


def test_images_of_32x32_in_idx_files_are_not_resized(tmp_path, greys) -> None:
    exact = np.random.default_rng(1).integers(0, 256, (5, 32, 32), np.uint8)
    files = {name: idx(values) for name, values in (greys | {"t10k-images-idx3-ubyte": exact}).items()}
    dataset = load_folder(str(written(tmp_path / "mnist", files)))
    assert np.array_equal(dataset.test.images, np.repeat(exact[:, None], 3, axis=1))


def parquet(path: Path, table: pa.Table) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path


def test_one_parquet_file_alone_is_split_always_the_same_way(tmp_path, pngs, caplog) -> None:
    caplog.set_level("INFO", "gradsweep")
    path = parquet(tmp_path / "all.parquet", table(pngs, LABELS * 6, NAMES))
    dataset = load_folder(str(path))
    assert [len(s) for s in (dataset.train, dataset.validation, dataset.test)] == [44, 4, 12]
    assert f"{path} has no test part: a fifth of its images, always the same, is the test split" in caplog.messages
    images = {i.tobytes() for s in (dataset.train, dataset.validation, dataset.test) for i in s.images}
    assert images == {decode(content, "x").tobytes() for content in pngs}
    again = parquet(tmp_path / "elsewhere/train-00000-of-00001.parquet", table(pngs, LABELS * 6, NAMES))
    assert load_folder(str(again.parent)).digest == dataset.digest


@pytest.mark.parametrize(
    "places",
    [
        ("train.parquet", "test.parquet"),
        ("default/train/0000.parquet", "default/validation/0000.parquet"),
        ("train/0.parquet", "test/0.parquet"),
        ("Train_a.parquet", "val_a.parquet"),
    ],
)
def test_parts_of_parquet_files_are_known_by_their_names(tmp_path, pngs, pixels, places) -> None:
    for place, part in zip(places, (slice(50), slice(50, 60)), strict=True):
        parquet(tmp_path / "hub" / place, table(pngs[part], LABELS * (len(pngs[part]) // 10)))
    root = tmp_path / "hub/default" if places[0].startswith("default") else tmp_path / "hub"
    dataset = load_folder(str(root))
    assert np.array_equal(dataset.test.images, pixels[5].reshape(10, 3, 32, 32))
    assert dataset.classes == ("0", "1", "2")


def test_the_same_files_in_other_parts_are_another_data_set(tmp_path, pngs) -> None:
    for folder_name, names in (("lone", ("a", "b")), ("parted", ("train", "test"))):
        for name, part in zip(names, (slice(50), slice(50, 60)), strict=True):
            parquet(tmp_path / folder_name / f"{name}.parquet", table(pngs[part], LABELS * (len(pngs[part]) // 10)))
    assert [len(load_folder(str(tmp_path / name)).test) for name in ("lone", "parted")] == [12, 10]


@pytest.mark.parametrize(
    "labels, classes",
    [
        (pa.array([NAMES[i] for i in LABELS]), tuple(NAMES)),
        (pa.array([NAMES[i] for i in LABELS]).dictionary_encode(), tuple(NAMES)),
        (pa.array([5 * i + 1 for i in LABELS], pa.uint8()), ("1", "6", "11")),
    ],
    ids=["text", "dictionary", "numbers"],
)
def test_columns_of_other_types_and_names(tmp_path, pngs, labels, classes) -> None:
    for part in ("train", "test"):
        columns = {"photo": pa.array(pngs[:10], pa.large_binary()), "kind": labels}
        parquet(tmp_path / f"p/{part}.parquet", pa.table(columns))
    dataset = load_folder(str(tmp_path / "p"))
    assert dataset.classes == classes and dataset.test.labels.tolist() == LABELS


def test_more_columns_than_needed_are_passed_over(tmp_path, pngs) -> None:
    more = {"caption": ["x"] * 10, "coarse_label": LABELS, "thumbnail": pngs[:10]}
    for part in ("train", "test"):
        parquet(tmp_path / f"p/{part}.parquet", table(pngs[:10], LABELS, **more))
    assert load_folder(str(tmp_path / "p")).test.labels.tolist() == LABELS


def test_the_number_of_images_is_known_before_they_are_read(tmp_path, published, binary_version, hub, greys) -> None:
    written(tmp_path / "binary", binary_version)
    written(tmp_path / "mnist", {f"{name}.gz": gzip.compress(idx(values)) for name, values in greys.items()})
    pq.write_table(pa.concat_tables([pq.read_table(f) for f in (hub / "data").iterdir()]), tmp_path / "all.parquet")
    for place in ("binary", "mnist", "hub", "all.parquet"):
        name = f"folder:{tmp_path / place}"
        dataset = load(name)
        expected = (len(dataset.train), len(dataset.validation), len(dataset.test), len(dataset.classes))
        assert images_of(name) == expected
    written(tmp_path / "python", published)
    assert images_of(f"folder:{tmp_path}/python") == images_of("cifar10")
    (tmp_path / "all.parquet").write_bytes(b"PAR1")
    assert images_of(f"folder:{tmp_path}/all.parquet") == (0, 0, 0, 0)


def test_an_unchanged_file_is_not_read_again_and_a_changed_one_is_seen(tmp_path, greys, caplog) -> None:
    caplog.set_level("INFO", "gradsweep")
    root = written(tmp_path / "mnist", {name: idx(values) for name, values in greys.items()})
    first = load_folder(str(root)).digest
    assert caplog.messages.count(f"folder:{root}: {idx_form.FORM.words}") == 1
    caplog.clear()
    assert load_folder(str(root)).digest == first
    assert caplog.messages == []
    file = root / "t10k-images-idx3-ubyte"
    about = file.stat()
    file.write_bytes(idx(255 - greys[file.name]))
    os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert load_folder(str(root)).digest != first


def test_a_file_that_changes_while_it_is_read_is_noticed(tmp_path, greys, cache, monkeypatch) -> None:
    root = written(tmp_path / "mnist", {name: idx(values) for name, values in greys.items()})
    opened = idx_form.FORM.open(str(root))
    (root / "train-labels-idx1-ubyte").write_bytes(idx(greys["train-labels-idx1-ubyte"][::-1].copy()))
    with pytest.raises(DataError, match=f"{root} was changed while it was read: try again"):
        opened.read()


def test_the_archive_leaves_nothing_behind(tmp_path, published, cache) -> None:
    archive = tmp_path / "cifar-10-python.tar.gz"
    archive.write_bytes(packed(published, "cifar-10-batches-py"))
    load_folder(str(archive))
    assert sorted(p.name for p in cache.iterdir()) == ["arrays", "folders", "lock"]


def refused(path: Path | str) -> str:
    with pytest.raises(DataError) as e:
        load_folder(str(path))
    assert "\n" not in str(e.value)
    return str(e.value)


def test_pickles_that_were_not_published_are_not_read(tmp_path, published) -> None:
    class Owned:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "owned"),)

    spoiled = published | {"data_batch_3": pickle.dumps(Owned())}
    root = written(tmp_path / "cifar", spoiled)
    assert re.fullmatch(
        rf"data_batch_3 of {root} is damaged, or not as it was published: its MD5 sum is \w+ and must be \w+, or it is "
        "not read, because a pickle can run programs; download it again, or use the binary version",
        refused(root),
    )
    archive = tmp_path / "cifar-10-python.tar.gz"
    archive.write_bytes(packed(spoiled, "cifar-10-batches-py"))
    assert refused(archive).startswith(f"data_batch_3 of {archive} is damaged, or not as it was published")
    assert not (tmp_path / "owned").exists()


def test_an_archive_writes_nowhere_else(tmp_path, binary_version, cache) -> None:
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w") as tar:
        for name, content in binary_version.items():
            about = tarfile.TarInfo(f"../../{name}")
            about.size = len(content)
            tar.addfile(about, io.BytesIO(content))
        link = tarfile.TarInfo("test_batch.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    assert len(load_folder(str(archive)).test) == 10
    assert {p.name for p in tmp_path.iterdir()} == {"a.tar", "cache"}


Change = Callable[[dict[str, bytes]], object]
BROKEN_BINARY: dict[str, tuple[Change, str]] = {
    "cut off": (
        lambda f: f.update({"data_batch_2.bin": f["data_batch_2.bin"][:-1]}),
        "data_batch_2.bin of {root} is damaged (30729 bytes; sha256 ",
    ),
    "empty": (lambda f: f.update({"test_batch.bin": b""}), "test_batch.bin of {root} is damaged (0 bytes; sha"),
    "label out of range": (
        lambda f: f.update({"test_batch.bin": b"\3" + f["test_batch.bin"][1:]}),
        "test_batch.bin of {root} has the label 3: labels must be below 3, the number of classes in batches.meta.txt",
    ),
    "a batch missing": (lambda f: f.pop("data_batch_5.bin"), "{root}/data_batch_5.bin can't be read (No such file"),
    "no names": (lambda f: f.pop("batches.meta.txt"), "{root}/batches.meta.txt can't be read (No such file"),
    "one name": (
        lambda f: f.update({"batches.meta.txt": b"cat\n"}),
        "batches.meta.txt of {root} names 1 classes: it must",
    ),
}


@pytest.mark.parametrize("case", BROKEN_BINARY)
def test_a_broken_binary_version_is_named(tmp_path, binary_version, case) -> None:
    change, says = BROKEN_BINARY[case]
    change(binary_version)
    root = written(tmp_path / "binary", binary_version)
    assert refused(root).startswith(says.format(root=root))


def test_a_broken_archive_is_named(tmp_path, binary_version) -> None:
    archive = tmp_path / "cifar-10-binary.tar.gz"
    whole = packed(binary_version, "cifar-10-batches-bin")
    torn = whole[:-30] + bytes(4) + whole[-26:]
    for content in (b"", b"a login page", whole[: len(whole) // 2], whole[:-8] + bytes(8), torn):
        archive.write_bytes(content)
        checksum = hashlib.sha256(content).hexdigest()[:12]
        how = rf"(is damaged \(.*; sha256 {checksum}\)|lacks .*): download it again"
        assert re.match(f"{archive} {how}", refused(archive))
        assert "cifar-10-binary.tar.gz" in refused(tmp_path)
    binary_version.pop("test_batch.bin")
    archive.write_bytes(packed(binary_version, "cifar-10-batches-bin"))
    assert refused(archive) == f"{archive} lacks test_batch.bin: download it again"


TRAIN, TEST = "train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
BROKEN_IDX: dict[str, tuple[Change, str]] = {
    "cut off": (
        lambda f: f.update({TRAIN: f[TRAIN][:-1]}),
        "{root}/train-images-idx3-ubyte is damaged (fewer bytes than it says; sha256 ",
    ),
    "more": (
        lambda f: f.update({TRAIN: f[TRAIN] + b"x"}),
        "{root}/train-images-idx3-ubyte is damaged (more bytes than it says; sha256 ",
    ),
    "wrong magic": (
        lambda f: f.update({TRAIN: b"\x89PNG" + f[TRAIN][4:]}),
        "{root}/train-images-idx3-ubyte begins with 89 50 4e 47: an IDX file of bytes in 3 dimensions must begin with "
        "00 00 08 03",
    ),
    "empty": (
        lambda f: f.update({TEST: b""}),
        "{root}/t10k-labels-idx1-ubyte begins with nothing: an IDX file of bytes",
    ),
    "floats": (
        lambda f: f.update({TRAIN: b"\0\0\x0d\3" + f[TRAIN][4:]}),
        "{root}/train-images-idx3-ubyte begins with 00 00",
    ),
    "no pixels": (
        lambda f: f.update({TRAIN: idx(np.zeros((12, 0, 28), np.uint8))}),
        "{root}/train-images-idx3-ubyte is of 12x0x28 bytes: it must have 1 to",
    ),
    "as many pixels as there are": (
        lambda f: f.update({TRAIN: f[TRAIN][:4] + b"\xff" * 12}),
        "{root}/train-images-idx3-ubyte is of 4294967295x4294967295x4294967295 bytes: it must have 1 to",
    ),
    "a file missing": (lambda f: f.pop(TEST), "{root} lacks t10k-labels-idx1-ubyte: all four IDX files must be there"),
    "fewer labels": (
        lambda f: f.update({TEST: idx(np.array([1, 3], np.uint8))}),
        "{root}/t10k-labels-idx1-ubyte has 2 labels, {root}/t10k-images-idx3-ubyte has 5 images: there must be as many",
    ),
    "a label of no class": (
        lambda f: f.update({TEST: idx(np.array([1, 3, 9, 1, 1], np.uint8))}),
        "{root}/t10k-labels-idx1-ubyte has the label 9, which no training image has",
    ),
    "one class": (
        lambda f: f.update({"train-labels-idx1-ubyte": idx(np.ones(12, np.uint8))}),
        "{root}/train-labels-idx1-ubyte has only the label 1: there must be two classes or more",
    ),
}


@pytest.mark.parametrize("case", BROKEN_IDX)
def test_broken_idx_files_are_named(tmp_path, greys, case) -> None:
    change, says = BROKEN_IDX[case]
    files = {name: idx(values) for name, values in greys.items()}
    change(files)
    root = written(tmp_path / "mnist", files)
    assert refused(root).startswith(says.format(root=root))


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b", b"no gzip", gzip.compress(bytes(4), mtime=0)[:-9]])
def test_a_broken_gzip_file_is_named(tmp_path, greys, content) -> None:
    files = {f"{name}.gz": gzip.compress(idx(values)) for name, values in greys.items()}
    root = written(tmp_path / "mnist", files | {f"{TRAIN}.gz": content})
    assert refused(root).startswith(f"{root}/{TRAIN}.gz ")


BROKEN_PARQUET: dict[str, tuple[Callable[[list[bytes]], pa.Table], str]] = {
    "no images": (
        lambda i: pa.table({"label": LABELS}),
        "{file} must have a column of images, as bytes or as a struct with bytes, called image or img, but has only "
        "label",
    ),
    "no labels": (
        lambda i: pa.table({"image": i[:10]}),
        "{file} must have a column of labels, whole numbers or text, called label or labels or class or target or "
        "fine_label, but has only image",
    ),
    "two that could be": (
        lambda i: pa.table({"image": i[:10], "a": LABELS, "b": LABELS}),
        "{file} must have a column of labels, whole numbers or text, called label or labels or class or target or "
        "fine_label, but has 2 such columns, a, b",
    ),
    "a label missing": (
        lambda i: table(i[:10], [*LABELS[:9], None]),
        "column label of {file} is empty in row 9: every row must have a value",
    ),
    "an image missing": (
        lambda i: table([*i[:4], None, *i[5:10]], LABELS),
        "column img of {file} is empty in row 4: every row must have a value",
    ),
    "a column of nulls": (
        lambda i: pa.table({"image": pa.array([None] * 10, pa.binary()), "label": LABELS}),
        "column image of {file} is empty in row 0",
    ),
    "a broken image": (lambda i: table([*i[:6], b"x", *i[7:10]], LABELS), "row 6 of {file} is damaged"),
    "a label out of range": (
        lambda i: table(i[:10], [*LABELS[:9], 3], NAMES),
        "column label of {file}: the label 3 is none of the 3 classes airplane, automobile, bird",
    ),
    "a hidden label": (lambda i: table(i[:10], [-1] * 10, NAMES), "column label of {file}: the label -1 is none of"),
    "one class": (lambda i: table(i[:10], [0] * 10), "{file} has 1 class: there must be two or more"),
    "no rows": (lambda i: table(i[:10], LABELS).slice(0, 0), "column label of {file} has no rows"),
    "two rows": (lambda i: table(i[:2], [0, 1]), "{file} has only 2 images for training: that is too few"),
}


@pytest.mark.parametrize("case", BROKEN_PARQUET)
def test_a_parquet_file_that_lacks_something_is_named(tmp_path, pngs, case) -> None:
    make, says = BROKEN_PARQUET[case]
    file = parquet(tmp_path / "p.parquet", make(pngs))
    assert refused(file).startswith(says.format(file=file))


def test_parquet_files_that_do_not_fit_together_are_named(tmp_path, pngs) -> None:
    train = parquet(tmp_path / "p/train.parquet", table(pngs[:10], LABELS))
    test = parquet(tmp_path / "p/test.parquet", table(pngs[:10], ["cat"] * 10))
    assert refused(train.parent) == f"column label of {test} has another type than that of {train}"
    parquet(test, table(pngs[:10], [4] * 10))
    assert refused(train.parent).startswith(f"column label of {test}: the label 4 is none of the 3 classes 0, 1, 2")
    parquet(test, pa.table({"image": pngs[:10], "label": LABELS}))
    assert refused(train.parent) == f"{test} must have the column img, but has only image, label"
    train.unlink()
    assert refused(test.parent).startswith(f"{test.parent} has no Parquet file for training: call one train.parquet")


def test_a_torn_parquet_file_is_named(tmp_path, pngs) -> None:
    file = parquet(tmp_path / "p.parquet", table(pngs, LABELS * 6))
    whole = file.read_bytes()
    for content in (b"", b"PAR1", whole[: len(whole) // 2], b"x" * 100 + whole[100:], whole[:-100] + whole[-8:]):
        file.write_bytes(content)
        assert re.match(rf"({file}|row \d+ of {file}) is damaged \(.*; sha256 \w{{12}}\): replace it", refused(file))


def test_a_name_that_is_no_utf8_is_refused(tmp_path, pngs) -> None:
    file = parquet(tmp_path / "p.parquet", table(pngs, LABELS * 6))
    file.write_bytes(file.read_bytes().replace(b"img", b"\xffmg"))
    assert refused(file).startswith(f"{file} is damaged (")


@pytest.fixture
def sound(tmp_path, pngs, greys, binary_version) -> dict[Path, bytes]:
    """A file of each of three forms, in a folder of its own, and its content."""
    files = {f"{name}.gz": gzip.compress(idx(values)) for name, values in greys.items()}
    archive = packed(binary_version, "cifar-10-batches-bin")
    places = [
        written(tmp_path / "mnist", files) / f"{TRAIN}.gz",
        parquet(tmp_path / "hub/train.parquet", table(pngs[:10], LABELS, NAMES)),
        written(tmp_path / "cifar", {"cifar-10-binary.tar.gz": archive}) / "cifar-10-binary.tar.gz",
    ]
    return {file: file.read_bytes() for file in places}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(which=st.integers(0, 2), data=st.data())
def test_no_bytes_raise_anything_else(sound, which, data) -> None:
    file, content = list(sound.items())[which]
    spoiled = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        spoiled[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file.write_bytes(spoiled)
    assert len(images_of(f"folder:{file.parent}")) == 4
    try:
        assert load_folder(str(file.parent)).test.images.dtype == np.uint8
    except DataError as e:
        assert "\n" not in str(e)


def test_a_file_of_no_form_is_named_with_the_forms_that_are_read(tmp_path) -> None:
    (tmp_path / "notes.docx").touch()
    reason = refused(tmp_path / "notes.docx")
    assert f"{tmp_path}/notes.docx is a file of another kind" in reason
    assert all(form.words in reason for form in FORMS)


def test_a_form_one_level_down_is_pointed_at(tmp_path, greys) -> None:
    written(tmp_path / "FashionMNIST/raw", {name: idx(values) for name, values in greys.items()})
    assert refused(tmp_path).endswith(f"use folder:{tmp_path}/FashionMNIST")


@pytest.mark.skipif(
    not CIFAR.is_file(), reason=f"no {CIFAR}; GRADSWEEP_TEST_CIFAR may name CIFAR-10 as a tar of JPEG files"
)
def test_real_photographs_are_the_same_in_a_tree_and_in_parquet_files(tmp_path) -> None:
    wanted = re.compile(r"cifar10-jpeg/(train/[^/]+/000[0-9]|test/[^/]+/000[0-4])\.jpg")
    with tarfile.open(CIFAR) as archive:
        archive.extractall(tmp_path, [m for m in archive if wanted.fullmatch(m.name)], filter="data")
    root = tmp_path / "cifar10-jpeg"
    for part in ("train", "test"):
        files = sorted((root / part).glob("*/*.jpg"))
        names = sorted({file.parent.name for file in files})
        images, labels = [f.read_bytes() for f in files], [names.index(f.parent.name) for f in files]
        parquet(tmp_path / f"hub/{part}-00000-of-00001.parquet", table(images, labels, names))
    tree, hub = load_folder(str(root)), load_folder(str(tmp_path / "hub"))
    assert len(tree.train) == 90 and tree.classes == hub.classes and tree.digest == hub.digest
