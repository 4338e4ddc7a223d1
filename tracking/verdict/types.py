"""What a verdict is, as plain data: `gradsweep report --json` is these fields under these names.

A number that does not exist (of a diverged member or an empty set) is None, so `dataclasses.asdict` gives JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Summary:
    """One configuration under one objective: its value per seed, and their mean and spread.

    `measured` is the mean of the metric itself, where the value is its distance from a number; else None. `deviation`
    is the sample standard deviation (n - 1); `rank` counts from 1 among complete configurations, equal means sharing
    the better one, None for the others.
    """

    configuration: int
    arm: str
    name: str
    state: str
    epoch: int | None
    seeds: tuple[int, ...]
    values: tuple[float | None, ...]
    mean: float | None = None
    deviation: float | None = None
    q25: float | None = None
    q50: float | None = None
    q75: float | None = None
    measured: float | None = None
    rank: int | None = None


@dataclass(frozen=True)
class ObjectiveVerdict:
    """One objective: the sweep's own configurations by rank, those of the confirming stage, the claim's arm, the best.

    `goal` is maximize or minimize; `name` says what of `metric`, and `epochs` of which epochs. `best` is that of the
    confirming stage as soon as something is complete there.
    """

    metric: str
    goal: str
    name: str
    epochs: str
    ranking: tuple[Summary, ...]
    confirmed: tuple[Summary, ...]
    claim: Summary | None
    best: Summary | None


@dataclass(frozen=True)
class ParetoPoint:
    """A complete configuration with its mean under each objective; `dominated_by` is empty on the Pareto front.

    Those are numbers of configurations that are no worse in any objective and better in one.
    """

    configuration: int
    arm: str
    name: str
    values: tuple[float, ...]
    dominated_by: tuple[int, ...]


@dataclass(frozen=True)
class Comparison:
    """Two configurations under one claim, `one` being the claim's own side.

    `ones` and `others` are the two values of each of `pairs` (seeds, or epochs where `paired_over` says so), `gains`
    their differences, positive where `one` is better. `gain` is the Hodges-Lehmann estimate (the median of the means
    of all pairs of gains), and `low` to `high` the 95% interval that inverts the signed-rank test; None where so few
    pairs refute nothing. On the log `scale` the values are geometric means over the epochs, `gains` differences of
    logs, and `gain`, `low` and `high` ratios of `one` to `other`, whichever way is better.
    """

    one: str
    other: str
    configurations: tuple[int, int]
    paired_over: str
    pairs: tuple[int, ...]
    ones: tuple[float, ...]
    others: tuple[float, ...]
    gains: tuple[float, ...]
    gain: float | None
    low: float | None
    high: float | None
    scale: str = "linear"


@dataclass(frozen=True)
class ClaimVerdict:
    """The answer to a claim, confirmed | refuted | undecided, with its numbers.

    `epochs` says which, in words. The gain has to be above `threshold` (its size below it where the claim is that two
    are similar), and `required` says so in words; on the log scale they are ratios, which have to be below it where
    less is better. Where the claim names the best, that is `best`, and `comparison` is the one of `candidates` (else
    0) that decided, or that left it undecided. `p` is two-sided, `p_corrected` that for all claims of the sweep; there
    is neither where the claim comes `after` one that is not confirmed. `warning` says that the gains are skewed
    against the answer. After results were available: the claim was `stated_later`, the sweep's `seeds_added`.
    """

    name: str
    says: str
    kind: str
    metric: str
    goal: str
    epochs: str
    threshold: float | None = None
    required: str = ""
    question: str = ""
    answer: str = "undecided"
    sentence: str = ""
    comparison: Comparison | None = None
    best: str = ""
    candidates: int = 0
    p: float | None = None
    p_corrected: float | None = None
    after: str = ""
    warning: str = ""
    stated_later: bool = False
    seeds_added: bool = False

    @property
    def lead(self) -> str:
        """The claim's own words, and what of it is post hoc; nothing for a claim of neither."""
        hindsight = ["stated"] * self.stated_later + ["seeds were added"] * self.seeds_added
        later = f" (post hoc: {' and '.join(hindsight)} after results were available)" if hindsight else ""
        return (f'"{self.says}"' if self.says else f"`{self.name}`" if later else "") + later


@dataclass(frozen=True)
class Moment:
    """A configuration's gradient and units at one epoch (None where a seed has no number).

    Sizes are medians over the seeds: `rms` that of the loss's gradient, `total_rms` with the penalty's, `first_to_last`
    the first layer's rms over the last's. Shares and counts are means: `vanished` of coordinates below 1e-7;
    `saturated` and `dead` of units, over the layers that have an activation; `dead_layers` is how many of these have
    dead units alone. `activation` says what the units are.
    """

    configuration: str
    epoch: int
    activation: str
    rms: float | None
    total_rms: float | None
    first_to_last: float | None
    vanished: float | None
    saturated: float | None
    dead: float | None
    dead_layers: float | None


@dataclass(frozen=True)
class TakeOff:
    """When the seeds of two arms took off: the first epoch after which `metric` was more than 0.05 above `chance`.

    `chance` is the median of all the sweep's seeds before the first step. `epochs` has for `one` and for `other` an
    epoch for each of `seeds`, None where it did not take off up to the epoch `last`, the last one of both arms.
    `took_off` counts those that did, `medians` are the first epochs by which half did (None: fewer did). On `earlier`
    seeds `one` took off before `other`, on `later` after it, never being after all; `p` is the sign test's, two-sided
    and not corrected for several claims, None where no seed differs.
    """

    one: str
    other: str
    metric: str
    chance: float
    last: int
    seeds: tuple[int, ...]
    epochs: tuple[tuple[int | None, ...], tuple[int | None, ...]]
    took_off: tuple[int, int]
    medians: tuple[int | None, int | None]
    earlier: int
    later: int
    p: float | None


@dataclass(frozen=True)
class Verdict:
    """The answer to a sweep's claims: what each objective shows, each claim, and the gradients.

    `states` counts the configurations that have records, of `total`; `copies` of them are equal to others and are left
    out of all else. `pareto` is empty for a single objective. `gradients` has one or two moments per configuration,
    its first and its last epoch. `take_offs` are of the claims about an accuracy that some seeds took off in and some
    not. `text` is all of it in sentences, `markdown` with tables.
    """

    sweep: str
    claim: str | None
    states: Mapping[str, int]
    total: int
    copies: int
    objectives: tuple[ObjectiveVerdict, ...]
    pareto: tuple[ParetoPoint, ...]
    claims: tuple[ClaimVerdict, ...]
    gradients: tuple[Moment, ...]
    text: str = ""
    markdown: str = ""
    take_offs: tuple[TakeOff, ...] = ()

    @property
    def fresh_seeds(self) -> tuple[int, ...]:
        """The seeds of the confirming stage, on which the claims are judged; none without one."""
        return tuple(sorted({seed for o in self.objectives for s in o.confirmed for seed in s.seeds}))
