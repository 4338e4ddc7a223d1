"""The command `run`: a sweep here, with live progress, to its verdict."""

from __future__ import annotations

import logging
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict

from sweeps.commands import say
from sweeps.driver.ready_signal import RESUME_COMMAND
from sweeps.driver.signals import Interrupt, Interrupted
from trainers.errors import is_wrong_request

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
        from sweeps.commands.results import verdict_text
        from sweeps.display import display
        from sweeps.driver.sweep import run as run_sweep
        from sweeps.spec.checks import undecidable
        from sweeps.spec.reading import read
        from sweeps.store_file import open_store

        spec, store = read(source, settings, name), open_store(folder)
        for line in undecidable(spec):
            log.warning(line)
        try:
            outcome = run_sweep(spec, store, interrupt, executor=executor, resume=resume, show=display)
        except Interrupted as signal:
            print("Interrupted before the sweep began.", file=sys.stderr)
            return signal.exit_status
        except Exception as error:
            if not is_wrong_request(error):
                log.error("The sweep has stopped. To continue: %s", command)
            raise
    if outcome.lag.waiting:
        log.warning(
            "%d configurations are not in MLflow yet (%s): to write them: gradsweep sync %s",
            outcome.lag.waiting,
            outcome.lag.problem or "no time left",
            spec.name,
        )
    viewing = shlex.join(["gradsweep", "ui", "--store", str(store.where)])
    document = {
        "name": spec.name,
        "store": str(store.where),
        "interrupted": outcome.interrupted is not None,
        "counts": asdict(outcome.counts),
        "failures": outcome.failures,
        "undelivered": outcome.lag.waiting,
        "verdict": outcome.verdict and asdict(outcome.verdict),
        "ui": viewing,
        "resume": None if outcome.interrupted is None else command,
    }
    if as_json or outcome.verdict:
        text = f"{verdict_text(outcome.verdict)}\n\nIn the browser: {viewing}" if outcome.verdict else ""
        say(document, text, as_json)
    if outcome.interrupted is not None:
        print(again, file=sys.stderr)
        return outcome.interrupted
    for reason, count in outcome.failures.items():
        log.warning("%d of %d configurations failed: %s", count, outcome.counts.total, reason)
    return 1 if outcome.failures or not outcome.counts.complete else 0


def _resuming(spec: str, settings: Sequence[str], name: str | None, store: str | None, executor: str) -> str:
    options = [("--name", name), ("--store", store), *(("--set", setting) for setting in settings)]
    options.append(("--executor", executor if executor != "ray" else None))
    words = [word for option, value in options if value for word in (option, value)]
    return shlex.join(["gradsweep", "run", spec, "--resume", *words])
