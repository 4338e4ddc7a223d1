"""Whether a sweep is sound: its ledger, MLflow, Optuna's database and this machine, held against each other.

    >>> audit("alpha-r", Store.at("store")).sound
    True

A sweep that is running or stopped can be sound so far: what is still missing is mentioned, but is no problem.

Two runs of one spec give the same table to the bit, `seconds` apart, where no suggestion and no pruning depends on the
order in which results come in: with the samplers random, qmc and grid without a pruner always, with the others where
one pack is trained at a time (`resources.concurrent: 1`). What a run has been through makes no difference to that.
"""

from __future__ import annotations

from dataclasses import dataclass

from sweeps.driver.orphans import files_of, processes_of
from sweeps.driver.status import counts_of, opened
from sweeps.spec.reading import parse
from tracking.audit import Law
from tracking.audit import audit as audit_records
from tracking.locks import holder
from tracking.store import Store


@dataclass(frozen=True)
class Audit:
    """What an audit showed; `state` is running | stopped | finished, `laws` in the order in which a record goes."""

    name: str
    state: str
    laws: tuple[Law, ...]

    @property
    def sound(self) -> bool:
        """Whether no law is broken; what is pending breaks none."""
        return not any(law.problems for law in self.laws)


def audit(name: str, store: Store) -> Audit:
    """Look at everything that a sweep has written, and write nothing. Raises SearchError for no such sweep."""
    driver = holder(store.ledger_url, name, store.lock_file(name))
    with opened(name, store) as (ledger, sweep):
        spec = parse(sweep.spec, name)
        counts = counts_of(spec, ledger.configurations(sweep))
        laws = audit_records(ledger, name, store, spec.tracking.uri)
    state = "running" if driver else "finished" if counts.ended >= counts.total else "stopped"
    states, current = laws[0], laws[-1]
    if counts.ended > counts.total:
        states.problems.append(f"{counts.ended} configurations have ended, but only {counts.total} were asked for")
    states.pending = f"{counts.total - counts.ended} of {counts.total} have not ended" if state != "finished" else ""
    if state == "finished" and current.pending:
        current.problems.append(f"{current.pending}: gradsweep sync {name} sends them")
        current.pending = ""
    return Audit(name, state, (*laws, _left_behind(name, store, state)))


def _left_behind(name: str, store: Store, state: str) -> Law:
    """No process of the sweep, and no file that only one that is running needs."""
    law = Law("left behind", "processes of this machine, files of the store")
    if state == "running":
        law.pending = "the sweep is running"
        return law
    law.problems += [f"process {number}: {line}" for number, line in processes_of(name, store).items()]
    files = sorted({*files_of(name, store), *store.states(name).glob("*")})
    if state == "finished":
        law.problems += [f"file {file}" for file in files]
    elif files:
        law.pending = f"{len(files)} files wait for a resume"
    return law
