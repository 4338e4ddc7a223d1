"""Every error of the project, as one tree with one base: wrong requests (exit status 2), and failures (1).

Each message is one line that says what went wrong, where, and what would be right. Whatever is not in this tree is a
programming error, and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence

WRONG_REQUEST, FAILED = 2, 1  # exit statuses
MOST_PROBLEMS = 20
FEW = 12  # words that a message names


class GradsweepError(Exception):
    """The base of every error that the project raises on purpose."""

    exit_code = FAILED


class RequestError(GradsweepError):
    """The request was wrong: one line that says what, where, and what would be right."""

    exit_code = WRONG_REQUEST


class SpecError(RequestError, ValueError):
    """What is wrong with a spec: `problems`, one line each; `unsaid` counts those that are left out."""

    def __init__(self, problems: Sequence[str], unsaid: int = 0) -> None:
        unsaid += max(0, len(problems) - MOST_PROBLEMS)
        if unsaid:
            problems = [*problems[:MOST_PROBLEMS], f"... and {unsaid} problems more"]
        # They quote names of files, keys and settings.
        self.problems = tuple(map(printable, problems))
        super().__init__("\n".join(self.problems))


class OptionError(RequestError, ValueError):
    """A sampler or pruner that can't be made; `key` is the option at fault, "" where it is the whole."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


class DataError(RequestError):
    """A data set is not there or can't be read."""

    def __init__(self, message: str) -> None:
        # File names and other libraries' messages may hold line breaks.
        super().__init__(" ".join(message.split()))


class PluginError(RequestError, ValueError):
    """What an installed package adds to the tables can't be used."""


class StoreError(RequestError, ValueError):
    """A folder or file can't be a store."""


class SearchError(RequestError, ValueError):
    """A sweep is not there, is there already, or is not the one that was expected."""


class FailedError(GradsweepError, RuntimeError):
    """Something went wrong that is not the request's fault."""


class LedgerError(FailedError):
    """The ledger can't be read or written."""


class SweepStopped(FailedError):
    """The sweep can't continue until somebody fixes the cause."""


class DeviceLost(FailedError):
    """This process's GPU no longer works, whatever the pack."""


class Unavailable(FailedError):
    """MLflow doesn't answer as it should; a later try may succeed."""


class Unmendable(FailedError):
    """MLflow refuses; no later try can succeed before somebody does something about it."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class TargetError(FailedError):
    """What went wrong where a sweep runs or was to run; with its exit status, by itself that of a wrong request."""

    def __init__(self, message: str, exit_code: int = WRONG_REQUEST) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def did_you_mean(word: str, known: Collection[str], where: str = "") -> str:
    """A hint for a message about an unknown word: the known one that is nearest to it, and all, or where to look.

    `where` says what lists them, where they may be more than FEW.
    """
    close = difflib.get_close_matches(word, known, n=1)
    rest = where if len(known) > FEW and (where or close) else f"known are {', '.join(known)}"
    if not close or len(known) == 1:
        return f"did you mean {close[0]}?" if close else rest
    return f"did you mean {close[0]}? {rest[:1].upper()}{rest[1:]}".rstrip()


def printable(text: str) -> str:
    """The text as one line that a terminal shows and does not obey."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def shown(value: object) -> str:
    """A value in a message, in the words of YAML: one line, at most 60 characters."""
    text = {"None": "null", "True": "true", "False": "false"}.get(repr(value), repr(value))
    return text if len(text) <= 60 else f"{text[:57]}..."


def one_line(error: BaseException) -> str:
    """An exception's message after its type's name, all of its lines as one, see `flat`."""
    return flat(f"{type(error).__name__}: {error}").rstrip(": ")


def flat(text: str, most: int = 500) -> str:
    """A text as one line of at most `most` characters; of a longer one the beginning, and the end, where causes are."""
    line = " ".join(text.split())
    half = (most - 5) // 2
    return line if len(line) <= most else f"{line[:half]} ... {line[-half:]}"


def is_wrong_request(error: BaseException) -> bool:
    """Whether the user can put this right: the message says how, a traceback would only hide it."""
    return isinstance(error, GradsweepError) and error.exit_code == WRONG_REQUEST
