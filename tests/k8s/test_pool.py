"""What a pool may say, where each field arrives in the RayJob, and what is refused before there is one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from sweeps.targets.kubernetes.pool import Head, Pod, Pool, Workers, read_pool, write_pool
from sweeps.targets.kubernetes.rayjob import render
from sweeps.targets.target import RESUME_COMMAND

Object = dict[str, Any]
IMAGE = "registry.example.com/gradsweep:0.2.0"
WORKERS = (Workers(cpus=4, memory="8Gi"),)
FULL = Path(__file__).with_name("full_pool.yaml")


@pytest.fixture(scope="module")
def written() -> Object:
    """full_pool.yaml as its author wrote it."""
    document: Object = yaml.safe_load(FULL.read_text())
    return document


@pytest.fixture(scope="module")
def full() -> Object:
    """The RayJob on the pool of full_pool.yaml."""
    return render(
        "alpha-r",
        "name: alpha-r\n",
        read_pool(FULL.read_text()),
        packs=8,
        commands={RESUME_COMMAND: "gradsweep resume alpha-r"},
    )


def templates(rayjob: Object) -> dict[str, Object]:
    cluster = rayjob["spec"]["rayClusterSpec"]
    groups = {group["groupName"]: group["template"] for group in cluster["workerGroupSpecs"]}
    return {"head": cluster["headGroupSpec"]["template"], "submitter": rayjob["spec"]["submitterPodTemplate"], **groups}


def containers(template: Object) -> list[Object]:
    return [*template["spec"].get("initContainers", []), *template["spec"]["containers"]]


def group(rayjob: Object) -> Object:
    """The first of workers."""
    first: Object = rayjob["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]
    return first


def amounts(template: Object) -> Iterator[Object]:
    """Requests and limits of the container that Ray, or its submitter, is in."""
    resources = template["spec"]["containers"][0]["resources"]
    yield from (resources["requests"], resources["limits"])


def variables(template: Object) -> Object:
    return {
        entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in template["spec"]["containers"][0]["env"]
    }


def secret(value: Any) -> Any:
    """A Secret's key as Kubernetes writes it; any other value as it is."""
    return {"secretKeyRef": {"name": value["secret"], "key": value["key"]}} if isinstance(value, dict) else value


# Whether what a pool says of one kind of Pod is in this template.
OF_A_POD: dict[str, Callable[[Object, Any], bool]] = {
    "node_selector": lambda t, value: t["spec"]["nodeSelector"] == value,
    "tolerations": lambda t, value: all(taint in t["spec"]["tolerations"] for taint in value),
    "affinity": lambda t, value: t["spec"]["affinity"] == value,
    "topology_spread_constraints": lambda t, value: t["spec"]["topologySpreadConstraints"] == value,
    "service_account": lambda t, value: t["spec"]["serviceAccountName"] == value,
    "priority_class": lambda t, value: t["spec"]["priorityClassName"] == value,
    "runtime_class": lambda t, value: t["spec"]["runtimeClassName"] == value,
    "ephemeral_storage": lambda t, value: (
        all(amount["ephemeral-storage"] == value for amount in amounts(t))
        and t["spec"]["volumes"][0] == {"name": "tmp", "emptyDir": {"sizeLimit": value}}
    ),
    "env": lambda t, value: {name: secret(v) for name, v in value.items()}.items() <= variables(t).items(),
    "labels": lambda t, value: value.items() <= t["metadata"]["labels"].items(),
    "annotations": lambda t, value: value.items() <= t["metadata"]["annotations"].items(),
}


@pytest.mark.parametrize("kind", ["head", "submitter", "slices"])
@pytest.mark.parametrize("field", OF_A_POD)
def test_what_is_said_of_one_kind_of_pod_is_in_its_template_alone(
    kind: str, field: str, written: Object, full: Object
) -> None:
    value = (written["workers"][0] if kind == "slices" else written[kind])[field]
    arrived = {
        name
        for name, template in templates(full).items()
        if name in ("head", "submitter", "slices") and OF_A_POD[field](template, value)
    }
    assert arrived == {kind}


def every_pod(rayjob: Object, what: Callable[[Object], Any], value: Any) -> bool:
    return [what(template) for template in templates(rayjob).values()] == [value] * 5


def of_every_container(rayjob: Object, key: str) -> set[Any]:
    return {c[key] for template in templates(rayjob).values() for c in containers(template)}


def driver(rayjob: Object, name: str) -> Any:
    return variables(templates(rayjob)["head"])[name]


def claims(template: Object) -> list[str]:
    return [
        volume["persistentVolumeClaim"]["claimName"]
        for volume in template["spec"]["volumes"]
        if "persistentVolumeClaim" in volume
    ]


# Whether what a pool says is in this RayJob; of the workers it is the first group.
OF_THE_RAYJOB: dict[str, Callable[[Object, Any], bool]] = {
    "image": lambda job, value: of_every_container(job, "image") == {value},
    "image_pull_policy": lambda job, value: (
        of_every_container(job, "imagePullPolicy") == {value}
        and job["spec"]["rayClusterSpec"]["autoscalerOptions"]["imagePullPolicy"] == value
    ),
    "image_pull_secrets": lambda job, value: every_pod(
        job, lambda t: [secret["name"] for secret in t["spec"]["imagePullSecrets"]], value
    ),
    "labels": lambda job, value: (
        value.items() <= job["metadata"]["labels"].items()
        and every_pod(job, lambda t: value.items() <= t["metadata"]["labels"].items(), True)
    ),
    "annotations": lambda job, value: (
        value.items() <= job["metadata"]["annotations"].items()
        and every_pod(job, lambda t: value.items() <= t["metadata"]["annotations"].items(), True)
    ),
    "queue": lambda job, value: (
        job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == value and job["spec"]["suspend"] is True
    ),
    "elastic": lambda job, value: (
        job["metadata"]["annotations"]["kueue.x-k8s.io/elastic-job"] == str(value).lower()
        and job["spec"]["rayClusterSpec"]["enableInTreeAutoscaling"] is value
    ),
    "workload_priority_class": lambda job, value: job["metadata"]["labels"]["kueue.x-k8s.io/priority-class"] == value,
    "retries": lambda job, value: job["spec"]["backoffLimit"] == value,
    "deadline_seconds": lambda job, value: job["spec"]["activeDeadlineSeconds"] == value,
    "keep_seconds": lambda job, value: job["spec"]["ttlSecondsAfterFinished"] == value,
    "places.ledger_url": lambda job, value: driver(job, "GRADSWEEP_LEDGER_URL") == secret(value),
    "places.mlflow_uri": lambda job, value: (
        yaml.safe_load(templates(job)["head"]["metadata"]["annotations"]["gradsweep/store"])["mlflow"] == value
    ),
    "places.mlflow_username": lambda job, value: driver(job, "MLFLOW_TRACKING_USERNAME") == secret(value),
    "places.mlflow_password": lambda job, value: driver(job, "MLFLOW_TRACKING_PASSWORD") == secret(value),
    "places.claim": lambda job, value: (
        [claims(t) for name, t in templates(job).items() if name != "submitter"] == [[value]] * 4
    ),
    "redis.address": lambda job, value: (
        job["spec"]["rayClusterSpec"]["gcsFaultToleranceOptions"]["redisAddress"] == value
    ),
    "redis.password": lambda job, value: (
        job["spec"]["rayClusterSpec"]["gcsFaultToleranceOptions"]["redisPassword"]["valueFrom"] == secret(value)
    ),
    "head.cpus": lambda job, value: all(amount["cpu"] == str(value) for amount in amounts(templates(job)["head"])),
    "head.memory": lambda job, value: all(amount["memory"] == value for amount in amounts(templates(job)["head"])),
    "workers.name": lambda job, value: group(job)["groupName"] == value,
    "workers.cpus": lambda job, value: all(amount["cpu"] == str(value) for amount in amounts(group(job)["template"])),
    "workers.memory": lambda job, value: all(amount["memory"] == value for amount in amounts(group(job)["template"])),
    "workers.gpus": lambda job, value: (
        group(job)["rayStartParams"]["num-gpus"] == str(value)
        and all(amount["nvidia.com/mig-1g.10gb"] == str(value) for amount in amounts(group(job)["template"]))
    ),
    "workers.gpu_resource": lambda job, value: all(value in amount for amount in amounts(group(job)["template"])),
    "workers.minimum": lambda job, value: (group(job)["replicas"], group(job)["minReplicas"]) == (value, value),
    "workers.maximum": lambda job, value: group(job)["maxReplicas"] == value,
    "workers.idle_seconds": lambda job, value: group(job)["idleTimeoutSeconds"] == value,
}


@pytest.mark.parametrize("field", OF_THE_RAYJOB)
def test_what_is_said_arrives(field: str, written: Object, full: Object) -> None:
    assert OF_THE_RAYJOB[field](full, at(field, written))


def at(field: str, document: Any) -> Any:
    """What a pool.yaml says there; of the workers, for the first group."""
    for key in field.split("."):
        document = (document[0] if isinstance(document, list) else document)[key]
    return document


def paths(part: Any, where: str = "") -> Iterator[str]:
    """Every field of a pool, those of its parts by `part.field`; the first group stands for all."""
    for field in fields(part):
        value = getattr(part, field.name)
        if isinstance(value, tuple) and value and is_dataclass(value[0]):
            value = value[0]
        if is_dataclass(value) and "secret" not in vars(value):
            yield from paths(value, f"{where}{field.name}.")
        else:
            yield f"{where}{field.name}"


def test_the_tables_above_leave_no_field_out() -> None:
    shared = {field.name for field in fields(Pod)}
    assert shared == OF_A_POD.keys()
    pods = {f"{kind}.{name}" for kind in ("head", "submitter", "workers") for name in shared}
    assert {*paths(read_pool(FULL.read_text()))} == OF_THE_RAYJOB.keys() | pods


def test_full_pool_sets_every_field_to_something_of_its_own() -> None:
    """`write_pool` leaves out what is the default."""
    pool = read_pool(FULL.read_text())
    document = yaml.safe_load(write_pool(pool))
    assert all(at(field, document) is not None for field in paths(pool))


def optional(text: str) -> str:
    """A pool.yaml whose keys that are commented out are none any more; a comment in words has one space after its #."""
    return re.sub(r"^( *)#(?! \S)", r"\1", text, flags=re.MULTILINE)


def test_the_overlays_pool_shows_every_key(parts: SimpleNamespace) -> None:
    """Those of all kinds of Pod once, where the workers are."""
    text = optional((parts.folder / "overlays" / "gpu-pool" / "pool.yaml").read_text())
    read_pool(text)
    shown = yaml.safe_load(text)
    keys = {f"workers.{key}" for workers in shown["workers"] for key in workers}
    keys |= {f"{part}.{key}" for part in ("head", "places", "redis") for key in shown[part]} | shown.keys()
    missing = {path for path in paths(read_pool(FULL.read_text())) if path not in keys}
    assert missing <= {f"{kind}.{field.name}" for kind in ("head", "submitter") for field in fields(Pod)}


@pytest.mark.parametrize(
    ("resource", "taints"),
    [
        ("nvidia.com/gpu", ["nvidia.com/gpu"]),
        ("amd.com/gpu", ["amd.com/gpu"]),
        ("nvidia.com/mig-1g.10gb", ["nvidia.com/gpu", "nvidia.com/mig-1g.10gb"]),
    ],
)
def test_gpus_of_any_kind_are_gpus_to_ray_and_their_taints_are_tolerated(resource: str, taints: list[str]) -> None:
    """KubeRay counts a MIG slice as a GPU by its resource's name, but Ray's autoscaler does not."""
    pool = Pool(IMAGE, (Workers(cpus=4, memory="8Gi", gpus=2, gpu_resource=resource),))
    workers = group(render("alpha-r", "", pool))
    assert workers["rayStartParams"]["num-gpus"] == "2"
    assert [taint["key"] for taint in workers["template"]["spec"]["tolerations"]] == taints


def test_groups_have_their_own_names_and_sizes(full: Object) -> None:
    sizes = {
        workers["groupName"]: (workers["maxReplicas"], workers["rayStartParams"].get("num-gpus"))
        for workers in full["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    }
    assert sizes == {"slices": (7, "2"), "cpu-workers": (5, None), "amd": (2, "1")}


@pytest.mark.parametrize(
    ("cpus", "gpus", "packs"),
    [(1, 0.0, 12 + 16), (3, 0.0, 3 + 4), (5, 0.0, 2), (1, 0.25, 8), (1, 0.1, 16), (2, 1.0, 2)],
)
def test_how_many_packs_a_pool_has_room_for(cpus: int, gpus: float, packs: int) -> None:
    """All groups together, those left out in which a pack does not fit."""
    groups = (Workers(cpus=4, memory="8Gi", maximum=3), Workers(cpus=8, memory="8Gi", gpus=1, maximum=2))
    assert Pool(IMAGE, groups).packs_at_once(cpus, gpus) == packs


@pytest.mark.parametrize(("cpus", "gpus"), [(5, 0.0), (1, 1.5), (3, 0.25)])
def test_a_pack_that_no_worker_has_room_for_is_refused(cpus: int, gpus: float) -> None:
    groups = (Workers(cpus=4, memory="8Gi"), Workers(cpus=2, memory="8Gi", gpus=1))
    with pytest.raises(ValueError, match="wait for ever: a worker of this pool has cpus=4, gpus=0 or cpus=2, gpus=1"):
        Pool(IMAGE, groups).packs_at_once(cpus, gpus)


@pytest.mark.parametrize(
    "text",
    [
        f"image: {IMAGE}\nworkers: {{cpus: 4, memory: 8Gi}}\n",
        f"image: {IMAGE}\nworkers: [{{cpus: 4, memory: 8Gi, gpus: 1}}, {{cpus: 4, memory: 8Gi}}]\n",
    ],
)
def test_one_group_may_stand_alone_and_a_small_pool_stays_small(text: str) -> None:
    pool = read_pool(text)
    assert yaml.safe_load(write_pool(pool)) == yaml.safe_load(text)
    assert read_pool(write_pool(pool)) == pool


def test_whatever_a_pool_says_comes_back() -> None:
    pool = read_pool(FULL.read_text())
    assert read_pool(write_pool(pool)) == pool


def test_no_variable_of_ours_can_be_set_by_a_pool(full: Object) -> None:
    """Every name in the RayJob that full_pool.yaml has not put there."""
    pool = read_pool(FULL.read_text())
    theirs = {name for pod in (pool.head, pool.submitter, *pool.workers) for name in pod.env}
    ours = {
        entry["name"] for template in templates(full).values() for c in containers(template) for entry in c["env"]
    } - theirs
    assert {"HOME", "GRADSWEEP_LEDGER_URL", "MLFLOW_TRACKING_PASSWORD", "RAY_JOB_STOP_WAIT_TIME_S"} <= ours
    for name in ours:
        with pytest.raises(ValueError, match=f"{name} is set by gradsweep or KubeRay"):
            Head(env={name: "x"})


def test_no_label_of_ours_can_be_set_by_a_pool(full: Object) -> None:
    theirs = {"example.com/team", "example.com/kind"}
    ours = {label for part in (full, *templates(full).values()) for label in part["metadata"]["labels"]} - theirs
    assert {"app.kubernetes.io/component", "kueue.x-k8s.io/queue-name"} <= ours
    for label in ours:
        with pytest.raises(ValueError, match=f"{label} is set by gradsweep, KubeRay or Kueue"):
            Head(labels={label: "x"})


def of(part: str, text: str) -> str:
    """A pool.yaml with this in a part of it, or at its top."""
    pool: dict[str, Any] = {"image": IMAGE, "workers": {"cpus": 4, "memory": "8Gi"}}
    given = yaml.safe_load(text)
    pool |= {part: pool.get(part, {}) | given} if part else given
    return yaml.safe_dump(pool)


REFUSED: Mapping[tuple[str, str], str] = {
    ("", "image: gradsweep"): "image: must be pinned",
    ("", "image: registry.example.com:5000/gradsweep"): "image: must be pinned",
    ("", "image: gradsweep:latest"): "image: must be pinned",
    ("", "image_pull_policy: Sometimes"): "image_pull_policy: .*'Always', 'IfNotPresent' or 'Never'.*'Sometimes'",
    ("", "image_pull_secrets: registry"): "image_pull_secrets: must be a list, but got 'registry'",
    ("", "image_pull_secrets: [My_Registry]"): "image_pull_secrets.0: must be a name .*'My_Registry'",
    ("", "retries: -1"): "retries: .*-1",
    ("", "deadline_seconds: 0"): "deadline_seconds: .*0",
    ("", "keep_seconds: soon"): "keep_seconds: .*'soon'",
    ("", "elastic: true"): "`elastic` is Kueue's and needs a `queue`",
    ("", "workload_priority_class: low"): "`workload_priority_class` is Kueue's and needs a `queue`",
    ("", "queue: My Queue"): "queue: must be a name .*'My Queue'",
    ("", "worker: {}"): "worker: is no key of a pool",
    ("", "workers: []"): "from 1 to 16 groups of workers, but got 0",
    ("", f"workers: {[{'cpus': 1, 'memory': '1Gi', 'name': f'a{i}'} for i in range(17)]}"): "16 groups .*17",
    ("", "workers: [{cpus: 1, memory: 1Gi}, {cpus: 2, memory: 1Gi}]"): "different names, but got cpu-workers 2 times",
    ("", "workers: [{cpus: 1, memory: 1Gi}, {cpus: many, memory: 1Gi}]"): "workers.1.cpus: .*'many'",
    ("", "workers: {memory: 1Gi}"): "workers.cpus: Field required",
    ("", "labels: {app.kubernetes.io/part-of: me}"): "labels.*app.kubernetes.io/part-of is set by gradsweep",
    ("", "labels: {-team: a}"): "labels.*must be a key like example.com/team, but got '-team'",
    ("", "labels: {team: a b}"): "labels.team: must be at most 63 letters.*'a b'",
    ("", "annotations: {gradsweep/pool: x}"): "annotations.*gradsweep/pool is set by",
    ("", "annotations: {kueue.x-k8s.io/elastic-job: 'true'}"): "annotations.*elastic-job is set by",
    ("", "annotations: {ray.io/overwrite-container-cmd: 'true'}"): "annotations.*ray.io/overwrite.* is set by",
    ("head", "cpus: 0"): "head.cpus: .*greater than 0, but got 0",
    ("head", "gpus: 1"): "head.gpus: is no key of a pool",
    ("head", "memory: lots"): "head.memory: must be a quantity like 16Gi, but got 'lots'",
    ("submitter", "cpus: 1"): "submitter.cpus: is no key of a pool",
    ("workers", "name: GPUs"): "workers.name: must be a name of lower-case letters, digits and -, but got 'GPUs'",
    ("workers", "name: head"): "workers: name: head is taken",
    ("workers", "name: submitter"): "workers: name: submitter is taken",
    ("workers", "name: headgroup"): "workers: name: headgroup is taken",
    ("workers", "{minimum: 3, maximum: 2}"): "workers: minimum <= maximum must hold, but got 3 and 2",
    ("workers", "idle_seconds: -1"): "workers.idle_seconds: .*greater than or equal to 0, but got -1",
    ("workers", "maximum: many"): "workers.maximum: .*'many'",
    ("workers", "gpus: 0.5"): "workers.gpus: .*0.5",
    ("workers", "gpu_resource: gpu"): "workers.gpu_resource: must be a resource like nvidia.com/gpu, but got 'gpu'",
    ("workers", "ephemeral_storage: 0"): "workers.ephemeral_storage: must be a text, but got 0",
    ("workers", "ephemeral_storage: a lot"): "workers.ephemeral_storage: must be a quantity",
    ("workers", "node_selector: {gpu: yes please}"): "workers.node_selector.gpu: must be at most 63",
    ("workers", "node_selector: {gpu: true}"): "workers.node_selector.gpu: must be a text, but got True",
    ("workers", "tolerations: {key: gpu}"): "workers.tolerations: must be a list",
    ("workers", "affinity: [nodeAffinity]"): "workers.affinity: must have keys",
    ("workers", "topology_spread_constraints: [hostname]"): "workers.topology_spread_constraints.0: must have keys",
    ("workers", "service_account: My Account"): "workers.service_account: must be a name",
    ("workers", "priority_class: 7"): "workers.priority_class: must be a text, but got 7",
    ("workers", "runtime_class: NVIDIA"): "workers.runtime_class: must be a name",
    ("workers", "env: {OMP_NUM_THREADS: 4}"): "workers.env.OMP_NUM_THREADS: must be a text, in quotes .*, but got 4",
    ("workers", "env: {TOKEN: {secret: a}}"): "workers.env.TOKEN.key.key: Field required",
    ("workers", "env: {TOKEN: {secret: a, key: b/c}}"): "workers.env.TOKEN.key.key: must be a Secret's key",
    ("workers", "env: {'A B': x}"): "workers.env.*must be a variable's name, but got 'A B'",
    ("workers", "env: {GRADSWEEP_PACKS: '3'}"): "workers.env.*GRADSWEEP_PACKS is set by gradsweep or KubeRay",
    ("workers", "env: {RAY_ADDRESS: auto}"): "workers.env.*RAY_ADDRESS is set by gradsweep or KubeRay",
    ("workers", "size: {cpus: 1}"): "workers.size: is no key of a pool",
    ("places", "claim: My Claim"): "places.claim: must be a name",
    ("places", "ledger_url: postgresql://ann:secret@db/ledger"): "places.ledger_url: must have keys",
}


@pytest.mark.parametrize(("part", "text"), REFUSED)
def test_a_bad_value_is_refused_with_its_rule(part: str, text: str) -> None:
    with pytest.raises(ValueError) as refused:
        read_pool(of(part, text))
    assert re.search(REFUSED[part, text], str(refused.value)), refused.value
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("text", "rule"), [("image: [a", "not YAML"), ("", "pool: must have keys")])
def test_what_is_no_pool_at_all(text: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        read_pool(text)
