"""A verdict as sections of sentences and tables, which every output renders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tracking.results import CONFIRM
from tracking.verdict.tables import (
    PERCENT,
    SPREAD,
    P,
    Section,
    Table,
    code,
    condensed,
    count,
    ends,
    estimate,
    number,
    span,
)
from tracking.verdict.take_off import ABOVE
from tracking.verdict.types import ClaimVerdict, Moment, ObjectiveVerdict, ParetoPoint, Summary, TakeOff, Verdict
from tracking.verdict.units import words
from tracking.verdict.words import STATES, state_word, ways

# What is wanted first is first: a phone shows three columns.
RANKING = ("rank#", "configuration~", "mean#", "deviation#", "quartiles#", "seeds#", "epochs#", "state")
GAINS = ("claim~", "answer", "gain#", "95% interval#", "required", "pairs#", "p#", "Holm p#")
TAKE_OFF = ("arms~", "took off#", "median epoch#", "earlier#", "later#", "p#", "metric")
MOST_NAMED = 3  # of those that dominate one


def sections(verdict: Verdict) -> tuple[Section, ...]:
    """How far the sweep is and what is best; the Pareto front; the claims; what was measured of the gradients."""
    name = f"{verdict.sweep}: " if verdict.sweep else ""
    objectives = [_objective(o, verdict.claim) for o in verdict.objectives]
    parts = [Section("", (f"{name}{_standing(verdict)}.", *objectives))]
    if verdict.pareto:
        parts.append(_pareto(verdict))
    fresh = len(verdict.fresh_seeds)
    if claims := verdict.claims:
        answers = [c.answer for c in claims]
        counts = [f"{answers.count(a)} {a}" for a in ("confirmed", "refuted", "undecided") if a in answers]
        title = f"{count(len(claims), 'claim')}: {', '.join(counts)}."
        if fresh:
            were = "was" if fresh == 1 else "were"
            title += f" Judged on {count(fresh, 'fresh seed')} that {were} not used for selection."
        sentences = tuple(f"{c.lead}: {c.sentence}" if c.lead else c.sentence for c in claims)
        lead = "Gains, paired over seeds: positive where the claim's arm is better (Hodges-Lehmann estimate"
        ratios = any(c.comparison and c.comparison.scale == "log" for c in claims)
        lead += "; 2x: ratios" * ratios + "; Holm p: corrected for all claims)"
        if any(c.candidates > 1 for c in claims):
            lead += "; of claims about the best, the comparison that decided"
        table = condensed(lead, GAINS, [*map(_gains, claims)], {"pairs#": "pairs: {}"})
        parts.append(Section(title, sentences, (table,), claims))
    if verdict.take_offs:
        parts.append(Section("Take-off", (), (_take_offs(verdict.take_offs),)))
    if verdict.gradients:
        title = "What the gradients show" + " on the fresh seeds" * bool(fresh)
        parts.append(Section(title, (), (_gradients(verdict.gradients),)))
    return tuple(parts)


def _take_offs(found: Sequence[TakeOff]) -> Table:
    """A row for each two arms."""
    lead = (
        f"When seeds took off: the first epoch after which the accuracy is more than {ABOVE:g} above chance (the "
        "median before the first step). Earlier and later count the seeds on which the first arm took off before "
        "the second, and after it; a seed that never did is last. p: sign test, not corrected for several claims"
    )
    rows = []
    for t in found:
        first, second = ("none" if median is None else str(median) for median in t.medians)
        names = f"{t.one.removeprefix(CONFIRM)}, {t.other.removeprefix(CONFIRM)}"
        counts = f"{t.took_off[0]}, {t.took_off[1]} of {len(t.seeds)}"
        rows.append((names, counts, f"{first}, {second}", str(t.earlier), str(t.later), number(t.p, P), t.metric))
    return condensed(lead, TAKE_OFF, rows, {"metric": "metric: {}"})


def _pareto(verdict: Verdict, most: int = 10) -> Section:
    """The front as a table; which of it dominate each arm that is not on it."""
    points = {p.configuration: p for p in verdict.pareto}
    front = [p for p in verdict.pareto if not p.dominated_by]
    seeds = " on fresh seeds" if verdict.fresh_seeds else ""
    title = f"Pareto front: {len(front)} of {count(len(points), 'complete configuration')}{seeds}"
    sentences = tuple(
        f"{code(p.name)} is dominated by {_some(points, p.dominated_by)}."
        for p in verdict.pareto
        if p.dominated_by and p.arm
    )
    columns = ("configuration~", *(f"{o.name}#" for o in verdict.objectives))
    rows = tuple((p.name, *map(number, p.values)) for p in front[:most])
    more = f"; {len(front) - most} more not shown" if len(front) > most else ""
    lead = f"Means over the seeds of what no configuration beats in one objective without losing in another{more}"
    return Section(title, sentences, (Table(lead, columns, rows),))


def _some(points: Mapping[int, ParetoPoint], numbers: Sequence[int]) -> str:
    """The first few by name, those on the front before the others."""
    ordered = sorted(numbers, key=lambda n: len(points[n].dominated_by) > 0)
    names = [code(points[n].name) for n in ordered[:MOST_NAMED]]
    if len(numbers) > MOST_NAMED:
        names.append(f"{len(numbers) - MOST_NAMED} more")
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _gradients(moments: Sequence[Moment]) -> Table:
    """A column per configuration, two rows per measurement: at the start and at the end."""
    names = list(dict.fromkeys(m.configuration for m in moments))
    of = {name: [m for m in moments if m.configuration == name] for name in names}
    last = sorted({own[-1].epoch for own in of.values()})
    ends = str(last[0]) if len(last) == 1 else f"{last[0]} to {last[-1]}"
    # What is shown of a moment, and how: the fields of Moment.
    saturated, dead, dead_layers = words(m.activation for m in moments)
    measured = {
        "rms": ("rms of the loss's gradient", SPREAD),
        "total_rms": ("rms with the penalty", SPREAD),
        "first_to_last": ("first layer's rms over the last's", SPREAD),
        "vanished": ("vanished coordinates", PERCENT),
        "saturated": (saturated, PERCENT),
        "dead": (dead, PERCENT),
        "dead_layers": (dead_layers, SPREAD),
    }
    lost = any(m.dead_layers for m in moments)  # as a rule none, which goes without saying
    rows = []
    for field, (label, shape) in measured.items():
        for epoch, place in (("0", 0), (ends, -1)):
            values = [number(getattr(own[place], field), shape) for own in of.values()]
            if any(values) and (place == 0 or last != [0]) and (field != "dead_layers" or lost):
                rows.append((label, epoch, *values))
    title = "Medians of sizes and means of shares over the seeds "
    title += "(vanished: |g| < 1e-7; units: averaged over the layers), before the first step"
    title += " and at the last epoch of each" * (last != [0])
    return Table(title, ("measured~", "epoch#", *(f"{name}#" for name in names)), tuple(rows))


def rankings(verdict: Verdict, most: int = 10) -> tuple[Table, ...]:
    """For each objective every arm and the `most` best, and what was trained again on fresh seeds."""
    tables: list[tuple[str, str, Sequence[Summary]]] = []
    for o in verdict.objectives:
        shown = [s for s in o.ranking if s.arm or (s.rank or most + 1) <= most]
        seeds = " on the search's own seeds" if o.confirmed else ""
        lead = o.name if o.name.endswith(o.epochs) else f"{o.name} {o.epochs}"
        title = f"{lead}{seeds} ({ways(o.goal)[0]} is better)"
        if len(shown) < len(o.ranking):
            title += f"; {len(shown)} of {len(o.ranking)} configurations"
        tables.append((title, o.metric, shown))
        if o.confirmed:
            tables.append((f"{lead} on fresh seeds, on which the claims are judged", o.metric, o.confirmed))
    return tuple(_ranking(*table) for table in tables)


def _ranking(title: str, metric: str, summaries: Sequence[Summary]) -> Table:
    """With the metric itself beside the mean of its distances."""
    columns: tuple[str, ...] = RANKING
    rows = [_ranked(s) for s in summaries]
    if any(s.measured is not None for s in summaries):
        columns = (*RANKING[:3], f"{metric}#", *RANKING[3:])
        rows = [(*row[:3], number(s.measured), *row[3:]) for row, s in zip(rows, summaries, strict=True)]
    return condensed(title, columns, rows, {"seeds#": "seeds: {}", "epochs#": "epochs: {}", "state": "all {}"})


def _standing(verdict: Verdict) -> str:
    states, here = verdict.states, sum(verdict.states.values())
    counts = ", ".join(f"{states[s]} {state_word(s)}" for s in sorted(states, key=state_word)) or "none started"
    distinct = f", {verdict.total - verdict.copies} distinct" if verdict.copies else ""
    return f"{f'{here} of ' * (verdict.total > here)}{count(verdict.total, 'configuration')}{distinct} ({counts})"


def _objective(o: ObjectiveVerdict, claim: str | None) -> str:
    lead = f"{o.name} ({ways(o.goal)[0]} is better)"
    if o.best in o.confirmed:
        claimed = next((s for s in o.confirmed if s.name == f"{CONFIRM}{claim}"), None)
        text = _best(f"{lead}, on fresh seeds", o.best, o.confirmed, claimed)
        text += " " + _best("On the search's own seeds", o.ranking[0], o.ranking, o.claim, "the first")
    else:
        text = _best(lead, o.best, o.ranking, o.claim)
    if o.claim is not None and o.claim.rank is None:
        text += f" {code(o.claim.name)} (the claim) {STATES[o.claim.state]}, so it has no rank."
    return text


def _best(
    lead: str, best: Summary | None, ranking: Sequence[Summary], claimed: Summary | None, what: str = "the best"
) -> str:
    ranked = [s for s in ranking if s.rank is not None]
    if best is None or not ranked:
        return f"{lead}: no configuration is complete, so there is nothing to compare."
    sentences = [] if best is claimed else [f"{what} is {_name(best)}, {_value(best)}."]
    if claimed is not None and claimed.rank is not None:
        place = f"{_ordinal(claimed.rank)} of {len(ranked)}"
        sentences.append(f"{_name(claimed)} (the claim) ranks {place}, {_value(claimed)}.")
    return f"{lead}: {' '.join(sentences)}"


def _ordinal(place: int) -> str:
    ending = "th" if place % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
    return f"{place}{ending}"


def _name(s: Summary) -> str:
    return code(s.name.removeprefix(CONFIRM))


def _value(s: Summary) -> str:
    spread = "" if s.deviation is None else f", standard deviation {number(s.deviation, SPREAD)}"
    return f"at {number(s.mean)} (mean of {count(len(s.seeds), 'seed')}{spread})"


def _gains(c: ClaimVerdict) -> tuple[str, ...]:
    gain, interval, pairs, need = "", "", "", ""
    if x := c.comparison:
        gain, interval, pairs, need = estimate(x), ends(x), str(len(x.pairs)), c.required
    return c.name, c.answer, gain, interval, need, pairs, number(c.p, P), number(c.p_corrected, P)


def _ranked(s: Summary) -> tuple[str, ...]:
    rank, epoch = ("" if place is None else str(place) for place in (s.rank, s.epoch))
    numbers = number(s.mean), number(s.deviation, SPREAD), span(s.q25, s.q75)
    return rank, s.name, *numbers, str(len(s.seeds)), epoch, state_word(s.state)
