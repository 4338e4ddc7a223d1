"""The command that holds two sweeps against each other."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from sweeps.commands import Json, Store, a_name, app, say
from sweeps.commands.text import table

if TYPE_CHECKING:
    from tracking.verdict.compare import Pair, SweepComparison

FEW = 8  # names of what only one sweep has
WIDTH = 80
COLUMNS = ("configuration~", "A#", "B#", "gain#", "95% interval#", "Holm p#", "answer")


@app.command()
def compare(
    first: Annotated[str, Argument(metavar="A", help="a sweep's name", callback=a_name)],
    second: Annotated[str, Argument(metavar="B", help="another one's", callback=a_name)],
    store: Store = None,
    metric: Annotated[
        str | None, Option(metavar="METRIC", help="compare by this, at the last epoch; default: A's first objective")
    ] = None,
    as_json: Json = False,
) -> None:
    """Hold two sweeps against each other, arm by arm and seed by seed."""
    from sweeps import library

    compared = library.compare(first, second, store, metric)
    say(asdict(compared), comparison_text(compared), as_json)


def comparison_text(compared: SweepComparison) -> str:
    """A comparison for a terminal, in 80 columns."""
    return "\n\n".join(_parts(compared))


def _parts(compared: SweepComparison) -> Iterator[str]:
    """What each sweep is, in what they differ, the pairs, and what is to be said of some of them."""
    from tracking.results import CONFIRM
    from tracking.verdict.tables import code, count, number
    from tracking.verdict.words import state_word, ways

    lines = []
    for letter, sweep in zip("AB", compared.sweeps, strict=True):
        states = ", ".join(f"{n} {state_word(state)}" for state, n in sorted(sweep.states.items())) or "none started"
        lines.append(f"{letter}: {sweep.name}: {count(sum(sweep.states.values()), 'configuration')} ({states})")
        if best := sweep.best:
            seeds = count(len(best.seeds), "fresh seed" if best.name.startswith(CONFIRM) else "seed")
            name = code(best.name.removeprefix(CONFIRM))
            lines.append(f"   best: {name}, {compared.what} {number(best.mean)} (mean of {seeds})")
    yield _filled(lines)
    if compared.differences:
        yield table(("A and B differ in", "A~", "B~"), compared.differences)
    sizes = {len(pair.comparison.pairs): pair.comparison.paired_over for pair in compared.pairs if pair.comparison}
    if compared.pairs:
        better = f"{ways(compared.goal)[0]} is better" if compared.goal else "gains are positive where B is higher"
        over = [f", paired over {count(size, kind)}" for size, kind in sizes.items()] if len(sizes) == 1 else [""]
        rows = [_row(pair, "better" if compared.goal else "higher") for pair in compared.pairs]
        yield f"{_filled([f'{compared.what} {compared.epochs} ({better}){over[0]}'])}\n{table(COLUMNS, rows)}"
    said = [f"{code(pair.name)}: {pair.reason}." for pair in compared.pairs if pair.reason]
    of_size: dict[str, list[str]] = {}
    for pair in compared.pairs:
        if pair.comparison and (pair.same_bits or len(sizes) > 1):
            over_seeds = count(len(pair.comparison.pairs), pair.comparison.paired_over)
            lead = f"Equal to the bit on {over_seeds}" if pair.same_bits else f"Paired over {over_seeds}"
            of_size.setdefault(lead, []).append(pair.name)
    of_size |= {f"Only in {letter}": [*names] for letter, names in zip("AB", compared.alone, strict=True) if names}
    for lead, names in of_size.items():
        more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
        said.append(f"{lead}: {', '.join(map(code, names[:FEW]))}{more}.")
    if said := [*said, *compared.notes]:
        yield _filled(said)


def _row(pair: Pair, better: str) -> tuple[str, ...]:
    from tracking.verdict.tables import P, ends, estimate, number

    c = pair.comparison
    if c is None:
        return pair.name, "", "", "", "", "", "not compared"
    answer = {"first": f"A {better}", "second": f"B {better}"}.get(str(pair.answer), str(pair.answer))
    means = (number(sum(of) / len(of)) for of in (c.others, c.ones))
    return pair.name, *means, estimate(c), ends(c), number(pair.p_corrected, P), answer


def _filled(lines: Iterable[str]) -> str:
    return "\n".join(textwrap.fill(line, WIDTH, subsequent_indent="   ", break_on_hyphens=False) for line in lines)
