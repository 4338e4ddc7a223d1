"""The command `audit`: whether a sweep is sound: its ledger, MLflow, Optuna's database, and this machine.

A sweep that is running or stopped can be sound so far: what is still missing is mentioned, but is no problem.

Two runs of one spec give the same table to the bit, `seconds` apart, where no suggestion and no pruning depends on the
order in which results come in: with the samplers random, qmc and grid without a pruner always, with the others where
one pack is trained at a time (`resources.concurrent: 1`). What a run has been through makes no difference to that.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sweeps.commands import Json, Name, Store, app, say, typed
from trainers.errors import FAILED

if TYPE_CHECKING:
    import tracking.audit
    import tracking.store

MOST = 10  # so many problems of a law are shown as text; `--json` has all


@app.command()
def audit(name: Name, store: Store = None, as_json: Json = False) -> int:
    """Check that a sweep's records are complete and consistent.

    Its ledger, its mirrors in MLflow and Optuna, and its artifacts are held against each other.
    """
    audited = audit_of(name, store)
    say(audited, audit_text(audited), as_json)
    return 0 if audited["sound"] else FAILED


def audit_of(name: str, folder: str | None) -> dict[str, Any]:
    """Look at everything that a sweep has written, and write nothing; `sound` decides the exit status.

    `state` is running | stopped | finished; `laws` are in the order in which a record goes. Raises SearchError for no
    such sweep.
    """
    from sweeps.driver.status import look_at
    from sweeps.spec.reading import parse
    from sweeps.store_file import open_store
    from tracking.audit import audit
    from tracking.ledger import opened

    store = open_store(folder)
    status = look_at(name, store)
    state, ended, total = status["state"], status["ended"], status["total"]
    with opened(name, store) as (ledger, sweep):
        laws = audit(ledger, name, store, parse(sweep.spec, name, begun=True).tracking.uri)
    states, current = laws[0], laws[-1]
    if ended > total:
        states.problems.append(f"{ended} configurations have ended, but only {total} were asked for")
    states.pending = f"{total - ended} of {total} have not ended" if state != "finished" else ""
    if state == "finished" and current.pending:
        current.problems.append(f"{current.pending}: {typed('sync', name, store=folder)}")
        current.pending = ""
    laws.append(_left_behind(name, store, state))
    return {
        "name": name,
        "state": state,
        "sound": not any(law.problems for law in laws),
        "laws": [asdict(law) | {"holds": not law.problems} for law in laws],
    }


def _left_behind(name: str, store: tracking.store.Store, state: str) -> tracking.audit.Law:
    """No process of the sweep, and no file that only one that is running needs."""
    from sweeps.driver.orphans import files_of, processes_of
    from tracking.audit import Law
    from tracking.store import MARK

    law = Law("left behind", "processes of this machine, files of the store")
    if state == "running":
        law.pending = "the sweep is running"
        return law
    law.problems += [f"process {number}: {line}" for number, line in processes_of(name, store).items()]
    states = [file for file in store.states(name).glob("*") if file.name != MARK]
    files = sorted({*files_of(name, store), *states})
    if state == "finished":
        law.problems += [f"file {file}" for file in files]
    elif files:
        law.pending = f"{len(files)} files wait for a resume"
    return law


def audit_text(audit: dict[str, Any]) -> str:
    """One line per rule with its problems below it, and the verdict."""
    lines = []
    for law in audit["laws"]:
        verdict = "holds" if law["holds"] else "BROKEN"
        pending = f"; pending: {law['pending']}" if law["pending"] else ""
        lines.append(f"{law['name']:<15} {verdict:<8} {law['checked']}{pending}")
        lines += [f"{'':<15} - {problem}" for problem in law["problems"][:MOST]]
        if (more := len(law["problems"]) - MOST) > 0:
            lines.append(f"{'':<15} - and {more} more (--json has all)")
    to_come = any(law["pending"] for law in audit["laws"])
    word = "not sound" if not audit["sound"] else "sound so far" if to_come else "sound"
    return "\n".join([*lines, f"{audit['name']} ({audit['state']}): {word}"])
