"""What the gradients of two configurations show beside each other, as sentences with the numbers in them.

Means over seeds; saturation and dead units also over the layers that have an activation. No more is said than what
was recorded: where it suggests a cause, the sentence says which number does.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

FEW = 0.01  # fewer saturated units than this leave rescaling nothing to act on
MOST = 0.5


@dataclass(frozen=True)
class _Moment:
    epoch: int
    rms: float
    vanished: float
    saturated: float
    dead: float


def causes(frame: pd.DataFrame, plain: int, claim: int, name: str) -> tuple[str, ...]:
    """Sentences on the configurations `plain` and `claim`, which is called `name`; none without their records."""
    rows = {number: frame[frame["configuration"] == number] for number in (plain, claim)}
    if any(not len(found) for found in rows.values()):
        return ()
    start = {number: _moment(found, 0) for number, found in rows.items()}
    end = {number: _moment(found, int(found["epoch"].max())) for number, found in rows.items()}
    said = [_beside(start[plain], start[claim], name)]
    if end[plain].epoch > 0 and end[claim].epoch > 0:
        said.append(_beside(end[plain], end[claim], name))
    of_plain, of_claim = (rows[number].iloc[0] for number in (plain, claim))
    rescaled = of_plain["alpha"] != of_claim["alpha"] and of_claim["scaling"] == "rescaled"
    if rescaled and start[plain].saturated < FEW and end[plain].saturated < FEW:
        said.append("Hardly a unit of plain was ever saturated, so that rescaling by alpha had nothing to act on.")
    if rescaled and start[plain].saturated >= MOST:
        fewer = start[claim].saturated < start[plain].saturated
        said.append(
            "Most units of plain were saturated at the start"
            + ("; rescaling by alpha left fewer of them so." if fewer else "; rescaling by alpha did not change that.")
        )
    if start[plain].vanished >= MOST:
        said.append("Most of plain's gradient had vanished before the first step.")
    return tuple(said)


def _moment(rows: pd.DataFrame, epoch: int) -> _Moment:
    then = rows[rows["epoch"] == epoch]
    return _Moment(
        epoch=epoch,
        rms=float(then["gradient.data.rms"].mean()),
        vanished=float(then["gradient.data.vanished"].mean()),
        saturated=_over_layers(then, "saturated"),
        dead=_over_layers(then, "dead"),
    )


def _over_layers(rows: pd.DataFrame, statistic: str) -> float:
    # The output has no activation: it would only dilute the mean.
    own = [
        c
        for c in rows.columns
        if c.startswith("layer.") and c.endswith(f".{statistic}") and c != f"layer.output.{statistic}"
    ]
    return float(rows[own].mean().mean())


def _beside(plain: _Moment, claim: _Moment, name: str) -> str:
    when = f"epoch {plain.epoch}" if plain.epoch == claim.epoch else f"epochs {plain.epoch} and {claim.epoch}"
    return (
        f"At {when}, plain and {name}: rms of the data gradient {plain.rms:.2g} and {claim.rms:.2g}; vanished "
        f"coordinates {plain.vanished:.0%} and {claim.vanished:.0%}; saturated units {plain.saturated:.0%} and "
        f"{claim.saturated:.0%}; dead units {plain.dead:.0%} and {claim.dead:.0%}."
    )
