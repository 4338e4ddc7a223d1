"""A verdict as sections of sentences and tables, which every output renders."""

from __future__ import annotations

from collections.abc import Sequence

from tracking.results import CONFIRM
from tracking.verdict.claims import SIMILAR
from tracking.verdict.tables import (
    GAIN,
    SHARE,
    SPREAD,
    VALUE,
    P,
    Section,
    Statement,
    Table,
    code,
    columns,
    count,
    number,
    ordinal,
    span,
)
from tracking.verdict.types import ClaimVerdict, ObjectiveVerdict, Summary, Verdict
from tracking.verdict.words import STATES, state_word, ways


def sections(verdict: Verdict) -> tuple[Section, ...]:
    """How far the sweep is and what is best; the claims; what the gradients show."""
    name = f"{verdict.sweep}: " if verdict.sweep else ""
    opening = [f"{name}{_standing(verdict)}.", *(_objective(o, verdict.claim) for o in verdict.objectives)]
    parts = [Section("", tuple(map(Statement, opening)))]
    fresh = len(verdict.fresh_seeds)
    if verdict.claims:
        basis = (
            f" Judged on {count(fresh, 'fresh seed')} that {'was' if fresh == 1 else 'were'} not used for selection."
        )
        statements = tuple(Statement(c.sentence, c.name, c.answer, _lead(c)) for c in verdict.claims)
        parts.append(Section(_answers(verdict.claims) + basis * bool(fresh), statements, (_claims(verdict.claims),)))
    if verdict.gradients:
        title = "What the gradients show" + " on the fresh seeds" * bool(fresh)
        parts.append(Section(title, tuple(map(Statement, verdict.causes)), (_gradients(verdict),)))
    return tuple(parts)


def rankings(verdict: Verdict, most: int = 10) -> tuple[Table, ...]:
    """For each objective every arm and the `most` best, and what was trained again on fresh seeds."""
    tables = []
    for o in verdict.objectives:
        shown = [s for s in o.ranking if s.arm or (s.rank or most + 1) <= most]
        more = f"; {hidden} more not shown" if (hidden := len(o.ranking) - len(shown)) else ""
        seeds = " on the search's own seeds" if o.confirmed else ""
        tables.append(_ranking(f"{o.metric} after the last epoch{seeds} ({ways(o.goal)[0]} is better{more})", shown))
        if o.confirmed:
            title = f"{o.metric} after the last epoch on fresh seeds, on which the claims are judged"
            tables.append(_ranking(title, o.confirmed))
    return tuple(tables)


def _standing(verdict: Verdict) -> str:
    states, here = verdict.states, sum(verdict.states.values())
    counts = ", ".join(f"{states[s]} {state_word(s)}" for s in sorted(states, key=state_word))
    return (
        f"{f'{here} of ' * (verdict.total > here)}{count(verdict.total, 'configuration')} ({counts or 'none started'})"
    )


def _objective(o: ObjectiveVerdict, claim: str | None) -> str:
    sentences = _ranks(f"{o.metric} ({ways(o.goal)[0]} is better)", o.ranking, o.claim)
    if o.claim is not None and o.claim.rank is None:
        sentences.append(f"{code(o.claim.name)} (the claim) {STATES[o.claim.state]}, so it has no rank.")
    if any(s.rank for s in o.confirmed):
        claimed = next((s for s in o.confirmed if s.name == f"{CONFIRM}{claim}"), None)
        sentences += _ranks("On fresh seeds", o.confirmed, claimed)
    return " ".join(sentences)


def _ranks(lead: str, ranking: Sequence[Summary], claimed: Summary | None) -> list[str]:
    ranked = [s for s in ranking if s.rank is not None]
    if not ranked:
        return [f"{lead}: no configuration is complete, so there is nothing to compare."]
    sentences = [] if ranked[0] is claimed else [f"the best is {_name(ranked[0])}, {_value(ranked[0])}."]
    if claimed is not None and claimed.rank is not None:
        place = f"{ordinal(claimed.rank)} of {len(ranked)}"
        sentences.append(f"{_name(claimed)} (the claim) ranks {place}, {_value(claimed)}.")
    return [f"{lead}: {sentences[0]}", *sentences[1:]]


def _name(s: Summary) -> str:
    return code(s.name.removeprefix(CONFIRM))


def _value(s: Summary) -> str:
    spread = "" if s.deviation is None else f", standard deviation {number(s.deviation, SPREAD)}"
    return f"at {number(s.mean, VALUE)} (mean of {count(len(s.seeds), 'seed')}{spread})"


def _answers(claims: tuple[ClaimVerdict, ...]) -> str:
    answers = [c.answer for c in claims]
    counts = [f"{answers.count(a)} {a}" for a in ("confirmed", "not confirmed", "undecided") if a in answers]
    return f"{count(len(claims), 'claim')}: {', '.join(counts)}."


def _lead(c: ClaimVerdict) -> str:
    """The claim's own words, and when they were stated."""
    later = " (post hoc: stated after results were available)" * c.stated_later
    return (f'"{c.says}"' if c.says else code(c.name) if later else "") + later


def _claims(claims: tuple[ClaimVerdict, ...]) -> Table:
    rows = []
    for c in claims:
        gain, low, high, pairs = (
            (x.gain, x.low, x.high, str(len(x.pairs))) if (x := c.comparison) else (None, None, None, "")
        )
        need = "" if c.threshold is None else f"{'within' if c.kind == SIMILAR else 'above'} {number(c.threshold)}"
        numbers = (number(gain, GAIN), span(low, high, GAIN), need, pairs, number(c.p, P), number(c.p_corrected, P))
        rows.append((c.name, c.answer, *numbers))
    heads = columns("claim~", "answer", "gain#", "95% interval#", "required", "pairs#", "p#", "Holm p#")
    return Table(
        "Gains, paired over seeds: positive where the claim's arm is better (Holm p: corrected for all claims)",
        heads,
        tuple(rows),
    )


def _gradients(verdict: Verdict) -> Table:
    rows = [
        (
            m.configuration,
            str(m.epoch),
            number(m.rms, SPREAD),
            *(number(x, SHARE) for x in (m.vanished, m.saturated, m.dead)),
        )
        for m in verdict.gradients
    ]
    heads = columns("configuration", "epoch#", "rms#", "vanished#", "saturated#", "dead#")
    return Table("Data gradient (vanished: |g| < 1e-7) and units, means over the seeds", heads, tuple(rows))


def _ranking(title: str, summaries: Sequence[Summary]) -> Table:
    # What is wanted first is first: a phone shows three columns.
    heads = columns("rank#", "configuration~", "mean#", "deviation#", "quartiles#", "seeds#", "epochs#", "state")
    rows = [
        (
            "" if s.rank is None else str(s.rank),
            s.name,
            number(s.mean),
            number(s.deviation, SPREAD),
            span(s.q25, s.q75),
            str(len(s.seeds)),
            "" if s.epoch is None else str(s.epoch),
            state_word(s.state),
        )
        for s in summaries
    ]
    return Table(title, heads, tuple(rows))
