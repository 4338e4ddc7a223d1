"""What a benchmark of ours found, as plain data: a line of text, or of docs/reliability.md."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Measured:
    """`what` was measured, how it was `tried`, with numbers, and what came out."""

    what: str
    tried: str
    outcome: str

    def __str__(self) -> str:
        return f"{self.what} ({self.tried}): {self.outcome}"
