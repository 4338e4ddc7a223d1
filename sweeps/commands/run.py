"""The commands on a spec, here: run it, or plan it."""

from __future__ import annotations

import logging
import os
import shlex
import sys
from dataclasses import asdict
from typing import Annotated, Any, Literal

from typer import Option

from sweeps.commands import Json, OtherName, Resume, Settings, Spec, Store, app, say
from sweeps.commands.text import duration, facts
from sweeps.driver.signals import Interrupt, Interrupted
from sweeps.targets.target import RESUME_COMMAND
from trainers.errors import is_wrong_request

log = logging.getLogger("gradsweep")


@app.command()
def run(
    spec: Spec,
    name: OtherName = None,
    settings: Settings = None,
    store: Store = None,
    resume: Resume = False,
    executor: Annotated[
        Literal["ray", "in-process"], Option(help="what trains the packs; in-process needs no Ray")
    ] = "ray",
    as_json: Json = False,
) -> int:
    """Run a sweep here and wait: live progress, then the verdict."""
    settings = settings or []
    options = [("--name", name), ("--store", store), *(("--set", setting) for setting in settings)]
    options.append(("--executor", executor if executor != "ray" else None))
    words = [word for option, value in options if value for word in (option, value)]
    command = os.environ.get(RESUME_COMMAND) or shlex.join(["gradsweep", "run", spec, "--resume", *words])
    again = f"Interrupted. To continue: {command}"
    with Interrupt(lambda: print(again, file=sys.stderr, flush=True)) as interrupt:
        from sweeps.commands.results import verdict_text
        from sweeps.display import display
        from sweeps.driver.sweep import run as run_sweep
        from sweeps.spec.checks import doubts
        from sweeps.spec.reading import read
        from sweeps.store_file import open_store

        asked, place = read(spec, settings, name), open_store(store)
        for line in doubts(asked):
            log.warning(line)
        try:
            outcome = run_sweep(asked, place, interrupt, executor=executor, resume=resume, show=display)
        except Interrupted as signal:
            print("Interrupted before the sweep began.", file=sys.stderr)
            return signal.exit_status
        except Exception as error:
            if not is_wrong_request(error):
                log.error("The sweep has stopped. To continue: %s", command)
            raise
    counts, failures, lag, verdict = outcome.counts, outcome.failures, outcome.lag, outcome.verdict
    if lag.waiting:
        missing = f"{lag.waiting} configurations are not in MLflow yet ({lag.problem or 'no time left'})"
        log.warning("%s: to write them: gradsweep sync %s", missing, asked.name)
    viewing = shlex.join(["gradsweep", "ui", "--store", str(place.where)])
    document = {
        "name": asked.name,
        "store": str(place.where),
        "interrupted": outcome.interrupted is not None,
        "time_is_up": bool(outcome.time_is_up),
        "counts": asdict(counts),
        "failures": failures,
        "undelivered": lag.waiting,
        "verdict": verdict and asdict(verdict),
        "ui": viewing,
        "resume": command if outcome.time_is_up or outcome.interrupted is not None else None,
    }
    if as_json or verdict:
        say(document, f"{verdict_text(verdict)}\n\nIn the browser: {viewing}" if verdict else "", as_json)
    if outcome.interrupted is not None:
        print(again, file=sys.stderr)
        return outcome.interrupted
    for reason, count in failures.items():
        log.warning("%d of %d configurations failed: %s", count, counts.total, reason)
    if outcome.time_is_up:
        print(f"{outcome.time_is_up} To continue: {command}", file=sys.stderr)
        return 1 if failures else 0
    return 1 if failures or not counts.complete else 0


@app.command()
def plan(spec: Spec, settings: Settings = None, as_json: Json = False) -> None:
    """Show what a spec would run, and about how long it takes."""
    from sweeps.plan import plan_of
    from sweeps.spec.checks import doubts
    from sweeps.spec.reading import read

    asked = read(spec, settings or [])
    planned = plan_of(asked)
    for line in doubts(asked):
        log.warning(line)
    say(planned, plan_text(planned), as_json)


def plan_text(plan: dict[str, Any]) -> str:
    """One line per fact."""
    from sweeps.spec.values import span

    confirmed = f"at most {plan['confirmed']} of them, on {plan['fresh_seeds']} fresh seeds"
    device = f"{plan['cpus']} CPU" + (f" and {plan['gpus']:g} GPU" if plan["gpus"] else "")
    at_once = f"{plan['at_once']} at a time" if isinstance(plan["at_once"], int) else plan["at_once"]
    seconds, memory, within = plan["seconds"], plan["device_memory"], plan["within"]
    lines = {
        "sweep": plan["name"],
        "question": plan["question"] or "none stated",
        "configurations": f"{plan['configurations']} ({plan['arms']} arms, {plan['searched']} searched)",
        "searched": "; ".join(f"{key} {_values(what)}" for key, what in plan["space"].items()) or None,
        "objective": "; ".join(plan["objectives"]),
        "seeds": plan["seeds"],
        "confirmed": confirmed if plan["confirmed"] else "none",
        "networks": f"{plan['members']}, of at most {plan['epochs']} epochs each",
        "layers": "; ".join(map(_layers, plan["layers"])),
        "packs": f"{plan['packs']} of at most {plan['pack']} configurations",
        "resources": f"{device} per pack, {at_once}",
        "device memory": memory and _device_memory(memory, plan["gpus"]),
        "time": "unknown" if seconds is None else f"{duration(seconds)} (from measured times, without pruning)",
        "within": within and f"{span(within)}, then the sweep stops; a resume has the whole time again",
        "notify": plan["notify"],
    }
    return facts((name, line) for name, line in lines.items() if line is not None)


def _values(what: Any) -> str:
    """A range or a choice of the plan, and its condition."""
    if not isinstance(what, dict):
        return " | ".join(map(str, what))
    ends = f"{what['low']:g} to {what['high']:g}{' (log)' * what.get('log', False)}" if "low" in what else ""
    several = {
        field: allowed if isinstance(allowed, tuple) else [allowed] for field, allowed in what.get("when", {}).items()
    }
    when = " and ".join(f"{field} is {' or '.join(map(str, allowed))}" for field, allowed in several.items())
    return (ends or _values(what["values"])) + f" when {when}" * bool(when)


def _layers(network: dict[str, Any]) -> str:
    of = network["of"]
    names = f"{', '.join(of[:3])}{f' and {len(of) - 3} more' if len(of) > 3 else ''}"
    return f"{names}: {network['layers']} layers, {network['parameters']:,} parameters"


def _device_memory(memory: dict[str, Any], gpus: float) -> str:
    pack, device, least = (f"{memory[key] / 2**30:.1f} GB" for key in ("pack", "device", "least_device"))
    part = f"{gpus:g} of " if gpus < 1 else ""
    here = "" if memory["here"] is None else f"; {memory['here']} at a time on this machine"
    members = f"a pack's {memory['members']} members at once"
    return f"{pack} for {members}, {part}a GPU of {device}; in parts down to {least}{here}"
