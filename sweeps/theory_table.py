"""What `gradsweep theory` says: each claim and where it holds, and the counter-examples.

>>> run(json=False, figure=Path("theory.svg"))
0
"""

from __future__ import annotations

import itertools
import json as json_module
from dataclasses import asdict
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table

from trainers.errors import RequestError
from trainers.theory.check import check
from trainers.theory.claims import Argument, Claim, CounterExample, Network, Theory

COLOURS = {"everywhere tested": "green", "in a region": "yellow", "fails": "red"}
ENDINGS = (".png", ".svg", ".pdf")
PARTS = (
    ("formulas", "The printed partial derivatives (sections 2.1 to 2.3)"),
    ("theorem 1", "Theorem 1, large parameters"),
    ("theorem 2", "Theorem 2, many layers"),
    ("in passing", "In passing"),
)
NOTE = (
    "Grids and random draws are evidence, an explicit counter-example is proof; where it says `proved` the argument is "
    "in docs/theory.md, with the paper's proofs step by step. g is the network's output, d = h'(y - g), h(z) = z^2. "
    "logsigmoid is log(1 / (1 + e^-z)); sigmoid is the logistic function, the other reading of the word."
)


def run(json: bool, figure: Path | None = None, console: Console | None = None) -> int:
    """Checks the theorems and prints what came out, or one JSON document; draws the figure where a file is given.

    The exit status: 0, or 1 where our closed forms and autograd disagree (then nothing here is to be trusted). That a
    claim of the paper fails is a result, not an error. Raises RequestError for a figure that can't be written.
    """
    if figure is not None:
        if figure.suffix not in ENDINGS:
            raise RequestError(f"figure: {figure}: the name must end in {', '.join(ENDINGS)}")
        if not figure.parent.is_dir():
            raise RequestError(f"figure: {figure}: the folder {figure.parent} must exist")
    theory = check()
    if json:
        print(json_module.dumps(asdict(theory), allow_nan=False))
    else:
        (console or Console()).print(rendering(theory))
    if figure is not None:
        from tracking.figures.theory import save

        save(theory, figure)
    return 0 if theory.agrees else 1


def rendering(theory: Theory) -> RenderableType:
    """The tables, to be printed by rich at any width."""
    parts: list[RenderableType] = [_verdicts(theory, part, title) for part, title in PARTS]
    verdict = "agree" if theory.agrees else "DISAGREE: do not trust what follows"
    agreement = f"Closed forms and autograd (float64) {verdict}: largest relative difference {theory.disagreement:.1e}."
    return Group(agreement, *parts, _properties(theory), _counter_examples(theory), "\n" + NOTE)


def _verdicts(theory: Theory, part: str, title: str) -> Table:
    table = _table(title, "claim", "f", "holds", "where, and how we know")
    alike: dict[tuple[str, str, str], list[str]] = {}
    for claim in _of(theory, part):
        how = "; ".join(filter(None, (claim.region, claim.evidence)))
        alike.setdefault((claim.name, claim.holds, how), []).append(claim.activation)
    for (name, holds, how), functions in alike.items():
        table.add_row(escape(name), ", ".join(functions), f"[{COLOURS[holds]}]{holds}[/]", escape(how))
    return table


def _properties(theory: Theory) -> Table:
    rows: dict[str, dict[str, bool]] = {}
    for claim in _of(theory, "properties"):
        rows.setdefault(f"{claim.name[-1]} {claim.statement}", {})[claim.activation] = claim.holds != "fails"
    table = _table("The four properties that the theorems are based on", "property", *next(iter(rows.values())))
    for statement, holds in rows.items():
        table.add_row(escape(statement), *("[green]yes[/]" if yes else "[red]no[/]" for yes in holds.values()))
    return table


def _counter_examples(theory: Theory) -> Table:
    table = _table("Counter-examples", "claim", "at", "what", "numbers")
    for part in ("formulas", "theorem 1", "theorem 2", "properties", "in passing"):
        for claim in _of(theory, part):
            if example := claim.counter_example:
                name = claim.name if part == "properties" else f"{part}, {claim.name}"
                table.add_row(escape(name), escape(where(example.at)), escape(example.says), sides(example))
    return table


def sides(example: CounterExample) -> str:
    """The two numbers, as `2.6982, not <= 2.1696`."""
    return escape(f"{example.left:.5g}, not {example.relation} {example.right:.5g}")


def where(at: Network | Argument) -> str:
    """A point in a line, as `tanh, t = 0.8, x = 1.7, y = 2, theta = 0.45, k = 1`."""
    if isinstance(at, Argument):
        more = [f"alpha = {at.alpha:g}"] * (at.alpha != 1) + [f"v = {at.v:g}"] * (at.v != 1)
        return ", ".join((at.activation, f"z = {at.z:g}", *more))
    runs = [(value, len(list(same))) for value, same in itertools.groupby(at.theta)]
    theta = ", ".join(f"{n} times {value:.6g}" if n > 1 else f"{value:.6g}" for value, n in runs)
    scaled = [f"{at.scaling}, alpha = {at.alpha:g}"] * (at.alpha != 1)
    penalty = [f"r = {at.r:.6g}"] * (at.r != 0)
    constant = [] if at.t is None else [f"t = {at.t:g}"]
    data = (f"x = {at.x:g}", f"y = {at.y:g}", f"theta = ({theta})", f"k = {at.k}")
    return ", ".join((at.activation, *scaled, *constant, *data, *penalty))


def _of(theory: Theory, part: str) -> list[Claim]:
    return [claim for claim in theory.claims if claim.part == part]


def _table(title: str, *columns: str) -> Table:
    # The newline sets the table off from the one above.
    table = Table(
        title="\n" + title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0)
    )
    for column in columns:
        table.add_column(column, header_style="dim", overflow="fold")
    return table
