"""The singular values of the Jacobian and the training of deep tanh networks, Gaussian against orthogonal weights."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from docs.build.studies.page import Frame, Records
from tracking.figures.album import Drawing
from tracking.figures.style import PALETTE, depth_ticks, legend_below, new_figure, percent
from tracking.verdict.tables import Section, Table, number
from trainers.theory.signal import jacobian_profile

SMALL = ("seeds=2", "base.epochs=1")
LABELS = {
    ("lecun_normal", 1.0): "Gaussian",
    ("lecun_normal", 2.0): "Gaussian, α = 2",
    ("orthogonal", 1.0): "orthogonal",
    ("orthogonal", 2.0): "orthogonal, α = 2",
}
SIGMA_W, SIGMA_B = 1.0, 0.0  # the study's
KEYS = ["initialization", "alpha", "dense"]


def parts(records: Records) -> Iterator[Drawing | Section]:
    """What was found: a table of the singular values and accuracies, and the figure."""
    members = records.members
    start, end = members[members["epoch"] == 0].groupby(KEYS), members[members["epoch"] == members["epoch"].max()]
    values: Frame = start[[f"jacobian.{name}" for name in ("mean_square", "largest", "smallest", "condition")]].median()
    values["predicted"] = [_predicted(alpha, depth)[-1] for _, alpha, depth in values.index]
    values["accuracy"] = end.groupby(KEYS)["train.accuracy"].mean()
    trained = members[members["epoch"] > 0]
    values["over all"] = trained.groupby(KEYS)["train.accuracy"].mean()
    yield _section(values)
    yield _figure(members, values)


def _predicted(alpha: float, depth: int) -> np.ndarray:
    """The mean square by mean-field theory, for 0 to `depth` hidden layers; standardized images have mean square 1."""
    return jacobian_profile("tanh", alpha, "rescaled", SIGMA_W, SIGMA_B, depth, 1.0)


def _section(values: Frame) -> Section:
    off = (values["jacobian.mean_square"] / values["predicted"]).apply(np.log10).abs()
    worst = off.idxmax()
    rows = tuple(
        (
            LABELS[at[:2]],
            str(at[2]),
            *(number(row[name], ".2g") for name in ("jacobian.mean_square", "predicted")),
            *(number(row[f"jacobian.{name}"], ".2g") for name in ("largest", "smallest", "condition")),
            *(f"{row[name]:.1%}" for name in ("over all", "accuracy")),
        )
        for at, row in values.iterrows()
    )
    columns = "weights", "layers#", "mean square#", "predicted#", "largest#", "smallest#", "condition#"
    title = "Medians over the seeds before the first step, and mean training accuracies"
    return Section(
        "The singular values before the first step, and training",
        (
            f"The mean square of the singular values is within a factor of {number(10 ** off.median(), '.3g')} of the "
            f"prediction in the median over the {len(values)} arms, and within {number(10 ** off.max(), '.3g')} in all "
            f"({LABELS[worst[:2]]}, {worst[2]} layers is the farthest).",
        ),
        (Table(title, (*columns, "accuracy, mean of all epochs#", "accuracy at the end#"), rows),),
    )


def _figure(members: Frame, values: Frame) -> Drawing:
    depths = sorted(set(members["dense"]))
    figure = new_figure(8.6)
    squares, conditions, courses = panels = figure.subplots(3, 1)
    for colour, (at, label) in zip(PALETTE, LABELS.items(), strict=False):
        own = values.loc[at]
        dashes = "-" if at[0] == "orthogonal" else "--"
        squares.plot(own.index, own["jacobian.mean_square"], "o", color=colour, markersize=5)
        if at[0] == "orthogonal":
            predicted = _predicted(at[1], depths[-1])[depths[0] :]
            squares.plot(range(depths[0], depths[-1] + 1), predicted, "-", color=colour, linewidth=1.2)
        conditions.plot(own.index, own["jacobian.condition"], f"o{dashes}", color=colour, markersize=5)
        deepest = members[(members["initialization"] == at[0]) & (members["alpha"] == at[1])]
        course = deepest[deepest["dense"] == depths[-1]].groupby("epoch")["train.accuracy"]
        courses.plot(course.mean(), dashes, color=colour, label=label)
        courses.fill_between(
            course.mean().index, course.quantile(0.25), course.quantile(0.75), color=colour, alpha=0.18, linewidth=0
        )
    for axes in (squares, conditions):
        axes.set_xscale("log")
        depth_ticks(axes.xaxis, depths)
        axes.set_xlabel("hidden layers (log scale)")
        axes.set_yscale("log")
    squares.set_ylabel("mean square of the\nsingular values")
    conditions.set_ylabel("largest over smallest\nsingular value")
    courses.set_ylabel(f"training accuracy\nwith {depths[-1]} layers")
    courses.set_xlabel("epoch")
    courses.yaxis.set_major_formatter(percent())
    legend_below(figure, panels[-1])
    text = "; ".join(
        f"{label}: a condition of {number(values.loc[(*at, depths[-1]), 'jacobian.condition'], '.2g')}, a training "
        f"accuracy of {values.loc[(*at, depths[-1]), 'accuracy']:.0%}"
        for at, label in LABELS.items()
    )
    return Drawing(
        figure,
        "Above: the mean square of the singular values of the Jacobian before the first step, medians over the seeds, "
        "and as lines the mean-field prediction for alpha = 1 and 2, which is the same for Gaussian and for orthogonal "
        "weights. Middle: the largest singular value over the smallest, medians. Below: the training accuracy of the "
        "deepest networks, means and interquartile ranges.",
        f"Singular values and training. With {depths[-1]} layers, {text}.",
    )
