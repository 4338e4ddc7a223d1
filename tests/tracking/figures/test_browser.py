"""The report in a real browser, a headless Chromium; skipped where there is none."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tracking.charts.charts import KINDS, draw
from tracking.report.page import conditions, measured, page
from tracking.store import Store
from tracking.verdict.verdict import judge
from trainers.objectives import Near, Objective

ACCURACY = Objective()
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe")
pytestmark = pytest.mark.skipif(BROWSER is None, reason=f"needs one of {', '.join(NAMES)}")


class Browser:
    """One page of a Chromium, spoken to over its debugging pipe: messages of JSON, each ended by a zero byte."""

    def __init__(self, folder: Path) -> None:
        read, self._write = os.pipe()
        self._read, write = os.pipe()
        # It listens on descriptor 3 and answers on 4: these two must be out of the way there.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (read, write)]
        self._process = subprocess.Popen(
            [str(BROWSER), *FLAGS, f"--user-data-dir={folder / 'profile'}", "about:blank"],
            preexec_fn=lambda: [os.dup2(end, place) for place, end in enumerate(ends, 3)] and None,
            pass_fds=(3, 4),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (read, write, *ends):
            os.close(end)
        self.events: list[dict[str, Any]] = []
        self._buffer, self._number, self._session = b"", 0, ""
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self._session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self(f"{domain}.enable")

    def __call__(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Ask for something and wait for the answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            self.events.append(answer)
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def show(self, file: Path, width: int, **features: str) -> None:
        """Load a page at this width, to its end."""
        self("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 500)
        media = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self("Emulation.setEmulatedMedia", features=media)
        self("Page.navigate", url=file.as_uri())
        while not any(e.get("method") == "Page.loadEventFired" for e in self.events):
            self.events.append(self._next())

    def evaluate(self, expression: str, wait: bool = False) -> Any:
        """The value of an expression in the page; with `wait` what it promises."""
        answer = self("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=wait)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def drawn(self) -> None:
        """Wait until the page's scripts have drawn the charts: the end of the document's promises."""
        assert self.evaluate("drawn.then(() => true)", wait=True)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._read)
        os.close(self._write)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            chunk = os.read(self._read, 1 << 16)
            assert chunk, "the browser is gone"
            self._buffer += chunk
        message, self._buffer = self._buffer.split(b"\0", 1)
        result: dict[str, Any] = json.loads(message)
        return result


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    opened = Browser(tmp_path)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def report(maker: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with every chart, of a sweep that was stopped."""
    folder = tmp_path_factory.mktemp("report")
    make = maker(Store.at(folder / "store").create())
    pruned = [replace(made, state="pruned", epochs=2) for made in make.search(12)[8:]]
    frame, ended = make([*make.arms(also=make.measured), *make.search(8), *pruned])
    objectives = [ACCURACY, Objective("gradient.first_to_last", Near(1.0))]
    verdict = judge(frame, ended, objectives, sweep="made")
    data = make.seen(objectives=objectives, searched=True)
    charts, table = draw(data), conditions(frame, make.sweep())
    own = [name for name in KINDS if any(drawn.startswith(name) for drawn in charts.charts)]
    assert own == [name for name in KINDS if name not in ("gradient-by-depth", "depth")]
    text = page(verdict, charts, measured(data.records), table, spec="name: made\n", status="killed")
    file = folder / "report.html"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1280, "dark")])
def test_the_page_fits_its_window_and_asks_for_nothing(browser: Browser, report: Path, width: int, scheme: str) -> None:
    browser.show(report, width, prefers_color_scheme=scheme)
    browser.drawn()
    inside = browser.evaluate("document.documentElement.clientWidth")
    assert inside > width - 20 and browser.evaluate("document.documentElement.scrollWidth") == inside
    charts = "[...document.querySelectorAll('.chart')]"
    amount = browser.evaluate(f"{charts}.length")
    assert amount > 12 and browser.evaluate("document.querySelectorAll('figure').length") == amount
    assert browser.evaluate(f"{charts}.every(c => c.querySelectorAll('.main-svg').length && c.ariaLabel.length > 10)")
    assert browser.evaluate(f"{charts}.every(c => c.querySelectorAll('.point, .js-line, .hm image').length > 0)")
    boxes = "[...document.querySelectorAll('.chart svg.main-svg, table')].map(b => b.getBoundingClientRect())"
    wide = f"{boxes}.filter(b => b.right > {inside}).length"
    # On a phone wide tables scroll in their own box.
    scroll = "[...document.querySelectorAll('.scroll')].filter(b => b.scrollWidth > b.clientWidth).length"
    assert browser.evaluate(wide) == browser.evaluate(scroll) and (width < 500 or browser.evaluate(scroll) == 0)
    requests = [e["params"]["request"]["url"] for e in browser.events if e["method"] == "Network.requestWillBeSent"]
    assert {re.split("[:,;]", url)[0] for url in requests} <= {"file", "data"}
    assert [url for url in requests if url.startswith("file")] == [report.as_uri()]
    complaints = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
    assert [e for e in browser.events if e["method"] in complaints] == []


def test_values_are_told_legends_toggle_and_figures_follow_the_window(browser: Browser, report: Path) -> None:
    browser.show(report, 1280)
    browser.drawn()
    surface = "document.getElementById('chart-surface-validation-accuracy')"
    hover = f"Plotly.Fx.hover({surface}, [{{curveNumber: 1, pointNumber: 0}}])"
    browser.evaluate(f"{surface}.scrollIntoView(); {hover}")
    told = browser.evaluate(f"[...{surface}.querySelectorAll('.hovertext text')].map(t => t.textContent).join(' ')")
    assert "validation.accuracy = " in told and "α = " in told and "complete after epoch 4, 4 seeds" in told
    curves = "document.getElementById('chart-curves')"
    lines = f"{curves}.querySelectorAll('.scatterlayer .trace').length"
    before = browser.evaluate(lines)
    # Its clickable area listens to the mouse, and waits for what may be a double click.
    x, y = browser.evaluate(
        f"{curves}.scrollIntoView(); (b => [b.x + 20, b.y + b.height / 2])"
        f"([...{curves}.querySelectorAll('.legendtoggle')][0].getBoundingClientRect())"
    )
    browser.evaluate(f"window.toggled = new Promise(done => {curves}.on('plotly_restyle', () => done(true)))")
    for kind in ("mousePressed", "mouseReleased"):
        browser("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
    assert browser.evaluate("window.toggled", wait=True) and browser.evaluate(lines) < before
    wide = browser.evaluate(f"{curves}.querySelector('.main-svg').getBoundingClientRect().width")
    browser.evaluate(f"window.fitted = new Promise(done => {curves}.on('plotly_relayout', () => done(true)))")
    browser("Emulation.setDeviceMetricsOverride", width=700, height=800, deviceScaleFactor=1, mobile=False)
    assert browser.evaluate("window.fitted", wait=True)
    assert browser.evaluate(f"{curves}.querySelector('.main-svg').getBoundingClientRect().width") < min(700, wide)


def test_tables_sort(browser: Browser, report: Path) -> None:
    browser.show(report, 1280)
    browser.drawn()
    table = "[...document.querySelectorAll('table')].find(t => t.rows[0].cells[2].textContent == 'mean')"
    column = f"[...{table}.tBodies[0].rows].map(r => parseFloat(r.cells[2].textContent))"
    values = browser.evaluate(column)
    browser.evaluate(f"{table}.rows[0].cells[2].click()")
    assert browser.evaluate(f"{table}.rows[0].cells[2].ariaSort") in ("ascending", "descending")
    first = browser.evaluate(column)
    browser.evaluate(f"{table}.rows[0].cells[2].click()")
    again = browser.evaluate(column)
    assert len(set(values)) > 5 and sorted([first, again]) == [sorted(values), sorted(values, reverse=True)]


def test_the_page_is_dark_where_that_is_wished_and_prints_in_black_on_white(browser: Browser, report: Path) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    letters = "getComputedStyle(document.querySelector('.chart .xtick text')).fill"
    browser.show(report, 1280, prefers_color_scheme="dark")
    browser.drawn()
    assert (browser.evaluate(ground), browser.evaluate(letters)) == ("rgb(13, 17, 23)", "rgb(230, 237, 243)")
    browser("Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    assert browser.evaluate(ground) == "rgb(255, 255, 255)"
    boxes = "[...document.querySelectorAll('.scroll')]"
    assert browser.evaluate(f"{boxes}.every(b => getComputedStyle(b).overflowX == 'visible')")
    printed = browser("Page.printToPDF")["data"]
    assert printed.startswith("JVBERi0")  # %PDF-, in base64
    assert browser.evaluate(letters) == "rgb(0, 0, 0)"
