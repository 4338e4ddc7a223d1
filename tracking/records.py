"""One configuration's records as a Parquet file: the artifact records.parquet of its run.

Without dictionaries and statistics: with 265 columns and a few rows they cost more than the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tracking.spool import SpooledConfiguration, SpooledEpoch
from tracking.tidy import blocks

FILE = "records.parquet"


def write_records(
    sweep: str, configuration: SpooledConfiguration, epochs: Sequence[SpooledEpoch], folder: Path
) -> Path | None:
    """Write records.parquet into a folder; None where there is no epoch. NaN stays NaN, it is not null."""
    tables = [
        pa.table({**b.labels, **{name: b.metrics[:, i] for i, name in enumerate(b.names)}})
        for b in blocks(sweep, [(configuration, epochs)])
    ]
    if not tables:
        return None
    file = folder / FILE
    pq.write_table(
        tables[0] if len(tables) == 1 else pa.concat_tables(tables, promote_options="default"),
        file,
        use_dictionary=False,
        write_statistics=False,
    )
    return file
