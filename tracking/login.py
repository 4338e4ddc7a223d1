"""Whether an MLflow server lets us in, asked before a sweep begins: later, its records would only wait.

>>> check_login("http://mlflow:5000")
StoreError: the MLflow server at http://mlflow:5000 refuses this driver (PERMISSION_DENIED): set ...
"""

from __future__ import annotations

from tracking.store import without_password
from trainers.errors import StoreError, Unavailable, Unmendable

SERVERS = ("http://", "https://")
SECONDS = 5
REFUSALS = ("UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED", "PERMISSION_DENIED")
USER = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to a user of its own and their password"
HOST = "add this name to MLFLOW_SERVER_ALLOWED_HOSTS where it is started"


def check_login(uri: str) -> None:
    """Raises StoreError for what only somebody can put right: a wrong user or password, a name it does not go by.

    A server that does not answer may do so when there is something to deliver; a database is not asked.
    """
    if not uri.startswith(SERVERS):
        return
    from tracking.mirrors.client import connected, settings, translated

    try:
        with settings(timeout=SECONDS), translated():
            connected(uri).search_experiments(max_results=1)
    except Unavailable:
        return
    except Unmendable as error:
        if error.code in REFUSALS:
            raise StoreError(
                f"the MLflow server at {without_password(uri)} refuses this driver ({error.code}): "
                f"{HOST if 'Host header' in str(error) else USER}"
            ) from None
