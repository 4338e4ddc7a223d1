"""What is somebody else's stays as it is, and a name that they have is refused: databases, folders, buckets."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import optuna
import pytest

from sweeps.cli import _status
from sweeps.driver import marks
from sweeps.driver.bucket import Bucket
from sweeps.driver.kept import Kept
from sweeps.driver.signals import Interrupt
from sweeps.driver.sweep import Outcome, run
from sweeps.spec.reading import parse
from tracking.ledger import Ledger
from tracking.store import MARK, Store
from tracking.types import Sweep
from trainers.errors import RequestError, SearchError

SPEC = """\
name: baseline
base: {{init_scale: 1.0, data: "{images}", epochs: 1, batch_size: 8}}
seeds: 1
arms: {{plain: {{alpha: 1.0}}}}
"""


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def swept(store: Store, images: str, more: str = "") -> Outcome:
    with Interrupt() as interrupt:
        spec = parse(SPEC.format(images=images) + more)
        return run(spec, store, interrupt, executor="in-process", resume=False, show=lambda *_: nullcontext())


def their_study(folder: Path, name: str, **attributes: Any) -> optuna.Study:
    """A study of 12 trials, made by plain Optuna in the database of a store that is not there yet."""
    folder.mkdir()
    study = optuna.create_study(study_name=name, storage=f"sqlite:///{folder / 'optuna.db'}", direction="maximize")
    for key, value in attributes.items():
        study.set_user_attr(key, value)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=12)
    return study


def test_a_study_of_the_same_name_is_kept_and_the_name_refused(
    images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The case foreign-optuna-study."""
    study = their_study(tmp_path / "store", "baseline")
    (tmp_path / "baseline.yaml").write_text(SPEC.format(images=images))
    words = ["run", str(tmp_path / "baseline.yaml"), "--executor", "in-process", "--store", str(tmp_path / "store")]
    assert _status(words) == 2
    assert capsys.readouterr().err == (
        "gradsweep: a study named 'baseline' that is no sweep is in this database; choose another name with --name\n"
    )
    assert _status([*words, "--name", "mine"]) == 0
    assert len(study.trials) == 12 and study.user_attrs == {}


def test_a_study_with_an_attribute_created_is_passed_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The case foreign-study-attribute."""
    their_study(tmp_path / "store", "theirs", created="2026-01-01")
    assert _status(["list", "--store", str(tmp_path / "store"), "--json"]) == 0
    assert capsys.readouterr().out == "[]\n"
    store = Store.at(tmp_path / "store").create()
    ledger = Ledger.create(store.ledger_url)
    ledger.begin(Sweep("ours", SPEC.format(images="digits").replace("baseline", "ours")))
    ledger.close()
    assert _status(["list", "--store", str(tmp_path / "store")]) == 0
    out = capsys.readouterr().out
    assert "ours" in out and "theirs" not in out


@pytest.mark.parametrize("place", ["checkpoints/baseline/p00000-3f2a91.npz.3", "reports/mine.txt", "logs/baseline.log"])
def test_somebody_elses_folder_does_not_become_a_store(images: str, tmp_path: Path, place: str) -> None:
    (file := tmp_path / "store" / place).parent.mkdir(parents=True)
    file.write_text("theirs")
    with pytest.raises(RequestError, match="no store of gradsweep's, but has a folder|has files of another sweep"):
        swept(Store.at(tmp_path / "store"), images)
    assert content(tmp_path / "store") == {place: b"theirs"}


@pytest.fixture(params=["folder", "kept", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Store, Path]:
    """A store, and where the states of `baseline` are in it."""
    odd = tmp_path / "a store, 100 #1 {x} é"
    if request.param == "folder":
        store = Store(odd).create()
        return store, store.states("baseline")
    if request.param == "kept":
        store = Store(odd).create()
        return store, store.kept("baseline")
    store = Store(odd, checkpoints=(tmp_path / "bucket").as_uri()).create()
    return store, tmp_path / "bucket" / "baseline"


def test_states_without_a_mark_are_not_a_new_sweeps(place: tuple[Store, Path]) -> None:
    store, folder = place
    (folder / "mine").mkdir(parents=True)
    marks.refuse_foreign(store, "baseline", "")  # an empty folder is nobody's
    (folder / "mine" / "model.npz.7").write_text("theirs")
    with pytest.raises(SearchError, match="/baseline has files of another sweep.* choose another name with --name"):
        marks.refuse_foreign(store, "baseline", "")
    marks.refuse_foreign(store, "baseline", "made before there were marks")
    marks.release(store, Sweep("baseline", "", mark="a"), states=True)
    assert content(folder) == {"mine/model.npz.7": b"theirs"}


def test_states_with_another_mark_are_another_sweeps(place: tuple[Store, Path]) -> None:
    """Of two ledgers that share a folder or a bucket."""
    store, folder = place
    ours, theirs = (Sweep("baseline", "", mark=mark) for mark in ("a", "b"))
    marks.claim(store, ours)
    marks.claim(store, ours)
    marks.refuse_foreign(store, "baseline", "a")
    (folder / "p00000-3f2a91.npz.3").write_text("ours")
    for mark in ("", "b"):
        with pytest.raises(SearchError, match="has files of another sweep"):
            marks.refuse_foreign(store, "baseline", mark)
    for states in (False, True):
        marks.release(store, theirs, states=states)
    marks.release(store, ours)
    assert content(folder) == {MARK: b"a", "p00000-3f2a91.npz.3": b"ours"}
    marks.release(store, ours, states=True)
    assert not folder.exists()
    marks.refuse_foreign(store, "baseline", "b")


def test_a_sweep_is_refused_before_anything_of_it_is_written(images: str, tmp_path: Path) -> None:
    store = Store.at(tmp_path / "store").create()
    store.states("baseline").mkdir()
    (store.states("baseline") / "p00000-3f2a91.npz.3").write_text("theirs")
    before = content(store.folder)
    with pytest.raises(SearchError, match="has files of another sweep"):
        swept(store, images)
    assert content(store.folder) == before


def test_a_finished_sweep_leaves_no_mark(images: str, tmp_path: Path) -> None:
    store = Store.at(tmp_path / "store")
    assert swept(store, images).counts.complete == 1
    assert not store.states("baseline").exists() and not store.kept("baseline").exists()


def test_what_is_kept_in_a_bucket_has_a_mark(images: str, tmp_path: Path) -> None:
    store = Store(tmp_path / "store", checkpoints=(tmp_path / "bucket").as_uri())
    swept(store, images, "resources: {keep: weights}\n")
    assert Kept.of("baseline", store).numbers() == {0}
    ledger = Ledger.create(store.ledger_url)
    sweep = ledger.sweep("baseline")
    ledger.close()
    kept = content(tmp_path / "bucket")
    assert kept.pop(f"baseline.kept/{MARK}") == sweep.mark.encode()
    assert list(kept) == ["baseline.kept/0.weights.npz"]
    another = Store(tmp_path / "another", checkpoints=store.checkpoints)
    with pytest.raises(SearchError, match="baseline.kept has files of another sweep"):
        swept(another, images)
    marks.release(store, sweep, states=True)
    assert content(tmp_path / "bucket") == {}


def test_a_bucket_that_cannot_be_marked_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "store", checkpoints=(tmp_path / "file").as_uri()).create()
    with pytest.raises(RequestError, match="the states of members can't be kept in file:///") as caught:
        marks.claim(store, Sweep("baseline", "", mark="a"))
    assert "\n" not in str(caught.value)


def test_what_is_in_a_bucket_is_listed_to_its_depth(tmp_path: Path) -> None:
    bucket = Bucket(tmp_path.as_uri(), "sweep")
    assert bucket.everything() == []
    bucket.delete_everything()
    Bucket(tmp_path.as_uri(), "sweep", "p0").put("p0.npz.1", b"states")
    Bucket(tmp_path.as_uri(), "other").put("x", b"")
    bucket.put(MARK, b"a")
    assert sorted(bucket.everything()) == [MARK, "p0/p0.npz.1"]
    bucket.delete_everything()
    assert content(tmp_path) == {"other/x": b""}
