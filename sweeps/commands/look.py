"""The commands that list what there is: studies, regimes, fields, metrics."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument

from sweeps.commands import Json, One, app, say
from sweeps.commands.text import table
from trainers.errors import RequestError, did_you_mean, shown

if TYPE_CHECKING:
    from trainers.layers import Layer


@app.command()
def studies(
    name: Annotated[str | None, Argument(metavar="[NAME]", help="print the YAML of this one")] = None,
    as_json: Json = False,
) -> None:
    """List the studies that ship with gradsweep, or print one."""
    from sweeps.spec.reading import parse
    from sweeps.spec.reading import studies as shipped

    texts = shipped()
    if name is None:
        questions = {key: parse(text, key).question for key, text in texts.items()}
        text = "\n".join(f"{key:<24} {question or ''}" for key, question in questions.items())
        say([{"name": key, "question": question} for key, question in questions.items()], text, as_json)
    elif name in texts:
        say({"name": name, "yaml": texts[name]}, texts[name].rstrip(), as_json)
    else:
        raise RequestError(f"there is no study {name!r}: there are {', '.join(texts)}")


@app.command()
def regimes(
    name: Annotated[str | None, Argument(metavar="[NAME]", help="only this one")] = None, as_json: Json = False
) -> None:
    """Show the networks layer by layer, beside the paper's counts."""
    from trainers.regimes import REGIMES

    if name is not None and name not in REGIMES:
        raise RequestError(f"there is no regime {name!r}: there are {', '.join(REGIMES)}")
    documents = [
        {
            "name": known,
            "table": regime.table,
            "initialization": f"{regime.initialization} {regime.init_scale:g}",
            "layers": network_table(known),
        }
        for known, regime in REGIMES.items()
        if name in (None, known)
    ]
    say(documents, "\n\n".join(map(_regime_text, documents)), as_json)


@app.command()
def fields(name: One = None, as_json: Json = False) -> None:
    """List everything a spec may say, with defaults and choices."""
    from sweeps.commands.fields import row, spec_fields

    entries = _chosen(list(spec_fields()), "key", name, "a spec has no field", "gradsweep fields")
    say(entries, table(["field", "type~", "default~", "meaning~"], map(row, entries)), as_json)


@app.command()
def metrics(name: One = None, as_json: Json = False) -> None:
    """List what is recorded of every network and epoch, and what is where a spec asks for it."""
    from sweeps.commands.fields import recorded
    from trainers.measurements import MEASUREMENTS
    from trainers.metrics import PRECISION
    from trainers.regimes import REGIMES

    every = recorded()
    if name in MEASUREMENTS:
        entries = [entry for entry in every if entry["measure"] == name]
    else:
        entries = _chosen(every, "name", name, "there is no metric", "gradsweep metrics")
    asked = {entry["measure"]: None for entry in entries if entry["measure"]}
    columns = {"name": "metric", "per": "per", **({"measure": "measure"} if asked else {}), "line": "meaning~"}
    parts = [table([*columns.values()], [[entry[key] or "" for key in columns] for entry in entries])]
    if asked:
        own = {key: [regime for regime, of in REGIMES.items() if key in of.measure] for key in asked}
        lines = [[key, MEASUREMENTS[key].line, ", ".join(own[key])] for key in asked]
        text = f"Recorded where a spec asks for it, as in `measure: [{', '.join([*asked][:2])}]`"
        if any(own.values()):
            parts.append(table(["measure", "meaning~", "regime"], lines, f"{text}, and by default in the regime"))
        else:
            parts.append(table(["measure", "meaning~"], [line[:2] for line in lines], text))
    pers = {entry["per"] for entry in entries}
    if "layer" in pers:
        parts.append("NAME is a layer of the network: `gradsweep regimes` lists them")
    if any("gradient." in entry["name"] and not entry["measure"] for entry in entries):
        parts.append(PRECISION)
    if "step" in pers:
        parts.append("stepK is K steps before the last of a recurrent network, step0 the last")
    say(entries, "\n\n".join(parts), as_json)


def network_table(regime: str) -> list[dict[str, Any]]:
    """A regime's layers from the input on, with our parameter counts beside the paper's.

    `paper_counts` is what the paper's number is of, parameters or filters; None where the network is not its.
    """
    from trainers.layers import Dense, output_shapes, places
    from trainers.regimes import REGIMES, network

    layers, what = network(regime), REGIMES[regime].paper_counts_what
    papers = REGIMES[regime].paper_counts or [None] * len(layers)
    own = {
        place.name: sum(map(prod, place.tensors)) + sum(of.stop - of.start for of in place.learned.values())
        for place in places(layers)
    }
    return [
        {
            "layer": layer.name,
            "kind": _kind(layer),
            "output": shape,
            "parameters": own.get(layer.name, 0),
            "paper": paper,
            "paper_counts": None if paper is None else "parameters" if isinstance(layer, Dense) else what,
        }
        for layer, shape, paper in zip(layers, output_shapes(layers), papers, strict=True)
    ]


def _kind(layer: Layer) -> str:
    """What a layer is, with what follows it."""
    normalization = [] if layer.normalization == "none" else [f"{layer.normalization} normalization"]
    return ", ".join([layer.description, *normalization, *["residual"] * layer.residual])


def _regime_text(regime: dict[str, Any]) -> str:
    layers = [layer | {"output": "x".join(map(str, layer["output"]))} for layer in regime["layers"]]
    rows = [["" if value is None else value for value in layer.values()] for layer in layers]
    rows.append(["sum", "", "", sum(layer["parameters"] for layer in layers), "", ""])
    of_paper = f" (Table {regime['table']})" if regime["table"] else ""
    title = f"{regime['name']}{of_paper}, initial values {regime['initialization']}"
    return table(["layer", "kind", "output", "parameters#", "paper#", "paper counts"], rows, title)


def _chosen(entries: list[dict[str, Any]], key: str, name: str | None, rule: str, command: str) -> list[dict[str, Any]]:
    """All of them, or those with the name among the dotted words of their key."""
    if name is None:
        return entries
    if chosen := [e for e in entries if f".{name}." in f".{e[key]}."]:
        return chosen
    words = dict.fromkeys(word for e in entries for word in (e[key], e[key].rpartition(".")[2]))
    raise RequestError(f"{rule} {shown(name)}; {did_you_mean(name, words, f'`{command}` lists them')}")
