"""The report in a real browser, a headless Chromium; skipped where there is none."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tracking.figures.album import draw
from tracking.report.page import conditions, page
from tracking.store import Store
from tracking.verdict.verdict import judge
from trainers.objectives import Objective

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

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page."""
        return self("Runtime.evaluate", expression=expression, returnByValue=True)["result"]["value"]

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
    folder = tmp_path_factory.mktemp("report")
    make = maker(Store.at(folder / "store").create())
    frame, ended = make([*make.arms(), *make.search(8)])
    verdict = judge(frame, ended, [ACCURACY], sweep="made")
    album = draw(frame, ended, [ACCURACY], *make.searched)
    text = page(verdict, album, [], conditions(frame, make.sweep()), spec="name: made\n")
    file = folder / "report.html"
    file.write_text(text, encoding="utf-8")
    return file


def test_the_page_fits_a_phone_and_asks_for_nothing(browser: Browser, report: Path) -> None:
    browser.show(report, 380)
    assert browser.evaluate("document.documentElement.scrollWidth") == 380
    assert browser.evaluate("[...document.images].length") == 7
    assert browser.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 100 && i.alt.length > 20)")
    assert browser.evaluate("[...document.images].every(i => i.getBoundingClientRect().right <= 380)")
    # Wide tables scroll in their own box.
    boxes = "[...document.querySelectorAll('.scroll')]"
    assert browser.evaluate(f"{boxes}.some(b => b.scrollWidth > b.clientWidth)")
    requests = [e["params"]["request"]["url"] for e in browser.events if e["method"] == "Network.requestWillBeSent"]
    assert {re.split("[:,;]", url)[0] for url in requests} == {"file", "data"}
    assert [url for url in requests if url.startswith("file")] == [report.as_uri()]
    assert [e for e in browser.events if e["method"] in ("Log.entryAdded", "Runtime.exceptionThrown")] == []


def test_the_page_is_dark_where_that_is_wished_and_prints_in_black_on_white(browser: Browser, report: Path) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    browser.show(report, 1280, prefers_color_scheme="dark")
    assert browser.evaluate(ground) == "rgb(13, 17, 23)"
    browser("Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    assert browser.evaluate(ground) == "rgb(255, 255, 255)"
    boxes = "[...document.querySelectorAll('.scroll')]"
    assert browser.evaluate(f"{boxes}.every(b => getComputedStyle(b).overflowX == 'visible')")
    printed = browser("Page.printToPDF")["data"]
    assert printed.startswith("JVBERi0")  # %PDF-, in base64
