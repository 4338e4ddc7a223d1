"""A container as far as processes go: a command as PID 1 of a process namespace of its own, with /proc to match.

KubeRay's commands are made here as its operator makes them (ray-operator/controllers/ray/common/pod.go).
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import psutil
import pytest

PATIENCE = 600.0
NAMESPACES = {"unshare": ["--pid", "--fork", "--mount-proc", "--kill-child"], "nsenter": ["--pid", "--mount"]}
FOR_USERS = {"unshare": ["--user", "--map-root-user"], "nsenter": ["--user", "--preserve-credentials"]}


@cache
def _options() -> dict[str, list[str]] | None:
    """What `unshare` and `nsenter` need here; None where this machine gives nobody a namespace."""
    for more in ({}, FOR_USERS):
        options = {tool: [*more.get(tool, []), *words] for tool, words in NAMESPACES.items()}
        try:
            subprocess.run(["unshare", *options["unshare"], "true"], capture_output=True, timeout=60, check=True)
        except (OSError, subprocess.SubprocessError):
            continue
        return options
    return None


def _mounted(volumes: Mapping[str, Path], command: Sequence[str]) -> list[str]:
    """The command after folders have been mounted, which the namespace alone sees."""
    lines = ["set -e"]
    for place, folder in volumes.items():
        above = next(path for path in Path(place).parents if path.exists()).resolve()
        lines += [f"mount -t tmpfs none {above}", f"mkdir -p {place}", f"mount --bind {folder} {place}"]
    return ["/bin/bash", "-c", "\n".join([*lines, 'exec "$@"']), "mount", *command]


class Container:
    """PID 1 and what it starts; `environment` is all that they have, with PATH, and `volumes` what is mounted where.

    Skips where there are no namespaces.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        volumes: Mapping[str, Path] | None = None,
    ) -> None:
        options = _options()
        if options is None:
            pytest.skip("unshare gives no process namespace here: it takes root, or user namespaces")
        self._enter = ["nsenter", *options["nsenter"]]
        self._environment = dict(environment)
        self.log = log
        with log.open("ab") as output:
            # In a session of its own, so that a Ctrl-C here is not one there.
            self._outside = subprocess.Popen(
                ["unshare", *options["unshare"], *_mounted(volumes or {}, command)],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        while not (children := psutil.Process(self._outside.pid).children()) and self.runs:
            pass
        self._first = children[0] if children else None

    @property
    def first(self) -> psutil.Process:
        """PID 1."""
        assert self._first is not None, self.log.read_text()
        return self._first

    def exec(self, command: Sequence[str]) -> subprocess.Popen[str]:
        """Start a further command in the container, as the kubelet does a preStop; its output is piped."""
        inside = Path(f"/proc/{self.first.pid}/ns/pid")
        assert os.readlink(inside) != os.readlink("/proc/self/ns/pid"), "not in this machine's own namespace"
        words = [*self._enter, f"--target={self.first.pid}", "--", *command]
        return subprocess.Popen(
            words, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def processes(self) -> list[str]:
        """The command lines of everything in it."""
        return [" ".join(p.cmdline()) for p in psutil.process_iter() if self._has(p)]

    def terminate(self) -> None:
        """SIGTERM to PID 1, as the kubelet sends it after the preStop."""
        self.first.send_signal(signal.SIGTERM)

    def catches(self, number: signal.Signals) -> bool:
        """Whether PID 1 has a handler for the signal; without one the kernel drops it, for PID 1 alone."""
        (mask,) = re.findall(r"SigCgt:\t(\w+)", Path(f"/proc/{self.first.pid}/status").read_text())
        return bool(int(mask, 16) & 1 << number - 1)

    def wait(self) -> int:
        """The exit status of PID 1, once it and all others are gone."""
        return self._outside.wait(PATIENCE)

    @property
    def runs(self) -> bool:
        return self._outside.poll() is None

    def kill(self) -> None:
        """What happens to it when its machine is lost."""
        if self.runs:
            self.first.kill()
        self.wait()

    def _has(self, process: psutil.Process) -> bool:
        try:
            return os.readlink(f"/proc/{process.pid}/ns/pid") == os.readlink(f"/proc/{self.first.pid}/ns/pid")
        except OSError:
            return False


def ray_start(parameters: Mapping[str, object], *, head: bool) -> list[str]:
    """The command with which KubeRay starts Ray: generateRayStartCommand and convertParamMap, in DefaultPodTemplate."""
    flags = "".join(f" --{name}={value} " for name, value in sorted({**parameters, "block": ""}.items()))
    flags = flags.replace("--block= ", "--block ")
    return [
        "/bin/bash",
        "-c",
        "--",
        f"ulimit -n ${{RAY_START_ULIMIT_OPEN_FILES:-65536}}; ray start {'--head ' * head}{flags}",
    ]
