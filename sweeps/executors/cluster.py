"""What a Ray cluster must provide before a sweep starts on it; otherwise one line says what is missing.

A pack fits on a machine; the databases may be used from more than one machine; every machine can use the folder with
the states of members in training, from which another worker continues when one is lost.
"""

from __future__ import annotations

import logging
import os
import uuid
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweeps.driver.bucket import Bucket
from sweeps.spec.reading import Resources
from tracking.store import Store
from trainers.errors import RequestError, one_line

log = logging.getLogger("gradsweep")

LOOK_SECONDS = 60.0  # a machine's first worker takes some seconds to start
# A cluster that may grow: KubeRay's, or one that Ray's own launcher has started.
GROWS = "RAY_USAGE_STATS_KUBERAY_IN_USE"
LAUNCHED = "~/ray_bootstrap_config.yaml"


def check(resources: Resources, store: Store, *, away: bool) -> None:
    """The cluster, or the Ray of this machine, which must be connected, is fit for a sweep. Raises RequestError."""
    nodes = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    if not away:
        check_size(resources, [node["Resources"] for node in nodes], cluster=False)
        return
    grows = GROWS in os.environ or os.path.exists(os.path.expanduser(LAUNCHED))
    if not grows:
        check_size(resources, [node["Resources"] for node in nodes])
    if several := grows or len(nodes) > 1:
        check_databases(store)
    if several or store.checkpoints:
        check_states(store, nodes)


def check_size(resources: Resources, machines: list[dict[str, float]], *, cluster: bool = True) -> None:
    """Some machine of a cluster, or this one, has room for a pack once it is idle. Raises RequestError."""
    for name, need, less in (("CPU", resources.cpus, 1), ("GPU", resources.gpus, 0)):
        most = max((machine.get(name, 0.0) for machine in machines), default=0.0)
        if need > most:
            has = f"no machine of this cluster has more than {most:g}" if cluster else f"this machine has {most:g}"
            has = has if most else f"this {'cluster' if cluster else 'machine'} has none"
            key = f"resources.{name.lower()}s"
            raise RequestError(f"{key}: a pack needs {need:g}, and {has}: --set {key}={less} asks for less")
    if not any(m.get("CPU", 0) >= resources.cpus and m.get("GPU", 0) >= resources.gpus for m in machines):
        raise RequestError(
            f"resources: a pack needs {resources.cpus} CPUs and {resources.gpus:g} GPUs of one machine, "
            "and no machine of this cluster has both"
        )


def check_databases(store: Store) -> None:
    """None is SQLite. Raises RequestError."""
    if names := store.of_one_machine:
        raise RequestError(
            f"{' and '.join(names)}: SQLite is for one machine, and this cluster has more (or may grow): name a "
            "PostgreSQL database as ledger and an MLflow server as mlflow in a store file, --store FILE.yaml"
        )


def check_states(store: Store, nodes: list[dict[str, Any]]) -> None:
    """Every machine can read what this one writes where the states of members will be, and write there itself."""
    folder = store.checkpoints or str(store.checkpoints_folder)
    mark = f".{uuid.uuid4().hex}"
    try:
        bucket = Bucket(folder)
        bucket.put(mark, b"")
    except (OSError, ValueError) as error:
        raise RequestError(f"the states of members can't be kept in {folder}: {one_line(error)}") from None
    try:
        asked = {
            _sees.options(
                num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            ).remote(folder, mark): node["NodeManagerAddress"]
            for node in nodes
            if node["NodeID"] != ray.get_runtime_context().get_node_id()
        }
        done, late = ray.wait(list(asked), num_returns=len(asked), timeout=LOOK_SECONDS)
        for answer in late:
            log.warning("machine %s did not answer whether it can use %s", asked[answer], folder)
        for answer in done:
            try:
                why = str(ray.get(answer))
            except RayError as error:
                why = str(error).strip().splitlines()[-1]  # as that our packages aren't there
            if why:
                raise RequestError(
                    f"machine {asked[answer]} can't use {folder}, where the states of members should be: {why}; name a "
                    "folder that all machines share, or a bucket as checkpoints, in a store file, --store FILE.yaml"
                )
    finally:
        bucket.delete(mark)


@ray.remote(max_retries=0)
def _sees(folder: str, mark: str) -> str:
    """What this machine finds wrong; "" where all is well."""
    try:
        bucket = Bucket(folder)
        if mark not in bucket.names():
            return "it sees another one"
        own = f"{mark}.{uuid.uuid4().hex}"
        bucket.put(own, b"")
        bucket.delete(own)
    except (OSError, ValueError) as error:
        return one_line(error)
    return ""
