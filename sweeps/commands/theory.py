"""What `gradsweep theory` says: each claim and where it holds, and the counter-examples; signal propagation."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated, Any, Literal

from typer import Argument, Option

from sweeps.commands import Json, app, say
from sweeps.commands.signal import Asked, propagation, propagation_text
from sweeps.commands.text import table
from trainers.errors import RequestError

ENDINGS = (".png", ".svg", ".pdf")
DEFAULT = ("tanh", "arctan", "softsign", "sigmoid", "logsigmoid", "relu")
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
    part: Annotated[
        Literal["theorems", "signal"],
        Argument(metavar="PART", help="theorems: where the paper's hold | signal: signal propagation, before training"),
    ] = "theorems",
    activation: Annotated[
        list[str] | None,
        Option(metavar="NAME", help="signal: of this one; repeatable; default: the paper's, its readings, and relu"),
    ] = None,
    alpha: Annotated[
        list[float] | None, Option(metavar="NUMBER", help="signal: the activation's scale; repeatable; default: 1")
    ] = None,
    scaling: Annotated[
        Literal["rescaled", "naive"] | None, Option(help="signal: alpha f(z / alpha), the default, or alpha f(z)")
    ] = None,
    sigma_w: Annotated[
        float | None, Option(help="signal: the weights' deviation times the root of the fan-in; default: 1.5")
    ] = None,
    sigma_b: Annotated[float | None, Option(help="signal: the biases' deviation; default: 0.2")] = None,
    figure: Annotated[Path | None, Option(metavar="FILE", help="also draw it: .png, .svg or .pdf")] = None,
    as_json: Json = False,
) -> None:
    """Check numerically where the paper's two theorems hold, or what mean-field theory says of signal propagation.

    gradsweep theory: each claim of the paper and where it holds, with counter-examples.

    gradsweep theory signal: for each activation the fixed points of the length and correlation maps, chi, which says
    whether gradients vanish or explode, the depth scales, and the sigma_w on the edge of chaos; and published numbers
    beside ours. Its figure has the edges of chaos in the plane of (sigma_w, sigma_b), and chi against sigma_w.
    """
    given = {"activation": activation, "alpha": alpha, "scaling": scaling, "sigma-w": sigma_w, "sigma-b": sigma_b}
    if figure:
        check_figure(figure)
    if part == "theorems":
        for name, value in given.items():
            if value is not None:
                raise RequestError(f"--{name} is an option of gradsweep theory signal")
        theorems(figure, as_json)
    else:
        point = 1.5 if sigma_w is None else sigma_w, 0.2 if sigma_b is None else sigma_b
        signals(Asked(activation or DEFAULT, alpha or [1.0], scaling or "rescaled", *point), figure, as_json)


def check_figure(figure: Path) -> None:
    """Raises RequestError if no figure can be written there."""
    if figure.suffix not in ENDINGS:
        raise RequestError(f"figure: {figure}: the name must end in {', '.join(ENDINGS)}")
    if not figure.parent.is_dir():
        raise RequestError(f"figure: {figure}: the folder {figure.parent} must exist")


def theorems(figure: Path | None, as_json: bool) -> None:
    """The claims of the paper."""
    from trainers.theory.check import check

    if figure:
        from tracking.figures.theory import save

        save(figure)
    checked = check()
    say(checked, theory_text(checked), as_json)


def signals(asked: Asked, figure: Path | None, as_json: bool) -> None:
    """Signal propagation."""
    if figure:
        from tracking.figures.theory_signal import save

        save(figure, asked.units, asked.sigma_w, asked.sigma_b)
    document = propagation(asked)
    say(document, propagation_text(document), as_json)


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
