"""Figures of why gradients are small: layer by layer before the first step, beside what theory predicts."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from docs.build.paper.quotes import Records
from docs.build.paper.records import Record
from tracking.figures.album import Drawing
from tracking.figures.bands import draw_band, log_scale
from tracking.figures.data import MEDIANS, Line, of_columns
from tracking.figures.style import legend_below, new_figure, percent
from tracking.tidy import layers_of
from tracking.verdict.tables import SHARE, P, number
from trainers.theory.gaussian import Array
from trainers.theory.signal import gradient_profile

STAGE = "why"
RMS = "gradient.data.rms"
PLAIN = {  # sweep -> the title of its panel; each has an arm "plain"
    "figure-1": "large-parameters",
    "figure-2": "many-layers",
    "figure-3": "combined",
    "why-saturation": "saturated layers",
}


def regimes(records: Records) -> Drawing:
    """A panel for plain tanh in each regime, and one where units do saturate with depth: gradients and saturation."""
    figure = new_figure(4.0, width=7.5)
    above, below = figure.subplots(2, len(PLAIN), sharex="col", sharey="row")
    texts = []
    for top, bottom, (sweep, title) in zip(above, below, PLAIN.items(), strict=True):
        line = next(line for line in records[sweep].data.lines if line.name == "plain")
        sizes, shares = (line.quartiles(line.by_depth(statistic), 0) for statistic in (RMS, "saturated"))
        shares = shares.iloc[:-1]  # the output has no activation
        draw_band(top, line, sizes, log=True)
        draw_band(bottom, line, shares)
        top.set_title(title, loc="left", fontsize=9)
        bottom.set_xlabel("layer")
        bottom.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
        ends = " to ".join(number(sizes["q50"].iloc[i], P) for i in (0, -1))
        texts.append(f"{title}: {ends}, saturated {number(float(shares['q50'].mean()), SHARE)} on average")
    log_scale(above[0])
    above[0].set_ylabel("rms of the loss's\ngradient in the layer")
    below[0].set_ylabel("saturated units")
    below[0].yaxis.set_major_formatter(percent())
    return Drawing(
        figure,
        "Plain tanh before the first step, layer by layer from the input on: the root mean square of the loss's "
        "gradient over a layer's parameters, on one log scale, and the share of saturated units. The first three "
        f"panels are the paper's regimes. {MEDIANS}.",
        f"Curves from the first layer to the last, medians over the seeds. {'; '.join(texts)}.",
    )


def prediction(record: Record) -> Drawing:
    """Gradients by layer beside the mean-field prediction, both over the output layer's."""
    figure = new_figure(3.2)
    axes = _axes(figure, "rms of the loss's gradient\nover the output layer's")
    texts = []
    for line in record.data.lines:
        columns = line.by_depth(RMS)
        sizes = line.start[[*columns.values()]]
        band, expected = of_columns(sizes.div(sizes.iloc[:, -1], axis=0), columns), predicted(line)
        draw_band(axes, line, band, log=True, few=0)
        axes.plot(band.index, expected, ":", color=line.colour, linewidth=1.2)
        texts.append(f"{line.name} {number(band['q50'].iloc[0], P)}, predicted {number(expected[0], P)}")
    log_scale(axes)
    legend_below(figure, axes)
    return Drawing(
        figure,
        "The root mean square of the loss's gradient over each layer's parameters before the first step, over that of "
        "the output layer. Dotted is what mean-field theory predicts for one image and infinitely wide layers "
        "(docs/theory.md); what is measured is the gradient of the mean loss over many images, which can be smaller. "
        f"{MEDIANS}.",
        f"Curves over the layers. The first layer's rms over the last's: {'; '.join(texts)}.",
    )


def predicted(line: Line) -> Array:
    """The same by mean-field theory, for an image whose pixels have mean square 1 (standardized inputs)."""
    member = line.rows.iloc[0]
    widths = [3 * 32 * 32, *[int(member["units"])] * (len(layers_of(member)) - 1), 10]
    unit = member["activation"], float(member["alpha"]), member["scaling"]
    logs = gradient_profile(*unit, float(member["init_scale"]), float(member["bias_scale"]), widths, 1.0)
    return np.asarray(np.exp(logs - logs[-1]))


def balance(record: Record) -> Drawing:
    """<W, dL/dW> by layer, over its mean over the layers: 1 everywhere in a deep linear network."""
    figure = new_figure(2.8)
    axes = _axes(figure, "<W, dL/dW> over its\nmean over the layers")
    texts = []
    for line in record.data.lines:
        columns = line.by_depth("saddle.product")
        products = line.start[[*columns.values()]]
        over = products.div(products.mean(axis=1), axis=0)
        draw_band(axes, line, of_columns(over, columns))
        least, most = (number(float(end), P) for end in (np.min(over), np.max(over)))
        linear = float(np.min(line.start[[*line.by_depth("saddle.linear").values()]]))
        texts.append(f"{line.name} {least} to {most}, with activations that are at least {linear:.1%} linear")
    axes.axhline(1.0, color="black", linewidth=0.7, linestyle=":")
    axes.set_ylim(0.0, 1.3)
    legend_below(figure, axes)
    return Drawing(
        figure,
        "The inner product of each layer's weights with the loss's gradient by them before the first step, over its "
        "mean over the layers. In a deep linear network it is the same in all layers, the dotted line (see `saddle` in "
        f"docs/fields.md). {MEDIANS}.",
        f"Curves over the layers. From the smallest to the largest of all seeds and layers: {'; '.join(texts)}.",
    )


def _axes(figure: Figure, label: str) -> Axes:
    axes = figure.subplots()
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("layer, from the input on")
    axes.set_ylabel(label)
    return axes


PREDICTED = {"why-saturation": prediction, "why-many-layers": balance}
