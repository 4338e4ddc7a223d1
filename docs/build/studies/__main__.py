"""The studies that have a page: runs them and writes their pages, docs/studies/NAME.md. `make studies` calls it.

    python -m docs.build.studies                        # all of them
    python -m docs.build.studies --small edge-of-chaos  # so small that it says nothing, to see that it works

Each has a store of its own. A study that is there goes on where it stopped, or stays as it is: writing its page anew
takes a minute or two at most.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from docs.build.pages import run
from docs.build.studies.page import STUDIES, small, write_page


def main(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help=", ".join(STUDIES))] = None,
    store: Annotated[Path, typer.Option(help="the folder of the studies' stores")] = Path("studies-store"),
    out: Annotated[Path, typer.Option(help="where the pages and their figures go")] = Path("docs/studies"),
    in_small: Annotated[bool, typer.Option("--small", help="into STORE/small, its pages too")] = False,
    train: Annotated[bool, typer.Option("--train/--no-train", help="or only write about what is there")] = True,
) -> None:
    """Run studies and write a page about each."""
    if unknown := [name for name in names or () if name not in STUDIES]:
        raise typer.BadParameter(f"{unknown[0]}: no study with a page; these have one: {', '.join(STUDIES)}")
    if in_small:
        store = out = store / "small"
    for name in names or STUDIES:
        if train:
            run(name, name, small(name) if in_small else (), store / name)
        print(write_page(name, store / name, out))


if __name__ == "__main__":
    typer.run(main)
