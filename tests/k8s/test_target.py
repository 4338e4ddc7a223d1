"""`--to k8s://gradsweep` as the command line uses it: submit, list, status, logs, stop, resume, over real HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from sweeps.cli import _status
from sweeps.targets.kubernetes.target import KubernetesTarget
from sweeps.targets.target import target_at
from tests.k8s.stand_in import NAMESPACE, PODS, RAYJOBS, Cluster, failure
from tracking.ledger import Ledger
from tracking.results import sweeps
from tracking.store import Store
from tracking.types import Sweep
from trainers.errors import GradsweepError, TargetError

TO = f"k8s://{NAMESPACE}"
DEV_POOL = "k8s/overlays/dev/pool.yaml"
SPEC = """\
name: NAME
base: {regime: combined, data: digits, epochs: 1}
arms: {plain: {alpha: 1.0}}
resources: {cpus: 1, gpus: GPUS}
"""


def sweep(name: str, gpus: float = 0, resume: bool = False, dry_run: bool = False) -> tuple[str, str, bool, bool]:
    return name, SPEC.replace("NAME", name).replace("GPUS", str(gpus)), resume, dry_run


@pytest.fixture
def dev(parts: SimpleNamespace) -> KubernetesTarget:
    return target_at(TO, pool=parts.folder / "overlays" / "dev" / "pool.yaml")  # type: ignore[return-value]


@pytest.fixture
def target(address: str, dev: KubernetesTarget) -> KubernetesTarget:
    """The overlay dev's, on the stand-in."""
    return dev


def refused(call: Callable[[], object], words: str, exit_code: int = 2) -> None:
    with pytest.raises(TargetError, match=words) as error:
        call()
    assert error.value.exit_code == exit_code
    assert "\n" not in str(error.value)


def test_submit_creates_one_object_and_says_where_to_look(target: KubernetesTarget, cluster: Cluster) -> None:
    submitted = target.submit(*sweep("alpha-r"))
    assert [(method, path) for method, path, _ in cluster.requests if method != "GET"] == [("POST", RAYJOBS)]
    head = cluster.rayjobs["alpha-r"]["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    told = {entry["name"]: entry.get("value") for entry in head["env"]}
    assert told["GRADSWEEP_RESUME_COMMAND"] == submitted.look["resume"]
    assert told["GRADSWEEP_UI_COMMAND"] == submitted.look["ui"]
    assert submitted.look["logs"] == "gradsweep logs alpha-r -f --to k8s://gradsweep"
    assert "port-forward service/mlflow" in submitted.look["ui"] and not submitted.manifest
    assert target.status("alpha-r").state == "queued"


def test_a_dry_run_speaks_to_nobody(dev: KubernetesTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    manifest = yaml.safe_load(dev.submit(*sweep("alpha-r", dry_run=True)).manifest)
    assert (manifest["kind"], manifest["metadata"]["name"]) == ("RayJob", "alpha-r")


def test_the_sample_is_what_the_command_prints(
    parts: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """To renew it, run this from the repository's root, into k8s/samples/rayjob.yaml."""
    monkeypatch.chdir(parts.folder.parent)
    assert _status([*"submit k8s/samples/spec.yaml --to k8s://gradsweep --dry-run --pool".split(), DEV_POOL]) == 0
    assert (parts.folder / "samples" / "rayjob.yaml").read_text() == capsys.readouterr().out


def test_a_name_that_is_taken_is_refused_and_changes_nothing(target: KubernetesTarget, cluster: Cluster) -> None:
    target.submit(*sweep("alpha-r"))
    before = cluster.rayjobs["alpha-r"]
    refused(lambda: target.submit(*sweep("alpha-r")), "alpha-r is already in namespace gradsweep .*status alpha-r")
    assert cluster.rayjobs == {"alpha-r": before}


def test_four_submissions_at_once(target: KubernetesTarget, cluster: Cluster) -> None:
    with ThreadPoolExecutor(4) as pool:
        names = [f"sweep-{number}" for number in range(4)]
        assert [done.name for done in pool.map(lambda name: target.submit(*sweep(name)), names)] == names
        assert set(cluster.rayjobs) == set(names)

        def one_name(_: int) -> bool:
            try:
                return target.submit(*sweep("the-same")).name == "the-same"
            except TargetError as error:
                assert "already" in str(error)
                return False

        assert sorted(pool.map(one_name, range(4))) == [False, False, False, True]


def test_a_status_has_kuberays_words_the_pods_and_the_drivers_last_line(
    target: KubernetesTarget, cluster: Cluster
) -> None:
    target.submit(*sweep("alpha-r"))
    assert "KubeRay's operator has not looked at it yet" in target.status("alpha-r").detail
    cluster.run("alpha-r", startTime="2026-08-19T10:01:00Z", failed=1)
    unschedulable = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available:\n 3 Insufficient"}
    cluster.add_pod("alpha-r", "worker", "one", phase="Pending", conditions=[unschedulable])
    cluster.add_pod("alpha-r", "submitter", "s")
    cluster.logs["alpha-r-s"] = ["alpha-r: 1/2 configurations\n", "alpha-r: 2/2 configurations\n"]
    found = target.status("alpha-r")
    assert (found.state, found.started, found.last_line) == (
        "running",
        "2026-08-19T10:01:00Z",
        "alpha-r: 2/2 configurations",
    )
    assert found.detail == (
        "RayJob Running, Ray job RUNNING, 1 cluster failed; "
        "2 of 3 Pods run (worker: 0/3 nodes are available: 3 Insufficient)"
    )
    assert [one.name for one in target.list()] == ["alpha-r"]


def test_a_status_has_the_rayjobs_words_and_the_stores_counts(
    target: KubernetesTarget, cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--store` leads to the store from here: what it knows stands beside what KubeRay says, and outlives it."""

    def status(*words: str) -> Any:
        assert _status(["status", "alpha-r", "--to", TO, *words]) == 0
        return capsys.readouterr().out

    target.submit(*sweep("alpha-r"))
    cluster.run("alpha-r")
    store = ["--store", str(tmp_path / "store")]
    found = json.loads(status(*store, "--json"))
    assert (found["state"], found["total"]) == ("running", None)  # the driver has not begun it yet

    file = tmp_path / "spec.yaml"
    file.write_text(sweep("alpha-r")[1])
    assert _status(["run", str(file), "--executor", "in-process", *store]) == 0
    capsys.readouterr()
    found = json.loads(status(*store, "--json"))
    # The RayJob goes on until KubeRay has seen the driver's end: its state is the sweep's.
    assert (found["state"], found["detail"]) == ("running", "RayJob Running, Ray job RUNNING; 1 of 1 Pods run")
    assert (found["total"], found["ended"], found["complete"], found["undelivered"]) == (1, 1, 1, 0)
    assert found["best"]["name"] == "plain"
    said = status(*store)
    assert "running: RayJob Running" in said and "1 of 1 ended: 1 complete" in said
    assert "configurations" not in status()

    cluster.take("rayjobs", "alpha-r")
    found = json.loads(status(*store, "--json"))
    assert (found["state"], found["complete"]) == ("finished", 1)
    assert found["detail"] == f"no RayJob in {TO} any more"


def test_logs(target: KubernetesTarget, cluster: Cluster) -> None:
    target.submit(*sweep("alpha-r"))
    refused(lambda: list(target.logs("alpha-r", False)), "no output yet", 1)
    cluster.add_pod("alpha-r", "submitter", "s", phase="Succeeded")
    cluster.logs["alpha-r-s"] = ["one\n", "two\n"]
    cluster.set_status("alpha-r", jobDeploymentStatus="Complete", jobStatus="SUCCEEDED")
    assert list(target.logs("alpha-r", False)) == list(target.logs("alpha-r", True)) == ["one", "two"]


def submitted(cluster: Cluster, target: KubernetesTarget, *output: str) -> None:
    target.submit(*sweep("alpha-r"))
    cluster.add_pod("alpha-r", "submitter", "s", phase="Succeeded")
    cluster.logs["alpha-r-s"] = [f"{line}\n" for line in output]


AGAIN = f"gradsweep resume alpha-r --to {TO}"


def test_following_ends_with_the_sweeps_own_exit_status(
    target: KubernetesTarget, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    def follow() -> tuple[int, str, str]:
        return _status(["logs", "alpha-r", "-f", "--to", TO]), *capsys.readouterr()

    submitted(cluster, target, "epoch 1")
    cluster.end("alpha-r")
    assert follow() == (0, "epoch 1\n", "")
    cluster.end("alpha-r", "Complete", "STOPPED")
    assert follow() == (0, "epoch 1\n", f"sweep 'alpha-r' was stopped; to continue: {AGAIN}\n")
    cluster.end("alpha-r", "Failed", "FAILED", reason="AppFailed", message="the driver ended with exit code 1")
    status, out, err = follow()
    assert (status, out) == (1, "epoch 1\n")
    assert err == (
        "gradsweep: sweep 'alpha-r' has failed: RayJob Failed, Ray job FAILED: the driver ended with exit code 1; "
        f"to continue: {AGAIN}\n"
    )
    assert _status(["logs", "alpha-r", "--to", TO]) == 0  # who only looks has what they wanted


def test_following_ends_where_the_rayjob_is_taken_away(
    target: KubernetesTarget, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    submitted(cluster, target, "epoch 1")
    cluster.run("alpha-r")
    statuses: list[int] = []
    following = threading.Thread(target=lambda: statuses.append(_status(["logs", "alpha-r", "-f", "--to", TO])))
    following.start()
    cluster.wait_for(f"{PODS}/alpha-r-s/log")
    cluster.take("rayjobs", "alpha-r")
    following.join(timeout=60)
    assert statuses == [0]
    assert capsys.readouterr() == ("epoch 1\n", "sweep 'alpha-r' was stopped or deleted meanwhile\n")


def test_a_status_ends_with_the_drivers_last_line_and_what_to_do(
    target: KubernetesTarget, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    def status() -> list[str]:
        assert _status(["status", "alpha-r", "--to", TO]) == 0
        return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]

    ray = "2026-08-19 10:00:00,092\tSUCC cli.py:67 -- \x1b[32mJob 'alpha-r-x7d9f' succeeded\x1b[39m"
    submitted(cluster, target, "the claim is confirmed", ray)
    cluster.end("alpha-r")
    assert status()[-1] == "last line the claim is confirmed"
    away = "Job status checks have been failing since 2026-08-19 10:00:00; exceeded timeout of 300s"
    cluster.end("alpha-r", "Failed", "RUNNING", reason="JobStatusCheckTimeoutExceeded", message=away)
    lines = status()
    assert lines[1].startswith("state failed: ") and "which is not retried" in lines[1]
    assert lines[-1] == f"next {AGAIN}"
    cluster.run("alpha-r")
    dead = {"name": "autoscaler", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}
    cluster.add_pod("alpha-r", "head", "head", containerStatuses=[dead])
    assert status()[-1] == f"next gradsweep stop alpha-r --to {TO}, then gradsweep submit SPEC --resume --to {TO}"


def test_a_status_has_what_a_check_says_that_holds_its_pod(target: KubernetesTarget, cluster: Cluster) -> None:
    """The head's looks again for minutes before it fails, so that what is wrong can be put right."""
    target.submit(*sweep("alpha-r"))
    cluster.set_status("alpha-r", jobDeploymentStatus="Initializing")
    running = {"name": "preflight", "state": {"running": {"startedAt": "2026-08-19T10:00:00Z"}}}
    cluster.add_pod("alpha-r", "head", "head", phase="Pending", initContainerStatuses=[running])
    assert target.status("alpha-r").detail == "RayJob Initializing; 0 of 1 Pods run"  # it has said nothing yet
    cluster.logs["alpha-r-head/preflight"] = ["the volume at /mnt/gradsweep can't be written: it belongs to user 0\n"]
    refused(lambda: list(target.logs("alpha-r", follow=False)), "no output yet: .*it belongs to user 0", 1)
    status = target.status("alpha-r")
    assert (status.state, status.detail) == (
        "starting",
        "RayJob Initializing; 0 of 1 Pods run "
        "(head: preflight: the volume at /mnt/gradsweep can't be written: it belongs to user 0)",
    )


def test_list_and_status_say_the_same(target: KubernetesTarget, cluster: Cluster) -> None:
    for name in ("with-a-head", "without"):
        target.submit(*sweep(name))
        cluster.run(name)
    cluster.take("pods", "without-head")
    listed = {status.name: (status.state, status.detail) for status in target.list()}
    assert [state for state, _ in listed.values()] == ["running", "starting"]
    for name, words in listed.items():
        status = target.status(name)
        assert (status.state, status.detail) == words


def test_stop_waits_for_the_operator(target: KubernetesTarget, cluster: Cluster) -> None:
    target.submit(*sweep("alpha-r"))
    cluster.run("alpha-r")
    cluster.slow_to_delete = True
    found: list[str] = []
    stopping = threading.Thread(target=lambda: found.append(target.stop("alpha-r").state))
    stopping.start()
    cluster.wait_until_deleting("alpha-r")
    assert target.status("alpha-r").state == "stopping"
    cluster.take("rayjobs", "alpha-r")
    cluster.take("pods", "alpha-r-head")
    stopping.join(timeout=30)
    assert found == ["stopped"]
    refused(lambda: target.status("alpha-r"), "no sweep alpha-r")


def test_stop_takes_an_ended_one_away(target: KubernetesTarget, cluster: Cluster) -> None:
    target.submit(*sweep("alpha-r"))
    cluster.set_status("alpha-r", jobDeploymentStatus="Complete", jobStatus="SUCCEEDED")
    assert target.stop("alpha-r").state == "finished"
    assert not cluster.rayjobs


def test_delete_takes_the_rayjob_and_the_records(target: KubernetesTarget, cluster: Cluster, tmp_path: Path) -> None:
    refused(lambda: target.delete("alpha-r"), "--store: says where the records of alpha-r can be reached from here")
    store = Store.at(tmp_path / "store").create()
    from_here = target_at(TO, store=str(store.folder))
    with pytest.raises(GradsweepError, match="no sweep named 'alpha-r'"):
        from_here.delete("alpha-r")
    for records in (True, False):
        target.submit(*sweep("alpha-r"))
        if records:
            ledger = Ledger.create(store.ledger_url)
            ledger.begin(Sweep("alpha-r", sweep("alpha-r")[1]))
            ledger.close()
        cluster.run("alpha-r")
        refused(lambda: from_here.delete("alpha-r"), "is running in k8s://gradsweep: gradsweep stop alpha-r --to")
        cluster.end("alpha-r")
        deleted = from_here.delete("alpha-r")
        assert deleted.gone and deleted.deleted[0] == "the RayJob alpha-r"
        assert len(deleted.deleted) == 1 + records
        assert cluster.rayjobs == {} and sweeps(store) == []


def test_resume_makes_the_same_rayjob_anew(target: KubernetesTarget, cluster: Cluster, dev: KubernetesTarget) -> None:
    target.submit(*sweep("alpha-r"))
    cluster.run("alpha-r")
    refused(lambda: target.resume("alpha-r"), "is running in k8s://gradsweep: gradsweep logs")
    before = cluster.rayjobs["alpha-r"]["spec"]
    cluster.end("alpha-r", "Failed", "FAILED")
    # Without --pool: the RayJob carries it.
    assert target_at(TO).resume("alpha-r").name == "alpha-r"
    assert cluster.rayjobs["alpha-r"]["spec"] == before and "status" not in cluster.rayjobs["alpha-r"]


def test_submit_with_resume_takes_the_place_of_an_ended_one(target: KubernetesTarget, cluster: Cluster) -> None:
    target.submit(*sweep("alpha-r", resume=True))  # nothing there yet: start
    refused(lambda: target.submit(*sweep("alpha-r", resume=True)), "is queued")
    cluster.set_status("alpha-r", jobDeploymentStatus="Failed", jobStatus="FAILED")
    target.submit(*sweep("alpha-r", resume=True))
    assert "status" not in cluster.rayjobs["alpha-r"]


@pytest.mark.parametrize(
    ("command", "rayjob"),
    [
        *((command, rayjob) for command in ("resume", "submit --resume") for rayjob in ("Failed", "stopping")),
        *((command, "gone") for command in ("submit", "submit --resume")),
    ],
)
def test_there_are_never_two_drivers(command: str, rayjob: str, target: KubernetesTarget, cluster: Cluster) -> None:
    """No new RayJob before the head of the old one is gone, also where the old RayJob has gone before its head."""
    calls: dict[str, Callable[[], object]] = {
        "resume": lambda: target.resume("alpha-r"),
        "submit": lambda: target.submit(*sweep("alpha-r")),
        "submit --resume": lambda: target.submit(*sweep("alpha-r", resume=True)),
    }
    target.submit(*sweep("alpha-r"))
    cluster.run("alpha-r")
    cluster.set_status("alpha-r", jobDeploymentStatus="Failed", jobStatus="RUNNING")
    if rayjob == "stopping":
        cluster.rayjobs["alpha-r"]["metadata"]["deletionTimestamp"] = "2026-08-19T11:00:00Z"
    if rayjob == "gone":
        cluster.take("rayjobs", "alpha-r")
    waiting = threading.Thread(target=calls[command])
    waiting.start()
    if rayjob != "gone":
        cluster.wait_for("DELETE")
    # Twice: the head was there when it asked the first time.
    for _ in range(2):
        cluster.requests.clear()
        cluster.wait_for(PODS)
    assert waiting.is_alive() and "alpha-r" not in cluster.rayjobs
    cluster.take("pods", "alpha-r-head")
    waiting.join(timeout=30)
    assert "status" not in cluster.rayjobs["alpha-r"]


@pytest.mark.parametrize(("theirs", "named"), [("0.1.0", "0.1.0"), (None, "an older version")])
def test_a_rayjob_of_another_version_is_not_resumed(
    theirs: str | None, named: str, target: KubernetesTarget, cluster: Cluster
) -> None:
    submitted(cluster, target, "epoch 1")
    cluster.end("alpha-r", "Failed", "FAILED")
    annotations = cluster.rayjobs["alpha-r"]["metadata"]["annotations"]
    assert annotations.pop("gradsweep/version") == version("gradsweep")
    annotations |= {"gradsweep/version": theirs} if theirs else {}
    words = f"with gradsweep {named}, and this is {version('gradsweep')}: .* submit SPEC --resume --to {TO} --pool"
    refused(lambda: target.resume("alpha-r"), words)
    assert "DELETE" not in [method for method, *_ in cluster.requests]
    # All else goes on working, a new image included.
    assert target.status("alpha-r").state == "failed" and list(target.logs("alpha-r", follow=False)) == ["epoch 1"]
    assert [status.name for status in target.list()] == ["alpha-r"]
    target.submit(*sweep("alpha-r", resume=True))
    assert cluster.rayjobs["alpha-r"]["metadata"]["annotations"]["gradsweep/version"] == version("gradsweep")
    assert target.stop("alpha-r").state == "stopped"


def test_resume_of_what_is_not_there_says_how_else(target: KubernetesTarget, cluster: Cluster) -> None:
    refused(lambda: target.resume("alpha-r"), "no sweep alpha-r.*submit SPEC --resume --to k8s://gradsweep")
    target.submit(*sweep("bare"))
    cluster.set_status("bare", jobDeploymentStatus="Failed")
    del cluster.rayjobs["bare"]["metadata"]["annotations"]
    refused(lambda: target.resume("bare"), "no spec and pool")
    assert "bare" in cluster.rayjobs


@pytest.mark.parametrize("state", ["Running", "Failed"])
def test_somebody_elses_rayjob_is_not_touched(
    state: str, target: KubernetesTarget, cluster: Cluster, tmp_path: Path
) -> None:
    theirs = {
        "metadata": {"name": "alpha-r", "labels": {"team": "vision"}, "uid": "u"},
        "spec": {"entrypoint": "python train.py"},
        "status": {"jobDeploymentStatus": state},
    }
    cluster.put("rayjobs", theirs)
    actions = {
        "submit": lambda: target.submit(*sweep("alpha-r")),
        "submit --resume": lambda: target.submit(*sweep("alpha-r", resume=True)),
        "resume": lambda: target.resume("alpha-r"),
        "status": lambda: target.status("alpha-r"),
        "logs": lambda: list(target.logs("alpha-r", follow=False)),
        "stop": lambda: target.stop("alpha-r"),
        "delete": lambda: target_at(TO, store=str(tmp_path)).delete("alpha-r"),
    }
    for call in actions.values():
        refused(call, "the RayJob alpha-r in namespace gradsweep is no sweep: choose another --name")
    assert target.list() == []
    assert cluster.rayjobs == {"alpha-r": theirs}
    assert "DELETE" not in [method for method, *_ in cluster.requests]


@pytest.mark.parametrize("action", ["submit", "list", "status", "logs", "stop", "resume"])
def test_no_rights_is_one_line_and_leaves_nothing(action: str, target: KubernetesTarget, cluster: Cluster) -> None:
    text = 'rayjobs.ray.io is forbidden: User "ann" cannot do that'
    cluster.fault = (403, failure(403, "Forbidden", text, kind="rayjobs"))
    calls: dict[str, Callable[[], object]] = {
        "submit": lambda: target.submit(*sweep("a")),
        "list": target.list,
        "logs": lambda: list(target.logs("a", False)),
    }
    refused(calls.get(action, lambda: getattr(target, action)("a")), "no rights to .*Role gradsweep-user")
    assert not cluster.rayjobs


def test_a_namespace_that_is_not_there(address: str, parts: SimpleNamespace) -> None:
    nowhere = target_at("k8s://nowhere", pool=parts.folder / "overlays" / "dev" / "pool.yaml")
    refused(lambda: nowhere.submit(*sweep("a")), "no namespace nowhere .*kubectl get namespaces")
    refused(lambda: nowhere.list(), "no namespace nowhere")


@pytest.mark.parametrize("strict", [False, True])
def test_an_empty_namespace_is_an_empty_list(strict: bool, target: KubernetesTarget, cluster: Cluster) -> None:
    cluster.strict = strict
    assert list(target.list()) == []


@pytest.mark.parametrize("to", ["k8s://", "k8s://a/b", "k8s:gradsweep"])
def test_an_address_without_a_namespace(to: str) -> None:
    refused(lambda: target_at(to), "k8s://NAMESPACE")


FOLDER = "name: a\nbase: {{regime: combined, data: 'folder:{}'}}\narms: {{plain: {{alpha: 1.0}}}}\n"
POOL = "image: gradsweep:0.2.0-cpu\nworkers: {cpus: 2, memory: 4Gi, maximum: 2}\n"


@pytest.mark.parametrize(
    ("pool", "submission", "words"),
    [
        (None, sweep("a"), "--pool FILE .*GRADSWEEP_POOL"),
        ("image: gradsweep:latest\n", sweep("a"), "--pool .*pool.yaml: .*pinned"),
        (
            "image: gradsweep:1\nworkers: {maximum: 0}\nnodes: 3\n",
            sweep("a"),
            "--pool .*workers.maximum: .* greater than 0, but got 0; nodes: ",
        ),
        (POOL, sweep("a", gpus=0.5), "a pack asks for cpus=1, gpus=0.5, .*a worker of this pool has cpus=2, gpus=0"),
        (POOL, sweep("ends-"), "name"),
        (POOL, ("a", "#" * 200_001), "at most 200000 bytes, but got 200001"),
        (POOL, ("a", FOLDER.format("/home/ann")), "folder:/home/ann: Pods see no folder but /mnt/gradsweep"),
        (POOL, ("a", FOLDER.format("/mnt/gradsweep/../x")), "Pods see no folder but /mnt/gradsweep"),
    ],
)
def test_a_wrong_request_is_refused_before_anybody_is_asked(
    pool: str | None, submission: tuple[Any, ...], words: str, address: str, cluster: Cluster, tmp_path: Path
) -> None:
    file = tmp_path / "pool.yaml"
    file.write_text(pool or "")
    with pytest.raises(Exception, match=words) as error:
        target_at(TO, pool=file if pool else None).submit(*submission)
    assert "\n" not in str(error.value)
    assert not cluster.requests


def test_a_pool_may_be_named_once_for_all(
    address: str, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pool.yaml").write_text(POOL)
    monkeypatch.setenv("GRADSWEEP_POOL", str(tmp_path / "pool.yaml"))
    target_at(TO).submit(*sweep("a"))
    assert list(cluster.rayjobs) == ["a"]


def test_a_store_is_the_pools_to_name(target: KubernetesTarget, cluster: Cluster) -> None:
    refused(lambda: target_at(TO, store="store.yaml").submit(*sweep("a")), "--store: .*`places`")
