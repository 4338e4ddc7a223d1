"""Folders of images: what is read, what is refused and how it is said, and when files are not read again."""

import hashlib
import os
import re
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainers.data import folder, forms, load
from trainers.data.folder import load_folder
from trainers.data.forms import tree as form
from trainers.errors import DataError

pytestmark = pytest.mark.usefixtures("cache")
PROJECT = Path(__file__).parents[3]
CIFAR = Path(os.environ.get("GRADSWEEP_TEST_CIFAR", PROJECT.parent / "shared/data/cifar10-jpeg.tar"))


def test_a_tree_is_read_in_the_order_of_its_names(tree, files) -> None:
    dataset = load(f"folder:{tree(files)}")
    assert dataset.name.startswith("folder:") and dataset.classes == ("cat", "dog")
    assert len(dataset.validation) == 1
    assert dataset.test.labels.tolist() == [0, 0, 1, 1]
    for image, name in zip(dataset.test.images, ("cat/0", "cat/1", "dog/0", "dog/1"), strict=True):
        assert np.array_equal(image, files[f"test/{name}.png"].transpose(2, 0, 1))
    train = {image.tobytes() for split in (dataset.train, dataset.validation) for image in split.images}
    assert train == {pixels.transpose(2, 0, 1).tobytes() for n, pixels in files.items() if n.startswith("train")}


def test_arrays_are_mapped_from_the_cache_and_read_only(tree) -> None:
    dataset = load_folder(str(tree()))
    for split in (dataset.train, dataset.validation, dataset.test):
        assert isinstance(split.images, np.memmap) and split.images.mode == "r"
        assert split.images.dtype == np.uint8 and split.labels.dtype == np.int64
        with pytest.raises(ValueError, match="read-only"):
            split.images[0] = 0


def test_the_same_images_by_another_road_have_the_same_digest(tree, files) -> None:
    as_bitmaps = {name.replace(".png", ".bmp"): pixels for name, pixels in files.items()}
    digests = {load_folder(str(tree(f, n))).digest for n, f in (("a", files), ("b", as_bitmaps))}
    assert len(digests) == 1
    files["test/dog/1.png"] = 255 - files["test/dog/1.png"]
    assert load_folder(str(tree(files, "c"))).digest not in digests


def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Counts the files read and decoded from here on."""
    calls = {"read_file": 0, "decode": 0}

    def counting(name, original):
        def call(*args):
            calls[name] += 1
            return original(*args)

        return call

    for name in calls:
        monkeypatch.setattr(form, name, counting(name, getattr(form, name)))
    return calls


def test_an_unchanged_tree_is_not_read_again_and_a_moved_one_is_not_decoded_again(tree, tmp_path, monkeypatch) -> None:
    root = tree()
    first = load_folder(str(root))
    calls = counted(monkeypatch)
    assert load_folder(str(root)).digest == first.digest
    assert calls == {"read_file": 0, "decode": 0}
    shutil.copytree(root, tmp_path / "elsewhere")
    assert load_folder(str(tmp_path / "elsewhere")).digest == first.digest
    assert calls == {"read_file": 10, "decode": 0}
    (root / "test/cat/1.png").touch()
    assert load_folder(str(root)).digest == first.digest
    assert calls == {"read_file": 20, "decode": 0}


def test_another_format_decodes_a_folder_anew(tree, monkeypatch) -> None:
    root = tree()
    load_folder(str(root))
    calls = counted(monkeypatch)
    monkeypatch.setattr(forms, "FORMAT", forms.FORMAT + 1)
    load_folder(str(root))
    assert calls["decode"] == 10


def test_data_that_are_in_the_cache_load_where_only_the_index_cannot_be_written(tree, cache, caplog) -> None:
    root = tree()
    first = load_folder(str(root)).digest
    shutil.rmtree(cache / "folders")
    (cache / "folders").touch()
    assert load_folder(str(root)).digest == first
    assert "will be read again next time: the cache" in caplog.text


def test_a_changed_file_is_seen_even_with_its_old_size_and_time(tree, files) -> None:
    files |= {"train/cat/0.bmp": files.pop("train/cat/0.png")}
    root = tree(files)
    first = load_folder(str(root))
    changed = root / "train/cat/0.bmp"
    about = changed.stat()
    Image.fromarray(255 - files["train/cat/0.bmp"]).save(changed)
    os.utime(changed, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert changed.stat().st_size == about.st_size and changed.stat().st_mtime_ns == about.st_mtime_ns
    assert load_folder(str(root)).digest != first.digest


def test_a_file_added_or_taken_away_is_seen(tree) -> None:
    root = tree()
    assert len(load_folder(str(root)).test) == 4
    shutil.copy(root / "test/cat/1.png", root / "test/cat/2.png")
    assert len(load_folder(str(root)).test) == 5
    (root / "test/cat/0.png").unlink()
    assert len(load_folder(str(root)).test) == 4


def test_what_is_beside_the_classes_or_begins_with_a_dot_is_passed_over(tree, files) -> None:
    plain = load_folder(str(tree(files)))
    files |= {"README": b"x", "train/labels.csv": b"x", "test/dog/.DS_Store": b"x", "train/.git/config": b"x"}
    assert load_folder(str(tree(files))).digest == plain.digest


def refused(path: Path | str) -> str:
    with pytest.raises(DataError) as e:
        load_folder(str(path))
    assert "\n" not in str(e.value)
    return str(e.value)


def test_a_missing_folder_is_refused(tmp_path) -> None:
    missing = tmp_path / "missing"
    said = refused(missing)
    assert said == f"folder:{missing}: there is no folder {missing}: {folder.RIGHT}"
    assert "there is no folder" in refused("")


def test_a_tree_one_level_down_is_pointed_at(tree, files, tmp_path) -> None:
    tree(files, "outer/inner")
    assert refused(tmp_path / "outer").endswith(f"use folder:{tmp_path}/outer/inner")


def test_a_missing_training_part_is_refused(tree, files) -> None:
    root = tree({name: what for name, what in files.items() if name.startswith("test")})
    assert refused(root) == f"folder:{root}: there is no folder {root}/train"


def test_a_test_part_without_classes_is_refused_with_the_way_to_do_without(tree, files) -> None:
    root = tree({name: what for name, what in files.items() if name.startswith("train")} | {"test/1.png": b"x"})
    assert refused(root) == (
        f"folder:{root}: {root}/test must have a folder for each class of {root}/train; "
        f"or use folder:{root}/train, and a fifth of each class is held out as the test split"
    )
    assert len(load_folder(f"{root}/train").test) == 2


def test_other_classes_in_the_other_part_are_refused(tree, files) -> None:
    root = tree(files | {"train/bird/0.png": files["train/cat/0.png"]})
    assert refused(root) == f"{root}/test lacks the classes bird of train: both must have the same"
    shutil.move(root / "train/bird", root / "test/bird")
    assert refused(root) == f"{root}/train lacks the classes bird of test: both must have the same"


def test_an_empty_class_only_one_class_and_none_are_refused(tree, files) -> None:
    root = tree(files)
    for image in (root / "test/dog").iterdir():
        image.unlink()
    assert refused(root) == f"{root}/test/dog is empty: every class must have at least one image"
    for part in ("train", "test"):
        shutil.rmtree(root / part / "dog")
    assert "only the class cat: it must hold a folder for each of at least two" in refused(root)
    for part in ("train", "test"):
        shutil.rmtree(root / part / "cat")
    assert f"{root}/train and {root}/test have no classes" in refused(root)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n"])
def test_a_damaged_image_is_named_and_nothing_is_kept(tree, files, cache, content) -> None:
    root = tree(files | {"test/dog/1.png": content})
    checksum = hashlib.sha256(content).hexdigest()[:12]
    assert re.match(rf"{root}/test/dog/1\.png is damaged \(.*; sha256 {checksum}\): replace it", refused(root))
    assert not list(cache.rglob("*.npy"))


def test_what_is_not_a_file_is_named(tree) -> None:
    root = tree()
    os.mkfifo(root / "train/cat/pipe.png")
    assert refused(root).startswith(f"{root}/train/cat/pipe.png is not a file")


def test_a_file_that_vanishes_while_the_tree_is_walked_is_named(tree, monkeypatch) -> None:
    root = tree()
    gone, real = root / "test/dog/1.png", form.below

    def list_and_vanish(place: str) -> tuple[list[str], list[str]]:
        images = real(place)
        if place == str(gone.parent):
            gone.unlink()
        return images

    monkeypatch.setattr(form, "below", list_and_vanish)
    assert refused(root) == f"{gone} can't be read (No such file or directory): allow it, or remove it"


@pytest.mark.parametrize("where", ["train", "train/cat", "train/cat/0.png"])
def test_links_are_followed_wherever_they_lead(tree, files, tmp_path, where) -> None:
    root = tree(files)
    outside = tmp_path / "pictures-of-others" / where
    outside.parent.mkdir(parents=True)
    shutil.move(root / where, outside)
    (root / where).symlink_to(outside)
    assert load_folder(str(root)).digest == load_folder(str(tree(files, "plain"))).digest
    outside.rename(outside.with_name("gone"))
    nowhere = f"{root}/{where} is a link to {outside}, which does not exist: fetch the data (git annex get, dvc pull)"
    assert nowhere in refused(root)


def test_a_view_of_a_shared_folder_is_read(tree, files, tmp_path) -> None:
    """As DVC and git-annex make: folders of links, of the parts, the classes, or each file."""
    shared = tree(files)
    for depth in ("*", "*/*", "*/*/*"):
        view = tmp_path / f"view {depth.count('*')}"
        for place in shared.glob(depth):
            link = view / place.relative_to(shared)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(place)
        assert load_folder(str(view)).digest == load_folder(str(shared)).digest


def test_a_link_back_into_the_tree_is_no_way_without_end(tree) -> None:
    root = tree()
    (root / "train/cat/more").symlink_to(root / "train/cat")
    assert refused(root) == f"{root}/train/cat/more leads to a folder that was read already: remove this link"


def test_a_changed_file_at_the_end_of_a_link_is_seen(tree, files, tmp_path) -> None:
    root, shared = tree(files), tmp_path / "shared.png"
    shutil.move(root / "train/cat/0.png", shared)
    (root / "train/cat/0.png").symlink_to(shared)
    first = load_folder(str(root)).digest
    Image.fromarray(255 - files["train/cat/0.png"]).save(shared)
    assert load_folder(str(root)).digest != first


def test_a_link_to_what_is_no_image_is_refused(tree) -> None:
    root = tree()
    for target, why in (("/etc/passwd", "is damaged"), ("/dev/zero", "is not a file")):
        (root / "train/cat/0.png").unlink()
        (root / "train/cat/0.png").symlink_to(target)
        assert refused(root).startswith(f"{root}/train/cat/0.png {why}")


@pytest.mark.parametrize(
    "names", [("train", "val"), ("Train", "Test"), ("training", "testing"), ("train", "VALID"), ("train", "validation")]
)
def test_the_parts_may_have_the_names_that_they_have_elsewhere(tree, files, names, caplog) -> None:
    expected = load_folder(str(tree(files, "plain"))).digest
    train, test = names
    renamed = {
        name.replace("train/", f"{train}/").replace("test/", f"{test}/"): pixels for name, pixels in files.items()
    }
    caplog.set_level("INFO", "gradsweep")
    root = tree(renamed, "renamed")
    assert load_folder(str(root)).digest == expected
    assert (f"{root}/{test} is used as the test split" in caplog.messages) == ("test" not in test.lower())


def test_val_is_ignored_where_there_is_a_test_part_and_that_is_logged(tree, files, caplog) -> None:
    caplog.set_level("INFO", "gradsweep")
    expected = load_folder(str(tree(files, "plain"))).digest
    more = {name.replace("test/", "val/"): pixels for name, pixels in files.items() if name.startswith("test/dog")}
    root = tree(files | more, "more")
    assert load_folder(str(root)).digest == expected
    assert f"{root}/val is ignored: the validation split is a tenth of the training images" in caplog.messages


def test_val_is_taken_where_the_test_images_have_no_classes(tree, files) -> None:
    """As ImageNet comes."""
    expected = load_folder(str(tree(files, "plain"))).digest
    renamed = {name.replace("test/", "val/"): pixels for name, pixels in files.items()}
    assert load_folder(str(tree(renamed | {"test/0.png": files["test/cat/0.png"]}, "imagenet"))).digest == expected


def test_files_that_end_as_no_image_does_are_passed_over_and_counted(tree, files, caplog) -> None:
    expected = load_folder(str(tree(files, "plain"))).digest
    caplog.set_level("INFO", "gradsweep")
    root = tree(files | {"train/cat/Thumbs.db": b"x", "train/cat/README.txt": b"", "test/dog/boxes": b"1 2"}, "more")
    assert load_folder(str(root)).digest == expected
    counted = f"ignored 3 files below {root} not named like an image, or outside the folders of the classes, such as "
    load_folder(str(root))
    assert caplog.messages.count(f"{counted}{root}/train/cat/README.txt") == 1
    for image in (root / "test/dog").glob("*.png"):
        image.rename(image.with_suffix(".data"))
    assert refused(root) == f"{root}/test/dog has no images, only 0.data: every class must have at least one image"


def test_a_folder_that_is_itself_a_link_and_a_home_folder_are_read(tree, tmp_path, monkeypatch) -> None:
    root = tree()
    (tmp_path / "link").symlink_to(root)
    monkeypatch.setenv("HOME", str(tmp_path))
    first = load_folder(str(root)).digest
    assert load_folder(str(tmp_path / "link")).digest == first
    assert load_folder("~/pictures").digest == first


def test_strange_names_do_no_harm(tree, files) -> None:
    strange = {
        name.replace("dog", "d\n o g é").replace("cat", os.fsdecode(b"c\xff")): what for name, what in files.items()
    }
    root = tree(strange)
    assert load_folder(str(root)).classes == tuple(sorted({n.split("/")[1] for n in strange}))
    assert load_folder(str(root)).classes == load_folder(str(root)).classes
    (root / "test/d\n o g é/0.png").write_bytes(b"")
    refused(root)


@pytest.mark.skipif(
    not CIFAR.is_file(), reason=f"no {CIFAR}; GRADSWEEP_TEST_CIFAR may name CIFAR-10 as a tar of JPEG files"
)
def test_real_photographs(tmp_path) -> None:
    wanted = re.compile(r"cifar10-jpeg/(train/[^/]+/00[0-9]{2}|test/[^/]+/000[0-9])\.jpg")
    with tarfile.open(CIFAR) as archive:
        archive.extractall(tmp_path, [m for m in archive if wanted.fullmatch(m.name)], filter="data")
    dataset = load(f"folder:{tmp_path / 'cifar10-jpeg'}")
    assert dataset.classes == tuple("airplane automobile bird cat deer dog frog horse ship truck".split())
    assert [len(s) for s in (dataset.train, dataset.validation, dataset.test)] == [900, 100, 100]
    assert np.bincount(dataset.test.labels).tolist() == [10] * 10
    with Image.open(tmp_path / "cifar10-jpeg/test/ship/0003.jpg") as image:
        assert np.array_equal(dataset.test.images[83], np.asarray(image).transpose(2, 0, 1))
    means = dataset.train.images.mean(axis=(0, 2, 3)) / 255
    assert np.allclose(means, [0.49, 0.48, 0.45], atol=0.02)
