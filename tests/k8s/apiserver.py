"""A real API server with its etcd; no kubelet, no controllers, no KubeRay."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweeps.targets.kubernetes.client import Namespace
from tests.k8s.stand_in import kubeconfig

Object = dict[str, Any]
ADMIN, NOBODY = "admin-token", "nobody-token"
LEAST = 30  # 1.30, the first with ValidatingAdmissionPolicy


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Server:
    """etcd and kube-apiserver, and kubectl on them with a token of the caller's choice."""

    def __init__(self, assets: Path, folder: Path) -> None:
        self.folder = folder
        etcd, peer, secure = free_port(), free_port(), free_port()
        self.url = f"https://127.0.0.1:{secure}"
        key = folder / "service-accounts.key"
        command = ["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", str(key)]
        subprocess.run(command, check=True, capture_output=True)
        (folder / "tokens.csv").write_text(f'{ADMIN},admin,1,"system:masters"\n{NOBODY},nobody,2,""\n')
        self.log = (folder / "server.log").open("wb")
        self.processes = [
            self.start(
                assets / "etcd",
                f"--data-dir={folder / 'etcd'}",
                f"--listen-client-urls=http://127.0.0.1:{etcd}",
                f"--advertise-client-urls=http://127.0.0.1:{etcd}",
                f"--listen-peer-urls=http://127.0.0.1:{peer}",
                f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
                f"--initial-cluster=default=http://127.0.0.1:{peer}",
                "--unsafe-no-fsync",
            ),
            self.start(
                assets / "kube-apiserver",
                f"--etcd-servers=http://127.0.0.1:{etcd}",
                f"--secure-port={secure}",
                "--bind-address=127.0.0.1",
                f"--cert-dir={folder / 'certs'}",
                "--service-cluster-ip-range=10.96.0.0/24",
                "--authorization-mode=RBAC",
                f"--token-auth-file={folder / 'tokens.csv'}",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={key}",
                f"--service-account-signing-key-file={key}",
            ),
        ]

    def start(self, *command: str | Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen([str(one) for one in command], stdout=self.log, stderr=self.log)

    def stop(self) -> None:
        for process in reversed(self.processes):  # an API server whose etcd is gone does not end
            process.terminate()
            process.wait(timeout=60)
        self.log.close()

    def kubeconfig(self, token: str) -> Path:
        authority = self.folder / "certs" / "apiserver.crt"  # its own, made at the start
        return kubeconfig(self.url, token, self.folder / f"{token[:30]}.yaml", authority)

    def namespace(self, token: str, monkeypatch: pytest.MonkeyPatch, name: str = "gradsweep") -> Namespace:
        """The client's, with the rights that the token has."""
        monkeypatch.setenv("KUBECONFIG", str(self.kubeconfig(token)))
        return Namespace(name)

    def kubectl(self, *arguments: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        command = ["kubectl", f"--kubeconfig={self.kubeconfig(ADMIN)}", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0 or not check, done.stderr
        return done

    def apply(self, *objects: Object, check: bool = True, dry_run: bool = False) -> subprocess.CompletedProcess[str]:
        options = ["--dry-run=server"] if dry_run else []
        text = yaml.safe_dump_all(objects)
        return self.kubectl("apply", "--validate=strict", *options, "-f", "-", stdin=text, check=check)

    @property
    def minor(self) -> int:
        """36 of 1.36."""
        version = json.loads(self.kubectl("get", "--raw=/version").stdout)["gitVersion"]
        return int(version.split(".")[1])

    def count(self, quota: Object, used: Mapping[str, str] | None = None) -> None:
        """What the quota controller does: say how much is used; nothing is taken before."""
        hard = quota["spec"]["hard"]
        status = {"status": {"hard": hard, "used": dict.fromkeys(hard, "0") | dict(used or {})}}
        where = ("resourcequota", quota["metadata"]["name"], "--namespace=gradsweep")
        self.kubectl("patch", *where, "--subresource=status", "--type=merge", f"-p={json.dumps(status)}")

    def wait_for(self, path: str) -> None:
        deadline = time.monotonic() + 90
        while self.kubectl("get", f"--raw={path}", check=False).returncode:
            assert all(process.poll() is None for process in self.processes), (self.folder / "server.log").read_text()
            assert time.monotonic() < deadline, f"the API server does not answer {path} after 90 seconds"
            time.sleep(0.2)  # it has no event to wait for

    def wait_for_policy(self, rayjob: Object, namespace: str = "gradsweep") -> None:
        """Until the policy of k8s/components/admission and its settings are known to the server: it polls for them."""
        wrong = rayjob | {"spec": {**rayjob["spec"], "clusterSelector": {"ray.io/cluster": "another"}}}
        command = ("create", "--dry-run=server", f"--namespace={namespace}", "-f", "-")
        deadline = time.monotonic() + 90
        for one, refused in ((wrong, True), (rayjob, False)):
            while bool(self.kubectl(*command, stdin=json.dumps(one), check=False).returncode) != refused:
                assert time.monotonic() < deadline, "the policy is not in force after 90 seconds"
                time.sleep(0.2)
