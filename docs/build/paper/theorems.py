"""What `gradsweep theory` says of the paper's two theorems: a page of its own, and in a line each for paper.md."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from docs.build.pages import table
from sweeps.commands.theory import PARTS, counter_example
from trainers.theory.check import check

HOLDS = {"everywhere tested": "holds for", "in a region": "in a region for", "fails": "does not hold for"}
# The statements of the theorems that paper.md has: what it calls them, the part and the claim in `gradsweep theory`.
STATEMENTS = (
    ("Theorem 1: gradients vanish where parameters are large", "theorem 1", "first bound"),
    ("Theorem 1: with the penalty they do not", "theorem 1", "second bound"),
    ("Theorem 2: gradients vanish where there are many layers", "theorem 2", "bound"),
    ("Theorem 2: with a large alpha they do not", "theorem 2", "limit"),
)


@cache
def checked() -> dict[str, Any]:
    """All that is checked; it takes some seconds."""
    return check()


def lines() -> list[tuple[str, str]]:
    """A statement and where it holds, each."""
    rows = []
    for says, part, name in STATEMENTS:
        of = [c for c in checked()["claims"] if (c["part"], c["name"]) == (part, name)]
        parts = [(word, [c["activation"] for c in of if c["holds"] == holds]) for holds, word in HOLDS.items()]
        rows.append((says, "; ".join(f"{word} {', '.join(own)}" for word, own in parts if own)))
    return rows


def page(figure: Path) -> str:
    """The page, with a figure by its relative path."""
    theory = checked()
    parts = [
        "# The theorems",
        f"![Where the bounds of the two theorems hold]({figure})",
        f"`gradsweep theory`: closed forms against autograd in float64 (largest relative difference "
        f"{theory['disagreement']:.1e}), grids, and {theory['draws']} random draws for each bound.",
    ]
    for part, title in PARTS:
        rows = [
            [c["name"], c["activation"], c["holds"], "; ".join(filter(None, (c["region"], c["evidence"])))]
            for c in theory["claims"]
            if c["part"] == part
        ]
        parts += [f"## {title}", table(["claim", "f", "holds", "where, and how we know"], rows)]
    rows = [[f"{c['part']}, {c['name']}", *counter_example(c)] for c in theory["claims"] if c["counter_example"]]
    parts += ["## Counter-examples", table(["claim", "at", "what", "numbers"], rows)]
    parts.append("The arguments, and the paper's proofs step by step, are in [theory.md](../theory.md).")
    return "\n\n".join(parts) + "\n"
