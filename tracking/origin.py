"""Where a sweep's records come from: the code, the data and the time, from its spool or from MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace

from tracking.outbox import Outbox
from tracking.spool import Spool
from tracking.store import Store
from trainers.errors import ResultsError


@dataclass(frozen=True)
class Origin:
    """What is known of a sweep besides its records; times are milliseconds since 1970.

    `ended` is None while it runs, and `status` is RUNNING, then FINISHED, FAILED or KILLED (interrupted). `versions` is
    package -> version; `digests` names each data set's sha256; `commit` is empty where it is not known.
    """

    versions: Mapping[str, str] = field(default_factory=dict)
    digests: str = ""
    commit: str = ""
    begun: int | None = None
    ended: int | None = None
    status: str = "RUNNING"


def origin(sweep: str, store: Store, uri: str | None = None) -> Origin:
    """From the spool where it lies in the store, else from the sweep's run in MLflow. Raises ResultsError."""
    file = store.spool_file(sweep)
    if not file.is_file():
        from tracking.mlflow_read import origin_of

        return origin_of(sweep, store, uri)
    with closing(Spool.at(file)) as spool:
        run = spool.sweep()
        if run is None:
            raise ResultsError(f"the sweep {sweep!r} has not begun")
        state = Outbox(spool).state()
    digests = ", ".join(f"{data}={digest}" for data, digest in run.digests.items())
    found = Origin(run.versions, digests, run.commit or "")
    return replace(found, begun=state.begun, ended=state.ended, status=state.status or "RUNNING") if state else found
