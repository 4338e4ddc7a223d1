"""The service in Python: in a script, in a thread, and with Ctrl-C, as a notebook has them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import sweeps
from sweeps.driver.signals import Interrupt
from trainers.errors import SearchError, SpecError


@pytest.fixture(scope="module")
def result(images: str, tmp_path_factory: pytest.TempPathFactory) -> sweeps.Result:
    """A sweep that was run in a thread."""
    spec = {
        "name": "thread",
        "base": {"init_scale": 1.0, "data": images, "batch_size": 8},
        "seeds": 2,
        "arms": {"plain": {"alpha": 1}, "paper": {"alpha": 2.0, "r": 0.01}},
        "claim": "paper",
    }
    store = tmp_path_factory.mktemp("library") / "store"
    with ThreadPoolExecutor(1) as thread:
        run = thread.submit(sweeps.run, spec, store=store, executor="in-process", set=["base.epochs=2"], name="other")
        return run.result()


def test_a_result_has_everything_that_was_found(result: sweeps.Result) -> None:
    assert result.name == "other" and result.spec.base["epochs"] == 2
    assert len(result.frame) == 2 * 2 * 3 and set(result.frame["arm"]) == {"plain", "paper"}
    assert result.verdict.sweep == "other" and [claim.name for claim in result.verdict.claims][0].startswith("paper-")
    accuracies = result.frame[result.frame["epoch"] == 2].groupby("arm")["validation.accuracy"].mean()
    assert result.best is not None and result.best.mean == pytest.approx(accuracies.max())
    assert result.failures == {}
    assert all(figure.svg.lstrip().startswith("<") for figure in result.figures.values()) and result.figures


def test_a_result_has_the_layers(result: sweeps.Result) -> None:
    assert set(result.layers["seed"]) == {0, 1} and "layer" in result.layers


def test_what_is_there_can_be_asked_for_again(result: sweeps.Result) -> None:
    assert sweeps.status("other", result.store)["state"] == "finished"
    again = sweeps.report("other", result.store.where)
    assert again.frame.equals(result.frame)
    with pytest.raises(SearchError, match="no sweep named 'nobody'"):
        sweeps.report("nobody", result.store)


def test_a_wrong_spec_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="spec: arms.a.alfa: unknown key; did you mean alpha?"):
        sweeps.run({"name": "x", "arms": {"a": {"alfa": 1}}}, store=tmp_path)
    assert not list(tmp_path.iterdir())


def test_ctrl_c_leaves_a_sweep_that_can_be_continued(
    images: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sweeps.driver.driver import Driver

    spec = {"name": "x", "base": {"data": images, "epochs": 3, "batch_size": 8}, "seeds": 1, "arms": {"a": {}, "b": {}}}
    before = signal.getsignal(signal.SIGINT)
    record, recorded = Driver.record, threading.Event()

    def recording(driver: Driver, report: object) -> object:
        booked = record(driver, report)  # type: ignore[arg-type]
        if not recorded.is_set():
            recorded.set()
            os.kill(os.getpid(), signal.SIGINT)
        return booked

    monkeypatch.setattr(Driver, "record", recording)
    with pytest.raises(KeyboardInterrupt, match="resume=True"):
        sweeps.run(spec, store=tmp_path / "store", executor="in-process")
    assert signal.getsignal(signal.SIGINT) is before
    assert sweeps.status("x", tmp_path / "store")["state"] == "stopped"
    result = sweeps.run(spec, store=tmp_path / "store", executor="in-process", resume=True)
    assert sweeps.status("x", tmp_path / "store")["state"] == "finished" and len(result.frame) == 2 * 4


def test_a_second_ctrl_c_is_pythons_own_and_ends_no_process() -> None:
    with pytest.raises(KeyboardInterrupt), Interrupt(farewell=None) as interrupt:
        os.kill(os.getpid(), signal.SIGINT)
        while interrupt.number is None:
            threading.Event().wait(0.01)
        os.kill(os.getpid(), signal.SIGINT)
        threading.Event().wait(5)


def test_an_import_changes_nothing_and_brings_nothing_heavy() -> None:
    code = (
        "import os, signal, sys; before = dict(os.environ), signal.getsignal(signal.SIGINT);"
        "import search_spaces, sweeps, tracking, trainers;"
        "assert before == (dict(os.environ), signal.getsignal(signal.SIGINT));"
        "heavy = {'torch', 'ray', 'mlflow', 'pandas', 'optuna', 'pydantic'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.ray
@pytest.mark.slow
def test_a_thread_may_run_ray(images: str, tmp_path: Path) -> None:
    """In a process of its own: Ray leaves threads and connections behind in the one that it was started in."""
    code = (
        "import sweeps, threading\n"
        f"spec = dict(name='x', base=dict(data={images!r}, epochs=1, batch_size=8), seeds=1, arms=dict(a={{}}))\n"
        f"run = lambda: print(len(sweeps.run(spec, store={str(tmp_path / 'store')!r}).frame))\n"
        "thread = threading.Thread(target=run)\n"
        "thread.start()\n"
        "thread.join()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
