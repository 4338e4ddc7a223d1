"""The command line: `gradsweep COMMAND`. Exit status: 0 done, 1 failed, 2 the request was wrong, 130 interrupted.

A command prints to standard output, with `--json` one JSON document; logs and progress go to standard error. A command
imports what it needs when it runs, so that `--help` answers at once.
"""

from __future__ import annotations

import io
import json
import logging
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from sweeps.targets.target import addresses
from trainers.errors import FAILED, WRONG_REQUEST, GradsweepError, one_line, printable

app = typer.Typer(
    name="gradsweep",
    help="Distributed hyperparameter sweeps for the study of vanishing gradients.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

MOST_CHARACTERS = 2000  # of an error
DEBUG = "GRADSWEEP_DEBUG"

Spec = Annotated[str, typer.Argument(metavar="SPEC", help="a YAML file, or the name of a shipped study")]


def _a_name(name: str) -> str:
    """Refused here, because no place has a sweep of another name."""
    from sweeps.spec.values import NAME

    if not NAME.fullmatch(name):
        raise typer.BadParameter(f"there is no sweep {name!r}: a name is 1 to 47 of a-z, 0-9 and -")
    return name


Name = Annotated[str, typer.Argument(metavar="NAME", help="the sweep's name", callback=_a_name)]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="change the spec, for example base.epochs=2; repeatable"),
]
StoreFolder = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="DIR-OR-FILE",
        help="the store: a folder, or a YAML file that says where its parts are; default: $GRADSWEEP_STORE, or "
        "./gradsweep-store",
    ),
]
To = Annotated[str | None, typer.Option("--to", metavar="ADDRESS", help=addresses())]
One = Annotated[str | None, typer.Argument(metavar="[NAME]", help="more about this one")]
Resume = Annotated[
    bool, typer.Option("--resume", help="continue this sweep where it stopped, or start it if there is none yet")
]
Json = Annotated[bool, typer.Option("--json", help="one JSON document on standard output")]


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"gradsweep {version('gradsweep')}")
        raise typer.Exit


@app.callback()
def _settings(
    debug: Annotated[bool, typer.Option("--debug", help="show tracebacks, and Ray's own log")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    if debug:
        os.environ[DEBUG] = "1"


@app.command()
def run(
    spec: Spec,
    name: Annotated[str | None, typer.Option(help="a name other than the spec's")] = None,
    set_: Set = None,
    store: StoreFolder = None,
    resume: Resume = False,
    executor: Annotated[
        Literal["ray", "in-process"], typer.Option(help="what trains the packs; in-process needs no Ray")
    ] = "ray",
    json_: Json = False,
) -> None:
    """Run a sweep here and wait: live progress, then the verdict."""
    from sweeps.commands import run as command

    status = command.run(spec, set_ or [], name, store, resume=resume, executor=executor, as_json=json_)
    raise typer.Exit(status)


@app.command()
def plan(spec: Spec, set_: Set = None, json_: Json = False) -> None:
    """Show what a spec would run, and about how long it takes."""
    from sweeps.commands import look

    _print(look.plan(spec, set_ or []), look.plan_text, json_)


@app.command()
def submit(
    spec: Spec,
    to: To = None,
    name: Annotated[str | None, typer.Option(help="a name other than the spec's")] = None,
    set_: Set = None,
    store: StoreFolder = None,
    resume: Resume = False,
    pool: Annotated[
        Path | None, typer.Option(metavar="FILE", help="the settings of a Kubernetes pool, as YAML")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only print what would be sent to Kubernetes")] = False,
    json_: Json = False,
) -> None:
    """Run a sweep in the background, here or on a cluster."""
    from sweeps.commands import places

    submitted = places.submit(spec, set_ or [], name, to, store, pool, resume=resume, dry_run=dry_run)
    _print(submitted, places.submitted_text, json_)


@app.command("list")
def list_(to: To = None, store: StoreFolder = None, json_: Json = False) -> None:
    """List the sweeps in the store, or on a cluster."""
    from sweeps.commands import places

    _print(places.sweeps(to, store), lambda listed: places.sweeps_text(listed, to, store), json_)


@app.command()
def status(name: Name, to: To = None, store: StoreFolder = None, json_: Json = False) -> None:
    """Show how far a sweep is, and whether it is running."""
    from sweeps.commands import places

    _print(places.status(name, to, store), places.status_text, json_)


@app.command()
def logs(
    name: Name,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="keep printing until the sweep ends")] = False,
    to: To = None,
    store: StoreFolder = None,
) -> None:
    """Print the output of a submitted sweep."""
    from sweeps.commands import places

    places.logs(name, to, store, follow=follow)


@app.command()
def stop(name: Name, to: To = None, store: StoreFolder = None, json_: Json = False) -> None:
    """Stop a running sweep cleanly; it can be resumed."""
    from sweeps.commands import places

    _print(places.stop(name, to, store), places.status_text, json_)


@app.command()
def resume(name: Name, to: To = None, store: StoreFolder = None, json_: Json = False) -> None:
    """Continue a stopped sweep in the background.

    It keeps the spec it was started with.
    """
    from sweeps.commands import places

    _print(places.resume(name, to, store), places.submitted_text, json_)


@app.command()
def report(
    name: Name,
    store: StoreFolder = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="write it with figures, as one HTML page")
    ] = None,
    json_: Json = False,
) -> None:
    """Print the verdict of a finished or running sweep."""
    from sweeps.commands import results

    if html is not None:
        return _print(results.html(name, html, store), results.html_text, json_)
    document, text = results.report(name, store)
    _print(document, lambda _: text, json_)


@app.command()
def export(
    name: Name,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="ends in .parquet or .csv")],
    layers: Annotated[bool, typer.Option("--layers", help="one row per network, epoch and layer")] = False,
    store: StoreFolder = None,
    json_: Json = False,
) -> None:
    """Write every record to one tidy table.

    One row per network and epoch.
    """
    from sweeps.commands import results

    _print(results.export(name, file, store, layers=layers), results.export_text, json_)


@app.command()
def audit(name: Name, store: StoreFolder = None, json_: Json = False) -> None:
    """Check that a sweep's records are complete and consistent.

    Its ledger, its mirrors in MLflow and Optuna, and its artifacts are held against each other.
    """
    from sweeps.commands import audit as command

    audited = command.audit(name, store)
    _print(audited, command.audit_text, json_)
    raise typer.Exit(0 if audited["sound"] else 1)


@app.command()
def sync(
    name: Name,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="delete the mirrors and make them again")] = False,
    store: StoreFolder = None,
    json_: Json = False,
) -> None:
    """Bring a sweep's mirrors up to date with its ledger.

    The mirrors are its runs in MLflow and its studies in Optuna's database.
    """
    from sweeps.commands import sync as command

    status, synced = command.sync(name, store, rebuild=rebuild)
    _print(synced, command.sync_text, json_)
    raise typer.Exit(status)


@app.command()
def ui(
    store: StoreFolder = None,
    host: Annotated[
        str, typer.Option(help="an address others can reach needs a password in MLFLOW_AUTH_ADMIN_PASSWORD")
    ] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="default: 5000, or a free one if that is taken")] = None,
    json_: Json = False,
) -> None:
    """Serve the MLflow UI on the store until Ctrl-C.

    For this machine, or with a password for others too.
    """
    from sweeps.commands import ui as command

    raise typer.Exit(command.ui(store, host, port, lambda started: _print(started, command.ui_text, json_)))


@app.command()
def studies(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="print the YAML of this one")] = None,
    json_: Json = False,
) -> None:
    """List the studies that ship with gradsweep, or print one."""
    from sweeps.commands import look

    _print(look.studies(name), look.studies_text, json_)


@app.command()
def regimes(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="only this one")] = None,
    json_: Json = False,
) -> None:
    """Show the networks layer by layer, beside the paper's counts."""
    from sweeps.commands import look

    _print(look.regimes(name), look.regimes_text, json_)


@app.command()
def fields(name: One = None, json_: Json = False) -> None:
    """List everything a spec may say, with defaults and choices."""
    from sweeps.commands import fields as command

    _print(command.fields(name), command.fields_text, json_)


@app.command()
def metrics(name: One = None, json_: Json = False) -> None:
    """List what is recorded of every network and epoch."""
    from sweeps.commands import fields as command

    _print(command.metrics(name), command.metrics_text, json_)


@app.command()
def theory(
    figure: Annotated[Path | None, typer.Option(metavar="FILE", help="also draw it: .png, .svg or .pdf")] = None,
    json_: Json = False,
) -> None:
    """Check numerically where the paper's two theorems hold."""
    from sweeps import theory_table as command

    _print(command.theory(figure), command.theory_text, json_)


@app.command()
def bench(
    regime: Annotated[list[str] | None, typer.Option(help="only this one; repeatable")] = None,
    batch: Annotated[list[int] | None, typer.Option(min=1, help="batch size; default: 32 and 128")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="default: all cores")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="how often each way is timed")] = 5,
    compiled: Annotated[
        bool, typer.Option("--compile/--no-compile", help="time torch.compile too: needs a C++ compiler, and minutes")
    ] = True,
    device: Annotated[
        Literal["cpu", "cuda"], typer.Option(help="cuda: the engines of a GPU, with 1 to 1,000 members")
    ] = "cpu",
    json_: Json = False,
) -> None:
    """Time the engines against plain PyTorch in one run.

    On the CPU: milliseconds for a thousand images, ratios, and the share of what the cores can do. With --device cuda:
    PyTorch one member at a time (eager, with CUDA graphs, compiled), the batched reference engine and the cuda engine
    with 1, 25, 100, 225 and 1,000 members; member-epochs of 45,000 images an hour, ratios, and the shares of the
    device's peaks of float32 and of memory, both measured in the same rounds.
    """
    from sweeps.commands import bench as command

    timed = command.bench(regime or [], batch or [], threads, rounds, compiled, device)
    _print(timed, command.bench_text, json_)


def _print(document: Any, text: Any, as_json: bool) -> None:
    print(json.dumps(document, indent=2, allow_nan=False) if as_json else text(document))


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
        status = app(arguments, standalone_mode=False)
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except TyperException as error:
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        _complain(f"{message} (gradsweep --help, gradsweep COMMAND --help)")
        return WRONG_REQUEST
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        # The reader has seen enough, as `head` has.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except GradsweepError as error:
        if os.environ.get(DEBUG):
            traceback.print_exc()
        for problem in getattr(error, "problems", [str(error)]):
            _complain(problem)
        return error.exit_code
    except Exception as error:  # a mistake of ours
        if os.environ.get(DEBUG):
            raise
        _complain(f"{one_line(error)} (gradsweep --debug COMMAND shows the traceback)")
        return FAILED


def _complain(problem: str) -> None:
    """One line that a terminal shows and does not obey, whatever the message quotes; without passwords."""
    from tracking.store import without_password

    text = without_password(problem)
    more = " ..." if len(text) > MOST_CHARACTERS else ""
    print(f"gradsweep: {printable(text[:MOST_CHARACTERS])}{more}", file=sys.stderr)


if __name__ == "__main__":
    main()
