"""Which configurations are copies of others, which is the best, which dominate which: decided here for every output.

The verdict, the figures and `gradsweep status` ask these functions, so that none of them names another best.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from tracking.tidy import MEMBER

if TYPE_CHECKING:
    import pandas as pd

    from tracking.results import Outcome


def copies(frame: pd.DataFrame, outcomes: Mapping[int, Outcome]) -> frozenset[int]:
    """The configurations whose members equal those of another one in every field, by number.

    Of equal ones that which stays is an arm, or else the first that is complete; no arm is a copy. What is trained
    again on fresh seeds has other members than what it confirms.
    """
    if not (fields := [name for name in MEMBER if name in frame]):
        return frozenset()
    arms = {o.arm for o in outcomes.values() if o.arm}
    firsts = frame.drop_duplicates("configuration").set_index("configuration")[fields]
    firsts = firsts[firsts.index.isin(list(outcomes))]
    own = {n: outcomes[n] for n in firsts.index.tolist()}
    named = [n for n, o in own.items() if (o.confirms or o.arm) in arms]
    order = sorted(own, key=lambda n: (n not in named, own[n].state != "complete", n))
    repeated = firsts.assign(fresh=[o.confirms is not None for o in own.values()]).loc[order].duplicated()
    return frozenset(set(repeated[repeated].index.tolist()).difference(named))


def best(values: Mapping[int, float], confirmations: Collection[int], direction: str) -> int | None:
    """The number of the best of `values` (the complete ones), the first of equal ones; None without any.

    As soon as one of the `confirmations` is complete, they alone decide: on the search's own seeds the best is so in
    part by luck.
    """
    deciding = {n: value for n, value in values.items() if n in confirmations} or values
    return (max if direction == "maximize" else min)(deciding, key=deciding.__getitem__, default=None)


def dominators(points: Sequence[Sequence[float]], directions: Sequence[str]) -> list[list[int]]:
    """For each point the places of those that dominate it: no worse in any value, better in one.

    The Pareto front is those of which the list is empty.
    """
    signs = [1 if direction == "maximize" else -1 for direction in directions]
    signed = [[sign * value for sign, value in zip(signs, point, strict=True)] for point in points]
    return [
        [
            i
            for i, other in enumerate(signed)
            if other != point and all(a >= b for a, b in zip(other, point, strict=True))
        ]
        for point in signed
    ]
