"""Ray as a sweep uses it: started for its driver, or connected to, and gone without a trace afterwards.

A Ray that is started here listens on the loopback, and is in a folder of this user's alone that goes with the driver;
the folder of a driver that was killed goes with the next one. (By itself Ray makes one in the temporary folder,
writable by everybody, and leaves it there.)
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any

import ray
from ray._common.utils import get_default_system_temp_dir
from ray._private import ray_constants, worker
from ray.tune.execution import class_cache

from sweeps.environment import environment
from tracking.store import MARK
from trainers import plugins
from trainers.files import locked

log = logging.getLogger("gradsweep")

# For the driver and its workers.
SETTINGS = {
    "PYTHONSAFEPATH": "1",  # a user's `trainers.py` in the current folder is not ours
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",  # its progress tables go to standard output, ours is `sweeps.display`
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths mean what they mean here
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # the signals are ours, see sweeps.driver.signals
    "TUNE_GLOBAL_CHECKPOINT_S": "inf",  # no snapshots of what nobody restores
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
}
SET_BY_RAY = ("PYTHONBREAKPOINT", "RAY_AUTH_MODE")  # when it is started
OBJECT_STORE_BYTES = 150 * 2**20  # packs and reports are small; Ray's default would take a third of the memory
_PREFIX = "gradsweep-ray-"


@contextmanager
def ray_session(workers: Mapping[str, str], *, away: bool) -> Iterator[None]:
    """Ray started here, or the cluster of RAY_ADDRESS; `workers` is added to the environment of the workers.

    Environment and Ray's own modules are afterwards what they were before.
    """
    debugging = bool(os.environ.get("GRADSWEEP_DEBUG"))
    level = logging.INFO if debugging else logging.CRITICAL
    with ExitStack() as stack:

        def patch(module: Any, name: str, value: Any) -> None:
            stack.callback(setattr, module, name, getattr(module, name))
            setattr(module, name, value)

        stack.enter_context(environment({name: os.environ.get(name) for name in SET_BY_RAY} | SETTINGS))
        # Ray prints the errors of its workers, each time, to standard output.
        patch(worker, "print_to_stdstream", lambda data, **_: log.debug("Ray: %s", "\n".join(data["lines"])))
        # Tune would hand the driver's AWS keys to workers on their command line, where everybody can read them.
        patch(class_cache, "ENV_VARS_TO_PROPAGATE", {n for n in class_cache.ENV_VARS_TO_PROPAGATE if "AWS_" not in n})
        # What has become of a trial is in the ledger.
        tune_log = logging.getLogger("ray.tune")
        stack.callback(tune_log.setLevel, tune_log.level)
        tune_log.setLevel(level)
        runtime: dict[str, Any] = {"env_vars": {**SETTINGS, **workers}}
        # The driver of a job that was submitted with its code (sweeps.targets.ray) has a folder already.
        job = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}"))
        if not (job.get("runtime_env") or {}).get("working_dir"):
            # Without one Ray puts the driver's current folder before everything else on the path of the workers.
            runtime["working_dir"] = stack.enter_context(tempfile.TemporaryDirectory(prefix="gradsweep-packages-"))
            if away:
                plugins.send(Path(runtime["working_dir"]))
        settings: dict[str, Any] = {"runtime_env": runtime, "log_to_driver": debugging, "logging_level": level}
        if not away:
            # The loopback, as Ray has it by itself on Windows and macOS.
            patch(ray_constants, "ENABLE_RAY_CLUSTER", False)
            stack.enter_context(environment({"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}))
            folder = stack.enter_context(session_folder(Path(get_default_system_temp_dir())))  # type: ignore[no-untyped-call]
            settings |= {"address": "local", "include_dashboard": False, "_temp_dir": str(folder)}
            settings["object_store_memory"] = OBJECT_STORE_BYTES
        with redirect_stdout(sys.stderr):
            stack.callback(ray.shutdown)
            ray.init(**settings)
        yield


@contextmanager
def session_folder(parent: Path) -> Iterator[Path]:
    """A folder for Ray that is gone afterwards. Its name is short: Ray's sockets have at most 107 characters."""
    _remove_dead(parent)
    with ExitStack() as stack:
        # Again: the processes of a killed driver's Ray take a moment to follow it.
        stack.callback(_remove_dead, parent)
        made = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}", dir=parent))
        stack.enter_context(locked(made))
        (made / MARK).touch()
        # Not before it is locked: another driver would take it for a dead one's.
        folder = made.rename(parent / made.name.removeprefix("."))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        yield folder / "r"


def _remove_dead(parent: Path) -> None:
    """Remove the folders whose drivers are no more; those of other users can't be opened, and stay."""
    for folder in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # refused where its driver is alive
                if (folder / MARK).exists():  # anybody may name a folder so
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)
