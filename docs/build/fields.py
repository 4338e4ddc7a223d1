"""The page of everything that a spec may say and of everything that is recorded. `make fields` calls it.

python -m docs.build.fields > docs/fields.md
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sweeps.commands.fields import NEEDED, REGIMES, recorded, row, spec_fields
from trainers.measurements import MEASUREMENTS

INTRODUCTION = """\
# Fields and metrics

Made by `make fields` from what `gradsweep fields` and `gradsweep metrics` print.

## What a spec may say

A field of `base` may stand in an arm too. Those marked with * can be searched, under the same name in `search.space`.
Where nothing stands under default, a field may be left out.
"""
METRICS = """
## What is recorded of every network and epoch

`layer.NAME.…` are of each layer with parameters; in `gradsweep export --layers` they are columns of their own, without
`layer.NAME.`. `learned.…` are there where something of the kind is learned.
"""
MEASURED = """
## What is recorded where a spec asks for it

`measure: [jacobian, signal]` in `base` or in an arm asks for these, `measure_at: [0, 30]` says at which epochs. The
regime `recurrent` asks for `hidden` and `lyapunov` by itself. `layer.stepK.…` are of the step that is K steps before
the last one of a recurrent network; in `gradsweep export --layers` they are rows of the kind `step` and the depth K.
"""


def page() -> str:
    """The page as Markdown."""
    fields = [
        (
            f"`{key}`{' *' * entry.get('searchable', False)}",
            kind,
            default if default in ("", NEEDED, REGIMES) else f"`{default}`",
            meaning,
        )
        for entry in spec_fields()
        for key, kind, default, meaning in [row(entry)]
    ]
    metrics = recorded()
    always = [(f"`{of['name']}`", of["line"]) for of in metrics if not of["measure"]]
    asked = [
        (f"`{name}`", f"`{of['name']}`", of["line"]) for name in MEASUREMENTS for of in metrics if of["measure"] == name
    ]
    measurements = [(f"`{name}`", of.line) for name, of in MEASUREMENTS.items()]
    return "\n".join(
        (
            INTRODUCTION,
            *_table(("field", "type", "default", "meaning"), fields),
            METRICS,
            *_table(("metric", "meaning"), always),
            MEASURED,
            *_table(("measure", "meaning"), measurements),
            "",
            *_table(("measure", "metric", "meaning"), asked),
            "",
        )
    )


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """As Markdown has it, where a bar in a cell has to be marked."""
    cells = [[cell.replace("|", "\\|") for cell in cells] for cells in rows]
    return [f"| {' | '.join(line)} |" for line in (columns, ["---"] * len(columns), *cells)]


if __name__ == "__main__":
    print(page(), end="")
