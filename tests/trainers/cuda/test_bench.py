"""The bench of the device: its plumbing on a tiny size, and the line where there is no device."""

import json
from typing import Any

import pytest
import torch

from sweeps.cli import _status
from sweeps.commands.bench import bench_text
from tests.trainers.cuda.device import DEVICE
from trainers import bench as timing
from trainers.bench import bench, bytes_an_image, images_of
from trainers.cuda.plan import DEVICE as COMPILED
from trainers.cuda.plan import plan_of
from trainers.lanes import available
from trainers.members import MemberConfig, layers_of
from trainers.regimes import network


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    for images in ("IMAGES", "FEWER"):
        monkeypatch.setattr(timing, images, {"cuda": 32, "lanes": 64})
    monkeypatch.setattr(timing, "MEMBERS", {"cuda": (1, 2), "lanes": (1, 2)})
    monkeypatch.setattr(timing, "WHOLE", {"cuda": (2,), "lanes": (1, 2)})
    monkeypatch.setattr(timing, "MATRIX", 256)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device_it_is_one_line_and_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert _status(["bench", "--device", "cuda", "--json"]) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.startswith("gradsweep: --device cuda: PyTorch sees no CUDA device here")
    assert found.err.count("\n") == 1


def test_every_way_is_timed_on_the_cpu(capsys: pytest.CaptureFixture[str]) -> None:
    """PyTorch's as everybody writes it, the reference engine alone, and the lane engine with several members."""
    asked = ["--regime", "combined", "--batch", "32", "--rounds", "1", "--no-compile"]
    threads = torch.get_num_threads()
    assert _status(["bench", *asked, "--threads", str(threads), "--json"]) == 0
    timed = json.loads(capsys.readouterr().out)
    ours = [(way, n) for n in (1, 2) for way in ("lanes", "lanes, whole epoch")] if available() else []
    plain = [(f"pytorch {how}", 1) for how in ("dataloader", "resident", "channels_last")]
    assert [(r["way"], r["members"]) for r in timed["rows"]] == [*plain, ("reference", 1), *ours]
    for row in timed["rows"]:
        assert row["seconds_per_thousand"] > 0 and row["spread"] >= 1 and row["memory"] == 0
        assert row["peak"] > 0 or not available()  # above 1 where something else slowed the peak's own rounds down
        assert row["member_epochs_an_hour"] == pytest.approx(3600 / (45 * row["seconds_per_thousand"]))
    assert timed["threads"] == threads
    header = bench_text(timed).splitlines()[1].split("  ")
    assert "x dataloader" in map(str.strip, header) and "x channels_last" in map(str.strip, header)


@pytest.mark.parametrize(
    "network",
    [
        "{blocks: 0, dense: 2, units: 20, optimizer: nesterov}",
        '{"normalization": "batch", "residual": true, "activation": "prelu", "optimizer": "rmsprop"}',
        "{convolution: separable, normalization: layer, learn_alpha: network, optimizer: sgd}",
    ],
)
def test_any_network_is_timed(network: str, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--network", network, "--batch", "16", "--rounds", "1", "--no-compile", "--threads", "1"]
    assert _status(["bench", *asked, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {(r["network"], r["batch_size"]) for r in rows} == {(network, 16)}
    assert {"pytorch dataloader", "pytorch resident", "pytorch channels_last", "reference"} <= {r["way"] for r in rows}
    assert all(row["seconds_per_thousand"] > 0 for row in rows)


@pytest.mark.parametrize(
    "network, why",
    [
        ("{dense: 3, depth: 4}", "a member has no field 'depth'"),
        ("[1, 2]", "it must be fields of a member"),
        ("{units: 0}", "units >= 1 must hold"),
        ("{units: ", "not YAML"),
    ],
)
def test_what_makes_no_network_is_one_line_and_2(network: str, why: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _status(["bench", "--network", network]) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"gradsweep: --network {network}: ") and why in line and line.count("\n") == 1


def test_large_networks_see_fewer_images() -> None:
    """So that a round takes seconds; the paper's see as many as the probe's share of an epoch asks for."""
    sizes = {fields: images_of(layers_of(MemberConfig(**dict(fields)), 10), 32) for fields in ((), (("channels", 64),))}
    assert sizes[()] > 6144 and sizes[("channels", 64),] == 128


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_way_is_timed_on_a_device() -> None:
    rows = bench(MemberConfig(), device=DEVICE, engine="cuda", rounds=1, compiled=False)
    graphs = [("pytorch graphs", 1)] if DEVICE == "cuda" else []
    ours = [(way, n) for n in (1, 2) for way in ("reference", "cuda")] + [("cuda, whole epoch", 2)]
    assert [(r["way"], r["members"]) for r in rows] == [("pytorch eager", 1), *graphs, *ours]
    for row in rows:
        assert row["seconds_per_thousand"] > 0 and row["spread"] >= 1 and 0 < row["peak"] < 1
        assert (row["memory"] > 0) == (row["way"] == "cuda")


def test_what_the_device_cannot_do_is_left_out_and_the_rest_is_timed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(error: Exception) -> Any:
        def fail() -> Any:
            raise error

        return fail

    full, broken = torch.OutOfMemoryError("CUDA out of memory\nmore"), torch.AcceleratorError("illegal address")
    found = [("first", 1, failing(full)), ("later", 2, lambda: failing(full)), ("fine", 1, lambda: lambda: 1000)]
    monkeypatch.setattr("trainers.bench.ways", lambda *_: found)
    rows = bench(MemberConfig(), device=DEVICE, engine="cuda", rounds=1)
    assert [row["way"] for row in rows] == ["fine"]
    assert [message for message in caplog.messages if "left out" in message] == [
        f"{way} members is left out: CUDA out of memory" for way in ("first with 1", "later with 2")
    ]
    found.append(("broken", 1, failing(broken)))
    with pytest.raises(torch.AcceleratorError, match="illegal address"):
        bench(MemberConfig(), device=DEVICE, engine="cuda", rounds=1)


def test_the_table() -> None:
    def row(way: str, members: int, seconds: float) -> dict[str, object]:
        return {
            "network": "combined",
            "batch_size": 32,
            "way": way,
            "members": members,
            "seconds_per_thousand": seconds,
            "spread": 1.1,
            "peak": 0.2,
            "memory": 0.5 if way == "cuda" else 0.0,
            "member_epochs_an_hour": 80 / seconds,
        }

    rows = [row("pytorch eager", 1, 0.03), row("reference", 225, 0.003), row("cuda", 225, 0.0001)]
    text = bench_text({"device": "Some GPU", "rows": json.loads(json.dumps(rows))})
    ours = next(line for line in text.splitlines() if line.startswith("cuda"))
    # 80 / 0.0001 s, and how many times as fast as eager and as the reference
    assert ours.split() == ["cuda", "225", "0.10", "800,000", "1.10", "20.0%", "50.0%", "300.0", "30.0"]
    assert "Some GPU" in text


def test_bytes_are_at_least_each_area_once_written_and_once_read() -> None:
    plan = plan_of(network("combined"), (3, 32, 32), COMPILED)
    # the values of both first layers alone: 3,072 and 768 floats, written once and read twice
    assert bytes_an_image(plan) > 4 * 3 * (3072 + 768)
