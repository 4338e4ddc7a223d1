"""A small HTTP proxy in front of an MLflow server, which does something else with chosen requests.

    with Proxy(server.uri, lambda number: "error" if 30 <= number < 38 else "pass") as proxy:
        ...                                        # the sweep's tracking.uri is proxy.uri

What it can do with a request: `pass` it on; answer `error` (500) without passing it on; `drop` the connection before
or `lose` the answer after the server has done its work; `wait` so many seconds, then pass it on.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from types import TracebackType
from urllib.parse import urlsplit

WAIT_SECONDS = 30.0
_OWN = ("transfer-encoding", "content-length", "connection")


class Proxy:
    """See the module; requests are numbered from 1, health checks apart."""

    def __init__(self, upstream: str, act: Callable[[int], str]) -> None:
        self._upstream = urlsplit(upstream).netloc
        self._act = act
        self._numbers = count(1)
        self.done: list[str] = []
        self._ended = threading.Event()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            # In HTTP/1.0, a connection a request: at the end none is left open.
            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                proxy.handle(self, body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False
        self.uri = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def handle(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        """One request, in a thread of its own."""
        action = self._act(next(self._numbers))
        self.done.append(action)
        if action == "wait":
            self._ended.wait(WAIT_SECONDS)
        if action == "error":
            return _answer(request, 500, [], b"broken on purpose")
        try:
            found = None if action == "drop" else self._pass_on(request, body)
        except OSError:
            found = None
        if found is None or action == "lose":
            request.close_connection = True
            return None
        return _answer(request, *found)

    def _pass_on(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        upstream = http.client.HTTPConnection(self._upstream, timeout=60)
        try:
            headers = {k: v for k, v in request.headers.items() if k.lower() not in ("connection", "host")}
            upstream.request(request.command, request.path, body, headers)
            answer = upstream.getresponse()
            kept = [(k, v) for k, v in answer.getheaders() if k.lower() not in _OWN]
            return answer.status, kept, answer.read()
        finally:
            upstream.close()


def _answer(request: BaseHTTPRequestHandler, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
    try:
        request.send_response(status)
        for name, value in headers:
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)
    except OSError:  # the client has given up
        request.close_connection = True
