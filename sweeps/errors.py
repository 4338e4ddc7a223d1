"""What is the user's to put right, and what is ours."""

from __future__ import annotations

import sys

# Where the rooms' own words for a wrong request are; one of a module that nobody has imported can't be raised.
WRONG_REQUESTS = (
    ("sweeps.errors", "RequestError"),
    ("sweeps.spec", "SpecError"),
    ("search_spaces.storage", "SearchError"),
    ("search_spaces.options", "OptionError"),
    ("tracking.store", "StoreError"),
    ("tracking.spool", "NoSpool"),
    ("tracking.results", "ResultsError"),
    ("trainers.data", "DataError"),
)


WRONG_REQUEST, FAILED = 2, 1  # exit statuses


class PlaceError(Exception):
    """What went wrong where a sweep runs or was to run: one line, and the exit status, WRONG_REQUEST or FAILED."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class RequestError(Exception):
    """The request was wrong: one line that says what, where, and what would be right. Exit status 2."""


def printable(text: str) -> str:
    """The text as one line that a terminal shows and does not obey."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def is_wrong_request(error: Exception) -> bool:
    """Whether the user can put this right: the message says how, a traceback would only hide it."""
    kinds = tuple(getattr(sys.modules[module], name) for module, name in WRONG_REQUESTS if module in sys.modules)
    return isinstance(error, kinds)
