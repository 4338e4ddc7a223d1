"""The commands that only look: plan, studies, regimes."""

from __future__ import annotations

import logging
from dataclasses import asdict
from math import prod
from typing import Any

from sweeps.commands.text import duration, table
from sweeps.device_memory import GB
from trainers.errors import RequestError

log = logging.getLogger("gradsweep")

BY_TABLE = " (from measured times, without pruning)"


def plan(source: str, settings: list[str]) -> dict[str, Any]:
    """What a spec would run."""
    from sweeps.plan import plan_of
    from sweeps.spec.checks import undecidable
    from sweeps.spec.reading import read

    spec = read(source, settings)
    planned = plan_of(spec)
    for line in undecidable(spec):
        log.warning(line)
    return asdict(planned) | {"configurations": planned.configurations}


def plan_text(plan: dict[str, Any]) -> str:
    """One line per fact."""
    device = f"{plan['cpus']} CPU" + (f" and {plan['gpus']:g} GPU" if plan["gpus"] else "")
    at_once = f"{plan['at_once']} at a time" if isinstance(plan["at_once"], int) else plan["at_once"]
    seconds = plan["seconds"]
    time = "unknown" if seconds is None else duration(seconds) + BY_TABLE
    lines = [
        ("sweep", plan["name"]),
        ("question", plan["question"] or "none stated"),
        ("configurations", f"{plan['configurations']} ({plan['arms']} arms, {plan['searched']} searched)"),
        ("seeds", plan["seeds"]),
        (
            "confirmed",
            f"at most {plan['confirmed']} of them, on {plan['fresh_seeds']} fresh seeds"
            if plan["confirmed"]
            else "none",
        ),
        ("networks", f"{plan['members']}, of at most {plan['epochs']} epochs each"),
        ("packs", f"{plan['packs']} of at most {plan['pack']} configurations"),
        ("resources", f"{device} per pack, {at_once}"),
        ("time", time),
    ]
    if plan["device_memory"]:
        lines.insert(-1, ("device memory", _device_memory(plan)))
    return "\n".join(f"{name:<15} {value}" for name, value in lines)


def _device_memory(plan: dict[str, Any]) -> str:
    need = plan["device_memory"]
    part = f"{plan['gpus']:g} of " if plan["gpus"] < 1 else ""
    here = "" if need["here"] is None else f"; {need['here']} at a time on this machine"
    return (
        f"{need['pack'] / GB:.1f} GB for a pack's {need['members']} members at once, {part}a GPU of "
        f"{need['device'] / GB:.1f} GB; in parts down to {need['least_device'] / GB:.1f} GB{here}"
    )


def studies(name: str | None) -> Any:
    """The shipped studies: name and question of each, or one with its YAML."""
    from sweeps.spec.reading import parse
    from sweeps.spec.reading import studies as shipped

    texts = shipped()
    if name is not None:
        if name not in texts:
            raise RequestError(f"there is no study {name!r}: there are {', '.join(texts)}")
        return {"name": name, "yaml": texts[name]}
    return [{"name": key, "question": parse(text, key).question} for key, text in texts.items()]


def studies_text(studies: Any) -> str:
    """A line each, or the YAML as it is."""
    if isinstance(studies, dict):
        return str(studies["yaml"]).rstrip()
    return "\n".join(f"{s['name']:<24} {s['question'] or ''}" for s in studies)


def regimes(name: str | None) -> list[dict[str, Any]]:
    """Every regime, or one, layer by layer from the input on, with our parameter counts beside the paper's."""
    from trainers.regimes import REGIMES

    if name is not None and name not in REGIMES:
        raise RequestError(f"there is no regime {name!r}: there are {', '.join(REGIMES)}")
    return [
        {
            "name": known,
            "table": regime.table,
            "initialization": f"{regime.initialization} {regime.init_scale:g}",
            "layers": _layers(known),
        }
        for known, regime in REGIMES.items()
        if name in (None, known)
    ]


def _layers(regime: str) -> list[dict[str, Any]]:
    """`paper_counts` is what the paper's number is of, parameters or filters; None where the network is not its."""
    from trainers.layers import Dense, output_shapes, places
    from trainers.regimes import REGIMES, network

    layers, what = network(regime), REGIMES[regime].paper_counts_what
    papers = REGIMES[regime].paper_counts or [None] * len(layers)
    own = {place.name: sum(map(prod, place.tensors)) for place in places(layers)}
    return [
        {
            "layer": layer.name,
            "kind": layer.description,
            "output": shape,
            "parameters": own.get(layer.name, 0),
            "paper": paper,
            "paper_counts": None if paper is None else "parameters" if isinstance(layer, Dense) else what,
        }
        for layer, shape, paper in zip(layers, output_shapes(layers), papers, strict=True)
    ]


def regimes_text(regimes: list[dict[str, Any]]) -> str:
    """A table each."""
    return "\n\n".join(_regime_text(regime) for regime in regimes)


def _regime_text(regime: dict[str, Any]) -> str:
    layers = regime["layers"]
    rows = [
        (
            layer["layer"],
            layer["kind"],
            "x".join(map(str, layer["output"])),
            layer["parameters"],
            "" if layer["paper"] is None else layer["paper"],
            layer["paper_counts"] or "",
        )
        for layer in layers
    ]
    rows.append(("sum", "", "", sum(layer["parameters"] for layer in layers), "", ""))
    of_paper = f" (Table {regime['table']})" if regime["table"] else ""
    title = f"{regime['name']}{of_paper}, initial values {regime['initialization']}"
    return table(["layer", "kind", "output", "parameters#", "paper#", "paper counts"], rows, title)
