"""A verdict as sections of sentences and tables, which every output renders."""

from __future__ import annotations

from collections.abc import Sequence

from tracking.results import CONFIRM
from tracking.verdict.claims import SIMILAR
from tracking.verdict.tables import GAIN, SHARE, SPREAD, P, Section, Table, code, count, number, span
from tracking.verdict.types import ClaimVerdict, ObjectiveVerdict, Summary, Verdict
from tracking.verdict.words import STATES, state_word, ways

# What is wanted first is first: a phone shows three columns.
RANKING = ("rank#", "configuration~", "mean#", "deviation#", "quartiles#", "seeds#", "epochs#", "state")
GAINS = ("claim~", "answer", "gain#", "95% interval#", "required", "pairs#", "p#", "Holm p#")
GRADIENTS = ("configuration", "epoch#", "rms#", "vanished#", "saturated#", "dead#")


def sections(verdict: Verdict) -> tuple[Section, ...]:
    """How far the sweep is and what is best; the claims; what the gradients show."""
    name = f"{verdict.sweep}: " if verdict.sweep else ""
    objectives = [_objective(o, verdict.claim) for o in verdict.objectives]
    parts = [Section("", (f"{name}{_standing(verdict)}.", *objectives))]
    fresh = len(verdict.fresh_seeds)
    if claims := verdict.claims:
        answers = [c.answer for c in claims]
        counts = [f"{answers.count(a)} {a}" for a in ("confirmed", "not confirmed", "undecided") if a in answers]
        title = f"{count(len(claims), 'claim')}: {', '.join(counts)}."
        if fresh:
            were = "was" if fresh == 1 else "were"
            title += f" Judged on {count(fresh, 'fresh seed')} that {were} not used for selection."
        sentences = tuple(f"{c.lead}: {c.sentence}" if c.lead else c.sentence for c in claims)
        lead = "Gains, paired over seeds: positive where the claim's arm is better (Holm p: corrected for all claims)"
        table = Table(lead, GAINS, tuple(map(_gains, claims)))
        parts.append(Section(title, sentences, (table,), claims))
    if verdict.gradients:
        rows = [
            (m.configuration, str(m.epoch), number(m.rms, SPREAD))
            + tuple(number(x, SHARE) for x in (m.vanished, m.saturated, m.dead))
            for m in verdict.gradients
        ]
        lead = "Data gradient (vanished: |g| < 1e-7) and units, means over the seeds"
        title = "What the gradients show" + " on the fresh seeds" * bool(fresh)
        parts.append(Section(title, verdict.causes, (Table(lead, GRADIENTS, tuple(rows)),)))
    return tuple(parts)


def rankings(verdict: Verdict, most: int = 10) -> tuple[Table, ...]:
    """For each objective every arm and the `most` best, and what was trained again on fresh seeds."""
    tables: list[tuple[str, str, Sequence[Summary]]] = []
    for o in verdict.objectives:
        shown = [s for s in o.ranking if s.arm or (s.rank or most + 1) <= most]
        more = f"; {hidden} more not shown" if (hidden := len(o.ranking) - len(shown)) else ""
        seeds = " on the search's own seeds" if o.confirmed else ""
        lead = o.name if o.name.endswith(o.epochs) else f"{o.name} {o.epochs}"
        tables.append((f"{lead}{seeds} ({ways(o.goal)[0]} is better{more})", o.metric, shown))
        if o.confirmed:
            tables.append((f"{lead} on fresh seeds, on which the claims are judged", o.metric, o.confirmed))
    return tuple(_ranking(*table) for table in tables)


def _ranking(title: str, metric: str, summaries: Sequence[Summary]) -> Table:
    """With the metric itself beside the mean of its distances."""
    rows = [_ranked(s) for s in summaries]
    if all(s.measured is None for s in summaries):
        return Table(title, RANKING, tuple(rows))
    rows = [(*row[:3], number(s.measured), *row[3:]) for row, s in zip(rows, summaries, strict=True)]
    return Table(title, (*RANKING[:3], f"{metric}#", *RANKING[3:]), tuple(rows))


def _standing(verdict: Verdict) -> str:
    states, here = verdict.states, sum(verdict.states.values())
    counts = ", ".join(f"{states[s]} {state_word(s)}" for s in sorted(states, key=state_word)) or "none started"
    return f"{f'{here} of ' * (verdict.total > here)}{count(verdict.total, 'configuration')} ({counts})"


def _objective(o: ObjectiveVerdict, claim: str | None) -> str:
    text = _best(f"{o.name} ({ways(o.goal)[0]} is better)", o.ranking, o.claim)
    if o.claim is not None and o.claim.rank is None:
        text += f" {code(o.claim.name)} (the claim) {STATES[o.claim.state]}, so it has no rank."
    if any(s.rank for s in o.confirmed):
        claimed = next((s for s in o.confirmed if s.name == f"{CONFIRM}{claim}"), None)
        text += f" {_best('On fresh seeds', o.confirmed, claimed)}"
    return text


def _best(lead: str, ranking: Sequence[Summary], claimed: Summary | None) -> str:
    ranked = [s for s in ranking if s.rank is not None]
    if not ranked:
        return f"{lead}: no configuration is complete, so there is nothing to compare."
    sentences = [] if ranked[0] is claimed else [f"the best is {_name(ranked[0])}, {_value(ranked[0])}."]
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
        gain, interval, pairs = number(x.gain, GAIN), span(x.low, x.high, GAIN), str(len(x.pairs))
        need = f"{'within' if c.kind == SIMILAR else 'above'} {number(c.threshold)}"
    return c.name, c.answer, gain, interval, need, pairs, number(c.p, P), number(c.p_corrected, P)


def _ranked(s: Summary) -> tuple[str, ...]:
    rank, epoch = ("" if place is None else str(place) for place in (s.rank, s.epoch))
    numbers = number(s.mean), number(s.deviation, SPREAD), span(s.q25, s.q75)
    return rank, s.name, *numbers, str(len(s.seeds)), epoch, state_word(s.state)
