"""The file of states: exact, whole or absent, and free of code."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from trainers.members import MemberConfig
from trainers.regimes import network
from trainers.states import initial_state, load_states, save_states

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
