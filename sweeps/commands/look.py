"""The commands that only look: plan, studies, regimes."""

from __future__ import annotations

import logging
from math import prod
from typing import Any

from sweeps.commands.text import duration, facts, table
from trainers.errors import RequestError

log = logging.getLogger("gradsweep")


def plan(source: str, settings: list[str]) -> tuple[dict[str, Any], str]:
    """What a spec would run."""
    from sweeps.plan import plan_of
    from sweeps.spec.checks import undecidable
    from sweeps.spec.reading import read

    spec = read(source, settings)
    planned = plan_of(spec)
    for line in undecidable(spec):
        log.warning(line)
    return planned, plan_text(planned)


def plan_text(plan: dict[str, Any]) -> str:
    """One line per fact."""
    confirmed = f"at most {plan['confirmed']} of them, on {plan['fresh_seeds']} fresh seeds"
    device = f"{plan['cpus']} CPU" + (f" and {plan['gpus']:g} GPU" if plan["gpus"] else "")
    at_once = f"{plan['at_once']} at a time" if isinstance(plan["at_once"], int) else plan["at_once"]
    seconds, memory = plan["seconds"], plan["device_memory"]
    lines = {
        "sweep": plan["name"],
        "question": plan["question"] or "none stated",
        "configurations": f"{plan['configurations']} ({plan['arms']} arms, {plan['searched']} searched)",
        "seeds": plan["seeds"],
        "confirmed": confirmed if plan["confirmed"] else "none",
        "networks": f"{plan['members']}, of at most {plan['epochs']} epochs each",
        "packs": f"{plan['packs']} of at most {plan['pack']} configurations",
        "resources": f"{device} per pack, {at_once}",
        "device memory": memory and _device_memory(memory, plan["gpus"]),
        "time": "unknown" if seconds is None else f"{duration(seconds)} (from measured times, without pruning)",
    }
    return facts((name, line) for name, line in lines.items() if line is not None)


def _device_memory(memory: dict[str, Any], gpus: float) -> str:
    pack, device, least = (f"{memory[key] / 2**30:.1f} GB" for key in ("pack", "device", "least_device"))
    part = f"{gpus:g} of " if gpus < 1 else ""
    here = "" if memory["here"] is None else f"; {memory['here']} at a time on this machine"
    members = f"a pack's {memory['members']} members at once"
    return f"{pack} for {members}, {part}a GPU of {device}; in parts down to {least}{here}"


def studies(name: str | None) -> tuple[Any, str]:
    """The shipped studies: name and question of each, or one with its YAML."""
    from sweeps.spec.reading import parse
    from sweeps.spec.reading import studies as shipped

    texts = shipped()
    if name is None:
        questions = {key: parse(text, key).question for key, text in texts.items()}
        listed = [{"name": key, "question": question} for key, question in questions.items()]
        return listed, "\n".join(f"{key:<24} {question or ''}" for key, question in questions.items())
    if name not in texts:
        raise RequestError(f"there is no study {name!r}: there are {', '.join(texts)}")
    return {"name": name, "yaml": texts[name]}, texts[name].rstrip()


def regimes(name: str | None) -> tuple[list[dict[str, Any]], str]:
    """Every regime, or one, layer by layer from the input on, with our parameter counts beside the paper's."""
    from trainers.regimes import REGIMES

    if name is not None and name not in REGIMES:
        raise RequestError(f"there is no regime {name!r}: there are {', '.join(REGIMES)}")
    shown = [
        {
            "name": known,
            "table": regime.table,
            "initialization": f"{regime.initialization} {regime.init_scale:g}",
            "layers": _layers(known),
        }
        for known, regime in REGIMES.items()
        if name in (None, known)
    ]
    return shown, "\n\n".join(map(_regime_text, shown))


def _layers(regime: str) -> list[dict[str, Any]]:
    """`paper_counts` is what the paper's number is of, parameters or filters; None where the network is not its."""
    from trainers.layers import Dense, output_shapes, parameter_shapes
    from trainers.regimes import REGIMES, network

    layers, what = network(regime), REGIMES[regime].paper_counts_what
    papers = REGIMES[regime].paper_counts or [None] * len(layers)
    own = {layer: sum(map(prod, shapes)) for layer, shapes in parameter_shapes(layers)}
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


def _regime_text(regime: dict[str, Any]) -> str:
    rows = [layer | {"output": "x".join(map(str, layer["output"]))} for layer in regime["layers"]]
    rows.append({"layer": "sum", "parameters": sum(layer["parameters"] for layer in rows)})
    of_paper = f" (Table {regime['table']})" if regime["table"] else ""
    title = f"{regime['name']}{of_paper}, initial values {regime['initialization']}"
    columns = {
        "layer": "layer",
        "kind": "kind",
        "output": "output",
        "parameters": "parameters#",
        "paper": "paper#",
        "paper_counts": "paper counts",
    }
    cells = [["" if row.get(key) is None else row[key] for key in columns] for row in rows]
    return table([*columns.values()], cells, title)
