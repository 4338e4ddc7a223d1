"""The commands, one module per group: what a command takes, its help, its work and its text are in one place.

To add one, write it in a module of `MODULES`. It prints to standard output, by `say`, and imports what it needs when it
runs, so that `--help` answers at once.
"""

from __future__ import annotations

import json
import shlex
from typing import Annotated, Any

import typer
from typer import Argument, Option

from sweeps.targets.target import addresses

# In the order of the help.
MODULES = (
    *("run", "places", "manage", "results", "compare", "weights"),
    *("audit", "sync", "ui", "look", "theory", "bench"),
)

app = typer.Typer(
    name="gradsweep",
    help="Distributed hyperparameter sweeps for the study of vanishing gradients.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def say(document: Any, text: str, as_json: bool) -> None:
    """Print a command's answer: the document, or the text that says the same."""
    print(json.dumps(document, indent=2, allow_nan=False) if as_json else text)


def typed(*words: str, store: str | None) -> str:
    """A command of ours as it is typed, ready to copy: on the same store."""
    return shlex.join(["gradsweep", *words, *(["--store", store] if store else [])])


def a_name(name: str) -> str:
    """Refused here, because no place has a sweep of another name."""
    from sweeps.spec.values import NAME

    if not NAME.fullmatch(name):
        raise typer.BadParameter(f"there is no sweep {name!r}: a name is 1 to 47 of a-z, 0-9 and -")
    return name


Spec = Annotated[str, Argument(metavar="SPEC", help="a YAML file, or the name of a shipped study")]
Name = Annotated[str, Argument(metavar="NAME", help="the sweep's name", callback=a_name)]
OtherName = Annotated[str | None, Option("--name", help="a name other than the spec's")]
Settings = Annotated[
    list[str] | None,
    Option("--set", metavar="KEY=VALUE", help="change the spec, for example base.epochs=2; repeatable"),
]
Store = Annotated[
    str | None,
    Option(
        metavar="DIR-OR-FILE",
        help="the store: a folder, or a YAML file that says where its parts are; default: $GRADSWEEP_STORE, or "
        "./gradsweep-store",
    ),
]
To = Annotated[str | None, Option(metavar="ADDRESS", help=addresses())]
One = Annotated[str | None, Argument(metavar="[NAME]", help="more about this one")]
Resume = Annotated[
    bool, Option("--resume", help="continue this sweep where it stopped, or start it if there is none yet")
]
Json = Annotated[bool, Option("--json", help="one JSON document on standard output")]
