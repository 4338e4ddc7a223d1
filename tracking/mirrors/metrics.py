"""The metrics of a configuration's run in MLflow: at most 60, whose names sort as one wants to see them.

>>> points(epoch)[:2]
[('accuracy/validation', 0.91), ('accuracy/validation.q25', 0.90)]

Each is the mean over the seeds, or a quartile. Everything else is in the run's Parquet files.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from tracking.tidy import LAYER
from tracking.types import Epoch

METRICS = {
    "accuracy/validation": "validation.accuracy",
    "accuracy/test": "test.accuracy",
    "accuracy/train": "train.accuracy",
    "gradient/data.mean_abs": "gradient.data.mean_abs",
    "gradient/data.rms": "gradient.data.rms",
    "gradient/data.vanished": "gradient.data.vanished",
    "gradient/first_to_last": "gradient.first_to_last",
    "gradient/total.rms": "gradient.total.rms",
    "loss/train": "train.loss",
    "loss/validation": "validation.loss",
    "units/dead": "dead",
    "units/saturated": "saturated",
}
QUARTILES = ("accuracy/validation",)
BY_LAYER = "gradient.data.rms"
MOST_LAYERS = 30  # of a deeper network so many, evenly spaced


def points(epoch: Epoch) -> list[tuple[str, float]]:
    """(key, value) of one epoch."""
    means, quartiles = _columns(epoch.names)
    keys = [*means, *(f"{key}.q{percent}" for percent in (25, 75) for key in quartiles)]
    of_quartiles = epoch.values[:, list(quartiles.values())]
    with np.errstate(invalid="ignore", over="ignore"):
        mean = epoch.values[:, list(means.values())].mean(axis=0)
        values = np.concatenate([mean, quantile(of_quartiles, 0.25), quantile(of_quartiles, 0.75)])
    return sorted(zip(keys, values.tolist(), strict=True))


def quantile(values: NDArray[np.float64], q: float) -> NDArray[np.float64]:
    """(seeds, metrics) -> (metrics): by linear interpolation, as NumPy's, but infinities keep their place.

    Between two equal values nothing is interpolated; of what holds a NaN it is NaN.
    """
    ordered, place = np.sort(values, axis=0), q * (len(values) - 1)
    low, high = ordered[int(place)], ordered[min(int(place) + 1, len(values) - 1)]
    between = np.where(low == high, low, low + (high - low) * (place - int(place)))
    # NaN is sorted last.
    return np.where(np.isnan(ordered[-1]), np.nan, low if place == int(place) else between)


@cache
def _columns(names: tuple[str, ...]) -> tuple[dict[str, int], dict[str, int]]:
    """The columns of the means and of the quartiles, by key."""
    at = {name: place for place, name in enumerate(names)}
    means = {key: at[name] for key, name in METRICS.items() if name in at}
    layers = [name for name in names if name.startswith(LAYER) and name.endswith(f".{BY_LAYER}")]
    chosen = np.unique(np.linspace(0, len(layers) - 1, min(len(layers), MOST_LAYERS)).round().astype(int))
    for i in chosen.tolist():
        layer = layers[i].removeprefix(LAYER).removesuffix(f".{BY_LAYER}")
        means[f"gradient by layer/{i + 1:0{max(2, len(str(len(layers))))}d} {layer}"] = at[layers[i]]
    return means, {key: means[key] for key in QUARTILES if key in means}
