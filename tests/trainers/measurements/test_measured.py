"""What a member asks for is in its records at the epochs it names, the same whoever trains it and beside whom."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from trainers import MemberConfig, train
from trainers.data import load
from trainers.lanes import available
from trainers.measurements import MEASUREMENTS
from trainers.measurements.subject import MOST_IMAGES, Subject
from trainers.members import EpochRecord, layers_of, measured_at
from trainers.metrics import names
from trainers.reference import Images
from trainers.states import MemberState, load_states, save_states

SMALL = {"regime": "mlp", "units": 6, "epochs": 3, "batch_size": 256, "activation": "relu", "learning_rate": 0.01}
ASKED = MemberConfig(**SMALL, measure=("jacobian", "signal"), measure_at=(0, 2))
GENERAL = [name for name, measurement in MEASUREMENTS.items() if not measurement.needs]


@pytest.fixture(params=["lanes", "reference"])
def engine(request: pytest.FixtureRequest) -> str:
    if request.param == "lanes" and available() is None:
        pytest.skip("the lane engine was not compiled")
    name: str = request.param
    return name


def asked(record: EpochRecord) -> dict[str, float]:
    """What was recorded besides."""
    return {name: v for name, v in record.metrics.items() if ".signal." in name or name.startswith(("jac", "signal"))}


def numbers(records: list[EpochRecord]) -> list[tuple[int, list[str], bytes]]:
    """What must be equal to the bit."""
    rows = [(r.epoch, {name: v for name, v in r.metrics.items() if name != "seconds"}) for r in records]
    return [(epoch, [*values], np.array([*values.values()]).tobytes()) for epoch, values in rows]


def measured_of(state: MemberState) -> dict[str, float]:
    """What the functions themselves say of a state."""
    dataset, layers = load(state.member.data), layers_of(state.member, 10)
    subject, values = Subject(state, layers, Images(dataset, "probe", torch.device("cpu"))), dict[str, float]()
    for name in measured_at(state.member, state.epoch):
        values |= MEASUREMENTS[name].measure(subject)
    return values


def test_they_are_recorded_at_the_chosen_epochs_alone_and_are_the_functions_values(engine: str) -> None:
    member, layers = replace(ASKED, engine=engine), layers_of(ASKED, 10)
    training, plain = train([member]), [*train([replace(member, measure=None)])]
    for record, without in zip(training, plain, strict=True):
        (state,) = training.state()
        assert record.engine == engine and state.epoch == record.epoch
        assert asked(record) == measured_of(state)
        assert tuple(record.metrics) == names(layers, ASKED.measure if record.epoch in (0, 2) else ())
        assert len(asked(record)) == (4 + 1 + 6 * 2 if record.epoch in (0, 2) else 0)
        # being measured changes nothing of what else is recorded
        others = {name: v for name, v in record.metrics.items() if name not in asked(record) and name != "seconds"}
        assert others == {name: v for name, v in without.metrics.items() if name != "seconds"}


def test_at_the_start_all_engines_measure_the_same_bits() -> None:
    if available() is None:
        pytest.skip("the lane engine was not compiled")
    first = [next(train([replace(ASKED, engine=engine)])) for engine in ("lanes", "reference")]
    assert asked(first[0]) == asked(first[1]) != {}


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_bits_in_any_pack_with_any_threads_and_resumed(engine: str, threads: int, tmp_path: Path) -> None:
    """Among members that are measured otherwise or not at all, with whatever number of PyTorch's own threads."""
    member = replace(ASKED, engine=engine, normalization="batch", learn_alpha="network", activation="tanh")
    others = [replace(member, seed=1, measure=("signal",), measure_at=None), replace(member, seed=2, measure=None)]
    alone = numbers([*train([member])])
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        together = train([others[0], member, others[1]], threads=threads)
        records = [record for record in together if record.member == member]
        assert numbers(records) == alone

        training = train([member, others[0]], threads=threads)
        next(record for record in training if record.epoch == 1 and record.member == others[0])
        save_states(training.state(), tmp_path / "states.npz")
        states = load_states(tmp_path / "states.npz")
        resumed = [r for r in train([member, others[0]], states) if r.member == member]
        assert numbers(resumed) == alone[2:]
    finally:
        torch.set_num_threads(before)


def test_without_epochs_it_is_every_one_and_epochs_0_measures_the_initial_values() -> None:
    assert [bool(asked(r)) for r in train([replace(ASKED, measure_at=None)])] == [True] * 4
    (record,) = train([replace(ASKED, epochs=0, measure_at=None)])
    assert asked(record) == asked(next(train([ASKED])))


@pytest.mark.parametrize("name", GENERAL)
def test_every_measurement_survives_a_diverged_member(name: str) -> None:
    """Its last record is measured like the others."""
    fields = SMALL | {"activation": "relu", "init_scale": 1e30, "learning_rate": 1e30, "measure": [name]}
    *_, last = train([MemberConfig(**fields)])
    assert last.diverged
    assert set(names(layers_of(last.member, 10), (name,))) == set(last.metrics)


@pytest.mark.parametrize("name", GENERAL)
def test_every_measurement_gives_a_number_for_each_of_its_metrics(name: str) -> None:
    member = MemberConfig(**SMALL | {"epochs": 0, "measure": [name], "normalization": "batch", "dense": 1})
    (record,) = train([member])
    values = [record.metrics[metric] for metric in MEASUREMENTS[name].names(layers_of(member, 10))]
    assert values and all(type(value) is float and not math.isnan(value) for value in values)


def test_a_subject_has_the_first_images_of_the_probe_as_the_member_sees_them() -> None:
    dataset = load("digits")
    probe = Images(dataset, "probe", torch.device("cpu"))
    for range_of_pixels, pixels in (("unit", 1), ("bytes", 255)):
        member = MemberConfig(**SMALL, input=range_of_pixels)
        (state,) = train([member]).state()
        subject = Subject(state, layers_of(member, 10), probe)
        assert subject.images.dtype == torch.float64 and subject.images.shape == (MOST_IMAGES, 3, 32, 32)
        taken = dataset.splits()["probe"]
        assert np.allclose(subject.images.numpy(), taken.images[:MOST_IMAGES] * (pixels / 255), rtol=1e-7, atol=0)
        assert subject.labels.tolist() == taken.labels[:MOST_IMAGES].tolist()
        assert torch.equal(subject.parameters, torch.from_numpy(state.parameters).double())
