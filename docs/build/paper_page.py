"""The page about the paper: a section a figure with its claims, our figure and our verdict, then the two theorems.

    >>> write_page([Path("paper-store")], Path("docs"))
    PosixPath('docs/paper.md')

All of it is read from the records and from `gradsweep theory`; `notes/NAME.md` beside the page, where there is one, is
what people have to say to a section.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from docs.build.pages import answer, finished, minutes, note, seeds, table, versions
from docs.build.paper import BATCH_SIZES, STUDIES, sweep_name
from sweeps.commands.theory import PARTS, counter_example
from sweeps.driver.status import stored_spec
from sweeps.driver.sweep import verdict_of
from sweeps.spec.reading import SweepSpec
from tracking.figures.album import draw
from tracking.figures.style import write
from tracking.figures.theory import save
from tracking.ledger import opened
from tracking.results import load_wide, outcomes
from tracking.store import Store
from tracking.types import Sweep
from tracking.verdict.sections import sections
from tracking.verdict.tables import markdown
from tracking.verdict.types import ClaimVerdict, Verdict
from trainers.errors import RequestError
from trainers.theory.check import check

FIGURE = "accuracy-and-gradients"


@dataclass(frozen=True)
class Shown:
    """A sweep that the page is about."""

    batch_size: int
    spec: SweepSpec
    sweep: Sweep
    verdict: Verdict
    figure: str


def write_page(folders: Sequence[Path], out: Path) -> Path:
    """Write paper.md and its figures for every finished sweep of the studies that lies in a store; the page's path.

    Of a sweep that is in several, the first store's is shown. Raises RequestError where there is none.
    """
    stores = [Store.at(folder) for folder in folders]
    figures = out / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    found = {study: list(_shown(study, stores, figures)) for study in STUDIES}
    if not any(found.values()):
        raise RequestError(f"{folders[0]}: none of the studies {', '.join(STUDIES)} is finished there")
    save(figures / "theory.svg")
    parts = [
        "# The paper, checked",
        note(out / "notes", "paper"),
        _overview(found),
        _conditions(found),
        *(_section(study, shown, out) for study, shown in found.items() if shown),
        _theory(check()),
        note(out / "notes", "theory"),
        "Written by `make paper` from the records of its sweeps; what is in `docs/notes` is by hand.",
    ]
    page = out / "paper.md"
    page.write_text("\n\n".join(part for part in parts if part) + "\n")
    return page


def _shown(study: str, stores: Sequence[Store], figures: Path) -> Iterator[Shown]:
    for batch_size in BATCH_SIZES:
        name = sweep_name(study, batch_size)
        if (store := next((s for s in stores if finished(name, s)), None)) is None:
            continue
        spec = stored_spec(name, store)
        with opened(name, store) as (_, sweep):
            verdict = verdict_of(spec, store)
        file = figures / f"{name}.svg"
        picture = draw(load_wide(name, store), outcomes(name, store)).pictures[FIGURE]
        picture.figure.axes[0].set_title(f"{study}, batch size {batch_size}", loc="left", fontweight="bold")
        write(picture.figure, file)
        shown = f"![{spec.name}: {picture.alt}]({figures.name}/{file.name})"
        yield Shown(batch_size, spec, sweep, verdict, shown)


def _overview(found: dict[str, list[Shown]]) -> str:
    rows = []
    for study, shown in found.items():
        for name in dict.fromkeys(c.name for s in shown for c in s.verdict.claims):
            of = {s.batch_size: c for s in shown for c in s.verdict.claims if c.name == name}
            rows.append([study, next(iter(of.values())).question, *(answer(of.get(b)) for b in BATCH_SIZES)])
    return "## In short\n\n" + table(["", "claim", *(f"batch size {b}" for b in BATCH_SIZES)], rows)


def _conditions(found: dict[str, list[Shown]]) -> str:
    rows = []
    for shown in found.values():
        for s in shown:
            base = s.spec.base
            rows.append(
                [
                    s.spec.name,
                    str(base["regime"]),
                    str(len(s.spec.arms)),
                    seeds(s.spec.seeds),
                    str(base["epochs"]),
                    str(s.batch_size),
                    minutes(s.sweep),
                    (s.sweep.commit or "")[:12],
                ]
            )
    head = ["sweep", "regime", "arms", "seeds", "epochs", "batch size", "minutes", "commit"]
    every = [s for shown in found.values() for s in shown]
    digests = sorted({digest for s in every for digest in s.sweep.digests.values()})
    data = sorted(
        {"a folder of images" if d.startswith("folder:") else d for d in (s.spec.base["data"] for s in every)}
    )
    return "\n\n".join(
        [
            "## The conditions",
            table(head, rows),
            f"Data: {', '.join(data)}, sha256 {', '.join(digests)}. Adam with learning rate "
            f"{', '.join(sorted({str(s.spec.base.get('learning_rate', 0.001)) for s in every}))}. "
            f"{versions(every[0].sweep)}.",
        ]
    )


def _section(study: str, shown: Sequence[Shown], out: Path) -> str:
    parts = [f"## {study}", shown[0].spec.question or ""]
    parts += [s.figure for s in shown]
    for name in dict.fromkeys(c.name for s in shown for c in s.verdict.claims):
        parts += _claim([(s.batch_size, c) for s in shown for c in s.verdict.claims if c.name == name])
    for s in shown:
        gradients = [part for part in sections(s.verdict) if part.title.startswith("What the gradients show")]
        parts.append(markdown(replace(part, title=f"{part.title}, batch size {s.batch_size}") for part in gradients))
    return "\n\n".join(part for part in [*parts, note(out / "notes", study)] if part)


def _claim(found: Sequence[tuple[int, ClaimVerdict]]) -> Iterable[str]:
    claim = found[0][1]
    yield f"### {claim.name}"
    if claim.says:
        yield f"> {claim.says}"
    yield "\n".join(f"- Batch size {batch_size}: {c.sentence}" for batch_size, c in found)
    if len({c.answer for _, c in found}) > 1:
        seeds = sorted({len(c.comparison.pairs) for _, c in found if c.comparison})
        if len(seeds) > 1:
            yield f"The answers differ, and {seeds[0]} seeds decide less than {seeds[-1]}."
        else:
            yield "The batch size changes the answer."


def _theory(theory: dict[str, Any]) -> str:
    parts = [
        "## The theorems",
        "![Where the bounds of the two theorems hold](figures/theory.svg)",
        f"`gradsweep theory`: closed forms against autograd in float64 (largest relative difference "
        f"{theory['disagreement']:.1e}), grids, and {theory['draws']} random draws for each bound.",
    ]
    for part, title in PARTS:
        rows = [
            [c["name"], c["activation"], c["holds"], "; ".join(filter(None, (c["region"], c["evidence"])))]
            for c in theory["claims"]
            if c["part"] == part
        ]
        parts += [f"### {title}", table(["claim", "f", "holds", "where, and how we know"], rows)]
    rows = [[f"{c['part']}, {c['name']}", *counter_example(c)] for c in theory["claims"] if c["counter_example"]]
    parts += ["### Counter-examples", table(["claim", "at", "what", "numbers"], rows)]
    parts.append("The arguments, and the paper's proofs step by step, are in [theory.md](theory.md).")
    return "\n\n".join(parts)
