"""The command line: `gradsweep COMMAND`. Exit status: 0 done, 1 failed, 2 the request was wrong, 130 interrupted.

A command prints to standard output, with `--json` one JSON document; logs and progress go to standard error.
"""

from __future__ import annotations

import importlib
import io
import logging
import os
import sys
import traceback
from typing import Annotated

import typer

from sweeps.commands import MODULES, app
from trainers.errors import FAILED, WRONG_REQUEST, GradsweepError, one_line, printable

MOST_CHARACTERS = 2000  # of an error
DEBUG = "GRADSWEEP_DEBUG"
WARNINGS = "py.warnings"  # Python's logger of them

for module in MODULES:
    importlib.import_module(f"sweeps.commands.{module}")


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"gradsweep {version('gradsweep')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _settings(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="show tracebacks, and Ray's own log")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    if debug:
        os.environ[DEBUG] = "1"
        logging.getLogger(WARNINGS).setLevel(logging.WARNING)
    if context.invoked_subcommand is None:
        print(context.get_help())


class _ToStandardError(logging.Handler):
    """Standard error as it is at the moment: while there are live bars it is above them."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr)


def main(arguments: list[str] | None = None) -> None:
    """The console script. Ends the process with the exit status."""
    # Ours, the workers' and the databases': whatever they make, nobody else may write it.
    os.umask(os.umask(0o077) | 0o022)
    if os.path.expanduser("~") == "~":
        os.environ["HOME"] = "/nonexistent"  # an unknown user: without any, MLflow and Ray can't be imported
    logging.basicConfig(level=logging.WARNING, handlers=[_ToStandardError()], format="%(message)s")
    logging.getLogger("gradsweep").setLevel(logging.INFO)
    # In a home that can't be written it warns, and keeps what it keeps in a temporary folder.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    # Lines of other packages' sources, for whoever looks for a mistake.
    logging.captureWarnings(True)
    logging.getLogger(WARNINGS).setLevel(logging.WARNING if os.environ.get(DEBUG) else logging.CRITICAL)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal of another encoding
    sys.exit(_status(arguments))


def _status(arguments: list[str] | None) -> int:
    from typer.exceptions import TyperException

    try:
        # Not app(): where the reader is gone that ends the process with status 1.
        command = typer.main.get_command(app)
        with command.make_context("gradsweep", sys.argv[1:] if arguments is None else list(arguments)) as context:
            status = command.invoke(context)
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except typer.Exit as end:
        return end.exit_code
    except TyperException as error:
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        _complain(f"{message} (gradsweep --help, gradsweep COMMAND --help)")
        return WRONG_REQUEST
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        # The reader has seen enough, as `head` has; without this Python complains when it flushes at its end.
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
