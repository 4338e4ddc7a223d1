"""The command line: `gradsweep COMMAND`. Exit status: 0 done, 1 failed, 2 the request was wrong, 130 interrupted.

A command prints to standard output, with `--json` one JSON document; logs and progress go to standard error. What a
command does is imported when it runs, so that `--help` answers at once.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, Literal

import typer

from sweeps import commands
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


def _a_name(name: str) -> str:
    """Refused here, because no place has a sweep of another name."""
    from sweeps.spec.values import NAME

    if not NAME.fullmatch(name):
        raise typer.BadParameter(f"there is no sweep {name!r}: a name is 1 to 47 of a-z, 0-9 and -")
    return name


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"gradsweep {version('gradsweep')}")
        raise typer.Exit


Argument, Option = typer.Argument, typer.Option
Spec = Annotated[str, Argument(metavar="SPEC", help="a YAML file, or the name of a shipped study")]
Name = Annotated[str, Argument(metavar="NAME", help="the sweep's name", callback=_a_name)]
Other = Annotated[str | None, Option("--name", help="a name other than the spec's")]
Set = Annotated[
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


@app.callback()
def _settings(
    debug: Annotated[bool, Option("--debug", help="show tracebacks, and Ray's own log")] = False,
    version: Annotated[bool, Option("--version", callback=_version, is_eager=True, help="print the version")] = False,
) -> None:
    if debug:
        os.environ[DEBUG] = "1"


@app.command()
def run(
    spec: Spec,
    name: Other = None,
    settings: Set = None,
    store: Store = None,
    resume: Resume = False,
    executor: Annotated[
        Literal["ray", "in-process"], Option(help="what trains the packs; in-process needs no Ray")
    ] = "ray",
    as_json: Json = False,
) -> int:
    """Run a sweep here and wait: live progress, then the verdict."""
    return commands.run.run(spec, settings or [], name, store, resume=resume, executor=executor, as_json=as_json)


@app.command()
def plan(spec: Spec, settings: Set = None, as_json: Json = False) -> None:
    """Show what a spec would run, and about how long it takes."""
    commands.say(*commands.look.plan(spec, settings or []), as_json)


@app.command()
def submit(
    spec: Spec,
    to: To = None,
    name: Other = None,
    settings: Set = None,
    store: Store = None,
    resume: Resume = False,
    pool: Annotated[Path | None, Option(metavar="FILE", help="the settings of a Kubernetes pool, as YAML")] = None,
    dry_run: Annotated[bool, Option("--dry-run", help="only print what would be sent to Kubernetes")] = False,
    as_json: Json = False,
) -> None:
    """Run a sweep in the background, here or on a cluster."""
    submitted = commands.places.submit(spec, settings or [], name, to, store, pool, resume=resume, dry_run=dry_run)
    commands.say(*submitted, as_json)


@app.command("list")
def list_(to: To = None, store: Store = None, as_json: Json = False) -> None:
    """List the sweeps in the store, or on a cluster."""
    commands.say(*commands.places.sweeps(to, store), as_json)


@app.command()
def status(name: Name, to: To = None, store: Store = None, as_json: Json = False) -> None:
    """Show how far a sweep is, and whether it is running."""
    commands.say(*commands.places.status(name, to, store), as_json)


@app.command()
def logs(
    name: Name,
    follow: Annotated[bool, Option("-f", "--follow", help="keep printing until the sweep ends")] = False,
    to: To = None,
    store: Store = None,
) -> None:
    """Print the output of a submitted sweep."""
    commands.places.logs(name, to, store, follow=follow)


@app.command()
def stop(name: Name, to: To = None, store: Store = None, as_json: Json = False) -> None:
    """Stop a running sweep cleanly; it can be resumed."""
    commands.say(*commands.places.stop(name, to, store), as_json)


@app.command()
def resume(name: Name, to: To = None, store: Store = None, as_json: Json = False) -> None:
    """Continue a stopped sweep in the background.

    It keeps the spec it was started with.
    """
    commands.say(*commands.places.resume(name, to, store), as_json)


@app.command()
def report(
    name: Name,
    store: Store = None,
    html: Annotated[Path | None, Option(metavar="FILE", help="write it with figures, as one HTML page")] = None,
    as_json: Json = False,
) -> None:
    """Print the verdict of a finished or running sweep."""
    if html is None:
        commands.say(*commands.results.report(name, store), as_json)
    else:
        written = commands.results.html(name, html, store)
        commands.say(written, commands.results.html_text(written), as_json)


@app.command()
def export(
    name: Name,
    file: Annotated[Path, Argument(metavar="FILE", help="ends in .parquet or .csv")],
    layers: Annotated[bool, Option("--layers", help="one row per network, epoch and layer")] = False,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Write every record to one tidy table.

    One row per network and epoch.
    """
    written = commands.results.export(name, file, store, layers=layers)
    commands.say(written, commands.results.export_text(written), as_json)


@app.command()
def audit(name: Name, store: Store = None, as_json: Json = False) -> int:
    """Check that a sweep's records are complete and consistent.

    Its ledger, its mirrors in MLflow and Optuna, and its artifacts are held against each other.
    """
    audited = commands.audit.audit(name, store)
    commands.say(audited, commands.audit.audit_text(audited), as_json)
    return 0 if audited["sound"] else FAILED


@app.command()
def sync(
    name: Name,
    rebuild: Annotated[bool, Option("--rebuild", help="delete the mirrors and make them again")] = False,
    store: Store = None,
    as_json: Json = False,
) -> int:
    """Bring a sweep's mirrors up to date with its ledger.

    The mirrors are its runs in MLflow and its studies in Optuna's database.
    """
    status, synced = commands.sync.sync(name, store, rebuild=rebuild)
    commands.say(synced, commands.sync.sync_text(synced), as_json)
    return status


@app.command()
def ui(
    store: Store = None,
    host: Annotated[
        str, Option(help="an address others can reach needs a password in MLFLOW_AUTH_ADMIN_PASSWORD")
    ] = "127.0.0.1",
    port: Annotated[int | None, Option(help="default: 5000, or a free one if that is taken")] = None,
    as_json: Json = False,
) -> int:
    """Serve the MLflow UI on the store until Ctrl-C.

    For this machine, or with a password for others too.
    """
    return commands.ui.ui(store, host, port, as_json=as_json)


@app.command()
def studies(
    name: Annotated[str | None, Argument(metavar="[NAME]", help="print the YAML of this one")] = None,
    as_json: Json = False,
) -> None:
    """List the studies that ship with gradsweep, or print one."""
    commands.say(*commands.look.studies(name), as_json)


@app.command()
def regimes(
    name: Annotated[str | None, Argument(metavar="[NAME]", help="only this one")] = None, as_json: Json = False
) -> None:
    """Show the networks layer by layer, beside the paper's counts."""
    commands.say(*commands.look.regimes(name), as_json)


@app.command()
def fields(name: One = None, as_json: Json = False) -> None:
    """List everything a spec may say, with defaults and choices."""
    commands.say(*commands.fields.fields(name), as_json)


@app.command()
def metrics(name: One = None, as_json: Json = False) -> None:
    """List what is recorded of every network and epoch."""
    commands.say(*commands.fields.metrics(name), as_json)


@app.command()
def theory(
    figure: Annotated[Path | None, Option(metavar="FILE", help="also draw it: .png, .svg or .pdf")] = None,
    as_json: Json = False,
) -> int:
    """Check numerically where the paper's two theorems hold."""
    from sweeps import theory_table

    return theory_table.run(json=as_json, figure=figure)


@app.command()
def bench(
    regime: Annotated[list[str] | None, Option(help="only this one; repeatable")] = None,
    batch: Annotated[list[int] | None, Option(min=1, help="batch size; default: 32 and 128")] = None,
    threads: Annotated[int | None, Option(min=1, help="default: all cores")] = None,
    rounds: Annotated[int, Option(min=1, help="how often each way is timed")] = 5,
    compiled: Annotated[
        bool, Option("--compile/--no-compile", help="time torch.compile too: needs a C++ compiler, and minutes")
    ] = True,
    device: Annotated[
        Literal["cpu", "cuda"], Option(help="cuda: the engines of a GPU, with 1 to 1,000 members")
    ] = "cpu",
    as_json: Json = False,
) -> None:
    """Time the engines against plain PyTorch in one run.

    On the CPU: milliseconds for a thousand images, ratios, and the share of what the cores can do. With --device cuda:
    PyTorch one member at a time (eager, with CUDA graphs, compiled), the batched reference engine and the cuda engine
    with 1, 25, 100, 225 and 1,000 members; member-epochs of 45,000 images an hour, ratios, and the shares of the
    device's peaks of float32 and of memory, both measured in the same rounds.
    """
    timed = commands.bench.bench(regime or [], batch or [], threads, rounds, compiled, device)
    commands.say(timed, commands.bench.bench_text(timed), as_json)


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
