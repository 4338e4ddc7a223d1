"""The commands that train here: run a spec, or more of a sweep; and what a spec would run."""

from __future__ import annotations

import logging
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Option

from sweeps.commands import Json, Name, OtherName, Resume, Settings, Spec, Store, app, say, typed
from sweeps.commands.text import duration, facts
from sweeps.driver.signals import Interrupt, Interrupted
from sweeps.environment import MIRROR_SECONDS
from sweeps.targets.target import RESUME_COMMAND, SYNC_COMMAND, UI_COMMAND
from trainers.errors import RequestError, is_wrong_request

if TYPE_CHECKING:
    from sweeps.spec.reading import SweepSpec

log = logging.getLogger("gradsweep")

Executor = Annotated[Literal["ray", "in-process"], Option(help="what trains the packs; in-process needs no Ray")]


@app.command()
def run(
    spec: Spec,
    name: OtherName = None,
    settings: Settings = None,
    store: Store = None,
    resume: Resume = False,
    executor: Executor = "ray",
    as_json: Json = False,
) -> int:
    """Run a sweep here and wait: live progress, then the verdict."""
    settings = settings or []
    options = [("--name", name), ("--store", store), *(("--set", setting) for setting in settings)]
    again = _command("run", spec, [*options, ("--executor", executor if executor != "ray" else None)], "--resume")
    return _carry_out(lambda: _read(spec, settings, name), store, executor, resume, again, as_json)


@app.command()
def extend(
    name: Name,
    configurations: Annotated[int | None, Option(help="how many to search in all, besides the arms")] = None,
    seeds: Annotated[str | None, Option(help="how many seeds in all, or a list of them: [0, 1, 7]")] = None,
    epochs: Annotated[int | None, Option(help="how many epochs in all, of what base says")] = None,
    arm: Annotated[
        list[str] | None, Option(metavar="NAME={...}", help="another arm, as wide={units: 16}; repeatable")
    ] = None,
    spec: Annotated[
        Path | None, Option(metavar="FILE", help="a whole spec, with more of anything, or other claims")
    ] = None,
    store: Store = None,
    executor: Executor = "ray",
    as_json: Json = False,
) -> int:
    """Train more of a sweep: configurations, seeds, epochs, arms or claims.

    What is there is kept and not trained again; epochs continue from kept states (resources.keep: states).
    """
    keys = {"search.configurations": configurations, "seeds": seeds, "base.epochs": epochs}
    settings = [f"{key}={value}" for key, value in keys.items() if value is not None]
    settings += [f"arms.{text}" for text in arm or ()]
    if not settings and spec is None:
        raise RequestError("nothing to extend: give --configurations, --seeds, --epochs, --arm or --spec")
    given = {"configurations": configurations, "seeds": seeds, "epochs": epochs, "spec": spec}
    options = [(f"--{word}", None if value is None else str(value)) for word, value in given.items()]
    options += [("--arm", text) for text in arm or ()]
    options += [("--store", store), ("--executor", executor if executor != "ray" else None)]
    again = _command("extend", name, options)
    return _carry_out(lambda: _extended(name, settings, spec, store), store, executor, True, again, as_json)


def _command(verb: str, what: str, options: Sequence[tuple[str, str | None]], *flags: str) -> str:
    """A command as it is typed; without the options that are not given."""
    words = [word for option, value in options if value for word in (option, value)]
    return os.environ.get(RESUME_COMMAND) or shlex.join(["gradsweep", verb, what, *flags, *words])


def _read(spec: str, settings: list[str], name: str | None) -> SweepSpec:
    from sweeps.spec.reading import read

    return read(spec, settings, name)


def _extended(name: str, settings: list[str], file: Path | None, store: str | None) -> SweepSpec:
    from sweeps.library import extended_spec
    from sweeps.store_file import open_store

    return extended_spec(name, open_store(store), settings, file)


def _carry_out(
    read: Callable[[], SweepSpec], store: str | None, executor: str, resume: bool, command: str, as_json: bool
) -> int:
    """Run a sweep with live progress and say how it ended; `command` continues it. Gives the exit status."""
    again = f"Interrupted. To continue: {command}"
    with Interrupt(lambda: print(again, file=sys.stderr, flush=True)) as interrupt:
        from sweeps.commands.results import in_short, verdict_text
        from sweeps.disk import shortage
        from sweeps.display import display
        from sweeps.driver.sweep import run as run_sweep
        from sweeps.plan import disk_bytes, too_few_seeds
        from sweeps.spec.checks import doubts
        from sweeps.store_file import open_store

        asked, place = read(), open_store(store)
        for line in [*doubts(asked), *too_few_seeds(asked), *shortage(disk_bytes(asked), place)]:
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
    if lag.waiting and os.environ.get(MIRROR_SECONDS):
        log.info("%d configurations are not in MLflow yet; the mirror job delivers them", lag.waiting)
    elif lag.waiting:
        missing = f"{lag.waiting} configurations are not in MLflow yet ({lag.problem or 'no time left'})"
        sync = os.environ.get(SYNC_COMMAND) or typed("sync", asked.name, store=str(place.where))
        log.warning("%s: to write them: %s", missing, sync)
    viewing = os.environ.get(UI_COMMAND) or typed("ui", store=str(place.where))
    uri, background = asked.tracking.uri, RESUME_COMMAND in os.environ
    browser = f"In the browser{f' (the records are in {uri})' if uri else ''}: {viewing}"
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
        texts = [verdict_text(verdict), browser, *([in_short(verdict)] if background else [])] if verdict else []
        say(document, "\n\n".join(texts), as_json)
        # What comes after it is on standard error, and both may be one file.
        sys.stdout.flush()
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
    from sweeps.plan import plan_of, too_few_seeds
    from sweeps.spec.checks import doubts
    from sweeps.spec.reading import read

    asked = read(spec, settings or [])
    planned = plan_of(asked)
    for line in [*doubts(asked), *too_few_seeds(asked)]:
        log.warning(line)
    say(planned, plan_text(planned), as_json)


def plan_text(plan: dict[str, Any]) -> str:
    """One line per fact."""
    from sweeps.disk import shown
    from sweeps.spec.values import span

    confirmed = f"at most {plan['confirmed']} of them, on {plan['fresh_seeds']} fresh seeds"
    device = f"{plan['cpus']} CPU" + (f" and {plan['gpus']:g} GPU" if plan["gpus"] else "")
    at_once = f"{plan['at_once']} at a time" if isinstance(plan["at_once"], int) else plan["at_once"]
    trained = f"of at most {plan['epochs']} epochs each" if plan["epochs"] else "at their initial values alone"
    seconds, memory, within = plan["seconds"], plan["device_memory"], plan["within"]
    lines = {
        "sweep": plan["name"],
        "question": plan["question"] or "none stated",
        "configurations": f"{plan['configurations']} ({plan['arms']} arms, {plan['searched']} searched)",
        "searched": "; ".join(f"{key} {_values(what)}" for key, what in plan["space"].items()) or None,
        "before results": plan["searched"] and _before_results(plan),
        "objective": "; ".join(plan["objectives"]),
        "seeds": plan["seeds"],
        "confirmed": confirmed if plan["confirmed"] else "none",
        "networks": f"{plan['members']}, {trained}",
        "layers": "; ".join(map(_layers, plan["layers"])),
        "packs": f"{plan['packs']} of at most {plan['pack']} configurations",
        "resources": f"{device} per pack, {at_once}",
        "device memory": memory and _device_memory(memory, plan["gpus"]),
        "time": "unknown" if seconds is None else f"{duration(seconds)} (from measured times, without pruning)",
        "disk": f"about {shown(plan['disk_bytes'])} of records, in the store",
        "from": plan["from"] and f"{plan['from']}: its results in this space are told to the sampler, in no claim",
        "within": within and f"{span(within)}, then the sweep stops; a resume has the whole time again",
        "notify": plan["notify"],
    }
    return facts((name, line) for name, line in lines.items() if line)


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


def _before_results(plan: dict[str, Any]) -> str:
    """How many configurations are handed out before any result is known, and when a finite space ends."""
    text = f"{plan['before_results']} configurations are handed out before any result is known"
    if plan["points"]:
        text += f"; the space has {plan['points']} points, and the search ends once all have been tried"
    return text


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
