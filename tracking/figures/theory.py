"""The figure of the theorems: where the bounds hold, and what depth and the two scalings do to the gradient."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes

from tracking.figures.style import new_figure, write
from trainers.theory.claims import Curve, Theory

COLOURS = {"tanh": "C0", "arctan": "C1", "softsign": "C2"}
DASHED = ("bound", "limit", "rescaled")


def save(theory: Theory, file: Path) -> None:
    """Write four panels in the order of the curves; the ending says the format.

    Raises ValueError for an ending that matplotlib doesn't know.
    """
    figure = new_figure(8.0, 11.0)
    panels = dict.fromkeys(curve.panel for curve in theory.curves)
    for axes, panel in zip(figure.subplots(2, -(-len(panels) // 2)).flat, panels, strict=True):
        _panel(axes, panel, [curve for curve in theory.curves if curve.panel == panel], theory)
    write(figure, file)


def _panel(axes: Axes, panel: str, curves: list[Curve], theory: Theory) -> None:
    for curve in curves:
        style = "--" if curve.label.startswith(DASHED) else "-"
        axes.plot(curve.x, curve.y, style, label=curve.label.replace("alpha", "α"), color=COLOURS.get(curve.label))
    axes.set_title(panel, fontsize=9)
    axes.grid(alpha=0.3)
    if panel.startswith("Theorem 1"):
        first = "largest" in panel
        axes.axhline(0.0 if first else 1.0, color="black", linewidth=1)
        axes.set_xscale("log" if first else "linear")
        for name, colour in COLOURS.items():
            edges = ("first_bound_from", "first_bound_to") if first else ("second_bound_to",)
            for edge in edges:
                if t := theory.constants[f"{name}.{edge}"]:
                    axes.axvline(t, color=colour, linewidth=0.8, linestyle=":")
        axes.set_xlabel(f"t   ({'above' if first else 'below'} the black line the bound fails)")
    elif panel.startswith("Theorem 2"):
        axes.set_xlabel("l")
    else:
        axes.set_xlabel("log10 α")
        axes.set_ylim(bottom=-12)
    axes.legend(fontsize=8)
