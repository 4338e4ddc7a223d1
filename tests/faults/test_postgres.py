"""A PostgreSQL server that is restarted in the middle of a sweep, with Optuna's and MLflow's databases on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from tests.faults.harness import CONFIGURATIONS, RECORDS, Harness, moments

pytestmark = [pytest.mark.slow, pytest.mark.postgres, pytest.mark.timeout(3600)]


def test_the_server_is_restarted(
    make_sweep: Callable[..., Harness], undisturbed: pd.DataFrame, postgres: Any, noted: Any
) -> None:
    with noted("faults", "PostgreSQL is restarted", seed := 51) as note:
        sweep = make_sweep(undisturbed)
        sweep.use_store(ledger=postgres.url("ledger"), mlflow=postgres.url("mlflow"))
        process, at = sweep.start("run", sweep.spec_file(), "--executor", "in-process"), []
        for moment in moments(seed, 3):
            at.append(sweep.reach(moment, process))
            postgres.stop()
            postgres.start()
        err = sweep.finish(process)
        assert "sweep database unreachable; retrying" in err
        note.tried = (
            f"three times, at {' and '.join(map(str, at))} of {RECORDS} records, {CONFIGURATIONS} configurations"
        )
        note.outcome = f"the sweep continues by itself; {sweep.must_be_sound()}"
