"""The command `run`: a sweep here, with live progress, to its verdict."""

from __future__ import annotations

import json
import logging
import os
import shlex
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sweeps.driver.signals import Interrupt, Interrupted
from sweeps.targets.target import READY_LINE, RESUME_COMMAND
from trainers.errors import is_wrong_request

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sweeps.display import Display
    from sweeps.driver.driver import Progress

log = logging.getLogger("gradsweep")


def run(
    source: str,
    settings: Sequence[str],
    name: str | None,
    folder: str | None,
    *,
    resume: bool,
    executor: str,
    as_json: bool,
) -> int:
    """Run a sweep and print its verdict; the exit status."""
    command = os.environ.get(RESUME_COMMAND) or _resuming(source, settings, name, folder, executor)
    again = f"Interrupted. To continue: {command}"
    with Interrupt(lambda: print(again, file=sys.stderr, flush=True)) as interrupt:
        from sweeps.driver.sweep import run as run_sweep
        from sweeps.spec.checks import undecidable
        from sweeps.spec.reading import read
        from sweeps.store_file import open_store

        spec, store = read(source, settings, name), open_store(folder)
        for line in undecidable(spec):
            log.warning(line)
        try:
            outcome = run_sweep(spec, store, interrupt, executor=executor, resume=resume, show=_begun)
        except Interrupted as signal:
            print("Interrupted before the sweep began.", file=sys.stderr)
            return signal.exit_status
        except Exception as error:
            if not is_wrong_request(error):
                log.error("The sweep has stopped. To continue: %s", command)
            raise
    viewing = shlex.join(["gradsweep", "ui", "--store", str(store.where)])
    if outcome.lag.waiting:
        log.warning(
            "%d configurations are not in MLflow yet (%s): to write them: gradsweep sync %s",
            outcome.lag.waiting,
            outcome.lag.problem or "no time left",
            spec.name,
        )
    if as_json:
        print(json.dumps(_document(outcome, str(store.where), viewing, command), indent=2, allow_nan=False))
    elif outcome.verdict:
        from sweeps.commands.results import verdict_text

        print(verdict_text(outcome.verdict))
        print(f"\nIn the browser: {viewing}")
    if outcome.interrupted is not None:
        print(again, file=sys.stderr)
        return outcome.interrupted
    for reason, count in outcome.failures.items():
        log.warning("%d of %d configurations failed: %s", count, outcome.counts.total, reason)
    return 1 if outcome.failures or not outcome.counts.complete else 0


def _begun(name: str, state: Callable[[], Progress]) -> Display:
    from sweeps.display import Display

    if RESUME_COMMAND in os.environ:
        print(READY_LINE, file=sys.stderr, flush=True)
    return Display(name, state)


def _resuming(spec: str, settings: Sequence[str], name: str | None, store: str | None, executor: str) -> str:
    words = ["gradsweep", "run", spec, "--resume"]
    words += [w for key, value in (("--name", name), ("--store", store)) if value for w in (key, value)]
    words += [w for setting in settings for w in ("--set", setting)]
    words += ["--executor", executor] if executor != "ray" else []
    return shlex.join(words)


def _document(outcome: Any, store: str, viewing: str, again: str) -> dict[str, Any]:
    return {
        "name": outcome.spec.name,
        "store": store,
        "interrupted": outcome.interrupted is not None,
        "counts": asdict(outcome.counts),
        "failures": dict(outcome.failures),
        "undelivered": outcome.lag.waiting,
        "verdict": asdict(outcome.verdict) if outcome.verdict else None,
        "ui": viewing,
        "resume": again if outcome.interrupted is not None else None,
    }
