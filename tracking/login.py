"""Whether an MLflow server lets us in, asked before a sweep begins: later, its records would only wait.

>>> check_login("http://mlflow:5000")
StoreError: the MLflow server at http://mlflow:5000 refuses this driver (HTTP 401 UNAUTHORIZED): set ...
"""

from __future__ import annotations

from tracking.store import without_password
from trainers.errors import StoreError

SERVERS = ("http://", "https://")
SECONDS = 5.0
REFUSALS = (401, 403)
USER = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to a user of its own and their password"
HOST = "add this name to MLFLOW_SERVER_ALLOWED_HOSTS where it is started"


def check_login(uri: str) -> None:
    """Raises StoreError for what only somebody can put right: a wrong user or password, a name it does not go by.

    A server that does not answer may do so when there is something to deliver; a database is not asked.
    """
    if not uri.startswith(SERVERS):
        return
    from tracking.mlflow_api import first_answer

    answer = first_answer(uri, SECONDS)
    if answer is None or answer[0] not in REFUSALS:
        return
    status, words, text = answer
    raise StoreError(
        f"the MLflow server at {without_password(uri)} refuses this driver (HTTP {status} {words}): "
        f"{HOST if 'Host header' in text else USER}"
    )
