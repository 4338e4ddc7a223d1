"""The file of states: exact, whole or absent, and free of code."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trainers.members import MemberConfig, layers_of
from trainers.optimizers import OPTIMIZERS
from trainers.regimes import network
from trainers.states import initial_state, load_states, save_states
from trainers.training import train

STATES = [initial_state(MemberConfig(seed=s, alpha=0.1 + s), network("combined")) for s in range(3)]


def test_a_round_trip_is_exact(tmp_path: Path) -> None:
    save_states(STATES, tmp_path / "deeper" / "pack.npz")
    loaded = load_states(tmp_path / "deeper" / "pack.npz")
    assert [s.member for s in loaded] == [s.member for s in STATES]
    for one, other in zip(STATES, loaded, strict=True):
        assert (one.epoch, one.step) == (other.epoch, other.step)
        assert one.parameters.tobytes() == other.parameters.tobytes()
        assert [vector.dtype for vector in other.kept] == [np.float32] * 2
    assert [f.name for f in (tmp_path / "deeper").iterdir()] == ["pack.npz"]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_running_statistics_and_what_any_optimizer_keeps_come_back(optimizer: str, tmp_path: Path) -> None:
    fields = {"normalization": "batch", "activation": "prelu", "slope": 0.1, "learn_alpha": "layer", "bias_scale": 0.1}
    members = [MemberConfig(optimizer=optimizer, seed=s, penalty="decoupled", **fields) for s in range(2)]
    layers, random = layers_of(members[0], 10), np.random.default_rng(0)
    start = [initial_state(m, layers) for m in members]
    assert {len(s.buffers) for s in start} == {2 * (6 * 3 + 3 * 8)}

    def other(vector: np.ndarray) -> np.ndarray:
        return random.normal(size=vector.shape).astype(np.float32)

    states = [
        replace(
            s, epoch=3, step=9, parameters=other(s.parameters), kept=tuple(map(other, s.kept)), buffers=other(s.buffers)
        )
        for s in start
    ]
    save_states(states, tmp_path / "pack.npz")
    for before, after in zip(states, load_states(tmp_path / "pack.npz"), strict=True):
        assert (after.member, after.epoch, after.step) == (before.member, 3, 9)
        assert len(after.kept) == len(OPTIMIZERS[optimizer].state)
        ours, theirs = ((s.parameters, s.buffers, *s.kept) for s in (after, before))
        assert [a.tobytes() for a in ours] == [b.tobytes() for b in theirs]
        assert {a.dtype for a in ours} == {np.dtype(np.float32)}


def test_the_weights_alone_can_be_saved_and_not_trained_further(tmp_path: Path) -> None:
    save_states([replace(s, kept=()) for s in STATES], tmp_path / "weights.npz")
    loaded = load_states(tmp_path / "weights.npz")
    assert [s.parameters.tobytes() for s in loaded] == [s.parameters.tobytes() for s in STATES]
    assert {s.trainable for s in loaded} == {False} and {s.trainable for s in STATES} == {True}
    with pytest.raises(ValueError, match="must have what the optimizer keeps, but one has the weights alone"):
        train([s.member for s in STATES], loaded)
    sgd = initial_state(MemberConfig(optimizer="sgd"), network("combined"))
    save_states([sgd], tmp_path / "sgd.npz")
    assert load_states(tmp_path / "sgd.npz")[0].trainable, "it keeps nothing"


def test_a_part_of_what_the_optimizer_keeps_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        replace(STATES[0], kept=STATES[0].kept[:1])
    save_states(STATES, tmp_path / "pack.npz")
    with np.load(tmp_path / "pack.npz") as file:
        arrays = {name: file[name] for name in file.files[:-1]}
    np.savez(tmp_path / "pack.npz", **arrays)
    with pytest.raises(ValueError, match="not a file of member states"):
        load_states(tmp_path / "pack.npz")


def test_a_torn_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pack.npz"
    save_states(STATES, path)
    whole = path.read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="not a file of member states"):
            load_states(path)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "pack.npz"
    path.write_bytes(pickle.dumps(STATES))
    with pytest.raises(ValueError, match="not a file of member states"):
        load_states(path)
    np.savez(path, about=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="not a file of member states"):
        load_states(path)
    with pytest.raises(FileNotFoundError):
        load_states(tmp_path / "none.npz")


def test_whoever_goes_on_from_epoch_0_has_its_record() -> None:
    member = MemberConfig(regime="deep", dense=2, units=4, epochs=1, batch_size=1500)
    begun = train([member])
    assert next(begun).epoch == 0
    rest = list(train([member], begun.state()))
    assert [record.epoch for record in rest] == [1]
    assert {**rest[0].metrics, "seconds": 0} == {**next(begun).metrics, "seconds": 0}
