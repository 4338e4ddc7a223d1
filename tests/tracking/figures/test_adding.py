"""A figure is added by one file, and is then among MLflow's artifacts and in the library at once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

import tracking.figures
from tracking.figures.album import draw

# As in "How to add a figure" in docs/architecture.md: tracking/figures/time_per_epoch.py.
FILE = '''\
"""How long an epoch took."""

from __future__ import annotations

from tracking.figures.album import Drawing, Kind
from tracking.figures.data import FigureData
from tracking.figures.style import NotDrawn, new_figure
from tracking.verdict.tables import SPREAD, number


def draw(data: FigureData) -> Drawing:
    """A bar per line: its mean seconds per epoch."""
    if "seconds" not in data.frame:
        raise NotDrawn("the records have no seconds")
    chosen = data.lines
    means = [float(line.rows["seconds"].mean()) for line in chosen]
    figure = new_figure(0.8 + 0.3 * len(chosen))
    axes = figure.subplots()
    axes.barh([line.name for line in chosen], means, color=[line.colour for line in chosen])
    axes.set_xlabel("seconds per epoch")
    times = ", ".join(f"{line.name} {number(mean, SPREAD)} s" for line, mean in zip(chosen, means, strict=True))
    return Drawing(figure, "The mean time per epoch and member.", f"Bars: {times}.")


FIGURE = Kind("Time per epoch", place=80, draw=draw)
'''
DOCUMENTATION = Path(__file__).parents[3] / "docs" / "architecture.md"


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "time_per_epoch.py").write_text(FILE)
    monkeypatch.setattr(tracking.figures, "__path__", [*tracking.figures.__path__, str(tmp_path)])
    yield
    sys.modules.pop("tracking.figures.time_per_epoch", None)


def test_one_file_is_a_figure(added: None, make: Any) -> None:
    frame, ended = make(make.arms(seeds=(0,), epochs=1))
    album = draw(frame, ended)
    assert list(album.pictures) == [
        "accuracy-and-gradients",
        "seeds",
        "layers",
        "saturation",
        "time-per-epoch",
    ]
    picture = album.pictures["time-per-epoch"]
    assert (picture.title, picture.caption) == ("Time per epoch", "The mean time per epoch and member.")
    assert picture.alt == "Bars: plain 0.1 s, paper 0.1 s, relu 0.1 s."
    assert isinstance(picture.figure, Figure)


def test_it_says_where_it_does_not_apply(added: None, make: Any) -> None:
    frame, ended = make(make.arms(seeds=(0,), epochs=1))
    left_out = draw(frame.drop(columns="seconds"), ended).left_out
    assert left_out["Time per epoch"] == "the records have no seconds"


def test_the_documentation_shows_this_file() -> None:
    text = DOCUMENTATION.read_text(encoding="utf-8") if DOCUMENTATION.is_file() else ""
    if "How to add a figure" not in text:
        pytest.skip("docs/architecture.md has no section on figures")
    assert f"```python\n{FILE}```" in text
