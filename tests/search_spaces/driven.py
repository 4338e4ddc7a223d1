"""A sweep's configurations in memory, asked for and ended as a driver does it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from search_spaces.plan import Row, SearchPlan
from search_spaces.search import ask, ended


@dataclass
class Driven:
    """The rows of one sweep, by number."""

    plan: SearchPlan
    rows: list[Row] = field(default_factory=list)

    def ask(self, count: int, pack: str = "p") -> list[Row]:
        """The next configurations, added to the rows."""
        new = ask(self.plan, self.rows, count, pack)
        self.rows += new
        return new

    def end(
        self,
        number: int,
        state: str,
        values: Sequence[float] | None = None,
        *,
        reason: str = "",
        intermediate: Mapping[int, float] | None = None,
        pruner_attributes: Mapping[str, float] | None = None,
    ) -> Row:
        """Ends a configuration after all that have ended so far."""
        self.rows[number] = ended(
            self.rows[number],
            state,
            values,
            goals=len(self.plan.goals),
            order=sum(row.state != "running" for row in self.rows),
            reason=reason,
            intermediate=intermediate or {},
            pruner_attributes=pruner_attributes or {},
        )
        return self.rows[number]


def stored(row: Row) -> Row:
    """A row as a ledger gives it back, whose columns are JSON."""
    fields = json.loads(json.dumps(asdict(row)))
    values, intermediate, seeds = (fields.pop(name) for name in ("values", "intermediate", "seeds"))
    return replace(
        Row(**fields),
        seeds=tuple(seeds),
        values=None if values is None else tuple(values),
        intermediate={int(epoch): value for epoch, value in intermediate.items()},
    )
