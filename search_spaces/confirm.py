"""What is trained again on fresh seeds once the search has ended: every arm, and the best of what was searched.

The best of many is the best in part by luck, on the very seeds that chose it. Which ones these are is decided once,
from what the database holds then; what comes of it is no news for a sampler or pruner, which have nothing left to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from search_spaces.plan import SearchPlan
from search_spaces.rows import Row
from trainers.members import MemberConfig


def chosen(plan: SearchPlan, rows: Sequence[Row]) -> list[int]:
    """The numbers of the configurations to confirm: all arms, then the best complete ones by the first objective.

    What is the same as one before it (an arm that was suggested, a choice made twice) would only be trained twice.
    """
    sign = -1.0 if plan.goals[0] == "maximize" else 1.0
    arms, searched = rows[: len(plan.arms)], rows[len(plan.arms) : plan.searching]
    complete = [(sign * row.values[0], row) for row in searched if row.state == "complete" and row.values]
    known = [_member(plan, row) for row in arms]
    best: list[int] = []
    for _, row in sorted(complete, key=lambda found: (found[0], found[1].number)):
        member = _member(plan, row)
        if len(best) < plan.confirm and member not in known:
            known.append(member)
            best.append(row.number)
    return [row.number for row in arms] + best


def confirmations(rows: Sequence[Row], numbers: Sequence[int], count: int) -> Iterator[Row]:
    """The next `count` configurations after `rows`, each of which confirms one of `numbers`."""
    done = sum(row.confirms is not None for row in rows)
    for place, number in enumerate(numbers[done : done + count]):
        yield Row(len(rows) + place, rows[number].arm, rows[number].parameters, confirms=number)


def _member(plan: SearchPlan, row: Row) -> MemberConfig:
    return MemberConfig(**{**plan.base, **row.parameters})  # type: ignore[arg-type]
