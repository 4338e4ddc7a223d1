"""Trees of other layouts: one part alone, classes at the top, folders below a class, tiny-imagenet."""

import os
import random
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from trainers.data import images_of
from trainers.data.folder import load_folder
from trainers.data.forms import tree as form
from trainers.errors import DataError

pytestmark = pytest.mark.usefixtures("cache")
Files = dict[str, NDArray[np.uint8] | bytes]


def numbered(counts: dict[str, int]) -> Files:
    """For each class so many images, each of one colour of its own: the class's number, and the image's."""
    return {
        f"{name}/{i:02}.png": np.full((32, 32, 3), (label, i, 0), np.uint8)
        for label, (name, count) in enumerate(counts.items())
        for i in range(count)
    }


def refused(path: Path) -> str:
    with pytest.raises(DataError) as e:
        load_folder(str(path))
    assert "\n" not in str(e.value)
    return str(e.value)


@pytest.fixture
def classes() -> Files:
    return numbered({"bus": 10, "car": 7, "train": 4})


def test_classes_at_the_top_are_split_a_fifth_of_each(tree, classes, caplog) -> None:
    caplog.set_level("INFO", "gradsweep")
    root = tree(classes)
    dataset = load_folder(str(root))
    assert dataset.classes == ("bus", "car", "train")
    assert np.bincount(dataset.test.labels).tolist() == [2, 1, 1]
    splits = (dataset.train, dataset.validation, dataset.test)
    colours = sorted(tuple(image[:2, 0, 0]) for split in splits for image in split.images)
    assert colours == sorted((label, i) for label, count in enumerate((10, 7, 4)) for i in range(count))
    assert all(image[0, 0, 0] == label for s in splits for image, label in zip(s.images, s.labels, strict=True))
    line = (
        f"{root} has no test part: 4 of its 21 images, a fifth of each class and always the same ones, are held out as "
        "the test split"
    )
    assert caplog.messages.count(line) == 1
    assert images_of(f"folder:{root}") == (len(dataset.train), len(dataset.validation), 4, 3)
    assert caplog.messages.count(line) == 1


def test_the_test_split_is_this_one_on_every_machine(tree, classes) -> None:
    dataset = load_folder(str(tree(classes)))
    assert dataset.test.images[:, :2, 0, 0].tolist() == [[0, 0], [0, 9], [1, 1], [2, 3]]
    assert dataset.digest == "785eb3198d92161c36c58e36f0c119c5a31e56ecf0ed83939c2d65bf978df3d2"


def test_the_split_does_not_depend_on_the_order_in_which_folders_are_listed(tree, classes, monkeypatch) -> None:
    expected = load_folder(str(tree(classes))).digest
    real = os.scandir

    class Shuffled:
        def __init__(self, folder: str) -> None:
            self._entries = list(real(folder))
            random.Random(folder).shuffle(self._entries)

        def __enter__(self) -> list[os.DirEntry[str]]:
            return self._entries

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(form.entries.__globals__["os"], "scandir", Shuffled)
    monkeypatch.setenv("GRADSWEEP_CACHE", os.environ["GRADSWEEP_CACHE"] + "-other")
    assert load_folder(str(tree(dict(reversed(classes.items())), "again"))).digest == expected


@pytest.mark.parametrize("part", ["train", "Training"])
def test_a_training_part_alone_is_split_in_the_same_way(tree, classes, part) -> None:
    at_the_top = load_folder(str(tree(classes)))
    alone = load_folder(str(tree({f"{part}/{name}": pixels for name, pixels in classes.items()}, "alone")))
    assert alone.digest == at_the_top.digest


def test_a_class_of_one_image_can_not_be_split(tree, classes) -> None:
    root = tree({**numbered({"ant": 1}), **classes})
    assert refused(root) == (
        f"{root} has only one image of the class ant: without a test part, every class must have two or more"
    )


def test_what_could_be_data_sets_side_by_side_is_not_taken_for_classes(tree, files, classes) -> None:
    root = tree({f"{name}/{path}": what for name in ("pets", "more-pets") for path, what in files.items()}, "parted")
    assert refused(root).endswith(f"use folder:{root}/more-pets")
    root = tree({f"{name}/{path}": what for name in ("town", "village") for path, what in classes.items()}, "undivided")
    assert refused(root).endswith(f"use folder:{root}/town")


def test_a_tree_that_was_unpacked_into_train_is_pointed_at(tree, files) -> None:
    root = tree({f"train/{path}": what for path, what in files.items()})
    assert refused(root).endswith(f"use folder:{root}/train")


def test_images_in_train_and_test_without_classes_are_not_two_classes(tree, classes) -> None:
    root = tree({f"{part}/{i}.png": classes[f"bus/0{i}.png"] for part in ("train", "test") for i in range(3)})
    assert refused(root) == (
        f"folder:{root}: {root}/test/0.png is an image without a class: move or link each image to train/<class>/"
    )


def test_parts_of_unusual_names_are_named_with_the_command_that_links_them(tree, files, tmp_path) -> None:
    expected = load_folder(str(tree(files, "plain"))).digest
    renamed = {name.replace("train/", "seg_train/").replace("test/", "seg_test/"): what for name, what in files.items()}
    reason = refused(tree(renamed, "it's a tree"))
    folders = f"{tmp_path}/it's a tree/seg_train and {tmp_path}/it's a tree/seg_test"
    assert f"the folders {folders} must be named train and test; link them under these names" in reason
    subprocess.run(reason.partition("then use folder:images: ")[2], shell=True, check=True, cwd=tmp_path)
    assert load_folder(str(tmp_path / "images")).digest == expected


def test_folders_below_a_class_are_walked_as_by_image_folder(tree, files) -> None:
    from torchvision.datasets import ImageFolder

    deep = {
        f"{part}/{kind}/{where}": files[f"{part}/{kind}/{image}"]
        for part in ("train", "test")
        for kind in ("cat", "dog")
        for where, image in (
            ("b/x/1.png", "1.png"),
            ("a/2.png", "0.png"),
            ("c.png", "1.png"),
            (".hidden/0.png", "0.png"),
        )
    }
    root = tree(deep)
    dataset = load_folder(str(root))
    shutil.rmtree(root / "test/cat/.hidden")
    shutil.rmtree(root / "test/dog/.hidden")
    theirs = ImageFolder(str(root / "test"))
    ours = sorted(
        (image.tobytes(), label) for image, label in zip(dataset.test.images, dataset.test.labels, strict=True)
    )
    assert ours == sorted((np.asarray(image).transpose(2, 0, 1).tobytes(), label) for image, label in theirs)
    assert dataset.classes == tuple(theirs.classes)
    assert images_of(f"folder:{root}").test == 6


@pytest.fixture
def tiny_imagenet(tree, files) -> Path:
    """As it is unpacked: `val` has its classes in a table, `test` has none, and every class has its boxes."""
    lines = [f"val_{i}.JPEG\tn0{1 + i % 2}\t0\t32\t44\t62\n" for i in range(6)]
    images = list(files.values())
    return tree(
        {f"train/n0{c}/images/n0{c}_{i}.JPEG": images[3 * c + i - 3] for c in (1, 2) for i in range(3)}
        | {f"train/n0{c}/n0{c}_boxes.txt": b"n0_0.JPEG\t0\t10\t63\t58\n" for c in (1, 2)}
        | {f"val/images/val_{i}.JPEG": np.full((32, 32, 3), 40 * i, np.uint8) for i in range(6)}
        | {
            "val/val_annotations.txt": "".join(lines).encode(),
            "test/images/test_0.JPEG": images[0],
            "wnids.txt": b"n01\n",
        },
        "tiny-imagenet-200",
    )


def test_tiny_imagenet_is_read_with_its_table_of_classes(tiny_imagenet, caplog) -> None:
    caplog.set_level("INFO", "gradsweep")
    dataset = load_folder(str(tiny_imagenet))
    assert dataset.classes == ("n01", "n02")
    assert dataset.test.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert dataset.test.images[:, 0, 0, 0].tolist() == [0, 80, 160, 40, 120, 200]
    assert len(dataset.train) + len(dataset.validation) == 6
    assert f"{tiny_imagenet}/test is ignored: it has none of the classes" in caplog.messages
    assert f"{tiny_imagenet}/val is used as the test split" in caplog.messages
    assert [line for line in caplog.messages if line.startswith(f"ignored 2 files below {tiny_imagenet} not named")]
    assert images_of(f"folder:{tiny_imagenet}") == (5, 1, 6, 2)


@pytest.mark.parametrize("line", ["", "../../x.png\tn01", "val_0.JPEG", "val_0.JPEG\tn03", "val_0.JPEG n01"])
def test_a_line_of_its_table_that_names_no_image_or_class_is_named(tiny_imagenet, line) -> None:
    table = tiny_imagenet / "val/val_annotations.txt"
    table.write_text(f"val_1.JPEG\tn02\n{line}\n")
    assert refused(tiny_imagenet).startswith(f"line 2 of {table} must begin with an image's name and its class, but is")


def test_a_class_that_its_table_leaves_out_is_named(tiny_imagenet) -> None:
    table = tiny_imagenet / "val/val_annotations.txt"
    for lines, names in (("", "n01, n02"), ("val_0.JPEG\tn01\n", "n02")):
        table.write_text(lines)
        assert (
            refused(tiny_imagenet) == f"{table} has no image of the classes {names}: every class must have at least one"
        )


def test_an_image_of_its_table_that_is_not_there_is_named(tiny_imagenet) -> None:
    (tiny_imagenet / "val/images/val_3.JPEG").unlink()
    assert refused(tiny_imagenet).startswith(f"{tiny_imagenet}/val/images/val_3.JPEG can't be read (No such file")
