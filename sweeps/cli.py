"""The command line: `gradsweep COMMAND`. Exit status: 0 done, 1 failed, 2 the request was wrong, 130 interrupted.

What a command says goes to standard output, or one JSON document with `--json`; logs and progress go to standard
error. A command imports what it needs when it runs, so that `--help` answers at once.
"""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from trainers.errors import TargetError, is_wrong_request, printable

app = typer.Typer(
    name="gradsweep",
    help="Distributed hyperparameter sweeps for the study of vanishing gradients.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

MOST_SAID = 2000  # characters of an error

Spec = Annotated[str, typer.Argument(metavar="SPEC", help="a YAML file, or the name of a shipped study")]


def _a_name(name: str) -> str:
    """Refused here, since no place has a sweep of another name, and each would stumble over it in its own way."""
    from sweeps.spec.checks import NAME

    if not NAME.fullmatch(name):
        raise typer.BadParameter(f"there is no sweep {name!r}: a name is 1 to 47 of a-z, 0-9 and -")
    return name


Name = Annotated[str, typer.Argument(metavar="NAME", help="the sweep's name", callback=_a_name)]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="change the spec, as base.epochs=2; may be given again"),
]
StoreFolder = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="DIR-OR-FILE",
        help="where sweeps live: a folder, or a YAML file with its places; else $GRADSWEEP_STORE or ./gradsweep-store",
    ),
]
To = Annotated[
    str | None,
    typer.Option(
        "--to", metavar="ADDRESS", help="a Ray cluster, http://HEAD:8265, or k8s://NAMESPACE; else this machine"
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="go on with this sweep where it stopped; start it where it is not there")
]
Json = Annotated[bool, typer.Option("--json", help="one JSON document on standard output")]


@app.callback()
def _settings(
    debug: Annotated[bool, typer.Option("--debug", help="tracebacks, and Ray's own log")] = False,
) -> None:
    if debug:
        os.environ["GRADSWEEP_DEBUG"] = "1"


@app.command()
def run(
    spec: Spec,
    name: Annotated[str | None, typer.Option(help="another name than the spec's")] = None,
    set_: Set = None,
    store: StoreFolder = None,
    resume: Resume = False,
    executor: Annotated[Literal["ray", "in-process"], typer.Option(help="what trains the packs")] = "ray",
    json_: Json = False,
) -> None:
    """Run a sweep here and wait: live progress, then the verdict."""
    from sweeps.commands import run as command

    request = command.Request(spec, tuple(set_ or ()), name, store, resume, executor)
    raise typer.Exit(command.run(request, as_json=json_))


@app.command()
def plan(spec: Spec, set_: Set = None, json_: Json = False) -> None:
    """Say what a spec would run, and about how long; train nothing."""
    from sweeps.commands import look

    _say(look.plan(spec, set_ or []), look.plan_text, json_)


@app.command()
def submit(
    spec: Spec,
    to: To = None,
    name: Annotated[str | None, typer.Option(help="another name than the spec's")] = None,
    set_: Set = None,
    store: StoreFolder = None,
    resume: Resume = False,
    pool: Annotated[
        Path | None, typer.Option(metavar="FILE", help="what the owner of a Kubernetes pool says of it, as YAML")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="print what Kubernetes would be sent, and no more")
    ] = False,
    json_: Json = False,
) -> None:
    """Run a sweep in the background, here or on a cluster, and say where to look."""
    from sweeps.commands import places

    where = places.Where(to, store, pool)
    found = places.submit(spec, set_ or [], name, where, resume=resume, dry_run=dry_run)
    _say(found, places.submitted_text, json_)


@app.command("list")
def list_(to: To = None, store: StoreFolder = None, json_: Json = False) -> None:
    """The sweeps in the store, or on a cluster."""
    from sweeps.commands import places

    where = places.Where(to, store)
    _say(places.sweeps(where), lambda found: places.sweeps_text(found, where), json_)


@app.command()
def status(name: Name, to: To = None, store: StoreFolder = None, json_: Json = False) -> None:
    """How far a sweep is, and whether it is running."""
    from sweeps.commands import places

    _say(places.status(name, places.Where(to, store)), places.status_text, json_)


@app.command()
def logs(
    name: Name,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="until the sweep is through")] = False,
    to: To = None,
    store: StoreFolder = None,
) -> None:
    """What a submitted sweep's driver has printed."""
    from sweeps.commands import places

    places.logs(name, places.Where(to, store), follow=follow)


@app.command()
def stop(name: Name, to: To = None, store: StoreFolder = None, json_: Json = False) -> None:
    """End a running sweep: it closes its books first, and can be resumed."""
    from sweeps.commands import places

    _say(places.stop(name, places.Where(to, store)), places.status_text, json_)


@app.command()
def resume(name: Name, to: To = None, store: StoreFolder = None, json_: Json = False) -> None:
    """Go on in the background with a sweep that has stopped, with the spec that it was begun with."""
    from sweeps.commands import places

    _say(places.resume(name, places.Where(to, store)), places.submitted_text, json_)


@app.command()
def report(
    name: Name,
    store: StoreFolder = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="write it with its figures, as one page")
    ] = None,
    json_: Json = False,
) -> None:
    """The verdict of a finished or running sweep."""
    from sweeps.commands import results

    if html is not None:
        return _say(results.html(name, html, store), results.html_text, json_)
    document, text = results.report(name, store)
    _say(document, lambda _: text, json_)


@app.command()
def export(
    name: Name,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Parquet or CSV, by its ending")],
    store: StoreFolder = None,
    json_: Json = False,
) -> None:
    """Every record as one tidy table."""
    from sweeps.commands import results

    _say(results.export(name, file, store), results.export_text, json_)


@app.command()
def audit(name: Name, store: StoreFolder = None, json_: Json = False) -> None:
    """Whether a sweep's records are sound: Optuna, the spool, MLflow and its artifacts against each other."""
    from sweeps.commands import audit as command

    found = command.audit(name, store)
    _say(found, command.audit_text, json_)
    raise typer.Exit(0 if found["sound"] else 1)


@app.command()
def sync(name: Name, store: StoreFolder = None, json_: Json = False) -> None:
    """Deliver to MLflow what waits in a sweep's spool since MLflow was away."""
    from sweeps.commands import sync as command

    status, found = command.sync(name, store)
    _say(found, command.sync_text, json_)
    raise typer.Exit(status)


@app.command()
def ui(
    store: StoreFolder = None,
    host: Annotated[
        str, typer.Option(help="another than this machine's own needs a password in MLFLOW_AUTH_ADMIN_PASSWORD")
    ] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="else 5000, or a free one where that is taken")] = None,
    json_: Json = False,
) -> None:
    """The MLflow UI on the store, for this machine or with a password for others too, until Ctrl-C."""
    from sweeps.commands import ui as command

    raise typer.Exit(command.ui(store, host, port, lambda started: _say(started, command.ui_text, json_)))


@app.command()
def studies(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="print this one's YAML")] = None,
    json_: Json = False,
) -> None:
    """The sweeps that ship with it."""
    from sweeps.commands import look

    _say(look.studies(name), look.studies_text, json_)


@app.command()
def regimes(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="only this one")] = None,
    json_: Json = False,
) -> None:
    """The networks, layer by layer, with output shapes and parameter counts beside the paper's."""
    from sweeps.commands import look

    _say(look.regimes(name), look.regimes_text, json_)


@app.command()
def theory(
    figure: Annotated[Path | None, typer.Option(metavar="FILE", help="draw it too: .png, .svg or .pdf")] = None,
    json_: Json = False,
) -> None:
    """Check the paper's two theorems numerically: where they hold, and where not."""
    from sweeps import theory_table

    raise typer.Exit(theory_table.run(json=json_, figure=figure))


@app.command()
def bench(
    regime: Annotated[list[str] | None, typer.Option(help="only this one; may be given again")] = None,
    batch: Annotated[list[int] | None, typer.Option(min=1, help="batch size, else 32 and 128")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="else all cores")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="how often each way is timed")] = 5,
    compiled: Annotated[
        bool, typer.Option("--compile/--no-compile", help="torch.compile too: needs a C++ compiler, and minutes")
    ] = True,
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="cuda: a GPU's engines, 1 to 1,000 members")] = "cpu",
    json_: Json = False,
) -> None:
    """Time the engines against plain PyTorch in one run.

    On the CPU: milliseconds for a thousand images, ratios, and the share of what the cores can do. With --device cuda:
    PyTorch one member at a time (eager, with CUDA graphs, compiled), the batched reference engine and the cuda engine
    with 1, 25, 100, 225 and 1,000 members; member-epochs of 45,000 images an hour, ratios, and the shares of the
    device's peaks of float32 and of memory, both measured in the same rounds.
    """
    from sweeps.commands import bench as command

    found = command.bench(regime or [], batch or [], threads, rounds, compiled, device)
    _say(found, command.bench_text, json_)


def _say(found: Any, text: Any, as_json: bool) -> None:
    """Print what a command found, as its text or as JSON."""
    print(json.dumps(found, indent=2, allow_nan=False) if as_json else text(found))


class _ToStandardError(logging.Handler):
    """Standard error as it is at the moment: while there are live bars it is above them."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr)


def main(arguments: list[str] | None = None) -> None:
    """The console script. Ends the process with the exit status."""
    # Ours, the workers' and the databases': whatever they make, nobody else may write it.
    os.umask(os.umask(0o077) | 0o022)
    logging.basicConfig(level=logging.WARNING, handlers=[_ToStandardError()], format="%(message)s")
    logging.getLogger("gradsweep").setLevel(logging.INFO)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal of another encoding
    sys.exit(_status(arguments))


def _status(arguments: list[str] | None) -> int:
    from typer.exceptions import TyperException

    try:
        found = app(arguments, standalone_mode=False)
        sys.stdout.flush()
        return found if isinstance(found, int) else 0
    except TyperException as error:
        said = error.format_message() if hasattr(error, "format_message") else str(error)
        return _wrong(f"{said} (gradsweep --help, gradsweep COMMAND --help)")
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        # The reader has seen enough, as `head` has.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get("GRADSWEEP_DEBUG"):
            raise
        if isinstance(error, TargetError):
            _wrong(str(error))
            return error.exit_code
        if is_wrong_request(error):
            return _wrong(*getattr(error, "problems", [str(error)]))
        first = (str(error).strip().splitlines() or [""])[0]
        print(_line(f"{type(error).__name__}: {first} (--debug shows where)"), file=sys.stderr)
        return 1


def _wrong(*problems: str) -> int:
    for problem in problems:
        print(_line(problem), file=sys.stderr)
    return 2


def _line(message: str) -> str:
    """One line that a terminal shows and does not obey, whatever the message quotes; without passwords."""
    from tracking.store import without_password

    shown = without_password(message)
    return f"gradsweep: {printable(shown[:MOST_SAID])}" + (" ..." if len(shown) > MOST_SAID else "")


if __name__ == "__main__":
    main()
