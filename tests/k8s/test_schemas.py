"""Every object that the overlays give, and the RayJob, held against the schemas that a cluster holds them against."""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest

from sweeps.targets.kubernetes.pool import Redis
from sweeps.targets.kubernetes.rayjob import render

kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")

VERSIONS = ("1.34", "1.37")
ELSEWHERE = ("kueue.x-k8s.io/", "monitoring.coreos.com/")  # Kueue's and Prometheus' kinds


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["dev", "gpu-pool"])
def test_every_object_of_an_overlay_is_valid(name: str, version: str, parts: SimpleNamespace) -> None:
    others = []
    for one in parts.overlay(f"overlays/{name}"):
        if one["apiVersion"].startswith(ELSEWHERE):
            others.append(one["kind"])
            continue
        kubernetes_validate.validate(one, version, strict=True)
    # Their own schemas are not at hand; which objects go unchecked stands here.
    kueues = ["ClusterQueue", "LocalQueue", *["ResourceFlavor"] * 2, *["WorkloadPriorityClass"] * 2]
    assert sorted(others) == (kueues if name == "gpu-pool" else [])


@pytest.mark.parametrize("name", ["admission", "gcs-ft-redis", "kueue", "monitoring", "postgres"])
def test_every_component_is_in_an_overlay_or_valid_by_itself(name: str, parts: SimpleNamespace) -> None:
    for one in parts.overlay(f"components/{name}"):
        if not one["apiVersion"].startswith(ELSEWHERE):
            kubernetes_validate.validate(one, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_what_an_owner_applies_now_and_then_is_valid(version: str, parts: SimpleNamespace) -> None:
    for one in parts.samples():
        kubernetes_validate.validate(one, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_rayjobs_pods_are_valid_pods(rayjob: dict[str, Any], version: str, parts: SimpleNamespace) -> None:
    with_every_field = render("alpha-r", "", parts.full_pool())
    for made in (rayjob, with_every_field):
        for name, spec in parts.pod_specs(made).items():
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
            kubernetes_validate.validate(pod, version, strict=True)


def test_a_field_unknown_to_kubernetes_is_noticed(rayjob: dict[str, Any], parts: SimpleNamespace) -> None:
    spec = parts.pod_specs(rayjob)["head"] | {"restartpolicy": "Never"}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "head"}, "spec": spec}, VERSIONS[-1], strict=True
        )


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """An OpenAPI schema as JSON Schema in which unknown fields are errors, as with strict field validation."""
    made = {key: value for key, value in schema.items() if not key.startswith("x-kubernetes-")}
    if schema.get("x-kubernetes-int-or-string"):
        made["type"] = ["integer", "string"]
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            made[key] = strict(schema[key])
    if "properties" in schema:
        made["properties"] = {key: strict(value) for key, value in schema["properties"].items()}
        made["required"] = [key for key in schema.get("required", []) if "default" not in schema["properties"][key]]
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            made.setdefault("additionalProperties", False)
    return made


@pytest.fixture(scope="module")
def kuberay(parts: SimpleNamespace) -> jsonschema.Draft7Validator:
    schema = strict(parts.kuberay_schema("rayjobs"))
    schema["properties"]["metadata"] = {"type": "object"}  # the API server's, not the resource's own
    return jsonschema.Draft7Validator(schema)


def test_the_rayjob_fits_kuberays_schema(parts: SimpleNamespace, kuberay: jsonschema.Draft7Validator) -> None:
    (name, spec, autoscaled), (*_, queued) = parts.job("dev"), parts.job("gpu-pool")
    for pool in (autoscaled, queued, replace(autoscaled, redis=Redis()), parts.full_pool()):
        assert [f"{e.json_path}: {e.message}" for e in kuberay.iter_errors(render(name, spec, pool))] == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.backofLimit", 3),
        ("spec.rayClusterSpec.headGroupSpec.template.spec.tolerationz", []),
        ("spec.rayClusterSpec.autoscalerOptions.version", "v3"),
        ("spec.rayClusterSpec.headGroupSpec.rayStartParams", {"num-cpus": 0}),
    ],
)
def test_kuberays_schema_refuses_what_is_wrong(
    path: str, value: Any, parts: SimpleNamespace, kuberay: jsonschema.Draft7Validator
) -> None:
    wrong = copy.deepcopy(render(*parts.job("dev")))
    *parents, key = path.split(".")
    place = wrong
    for parent in parents:
        place = place[parent]
    place[key] = value
    assert list(kuberay.iter_errors(wrong))


def test_our_pod_specs_break_no_rule_that_the_schema_says_in_cel(
    rayjob: dict[str, Any], parts: SimpleNamespace
) -> None:
    """The CEL rules of the CRD are about these fields, none of which we write."""
    schema = str(parts.kuberay_schema("rayjobs")["properties"]["spec"])
    ruled = {"deletionStrategy", "managedBy", "backend"}
    assert schema.count("x-kubernetes-validations") == 5
    written = set(re.findall(r"'(\w+)':", str(rayjob["spec"])))
    assert not ruled & written
