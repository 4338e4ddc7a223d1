"""Recurrent networks: the gradient over the lag before and after training, and what they learn."""

from __future__ import annotations

from collections.abc import Iterator

from matplotlib.axes import Axes

from docs.build.studies.page import Frame, Records
from tracking.figures.album import Drawing
from tracking.figures.style import DASHES, PALETTE, legend_below, new_figure, percent
from tracking.verdict.tables import Section, Table, number

SMALL = ("seeds=2", "base.epochs=1", "base.measure_at=[0, 1]")
LABELS = {
    "rnn": "RNN",
    "alpha-2": "RNN, α = 2",
    "l2": "RNN, r = 0.01",
    "paper": "RNN, both",
    "orthogonal": "RNN, orthogonal",
    "lstm": "LSTM",
    "gru": "GRU",
    "lstm-alpha-2": "LSTM, α = 2",
}
TASKS = {"": "digits, row by row", "large-": "digits, from large initial values", "adding-": "adding problem"}
SIZE = "gradient.cell.rms"  # of an RNN and a GRU that by the hidden state


def parts(records: Records) -> Iterator[Drawing | Section]:
    """What was found: a table of all arms, and the figure."""
    members, last = records.members, records.members["epoch"].max()
    steps = records.layers[records.layers["kind"] == "step"]
    lags = steps.groupby(["arm", "epoch", "depth"])[SIZE].median().unstack()
    ratios: Frame = lags.div(lags[0], axis=0)
    yield _section(members, ratios, last)
    yield _figure(members, ratios, last)


def _name(arm: str) -> tuple[str, str]:
    """(task, label) of an arm."""
    task = next(prefix for prefix in reversed(TASKS) if f"{arm}-".startswith(prefix))
    return TASKS[task], LABELS[arm.removeprefix(task.rstrip("-")).removeprefix("-") or "rnn"]


def _section(members: Frame, ratios: Frame, last: int) -> Section:
    ends = members[members["epoch"] == last].groupby("arm")
    accuracy = ends["validation.accuracy"]
    arms = sorted(set(members["arm"]), key=members["arm"].tolist().index)
    lag = int(ratios.columns[-1])

    def mean(arm: str) -> str:
        return f"{accuracy.get_group(arm).mean():.1%}"

    def ratio(arm: str, epoch: int = 0) -> str:
        return number(ratios.loc[(arm, epoch), lag], ".2g")

    rows = tuple(
        (
            *_name(arm),
            mean(arm),
            f"{accuracy.get_group(arm).quantile(0.25):.1%} to {accuracy.get_group(arm).quantile(0.75):.1%}",
            ratio(arm),
            ratio(arm, last),
            f"{ends['saturated'].get_group(arm).mean():.1%}",
        )
        for arm in arms
    )
    own = [arm for arm in arms if _name(arm)[0] == TASKS[""]]
    best = max(own, key=lambda arm: accuracy.get_group(arm).mean())
    title = f"Validation accuracy after the last epoch, and the gradient {lag} steps back over that at the last step"
    columns = (
        "task",
        "network",
        "accuracy#",
        "quartiles#",
        "gradient at first#",
        "gradient at the end#",
        "saturated at the end#",
    )
    return Section(
        "What is learned",
        (
            f"Of the {len(own)} networks on digits, {_name(best)[1]} is the best, at {mean(best)}. The plain RNN "
            f"reaches {mean('rnn')}; with alpha = 2 {mean('alpha-2')}, with the penalty {mean('l2')}, with both "
            f"{mean('paper')}.",
            f"Before training the gradient {lag} steps back is {ratio('rnn')} times that at the last step; with "
            f"alpha = 2 {ratio('alpha-2')} times, in the LSTM {ratio('lstm')} times. After training it is "
            f"{ratio('rnn', last)}, {ratio('alpha-2', last)} and {ratio('lstm', last)} times.",
            f"From large initial values it is {ratio('large')} times before training, and {ratio('large-paper')} times "
            f"with both remedies. The two reach {mean('large')} and {mean('large-paper')}.",
            f"In the adding problem the LSTM reaches {mean('adding-lstm')}, and the RNNs {mean('adding-rnn')} (plain), "
            f"{mean('adding-paper')} (both remedies) and {mean('adding-orthogonal')} (orthogonal). Guessing gives 10%.",
        ),
        (Table(title, columns, rows),),
    )


def _figure(members: Frame, ratios: Frame, last: int) -> Drawing:
    figure = new_figure(7.6, 8.0)
    (start, end), (digits, adding) = figure.subplots(2, 2)
    styles = dict(zip(LABELS, zip((*PALETTE, *PALETTE), DASHES, strict=False), strict=False))
    for axes, epoch, title in ((start, 0, "before training"), (end, last, f"after {last} epochs")):
        for arm, (colour, dashes) in styles.items():
            axes.plot(ratios.loc[(arm, epoch)], dashes, color=colour, label=LABELS[arm])
        axes.set_yscale("log")
        axes.set_title(f"digits, {title}")
        axes.set_xlabel("steps back")
    start.set_ylabel("gradient over that at the last step")
    _courses(digits, members, {arm: arm for arm in LABELS}, styles)
    digits.set_title("digits")
    digits.set_ylabel("validation accuracy")
    _courses(adding, members, {arm: f"adding-{arm}" for arm in LABELS}, styles)
    adding.set_title("adding problem")
    legend_below(figure, start)
    return Drawing(
        figure,
        "Above: the rms of the gradient of an image's loss by the hidden state (an LSTM's cell) so many steps before "
        "the last one, over that by the last; medians over the seeds. Below: the validation accuracy, means over the "
        "seeds.",
        "Gradients over the lag, before and after training, and accuracies over the epochs.",
    )


def _courses(axes: Axes, members: Frame, arms: dict[str, str], styles: dict[str, tuple[str, str]]) -> None:
    for arm, named in arms.items():
        if (own := members[members["arm"] == named]).empty:
            continue
        colour, dashes = styles[arm]
        axes.plot(own.groupby("epoch")["validation.accuracy"].mean(), dashes, color=colour)
    axes.yaxis.set_major_formatter(percent())
    axes.set_xlabel("epoch")
