"""Measurements that a member asks for with `measure`, as one table: a file each, which is imported when it is used.

    base: {measure: [jacobian, signal], measure_at: [0, 30]}

An entry says what is recorded and where its function is; `trainers.measurements.subject` says what the function is
given. What is always recorded is in `trainers.metrics`.
"""

from __future__ import annotations

from collections.abc import Mapping

from trainers.measurements.measurement import Measurement as Measurement
from trainers.measurements.measurement import Metric as Metric

MEASUREMENTS: Mapping[str, Measurement] = {
    # a file each
}
