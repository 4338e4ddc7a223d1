"""A cluster of many machines, simulated: Ray's own fake nodes, a raylet each, all on this one.

Each node has one processor and trains packs of one configuration with one step, ten a node. The databases are
PostgreSQL, as for any cluster. What is asked is how much of the time the driver itself is at work: at 100% it would be
what the cluster waits for.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.load.measured import Measured

PACKS_A_NODE = 10
OBJECT_STORE_BYTES = 80 * 2**20


def measure(nodes: int) -> Iterator[Measured]:
    """One."""
    from tests.load.sweep import SPEC, _store, cost, write_images

    size = nodes * PACKS_A_NODE
    with tempfile.TemporaryDirectory(prefix="gradsweep-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        write_images(folder / "images")
        spec = SPEC.format(size=size, images=folder / "images", pack=1, concurrent=nodes)
        with _store("postgres", folder) as (store, environment), _cluster(nodes) as address:
            c = cost(spec, store, folder, {**environment, "RAY_ADDRESS": address})
    yield Measured(
        f"A simulated cluster of {nodes} nodes",
        f"{size} packs of one configuration of one step, PostgreSQL, all on one machine",
        f"{c.seconds:.0f} s in all, {size / c.seconds:.1f} packs a second; the driver {c.processor:.0f} s of a "
        f"processor, {c.processor / c.seconds:.0%} of the time, {c.resident >> 20} MiB resident at most",
    )


@contextmanager
def _cluster(nodes: int) -> Iterator[str]:
    """The address of a new cluster: a head without a processor, and the nodes."""
    from ray.cluster_utils import Cluster

    small = {"object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
    try:
        for i in range(nodes):
            cluster.add_node(wait=False, num_cpus=1, **small)
            print(f"node {i + 1} of {nodes}", end="\r", file=sys.stderr)
        cluster.wait_for_nodes()
        yield cluster.address
    finally:
        cluster.shutdown()  # type: ignore[no-untyped-call]
