"""The verdict's statistics, simulated: writes docs/statistics.md. `make statistics` calls it.

python -m docs.build.simulations
python -m docs.build.simulations --small --out /tmp/statistics.md  # in seconds, to see that it works
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from docs.build.simulations.page import SMALL, full, page, simulate


def main(
    out: Annotated[Path, typer.Option(help="the page")] = Path("docs/statistics.md"),
    records: Annotated[Path, typer.Option(help="the folder of real records")] = Path("docs/records"),
    sweeps: Annotated[int, typer.Option(min=1, help="of each kind")] = 1000,
    small: Annotated[bool, typer.Option("--small", help="so few repetitions that they say nothing")] = False,
) -> None:
    """Simulate the verdict's error rates, power and intervals, and write the page about them."""
    out.write_text(page(simulate(SMALL if small else full(sweeps), records)), encoding="utf-8")
    print(out)


if __name__ == "__main__":
    typer.run(main)
