"""The pages about the paper, made from the records alone: paper.md on one screen, and paper/STAGE.md behind it.

    >>> write_pages(Path("docs"))

A statement of the paper *holds* under a reading where all of its claims are confirmed, and *does not hold* where one of
them is refuted; else it is *undecided*. The notes by hand, notes/paper/SWEEP.md, have no numbers but what the records
have (`docs.build.paper.quotes`).
"""

from __future__ import annotations

import importlib
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from docs.build.pages import gain, seeds, table
from docs.build.pages import note as noted
from docs.build.paper import mechanism, theorems
from docs.build.paper.headlines import HEADLINES, Reading
from docs.build.paper.quotes import Records, filled, sweeps_in
from docs.build.paper.records import Record
from docs.build.paper.stages import STAGES, SWEEPS
from tracking.figures.album import Drawing
from tracking.figures.style import RC, NotDrawn, write
from tracking.figures.theory import save as draw_theory
from tracking.results import CONFIRM
from tracking.verdict.sections import rankings, sections
from tracking.verdict.tables import Section, markdown
from tracking.verdict.types import ClaimVerdict

HOLDS, FAILS, UNDECIDED, NOT_RUN = "holds", "does not hold", "undecided", "not run yet"
WORDS = {"confirmed": HOLDS, "refuted": FAILS, "undecided": UNDECIDED}
FIGURES = ("accuracy_and_gradients", "surface", "saturation")  # modules of tracking.figures
STAGE_OF = {planned.name: stage for stage, sweeps in STAGES.items() for planned in sweeps}

INTRODUCTION = """\
# The paper, checked

What "Regularization and Reparameterization Avoid Vanishing Gradients in Sigmoid-Type Networks" says, in its words, and
what our runs say. The paper leaves open the scale of the inputs, how the penalty counts r, Adam's epsilon and where it
is added, biases, the batch size, the epochs, and the split of the images: [readings.md](readings.md) has how we read
each, and how to read it otherwise. [statistics.md](statistics.md) has how a claim is judged. *Undecided* means that
these seeds decide neither way, not that a statement fails. In parentheses is a 95% interval. Claims and margins were
written before the runs."""
FIRST_RUNS = (
    "[first-runs.md](paper/first-runs.md) has our first runs, on other seeds, judged with the former statistics."
)
MADE = "Made by `make paper` from the records in `docs/records`."


@dataclass(frozen=True)
class Answered:
    """A reading with its answer, and the claim that gave it; None where it has not been run."""

    reading: Reading
    answer: str
    claim: ClaimVerdict | None = None


def write_pages(out: Path, theory: bool = True) -> list[Path]:
    """Write paper.md, paper/STAGE.md and the figures from `out`/records and `out`/notes; the pages' paths.

    Raises RequestError where a note quotes what a record has not.
    """
    folder = out / "paper"
    folder.mkdir(parents=True, exist_ok=True)
    drawn: dict[Path, Figure] = {}
    texts = pages(out, drawn)
    if theory:
        (out / "figures").mkdir(exist_ok=True)
        draw_theory(out / "figures" / "theory.svg")
        texts[folder / "theorems.md"] = theorems.page(Path("../figures/theory.svg"))
    for file, figure in drawn.items():
        write(figure, file)
    for file, text in texts.items():
        file.write_text(text)
    return list(texts)


def pages(out: Path, drawn: dict[Path, Figure] | None = None) -> dict[Path, str]:
    """The text of each page but that of the theorems, by its file; the figures are put into `drawn`."""
    records, notes = Records(out / "records"), out / "notes" / "paper"
    ran = [stage for stage, sweeps in STAGES.items() if any(planned.name in records for planned in sweeps)]
    texts = {out / "paper.md": overview(records, notes)}
    figures = {} if drawn is None else drawn
    for stage in ran:
        texts[out / "paper" / f"{stage}.md"] = _stage(stage, records, out / "paper", notes, figures)
    return texts


def overview(records: Records, notes: Path) -> str:
    """paper.md."""
    rows = []
    for headline in HEADLINES:
        answers = [answered(reading, records) for reading in headline.readings]
        says = f'"{headline.says}"'
        rows.append((says, in_short(answers), _numbers(answers), _links(answers)))
    rows += [(says, holds, "", "[theorems](paper/theorems.md)") for says, holds in theorems.lines()]
    done = [stage for stage, sweeps in STAGES.items() if all(planned.name in records for planned in sweeps)]
    begun = [s for s, sweeps in STAGES.items() if s not in done and any(planned.name in records for planned in sweeps)]
    missing = [stage for stage in STAGES if stage not in (*done, *begun)]
    listed = [f"[{stage}](paper/{stage}.md)" + " (in part)" * (stage in begun) for stage in (*done, *begun)]
    parts = [
        INTRODUCTION,
        _note("paper", notes, records),
        table(("the paper says", "in our runs", "number", "details"), rows),
        " ".join(f"{lead}: {', '.join(of)}." for lead, of in (("Details", listed), ("Not run yet", missing)) if of),
        f"{FIRST_RUNS} {MADE}",
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def answered(reading: Reading, records: Records) -> Answered:
    """The answer under one reading: the claim that is shown is the first one of that answer."""
    if reading.sweep not in records:
        return Answered(reading, NOT_RUN)
    claims = [records.claim(reading.sweep, claim) for claim in reading.claims]
    words = [WORDS[claim.answer] for claim in claims]
    answer = FAILS if FAILS in words else UNDECIDED if UNDECIDED in words else HOLDS
    return Answered(reading, answer, claims[words.index(answer)])


def in_short(answers: Sequence[Answered]) -> str:
    """One word where all readings agree, else which says what."""
    of = {
        word: [a.reading.label for a in answers if a.answer == word]
        for word in (HOLDS, FAILS, UNDECIDED)
        if any(a.answer == word for a in answers)
    }
    if not of:
        return NOT_RUN
    if len(of) == 1:
        ((word, labels),) = of.items()
        return f"**{word}**" + (f" ({', '.join(labels)})" if len(labels) < len(answers) or len(labels) == 1 else "")
    depends = "depends on the reading: " if HOLDS in of and FAILS in of else ""
    return depends + "; ".join(f"**{word}** ({', '.join(labels)})" for word, labels in of.items())


def _numbers(answers: Sequence[Answered]) -> str:
    """The number of the first reading of each answer that has one."""
    sizes = [(a, _number(a.claim)) for a in answers if a.claim is not None]
    firsts = {a.answer: (a.reading.label, size) for a, size in reversed(sizes) if size}
    shown = [firsts[word] for word in dict.fromkeys(a.answer for a in answers) if word in firsts]
    return "; ".join(f"{label}: {size}" if len(shown) > 1 else size for label, size in shown)


def _number(claim: ClaimVerdict) -> str:
    """`+15.9 points (+13.9 to +17.7), l2 over plain`; an accuracy goes without saying."""
    if not (size := gain(claim, interval=True)) or not claim.comparison:
        return ""
    of = "" if claim.metric == "validation.accuracy" else f" in `{claim.metric}`"
    one, other = (name.removeprefix(CONFIRM) for name in (claim.comparison.one, claim.comparison.other))
    return f"{size}{of}, {one} over {other}"


def _links(answers: Sequence[Answered]) -> str:
    firsts = {STAGE_OF[a.reading.sweep]: a for a in reversed(answers) if a.claim is not None}
    shown = [a for a in answers if firsts.get(STAGE_OF[a.reading.sweep]) is a and a.claim is not None]
    links = [(STAGE_OF[a.reading.sweep], _anchor(a.reading.sweep, a.claim.name)) for a in shown if a.claim]
    return ", ".join(f"[{stage}](paper/{stage}.md#{anchor})" for stage, anchor in links)


def _anchor(sweep: str, claim: str) -> str:
    """The anchor of a claim's heading, as GitHub makes it."""
    return f"{sweep}-{claim}".lower().replace(" ", "-")


def _note(name: str, notes: Path, records: Records) -> str:
    """What people say, with its numbers; nothing as long as a sweep that it quotes has not been run."""
    text = noted(notes, name)
    if not all(sweep in records for sweep in sweeps_in(text)):
        return ""
    # Placeholders are longer than numbers. Lists and tables stay as they are.
    paragraphs = filled(text, records).split("\n\n")
    return "\n\n".join(p if p[:1] in "|-#" else textwrap.fill(p, 120, break_on_hyphens=False) for p in paragraphs)


def _stage(stage: str, records: Records, folder: Path, notes: Path, drawn: dict[Path, Figure]) -> str:
    sweeps = STAGES[stage]
    found = [records[planned.name] for planned in sweeps if planned.name in records]
    parts = [f"# {stage}"]
    if stage == mechanism.STAGE and all(sweep in records for sweep in mechanism.PLAIN):
        parts.append(_note(stage, notes, records))
        parts += _figure(stage, partial(mechanism.regimes, records), folder, drawn)
    for planned in sweeps:
        parts.append(f"## {planned.name}")
        if planned.name in records:
            parts += _sweep(records[planned.name], _note(planned.name, notes, records), folder, drawn)
        else:
            parts.append("Not run yet.")
    parts += [_conditions(found), f"The statements in short are in [paper.md](../paper.md). {MADE}"]
    return "\n\n".join(filter(None, parts)) + "\n"


def _sweep(record: Record, note: str, folder: Path, drawn: dict[Path, Figure]) -> Iterator[str]:
    yield record.spec.question or ""
    changed = SWEEPS[record.name].settings if record.name in SWEEPS else ()
    of = f"[{record.conditions.study}.yaml](../../sweeps/studies/{record.conditions.study}.yaml)"
    yield f"The study is {of}" + (f", with {', '.join(f'`{s}`' for s in changed)}." if changed else ".")
    yield note
    parts = sections(record.verdict)
    if record.spec.search:
        yield markdown([replace(parts[0], tables=())])
    yield markdown([Section("", (), rankings(record.verdict))])
    for name in FIGURES:
        if name == "surface" and not record.spec.search:
            continue
        draw = importlib.import_module(f"tracking.figures.{name}").FIGURE
        yield from _figure(record.name + f"-{name}" * (name != FIGURES[0]), partial(draw, record.data), folder, drawn)
    if record.name in mechanism.PREDICTED:
        draw = mechanism.PREDICTED[record.name]
        yield from _figure(f"{record.name}-prediction", partial(draw, record), folder, drawn)
    for claim in record.verdict.claims:
        yield f"### {record.name}: {claim.name}"
        if claim.says:
            yield f"> {claim.says}"
        yield ("Stated after results were available. " * claim.stated_later) + claim.sentence
    yield markdown(part for part in parts if part.title.startswith(("Take-off", "What the gradients show")))


def _figure(name: str, draw: Callable[[], Drawing], folder: Path, drawn: dict[Path, Figure]) -> Iterator[str]:
    """A figure and its caption; nothing where it can't be drawn."""
    with rc_context(rc=RC):
        try:
            drawing = draw()
        except NotDrawn:
            return
    file = folder / f"{name}.svg"
    drawn[file] = drawing.figure
    yield f"![{name}: {drawing.alt}]({file.name})"
    yield drawing.caption


def _conditions(found: Sequence[Record]) -> str:
    rows = []
    for record in found:
        base, about = record.spec.base, record.conditions
        rows.append(
            (
                record.name,
                str(base.get("regime", "")),
                str(record.spec.search_plan().total),
                seeds(record.spec.seeds)
                + (f", confirmed on {seeds(record.spec.fresh_seeds)}" if record.spec.confirm else ""),
                str(base.get("epochs", "")),
                str(base.get("batch_size", "")),
                "" if about.minutes is None else f"{about.minutes:.0f}",
                (about.commit or "")[:12],
            )
        )
    head = ("sweep", "regime", "configurations", "seeds", "epochs", "batch size", "minutes, pauses included", "commit")
    data = {name: digest for record in found for name, digest in record.conditions.digests.items()}
    versions = dict.fromkeys(
        ", ".join(f"{name} {version}" for name, version in record.conditions.versions.items()) for record in found
    )
    digests = "; ".join(f"{_data(name)}, sha256 {digest}" for name, digest in data.items())
    return "\n\n".join(["## The conditions", table(head, rows), f"Data: {digests}. {'; '.join(versions)}."])


def _data(name: str) -> str:
    return "a folder of images" if name.startswith("folder:") else name
