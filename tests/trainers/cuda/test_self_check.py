"""The engine is taken unasked only where it has checked itself: what that finds out, what is kept, what is refused."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.trainers.cuda.device import DEVICE  # isort: skip (before Triton)
import triton
import triton.language as tl

from trainers.cuda import SUPPORT, self_check, settings
from trainers.cuda.kernels import activations, convolution, optimizer
from trainers.cuda.plan import refusal
from trainers.cuda.self_check import earned, first_difference
from trainers.layers import IMAGE, Dense
from trainers.members import ACTIVATIONS, PENALTIES, SCALINGS, MemberConfig
from trainers.regimes import network

slow = [pytest.mark.slow, pytest.mark.timeout(1800)]


# ---- what the engine says that it supports


def test_supports_is_what_the_kernels_have() -> None:
    """A number and a branch of their own for each activation: `test_activations` holds each against the exact one."""
    names = SUPPORT.fields["activation"]
    assert set(names) <= set(ACTIVATIONS)
    assert set(SUPPORT.fields["scaling"]) <= set(SCALINGS) and set(SUPPORT.fields["penalty"]) <= set(PENALTIES)
    assert [getattr(activations, name.upper()).value for name in names] == list(range(len(names)))
    assert all(ACTIVATIONS[name].flat for name in names)
    for name in names:
        assert SUPPORT.refusal(MemberConfig(activation=name, alpha=3.0, seed=7, r=0.1, engine="cuda")) is None


@pytest.mark.parametrize("field", ["activation", "scaling", "penalty"])
def test_a_member_that_the_kernels_have_no_code_for_is_never_computed_as_something_else(field: str) -> None:
    member = MemberConfig()
    object.__setattr__(member, field, "toy")  # as if the science's table had it
    assert SUPPORT.refusal(member) == f"the cuda engine does not have the {field} 'toy'"
    with pytest.raises(ValueError, match=f"the {field} 'toy'"):
        settings.rows([MemberConfig(), member])


def test_nor_is_a_field_or_a_layer_that_it_does_not_know() -> None:
    @dataclass(frozen=True)
    class Later(MemberConfig):
        dropout: float = 0.0

    assert SUPPORT.refusal(Later()) is None
    assert SUPPORT.refusal(Later(dropout=0.5)) == "the cuda engine does not have the dropout 0.5"

    @dataclass(frozen=True)
    class Toy(Dense):
        kind = "toy"
        name: str = "toy"
        units: int = 8

    *hidden, output = network("combined")
    assert refusal((*hidden, Toy(), output), IMAGE) == (
        "layer toy: the cuda engine does not have layers of the kind 'toy'"
    )


# ---- the check itself

tanh = activations.tanh


@triton.jit
def wrong_value(z, f):
    value, slope = tanh(z, f)
    return value * 1.05, slope


@triton.jit
def wrong_slope(z, f):
    value, slope = tanh(z, f)
    return value, slope * 1.05


@triton.jit
def never_saturated(z, f, flat_where):
    return z * f[0] > flat_where[1]


@triton.jit(do_not_specialize=("blocks",))
def score_of_all_but_one(losses, hits, loss_sums, hit_sums, blocks, WIDTH: tl.constexpr):
    member = tl.program_id(0)
    tl.store(loss_sums + member, tl.load(losses + member * blocks) * 0.8)
    tl.store(hit_sums + member, tl.load(hits + member * blocks).to(tl.int64))


@triton.jit(do_not_specialize=("blocks", "size"))
def gradient_of_the_first_block(gradients, totals, blocks, size, WIDTH: tl.constexpr):
    member = tl.program_id(0)
    p = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    inside = p < size
    total = optimizer.added_up(gradients, member, blocks, 1, size, p, inside)
    tl.store(totals + member * size + p, total, mask=inside)


BROKEN = [
    (optimizer, "score_kernel", score_of_all_but_one, "evaluation"),
    (activations, "tanh", wrong_value, "evaluation"),
    pytest.param(activations, "tanh", wrong_slope, "first moment", marks=slow),
    pytest.param(optimizer, "LOG2_BETA2", tl.constexpr(optimizer.LOG2_BETA2.value * 1.1), "step", marks=slow),
    pytest.param(optimizer, "gradient_kernel", gradient_of_the_first_block, "gradient", marks=slow),
    pytest.param(convolution, "saturated", never_saturated, "count of saturated units", marks=slow),
]


@pytest.mark.skipif(DEVICE == "cuda", reason="compiled kernels don't look up what is in their place")
@pytest.mark.parametrize("module, name, broken, what", BROKEN)
def test_a_broken_kernel_is_found_out(
    monkeypatch: pytest.MonkeyPatch, module: Any, name: str, broken: Any, what: str
) -> None:
    monkeypatch.setattr(module, name, broken)
    reason = first_difference(DEVICE, ["tanh"])
    assert reason and reason.startswith(f"with tanh the cuda engine's {what} differs from the reference engine's by ")


@pytest.mark.slow
@pytest.mark.gpu
@pytest.mark.timeout(3600)
def test_the_kernels_pass_in_a_process_of_their_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GRADSWEEP_CACHE", str(tmp_path))
    monkeypatch.setattr(self_check, "SECONDS", 3500)
    earned.cache_clear()
    assert earned(DEVICE) is None
    assert len(list(tmp_path.glob("cuda-self-check/*"))) == 1


# ---- what is kept of it


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Sets what the process that checks prints; `runs` says how often there was one."""
    count = tmp_path / "runs"
    count.touch()

    def answer(text: str, status: int = 0) -> None:
        stream = "stderr" if status else "stdout"
        code = f"import sys; open({str(count)!r}, 'a').write('.'); print({text!r}, file=sys.{stream})"
        monkeypatch.setattr(self_check, "COMMAND", (sys.executable, "-c", f"{code}; sys.exit({status})"))
        earned.cache_clear()

    answer.runs = lambda: len(count.read_text())  # type: ignore[attr-defined]
    monkeypatch.setenv("GRADSWEEP_CACHE", str(tmp_path / "cache"))
    yield answer
    earned.cache_clear()


@pytest.mark.parametrize("answer, reason", [('{"reason": null}', None), ('{"reason": "no good"}', "no good")])
def test_the_answer_is_kept_for_the_device_and_its_versions(
    checks: Any, monkeypatch: pytest.MonkeyPatch, answer: str, reason: str | None
) -> None:
    checks(answer)
    assert earned(DEVICE) == reason
    checks("of another process, which does not run")
    assert earned(DEVICE) == reason and checks.runs() == 1
    now = self_check.versions(DEVICE)
    for name in ("name", "driver", "torch", "triton", "kernels"):
        monkeypatch.setattr(self_check, "versions", lambda device, name=name: now | {name: "another"})
        checks('{"reason": "another"}')
        assert earned(DEVICE) == "another"
    assert checks.runs() == 6


def test_a_cache_that_cannot_be_written_is_another_check_and_no_failure(
    checks: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GRADSWEEP_CACHE", str(tmp_path / "file" / "below"))
    for runs in (1, 2):
        checks('{"reason": null}')
        assert earned(DEVICE) is None and earned(DEVICE) is None
        assert checks.runs() == runs  # once per process all the same


def test_a_check_that_did_not_end_is_a_line_and_is_not_kept(checks: Any) -> None:
    checks("Traceback:\nRuntimeError: CUDA out of memory", status=1)
    assert (earned(DEVICE) or "").endswith(": RuntimeError: CUDA out of memory")
    checks("nonsense")
    assert "check of itself failed" in (earned(DEVICE) or "")
    checks('{"reason": null}')
    assert earned(DEVICE) is None


def test_a_damaged_file_is_another_check(checks: Any, tmp_path: Path) -> None:
    checks('{"reason": null}')
    earned(DEVICE)
    (file,) = (tmp_path / "cache" / "cuda-self-check").iterdir()
    for damage in ("", "[]", "{}"):
        file.write_text(damage)
        checks('{"reason": "again"}')
        assert earned(DEVICE) == "again"
