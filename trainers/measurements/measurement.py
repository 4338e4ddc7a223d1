"""What a metric and a measurement are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from trainers.layers import Layer, places

if TYPE_CHECKING:
    from trainers.measurements.subject import Subject


MOST_STEPS = 128


@dataclass(frozen=True)
class Metric:
    """A line about it, and its function, which gives (members,); None for what is measured elsewhere.

    `log` marks sizes and ratios, of which only the order of magnitude says something: above 0, and on a log scale.
    """

    line: str
    of: Callable[[Any], Any] | None = None
    log: bool = False


def with_parameters(layers: tuple[Layer, ...]) -> Sequence[str]:
    """The names of the layers with parameters, from the input on."""
    return [place.name for place in places(layers)]


def by_step(layers: tuple[Layer, ...]) -> Sequence[str]:
    """`stepK`, K steps before a recurrent layer's last, from step0 to its first; at most MOST_STEPS, evenly spaced."""
    last = max(layer.steps for layer in layers) - 1
    count = min(last + 1, MOST_STEPS)
    return [f"step{round(i * last / max(1, count - 1))}" for i in range(count)]


def with_activation(layers: tuple[Layer, ...]) -> Sequence[str]:
    """The names of those among them with an activation."""
    return [place.name for place in places(layers) if place.units]


@dataclass(frozen=True)
class Measurement:
    """What a member can ask for besides the metrics that are always recorded.

    `function`, as "module:name", takes a `Subject` and gives the value of each metric: those of the `network` by their
    name, those of each `layer` as `layer.NAME.metric`. NAME is one of `rows`, by default each layer with parameters.
    Where `needs` is given the network must have a layer of that kind. The function is the same whichever engine trains.
    """

    line: str
    function: str
    network: Mapping[str, Metric] = field(default_factory=dict)
    layer: Mapping[str, Metric] = field(default_factory=dict)
    rows: Callable[[tuple[Layer, ...]], Sequence[str]] = with_parameters
    needs: str = ""

    def names(self, layers: tuple[Layer, ...]) -> tuple[str, ...]:
        """Every metric of one member and epoch."""
        return (*self.network, *(f"layer.{row}.{name}" for row in self.rows(layers) for name in self.layer))

    def measure(self, subject: Subject) -> dict[str, float]:
        """The value of each of `names`."""
        module, _, name = self.function.partition(":")
        values: dict[str, float] = getattr(import_module(module), name)(subject)
        return {name: values[name] for name in self.names(subject.layers)}
