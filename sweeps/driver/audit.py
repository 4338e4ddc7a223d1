"""Whether a sweep is sound: what Optuna, the spool, MLflow and this machine say of it, held against each other.

    >>> found = audit("alpha-r", Store.at("store"))
    >>> found.sound
    True

A sweep that is running, or has been stopped, is sound as far as it is: what is still to come is said, not blamed.

Two runs of one spec give the same table to the bit, `seconds` apart, where no suggestion and no pruning depends on the
order in which results come in: with the samplers random, qmc and grid without a pruner always, with the others where
one pack is trained at a time (`resources.concurrent: 1`). What a run has been through makes no difference to that.
"""

from __future__ import annotations

from dataclasses import dataclass

from search_spaces.search import Search
from sweeps.driver.lock import holder
from sweeps.driver.orphans import files_of, must_be_here, processes_of
from sweeps.driver.status import opened
from sweeps.spec.reading import parse
from tracking.audit import Books, Law, read_books
from tracking.audit import audit as audit_records
from tracking.store import Store


@dataclass(frozen=True)
class Audit:
    """What an audit found; `state` is running | stopped | finished, `laws` in the order in which a record goes."""

    name: str
    state: str
    laws: tuple[Law, ...]

    @property
    def sound(self) -> bool:
        """Whether no law is broken; what is pending breaks none."""
        return not any(law.problems for law in self.laws)


def audit(name: str, store: Store) -> Audit:
    """Look at everything that a sweep has written, and write nothing.

    Raises SearchError for no such sweep, RequestError where its records are on another machine.
    """
    # First who is at work, then the spool, then Optuna: it is told before the spool is.
    driver = holder(store.lock_file(name))
    books = read_books(name, store)
    search = opened(name, store)
    try:
        must_be_here(name, store)
        uri = parse(search.attributes["spec"], name).tracking.uri
        ends, total = _ends(search, books, driver is not None), search.counts().total
    finally:
        search.close()
    ended = sum(c.state != "running" for c in books.configurations.values())
    state = "running" if driver else "finished" if ended >= total else "stopped"
    laws = (
        ends,
        *audit_records(name, store, uri, books, running=driver is not None),
        _delivered(name, books, state),
        _left_behind(name, store, state),
    )
    return Audit(name, state, laws)


def _ends(search: Search, books: Books, running: bool) -> Law:
    """Every configuration is in exactly one final state in Optuna, and in the same one in the spool."""
    states, total = search.states(), search.counts().total
    wrong = []
    if [number for number, *_ in states] != list(range(len(states))) or len(states) > total:
        wrong.append(f"Optuna has {len(states)} configurations, {total} were asked for")
    for number, state, optuna, due in states:
        spooled = books.configurations.get(number)
        if optuna != due and not running:
            wrong.append(f"configuration {number} is {state}, but {optuna} in Optuna's own column")
        if spooled is None and state in ("complete", "pruned", "diverged") and not (running and number > books.last):
            wrong.append(f"configuration {number} is {state}, but the spool doesn't have it")
        if spooled and spooled.state != state and not (running and spooled.state == "running"):
            wrong.append(f"configuration {number} is {state} in Optuna, {spooled.state} in the spool")
    ended = {e.number: e.values for e in search.ended()}
    for number, c in books.configurations.items():
        if c.state == "complete" and number in ended and ended[number] != c.values:
            wrong.append(f"configuration {number}: its objective is {ended[number]} in Optuna, {c.values} in the spool")
    left = total - sum(state != "running" for _, state, *_ in states)
    pending = f"{left} of {total} have not ended" if left else ""
    return Law("final states", f"{len(states)} configurations in Optuna", tuple(wrong), pending)


def _delivered(name: str, books: Books, state: str) -> Law:
    """Nothing waits in the spool."""
    waiting = f"{books.events} wait for MLflow" if books.events else ""
    if waiting and state == "finished":
        return Law("delivered", "the spool's events", (f"{waiting}: gradsweep sync {name} delivers them",))
    return Law("delivered", "the spool's events", pending=waiting)


def _left_behind(name: str, store: Store, state: str) -> Law:
    """No process of the sweep, and no file that only one that is running needs."""
    about = "processes of this machine, files of the store"
    if state == "running":
        return Law("left behind", about, pending="the sweep is running")
    wrong = [f"process {number}: {line}" for number, line in processes_of(store.spool_file(name)).items()]
    files = [*files_of(name, store), *store.states(name).glob("*")]
    if state == "finished":
        wrong += [f"file {file}" for file in files]
    pending = f"{len(files)} files wait for a resume" if files and state == "stopped" else ""
    return Law("left behind", about, tuple(wrong), pending)
