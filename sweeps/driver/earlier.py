"""What an earlier sweep of the store tells a sampler (`search: {from: NAME}`), the same whenever the sweep is resumed.

It is what had ended there when this sweep began, whatever has been trained there since. None of it is in this sweep's
records: it is in no claim, rank or figure.
"""

from __future__ import annotations

from search_spaces.plan import Row
from sweeps.driver.driver import row_of
from sweeps.spec.reading import SweepSpec
from tracking.ledger import Ledger
from tracking.types import Sweep
from tracking.verdict.tables import count
from trainers.errors import RequestError, SearchError


def told(spec: SweepSpec, ledger: Ledger, begun: int) -> tuple[tuple[Row, ...], str]:
    """The rows that the sampler is shown before the sweep's own, and how many they are, in a line; "" without `from`.

    `begun` is when the sweep began, in milliseconds since 1970. Raises RequestError where there is no such sweep, or
    one with other objectives.
    """
    if spec.search is None or (name := spec.search.from_) is None:
        return (), ""
    from search_spaces.earlier import rows_of

    try:
        earlier = ledger.sweep(name)
    except SearchError:
        names = ", ".join(sweep.name for sweep in ledger.sweeps() if sweep.name != spec.name) or "none"
        raise RequestError(f"search.from: there is no sweep named {name!r} in the store; there are {names}") from None
    _refuse_other(spec, earlier)
    ended = [
        c
        for c in ledger.configurations(earlier)
        # What extends a configuration came later, and what is equal to one says nothing new.
        if c.confirms is None and c.extends is None and c.same_as is None
        if c.ended is not None and c.ended <= begun
    ]
    objectives = ledger.objectives(earlier, [c.number for c in ended if c.state == "pruned"])
    rows, reasons = rows_of(spec.search_plan(), [(c.member, row_of(c, objectives.get(c.number, {}))) for c in ended])
    line = f"{name}: {count(len(rows), 'configuration')} told to the sampler"
    if reasons:
        others = ", ".join(f"{n} in {fields}" for fields, n in reasons.most_common())
        line += f"; {sum(reasons.values())} left out, which this search does not have: {others}"
    return rows, line


def _refuse_other(spec: SweepSpec, earlier: Sweep) -> None:
    """The earlier sweep must have judged configurations by the same objectives."""
    ours, theirs = (
        " and ".join(f"{direction} {name}" for name, direction in objectives)
        for objectives in ([(o.name, o.direction) for o in spec.objectives], earlier.objectives)
    )
    if ours != theirs:
        raise RequestError(f"search.from: {earlier.name} has another objective: {theirs}, and not {ours}")
