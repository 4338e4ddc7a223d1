"""A sweep as its user writes it (section 5 of the design): a YAML file, checked before anything runs.

    >>> spec = read("alpha-r", ["base.epochs=2", "seeds=2"])
    >>> spec.members({"alpha": 2.0, "r": 0.01})
    (MemberConfig(..., seed=0), MemberConfig(..., seed=1))

An error says where (the file and line, or the setting), what is wrong, and what would be right:
`quickstart.yaml:12: search.space.alpha.low: low < high must hold, but got 0.5 and 0.1`.
"""

from __future__ import annotations

import pathlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from search_spaces.space import SEARCHABLE
from sweeps.spec.checks import problems
from sweeps.spec.model import PARTS, Arm, Base, Resources, SweepSpec
from sweeps.spec.values import KINDS, SPACE_KEYS, Problem, refuse
from sweeps.spec.yaml_lines import DEEPEST, Path, YamlError, dotted, dump, load
from tracking.store import without_password
from trainers.errors import MOST_PROBLEMS, SpecError, did_you_mean, shown
from trainers.members import FIELDS

__all__ = ["Resources", "SpecError", "SweepSpec", "parse", "read", "studies"]

LARGEST = 1 << 20  # bytes
LISTED = "`gradsweep fields` lists them"


def studies() -> dict[str, str]:
    """The shipped studies: name -> YAML text, by name."""
    folder = pathlib.Path(__file__).parents[1] / "studies"
    return {file.stem: file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.yaml"))}


def read(
    source: str | pathlib.Path | Mapping[str, Any], settings: Sequence[str] = (), name: str | None = None
) -> SweepSpec:
    """The spec of a file, of a shipped study or of plain data, with `key=value` settings and a name over it.

    Raises SpecError.
    """
    settings = [*settings, *([] if name is None else [f"name={name}"])]
    if isinstance(source, Mapping):
        try:  # by way of YAML: what could not be written there could not be kept either
            text = dump(source)
        except Exception as error:  # PyYAML's own, of an object that is no plain data
            raise SpecError([f"spec: must be plain data, as in YAML: {error}"]) from None
        return parse(text, "", settings)
    path = pathlib.Path(source)
    shipped = studies()
    if str(source) in shipped and not path.exists():
        return parse(shipped[str(source)], f"{source}.yaml", settings)
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except FileNotFoundError:
        hint = did_you_mean(str(source), shipped)
        raise SpecError([f"{source}: there is no such file, and no shipped study of this name; {hint}"]) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SpecError([f"{source}: can't be read: {reason}; a YAML file is wanted"]) from None
    if len(content) > LARGEST:
        raise SpecError([f"{source}: a spec has at most {LARGEST >> 20} MiB, but this is larger"])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SpecError([f"{source}:{line}: not text: a spec is YAML in UTF-8"]) from None
    return parse(text, str(source), settings)


def parse(text: str, name: str = "spec", settings: Sequence[str] = (), *, begun: bool = False) -> SweepSpec:
    """The same from YAML text; `name` stands for the file in errors, which without one have no lines.

    That of a sweep which has `begun` was checked then: it can be read where what it uses is no longer installed.
    """

    def at(line: int) -> str:
        return f"{name}:{line}" if name else "spec"

    try:
        data, lines = load(text)
    except YamlError as error:
        raise SpecError([f"{at(error.line)}: {error}"]) from None
    if not isinstance(data, dict):
        what = "is empty" if data is None else f"is {shown(data)}"
        raise SpecError([f"{at(1)}: a spec is a mapping that begins with name: ..., but this {what}"])
    places = {path: at(line) for path, line in lines.items()}
    for setting in settings:
        _set(data, setting, places)
    try:
        spec = SweepSpec.model_validate(data)
        refuse([] if begun else problems(spec))
        return spec
    except ValidationError as error:
        details = error.errors(include_url=False)
    # To find words for each takes longer than to read them: a file of a hundred thousand wrong keys takes no time.
    wrong = [_problem(detail) for detail in details[:MOST_PROBLEMS]]
    if not isinstance(data.get("objective"), list):  # one is written without the list that it is in the model
        wrong = [((path[0], *path[2:]) if path[:1] == ("objective",) else path, message) for path, message in wrong]
    # The place of a problem is that of its key, or of the nearest one around it that is written.
    nearest = [next(places[path[:n]] for n in range(len(path), -1, -1) if path[:n] in places) for path, _ in wrong]
    lines_of = zip(nearest, wrong, strict=True)
    unsaid = len(details) - len(wrong)
    raise SpecError([f"{place}: {dotted(path)}{message}" for place, (path, message) in lines_of], unsaid)


def _set(data: dict[str, Any], setting: str, places: dict[Path, str]) -> None:
    """Puts a `key=value` into the data, and its place, for errors, over what was there."""
    place = without_password(f"--set {setting if len(setting) <= 80 else setting[:77] + '...'}")
    key, equals, text = setting.partition("=")
    parts = key.split(".")
    if not equals or not all(parts) or len(parts) > DEEPEST:
        raise SpecError([f"{place}: must be key=value, with a dotted key like base.epochs=2"])
    try:
        value, _ = load(text)
    except YamlError as error:
        raise SpecError([f"{place}: {dotted((key,))}{error}"]) from None
    path: Path = ()
    inner: Any = data
    for part in parts:
        if path:  # into what is there, or made
            if isinstance(inner, dict) and inner.get(path[-1]) is None:
                inner[path[-1]], places[path] = {}, place
            inner = inner[path[-1]]
        is_item = isinstance(inner, list) and part.isdecimal() and int(part) < len(inner)
        if not is_item and not isinstance(inner, dict):
            raise SpecError([f"{place}: {dotted(path)}has no {part!r} to set: it is {shown(inner)}"])
        path = (*path, int(part) if is_item else part)
    inner[path[-1]] = value
    for below in [p for p in places if p[: len(path)] == path]:
        del places[below]
    places[path] = place


def _problem(detail: ErrorDetails) -> Problem:
    """Pydantic's words in ours."""
    path, kind, context = detail["loc"], detail["type"], detail.get("ctx", {})
    if kind == "rule":
        return path, context["text"]
    if kind == "value_error":
        message = str(context["error"])
        word = message.split()[0]  # a range's messages begin with the end that is wrong
        return (*path, word) if word in ("low", "high") else path, message
    if kind == "missing":
        return path, "is missing"
    if kind == "extra_forbidden":
        return path, _unknown(path)
    mapping = "a mapping of keys to values"
    wanted = {
        "string_type": KINDS[str],
        "int_type": KINDS[int],
        "float_type": KINDS[float],
        "bool_type": KINDS[bool],
        "string_pattern_mismatch": "1 to 47 of a-z, 0-9 and -, begin with a letter and not end with -",
        "tuple_type": "a list",
        "dict_type": "a mapping with a name" if path[-1] in ("sampler", "pruner") else mapping,
        "model_type": mapping,
        "greater_than_equal": f"at least {context.get('ge', 0):g}",
        "less_than_equal": f"at most {context.get('le', 0):.15g}",
        "literal_error": str(context.get("expected")).replace("'", ""),
    }.get(kind)
    what = f"must be {wanted}" if wanted else detail["msg"]
    return path, f"{what}, but got {shown(detail['input'])}"


def _unknown(path: Path) -> str:
    """What to say about an unknown key."""
    first, key = str(path[0]), str(path[-1])
    part = PARTS.get(first, SweepSpec)
    known: Collection[str] = [field.alias or name for name, field in part.model_fields.items()]
    if path[:2] == ("search", "space"):
        known = SEARCHABLE if len(path) == 3 else SPACE_KEYS
        if key in FIELDS:
            return f"can't be searched; can be: {', '.join(known)}"
    elif first in ("base", "arms"):
        known = (Base if first == "base" else Arm).__annotations__
        if key == "seed":
            return "unknown key; the seeds of all configurations are given by seeds"
        if key in FIELDS:
            return f"unknown key; {key} is given in arms and searched in search.space"
    return f"unknown key; {did_you_mean(key, known, LISTED)}"
