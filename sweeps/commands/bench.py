"""The command that times the engines against plain PyTorch."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from sweeps.commands.text import table
from trainers.errors import RequestError


def bench(
    regimes: Sequence[str], batch_sizes: Sequence[int], threads: int | None, rounds: int, compiled: bool
) -> dict[str, Any]:
    """Every way of training, for each regime and batch size, in one run; a line of progress each on standard error."""
    from trainers.bench import bench as measure
    from trainers.lanes import available
    from trainers.regimes import REGIMES

    _check(regimes, REGIMES)
    threads = threads or len(os.sched_getaffinity(0))
    rows = []
    for regime in regimes or REGIMES:
        for batch_size in batch_sizes or (32, 128):
            print(f"timing {regime}, batch {batch_size} ...", file=sys.stderr, flush=True)
            rows += [asdict(r) for r in measure(regime, batch_size, threads=threads, rounds=rounds, compiled=compiled)]
    return {"threads": threads, "instructions": available() or "none", "rows": rows}


def bench_cuda(regimes: Sequence[str], batch_sizes: Sequence[int], rounds: int, compiled: bool) -> dict[str, Any]:
    """The same on this machine's CUDA device, from 1 to 1,000 members. Raises RequestError where there is none."""
    from trainers.bench_cuda import bench as measure
    from trainers.bench_cuda import device_name, unavailable
    from trainers.regimes import REGIMES

    _check(regimes, REGIMES)
    if reason := unavailable():
        raise RequestError(reason)
    rows = []
    for regime in regimes or REGIMES:
        for batch_size in batch_sizes or (32, 128):
            print(f"timing {regime}, batch {batch_size} on the device ...", file=sys.stderr, flush=True)
            found = measure(regime, batch_size, rounds=rounds, compiled=compiled)
            rows += [asdict(r) | {"member_epochs_an_hour": r.member_epochs_an_hour} for r in found]
    return {"device": device_name(), "rows": rows}


def _check(regimes: Sequence[str], known: Iterable[str]) -> None:
    if unknown := [regime for regime in regimes if regime not in known]:
        raise RequestError(f"there is no regime {unknown[0]!r}: the regimes are {', '.join(known)}")


def bench_cuda_text(found: dict[str, Any]) -> str:
    """A table for each regime and batch size: member-epochs an hour, and how many times as many as each way of PyTorch.

    The batched reference engine is compared at the same number of members, where it was timed.
    """
    tables = []
    for regime, batch_size in dict.fromkeys((r["regime"], r["batch_size"]) for r in found["rows"]):
        rows = [r for r in found["rows"] if (r["regime"], r["batch_size"]) == (regime, batch_size)]
        pytorch = [r for r in rows if r["way"].startswith("pytorch")]
        reference = {r["members"]: r for r in rows if r["way"] == "reference"}
        tables.append(
            table(
                [
                    "way",
                    "members#",
                    "member-epochs/h#",
                    "max/min#",
                    "of fp32 peak#",
                    "of bandwidth#",
                    *(f"x {r['way'].removeprefix('pytorch ')}#" for r in pytorch),
                    "x reference#",
                ],
                [
                    [
                        r["way"],
                        r["members"],
                        f"{r['member_epochs_an_hour']:,.0f}",
                        f"{r['spread']:.2f}",
                        f"{r['peak']:.1%}",
                        f"{r['memory']:.1%}" if r["memory"] else "",
                        *(_times(p, r) for p in pytorch),
                        _times(reference[r["members"]], r) if r["members"] in reference else "",
                    ]
                    for r in rows
                ],
                title=f"{regime}, batch {batch_size}: medians, epochs of 45,000 images, {found['device']}",
            )
        )
    return "\n\n".join(tables)


def _times(slow: dict[str, Any], fast: dict[str, Any]) -> str:
    return f"{slow['seconds_per_thousand'] / fast['seconds_per_thousand']:.1f}"


def bench_text(found: dict[str, Any]) -> str:
    """A table for each regime and batch size: seconds, and how many times as fast as each way of PyTorch."""
    tables = []
    for regime, batch_size in dict.fromkeys((r["regime"], r["batch_size"]) for r in found["rows"]):
        rows = [r for r in found["rows"] if (r["regime"], r["batch_size"]) == (regime, batch_size)]
        pytorch = [r for r in rows if r["way"].startswith("pytorch")]
        tables.append(
            table(
                [
                    "way",
                    "members#",
                    "ms per 1000 images#",
                    "max/min#",
                    "of peak#",
                    *(f"x {r['way'].removeprefix('pytorch ')}#" for r in pytorch),
                ],
                [
                    [
                        r["way"],
                        r["members"],
                        f"{1000 * r['seconds_per_thousand']:.2f}",
                        f"{r['spread']:.2f}",
                        f"{r['peak']:.0%}" if r["peak"] else "",
                        *(f"{p['seconds_per_thousand'] / r['seconds_per_thousand']:.1f}" for p in pytorch),
                    ]
                    for r in rows
                ],
                title=f"{regime}, batch {batch_size}: medians for one member, {found['threads']} threads, "
                f"lanes built for {found['instructions']}",
            )
        )
    return "\n\n".join(tables)
