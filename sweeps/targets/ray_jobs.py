"""Ray's own client of its Jobs API, with an end to every wait and one line for whatever goes wrong.

    >>> client = connect("http://head:8265")
    >>> with speaking("http://head:8265"):
    ...     client.list_jobs()

Since 2.59 Ray silently makes a token for every cluster that it starts itself. It is sent if there is one, unless
RAY_AUTH_MODE says otherwise, and is looked for where Ray looks: RAY_AUTH_TOKEN, the file that RAY_AUTH_TOKEN_PATH
names, ~/.ray/auth_token.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import ray
import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobSubmissionClient

from sweeps.environment import environment
from sweeps.targets.output import message
from trainers.errors import FAILED, GradsweepError, TargetError

TIMEOUT = (2.0, 30.0)  # seconds to connect and to answer
TALKATIVE = ("dashboard.modules.dashboard_sdk", "dashboard.modules.job.sdk", "_private.runtime_env.packaging")
MODE = "RAY_AUTH_MODE"
WHERE = "RAY_AUTH_TOKEN, the file RAY_AUTH_TOKEN_PATH, or ~/.ray/auth_token"


class Client(JobSubmissionClient):
    """Ray's own, which would wait for an answer for ever."""

    def _do_request(self, method: str, endpoint: str, **more: Any) -> Any:
        return super()._do_request(method, endpoint, **{"timeout": TIMEOUT, **more})


def connect(to: str) -> Client:
    """Raises TargetError where the cluster does not answer, refuses us or is of another version."""
    sent = token()
    for name in TALKATIVE:
        logging.getLogger(f"ray.{name}").setLevel(logging.WARNING)
    # Both variables would override an address that is given.
    with speaking(to), environment({"RAY_ADDRESS": None, "RAY_API_SERVER_ADDRESS": None}):
        client = Client(to, headers={"Authorization": f"Bearer {sent}"} if sent else {})
    theirs = str(client._server_ray_version)
    if theirs.split(".")[:2] != ray.__version__.split(".")[:2]:
        raise TargetError(
            f"the cluster at {to} has Ray {theirs}, this gradsweep needs {ray.__version__}: "
            "use our image there, or the gradsweep that fits"
        )
    return client


@contextmanager
def speaking(to: str) -> Iterator[None]:
    """Whatever goes wrong with the cluster as one line."""
    try:
        yield
    except GradsweepError:
        raise
    except AuthenticationError:
        hint = f"the one in {WHERE} is another cluster's" if token() else f"set {MODE}=token, and put it in {WHERE}"
        raise TargetError(f"the cluster at {to} wants a token: {hint}") from None
    except (ConnectionError, requests.ConnectionError, requests.Timeout, aiohttp.ClientError) as error:
        raise TargetError(f"no Ray cluster answers at {to}: {_reason(error)}", FAILED) from None
    except requests.RequestException as error:
        raise TargetError(f"no Ray dashboard at {to}: {message(str(error))}", FAILED) from None
    except RuntimeError as error:
        raise TargetError(f"the cluster at {to} refuses: {message(str(error))}", FAILED) from None


def token() -> str:
    """The token to send, "" where there is none. Raises TargetError where one is required and can't be had."""
    mode = os.environ.get(MODE, "")
    if mode not in ("", "token"):
        return ""
    sent, named = os.environ.get("RAY_AUTH_TOKEN", "").strip(), os.environ.get("RAY_AUTH_TOKEN_PATH")
    if not sent:
        try:
            sent = Path(os.path.expanduser(named or "~/.ray/auth_token")).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            if named:
                raise TargetError(f"the token file {named} of RAY_AUTH_TOKEN_PATH can't be read: {reason}") from None
    if mode and not sent:
        raise TargetError(f"{MODE}=token, but there is no token in {WHERE}")
    return sent


def _reason(error: BaseException) -> str:
    """The operating system's word for it, out of the wrappings of three libraries."""
    text = str(error.__context__ or error)
    match = re.search(r"\[Errno -?\d+\] ([^'\")\]]+)|(timed out|Connection aborted)", text)
    return (match[1] or match[2]).strip() if match else message(text)
