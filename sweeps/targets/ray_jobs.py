"""Ray's Jobs API, as its own client speaks it, with an end to every wait and one line for whatever goes wrong.

    >>> client = connect("http://head:8265")
    >>> with speaking("http://head:8265"):
    ...     client.list_jobs()

Which token is sent says `sweeps.targets.ray_token`.
"""

from __future__ import annotations

from sweeps.targets.ray_token import MODE, WHERE, use_token

use_token()

import logging  # noqa: E402
import os  # noqa: E402
import re  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from contextlib import contextmanager  # noqa: E402
from typing import Any  # noqa: E402

import aiohttp  # noqa: E402
import ray  # noqa: E402
import requests  # noqa: E402
from ray.exceptions import AuthenticationError  # noqa: E402
from ray.job_submission import JobSubmissionClient  # noqa: E402

from trainers.errors import FAILED, WRONG_REQUEST, TargetError  # noqa: E402

TIMEOUT = (2.0, 30.0)  # seconds to connect and to answer
TALKATIVE = ("dashboard.modules.dashboard_sdk", "dashboard.modules.job.sdk", "_private.runtime_env.packaging")


class Client(JobSubmissionClient):
    """Ray's own, which would wait for an answer for ever."""

    def _do_request(self, method: str, endpoint: str, **more: Any) -> Any:
        return super()._do_request(method, endpoint, **{"timeout": TIMEOUT, **more})

    @property
    def ray_version(self) -> str:
        """The cluster's, asked for when the client was made."""
        return str(self._server_ray_version)


def connect(to: str) -> Client:
    """Raises TargetError where the cluster does not answer, refuses us or is of another version."""
    # They would have their way before an address that is given.
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        os.environ.pop(name, None)
    for name in TALKATIVE:
        logging.getLogger(f"ray.{name}").setLevel(logging.WARNING)
    with speaking(to):
        client = Client(to)
    if client.ray_version.split(".")[:2] != ray.__version__.split(".")[:2]:
        raise TargetError(
            f"the cluster at {to} has Ray {client.ray_version}, this gradsweep needs {ray.__version__}: "
            "use our image there, or the gradsweep that fits",
            WRONG_REQUEST,
        )
    return client


@contextmanager
def speaking(to: str) -> Iterator[None]:
    """Whatever goes wrong with the cluster as one line."""
    try:
        yield
    except AuthenticationError:
        sent = os.environ.get(MODE) == "token"
        hint = f"the one in {WHERE} is not its own" if sent else f"set {MODE}=token, and put it in {WHERE}"
        raise TargetError(f"the cluster at {to} wants a token: {hint}", WRONG_REQUEST) from None
    except (ConnectionError, requests.ConnectionError, requests.Timeout, aiohttp.ClientError) as error:
        raise TargetError(f"no Ray cluster answers at {to}: {_why(error)}", FAILED) from None
    except requests.RequestException as error:
        raise TargetError(
            f"what answers at {to} is no Ray cluster's dashboard: {first_line(str(error))}", FAILED
        ) from None
    except RuntimeError as error:
        raise TargetError(f"the cluster at {to} refuses: {first_line(str(error))}", FAILED) from None


def _why(error: BaseException) -> str:
    """The operating system's word for it, out of the wrappings of three libraries."""
    text = str(error.__context__ or error)
    found = re.search(r"\[Errno -?\d+\] ([^'\")\]]+)|(timed out|Connection aborted)", text)
    return (found[1] or found[2]).strip() if found else first_line(text)


def first_line(text: str | None) -> str:
    """The first line of a message, without the log that Ray appends."""
    first = (text or "").strip().partition("\n")[0]
    return first.partition(", last available logs")[0][:300]
