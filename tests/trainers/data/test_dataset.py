"""Splits, digest and probe: the same for everyone, and nothing lost or doubled."""

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from trainers.data import HOLDOUT, images_of, load
from trainers.data.dataset import Dataset, Split, assemble, held_out, probe
from trainers.errors import DataError


def numbered(count: int) -> Split:
    """Images that say their own number in their first two pixels, and are labelled with it."""
    images = np.zeros((count, 3, 32, 32), np.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = np.arange(count) // 256, np.arange(count) % 256
    return Split(images, np.arange(count, dtype=np.int64))


def numbers(split: Split) -> list[int]:
    found = split.images[:, 0, 0, 0].astype(int) * 256 + split.images[:, 0, 0, 1]
    assert np.array_equal(found, split.labels)
    return list(found)


def small(train: int = 20, test: int = 3) -> Dataset:
    return assemble("small", ("a", "b"), numbered(train), numbered(test))


@given(st.integers(3, 1200))
def test_without_a_test_part_a_fifth_is_split_off_first(count: int) -> None:
    splits = [assemble("lone", ("a", "b"), numbered(count), None) for _ in range(2)]
    test = numbers(splits[0].test)
    assert len(test) == max(1, count // 5) and test == numbers(splits[1].test)
    left = numbers(splits[0].train) + numbers(splits[0].validation)
    assert sorted(test + left) == list(range(count))


@given(st.integers(2, 1200))
def test_validation_is_a_tenth_of_the_training_part_and_the_rest_stays(count: int) -> None:
    dataset = small(count)
    train, validation = numbers(dataset.train), numbers(dataset.validation)
    assert len(validation) == max(1, count // 10)
    assert sorted(train + validation) == list(range(count))
    assert train == sorted(train)
    assert validation == numbers(small(count).validation)


def test_the_validation_split_is_this_one_on_every_machine() -> None:
    assert numbers(small(50).validation) == [7, 18, 25, 33, 34]


@settings(max_examples=30)
@given(st.integers(2, 600), st.integers(1, 50), st.integers(1, 50))
def test_another_share_can_be_held_out_of_the_same_images(count: int, one: int, another: int) -> None:
    usual, held = small(count), []
    for percent in sorted((one, another)):
        dataset = held_out(usual, percent / 100)
        train, validation = numbers(dataset.train), numbers(dataset.validation)
        assert len(validation) == max(1, count * percent // 100)
        assert sorted(train + validation) == list(range(count))
        assert train == sorted(train) and validation == sorted(validation)
        assert numbers(dataset.test) == numbers(usual.test)
        again = held_out(dataset, HOLDOUT)
        assert numbers(again.validation) == numbers(usual.validation) and again.digest == usual.digest
        held.append((set(validation), dataset.digest))
    (few, digest), (many, other) = held
    assert few <= many and (digest == other) == (few == many)


def test_a_split_is_loaded_once_and_counted_before() -> None:
    usual, half = load("digits"), load("digits", 0.5)
    assert load("digits", 0.5) is half and load("digits", HOLDOUT) is load("digits") is usual
    for holdout, dataset in ((HOLDOUT, usual), (0.5, half)):
        assert images_of("digits", holdout)[:3] == (len(dataset.train), len(dataset.validation), len(dataset.test))
    assert len(half.validation) == 719 and half.digest != usual.digest
    assert images_of("folder:/nowhere", 0.5) == images_of("folder:/nowhere")
    with pytest.raises(ValueError, match="read-only"):
        half.train.images[0] = 0


@given(st.integers(2, 1200))
def test_the_probe_is_a_fixed_sample_of_the_training_split(count: int) -> None:
    dataset = small(count)
    chosen = numbers(probe(dataset))
    assert len(chosen) == min(len(dataset.train), max(256, len(dataset.train) // 24))
    assert len(set(chosen)) == len(chosen) and set(chosen) <= set(numbers(dataset.train))
    assert chosen == numbers(probe(small(count)))


def test_a_large_training_split_has_a_24th_of_it_as_its_probe() -> None:
    dataset = assemble("large", ("a", "b"), numbered(8000), numbered(1))
    chosen = numbers(probe(dataset))
    assert len(chosen) == 7200 // 24
    assert chosen[0] < 200 and chosen[-1] > 7800


def test_the_digest_is_of_everything_and_of_nothing_else() -> None:
    def digest(name: str = "x", classes: tuple[str, ...] = ("a", "b"), **changes: Split) -> str:
        return assemble(name, classes, **{"train": numbered(20), "test": numbered(3), **changes}).digest

    other_pixel, other_label = numbered(20), numbered(3)
    other_pixel.images[7, 2, 31, 31] += 1
    other_label.labels[2] = 0
    digests = [
        digest(),
        digest(classes=("a", "c")),
        digest(classes=("ab", "")),
        digest(train=other_pixel),
        digest(test=other_label),
        digest(train=numbered(21)),
        digest(train=numbered(19), test=numbered(4)),
    ]
    assert len(set(digests)) == len(digests)
    assert digest(name="y") == digest()
    assert len(digest()) == 64


def test_nothing_can_be_written_to() -> None:
    dataset = small()
    for split in (dataset.train, dataset.validation, dataset.test, probe(dataset)):
        for array in (split.images, split.labels):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((0, 3, 32, 32), np.uint8), np.zeros(0, np.int64), "n >= 1"),
        (np.zeros((1, 32, 32, 3), np.uint8), np.zeros(1, np.int64), "but got uint8 of"),
        (np.zeros((1, 3, 32, 32), np.float32), np.zeros(1, np.int64), "but got float32"),
        (np.zeros((2, 3, 32, 32), np.uint8), np.zeros(1, np.int64), r"shape \(2,\)"),
        (np.zeros((1, 3, 32, 32), np.uint8), np.zeros(1, np.int32), "but got int32"),
    ],
)
def test_a_split_of_another_shape_or_type_is_refused(images: np.ndarray, labels: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Split(images, labels)


def test_digits_are_real_digits_enlarged() -> None:
    from sklearn.datasets import load_digits

    dataset = load("digits")
    assert dataset.classes == tuple("0123456789")
    assert [len(s) for s in (dataset.train, dataset.validation, dataset.test)] == [1295, 143, 359]
    assert dataset.train.images.max() == 255 and dataset.train.images.min() == 0
    found = {
        (split.images[i, 1, ::4, ::4].tobytes(), int(split.labels[i]))
        for split in (dataset.train, dataset.validation, dataset.test)
        for i in range(len(split))
    }
    original = load_digits()
    greys = np.rint(original.images / 16 * 255).astype(np.uint8)
    assert found == {(g.tobytes(), int(t)) for g, t in zip(greys, original.target, strict=True)}
    image = dataset.test.images[0]
    assert np.array_equal(image[0], image[2])
    assert np.array_equal(image[:, 1::4, 2::4], image[:, 3::4, ::4])
    assert all((split.labels == c).any() for split in (dataset.validation, dataset.test) for c in range(10))
    assert dataset.digest == "4fd63abe27c9ed402ecd9077ba50d57095e7018a8ef289b41a8649dc2e051655"


def test_a_process_holds_one_copy_however_many_threads_ask_at_once() -> None:
    from trainers import data

    data._LOADED.clear()
    together = threading.Barrier(2)

    def ask(_: int) -> Dataset:
        together.wait()
        return load("digits")

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(ask, range(2))
    assert first is second


@pytest.mark.parametrize("name", ["", "mnist", "folders:x", "DIGITS"])
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(DataError, match=f"data must be digits, cifar10, folder:PATH, .*, but got '{name}'"):
        load(name)


def test_an_error_is_one_line() -> None:
    assert str(DataError("a file\nwith a break\n")) == "a file with a break"


def of_training_images(images: np.ndarray) -> Dataset:
    split = Split(images, np.zeros(len(images), np.int64))
    return Dataset("x", ("a", "b"), split, split.take(np.array([0])), split.take(np.array([0])), "")


@given(arrays(np.uint8, (2, 3, 32, 32)))
def test_statistics_of_channels_are_exact(images: np.ndarray) -> None:
    mean, deviation = of_training_images(images).channel_statistics
    assert mean.dtype == deviation.dtype == np.float64 and mean.shape == deviation.shape == (3,)
    for channel in range(3):
        pixels = [int(p) for p in images[:, channel].ravel()]
        exact = Fraction(sum(pixels), len(pixels))
        variance = sum((p - exact) ** 2 for p in pixels) / len(pixels) / 255**2
        assert mean[channel] == float(exact / 255)
        assert deviation[channel] == (math.sqrt(variance) or 1.0)


def test_statistics_are_of_the_training_split_alone_and_a_constant_channel_has_deviation_1() -> None:
    images = np.zeros((300, 3, 32, 32), np.uint8)
    images[:, 1] = 51
    images[::2, 2] = 255
    mean, deviation = of_training_images(images).channel_statistics
    assert mean.tolist() == [0.0, 0.2, 0.5]
    assert deviation.tolist() == [1.0, 1.0, 0.5]


def test_statistics_are_those_of_numpy_for_the_digits() -> None:
    digits = load("digits")
    mean, deviation = digits.channel_statistics
    pixels = digits.train.images / 255
    assert np.allclose(mean, pixels.mean((0, 2, 3)), rtol=1e-12)
    assert np.allclose(deviation, pixels.std((0, 2, 3)), rtol=1e-12)
    assert digits.channel_statistics[0] is mean
