"""YAML read into plain data, with the line of every key; the words are YAML 1.2's.

PyYAML follows YAML 1.1, where 1e-4 is a text, `no` and `on` are truth values and 1:30 is ninety. Here a number is a
number written either way, and truth is true or false. Keys are always text. Aliases are refused (a few lines of
them can stand for more than any memory holds), and so are tags, keys given twice, and numbers that are not finite.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

Path = tuple[str | int, ...]
DEEPEST = 20
MOST = 25_000  # keys and values: a second or two of PyYAML's
_NULL, _BOOL, _INT, _FLOAT, _TEXT = (f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str"))
_RULES = {
    _NULL: r"~|null|Null|NULL|",
    _BOOL: r"true|True|TRUE|false|False|FALSE",
    _INT: r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+",
    _FLOAT: r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
}
# What YAML does not let stand in a file may not come as an escape ("\0", "\e[2J", half a surrogate pair) either.
_NO_TEXT = yaml.reader.Reader.NON_PRINTABLE


class YamlError(Exception):
    """Text that is not the YAML we read; `line` counts from 1. The message begins with the key, where it is known."""

    def __init__(self, message: str, line: int, path: Path = ()) -> None:
        super().__init__(dotted(path) + message)
        self.line = line


def dotted(path: Path) -> str:
    """A path in front of a message: `search.space.alpha: `."""
    names = (str(part) if str(part).isprintable() else repr(part) for part in path)
    text = ".".join(name if len(name) <= 60 else f"{name[:57]}..." for name in names)
    return f"{text}: " if text else ""


def load(text: str) -> tuple[Any, dict[Path, int]]:
    """The one document in the text as plain data, and path -> line of each of its keys and list items.

    Raises YamlError with the first thing that is wrong.
    """
    if odd := _NO_TEXT.search(text):
        _text(odd[0], text.count("\n", 0, odd.start()) + 1, ())
    data, lines = None, dict[Path, int]()
    events: Iterator[Any] = yaml.parse(text, Loader=yaml.SafeLoader)
    try:
        next(events)  # the stream's start
        if isinstance(next(events), yaml.DocumentStartEvent):
            data = _value(next(events), events, (), lines)
            next(events)  # the document's end
            if not isinstance(more := next(events), yaml.StreamEndEvent):
                raise YamlError("not YAML: a second document begins here", more.start_mark.line + 1)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = " ".join(", ".join(part for part in (error.context, error.problem) if part).split())
        raise YamlError(f"not YAML: {what}", mark.line + 1 if mark else 1) from None
    except (ValueError, OverflowError) as error:  # "\U00110000" is beyond what chr reads
        raise YamlError(f"not YAML: {error}", 1) from None
    return data, lines


def _value(event: Any, events: Iterator[Any], path: Path, lines: dict[Path, int]) -> Any:
    """What begins with this event; the first thing that is wrong ends it before what follows is built."""
    line = event.start_mark.line + 1
    lines.setdefault(path, line)
    if isinstance(event, yaml.AliasEvent):
        raise YamlError(f"aliases are not read: write out what *{event.anchor} stands for", line)
    if event.tag is not None:
        raise YamlError(f"tags are not read: {event.tag}", line, path)
    if len(lines) > MOST:
        raise YamlError(f"more than {MOST} keys and values", line)
    if isinstance(event, yaml.ScalarEvent):
        return _scalar(event.value, event.implicit[0], line, path)
    if len(path) >= DEEPEST:
        raise YamlError(f"nested more than {DEEPEST} deep", line)
    if isinstance(event, yaml.SequenceStartEvent):
        items: list[Any] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            items.append(_value(event, events, (*path, len(items)), lines))
        return items
    entries: dict[str, Any] = {}
    while not isinstance(key := next(events), yaml.MappingEndEvent):
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarEvent):
            raise YamlError("a key must be text, but this is a list, a mapping or an alias", line, path)
        here = (*path, _text(key.value, line, path))
        if here in lines:
            raise YamlError(f"given twice, first in line {lines[here]}", line, here)
        lines[here] = line
        entries[key.value] = _value(next(events), events, here, lines)
    return entries


def _scalar(text: str, plain: bool, line: int, path: Path) -> Any:
    kind = next((tag for tag, rule in _RULES.items() if re.fullmatch(rule, text)), _TEXT) if plain else _TEXT
    if kind == _NULL:
        return None
    if kind == _BOOL:
        return text.lower() == "true"
    if kind == _TEXT:
        return _text(text, line, path)
    try:
        number = int(text, {"0o": 8, "0x": 16}.get(text[:2], 10)) if kind == _INT else float(text)
    except ValueError:  # .inf, .nan, or more digits than Python reads
        number = math.nan
    if isinstance(number, int) and abs(number) >= 2**63:
        raise YamlError(f"must be a number below 2^63 in size, but got {text[:40]}", line, path)
    if not math.isfinite(number):
        raise YamlError(f"must be a finite number, but got {text[:40]}", line, path)
    return number


def _text(text: str, line: int, path: Path) -> str:
    if odd := _NO_TEXT.search(text):
        raise YamlError(f"not text: it has the character U+{ord(odd[0]):04X}", line, path)
    return text


class _Dumper(yaml.SafeDumper):
    """Writes what `load` reads back: quotes what would not be text in YAML 1.2."""

    yaml_implicit_resolvers: dict[str, list[Any]] = {}

    def ignore_aliases(self, data: Any) -> bool:
        """Always: we don't read them."""
        return True


def _represent(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # Line breaks of Unicode's, which PyYAML would write as they are and read back as spaces; in quotes it escapes them.
    style = '"' if any(c in text for c in "\x85\u2028\u2029") else None
    return dumper.represent_scalar(_TEXT, text, style)


_Dumper.add_representer(str, _represent)
for _tag, _rule in _RULES.items():
    _Dumper.add_implicit_resolver(_tag, re.compile(rf"^(?:{_rule})$"), None)


def dump(data: Mapping[str, Any]) -> str:
    """The data as YAML, keys in their order, which `load` reads back to equal data."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100)
