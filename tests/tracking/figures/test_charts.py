"""What the charts of the report's page show: the numbers of the records, what was pruned, and how little they weigh."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tracking.charts import curves, distribution, history, layers, pareto, slices, style, surface, timeline
from tracking.charts.chart import ChartData
from tracking.charts.charts import KINDS, draw
from tracking.figures.style import NotDrawn
from tracking.report.page import conditions, measured, page
from tracking.results import Outcome
from tracking.verdict.verdict import judge
from trainers.members import MemberConfig
from trainers.objectives import Near, Objective

ACCURACY = Objective()
BALANCE = Objective("gradient.first_to_last", Near(1.0))


@pytest.fixture
def seen(make: Any) -> ChartData:
    """Three arms, eight searched configurations, and four that were pruned."""
    pruned = [replace(made, state="pruned", epochs=2) for made in make.search(12)[8:]]
    make.write([*make.arms(), *make.search(8), *pruned])
    data: ChartData = make.seen(objectives=[ACCURACY, BALANCE], searched=True)
    return data


def over_seeds(data: ChartData, metric: str, epoch: int, what: str) -> dict[int, float]:
    """The mean or the median by configuration."""
    frame = data.records.frame
    return dict(frame[frame["epoch"] == epoch].groupby("configuration")[metric].agg(what))


def test_the_curves_are_all_configurations_in_the_records_numbers(seen: ChartData) -> None:
    chart = curves.draw(seen)
    lines = [t for t in chart.traces if t.get("yaxis") == "y" and t.get("fill") is None and t["y"] != [None]]
    assert len(lines) == 15 and sum(t.get("legendgroup") == "others" for t in lines) == 11
    ends = over_seeds(seen, "validation.accuracy", 4, "median")
    in_colour = [int(line.rows["configuration"].iloc[0]) for line in seen.records.lines]
    assert [t["y"][-1] for t in lines if "customdata" in t] == style.numbers([ends[n] for n in in_colour])
    grey = {int(t["name"].split(":")[0]): t for t in lines if t.get("legendgroup") == "others"}
    assert {n: len(t["y"]) for n, t in grey.items() if n > 10} == dict.fromkeys(range(11, 15), 3), "pruned"
    assert all(t["y"][-1] == style.numbers([ends[n]])[0] for n, t in grey.items() if n <= 10)
    (named,) = [t for t in chart.traces if t.get("showlegend") and t["y"] == [None]]
    assert named["name"] == "11 other configurations"
    areas = [t for t in chart.traces if t.get("legendgroup") == "bands" and t.get("yaxis") == "y"]
    assert len(areas) == 11 and {t["visible"] for t in areas} == {"legendonly"}
    assert (
        chart.alt.startswith("Curves over the epochs, medians over the seeds. plain: ")
        and "11 others in grey" in chart.caption
    )


def test_many_grey_lines_are_thinned_and_the_caption_says_so(seen: ChartData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "MOST", 30)
    monkeypatch.setattr(curves, "MOST_LINES", 6)
    chart = curves.draw(seen)
    grey = [t for t in chart.traces if t.get("legendgroup") == "others" and t.get("yaxis") == "y" and t["y"] != [None]]
    assert len(grey) == 6 and sum(len(t["y"]) for t in grey) <= 30
    assert "5 more are not shown" in chart.caption


def test_a_point_of_the_surface_tells_its_values_and_pruned_ones_are_crosses(seen: ChartData) -> None:
    chart = surface.draw(seen)
    dots, crosses = (
        next(t for t in chart.traces if test(t))
        for test in (lambda t: "told" in t, lambda t: t.get("name") == "pruned")
    )
    assert len(dots["told"]) == 10, "without relu: another activation"
    assert len(crosses["told"]) == 4 and crosses["marker"]["symbol"] == "x-thin"
    told = seen.told[crosses["told"][0]]
    first = seen.records.firsts.loc[crosses["told"][0]]
    assert f"α = {first['alpha']:.3g}<br>r = {first['r']:.3g}<br>validation.accuracy = " in told
    assert "log distance of gradient.first_to_last from 1 = " in told and told.endswith("pruned after epoch 2, 4 seeds")
    assert crosses["y"] == style.numbers(seen.records.firsts.loc[crosses["told"], "alpha"])


def test_slices_and_history_have_all_that_ended(seen: ChartData) -> None:
    sliced = slices.draw(seen)
    assert [(t["name"], len(t["x"])) for t in sliced.traces] == [("complete", 8), ("pruned", 4)] * 2
    chart = history.draw(seen)
    so_far, *groups = chart.traces
    assert {t["name"]: len(t["x"]) for t in groups} == {"searched": 8, "arms": 3, "pruned": 4}
    means = over_seeds(seen, "validation.accuracy", 4, "mean")
    ends = [means[n] for n in range(11)]
    assert so_far["y"] == style.numbers([*np.maximum.accumulate(ends), max(ends)])


def test_the_front_is_what_nothing_beats(seen: ChartData) -> None:
    chart = pareto.draw(seen)
    others, front = chart.traces
    assert len(others["told"]) + len(front["told"]) == 11
    points = {n: xy for t in (others, front) for n, *xy in zip(t["told"], t["x"], t["y"], strict=True)}
    for number, (accuracy, distance) in points.items():
        beaten = any(a >= accuracy and d <= distance and (a, d) != (accuracy, distance) for a, d in points.values())
        assert beaten == (number in others["told"])
    with pytest.raises(NotDrawn, match="there is one objective"):
        pareto.draw(replace(seen, records=replace(seen.records, objectives=[ACCURACY])))


def test_the_distribution_is_of_the_recorded_quantiles(make: Any) -> None:
    values = {"q05": -1e-3, "q25": -1e-6, "q50": 0.0, "q75": 1e-6, "q95": 1e-3}

    def spread(metric: str, epoch: int, seed: int, value: float) -> float:
        return values.get(metric.rpartition(".")[2], value)

    make.write([make.one("only", change=spread)])
    chart = distribution.draw(make.seen())
    thin, thick, dots = chart.traces[:3]
    # 1e-6 is where the scale begins to be logarithmic.
    assert (thin["y"][:2], thick["y"][:2], dots["y"][0]) == ([-3.0, 3.0], [-0.301, 0.301], 0.0)
    assert "5%: -0.001<br>25%: -1e-06<br>50%: 0<br>75%: 1e-06<br>95%: 0.001" in dots["text"][0]
    assert "linear below 1e-06" in chart.caption


def test_a_gradient_of_0_has_no_colour_and_every_other_has_its_own(make: Any) -> None:
    def one_is_0(metric: str, epoch: int, seed: int, value: float) -> float:
        return 0.0 if metric == "layer.conv1.gradient.data.rms" and epoch == 0 else value

    make.write([make.one("only", change=one_is_0)])
    chart = layers.draw(make.seen())
    (heat,) = chart.traces
    cells = np.array(heat["z"], dtype=float)
    assert heat["y"][0] == "conv1" and np.argwhere(np.isnan(cells)).tolist() == [[0, 0]] and heat["text"][0][0] == "0"
    lowest, highest = chart.layout["coloraxis"]["cmin"], chart.layout["coloraxis"]["cmax"]
    assert lowest - 0.01 <= np.nanmin(cells) and np.nanmax(cells) <= highest + 0.01


def test_the_timeline_is_from_start_to_end(seen: ChartData) -> None:
    times = {
        n: replace(c, started=1_700_000_000_000 + 1000 * n, ended=1_700_000_000_500 + 1000 * n)
        for n, c in seen.configurations.items()
    }
    chart = timeline.draw(replace(seen, configurations=times))
    assert {t["name"]: len(t["y"]) for t in chart.traces} == {"complete": 11, "pruned": 4}
    assert all(length == 500 for t in chart.traces for length in t["x"])
    assert chart.traces[0]["base"][0] == 1_700_000_000_000 and "15 bars from 2023-11-14 22:13 UTC" in chart.alt
    with pytest.raises(NotDrawn, match="no configuration has been started"):
        timeline.draw(replace(seen, configurations={n: replace(c, started=0) for n, c in times.items()}))


def test_depth_has_a_line_of_what_differs_in_depth_alone(make: Any) -> None:
    make.write(make.by_depth())
    charts = draw(make.seen()).charts
    lines = [t for t in charts["depth"].traces if t["mode"] == "lines+markers"]
    assert len(lines) == 2 * 3 and {tuple(t["x"]) for t in lines} == {(2, 5, 25)}
    assert sum(t["name"] == "other configurations" for t in charts["depth"].traces) == 3
    by_layer = charts["gradient-by-depth"].traces
    assert sorted({len(t["x"]) for t in by_layer}) == [2, 5, 25] and len(by_layer) == 2 * 2 * 3
    frame = make.read()[0]
    first = frame[(frame["configuration"] == 1) & (frame["epoch"] == 0)]["layer.dense1.gradient.data.rms"].median()
    assert by_layer[0]["y"][0] == style.numbers([first])[0]


def test_what_is_measured_has_its_charts_and_changes_no_other(make: Any) -> None:
    def misleading(member: MemberConfig, epoch: int) -> dict[str, float]:
        steps = {f"layer.step{k}.{name}": 7.0 for name in ("gradient.data.rms", "saturated", "dead") for k in range(4)}
        return make.measured(member, epoch) | steps

    made = [*make.arms(), *make.search(4)]
    make.write(made, "plain")
    make.write([replace(of, also=misleading) for of in made], "measured")
    plain, with_more = (draw(make.seen(name)).charts for name in ("plain", "measured"))
    assert set(with_more) - set(plain) == {"gradient-against-lag", "signal-by-depth", "jacobian", "sharpness", "ridges"}
    for name in plain.keys() - {"timeline"}:
        assert with_more[name] == plain[name], name
    frame = make.read("measured")[0]
    of_paper = frame[(frame["configuration"] == 1) & (frame["epoch"] == 3)]

    def course(name: str, panel: int, label: str = "paper: tanh, α = 2, r = 0.01") -> dict[str, Any]:
        axis = style.numbered("y", panel)
        lines = [t for t in with_more[name].traces if "customdata" in t and t["yaxis"] == axis and t["text"] == label]
        assert len(lines) == 1
        return lines[0]

    lags = course("gradient-against-lag", 1)
    medians = [of_paper[f"layer.step{k}.gradient.hidden.rms"].median() for k in range(4)]
    assert (lags["x"], lags["y"]) == ([0, 1, 2, 3], style.numbers(medians))
    layers = [f"conv{i}" for i in range(1, 7)] + [f"dense{i}" for i in range(1, 4)]
    for place, metric in enumerate(("correlation", "variance", "slope")):
        columns = of_paper[[f"layer.{layer}.signal.{metric}" for layer in layers]]
        assert course("signal-by-depth", 2 * place + 1)["y"] == style.numbers(columns.median())
    largest = course("jacobian", 0)
    assert largest["x"] == [0, 3] and largest["y"][1] == style.numbers([of_paper["jacobian.largest"].median()])[0]


def test_initial_values_alone_are_charts_without_epochs(make: Any) -> None:
    make.write([*make.arms(epochs=0, also=make.measured), *make.by_depth(epochs=0)])
    data = make.seen()
    charts = draw(data)
    assert charts.left_out["Accuracy and gradients"] == "only epoch 0 has been recorded"
    names = {"layers", "distribution", "gradient-by-depth", "depth", "saturation", "signal-by-depth", "jacobian"}
    assert names < set(charts.charts)
    frame = data.records.frame
    line = next(t for t in charts.charts["layers"].traces if t.get("text", "").startswith("paper"))
    first = frame[frame["arm"] == "paper"]["layer.conv1.gradient.data.rms"].median()
    assert line["y"][0] == style.numbers([first])[0]
    assert {t["name"] for t in charts.charts["distribution"].traces if "name" in t} == {"before the first step"}
    for name, chart in charts.charts.items():
        text = json.dumps([chart.traces, chart.layout]) + chart.caption + chart.alt
        assert "last epoch" not in text, name
    tables = [*measured(data.records), conditions(frame, make.sweep())]
    verdict = judge(frame, data.records.outcomes, data.objectives, sweep="made")
    text = page(verdict, charts, tables, tables[-1])
    assert "at the last epoch" not in text and "0, the initial values alone" in text


def test_every_chart_says_why_it_is_not_drawn(make: Any) -> None:
    """But for those of what a spec has to ask for."""
    asked = {"gradient-against-lag", "signal-by-depth", "jacobian", "sharpness", "ridges"}
    make.write(make.search(1, state="running", epochs=0), status=None)
    charts = draw(make.seen())
    assert set(charts.charts) <= {"timeline"}
    assert {KINDS[name].title for name in KINDS.keys() - asked - charts.charts.keys()} <= charts.left_out.keys()
    assert all(why[0].islower() and not why.endswith(".") for why in charts.left_out.values())


def test_a_text_of_a_user_is_no_markup_in_a_chart(make: Any) -> None:
    evil = '<a href="https://example.org">%{x}</a>&amp;'
    make.write([*make.arms(), *make.search(12)])
    data = make.seen(searched=True)
    named = {n: replace(o, name=evil) for n, o in data.records.outcomes.items()}
    arms = data.records.frame.assign(arm=data.records.frame["arm"].replace({"paper": evil}))
    charts = draw(replace(data, records=replace(data.records, outcomes=named, frame=arms)))
    text = json.dumps([[c.traces, c.layout] for c in charts.charts.values()]) + json.dumps(charts.told)
    assert "&lt;a href=" in text and "<a " not in text
    templates = [t["hovertemplate"] for c in charts.charts.values() for t in c.traces if "hovertemplate" in t]
    assert templates and not any("href" in template for template in templates)


def test_the_page_of_a_long_sweep_is_under_2_megabytes(make: Any) -> None:
    """600 configurations of 61 epochs and two objectives."""
    make.write([*make.arms(seeds=(0,)), *make.search(20, seeds=(0,))])
    data = make.seen(objectives=[ACCURACY, BALANCE], searched=True)
    base = data.records.frame
    rows = base[base["epoch"] == 4]
    copies = []
    drawn = np.random.default_rng(0)
    for place in range(26):
        for epoch in range(61):
            noise = drawn.uniform(0.9, 1.0, len(rows))
            moved = {"configuration": rows["configuration"] + 23 * place, "epoch": epoch}
            if place:
                moved |= {"arm": "", "alpha": rows["alpha"] * noise, "r": rows["r"] * noise + 1e-6}
            scaled = {
                m: rows[m] * noise for m in ("validation.accuracy", "gradient.data.mean_abs", "gradient.total.mean_abs")
            }
            copies.append(rows.assign(**moved, **scaled))
    frame = pd.concat(copies, ignore_index=True)
    numbers = sorted(frame["configuration"].unique().tolist())
    ended = {
        n: Outcome(n, "" if n > 2 else data.records.outcomes[n].arm, f"alpha={n} r={n}", "complete") for n in numbers
    }
    rows_of = {n: replace(data.configurations[n % 23], number=n, order=n, started=1 + n, ended=2 + n) for n in numbers}
    records = replace(data.records, frame=frame, outcomes=ended)
    charts = draw(ChartData(records, rows_of))
    assert "To keep the page light" in charts.charts["curves"].caption
    verdict = judge(frame, ended, data.objectives, sweep="long")
    text = page(verdict, charts, [], conditions(frame, make.sweep()))
    assert len(numbers) == 598 and len(text.encode()) < 2_000_000
