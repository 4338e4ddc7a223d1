"""The command `bench`."""

from __future__ import annotations

from typing import Annotated, Literal

from typer import Option

from sweeps.commands import Json, app, say


@app.command()
def bench(
    regime: Annotated[list[str] | None, Option(help="only this one; repeatable")] = None,
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
    from sweeps.commands.bench import bench, bench_text

    timed = bench(regime or [], batch or [], threads, rounds, compiled, device)
    say(timed, bench_text(timed), as_json)
