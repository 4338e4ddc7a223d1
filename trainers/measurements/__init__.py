"""Measurements that a member asks for with `measure`, as one table: a file each, which is imported when it is used.

    base: {measure: [jacobian, signal], measure_at: [0, 30]}

An entry says what is recorded and where its function is; `trainers.measurements.subject` says what the function is
given. What is always recorded is in `trainers.metrics`.
"""

from __future__ import annotations

from collections.abc import Mapping

from trainers.measurements.histogram import METRICS as _HISTOGRAM
from trainers.measurements.measurement import Measurement as Measurement
from trainers.measurements.measurement import Metric as Metric

MEASUREMENTS: Mapping[str, Measurement] = {
    # a file each
    "sharpness": Measurement(
        "the largest eigenvalue of the loss's Hessian, and the gradient noise scale",
        "trainers.measurements.sharpness:sharpness",
        network={
            "sharpness.largest": Metric("largest eigenvalue of the Hessian of the loss, without the penalty", log=True),
            "sharpness.edge": Metric("2 / learning rate, the mean over the epoch's steps", log=True),
            "sharpness.noise_scale": Metric(
                "gradient noise scale tr(S) / |G|^2, in images; infinite where it can't be told from the probe",
                log=True,
            ),
        },
    ),
    "histogram": Measurement(
        "the gradient's coordinates and the activations of each layer by decade",
        "trainers.measurements.histogram:histogram",
        layer=_HISTOGRAM,
    ),
}
