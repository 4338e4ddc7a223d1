"""The paper, checked: runs its sweeps in stages, keeps their records, and writes the pages. `make paper` calls it.

    python -m docs.build.paper --list                                    # stages, sweeps, minutes, what is done
    python -m docs.build.paper figure-1 epsilon --data folder:images     # some stages; without names, all
    python -m docs.build.paper --no-train                                # the pages alone, from docs/records

A sweep that has a record is not trained again. One that is interrupted goes on where it stopped. Each has a store of
its own, STORE/NAME, which nothing needs any more once the record is there.
"""

from __future__ import annotations

import sys
from pathlib import Path
from time import monotonic
from typing import Annotated

import typer

from docs.build.pages import finished, run
from docs.build.paper import records
from docs.build.paper.stages import STAGES, Less, estimate, settings
from sweeps.commands.text import table
from tracking.store import Store
from trainers.errors import did_you_mean


def main(
    names: Annotated[list[str] | None, typer.Argument(metavar="[STAGE]...", help=", ".join(STAGES))] = None,
    data: Annotated[str, typer.Option(help="cifar10, or folder:PATH")] = "cifar10",
    store: Annotated[Path, typer.Option(help="the folder of the sweeps' stores")] = Path("paper-store"),
    out: Annotated[Path, typer.Option(help="where the pages are, and records/")] = Path("docs"),
    epochs: Annotated[int | None, typer.Option(min=1, help="instead of the studies' own")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="how many, instead of the studies' own")] = None,
    first_seed: Annotated[int | None, typer.Option(min=0, help="the first of them: others repeat it all")] = None,
    train: Annotated[bool, typer.Option("--train/--no-train", help="or write the pages alone")] = True,
    collect: Annotated[bool, typer.Option("--collect", help="with --no-train: record what is finished first")] = False,
    minutes: Annotated[
        float | None, typer.Option(min=0, help="stop after about so many; the next call goes on")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="also what has a record")] = False,
    listed: Annotated[bool, typer.Option("--list", help="say what there is to run, and what is done")] = False,
) -> None:
    """Run stages of the paper's sweeps, and write paper.md and its details."""
    for name in names or ():
        if name not in STAGES:
            raise typer.BadParameter(f"{name}: no stage; {did_you_mean(name, STAGES)}")
    begun, less, folder = monotonic(), Less(data, epochs, seeds, first_seed), out / "records"
    if listed:
        print(listing(names or list(STAGES), less, folder))
        return
    for planned in (planned for stage in names or STAGES for planned in STAGES[stage]):
        own = store / planned.name
        if records.recorded(planned.name, folder) and not again:
            continue
        if train and not planned.written:
            print(f"{planned.name}: there is no study {planned.of} yet", file=sys.stderr)
        elif train:
            left = None if minutes is None else max(0.0, 60 * minutes - (monotonic() - begun))
            if left == 0 or not run(planned.of, planned.name, settings(planned, less), own, left):
                break
            records.save(planned.name, Store.at(own), folder, planned.of)
        elif collect and own.exists() and finished(planned.name, Store.at(own)):
            records.save(planned.name, Store.at(own), folder, planned.of)
    from docs.build.paper.page import write_pages

    for page in write_pages(out):
        print(page)


def listing(stages: list[str], less: Less, folder: Path) -> str:
    """A line for each sweep under its stage: minutes, as estimated and as measured."""
    rows = []
    for stage in stages:
        for i, planned in enumerate(STAGES[stage]):
            about = estimate(planned, less) if planned.written else None
            took = records.minutes(planned.name, folder) if records.recorded(planned.name, folder) else None
            state = "done" if took is not None else "not run yet" if planned.written else "no study yet"
            cells = (f"{minutes:.0f}" if minutes is not None else "" for minutes in (about, took))
            rows.append((stage * (i == 0), planned.name, *cells, state))
    return table(("stage", "sweep", "minutes planned#", "minutes taken#", "state"), rows)


if __name__ == "__main__":
    typer.run(main)
