"""A notice of a sweep's end, posted as one JSON document to the address of `tracking.notify`.

    {"name": "alpha-r", "state": "finished", "counts": {...}, "best": {...}, "verdict": "...", "claims": [...], ...}

`state` is finished, stopped (its time was up), failed or interrupted (by a signal). A notice never fails a sweep: if
it can't be delivered, a warning says so. A slow server delays the end of a sweep by PATIENCE_SECONDS at most, and by
HURRY_SECONDS after a signal. A driver that is killed hard, by SIGKILL or with its machine, posts nothing; `gradsweep
status` then says that the sweep has stopped.
"""

from __future__ import annotations

import logging
import os
import shlex
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from sweeps.driver.progress import Progress
from sweeps.spec.reading import SweepSpec
from sweeps.targets.target import UI_COMMAND
from tracking.store import Store, without_password
from tracking.verdict.types import Verdict
from trainers.errors import one_line

log = logging.getLogger("gradsweep")

TRIES = 3
TIMEOUT_SECONDS = 10.0  # to connect, and for an answer
PATIENCE_SECONDS = 30.0
HURRY_SECONDS = 2.0
_POLL = 0.1


class Notice:
    """A document on its way, in a thread of its own.

    >>> notice = Notice("https://example.com/hook", document(...))
    >>> notice.wait(PATIENCE_SECONDS, lambda: False)
    """

    def __init__(self, url: str, document: Mapping[str, Any]) -> None:
        self._url, self._document = url, document
        self._problem = "it does not answer"
        self._thread = threading.Thread(target=self._post, name="notice", daemon=True)
        self._thread.start()

    def wait(self, seconds: float, hurried: Callable[[], bool]) -> None:
        """Wait so long for its delivery, or until there is a hurry; log a warning where it has not been delivered."""
        end = time.monotonic() + seconds
        while self._thread.is_alive() and time.monotonic() < end and not hurried():
            self._thread.join(_POLL)
        if self._problem:
            parts = urlsplit(self._url)  # without its path, which for many services is a secret
            log.warning("the notice could not be sent to %s://%s: %s", parts.scheme, parts.hostname, self._problem)

    def _post(self) -> None:
        import requests

        def again(error: BaseException) -> bool:
            answer = getattr(error, "response", None)
            return answer is None or answer.status_code >= 500 or answer.status_code == 429

        retrying = Retrying(
            retry=retry_if_exception(again),
            wait=wait_random_exponential(multiplier=0.5, max=4),
            stop=stop_after_attempt(TRIES),
            reraise=True,
        )
        try:
            for attempt in retrying:
                with attempt:
                    # A redirection would turn it into a request for a page, which has delivered nothing.
                    answer = requests.post(
                        self._url, json=self._document, timeout=TIMEOUT_SECONDS, allow_redirects=False, stream=True
                    )
                    with answer:
                        if not answer.ok or answer.is_redirect:
                            raise requests.HTTPError(f"it answers {answer.status_code}", response=answer)
        except requests.HTTPError as error:
            self._problem = str(error)
        except requests.Timeout:
            pass
        except Exception as error:
            # Of a refused connection the words of the operating system are the innermost.
            while error.args and isinstance(inner := getattr(error.args[0], "reason", error.args[0]), Exception):
                error = inner
            self._problem = one_line(error)
        else:
            self._problem = ""


def document(
    spec: SweepSpec,
    store: Store,
    state: str,
    reason: str,
    now: Progress,
    failures: Mapping[str, int],
    verdict: Verdict | None,
) -> dict[str, Any]:
    """What a notice says: `reason` is that of a sweep which has not finished, `failures` are those of configurations.

    `verdict` is None where there was none.
    """
    objective = spec.objectives[0]
    best = {"name": now.best.name, "metric": objective.name, "value": now.best.value} if now.best else None
    if verdict:
        (first, *_) = verdict.objectives
        ranked = [s for s in first.confirmed or first.ranking if s.rank == 1]
        best = {"name": ranked[0].name, "metric": first.name, "value": ranked[0].mean} if ranked else None
    at = ["--store", str(store.where)]
    return {
        "name": spec.name,
        "question": spec.question,
        "state": state,
        "reason": without_password(reason) or None,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "store": str(store.where),
        "counts": asdict(now.counts) | {"ended": now.counts.ended},
        "failures": dict(failures),
        "best": best,
        "verdict": verdict.text if verdict else None,
        "claims": [{"name": c.name, "answer": c.answer, "sentence": c.sentence} for c in verdict.claims]
        if verdict
        else [],
        "report": shlex.join(["gradsweep", "report", spec.name, *at]),
        "ui": os.environ.get(UI_COMMAND) or shlex.join(["gradsweep", "ui", *at]),
    }
