"""What is trained again on fresh seeds once the search has ended: every arm, and the best searched configurations.

The best of many is the best in part by luck, on the very seeds that selected it. Which ones are confirmed follows from
rows that can no longer change, so it is computed wherever it is needed and stored nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from search_spaces.plan import SearchPlan
from search_spaces.rows import Row


def search_ended(plan: SearchPlan, rows: Sequence[Row]) -> bool:
    """Whether every arm and searched configuration has ended."""
    return len(rows) >= plan.searching and all(row.state != "running" for row in rows[: plan.searching])


def chosen(plan: SearchPlan, rows: Sequence[Row]) -> list[int]:
    """The numbers of the configurations to confirm: all arms, then the best complete ones by the first objective.

    A configuration equal to an earlier one (an arm that was suggested, a choice made twice) is left out: it would only
    be trained twice. Holds once the search has ended.
    """
    if not plan.confirm:
        return []
    sign = -1.0 if plan.goals[0] == "maximize" else 1.0
    arms, searched = rows[: len(plan.arms)], rows[len(plan.arms) : plan.searching]
    members = [plan.member(row.parameters) for row in arms]
    best: list[int] = []
    results = [(sign * row.values[0], row.number) for row in searched if row.state == "complete" and row.values]
    for _, number in sorted(results):
        if len(best) == plan.confirm:
            break
        member = plan.member(rows[number].parameters)
        if member not in members:
            members.append(member)
            best.append(number)
    return [row.number for row in arms] + best


def confirmations(plan: SearchPlan, rows: Sequence[Row], count: int) -> Iterator[Row]:
    """The next `count` configurations after `rows`, each of which confirms one of the chosen."""
    done = len(rows) - plan.searching
    for place, number in enumerate(chosen(plan, rows)[done : done + count]):
        yield Row(len(rows) + place, rows[number].arm, rows[number].parameters, confirms=number)
