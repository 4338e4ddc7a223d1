"""What `gradsweep theory` says: each claim and where it holds, and the counter-examples."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated, Any

from typer import Option

from sweeps.commands import Json, app, say
from sweeps.commands.text import table
from trainers.errors import RequestError

ENDINGS = (".png", ".svg", ".pdf")
PARTS = (
    ("formulas", "The printed partial derivatives (sections 2.1 to 2.3)"),
    ("theorem 1", "Theorem 1, large parameters"),
    ("theorem 2", "Theorem 2, many layers"),
    ("in passing", "In passing"),
)
NOTE = """\
Grids and random draws are evidence, an explicit counter-example is proof; where it says `proved` the argument is in
docs/theory.md, with the paper's proofs step by step. g is the network's output, d = h'(y - g), h(z) = z^2. logsigmoid
is log(1 / (1 + e^-z)); sigmoid is the logistic function, the other reading of the word."""


@app.command()
def theory(
    figure: Annotated[Path | None, Option(metavar="FILE", help="also draw it: .png, .svg or .pdf")] = None,
    as_json: Json = False,
) -> None:
    """Check numerically where the paper's two theorems hold."""
    from trainers.theory.check import check

    if figure:
        draw(figure)
    checked = check()
    say(checked, theory_text(checked), as_json)


def draw(figure: Path) -> None:
    """Write the figure to a file. Raises RequestError if that can't be done."""
    if figure.suffix not in ENDINGS:
        raise RequestError(f"figure: {figure}: the name must end in {', '.join(ENDINGS)}")
    if not figure.parent.is_dir():
        raise RequestError(f"figure: {figure}: the folder {figure.parent} must exist")
    from tracking.figures.theory import save

    save(figure)


def theory_text(theory: dict[str, Any]) -> str:
    """The tables."""
    claims = theory["claims"]
    agreement = f"Closed forms and autograd (float64) agree: largest relative difference {theory['disagreement']:.1e}."
    parts = [_verdicts([c for c in claims if c["part"] == part], title) for part, title in PARTS]
    rows = [[f"{c['part']}, {c['name']}", *counter_example(c)] for c in claims if c["counter_example"]]
    examples = table(["claim", "at~", "what~", "numbers"], rows, "Counter-examples")
    return "\n\n".join((agreement, *parts, _properties(claims), examples, NOTE))


def _verdicts(claims: list[dict[str, Any]], title: str) -> str:
    alike: dict[tuple[str, ...], list[str]] = {}
    for claim in claims:
        how = "; ".join(filter(None, (claim["region"], claim["evidence"])))
        alike.setdefault((claim["name"], claim["holds"], how), []).append(claim["activation"])
    rows = [(name, ", ".join(functions), *verdict) for (name, *verdict), functions in alike.items()]
    return table(["claim", "f", "holds", "where, and how we know~"], rows, title)


def _properties(claims: list[dict[str, Any]]) -> str:
    from trainers.theory.network import SIGMOIDS

    rows: dict[str, dict[str, str]] = {}
    for claim in claims:
        if claim["part"] == "properties":
            row = rows.setdefault(f"{claim['name'][-1]} {claim['statement']}", {})
            row[claim["activation"]] = "no" if claim["holds"] == "fails" else "yes"
    cells = [(statement, *map(row.get, SIGMOIDS)) for statement, row in rows.items()]
    return table(["property~", *SIGMOIDS], cells, "The four properties that the theorems are based on")


def counter_example(claim: dict[str, Any]) -> tuple[str, str, str]:
    """The point, as `tanh, t = 0.8, x = 1.7, theta = (0.45), k = 1`; what is compared there; and the numbers."""
    example, point = claim["counter_example"], [claim["activation"]]
    for name, value in example["at"].items():
        if name == "theta":
            runs = [(theta, len(list(same))) for theta, same in itertools.groupby(value)]
            value = ", ".join(f"{n} times {theta:.6g}" if n > 1 else f"{theta:.6g}" for theta, n in runs)
            point.append(f"theta = ({value})")
        else:
            point.append(value if name == "scaling" else f"{name} = {value:.6g}")
    numbers = f"{example['left']:.5g}, not {example['relation']} {example['right']:.5g}"
    return ", ".join(point), example["says"], numbers
