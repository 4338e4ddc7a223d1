"""The command that times the engines against plain PyTorch."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from itertools import product
from typing import Any

from sweeps.commands.text import table
from trainers.errors import RequestError


def bench(
    regimes: Sequence[str],
    batch_sizes: Sequence[int],
    threads: int | None,
    rounds: int,
    compiled: bool,
    device: str = "cpu",
) -> dict[str, Any]:
    """Every way of training, for each regime and batch size, in one run; a line of progress each on standard error.

    Raises RequestError for a regime that isn't there, and for a CUDA device where there is none.
    """
    from trainers.bench import Engines
    from trainers.bench import bench as measure
    from trainers.cuda import memory, missing
    from trainers.lanes import available
    from trainers.regimes import REGIMES

    if unknown := [regime for regime in regimes if regime not in REGIMES]:
        raise RequestError(f"there is no regime {unknown[0]!r}: the regimes are {', '.join(REGIMES)}")
    threads = threads or len(os.sched_getaffinity(0))
    about: dict[str, Any] = {"threads": threads, "instructions": available() or "none"}
    if device == "cuda":
        gpu = memory.first_device()
        if gpu is None:
            raise RequestError("--device cuda: PyTorch sees no CUDA device here; without the option the CPU is timed")
        if reason := missing("cuda"):
            raise RequestError(reason)
        about = {"device": gpu.name}
    rows = []
    for regime, batch_size in product(regimes or REGIMES, batch_sizes or (32, 128)):
        print(f"timing {regime}, batch {batch_size} on the {device} ...", file=sys.stderr, flush=True)
        engine: Engines = "cuda" if device == "cuda" else "lanes"
        rows += measure(
            regime, batch_size, device=device, engine=engine, threads=threads, rounds=rounds, compiled=compiled
        )
    return about | {"rows": rows}


def bench_text(timed: dict[str, Any]) -> str:
    """A table for each regime and batch size, with how many times as fast a way is as each of PyTorch's.

    On a device the batched reference engine is compared too, at the same number of members.
    """
    on_device = "device" in timed
    machine = timed["device"] if on_device else f"{timed['threads']} threads, lanes built for {timed['instructions']}"
    tables = []
    for regime, batch_size in dict.fromkeys((r["regime"], r["batch_size"]) for r in timed["rows"]):
        rows = [r for r in timed["rows"] if (r["regime"], r["batch_size"]) == (regime, batch_size)]
        pytorch = [r for r in rows if r["way"].startswith("pytorch")]
        reference = {r["members"]: r for r in rows if r["way"] == "reference"}
        columns = ["way", "members#", "ms per 1000 images#", "member-epochs/h#", "max/min#", "of fp32 peak#"]
        columns += ["of bandwidth#"] * on_device
        columns += [f"x {r['way'].removeprefix('pytorch ')}#" for r in pytorch] + ["x reference#"] * on_device
        cells = []
        for r in rows:
            line = [r["way"], r["members"], f"{1000 * r['seconds_per_thousand']:.2f}"]
            line += [f"{r['member_epochs_an_hour']:,.0f}", f"{r['spread']:.2f}", _share(r["peak"])]
            line += [_share(r["memory"])] * on_device
            line += [_times(p, r) for p in pytorch] + [_times(reference.get(r["members"]), r)] * on_device
            cells.append(line)
        title = f"{regime}, batch {batch_size}: medians per member, epochs of 45,000 images, {machine}"
        tables.append(table(columns, cells, title=title))
    return "\n\n".join(tables)


def _share(part: float) -> str:
    return f"{part:.1%}" if part else ""


def _times(slow: dict[str, Any] | None, fast: dict[str, Any]) -> str:
    return f"{slow['seconds_per_thousand'] / fast['seconds_per_thousand']:.1f}" if slow else ""
