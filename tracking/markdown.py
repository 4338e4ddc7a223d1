"""Sections and tables as Markdown: MLflow's description of a sweep, and the pages of the documentation."""

from __future__ import annotations

from collections.abc import Iterable

from tracking.verdict.tables import NUMBER, Section, Table

MOST = 8000  # characters that MLflow keeps of a description


def markdown(sections: Iterable[Section]) -> str:
    """Sections one below the other; what would be beyond MLflow's limit is left out, from the end."""
    text = "\n\n".join(filter(None, map(_section, sections)))
    return text if len(text) <= MOST else text[: text.rindex("\n", 0, MOST)]


def table(content: Table) -> str:
    """A table without its title."""
    heads = [column.name for column in content.columns]
    rules = ["---:" if column.kind == NUMBER else "---" for column in content.columns]
    rows = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in content.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in (heads, rules, *rows))


def _section(section: Section) -> str:
    parts = [f"**{section.title}**"] if section.title else []
    parts += ["\n".join(section.lines)] if section.lines else []
    for content in section.tables:
        parts += [f"{content.title}:", table(content)]
    return "\n\n".join(parts)
