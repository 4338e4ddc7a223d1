"""What no schema says: that every container is restricted, every image pinned, every flow named on both ends."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

Object = dict[str, Any]
Pods = dict[str, Object]

ALLOWED_VOLUMES = {"configMap", "downwardAPI", "emptyDir", "persistentVolumeClaim", "projected", "secret"}
COMPONENT = "app.kubernetes.io/component"
SECRET_NAMES = re.compile(r"PASSWORD|SECRET|TOKEN|ACCESS_KEY|_URL$|STORE_URI$")


@pytest.fixture
def pods(objects: tuple[Object, ...], rayjob: Object, parts: SimpleNamespace) -> Pods:
    """Every Pod's spec by its name: the overlays' and the sweep's."""
    ours = {name: template["spec"] for name, template in parts.templates(objects).items()}
    assert "mlflow" in ours
    return ours | parts.pod_specs(rayjob)


def servers(objects: tuple[Object, ...]) -> list[Object]:
    return [one for one in objects if one["kind"] in ("Deployment", "StatefulSet")]


def containers(pods: Pods) -> Iterator[tuple[str, Object]]:
    for name, spec in pods.items():
        for container in (*spec.get("initContainers", []), *spec["containers"]):
            yield f"{name}/{container['name']}", container


def of_kind(objects: tuple[Object, ...], kind: str) -> list[Object]:
    return [one for one in objects if one["kind"] == kind]


def test_every_pod_is_restricted(pods: Pods) -> None:
    """Pod Security "restricted", written out, and a read-only root file system."""
    for name, spec in pods.items():
        context = spec["securityContext"]
        assert context["runAsNonRoot"] is True and context["runAsUser"] > 0, name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), name
        for volume in spec.get("volumes", []):
            assert volume.keys() - {"name"} <= ALLOWED_VOLUMES, f"{name}: {volume}"


def test_every_container_is_restricted(pods: Pods, rayjob: Object) -> None:
    autoscaler = rayjob["spec"]["rayClusterSpec"].get("autoscalerOptions")
    for name, container in [*containers(pods), *([("autoscaler", autoscaler)] if autoscaler else [])]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False, name
        assert context["runAsNonRoot"] is True, name
        assert context["readOnlyRootFilesystem"] is True, name
        assert context["capabilities"] == {"drop": ["ALL"]}, name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not context.get("privileged"), name
        assert all("hostPort" not in port for port in container.get("ports", [])), name


def test_a_read_only_container_can_write_to_tmp(pods: Pods) -> None:
    for name, spec in pods.items():
        scratch = {volume["name"] for volume in spec["volumes"] if "emptyDir" in volume}
        for container in spec["containers"]:
            written = {mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] in scratch}
            assert "/tmp" in written or name == "redis", name


def test_every_volume_mounted_is_there(pods: Pods) -> None:
    for name, spec in pods.items():
        there = {volume["name"] for volume in spec.get("volumes", [])}
        claimed = {"data"} if name in ("postgres", "redis") else set()  # of volumeClaimTemplates
        for container in spec["containers"]:
            for mount in container.get("volumeMounts", []):
                assert mount["name"] in there | claimed, f"{name}: {mount}"


def test_every_image_is_pinned(pods: Pods) -> None:
    for name, container in containers(pods):
        image, _, digest = container["image"].partition("@sha256:")
        tag = image.rpartition("/")[2].partition(":")[2]
        assert digest or (tag and tag != "latest" and re.search(r"\d+\.\d+\.\d+|\d+\.\d+-", tag)), f"{name}: {image}"


def test_requests_and_limits_are_there_and_equal(pods: Pods) -> None:
    for name, container in containers(pods):
        resources = container["resources"]
        assert resources["requests"] == resources["limits"], name
        assert {"cpu", "memory"} <= resources["requests"].keys(), name


def test_every_server_has_its_probes(objects: tuple[Object, ...]) -> None:
    for one in servers(objects):
        for container in one["spec"]["template"]["spec"]["containers"]:
            assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys(), one["metadata"]["name"]


def test_every_server_has_a_disruption_budget_that_matches_it(objects: tuple[Object, ...]) -> None:
    budgets = [one["spec"]["selector"]["matchLabels"].items() for one in of_kind(objects, "PodDisruptionBudget")]
    for one in servers(objects):
        labels = one["spec"]["template"]["metadata"]["labels"].items()
        assert [budget for budget in budgets if budget <= labels], one["metadata"]["name"]


def test_no_pod_gets_a_token_by_itself(objects: tuple[Object, ...], pods: Pods) -> None:
    accounts = {one["metadata"]["name"]: one for one in of_kind(objects, "ServiceAccount")}
    assert all(one["automountServiceAccountToken"] is False for one in accounts.values())
    for name, spec in pods.items():
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["serviceAccountName"] in accounts, name


def test_no_secret_is_inline(objects: tuple[Object, ...], pods: Pods, rayjob: Object) -> None:
    assert not of_kind(objects, "Secret"), "secrets are made by the cluster's owner, never by a file in here"
    for name, container in containers(pods):
        for entry in container.get("env", []):
            if SECRET_NAMES.search(entry["name"]):
                assert "secretKeyRef" in entry.get("valueFrom", {}), f"{name}: {entry['name']}"
        for word in (*container.get("command", []), *container.get("args", [])):
            assert not re.search(r"password|secret|://[^/]*:[^/]*@", word, re.IGNORECASE), f"{name}: {word}"
    assert not re.search(r"://[^/\s]+:[^/\s]+@", str(rayjob)), "a URL with a password"


def references(pods: Pods) -> set[tuple[str, str]]:
    """(Secret, key) of everything that a Pod takes from a Secret."""
    found = set()
    for name, container in containers(pods):
        for entry in container.get("env", []):
            if one := entry.get("valueFrom", {}).get("secretKeyRef"):
                found.add((one["name"], one["key"]))
        for volume in pods[name.partition("/")[0]].get("volumes", []):
            if one := volume.get("secret"):
                found |= {(one["secretName"], item["key"]) for item in one["items"]}
    return found


def test_the_page_makes_every_secret_that_a_pod_asks_for(pods: Pods, parts: SimpleNamespace) -> None:
    text = (parts.folder / "README.md").read_text()
    made = yaml.safe_load_all(text.partition("create -f - <<END\n")[2].partition("\nEND\n")[0])
    keys = {(one["metadata"]["name"], key) for one in made for key in one["stringData"]}
    told = {("gradsweep-bucket", key) for key in ("access-key-id", "secret-access-key", "region")}
    told |= {("gradsweep-redis", key) for key in ("password", "redis.conf")}
    assert all(f"`{word}`" in text for one in told for word in one)
    assert references(pods) <= keys | told


def test_the_role_is_what_the_commands_need_and_no_more(objects: tuple[Object, ...]) -> None:
    rights = {
        role["metadata"]["name"]: {
            (group, resource): set(rule["verbs"])
            for rule in role["rules"]
            for group in rule["apiGroups"]
            for resource in rule["resources"]
        }
        for role in of_kind(objects, "Role")
    }
    assert rights == {
        "gradsweep-user": {
            ("ray.io", "rayjobs"): {"create", "get", "list", "delete"},
            ("", "pods"): {"get", "list"},
            ("", "pods/log"): {"get"},
        },
        "gradsweep-submitter": {("ray.io", "rayjobs"): {"get"}},
    }
    bound = {(one["roleRef"]["name"], one["subjects"][0]["name"]) for one in of_kind(objects, "RoleBinding")}
    assert bound == {(name, name) for name in rights}
    assert not of_kind(objects, "ClusterRole") and not of_kind(objects, "ClusterRoleBinding")


def test_the_namespace_enforces_restricted(objects: tuple[Object, ...]) -> None:
    (namespace,) = of_kind(objects, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    cluster_wide = {"Namespace", "ClusterQueue", "ResourceFlavor", "WorkloadPriorityClass"}
    cluster_wide |= {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
    for one in objects:
        assert one["kind"] in cluster_wide or one["metadata"]["namespace"] == namespace["metadata"]["name"], one["kind"]


def test_the_namespace_is_the_admission_policys(objects: tuple[Object, ...]) -> None:
    (namespace,) = of_kind(objects, "Namespace")
    (binding,) = of_kind(objects, "ValidatingAdmissionPolicyBinding")
    selected = binding["spec"]["matchResources"]["namespaceSelector"]["matchLabels"]
    assert selected and selected.items() <= namespace["metadata"]["labels"].items()


def peers(rule: Object, direction: str) -> list[Object]:
    found: list[Object] = rule.get(direction, [])
    return found


def components(selector: Object) -> list[str]:
    """Of which kinds of Pods a selector is; [""] where it is of all."""
    for expression in selector.get("matchExpressions", []):
        if (expression["key"], expression["operator"]) == (COMPONENT, "In"):
            values: list[str] = expression["values"]
            return values
    return [selector.get("matchLabels", {}).get(COMPONENT, "")]


def flows(policies: list[Object], direction: str, end: str) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """(from, to, ports) of every rule between two Pods of the namespace."""
    for policy in policies:
        owners = components(policy["spec"]["podSelector"])
        for rule in policy["spec"].get(direction, []):
            ports = tuple(f"{port['protocol']}/{port['port']}" for port in rule.get("ports", []))
            for peer in peers(rule, end):
                if "podSelector" not in peer or "namespaceSelector" in peer:
                    continue
                for own, far in product(owners, components(peer["podSelector"])):
                    yield (own, far, ports) if direction == "egress" else (far, own, ports)


def test_everything_is_denied_that_is_not_named(objects: tuple[Object, ...]) -> None:
    (deny,) = [one for one in of_kind(objects, "NetworkPolicy") if one["metadata"]["name"] == "default-deny"]
    assert deny["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_every_flow_names_both_ends(objects: tuple[Object, ...]) -> None:
    for policy in of_kind(objects, "NetworkPolicy"):
        name, spec = policy["metadata"]["name"], policy["spec"]
        if name == "default-deny":
            continue
        assert any(components(spec["podSelector"])) or name == "all-to-dns", f"{name}: whose?"
        for direction, end in (("ingress", "from"), ("egress", "to")):
            for rule in spec.get(direction, []):
                assert peers(rule, end), f"{name}: an open {direction}"
                for peer in peers(rule, end):
                    selector = peer.get("podSelector", {})
                    named = selector.get("matchLabels") or any(components(selector)) or "ipBlock" in peer
                    assert named, f"{name}: {peer}"
                reached = {name for peer in peers(rule, end) for name in components(peer.get("podSelector", {}))}
                within = {"head", "worker"} >= reached
                assert rule.get("ports") or (within and name in ("head", "worker")), f"{name}: every port"


def test_every_flow_is_open_on_both_ends(objects: tuple[Object, ...]) -> None:
    policies = of_kind(objects, "NetworkPolicy")
    out, into = set(flows(policies, "egress", "to")), set(flows(policies, "ingress", "from"))
    assert out == into
    assert ("head", "mlflow", ("TCP/5000",)) in out
    assert ("submitter", "head", ("TCP/8265",)) in out
    assert not [flow for flow in out if flow[0] == "worker" and flow[1] not in ("head", "worker")]


def test_every_pod_is_some_policys(objects: tuple[Object, ...], rayjob: Object, parts: SimpleNamespace) -> None:
    policies = of_kind(objects, "NetworkPolicy")
    owned = {name for one in policies for name in components(one["spec"]["podSelector"])}
    cluster = rayjob["spec"]["rayClusterSpec"]
    ours = [
        *parts.templates(objects).values(),
        rayjob["spec"]["submitterPodTemplate"],
        cluster["headGroupSpec"]["template"],
    ]
    ours += [group["template"] for group in cluster["workerGroupSpecs"]]
    assert {template["metadata"]["labels"][COMPONENT] for template in ours} <= owned


def test_prometheus_reaches_what_it_is_told_to_scrape(
    objects: tuple[Object, ...], rayjob: Object, parts: SimpleNamespace
) -> None:
    specs = parts.pod_specs(rayjob)
    opened = {
        (name, port["port"])
        for policy in of_kind(objects, "NetworkPolicy")
        for name in components(policy["spec"]["podSelector"])
        for rule in policy["spec"].get("ingress", [])
        if any("namespaceSelector" in peer for peer in rule["from"])
        for port in rule["ports"]
    }
    for monitor in of_kind(objects, "PodMonitor"):
        assert components(monitor["spec"]["selector"]) == ["head", "worker"]
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        for name, spec in specs.items():
            ports = {port["name"]: port["containerPort"] for port in spec["containers"][0].get("ports", [])}
            if name != "submitter":
                assert ("head" if name == "head" else "worker", ports[endpoint["port"]]) in opened, name


def test_services_find_their_pods(objects: tuple[Object, ...], parts: SimpleNamespace) -> None:
    labels = [template["metadata"]["labels"].items() for template in parts.templates(objects).values()]
    for service in of_kind(objects, "Service"):
        assert [one for one in labels if service["spec"]["selector"].items() <= one], service["metadata"]["name"]


def test_what_the_driver_is_told_is_there(objects: tuple[Object, ...], rayjob: Object, parts: SimpleNamespace) -> None:
    """The claim, and the MLflow server under a name that it answers to."""
    claims = {one["metadata"]["name"] for one in of_kind(objects, "PersistentVolumeClaim")}
    assert "gradsweep-store" in claims
    template = rayjob["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]
    address = re.search(r"mlflow: http://(\S+)", template["metadata"]["annotations"]["gradsweep/store"])
    mlflow = parts.templates(objects)["mlflow"]
    environment = {entry["name"]: entry for entry in mlflow["spec"]["containers"][0]["env"]}
    assert address and address[1] in environment["MLFLOW_SERVER_ALLOWED_HOSTS"]["value"].split(",")


def quantity(text: str) -> float:
    return float(text.removesuffix("m")) / 1000 if text.endswith("m") else float(text)


def test_people_who_come_through_the_ingress_are_answered(objects: tuple[Object, ...], parts: SimpleNamespace) -> None:
    """By the host's name, and when their browser's page asks with POST, as MLflow's own does."""
    mlflow = parts.templates(objects)["mlflow"]
    told = {entry["name"]: entry.get("value", "") for entry in mlflow["spec"]["containers"][0]["env"]}
    for ingress in of_kind(objects, "Ingress"):
        for rule in ingress["spec"]["rules"]:
            assert rule["host"] in told["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
            assert f"https://{rule['host']}" in told["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"].split(",")
        assert [host for tls in ingress["spec"]["tls"] for host in tls["hosts"]] == [
            rule["host"] for rule in ingress["spec"]["rules"]
        ]


def test_the_quota_has_room_for_a_sweep(objects: tuple[Object, ...], rayjob: Object, parts: SimpleNamespace) -> None:
    (quota,) = of_kind(objects, "ResourceQuota")
    group = rayjob["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]
    specs = parts.pod_specs(rayjob)
    wanted = {"cpu": 0.5, "nvidia.com/gpu": 0.0}  # the autoscaler's, which KubeRay adds
    specs |= {name: template["spec"] for name, template in parts.templates(objects).items()}
    for name, spec in specs.items():
        times = group["maxReplicas"] if name == group["groupName"] else 1
        for resource in wanted:
            wanted[resource] += times * quantity(spec["containers"][0]["resources"]["requests"].get(resource, "0"))
    for resource, amount in wanted.items():
        assert amount <= float(quota["spec"]["hard"][f"requests.{resource}"]), resource


def test_the_image_runs_as_the_number_that_the_pods_ask_for(parts: SimpleNamespace, pods: Pods) -> None:
    text = (parts.folder / "image" / "Dockerfile").read_text()
    (user,) = re.findall(r"^USER (\d+):(\d+)$", text, re.MULTILINE)
    ours = [spec for spec in pods.values() if spec["containers"][0]["image"].partition(":")[0].endswith("gradsweep")]
    assert {spec["securityContext"]["runAsUser"] for spec in ours} == {int(user[0])}
    # KubeRay may start Ray with a login shell, which forgets what an image added to PATH.
    assert not re.search(r"^ENV .*PATH=|venv", text.replace("virtual environment", ""), re.MULTILINE)
