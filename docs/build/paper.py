"""The paper, checked: runs its figures and its theorems, and writes the page about them. `make paper` calls it.

    python -m docs.build.paper --data folder:images --store paper-store

A sweep that is in the store goes on where it stopped, or stays as it is: writing the page anew costs seconds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from docs.build.pages import run

STUDIES = ("figure-1", "figure-2", "figure-3", "figure-4")
BATCH_SIZES = (32, 128)  # the paper does not say which


def sweep_name(study: str, batch_size: int) -> str:
    """What a study's sweep is called in the store: the study itself at the batch size that it states."""
    return study if batch_size == BATCH_SIZES[0] else f"{study}-{batch_size}"


def main(
    data: Annotated[str, typer.Option(help="cifar10, or folder:PATH")] = "cifar10",
    store: Annotated[Path, typer.Option(help="where the sweeps are kept")] = Path("paper-store"),
    also: Annotated[Path | None, typer.Option(help="where finished sweeps are that the store has not")] = None,
    out: Annotated[Path, typer.Option(help="where the page and its figures go")] = Path("docs"),
    epochs: Annotated[int | None, typer.Option(min=1, help="instead of the studies' own")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="how many, instead of the studies' own")] = None,
    first_seed: Annotated[int, typer.Option(min=0, help="the first of them: others repeat it all independently")] = 0,
    train: Annotated[bool, typer.Option("--train/--no-train", help="or only write about what is there")] = True,
) -> None:
    """Run the studies of the paper's figures at both batch sizes, and write paper.md."""
    from sweeps.spec.reading import read

    changes = [f"base.data={data}"]
    changes += [f"base.epochs={epochs}"] if epochs else []
    for batch_size in BATCH_SIZES if train else ():
        for study in STUDIES:
            count = seeds or len(read(study).seeds)
            of = [f"seeds={list(range(first_seed, first_seed + count))}", f"base.batch_size={batch_size}"]
            run(study, sweep_name(study, batch_size), [*changes, *of], store)
    from docs.build.paper_page import write_page

    print(write_page([store, *([also] if also else [])], out))


if __name__ == "__main__":
    typer.run(main)
