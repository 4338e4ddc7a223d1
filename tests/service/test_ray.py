"""A sweep on a Ray cluster, from its submission to its end; the cluster has our dependencies and not our package."""

from __future__ import annotations

import http.server
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import ray

from sweeps.executors.ray_session import ray_session
from sweeps.targets.ray_jobs import connect
from sweeps.targets.target import Target, target_at
from tests.service.cluster import Cluster
from tests.service.command import Gradsweep
from tracking.results import sweeps
from tracking.store import Store
from trainers.errors import TargetError

SPEC = """\
name: away
base: {init_scale: 1.0, data: "IMAGES", epochs: 2000, batch_size: 8}
seeds: 1
arms:
  plain: {alpha: 1.0}
  paper: {alpha: 2.0}
resources: {cpus: 1, pack: 1}
"""


@pytest.fixture
def here(cluster: Cluster, tmp_path: Path) -> tuple[Target, Store]:
    """The cluster as a target, in this process, and a store on the cluster's one machine."""
    store = Store.at(tmp_path / "store")
    return target_at(cluster.address, store=str(store.folder)), store


def refusal(what: Callable[[], object]) -> str:
    with pytest.raises(TargetError) as caught:
        what()
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.ray
@pytest.mark.timeout(1800)  # an idle machine needs half a minute
def test_submit_follow_stop_resume(
    cluster: Cluster, here: tuple[Target, Store], gradsweep: Gradsweep, images: str
) -> None:
    target, store = here
    text = SPEC.replace("IMAGES", images)
    to = ["--to", cluster.address]
    # A job of somebody else is in nobody's way.
    client = connect(cluster.address)
    client.submit_job(entrypoint="echo theirs", submission_id="away", metadata={"gradsweep": "away"})
    assert target.list() == [] and "there is no sweep 'away'" in refusal(lambda: target.delete("away"))
    submitted = gradsweep.json("submit", gradsweep.spec(text), *to, "--store", str(store.folder))
    assert submitted["name"] == "away"
    assert submitted["look"]["dashboard"].endswith("/#/jobs/away.2")
    assert submitted["look"]["logs"] == f"gradsweep logs away -f --to {cluster.address}"
    follower = gradsweep.start("logs", "away", "-f", *to)

    # The name is taken, whether the sweep runs or not.
    assert "is running: gradsweep status" in refusal(lambda: target.submit("away", text))
    assert "is running" in refusal(lambda: target.submit("away", text, resume=True))
    assert "is running: gradsweep stop away" in refusal(lambda: target.delete("away"))
    stopped = gradsweep.json("stop", "away", *to, "--store", str(store.folder))
    assert (stopped["state"], stopped["total"], stopped["ended"]) == ("stopped", 2, 0)
    assert [sweep.status for sweep in sweeps(store)] == ["killed"], "MLflow would show it as running"
    out, err = follower.communicate()
    assert (follower.returncode, err.splitlines()[-1]) == (
        0,
        f"sweep 'away' was stopped; to continue: gradsweep resume away {' '.join(to)}",
    )
    assert out.splitlines()[-1] == f"Interrupted. To continue: gradsweep resume away {' '.join(to)}"
    assert out.splitlines() == list(target.logs("away", follow=False))
    assert "is not running" in refusal(lambda: target.stop("away"))
    assert "--resume" in refusal(lambda: target.submit("away", text))

    # Goes on from any machine, with the spec that the cluster knows.
    target_at(cluster.address).resume("away")
    assert [(s.name, s.state) for s in target.list()] == [("away", "running")]
    assert target.stop("away").state == "stopped"
    assert target.status("away").last_line.startswith("Interrupted.")

    # Where its records are, and its jobs after that.
    deleted = gradsweep.json("delete", "away", "--yes", *to)
    assert deleted["gone"] and deleted["left"] == []
    assert deleted["deleted"][-1] == f"2 jobs at {cluster.address}"
    assert target.list() == [] and sweeps(store) == []
    assert list(store.folder.rglob("*away*.npz*")) == []
    assert "there is no sweep 'away'" in refusal(lambda: target.delete("away"))
    assert client.get_job_info("away").metadata == {"gradsweep": "away"}


@pytest.mark.ray
@pytest.mark.timeout(1800)  # an idle machine needs half a minute
def test_a_request_that_the_cluster_can_not_fulfil_is_refused_and_leaves_nothing(
    cluster: Cluster, here: tuple[Target, Store], images: str
) -> None:
    target, store = here
    text = SPEC.replace("IMAGES", images).replace("away", "greedy").replace("cpus: 1", "cpus: 1, gpus: 0.25")
    assert refusal(lambda: target.submit("greedy", text)) == (
        f"at {cluster.address}: resources.gpus: a pack needs 0.25, and this cluster has none: "
        "--set resources.gpus=0 asks for less"
    )
    assert "greedy" not in [s.name for s in target.list()]
    assert sweeps(store) == []
    assert "nobody" in refusal(lambda: target.status("nobody"))
    assert "--dry-run" in refusal(lambda: target.submit("greedy", text, dry_run=True))
    no_store = target_at(cluster.address)
    assert "--store" in refusal(lambda: no_store.submit("greedy", text))
    relative = target_at(cluster.address, store="relative")
    assert "--store relative" in refusal(lambda: relative.submit("greedy", text))
    assert "--pool" in refusal(lambda: target_at(cluster.address, pool=store.folder))


@pytest.mark.parametrize("to", ["head:8265", "ftp://head", "http://", "k8s:gradsweep"])
def test_what_is_no_address_is_refused(to: str) -> None:
    says = "http://HEAD:8265 (a Ray cluster) or k8s://NAMESPACE (a Kubernetes namespace); without --to, this machine"
    assert refusal(lambda: target_at(to)) == f"--to {to}: must be {says}"


def test_a_cluster_that_is_not_there(gradsweep: Gradsweep) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        to = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        assert gradsweep.refused("list", "--to", to, status=1).startswith(f"no Ray cluster answers at {to}")


class Dashboard(http.server.BaseHTTPRequestHandler):
    """A stand-in for what can't be had here: clusters of other versions, and what is no cluster."""

    answer: tuple[int, str] = (200, "")
    authorizations: list[str | None] = []

    def do_GET(self) -> None:
        self.authorizations.append(self.headers["Authorization"])
        self.send_response(self.answer[0])
        self.end_headers()
        self.wfile.write(self.answer[1].encode())

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def dashboard(code: int, text: str) -> Iterator[str]:
    """The address of one that gives this answer to everything."""
    handler = type("Handler", (Dashboard,), {"answer": (code, text)})
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("code", "text", "status", "says"),
    [
        (200, json.dumps({"version": "4", "ray_version": "2.9.3", "ray_commit": ""}), 2, "has Ray 2.9.3"),
        (200, json.dumps({"version": "4", "ray_version": "3.0.0", "ray_commit": ""}), 2, "has Ray 3.0.0"),
        (200, "<html>hello</html>", 1, "no Ray dashboard at"),
        (404, "nothing", 1, "404"),
        (401, "Unauthorized: Missing authentication token", 2, "wants a token"),
    ],
)
def test_another_version_and_what_is_no_cluster(code: int, text: str, status: int, says: str) -> None:
    with dashboard(code, text) as to:
        with pytest.raises(TargetError, match=says) as caught:
            target_at(to)
    assert caught.value.exit_code == status
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("mode", "variable", "sent"),
    [
        ("", "a", "Bearer a"),
        ("token", "a", "Bearer a"),
        ("disabled", "a", None),
        ("", "", "Bearer b"),
        ("k8s", "", None),
    ],
)
def test_a_token_is_sent_where_there_is_one_and_leaves_the_environment_alone(
    mode: str, variable: str, sent: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("b\n")
    settings = {"RAY_AUTH_MODE": mode, "RAY_AUTH_TOKEN": variable, "RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")}
    settings |= {"RAY_ADDRESS": "127.0.0.1:1", "RAY_API_SERVER_ADDRESS": "http://127.0.0.1:1"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    Dashboard.authorizations.clear()
    with dashboard(200, json.dumps({"version": "4", "ray_version": ray.__version__, "ray_commit": ""})) as to:
        target_at(to)
    assert set(Dashboard.authorizations) == {sent}
    assert os.environ == before


def test_a_token_that_is_demanded_and_not_there(gradsweep: Gradsweep, tmp_path: Path) -> None:
    to = "http://127.0.0.1:9"
    assert "there is no token" in gradsweep.refused("list", "--to", to, RAY_AUTH_MODE="token", HOME=str(tmp_path))
    file = tmp_path / "token"
    said = gradsweep.refused("list", "--to", to, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(file))
    assert f"the token file {file}" in said


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_a_ray_of_this_process_leaves_no_wish_for_a_token_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a notebook that runs a sweep here, and then submits one to a cluster."""
    monkeypatch.setenv("HOME", str(tmp_path))  # where no token is
    with ray_session({}, address=""):
        assert ray.cluster_resources()["CPU"] >= 1
    Dashboard.authorizations.clear()
    with dashboard(200, json.dumps({"version": "4", "ray_version": ray.__version__, "ray_commit": ""})) as to:
        connect(to)
    assert set(Dashboard.authorizations) == {None}
