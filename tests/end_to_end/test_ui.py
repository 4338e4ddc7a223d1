"""The MLflow UI on a store: it answers, shows the sweep, and Ctrl-C ends it with all of its processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import urllib.request
from typing import Any

SPEC = """\
name: seen
base: {init_scale: 1.0, data: "IMAGES", epochs: 1, batch_size: 8}
seeds: 1
arms:
  plain: {alpha: 1.0}
"""


def test_the_ui_on_a_store(command: Any, images: str) -> None:
    command("run", command.spec("s", SPEC.replace("IMAGES", images)), "--executor", "in-process")
    process = command.start("ui", "--json")
    assert process.stdout is not None
    text = process.stdout.readline()
    while not text.endswith("\n}\n"):
        line = process.stdout.readline()
        assert line, process.communicate()
        text += line
    started = json.loads(text)
    assert started["url"].startswith("http://127.0.0.1:")
    assert list(started["sweeps"]) == ["seen"]
    with urllib.request.urlopen(started["url"], timeout=60) as page:
        assert b"<title>MLflow</title>" in page.read()
    taken = started["url"].rpartition(":")[2]
    refused = command("ui", "--port", taken, status=2)
    assert f"--port {taken}" in refused.stderr
    os.killpg(process.pid, signal.SIGINT)
    process.communicate()
    assert process.returncode == 130
    command.until(lambda: not command.processes())
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", int(taken)))
