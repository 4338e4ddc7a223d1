"""Forms that are not read: each is recognised by a real file of its kind, and the commands that are printed work."""

import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from trainers.data.folder import load_folder
from trainers.data.forms.unread import UNREAD
from trainers.errors import DataError

pytestmark = pytest.mark.usefixtures("cache")


def refused(path: Path) -> str:
    with pytest.raises(DataError) as e:
        load_folder(str(path))
    assert "\n" not in str(e.value)
    return str(e.value)


def png(seed: int) -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8)).save(content, "PNG")
    return content.getvalue()


def write(root: Path, **files: bytes) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


def kaggle(root: Path) -> None:
    write(root, **{f"train/{i}.png": png(i) for i in range(1, 9)}, **{"test/1.png": png(0)})
    (root / "trainLabels.csv").write_text(
        "id,label\n" + "".join(f"{i},{'cat' if i % 2 else 'dog'}\n" for i in range(1, 9))
    )


def saved_to_disk(root: Path) -> None:
    table = pa.table({"image": [{"bytes": png(0), "path": None}], "label": [0]})
    for split in ("train", "test"):
        (root / split).mkdir()
        with pa.ipc.new_stream(root / split / "data-00000-of-00001.arrow", table.schema) as file:
            file.write_table(table)
        (root / split / "state.json").write_text("{}")
    (root / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))


def shard(root: Path, names: tuple[str, ...]) -> None:
    with tarfile.open(root / "shard-000000.tar", "w") as tar:
        for name in names:
            about = tarfile.TarInfo(name)
            about.size = 1
            tar.addfile(about, io.BytesIO(b"0"))


def class_folders(root: Path) -> Path:
    write(root, **{f"{name}/{i}.png": png(10 * len(name) + i) for name in ("cat", "horse") for i in range(4)})
    return root


def archived(kind: str) -> Callable[[Path], object]:
    def make(root: Path) -> None:
        shutil.make_archive(str(root / "my pictures"), kind, class_folders(root.with_name("to-be-packed")))

    return make


NPZ = {"x_train": np.zeros((2, 28, 28), np.uint8), "y_train": np.zeros(2, np.uint8)}
CASES: dict[str, tuple[Callable[[Path], object], str]] = {
    "Kaggle": (kaggle, "Kaggle's table of the labels of images"),
    "save_to_disk": (saved_to_disk, "a Hugging Face dataset as save_to_disk writes it"),
    "CIFAR-100": (lambda r: write(r, **{"cifar-100-python/train": b"x", "cifar-100-python.tar.gz": b"x"}), "CIFAR-100"),
    "CIFAR-100, inside": (lambda r: write(r, **{"train": b"x", "test": b"x", "file.txt~": b"x"}), "CIFAR-100"),
    "STL-10": (lambda r: write(r, **{"stl10_binary/train_X.bin": b"x"}), "STL-10"),
    "WebDataset": (lambda r: shard(r, ("000.jpg", "000.cls", "001.jpg", "001.cls")), "a WebDataset"),
    "TFRecord": (lambda r: write(r, **{"cifar10-train.tfrecord-00000-of-00001": b"x"}), "TFRecord files"),
    "LMDB": (lambda r: write(r, **{"train.lmdb/data.mdb": b"x"}), "an LMDB database"),
    "HDF5": (lambda r: write(r, **{"train_catvnoncat.h5": b"\x89HDF\r\n\x1a\n"}), "an HDF5 file"),
    "npz": (lambda r: np.savez(r / "mnist.npz", **NPZ), "NumPy's arrays"),
    "MATLAB": (lambda r: write(r, **{"train_32x32.mat": b"MATLAB 5.0"}), "a MATLAB file"),
    "PyTorch": (lambda r: write(r, **{"training.pt": b"x"}), "PyTorch's tensors"),
    "pickle": (lambda r: write(r, **{"cifar.pkl": b"x"}), "a pickle, which can run programs"),
    "FFCV": (lambda r: write(r, **{"cifar_train.beton": b"x"}), "RecordIO, FFCV or MosaicML shards"),
    "zip": (archived("zip"), "a zip archive"),
    "tar": (archived("tar"), "a tar archive"),
    "tar.gz": (archived("gztar"), "a tar archive"),
    "7z": (lambda r: write(r, **{"train.7z": b"7z"}), "an archive"),
    "7z, Kaggle's": (lambda r: write(r, **{"train.7z": b"7z", "trainLabels.csv": b"id,label\n"}), "an archive"),
    "CSV": (lambda r: write(r, **{"mnist_train.csv": b"5,0,0\n"}), "a table"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_not_read_is_recognised_and_named_with_the_way_to_a_folder(tmp_path, case) -> None:
    make, words = CASES[case]
    root = tmp_path / "data"
    root.mkdir()
    make(root)
    before = sorted(root.rglob("*"))
    reason = refused(root)
    assert reason.startswith(f"folder:{root}: {root}/")
    assert f" is {words}, which can't be read as it is: " in reason
    assert sorted(root.rglob("*")) == before
    files = [entry for entry in root.iterdir() if entry.is_file()]
    if len(files) == 1 and case not in ("Kaggle", "save_to_disk", "CIFAR-100"):
        assert refused(files[0]) == reason.replace(f"folder:{root}:", f"folder:{files[0]}:")


def test_every_entry_of_the_table_has_a_case() -> None:
    assert {form.words for form in UNREAD} == {words for _, words in CASES.values()}


@pytest.mark.parametrize("case", ["Kaggle", "zip", "tar", "tar.gz"])
def test_the_command_that_is_printed_makes_a_folder_that_is_read(tmp_path, case) -> None:
    root, here = tmp_path / "it's data", tmp_path / "here"
    root.mkdir()
    here.mkdir()
    CASES[case][0](root)
    command = refused(root).partition("then use folder:images: ")[2]
    assert command
    subprocess.run(command, shell=True, check=True, cwd=here)
    dataset = load_folder(str(here / "images"))
    assert dataset.classes == (("cat", "dog") if case == "Kaggle" else ("cat", "horse"))
    assert len(dataset.train) + len(dataset.validation) + len(dataset.test) == 8


def test_a_tar_of_class_folders_is_no_web_dataset(tmp_path) -> None:
    shard(tmp_path, ("cat/0.jpg", "cat/1.jpg", "labels.txt"))
    assert " is a tar archive, " in refused(tmp_path)


def test_images_without_classes_are_named(tmp_path) -> None:
    write(tmp_path, **{"0.png": png(0), "1.png": png(1)})
    assert refused(tmp_path).endswith(
        f"{tmp_path}/0.png is an image without a class: move or link each image to train/<class>/"
    )


def test_an_archive_beside_what_was_unpacked_from_it_is_no_matter(tmp_path) -> None:
    root = class_folders(tmp_path / "data")
    (root / "pictures.zip").write_bytes(b"PK\x05\x06" + bytes(18))
    assert load_folder(str(root)).classes == ("cat", "horse")


def test_a_folder_that_cannot_be_looked_into_is_passed_over(tmp_path) -> None:
    write(tmp_path, **{"a.h5": b"x", "closed/b.zip": b"x"})
    (tmp_path / "closed").chmod(0)
    try:
        reason = refused(tmp_path)
    finally:
        (tmp_path / "closed").chmod(0o755)
    assert "an HDF5 file" in reason
