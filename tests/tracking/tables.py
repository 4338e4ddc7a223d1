"""Tables of a sweep without training, for the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from tracking.results import Outcome

ARMS = ("plain", "paper", "other")


def table(
    values: Mapping[str, list[float]], states: Mapping[str, str] | None = None, **columns: Mapping[str, Any]
) -> tuple[pd.DataFrame, dict[int, Outcome]]:
    """(frame, outcomes) of configurations by name, one value a seed after epoch 1; those in ARMS are arms.

    Seeds of a name that begins with "confirm " are fresh ones. `columns` sets a column of the named configurations to
    a value, or to one an epoch.
    """
    rows, outcomes = [], {}
    for number, (name, of_seeds) in enumerate(values.items()):
        outcomes[number] = Outcome(number, name if name in ARMS else "", name, (states or {}).get(name, "complete"))
        for epoch in (0, 1):
            for seed, value in enumerate(of_seeds, 100 if name.startswith("confirm ") else 0):
                row = {
                    "configuration": number,
                    "seed": seed,
                    "epoch": epoch,
                    "engine": "lanes",
                    "alpha": 2.0 if name.endswith("paper") else 1.0,
                    "r": 0.0,
                    "learning_rate": (1 + number) / 1000,
                    "scaling": "rescaled",
                    "activation": "tanh",
                    "initialization": "uniform",
                    "init_scale": 10.0,
                    "validation.accuracy": value if epoch else 0.1,
                    "validation.loss": 1 - value if epoch else 2.3,
                    "gradient.data.rms": 0.001,
                    "gradient.data.vanished": 0.25,
                    "layer.conv1.saturated": 0.5,
                    "layer.conv1.dead": 0.0,
                    "layer.output.saturated": 0.0,
                    "layer.output.dead": 0.0,
                    "seconds": 1.0 + epoch / 10,
                }
                for key, of_names in columns.items():
                    if name in of_names:
                        given = of_names[name]
                        row[key] = given[epoch] if isinstance(given, tuple) else given
                rows.append(row)
    return pd.DataFrame(rows), outcomes
