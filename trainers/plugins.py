"""What other packages add to the tables, by their entry points: activations, normalizations, metrics and so on.

    [project.entry-points."gradsweep.activations"]
    swish2 = "gradsweep_swish:swish2"

The tables have these names from the start. An entry is imported when it is first asked for, so a broken package harms
nothing that does not use it; where it is used, a PluginError names the package and the entry point. Built-in names keep
their meaning: nothing is trained while a package claims one (`check`).

A sweep records the packages that it uses, their versions and the sha256 of their code, and continues only with the
same ones, after a resume and on every worker (`packages`, `difference`).
"""

from __future__ import annotations

import re
from collections import UserDict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.metadata import Distribution, EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from trainers.errors import PluginError, one_line

T = TypeVar("T")

GROUPS = tuple(f"gradsweep.{table}" for table in ("activations", "layers", "initializations", "metrics", "data"))
METRICS = "gradsweep.metrics"
NAME = re.compile(r"[a-z][a-z0-9_.-]*")
PACKAGE = re.compile(r"[\w.-]+==[^:]+")  # among digests: of data none looks like this
_WRONG: list[str] = []  # what `check` refuses


@dataclass(frozen=True)
class Plugin:
    """An entry of a table that has not been imported yet; `kind` is the type that it must have."""

    entry: EntryPoint
    kind: type
    rivals: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """Where it comes from, in the place of a line about it."""
        return f"of the package {_title(self.entry)}"

    def load(self) -> Any:
        """The entry itself. Raises PluginError."""
        who = f"{_title(self.entry)}, entry point {self.entry.name} of {self.entry.group}"
        if self.rivals:
            raise PluginError(f"{who}: {' and '.join(self.rivals)} adds this name, too: uninstall one of them")
        try:
            value = self.entry.load()
        except Exception as error:
            raise PluginError(f"{who}: {self.entry.value} can't be imported: {one_line(error)}") from error
        if not isinstance(value, self.kind):
            kind = f"{self.kind.__module__}.{self.kind.__name__}"
            raise PluginError(f"{who}: {self.entry.value} must be a {kind}, but is of type {type(value).__name__}")
        return value


class _Table(UserDict[str, Any]):
    """A table with entries of packages, imported when they are asked for."""

    def __getitem__(self, name: str) -> Any:
        if isinstance(value := self.data[name], Plugin):
            value = self.data[name] = value.load()
        return value


def extended(
    table: Mapping[str, T], group: str, kind: type[T], *, prefix: str = "", but: str = "-", taken: Collection[str] = ()
) -> Mapping[str, T]:
    """A table, and what packages add to it under a group of entry points.

    It takes names that begin with `prefix`, which is removed, and not with `but`. Names of the table and `taken` ones
    are left to `check`.
    """
    added: dict[str, list[EntryPoint]] = {}
    for entry in _entries():
        if entry.group == group and entry.name.startswith(prefix) and not entry.name.startswith(but):
            added.setdefault(entry.name.removeprefix(prefix), []).append(entry)
    extended = _Table(table)
    for name, entries in added.items():
        if not NAME.fullmatch(name) or name in table or name in taken:
            wrong = "is taken" if NAME.fullmatch(name) else "must be of a-z, 0-9, _, . and -"
            _WRONG.extend(f"{_title(e)}, entry point {e.name} of {group}: this name {wrong}" for e in entries)
        else:
            extended[name] = Plugin(entries[0], kind, tuple(_title(e) for e in entries[1:]))
    return extended if added else table


def unloaded(table: Mapping[str, T]) -> Mapping[str, T | Plugin]:
    """A table as it is, without importing anything: to say what is in it."""
    return table.data if isinstance(table, _Table) else table


def check(*tables: Mapping[str, object]) -> None:
    """Raise PluginError where a package adds a wrong name, or something to one of the tables that can't be imported."""
    if _WRONG:
        raise PluginError(f"{_WRONG[0]}: uninstall the package, or rename what it adds")
    for table in tables:
        for name in table:
            table[name]


def packages(names: Iterable[object] = (), also: Collection[str] = ()) -> dict[str, str]:
    """The packages whose code a sweep runs, as `name==version` -> sha256 of their code and entry points.

    Those that add one of the `names` (values of a member's fields), those that add a metric, which every sweep records,
    and those that are named in `also`.
    """
    wanted = {str(name).partition(":")[0] for name in names}
    used = {
        _package(entry).name: _package(entry)
        for entry in _entries()
        if entry.group == METRICS or entry.name in wanted or _package(entry).name in also
    }
    return {f"{name}=={package.version}": _digest(package) for name, package in sorted(used.items())}


def adding(activation: str, normalization: str) -> list[str]:
    """The packages that add these entries of the tables of a network's parts, as `name==version`."""
    wanted = {("gradsweep.activations", activation), ("gradsweep.layers", normalization)}
    of = [_package(entry) for entry in _entries() if (entry.group, entry.name) in wanted]
    return sorted({f"{package.name}=={package.version}" for package in of})


def among(digests: Mapping[str, str]) -> dict[str, str]:
    """The packages among the digests of a sweep's data and packages."""
    return {name: digest for name, digest in digests.items() if PACKAGE.fullmatch(name)}


def difference(began: Mapping[str, str]) -> str:
    """What of the packages here is not what a sweep was started with, in a line; "" where all is the same."""
    now = packages(also=[name.partition("==")[0] for name in began])
    before, here = ({name.partition("==")[0]: (name, d) for name, d in of.items()} for of in (began, now))
    for package in sorted(before.keys() | here.keys()):
        if before.get(package) != here.get(package):
            was, is_ = (_shown(of.get(package)) for of in (before, here))
            return f"the packages are not those that the sweep was started with: {package} was {was} and is {is_} here"
    return ""


def send(folder: Path) -> None:
    """Copy the packages that add something into a folder, from which a Python with that folder on its path has them."""
    for package in {_package(entry).name: _package(entry) for entry in _entries()}.values():
        sources = _sources(package)
        about = f"{re.sub(r'[-_.]+', '_', package.name)}-{package.version}.dist-info"
        texts = {
            "METADATA": f"Metadata-Version: 2.1\nName: {package.name}\nVersion: {package.version}\n",
            "entry_points.txt": package.read_text("entry_points.txt") or "",
            "RECORD": "".join(f"{name},,\n" for name in sources),
        }
        contents = {name: path.read_bytes() for name, path in sources.items()}
        for name, content in {**contents, **{f"{about}/{n}": text.encode() for n, text in texts.items()}}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)


@cache
def _entries() -> tuple[EntryPoint, ...]:
    installed = entry_points()  # once: it reads a file of every package
    return tuple(entry for group in GROUPS for entry in installed.select(group=group) if entry.dist)


def _package(entry: EntryPoint) -> Distribution:
    if entry.dist is None:
        raise PluginError(f"the entry point {entry.name} of {entry.group} belongs to no package")
    return entry.dist


def _title(entry: EntryPoint) -> str:
    return f"{_package(entry).name} {_package(entry).version}"


def _shown(package: tuple[str, str] | None) -> str:
    return f"{package[0].partition('==')[2]} (sha256 {package[1][:12]})" if package else "not there"


def _digest(package: Distribution) -> str:
    lines = [f"{name} {sha256(path.read_bytes()).hexdigest()}" for name, path in _sources(package).items()]
    lines += sorted(f"{e.group} {e.name} {e.value}" for e in package.entry_points if e.group in GROUPS)
    return sha256("\n".join(lines).encode()).hexdigest()


def _sources(package: Distribution) -> dict[str, Path]:
    """The files of its code by their place: those that it has recorded, or of an editable one what is imported."""
    recorded = {str(PurePosixPath(file)): Path(str(file.locate())) for file in package.files or ()}
    sources = {name: path for name, path in recorded.items() if _is_source(PurePosixPath(name)) and path.is_file()}
    return dict(sorted((sources or _imported(package)).items()))


def _is_source(file: PurePosixPath) -> bool:
    about = file.parts[0].endswith((".dist-info", ".egg-info")) or file.name.startswith("__editable__")
    return not about and ".." not in file.parts and "__pycache__" not in file.parts and file.suffix != ".pth"


def _imported(package: Distribution) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for module in {entry.module.partition(".")[0] for entry in package.entry_points if entry.group in GROUPS}:
        spec = find_spec(module)
        if spec and spec.submodule_search_locations is None and spec.origin:
            files[Path(spec.origin).name] = Path(spec.origin)
        for root in (spec and spec.submodule_search_locations) or ():
            inside = {PurePosixPath(module, path.relative_to(root).as_posix()): path for path in Path(root).rglob("*")}
            files |= {str(name): path for name, path in inside.items() if path.is_file() and _is_source(name)}
    return files
