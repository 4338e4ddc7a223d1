"""The command `bench`: the engines timed against plain PyTorch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Option

from sweeps.commands import Json, app, say
from sweeps.commands.text import table
from sweeps.environment import cores
from trainers.errors import RequestError

if TYPE_CHECKING:
    from trainers.members import MemberConfig


@app.command()
def bench(
    regime: Annotated[list[str] | None, Option(help="only this one; repeatable")] = None,
    network: Annotated[
        list[str] | None,
        Option(
            metavar="FIELDS",
            help="another network, as fields of a member: '{blocks: 0, dense: 20, units: 32}'; repeatable",
        ),
    ] = None,
    batch: Annotated[list[int] | None, Option(min=1, help="batch size; default: 32 and 128")] = None,
    threads: Annotated[int | None, Option(min=1, help="default: all cores")] = None,
    rounds: Annotated[int, Option(min=1, help="how often each way is timed")] = 5,
    compiled: Annotated[
        bool, Option("--compile/--no-compile", help="time torch.compile too: needs a C++ compiler, and minutes")
    ] = True,
    device: Annotated[
        Literal["cpu", "cuda"], Option(help="cuda: the engines of a GPU, with 1 to 1,000 members")
    ] = "cpu",
    as_json: Json = False,
) -> None:
    """Time the engines against plain PyTorch in one run.

    On the CPU: milliseconds for a thousand images, ratios, and the share of what the cores can do. With --device cuda:
    PyTorch one member at a time (eager, with CUDA graphs, compiled), the batched reference engine and the cuda engine
    with 1, 25, 100, 225 and 1,000 members; member-epochs of 45,000 images an hour, ratios, and the shares of the
    device's peaks of float32 and of memory, both measured in the same rounds.
    """
    timed = timings(regime or [], network or [], batch or [], threads, rounds, compiled, device)
    say(timed, bench_text(timed), as_json)


def timings(
    regimes: Sequence[str],
    networks: Sequence[str],
    batch_sizes: Sequence[int],
    threads: int | None,
    rounds: int,
    compiled: bool,
    device: str,
) -> dict[str, Any]:
    """Every way of training, for each network and batch size, in one run; a line of progress each on standard error.

    The networks are the regimes, all where nothing is named, and then the others, fields of a member each. Raises
    RequestError for a regime that isn't there, for fields that make no member, and for a CUDA device where there is
    none.
    """
    from trainers.bench import bench
    from trainers.cuda import memory, missing
    from trainers.lanes import available
    from trainers.members import MemberConfig
    from trainers.regimes import REGIMES

    if unknown := [regime for regime in regimes if regime not in REGIMES]:
        raise RequestError(f"there is no regime {unknown[0]!r}: the regimes are {', '.join(REGIMES)}")
    named = regimes or ([] if networks else REGIMES)
    members = {name: MemberConfig(regime=name) for name in named} | {text: member_of(text) for text in networks}
    threads = threads or cores()
    about: dict[str, Any] = {"threads": threads, "instructions": available() or "none"}
    if device == "cuda":
        gpu = memory.first_device()
        if gpu is None:
            raise RequestError("--device cuda: PyTorch sees no CUDA device here; without the option the CPU is timed")
        if reason := missing("cuda"):
            raise RequestError(reason)
        about = {"device": gpu.name}
    rows = []
    for (name, member), batch_size in product(members.items(), batch_sizes or (32, 128)):
        print(f"timing {name}, batch {batch_size} on the {device} ...", file=sys.stderr, flush=True)
        engine = "cuda" if device == "cuda" else "lanes"
        of_size = replace(member, batch_size=batch_size)
        timed = bench(of_size, device=device, engine=engine, threads=threads, rounds=rounds, compiled=compiled)
        rows += [{"network": name} | row for row in timed]
    return about | {"rows": rows}


def member_of(text: str) -> MemberConfig:
    """The member whose fields these are, in YAML or JSON. Raises RequestError where they make none."""
    from sweeps.spec.yaml_lines import YamlError, load
    from trainers.members import FIELDS, MemberConfig

    try:
        given, _ = load(text)
        if not isinstance(given, dict):
            raise ValueError("it must be fields of a member, such as {dense: 20, units: 32}")
        if unknown := [name for name in given if name not in FIELDS]:
            raise ValueError(f"a member has no field {unknown[0]!r}")
        return MemberConfig(**given)
    except (YamlError, ValueError) as error:
        raise RequestError(f"--network {text}: {error}") from None


def bench_text(timed: dict[str, Any]) -> str:
    """A table for each network and batch size, with how many times as fast a way is as each of PyTorch's.

    On a device the batched reference engine is compared too, at the same number of members.
    """
    on_device = "device" in timed
    machine = timed["device"] if on_device else f"{timed['threads']} threads, lanes built for {timed['instructions']}"
    tables = []
    for network, batch_size in dict.fromkeys((r["network"], r["batch_size"]) for r in timed["rows"]):
        rows = [r for r in timed["rows"] if (r["network"], r["batch_size"]) == (network, batch_size)]
        seconds = {(r["way"], r["members"]): r["seconds_per_thousand"] for r in rows}
        pytorch = [way for way, _ in seconds if way.startswith("pytorch")]
        columns = ["way", "members#", "ms per 1000 images#", "member-epochs/h#", "max/min#", "of fp32 peak#"]
        columns += ["of bandwidth#"] * on_device
        columns += [f"x {way.removeprefix('pytorch ')}#" for way in pytorch] + ["x reference#"] * on_device
        cells = []
        for r in rows:
            own = r["seconds_per_thousand"]
            line = [
                r["way"],
                r["members"],
                f"{1000 * own:.2f}",
                f"{r['member_epochs_an_hour']:,.0f}",
                f"{r['spread']:.2f}",
            ]
            line += [f"{share:.1%}" if share else "" for share in (r["peak"], r["memory"])[: 1 + on_device]]
            slower = [seconds[way, 1] for way in pytorch] + [seconds.get(("reference", r["members"]))] * on_device
            cells.append(line + [f"{slow / own:.1f}" if slow else "" for slow in slower])
        title = f"{network}, batch {batch_size}: medians per member, epochs of 45,000 images, {machine}"
        tables.append(table(columns, cells, title=title))
    return "\n\n".join(tables)
