"""The pool that a cluster's owner describes, as typed data. Nothing here connects to a cluster.

    pool = read_pool(Path("pool.yaml").read_text())

The keys of a pool.yaml are the fields below, named as in Kubernetes. Every bad value that can be known is refused here,
with the rule and the value, so that `rayjob.render` has nothing to refuse. Kubernetes' own structures (tolerations,
affinity, spread constraints) are passed on as they are, and the API server checks them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BeforeValidator,
    Discriminator,
    NonNegativeInt,
    PositiveInt,
    Tag,
    TypeAdapter,
    ValidationError,
)
from pydantic.dataclasses import dataclass
from pydantic_core import ErrorDetails

from sweeps.targets.kubernetes.values import (
    Annotation,
    GroupName,
    Image,
    Key,
    Label,
    LabelValue,
    Name,
    Quantity,
    Resource,
    SecretsKey,
    Structure,
    Variable,
)


class _Part:
    __pydantic_config__ = {"extra": "forbid"}


@dataclass(frozen=True)
class SecretKey(_Part):
    """One key of a Secret in the sweep's namespace."""

    secret: Name
    key: SecretsKey


EnvValue = Annotated[
    Annotated[str, Tag("text")] | Annotated[SecretKey, Tag("key")],
    Discriminator(
        lambda value: {str: "text", dict: "key", SecretKey: "key"}.get(type(value)),
        custom_error_type="value",
        custom_error_message="must be a text, in quotes if it looks like a number, or {secret: NAME, key: KEY}",
    ),
]


@dataclass(frozen=True)
class Places(_Part):
    """Where the sweep's records go, as seen from inside of the namespace; passwords by reference only."""

    ledger_url: SecretKey = SecretKey("gradsweep-database", "ledger-url")
    mlflow_uri: str = "http://mlflow:5000"
    mlflow_username: SecretKey = SecretKey("gradsweep-mlflow", "username")
    mlflow_password: SecretKey = SecretKey("gradsweep-mlflow", "password")
    claim: Name = "gradsweep-store"  # the PersistentVolumeClaim mounted at SHARED on every node


@dataclass(frozen=True, kw_only=True)
class Pod(_Part):
    """What every kind of Pod may be given."""

    node_selector: Mapping[Key, LabelValue] = field(default_factory=dict)  # labels that a node must have
    tolerations: tuple[Structure, ...] = ()  # of taints, as Kubernetes writes them; that of GPUs is tolerated anyway
    affinity: Structure = field(default_factory=dict)  # as Kubernetes writes it: nodeAffinity, podAntiAffinity ...
    topology_spread_constraints: tuple[Structure, ...] = ()  # as Kubernetes writes them
    service_account: Name  # a ServiceAccount of the namespace; a cloud's identity may come with it
    priority_class: Name | None = None  # a PriorityClass, by which the scheduler preempts
    runtime_class: Name | None = None  # a RuntimeClass, such as nvidia
    ephemeral_storage: Quantity | None = None  # size of /tmp, requested and the limit; without it 10Gi, not requested
    env: Mapping[Variable, EnvValue] = field(default_factory=dict)  # texts, or keys of Secrets {secret: NAME, key: KEY}
    labels: Mapping[Label, LabelValue] = field(default_factory=dict)  # besides the pool's
    annotations: Mapping[Annotation, str] = field(default_factory=dict)  # besides the pool's


@dataclass(frozen=True, kw_only=True)
class Head(Pod):
    """The Pod of the driver and of Ray's head, which trains nothing."""

    cpus: PositiveInt = 2  # whole cores, requested and the limit
    memory: Quantity = "8Gi"  # requested and the limit
    service_account: Name = "gradsweep-head"  # gets a Role of KubeRay's, for the autoscaler


@dataclass(frozen=True, kw_only=True)
class Submitter(Pod):
    """The Pod that starts the driver on the head and prints its output."""

    service_account: Name = "gradsweep-submitter"  # may read RayJobs


@dataclass(frozen=True, kw_only=True)
class Workers(Pod):
    """A group of workers, all alike."""

    name: GroupName | None = None  # otherwise gpu-workers, or cpu-workers without GPUs
    cpus: PositiveInt  # per worker, whole cores, requested and the limit
    memory: Quantity  # per worker, requested and the limit
    gpus: NonNegativeInt = 0  # per worker
    gpu_resource: Resource = "nvidia.com/gpu"  # what the nodes offer: amd.com/gpu, nvidia.com/mig-1g.10gb ...
    minimum: NonNegativeInt = 0  # workers, however little there is to do
    maximum: PositiveInt = 4  # workers; behind a queue that is not elastic, a sweep has so many all the time
    idle_seconds: NonNegativeInt = 120  # the autoscaler removes a worker after so long without work
    service_account: Name = "gradsweep-worker"  # has no rights

    def __post_init__(self) -> None:
        if self.minimum > self.maximum:
            raise ValueError(f"minimum <= maximum must hold, but got {self.minimum} and {self.maximum}")
        if self.group in ("head", "headgroup", "submitter"):  # pod sets of Kueue's, and Ray's own group
            raise ValueError(f"name: {self.group} is taken by the sweep's other Pods")

    @property
    def group(self) -> str:
        """The group's name."""
        return self.name or ("gpu-workers" if self.gpus else "cpu-workers")

    def packs_at_once(self, cpus: int, gpus: float) -> int:
        """How many packs of this size all workers of the group together have room for."""
        each = min(self.cpus // cpus, int(self.gpus / gpus + 1e-9) if gpus else self.cpus)
        return each * self.maximum


def _listed(groups: object) -> object:
    return [groups] if isinstance(groups, Mapping) else groups


Groups = Annotated[tuple[Workers, ...], BeforeValidator(_listed)]


@dataclass(frozen=True)
class Redis(_Part):
    """Where the head keeps Ray's own tables (k8s/components/gcs-ft-redis)."""

    address: str = "redis:6379"
    password: SecretKey = SecretKey("gradsweep-redis", "password")


@dataclass(frozen=True)
class Pool(_Part):
    """What a cluster's owner says once for all sweeps: the image, the Pods, the queue, where records go."""

    image: Image  # of every container
    workers: Groups  # one group, or a list of groups
    head: Head = Head()
    submitter: Submitter = Submitter()
    places: Places = Places()
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    image_pull_secrets: tuple[Name, ...] = ()  # Secrets of the namespace with a registry's password
    labels: Mapping[Label, LabelValue] = field(default_factory=dict)  # of the RayJob and all of its Pods
    annotations: Mapping[Annotation, str] = field(default_factory=dict)  # of the RayJob and all of its Pods
    queue: Name | None = None  # a Kueue LocalQueue: a sweep waits until `maximum` workers fit, and keeps them
    elastic: bool = False  # it waits until `minimum` workers fit, and Ray adds and removes workers (Kueue 0.18)
    workload_priority_class: Name | None = None  # a Kueue WorkloadPriorityClass
    redis: Redis | None = None
    retries: NonNegativeInt = 3  # new clusters after one in which the driver failed
    deadline_seconds: PositiveInt = 7 * 86400  # per cluster
    keep_seconds: NonNegativeInt = 60  # a cluster outlives its sweep by so long; RayJob and output stay until `stop`

    def __post_init__(self) -> None:
        for group, times in Counter(workers.group for workers in self.workers).items():
            if times > 1:
                raise ValueError(f"the groups of workers must have different names, but got {group} {times} times")
        if not 1 <= len(self.workers) <= 16:  # of the 18 pod sets of a Kueue workload two are head and submitter
            raise ValueError(f"there must be from 1 to 16 groups of workers, but got {len(self.workers)}")
        for key in ("elastic", "workload_priority_class"):
            if getattr(self, key) and not self.queue:
                raise ValueError(f"`{key}` is Kueue's and needs a `queue`")

    @property
    def autoscales(self) -> bool:
        """Whether Ray adds and removes workers."""
        return self.elastic or not self.queue

    def packs_at_once(self, cpus: int, gpus: float) -> int:
        """How many packs of this size all workers together have room for. Raises ValueError where one has none."""
        packs = sum(group.packs_at_once(cpus, gpus) for group in self.workers)
        if not packs:
            sizes = " or ".join(f"cpus={group.cpus}, gpus={group.gpus}" for group in self.workers)
            raise ValueError(
                f"resources: a pack asks for cpus={cpus}, gpus={gpus:g}, and would wait for ever: "
                f"a worker of this pool has {sizes}"
            )
        return packs


_POOL = TypeAdapter(Pool)


def write_pool(pool: Pool) -> str:
    """The pool as YAML, without what is the default: what `read_pool` reads."""
    written: dict[str, Any] = _POOL.dump_python(pool, mode="json", exclude_defaults=True)
    if len(pool.workers) == 1:
        (written["workers"],) = written["workers"]
    text: str = yaml.safe_dump(written, sort_keys=False)
    return text


def read_pool(text: str) -> Pool:
    """The pool in a YAML text, its keys being Pool's fields; raises ValueError with one line for each problem."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"the pool is not YAML: {' '.join(str(error).split())}") from None
    try:
        return _POOL.validate_python(document)
    except ValidationError as error:
        raise ValueError("\n".join(_in_words(e, document) for e in error.errors())) from None


_IN_WORDS = {
    "tuple_type": "must be a list",
    "dataclass_type": "must have keys",
    "dict_type": "must have keys",
    "string_type": "must be a text",
    "unexpected_keyword_argument": "is no key of a pool: k8s/overlays/gpu-pool/pool.yaml shows them",
}


def _in_words(error: ErrorDetails, document: Any) -> str:
    keys = [*error["loc"]]
    if keys[:2] == ["workers", 0] and not isinstance(document["workers"], list):
        del keys[1]  # the one group
    rule = _IN_WORDS.get(error["type"], error["msg"].removeprefix("Value error, "))
    got = "" if error["type"] in ("missing", "value_error") else f", but got {error['input']!r}"
    return f"{'.'.join(map(str, keys)) or 'pool'}: {rule}{got}"
