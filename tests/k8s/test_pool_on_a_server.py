"""full_pool.yaml on a real API server: every field passes admission, and KubeRay's operator makes Pods of it.

The namespace is one of its own, under Pod Security "restricted" and the policy of k8s/components/admission with the
settings that this pool needs.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sweeps.targets.kubernetes.rayjob import render
from tests.k8s.apiserver import ADMIN, Object, Server

pytestmark = pytest.mark.apiserver

NAMESPACE = "full-pool"
# What the owner of this pool opens the policy for.
SETTINGS = {
    "images": ["registry.example.com/gradsweep:"],
    "secrets": ["ledger/url", "mlflow-user/", "redis/word", "head/token", "submitter/token", "slices/token"],
    "claims": ["shared-store"],
    "accounts": {
        "head": ["vision-head"],
        "worker": ["vision-slices", "gradsweep-worker"],
        "submitter": ["vision-submitter"],
    },
}


@pytest.fixture(scope="module")
def owned(ready: Server, parts: SimpleNamespace) -> Server:
    """With all that full_pool.yaml names: accounts, priority and runtime classes, and the policy so set."""
    policy, binding = (
        {**thing, "metadata": {"name": NAMESPACE}, "spec": {**thing["spec"]}}
        for kind in ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
        for thing in parts.overlay("overlays/dev")
        if thing["kind"] == kind
    )
    policy["spec"]["variables"] = [
        variable | ({"expression": json.dumps(SETTINGS[variable["name"]])} if variable["name"] in SETTINGS else {})
        for variable in policy["spec"]["variables"]
    ]
    binding["spec"] |= {
        "policyName": NAMESPACE,
        "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}}},
    }
    accounts = ("vision-head", "vision-slices", "vision-submitter", "gradsweep-worker")
    ready.apply(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
        },
        policy,
        binding,
        *(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": NAMESPACE}}
            for name in accounts
        ),
        *(
            thing
            for kind in ("head", "submitter", "slices")
            for thing in (
                {
                    "apiVersion": "scheduling.k8s.io/v1",
                    "kind": "PriorityClass",
                    "metadata": {"name": f"{kind}-priority"},
                    "value": 1,
                },
                {
                    "apiVersion": "node.k8s.io/v1",
                    "kind": "RuntimeClass",
                    "metadata": {"name": f"{kind}-runtime"},
                    "handler": "runc",
                },
            )
        ),
    )
    ready.wait_for_policy(render("alpha-r", "", parts.full_pool()), NAMESPACE)
    return ready


def create(server: Server, thing: Object, *options: str) -> subprocess.CompletedProcess[str]:
    command = ("create", "--validate=strict", f"--namespace={NAMESPACE}", "-o", "json", *options, "-f", "-")
    return server.kubectl(*command, stdin=json.dumps(thing), check=False)


def test_every_field_is_admitted_and_stored_as_sent(owned: Server, parts: SimpleNamespace) -> None:
    sent = render("alpha-r", "name: alpha-r\n", parts.full_pool())
    done = create(owned, sent, "--dry-run=server")
    assert not done.returncode, done.stderr

    def lost(ours: Any, theirs: Any, where: str) -> list[str]:
        """What the server has dropped or changed."""
        if isinstance(ours, dict):
            return [line for key in ours for line in lost(ours[key], theirs.get(key), f"{where}.{key}")]
        if isinstance(ours, list):
            return [line for mine, stored in zip(ours, theirs, strict=True) for line in lost(mine, stored, where)]
        return [] if ours == theirs else [f"{where}: {ours} became {theirs}"]

    assert lost(sent, json.loads(done.stdout), "rayjob") == []


def test_every_pod_is_admitted_under_restricted(owned: Server, parts: SimpleNamespace) -> None:
    specs = parts.pod_specs(render("alpha-r", "", parts.full_pool()))
    assert specs.keys() == {"head", "submitter", "slices", "cpu-workers", "amd"}
    for name, spec in specs.items():
        done = create(
            owned, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}, "--dry-run=server"
        )
        assert not done.returncode and "PodSecurity" not in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("tolerations", [{"key": "gpu", "operater": "Exists"}], r'unknown field .*tolerations\[\d\].operater"'),
        ("affinity", {"nodeAffinty": {}}, 'unknown field .*affinity.nodeAffinty"'),
        ("topology_spread_constraints", [{"maxSkew": 1, "topologyKey": "zone"}], "whenUnsatisfiable: Required value"),
    ],
)
def test_kubernetes_own_structures_are_checked_by_the_server(
    field: str, value: Any, message: str, owned: Server, parts: SimpleNamespace
) -> None:
    pool = parts.full_pool()
    wrong = replace(pool, workers=(replace(pool.workers[0], **{field: value}),))
    done = create(owned, render("wrong", "", wrong), "--dry-run=server")
    assert done.returncode
    assert re.search(message, done.stderr), done.stderr


@pytest.fixture
def operator(owned: Server, assets: Path, tmp_path: Path) -> Iterator[None]:
    """KubeRay's own, for this namespace alone."""
    program = assets / "kuberay-operator"
    if not program.is_file():
        pytest.skip("KUBEBUILDER_ASSETS has no kuberay-operator")
    options = ("--enable-leader-election=false", "--metrics-addr=:0", "--health-probe-bind-address=:0")
    command = [str(program), *options, f"--watch-namespace={NAMESPACE}"]
    environment = os.environ | {"KUBECONFIG": str(owned.kubeconfig(ADMIN))}
    with (tmp_path / "operator.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)


def test_kuberay_makes_pods_of_it(operator: None, owned: Server, parts: SimpleNamespace) -> None:
    """Its rules beyond the schema hold, and what Ray is started with is what the pool says."""
    done = create(owned, render("alpha-r", "name: alpha-r\n", parts.full_pool()))
    assert not done.returncode, done.stderr
    started = {"spec": {"suspend": False}}  # as Kueue does when its turn has come
    here = f"--namespace={NAMESPACE}"
    owned.kubectl("patch", "rayjobs.ray.io", "alpha-r", here, "--type=merge", f"-p={json.dumps(started)}")
    there = "--for=jsonpath={.status.rayClusterStatus.head.podName}"  # workers are made in the same pass
    owned.kubectl("wait", here, "rayjobs.ray.io/alpha-r", there, "--timeout=90s")
    pods = {
        pod["metadata"]["labels"]["ray.io/group"]: pod
        for pod in json.loads(owned.kubectl("get", "pods", here, "-o", "json").stdout)["items"]
    }
    owned.kubectl("delete", "rayjobs.ray.io", "alpha-r", here)
    assert pods.keys() == {"headgroup", "slices"}
    head, worker = (pods[name]["spec"] for name in ("headgroup", "slices"))
    assert [container["name"] for container in head["initContainers"]] == ["preflight"]
    _, autoscaler = head["containers"]
    assert autoscaler["command"] == ["python", "-m", "sweeps.targets.kubernetes.in_pod.autoscaler"]
    assert autoscaler["args"][0].startswith("ray kuberay-autoscaler ") and len(autoscaler["args"]) == 1
    assert (head["serviceAccountName"], worker["serviceAccountName"]) == ("vision-head", "vision-slices")
    command = worker["containers"][0]["args"][0]
    assert "--num-cpus=6 " in command and "--num-gpus=2 " in command and "--metrics-export-port=8080 " in command
