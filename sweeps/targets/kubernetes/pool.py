"""The pool that a cluster's owner describes, as typed data. Nothing here connects to a cluster.

    pool = read_pool(Path("pool.yaml").read_text())

Every bad value is refused here, with the rule and the value, so that `rayjob.render` has nothing to refuse.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from typing import Annotated

import yaml
from pydantic import AfterValidator, NonNegativeInt, PositiveInt, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass


def _quantity(text: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]*(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?", text):
        raise ValueError(f"must be a quantity like 16Gi, but got {text!r}")
    return text


def _pinned(image: str) -> str:
    if "@sha256:" not in image and image.rpartition("/")[2].partition(":")[2] in ("", "latest"):
        raise ValueError(f"must be pinned by a tag or a digest, but got {image!r}")
    return image


class _Part:
    __pydantic_config__ = {"extra": "forbid"}


@dataclass(frozen=True)
class SecretKey(_Part):
    """One key of a Secret in the sweep's namespace."""

    secret: str
    key: str


@dataclass(frozen=True)
class Places(_Part):
    """Where the sweep's records go, as seen from inside of the namespace; passwords by reference only."""

    ledger_url: SecretKey = SecretKey("gradsweep-database", "ledger-url")
    mlflow_uri: str = "http://mlflow:5000"
    mlflow_username: SecretKey = SecretKey("gradsweep-mlflow", "username")
    mlflow_password: SecretKey = SecretKey("gradsweep-mlflow", "password")
    claim: str = "gradsweep-store"  # the PersistentVolumeClaim mounted at SHARED on every node


@dataclass(frozen=True)
class Size(_Part):
    """What one Pod asks for and is limited to, the same: whole cores and GPUs, memory as Kubernetes writes it."""

    cpus: PositiveInt
    memory: Annotated[str, AfterValidator(_quantity)]
    gpus: NonNegativeInt = 0


@dataclass(frozen=True)
class Workers(_Part):
    """The one group of workers: `size` each, from `minimum` to `maximum` of them, on the nodes selected."""

    size: Size = Size(cpus=4, memory="16Gi", gpus=1)
    minimum: NonNegativeInt = 0
    maximum: PositiveInt = 4
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, str], ...] = ()  # besides the one of nvidia.com/gpu, for spot nodes say
    idle_seconds: NonNegativeInt = 120  # after so long without work the autoscaler gives a worker back

    def __post_init__(self) -> None:
        if self.minimum > self.maximum:
            raise ValueError(f"minimum <= maximum must hold, but got {self.minimum} and {self.maximum}")

    def packs_at_once(self, cpus: int, gpus: float) -> int:
        """How many packs of this size all workers together have room for. Raises ValueError where one has none."""
        fits = min(self.size.cpus // cpus, int(self.size.gpus / gpus + 1e-9) if gpus else self.size.cpus)
        if fits < 1:
            raise ValueError(
                f"resources: a pack asks for cpus={cpus}, gpus={gpus:g}, and would wait for ever: "
                f"a worker of this pool has cpus={self.size.cpus}, gpus={self.size.gpus}"
            )
        return fits * self.maximum


@dataclass(frozen=True)
class Redis(_Part):
    """Where the head keeps Ray's own tables (k8s/components/gcs-ft-redis)."""

    address: str = "redis:6379"
    password: SecretKey = SecretKey("gradsweep-redis", "password")


@dataclass(frozen=True)
class Pool(_Part):
    """What a cluster's owner says once for all sweeps: the image, the sizes, the queue, where records go.

    `queue` is a Kueue LocalQueue. `retries` are fresh clusters after a failed one, `deadline_seconds` counts for each
    of them, and `keep_seconds` after the end the cluster goes; the RayJob and the driver's output stay until `stop`.
    """

    image: Annotated[str, AfterValidator(_pinned)]
    workers: Workers = Workers()
    head: Size = Size(cpus=2, memory="8Gi")
    places: Places = Places()
    queue: str | None = None
    redis: Redis | None = None
    retries: NonNegativeInt = 3
    deadline_seconds: PositiveInt = 7 * 86400
    keep_seconds: NonNegativeInt = 60


_POOL = TypeAdapter(Pool)


def write_pool(pool: Pool) -> str:
    """The pool as YAML, what `read_pool` reads."""
    text: str = yaml.safe_dump(_POOL.dump_python(pool, mode="json"), sort_keys=False)
    return text


def read_pool(text: str) -> Pool:
    """The pool in a YAML text, its keys being Pool's fields; raises ValueError with one line for each problem."""
    try:
        return _POOL.validate_python(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise ValueError(f"the pool is not YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        lines = []
        for e in error.errors():
            got = "" if e["type"] in ("missing", "value_error") else f", but got {e['input']!r}"
            lines.append(f"{'.'.join(map(str, e['loc'])) or 'pool'}: {e['msg'].removeprefix('Value error, ')}{got}")
        raise ValueError("\n".join(lines)) from None
