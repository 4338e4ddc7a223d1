"""The executor on Ray Tune: one trial per pack, on this machine or on the cluster of RAY_ADDRESS.

Ray carries packs to workers and reports back, and nothing else: the ledger is the truth about what is done and what is
running, so every run starts a fresh Tune experiment and nothing of Ray's own state is restored. Actors are reused,
which is what makes trials cheap: 13.6 no-op trials per second against 0.84.

Importing this module changes nothing: `opened` sets what Ray needs, and puts it back (`sweeps.executors.ray_session`).
"""

from __future__ import annotations

import functools
import logging
import math
import os
import platform
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import ray
from ray import cloudpickle, tune
from ray.exceptions import RayActorError, RayTaskError, RuntimeEnvSetupError
from ray.tune.search import Searcher

from sweeps.driver.bucket import forget, forget_others, mirror
from sweeps.driver.driver import Driver
from sweeps.driver.packs import Pack, PackReport, train_pack
from sweeps.driver.signals import Interrupt
from sweeps.environment import environment, ray_address
from sweeps.executors import cluster
from sweeps.executors.ray_session import ray_session
from sweeps.spec.reading import Resources
from tracking.store import Store
from trainers.errors import GradsweepError, SweepStopped, one_line

log = logging.getLogger("gradsweep")

TUNE = "tune"  # Tune's own folder in the sweep's
LOST_WORKERS = 5  # a pack that loses more workers than this has failed
CREDENTIALS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
WAIT_SECONDS = 20.0  # with nothing running for this long, the log says that the cluster is full
MISSING = re.compile(r"^(ModuleNotFound|Import)Error: .+", re.MULTILINE)  # in the text that a dead worker leaves


class Parcel:
    """A pack on its way to a worker, in a Tune trial's config.

    Tune copies and prints configs, and keeps them to the end: a parcel is never copied, prints as its pack's name,
    and is emptied when its pack is done.
    """

    def __init__(self, pack: Pack) -> None:
        self.id = pack.id
        self.pack: Pack | None = pack

    def __deepcopy__(self, memo: dict[int, Any]) -> Parcel:
        return self

    def __repr__(self) -> str:
        return self.id


def train_trial(config: dict[str, Any]) -> None:
    """What runs in a worker: train the pack in the config, report every epoch.

    `tune.report` returns when the driver has recorded the report and asks for the next one. Raises DeviceLost; then
    this worker is lost, and another one continues with the pack.
    """
    if config["folder"]:
        os.chdir(config["folder"])  # Ray starts workers in a folder of its own
    if not config["bucket"] and not Path(config["states"]).is_dir():
        raise OSError(f"the machine {platform.node()} does not see the store's folder {config['states']}")
    if 0 < config["gpus"] < 1:
        # Only a pack with a part of a device needs PyTorch before its training does.
        from trainers.cuda.memory import claim

        claim(config["gpus"])
    # Closed here where Tune stops the trial in `report`, by SystemExit.
    with closing(_reports(config)) as reports:
        for report in reports:
            tune.report({"report": report, "done": report.last})


def _reports(config: dict[str, Any]) -> Generator[PackReport]:
    """Yield each epoch's report once its states are saved where a replacement worker will look for them."""
    pack, bucket = config["parcel"].pack, config["bucket"]
    how: dict[str, Any] = {"device": "cuda" if config["gpus"] else "cpu", "threads": config["cpus"]}
    if not bucket:
        yield from train_pack(pack, Path(config["states"]) / f"{pack.id}.npz", config["kept"], **how)
        return
    try:
        with mirror(bucket, config["sweep"], pack.id) as (states, push):
            for report in train_pack(pack, states, config["kept"], **how):
                push()
                yield report
    except OSError as error:
        # Like a full disk: the sweep can't continue, but nothing in the pack has failed.
        why = f"can't keep the states of pack {pack.id} in {bucket}: {one_line(error)}"
        yield PackReport(pack.id, 0, {}, {}, last=True, stop=why)


class PackSearcher(Searcher):
    """Hands the driver's packs to Tune."""

    def __init__(self, driver: Driver) -> None:
        super().__init__()
        self.driver = driver

    # Ray's own annotation forgets its FINISHED, a string.
    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        if pack := self.driver.next_pack():
            return {"parcel": Parcel(pack)}
        return None if self.driver.more_later else str(Searcher.FINISHED)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: the driver has been told."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the database is the truth."""

    restore = save


def _kept(callback: Callable[..., None]) -> Callable[..., None]:
    """Keep the first error for `Bookkeeper.check`, and record nothing after it.

    Tune would turn it into one of its own, as text, and go on reporting.
    """

    @functools.wraps(callback)
    def kept(self: Bookkeeper, *arguments: Any, **info: Any) -> None:
        if self.error is None:
            try:
                callback(self, *arguments, **info)
            except Exception as error:
                self.error = error

    return kept


class Bookkeeper(tune.Callback):
    """Hands the workers' reports to the driver, and what ends the run to Tune's loop: a signal, a full disk.

    `states` are the bucket and the sweep; there it deletes the states of a pack that is done. Where the driver has
    failed or its time is up they stay: a resume continues from them.
    """

    def __init__(self, driver: Driver, interrupt: Interrupt, states: tuple[str, str] | None) -> None:
        self.driver = driver
        self.interrupt = interrupt
        self.states = states
        self.losses: Counter[str] = Counter()  # pack -> how many workers it has lost
        self.error: Exception | None = None
        self.training = False  # whether some trial is
        self._ran = time.monotonic()

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self.check()
        # The newest are the last; the ended ones stay in the list.
        if training := any(trial.status == "RUNNING" for trial in reversed(trials)):
            self._ran = time.monotonic()
        elif trials and time.monotonic() - self._ran > WAIT_SECONDS:
            away = ray_address()
            log.warning("%s: waiting", "the cluster has no room for a pack" if away else "no worker has started yet")
            self._ran = math.inf  # once; again when it has been full again
        self.training = training

    def check(self) -> None:
        """Raise what has come up."""
        self.interrupt.check()
        if self.error is not None:
            raise self.error

    @_kept
    def on_trial_result(self, result: dict[str, Any], **info: Any) -> None:
        # Popped, so that Tune keeps no report.
        if report := result.pop("report", None):
            self.driver.record(report)

    @_kept
    def on_trial_recover(self, trial: Any, **info: Any) -> None:
        parcel, failure = trial.config["parcel"], _failure_of(trial)
        self._lost(parcel.id, f" ({failure[0]})" if failure else "")
        parcel.pack = self.driver.reissue(parcel.id)

    @_kept
    def on_trial_error(self, trial: Any, **info: Any) -> None:
        pack, failure = trial.config["parcel"].id, _failure_of(trial)
        if failure is None and self._lost(pack) <= LOST_WORKERS:
            # Tune gives up if a worker is lost between two packs; another trial continues.
            self.driver.hand_back(pack)
            return
        self.driver.give_up(pack, *(failure or (f"its worker was lost {self.losses[pack]} times",)))
        self.on_trial_complete(trial=trial)

    @_kept
    def on_trial_complete(self, trial: Any, **info: Any) -> None:
        parcel = trial.config["parcel"]
        parcel.pack = None
        del self.losses[parcel.id]
        if self.states and not self.driver.reissue(parcel.id).configurations:
            try:
                forget(*self.states, parcel.id)
            except OSError as failure:
                log.warning("the states of pack %s can't be deleted: %s", parcel.id, one_line(failure))

    def _lost(self, pack: str, why: str = "") -> int:
        """Count a worker that a pack has lost; how many it has lost by now."""
        self.losses[pack] += 1
        if self.losses[pack] <= LOST_WORKERS:
            log.warning("pack %s: its worker was lost%s; another one continues it", pack, why)
        return self.losses[pack]


class TimeIsUp(tune.Stopper):
    """Once the driver's time is up, ends each trial after the epoch that it is in, and those that have not begun.

    Tune copies it, and pickles it for its snapshots.
    """

    def __init__(self, driver: Driver, keeper: Bookkeeper) -> None:
        self._driver, self._keeper = driver, keeper

    def __deepcopy__(self, memo: dict[int, Any]) -> TimeIsUp:
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return self._driver.time_is_up

    def stop_all(self) -> bool:
        """Not while some trial is in an epoch: it would be lost."""
        return self._driver.time_is_up and not self._keeper.training


def _failure_of(trial: Any) -> tuple[str, str] | None:
    """Why a trial has failed, and the traceback of a programming error; None where its worker was lost.

    Raises SweepStopped where the worker lacks something that any other would lack: the packs are left as they are.
    """
    try:
        error = cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
    except (OSError, TypeError):
        return None
    if isinstance(error, RayTaskError):
        if not isinstance(error.cause, ImportError):
            ours = isinstance(error.cause, GradsweepError)
            return one_line(error.cause), "" if ours else error.traceback_str
        why = one_line(error.cause)
    elif missing := MISSING.search(str(error)):
        why = missing[0]
    elif isinstance(error, RuntimeEnvSetupError) or (isinstance(error, RayActorError) and error.actor_init_failed):
        why = str(error).strip().splitlines()[-1]  # the error below a traceback
    else:
        return None
    raise SweepStopped(f"a worker can't start: {why}")


@contextmanager
def opened(resources: Resources, store: Store, interrupt: Interrupt) -> Iterator[None]:
    """Ray started here, or connected to, for `run`; seen to be fit for the sweep before that is begun.

    Raises RequestError where it is not, Interrupted after a signal.
    """
    address = ray_address()
    # Only the driver connects to databases and to MLflow: its workers don't inherit the credentials.
    with ray_session(dict.fromkeys((*CREDENTIALS, *store.variables), ""), address=address):
        interrupt.install()  # starting Ray takes SIGTERM away
        interrupt.check()
        cluster.check(resources, store, away=bool(address))
        yield


def run(driver: Driver, resources: Resources, interrupt: Interrupt, bucket: str | None = None) -> None:
    """Train all packs of the driver, whose folder of states has Ray's files too; `bucket` has the states instead.

    Raises Interrupted after a signal, ValueError where a pack fits on no node of a local Ray.
    """
    limit, folder = _limit(resources), driver.states
    # By itself Tune lets one worker start at a time: 64 would take minutes.
    pending = {"TUNE_MAX_PENDING_TRIALS_PG": str(limit or 1)}
    with environment(pending), ExitStack() as stack:
        # Tune keeps a folder per trial and a last snapshot, which nobody reads.
        stack.callback(shutil.rmtree, folder / TUNE, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        keeper = Bookkeeper(driver, interrupt, (bucket, folder.name) if bucket else None)
        if bucket:
            forget_others(bucket, folder.name, driver.waiting)
        config = {
            "states": str(folder),
            "bucket": bucket,
            "sweep": folder.name,
            "kept": driver.kept,
            "cpus": resources.cpus,
            "gpus": resources.gpus,
            "folder": "" if ray_address() else os.getcwd(),
        }
        tune.run(
            tune.with_resources(train_trial, {"cpu": resources.cpus, "gpu": resources.gpus}),
            name=TUNE,
            config=config,
            num_samples=-1,
            search_alg=PackSearcher(driver),
            max_concurrent_trials=limit,
            callbacks=[keeper],
            stop=TimeIsUp(driver, keeper),
            storage_path=str(folder),
            reuse_actors=True,
            max_failures=LOST_WORKERS,
            raise_on_failed_trial=False,
            trial_name_creator=lambda trial: repr(trial.config["parcel"]),
            trial_dirname_creator=lambda trial: repr(trial.config["parcel"]),
            verbose=0,
        )
        keeper.check()


def _limit(resources: Resources) -> int | None:
    """How many packs are trained at once; None: Ray decides, and an autoscaling cluster grows."""
    if resources.concurrent != "auto":
        return int(resources.concurrent)
    if ray_address():
        room = os.environ.get("GRADSWEEP_PACKS")  # of a pool that grows as far as this
        return int(room) if room else None
    have: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return min(int(have[name] / need) for name, need in (("CPU", resources.cpus), ("GPU", resources.gpus)) if need)
