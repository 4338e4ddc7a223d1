"""Ray as a sweep uses it: started for its driver, or connected to, and gone without a trace afterwards.

A Ray that is started here listens on the loopback, and is in a folder of this user's alone that goes with the driver;
the folder of a driver that was killed goes with the next one. (By itself Ray makes one in the temporary folder,
writable by everybody, and leaves it there.) Its token is new each time and in the environment: by itself Ray writes one
into the home, which may be read-only.

Whatever keeps Ray from starting, or from being reached, is a RequestError within a minute. (By itself Ray looks for a
cluster that is not there for 14 minutes.)
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any

import ray
from ray._common.utils import get_default_system_temp_dir
from ray._private import ray_constants, worker
from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]
from ray.tune.execution import class_cache

from sweeps.environment import cores, environment, processes_left
from tracking.store import MARK
from trainers import plugins
from trainers.errors import RequestError, one_line
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
# Threads and processes of a Ray here, its driver's included, as counted on two cores: 235 while two workers trained.
# Without its workers it has some 170, and each worker some 30; with fewer it starts and then waits for ever.
PROCESSES, PROCESSES_OF_A_WORKER = 180, 40
CONNECT_SECONDS = 10.0  # to a cluster's port
SOCKET_CHARACTERS = 107  # of a socket's file; below is what comes after the temporary folder in Ray's longest one
_PREFIX = "gradsweep-ray-"
_SOCKET = f"/{_PREFIX}12345678/r/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"
IN_PROCESS = "--executor in-process trains without Ray"
HERE = "unset RAY_ADDRESS to train on this machine"


@contextmanager
def ray_session(workers: Mapping[str, str], *, address: str) -> Iterator[None]:
    """Ray started here, or the cluster at `address`; `workers` is added to the environment of the workers.

    Environment and Ray's own modules are afterwards what they were before. Raises RequestError where Ray can't be had.
    """
    away = bool(address)
    if away:
        check_address(address)
    debugging = bool(os.environ.get("GRADSWEEP_DEBUG"))
    level = logging.INFO if debugging else logging.CRITICAL
    with ExitStack() as stack:

        def patch(module: Any, name: str, value: Any) -> None:
            stack.callback(setattr, module, name, getattr(module, name))
            setattr(module, name, value)

        # Ray has read its settings from the environment: that a token is wanted would stay after the session.
        stack.callback(Config.initialize, "")
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
        if away:
            # One try, of 40 s; Ray's own twenty are for heads that start at the same time.
            stack.enter_context(environment({"RAY_gcs_server_port_wait_time_s": "1"}))
        else:
            # The loopback, as Ray has it by itself on Windows and macOS.
            patch(ray_constants, "ENABLE_RAY_CLUSTER", False)
            stack.enter_context(environment({"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}))
            _token(stack)
            processors = cores()
            check_processes(processors)
            folder = stack.enter_context(session_folder(temporary_folder(get_default_system_temp_dir())))  # type: ignore[no-untyped-call]
            settings |= {"address": "local", "include_dashboard": False, "_temp_dir": str(folder)}
            settings |= {"num_cpus": processors, "object_store_memory": OBJECT_STORE_BYTES}
        with redirect_stdout(sys.stderr):
            stack.callback(ray.shutdown)
            try:
                ray.init(**settings)
            except Exception as error:  # Ray raises no more than that
                if away:
                    raise RequestError(
                        f"no Ray cluster answers at RAY_ADDRESS={address}; {HERE}: {one_line(error)}"
                    ) from error
                raise RequestError(f"Ray can't be started here; {IN_PROCESS}: {one_line(error)}") from error
        yield


def check_address(address: str) -> None:
    """Something listens at the address of a cluster, as RAY_ADDRESS names it. Raises RequestError."""
    named = f"RAY_ADDRESS={address}"
    if address == "auto":
        return
    scheme, separator, _ = address.rpartition("://")
    if separator and scheme in ("http", "https", "ray"):
        to = "http://HEAD:8265" if scheme == "ray" else address
        raise RequestError(
            f"{named}: a driver joins its cluster at HOST:PORT, without {scheme}://; gradsweep submit SPEC --to {to} "
            f"sends a sweep there from elsewhere; {HERE}"
        )
    host, _, port = address.rpartition(":")
    if separator or not host or not port.isdecimal():
        raise RequestError(f"{named}: must be HOST:PORT of a Ray cluster, auto or local; {HERE}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise RequestError(f"no Ray cluster answers at {named} ({why}); {HERE}") from None


def check_processes(workers: int) -> None:
    """This user may start as many processes and threads as Ray needs for so many workers. Raises RequestError."""
    left, needed = processes_left(), PROCESSES + PROCESSES_OF_A_WORKER * workers
    if left is not None and left < needed:
        raise RequestError(
            f"Ray needs about {needed} processes and threads here, and only {max(left, 0)} more are allowed: "
            f"raise the limit (ulimit -u, or the container's pids.max), or: {IN_PROCESS}"
        )


def temporary_folder(usual: str) -> Path:
    """Where Ray's folder is made: in the usual temporary folder, or in /tmp where that is too long for sockets.

    Raises RequestError where neither can be used.
    """
    most = SOCKET_CHARACTERS - len(_SOCKET)
    for place in map(os.path.abspath, (usual, "/tmp")):
        if len(os.fsencode(place)) <= most and os.access(place, os.W_OK | os.X_OK):
            return Path(place)
    raise RequestError(
        f"Ray needs a temporary folder that can be written, with a name of at most {most} characters, and neither "
        f"{usual} nor /tmp is one: set TMPDIR to one, or: {IN_PROCESS}"
    )


def _token(stack: ExitStack) -> None:
    """A token for Ray's own processes alone. This process reads it once, and must be told when it is another one."""
    loader = AuthenticationTokenLoader.instance()
    stack.callback(loader.reset_cache)
    stack.enter_context(environment({"RAY_AUTH_TOKEN": secrets.token_hex(32)}))
    loader.reset_cache()


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
