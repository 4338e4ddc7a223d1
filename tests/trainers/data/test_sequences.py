"""The adding problem and the copying task: what they are, read step by step, and that they are the same everywhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trainers.data import images_of, load, steps_of
from trainers.data.adding import tenth
from trainers.data.copy import shown
from trainers.data.dataset import Dataset
from trainers.errors import DataError
from trainers.layers import Recurrent
from trainers.members import MemberConfig

STEPS = [2, 4, 32, 1024]


def read(dataset: Dataset, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """All sequences as a recurrent layer reads them, the first input of each channel: (n, steps, 3); the labels."""
    splits = (dataset.train, dataset.validation, dataset.test)
    images = torch.from_numpy(np.concatenate([split.images for split in splits]))
    inputs = Recurrent("recurrent", steps=steps).sequence(images)
    by_channel = inputs.unflatten(2, (3, -1))
    assert bool((by_channel == by_channel[..., :1]).all())  # a byte is repeated over a step's pixels
    return by_channel[..., 0].numpy().astype(np.int64), np.concatenate([split.labels for split in splits])


@pytest.mark.parametrize("steps", STEPS)
def test_the_adding_problem(steps: int) -> None:
    sequences, labels = read(load(f"adding:{steps}"), steps)
    values, marks, nothing = np.moveaxis(sequences, 2, 0)
    assert not nothing.any() and set(np.unique(marks)) <= {0, 255}
    half = steps // 2
    assert (np.count_nonzero(marks[:, :half], axis=1) == 1).all()
    assert (np.count_nonzero(marks[:, half:], axis=1) == 1).all()
    assert (marks > 0).any(0).all()  # each step is marked in some sequence
    sums = (values * (marks > 0)).sum(1)
    assert np.array_equal(labels, tenth(sums))
    assert np.bincount(labels, minlength=10) / len(labels) == pytest.approx(np.full(10, 0.1), abs=0.015)
    assert values.mean() == pytest.approx(127.5, abs=2) and (values.min(), values.max()) == (0, 255)


def test_the_classes_of_sums_are_tenths_of_all_pairs() -> None:
    sums = np.add.outer(np.arange(256), np.arange(256)).ravel()
    classes = tenth(np.sort(sums))
    assert (np.diff(classes) >= 0).all()
    # sums are whole numbers, of which the most frequent is a 256th of all pairs
    assert np.bincount(classes) / 256**2 == pytest.approx(np.full(10, 0.1), abs=1 / 256)


def test_who_knows_one_of_two_values_is_right_once_in_four() -> None:
    """By the best guess for each value: the class that most sums with it have."""
    sums = np.add.outer(np.arange(256), np.arange(256))
    likeliest = [np.bincount(tenth(of_value), minlength=10).max() / 256 for of_value in sums]
    assert np.mean(likeliest) == pytest.approx(0.25, abs=0.005)


@pytest.mark.parametrize("steps", STEPS)
def test_the_copying_task(steps: int) -> None:
    sequences, labels = read(load(f"copy:{steps}"), steps)
    k = shown(steps)
    assert k == {2: 1, 4: 1, 32: 4, 1024: 4}[steps]
    first, between, last = sequences[:, :k], sequences[:, k:-1], sequences[:, -1]
    assert not between.any() and not last[:, :2].any()
    numbers = first[0, :, 2]
    assert (first[:, :, 2] == numbers).all() and len(set(numbers.tolist())) == k
    asked = np.argmax(last[:, 2:] == numbers, axis=1)
    assert (last[:, 2] == numbers[asked]).all()
    points = first[np.arange(len(labels)), asked, :2]
    known = {label: set(map(tuple, points[labels == label].tolist())) for label in range(10)}
    assert all(len(of_label) == 1 for of_label in known.values()) and len(set.union(*known.values())) == 10
    symbols = {point: label for label, (point,) in known.items()}
    shown_symbols = np.array([[symbols[tuple(point)] for point in row] for row in first[:2000, :, :2].tolist()])
    for of_place in (*shown_symbols.T, labels):
        assert np.bincount(of_place, minlength=10) / len(of_place) == pytest.approx(np.full(10, 0.1), abs=0.03)
    assert np.bincount(asked) / len(asked) == pytest.approx(np.full(k, 1 / k), abs=0.02)


def test_a_linear_function_tells_each_symbol_from_all_others() -> None:
    sequences, labels = read(load("copy:2"), 2)
    points = np.array([sequences[labels == label, 0, :2][0] for label in range(10)]) - 128.0
    assert (np.argmax(points @ points.T, axis=1) == np.arange(10)).all()


@pytest.mark.parametrize(
    "name, digest",
    [
        ("adding:32", "e4bd898a9b345fcf19f025bfb18db097d50a1a42253c0990838c2bab2ec3964d"),
        ("copy:32", "668615fb966dabef4f5db96ba03a87e963e3677f73a4b2b12d6bbcaf8dee5aef"),
    ],
)
def test_they_are_the_same_on_every_machine(name: str, digest: str) -> None:
    dataset = load(name)
    assert dataset.digest == digest
    assert load(f"{name}:0").digest == digest != load(f"{name}:1").digest
    assert (len(dataset.train), len(dataset.validation), len(dataset.test), len(dataset.classes)) == images_of(name)


def test_the_steps_of_the_data_are_the_members() -> None:
    assert (steps_of("adding:64:3"), steps_of("copy:2"), steps_of("digits")) == (64, 2, None)
    assert MemberConfig(regime="recurrent", data="adding:64").steps == 64
    assert MemberConfig(regime="recurrent", data="adding:64", steps=16).steps == 16
    assert MemberConfig(regime="recurrent").steps == 32


@pytest.mark.parametrize("argument", ["", "x", "1", "33", "2048", "0", "-2", "32:", "32:x", "32:1:2", "32:-1", "²"])
def test_steps_that_are_no_power_of_two_are_refused(argument: str) -> None:
    right = "STEPS must be a power of two from 2 to 1024, and SEED a whole number"
    with pytest.raises(ValueError, match=f"^data 'copy:{argument}': {right}, but got '{argument}'$"):
        MemberConfig(data=f"copy:{argument}")
    with pytest.raises(DataError, match=right):
        load(f"adding:{argument}")
