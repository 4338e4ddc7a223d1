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
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

Path = tuple[str | int, ...]
DEEPEST = 20
MOST = 25_000  # keys and values: a second or two of PyYAML's
_NULL, _BOOL, _INT, _FLOAT = (f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float"))
_RULES = (
    (_NULL, r"~|null|Null|NULL|", "~nN\0"),
    (_BOOL, r"true|True|TRUE|false|False|FALSE", "tTfF"),
    (_INT, r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (_FLOAT, r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
    (_FLOAT, r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+."),
)
_BASES = {"0o": 8, "0x": 16}
_PLAIN = "tag:yaml.org,2002:str"
# What YAML does not let stand in a file may not come as an escape ("\0", "\e[2J", half a surrogate pair) either.
_NO_TEXT = yaml.reader.Reader.NON_PRINTABLE


class YamlError(ValueError):
    """Text that is not the YAML we read; `line` counts from 1, `path` is where in the document, where that is known."""

    def __init__(self, message: str, line: int, path: Path = ()) -> None:
        super().__init__(message)
        self.line, self.path = line, path


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[Any]] = {}


class Dumper(yaml.SafeDumper):
    """Writes what `load` reads back: quotes what would not be text in YAML 1.2."""

    yaml_implicit_resolvers: dict[str, list[Any]] = {}

    def ignore_aliases(self, data: Any) -> bool:
        """Always: we don't read them."""
        return True


def _represent(dumper: yaml.SafeDumper, text: str) -> ScalarNode:
    # Line breaks of Unicode's, which PyYAML would write as they are and read back as spaces; in quotes it escapes them.
    style = '"' if any(c in text for c in "\x85\u2028\u2029") else None
    return dumper.represent_scalar(_PLAIN, text, style)


Dumper.add_representer(str, _represent)

for _tag, _rule, _first in _RULES:
    _pattern = re.compile(rf"^(?:{_rule})$")
    for _class in (_Loader, Dumper):
        _class.add_implicit_resolver(_tag, _pattern, ["" if c == "\0" else c for c in _first])


def load(text: str) -> tuple[Any, dict[Path, int]]:
    """The one document in the text as plain data, and path -> line of each of its keys and list items.

    Raises YamlError with the first thing that is wrong.
    """
    try:
        _refuse_bombs(text)
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = " ".join(", ".join(part for part in (error.context, error.problem) if part).split())
        raise YamlError(f"not YAML: {what}", mark.line + 1 if mark else 1) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _no_text(text[error.position], line) from None
    except YamlError:
        raise
    except (ValueError, OverflowError) as error:  # "\U00110000" is beyond what chr reads
        raise YamlError(f"not YAML: {error}", 1) from None
    lines: dict[Path, int] = {}
    return (None, lines) if node is None else (_value(node, (), lines), lines)


def _refuse_bombs(text: str) -> None:
    """Before anything is built: what is small as text and large, or deep, as data."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_Loader)):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent):
            raise YamlError(f"aliases are not read: write out what *{event.anchor} stands for", line)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise YamlError(f"nested more than {DEEPEST} deep", line)
        if count > MOST:
            raise YamlError(f"more than {MOST} keys and values", line)


def _value(node: Node, path: Path, lines: dict[Path, int]) -> Any:
    line = node.start_mark.line + 1
    lines.setdefault(path, line)
    if isinstance(node, MappingNode) and node.tag == "tag:yaml.org,2002:map":
        return dict(_items(node, path, lines))
    if isinstance(node, SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
        return [_value(item, (*path, i), lines) for i, item in enumerate(node.value)]
    if isinstance(node, ScalarNode) and node.tag in (_NULL, _BOOL, _INT, _FLOAT, _PLAIN):
        return _scalar(node.tag, node.value, line, path)
    raise YamlError(f"tags are not read: {node.tag}", line, path)


def _items(node: MappingNode, path: Path, lines: dict[Path, int]) -> Iterator[tuple[str, Any]]:
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, ScalarNode):
            raise YamlError("a key must be text, but this is a list or a mapping", line, path)
        here = (*path, _text(key.value, line, path))
        if here in lines:
            raise YamlError(f"given twice, first in line {lines[here]}", line, here)
        lines[here] = line
        yield key.value, _value(value, here, lines)


def _scalar(tag: str, text: str, line: int, path: Path) -> Any:
    if tag == _NULL:
        return None
    if tag == _BOOL:
        return text.lower() == "true"
    if tag == _PLAIN:
        return _text(text, line, path)
    try:
        number: int | float = (
            int(text, _BASES.get(text[:2], 10))
            if tag == _INT
            else float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        )
    except ValueError:  # !!int x, or more digits than Python reads
        raise YamlError(f"must be a number, but got {text[:40]!r}", line, path) from None
    if isinstance(number, int) and abs(number) >= 2**63:
        raise YamlError(f"must be a number below 2^63 in size, but got {text[:40]}", line, path)
    if not math.isfinite(number):
        raise YamlError(f"must be a finite number, but got {text[:40]}", line, path)
    return number


def _text(text: str, line: int, path: Path) -> str:
    if character := _NO_TEXT.search(text):
        raise _no_text(character[0], line, path)
    return text


def _no_text(character: str, line: int, path: Path = ()) -> YamlError:
    return YamlError(f"not text: it has the character U+{ord(character):04X}", line, path)


def dump(data: Mapping[str, Any]) -> str:
    """The data as YAML, keys in their order, which `load` reads back to equal data."""
    return yaml.dump(data, Dumper=Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100)
