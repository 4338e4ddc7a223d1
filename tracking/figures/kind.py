"""What a figure is: one file in this folder with a function that draws it, and a `FIGURE` that names it.

    def draw(data: FigureData) -> Drawing:
        figure = new_figure(2.0)
        ...
        return Drawing(figure, "What the figure shows.", "The numbers that a reader would see in it.")

    FIGURE = Kind("Title", place=45, draw=draw)

The file's name is the figure's. It is in every report, among MLflow's artifacts and in `tracking.figures.draw` at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from matplotlib import rc_context
from matplotlib.figure import Figure

from tracking.figures.data import FigureData
from tracking.figures.style import RC


@dataclass(frozen=True)
class Drawing:
    """A figure, its caption, and its alternative text: what a reader would see, for those who hear the page."""

    figure: Figure
    caption: str
    alt: str


@dataclass(frozen=True)
class Kind:
    """A kind of figure; calling it draws one in the style of all.

    `draw` raises NotDrawn where the figure does not apply. Figures are read in the order of their `place`. With
    `each_objective` there is one for each of a sweep's objectives, else one for the first.
    """

    title: str
    place: int
    draw: Callable[[FigureData], Drawing]
    each_objective: bool = False

    def __call__(self, data: FigureData) -> Drawing:
        """Draw it. Raises NotDrawn."""
        with rc_context(rc=RC):
            return self.draw(data)
