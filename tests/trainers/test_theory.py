"""The theorems: closed forms against plain PyTorch, the regions at their edges, every counter-example from scratch."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainers.theory.check import check
from trainers.theory.claims import TABLE
from trainers.theory.network import SIGMOIDS, Network, log_sizes, root
from trainers.theory.theorems import (
    draw,
    first_region,
    largest,
    printed_regions,
    second_region,
    settled,
    vanishes_again,
)

PLAIN = {
    "tanh": torch.tanh,
    "arctan": torch.arctan,
    "softsign": lambda z: z / (1 + z.abs()),
    "sigmoid": torch.sigmoid,
    "logsigmoid": lambda z: -torch.log1p(torch.exp(-z)),
}
ODD = ("tanh", "arctan", "softsign")
every_odd = pytest.mark.parametrize("name", ODD)
few = settings(deadline=None, max_examples=40)
sizes = st.floats(0.05, 3.0).flatmap(lambda v: st.sampled_from([v, -v]))


def plain_output(name, theta, x, alpha=1.0, scaling="rescaled"):
    y = torch.as_tensor(x, dtype=torch.float64)
    for parameter in theta:
        y = alpha * PLAIN[name](parameter * y / (alpha if scaling == "rescaled" else 1.0))
    return y


def plain_gradient(name, theta, x, alpha=1.0, scaling="rescaled") -> np.ndarray:
    """dg/dtheta by plain PyTorch in float64."""
    parameters = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in theta]
    return torch.stack(torch.autograd.grad(plain_output(name, parameters, x, alpha, scaling), parameters)).numpy()


def loss_gradient(at: Network) -> tuple[float, float]:
    """The derivative of the penalised squared loss, and d."""
    theta = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in at.theta]
    g = plain_output(at.activation, theta, at.x, at.alpha, at.scaling)
    loss = (at.y - g) ** 2 + at.r / 2 * sum(v**2 for v in theta)
    return torch.autograd.grad(loss, theta[at.k - 1])[0].item(), 2 * (at.y - g.item())


@pytest.fixture(scope="module")
def claims():
    return check()["claims"]


# ---- the closed forms


@pytest.mark.parametrize("scaling", ["rescaled", "naive"])
@pytest.mark.parametrize("name", SIGMOIDS)
@few
@given(theta=st.lists(sizes, min_size=1, max_size=5), x=sizes, alpha=st.floats(0.5, 2.0))
def test_closed_form_is_the_gradient(name, scaling, theta, x, alpha) -> None:
    ours = np.exp(log_sizes(SIGMOIDS[name], np.array(theta), x, alpha, scaling))
    # Plain tanh has a slope 1 - y^2: its rounding is 1e-16, on slopes down to 4 e^(-2 * 18).
    np.testing.assert_allclose(ours, np.abs(plain_gradient(name, theta, x, alpha, scaling)), rtol=1e-7, atol=1e-13)


def test_sizes_that_underflow_are_kept_as_logarithms() -> None:
    log = log_sizes(SIGMOIDS["tanh"], np.array([1000.0, 2.0]), 1.0)
    assert np.exp(log[0]) == 0.0
    expected = 2 * (math.log(2) - 1000.0) + math.log(2.0) - 2 * math.log(math.cosh(2.0))
    assert log[0] == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("name", SIGMOIDS)
def test_log_slopes(name) -> None:
    z = np.linspace(-6, 6, 41)
    point = torch.tensor(z, requires_grad=True)
    (slope,) = torch.autograd.grad(PLAIN[name](point).sum(), point)
    np.testing.assert_allclose(np.exp(SIGMOIDS[name].log_slope(z)), slope.numpy(), rtol=1e-8)
    np.testing.assert_allclose(SIGMOIDS[name].f(z), PLAIN[name](point).detach().numpy(), rtol=1e-13)


def test_a_root_needs_a_change_of_sign() -> None:
    assert root(lambda v: 2 - v * v, 0.0, 2.0) == pytest.approx(math.sqrt(2), rel=1e-15)
    with pytest.raises(ValueError, match="must change its sign between 0 and 1"):
        root(lambda v: 1.0 + v, 0.0, 1.0)


# ---- Theorem 1


@every_odd
def test_peaks_are_maxima(name) -> None:
    z = torch.linspace(0.01, 5, 400_001, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(PLAIN[name](z).sum(), z)
    found = (z * slope).max().item()
    assert SIGMOIDS[name].m == pytest.approx(found, rel=1e-9)


@every_odd
@few
@given(theta=st.lists(sizes, min_size=1, max_size=6), x=st.floats(0.01, 50))
def test_no_gradient_exceeds_m_over_theta(name, theta, x) -> None:
    left = np.abs(plain_gradient(name, theta, x))
    assert (left * np.abs(theta) <= SIGMOIDS[name].m * (1 + 1e-9)).all()


@every_odd
@few
@given(t=st.floats(0.001, 0.99), depth=st.integers(1, 6), seed=st.integers(0, 2**32 - 1))
def test_the_largest_gradient_is_never_exceeded(name, t, depth, seed) -> None:
    theta, x = draw(t, 50, depth, np.random.default_rng(seed))
    assert (np.abs(theta) >= math.log(1 / t) / np.minimum(np.abs(x), 0.5)[:, None] * (1 - 1e-12)).all()
    f = SIGMOIDS[name]
    assert log_sizes(f, theta, x).max() <= math.log(largest(f, t)) + 1e-12


@every_odd
def test_first_region_ends_where_one_neuron_crosses(name) -> None:
    low, high = first_region(SIGMOIDS[name])
    top = SIGMOIDS[name].peak
    for t, holds in ((high - 1e-6, True), (high + 1e-6, False)):
        theta = 2 * math.log(1 / t)
        assert (abs(plain_gradient(name, [theta], top / theta)[0]) <= t) == holds
    if low:
        for t, holds in ((low * 0.999, False), (low * 1.001, True)):
            assert (abs(plain_gradient(name, [2 * math.log(1 / t)], 0.5)[0]) <= t) == holds


def test_three_layers_break_the_first_bound_as_well() -> None:
    t, theta = 0.8, (0.45, 0.45, 7.7)
    assert min(theta) >= math.log(1 / t) / 0.5
    assert abs(plain_gradient("tanh", theta, 0.5)[1]) > 0.98 > t


@every_odd
def test_second_region_ends_where_one_neuron_crosses(name) -> None:
    edge, top = second_region(SIGMOIDS[name]), SIGMOIDS[name].peak
    for t, holds in ((edge - 1e-6, True), (edge + 1e-6, False)):
        theta = 2 * math.log(1 / t)
        left = theta - abs(plain_gradient(name, [theta], top / theta)[0])
        assert (left >= math.log(1 / t)) == holds


def test_pinned_regions() -> None:
    assert first_region(SIGMOIDS["tanh"]) == pytest.approx((0.0, 0.738490), abs=1e-6)
    assert first_region(SIGMOIDS["arctan"]) == pytest.approx((0.050322, 0.699491), abs=1e-6)
    assert first_region(SIGMOIDS["softsign"]) == pytest.approx((0.021240, 0.865523), abs=1e-6)
    assert [second_region(SIGMOIDS[n]) for n in ODD] == pytest.approx([0.623036, 0.606531, 0.702189], abs=1e-6)
    # By hand: m is 1/2 for arctan, 1/4 for softsign.
    assert second_region(SIGMOIDS["arctan"]) == pytest.approx(math.exp(-0.5))
    assert second_region(SIGMOIDS["softsign"]) == pytest.approx(math.exp(-math.sqrt(1 / 8)))


def test_as_printed_the_first_bound_ends_at_a_cubic() -> None:
    first, second = printed_regions()
    assert min(np.roots([1, 1, 3, -1]), key=lambda v: abs(v.imag)).real == pytest.approx(first)
    size = math.log(1 / second)
    assert 1 / math.cosh(size) ** 2 == pytest.approx(size)


@pytest.mark.parametrize("t", [0.01, 0.3, 0.6, 0.9, 0.99])
def test_sigmoid_and_logsigmoid_fail_for_every_t(t) -> None:
    least = max(2 * math.log(1 / t), 5.0)
    assert abs(plain_gradient("logsigmoid", [least], -2.0)[0]) > t
    value = 1 / (1 + math.exp(10 * least))
    second = 1.5434 / value
    assert abs(plain_gradient("sigmoid", [least, second], -10.0)[0]) > t


# ---- docs/theory.md

PAGE = " ".join((Path(__file__).parents[2] / "docs" / "theory.md").read_text().split())
PROOF_OF_1 = PAGE.partition("### The paper's proof, step by step")[2].partition("## Theorem 2")[0]


def _values(t: float, depth: int = 4000) -> list[float]:
    """|f^1| and on of the hardest network: x = 1/2, all theta = 2 log(1/t)."""
    size, found = math.log(1 / t), [math.tanh(math.log(1 / t))]
    for _ in range(depth):
        found.append(math.tanh(2 * size * found[-1]))
    return found


STEPS = {
    2: lambda t: _values(t)[0] >= math.tanh(1),
    3: lambda t: min(_values(t)) >= 0.5,
    4: lambda t: min(_values(t)) >= 0.25,
    5: lambda t: 1 / math.cosh(math.log(1 / t)) ** 2 <= t,
    6: lambda t: all(2 >= 1 / (2 * v * v) for v in _values(t)),
    7: lambda t: math.log(1 / t) / 2 >= 1 / 4,
    8: lambda t: math.log(2 * math.log(1 / t)) > 0,
    9: lambda t: all(math.sqrt(2 * math.log(1 / t)) >= 1 / (2 * v) for v in _values(t)[1:]),
    10: lambda t: max(_steepest(v, t) for v in _values(t)) <= 1,
    12: lambda t: 2 * math.log(1 / t) - t >= math.log(1 / t),
}
M, L_OF_EXAMPLE = SIGMOIDS["tanh"].m, math.log(1 / 0.8)
LIMITS = {
    2: math.exp(-1.0),
    3: 3**-0.5,
    4: 0.6,
    5: printed_regions()[0],
    6: 3**-0.5,
    7: math.exp(-0.5),
    8: math.exp(-0.5),
    9: math.exp(-1 / (8 * root(lambda v: math.tanh(1 / (4 * v)) - v, 0.1, 0.9) ** 2)),
    10: math.exp(-math.atanh(M) / (2 * M)),
    12: root(lambda t: t - math.log(1 / t), 0.1, 1.0),
}


def _steepest(value: float, t: float) -> float:
    """The largest theta sech^2(theta f) over theta >= 2 log(1/t)."""
    u = max(0.7717023192, 2 * math.log(1 / t) * value)
    return u / math.cosh(u) ** 2 / value


@pytest.mark.parametrize("number", STEPS)
def test_a_step_breaks_where_the_page_says(number) -> None:
    step = PROOF_OF_1.partition(f" {number}. ")[2].partition(f" {number + 1}. ")[0]
    (limit,) = map(float, re.findall(r"\*\*t = (0\.\d{5})\*\*", step))
    assert limit == pytest.approx(LIMITS[number], abs=5.1e-6)
    # The values creep towards their fixed point, so the edge is seen to some 1e-3.
    assert STEPS[number](limit - 2e-3)
    assert not STEPS[number](limit + 2e-3)


def values(*theta: float, x: float) -> list[float]:
    """f^1 to f^l of a tanh network."""
    found = [x]
    for parameter in theta:
        found.append(math.tanh(parameter * found[-1]))
    return found[1:]


def numbers() -> list[tuple[str, float | tuple[float, ...]]]:
    """What the page says, with the numbers left out; and they."""
    tanh, arctan, softsign = (SIGMOIDS[name] for name in ODD)
    one, two = values(0.45, 0.45, x=0.5)
    middle, steep = values(1.4, x=0.5)[0], values(0.45, 3.5, x=0.5)[1]
    deep, fixed, size = values(*[1.5] * 5, x=1.5), settled(tanh)[0] / 1.5, L_OF_EXAMPLE
    arctans = settled(arctan)[0] / 1.5
    sigmoid = SIGMOIDS["sigmoid"]
    rows = [(f"| {f.name} | {{:.5f}} <= t <= {{:.5f}} | t <= {{:.5f}} |", f) for f in (arctan, softsign)]
    return [
        *((row, (*first_region(f), second_region(f))) for row, f in rows),
        ("| tanh | t <= {:.5f} | t <= {:.5f} |", (first_region(tanh)[1], second_region(tanh))),
        ("the first bound holds for `t <= {:.5f}` and the second for `t <= {:.5f}`",
         (first_region(tanh)[1], second_region(tanh))),
        ("For tanh `u* = {:.5f}` and `m = {:.5f}`; for arctan `u* = 1` and `m = 1/2`", (tanh.peak, tanh.m)),
        ("`theta = (0.45, 0.45, 7.7)` gives `P_2 = {:.2f}`", plain_gradient("tanh", [0.45, 0.45, 7.7], 0.5)[1]),
        ("or `t <= {:.5f}`; steps 3, 5 and 10", printed_regions()[0]),
        ("`sech^2(L) <= L`, or `t <= {:.5f}`", printed_regions()[1]),
        ("`f^1 = {:.5f}` and `f^2 = {:.5f}`", (one, two)),
        ("the left side is {:.5f} and `tanh(1) = {:.5f}`", (middle, math.tanh(1))),
        ("In the example the right side is {:.5f}.", size / (2 * one)),
        ("the left side is {:.5f}. 6.", 1 - middle**2),
        ("the sides are {:.5f} and {:.3f}. 7.", (2 * size, size / (2 * two**2))),
        ("the sides are {:.3f} and {:.3f}. 8.", (size / (2 * two**2), 1 / (4 * two**2))),
        ("the sides are {:.5f} and {:.5f}. 9.", (0.45 / math.log(0.45), math.sqrt(0.45))),
        ("the sides are {:.5f} and {:.4f}. 10.", (math.sqrt(0.45), 1 / (2 * two))),
        ("`theta^2 = 3.5` in the example makes the left side {:.4f}", (1 - steep**2) * 3.5),
        ("`2 L - t = {:.5f}`, and `L = {:.5f}`", (2 * size - 0.8, size)),
        ("falls from `arctan(2.25) = {:.4f}` to the fixed point {:.4f}, so slopes are at most {:.4f}",
         (math.atan(2.25), arctans, arctan.slope(1.5 * arctans))),
        ("`{:.4f} * {:.4f} * {:.4f}^(n-1) <= 2^-n`",
         (math.atan(2.25), arctan.slope(1.5 * arctans), 1.5 * arctan.slope(1.5 * arctans))),
        ("`1.5 f'(2.25) = {:.4f}` takes the place", 1.5 * arctan.slope(2.25)),
        ("`1.5 f'(2.25) = {:.5f}`, so `P_k`", 1.5 * sigmoid.slope(2.25)),
        ("`1.5 f'(-2.25) = {:.3f}`", 1.5 * SIGMOIDS["logsigmoid"].slope(-2.25)),
        ("with `alpha = 1`: {:.5f} for tanh, {:.5f} for arctan, {:.5f} for softsign",
         (settled(tanh)[1], settled(arctan)[1], settled(softsign)[1])),
        ("from `l = {:.0f}` on for `alpha = 2`, from {:.0f} for 4, from {:.0f} for 16 and from {:.0f} for 256",
         tuple(vanishes_again(tanh, alpha) for alpha in (2.0, 4.0, 16.0, 256.0))),
        ("`1.3 / tanh(1.5) = {:.5f}`", 1.3 / math.tanh(1.5)),
        ("`|f^i| >= tanh(1.3) = {:.5f}`", math.tanh(1.3)),
        ("the fixed point `f* = {:.5f}`", fixed),
        ("where `|f^5| = {:.5f}`", deep[4]),
        ("`1 - tanh(1.3)^2 = {:.5f} <= 1 / (2 * 1.5)`. True, and `1 - f*^2 = {:.5f}`",
         (1 - math.tanh(1.3) ** 2, 1 - fixed**2)),
        ("Yes, {:.5f}. But deep neurons are at {:.5f}, where a layer multiplies by {:.5f}",
         (1.5 * tanh.slope(1.5), 1.5 * fixed, 1.5 * tanh.slope(1.5 * fixed))),
    ]  # fmt: skip


@pytest.mark.parametrize(("sentence", "numbers"), numbers())
def test_a_number_on_the_page(sentence, numbers) -> None:
    assert sentence.format(*(numbers if isinstance(numbers, tuple) else (numbers,))) in PAGE


def test_step_3_of_the_second_proof_breaks_at_the_fifth_neuron_and_is_mended() -> None:
    found = values(*[1.5] * 40, x=1.5)
    assert [v >= math.tanh(1.3) for v in found[:5]] == [True] * 4 + [False]
    assert all(1 - v**2 < 1 / 3 for v in found)


def test_peaks_by_hand() -> None:
    assert SIGMOIDS["arctan"].m == pytest.approx(1 / 2)
    assert SIGMOIDS["softsign"].m == pytest.approx(1 / 4)


# ---- Theorem 2


@pytest.mark.parametrize("name", ["tanh", "arctan", "sigmoid"])
@pytest.mark.parametrize("depth", [1, 2, 3, 8, 20])
def test_theorem_2_bound(name, depth) -> None:
    left = np.abs(plain_gradient(name, [1.5] * depth, 1.5))
    assert (left <= 2.0 ** -np.arange(depth, 0, -1)).all()


def test_softsign_is_above_the_bound_from_nine_layers_on() -> None:
    above = [
        bool((np.abs(plain_gradient("softsign", [1.5] * d, 1.5)) > 2.0 ** -np.arange(d, 0, -1)).any())
        for d in range(1, 15)
    ]
    assert above == [False] * 8 + [True] * 6


@every_odd
def test_theorem_2_limit_for_every_k(name) -> None:
    left = np.abs(plain_gradient(name, [1.5, -1.5, 1.5, 1.5], -1.5, alpha=1e6))
    np.testing.assert_allclose(left, 1.5**4, rtol=1e-4)


@pytest.mark.parametrize("alpha", [1.0, 2.0, 50.0])
def test_a_deep_layer_multiplies_the_gradient_by_the_same_at_any_alpha(alpha) -> None:
    deep, deeper = (abs(plain_gradient("tanh", [1.5] * d, 1.5, alpha)[0]) for d in (60, 61))
    assert deeper / deep == pytest.approx(0.394313, abs=1e-6)
    assert settled(SIGMOIDS["tanh"])[1] == pytest.approx(0.394313, abs=1e-6)


@pytest.mark.parametrize("alpha", [2.0, 4.0, 16.0])
def test_depth_at_which_scaling_no_longer_helps(alpha) -> None:
    least = vanishes_again(SIGMOIDS["tanh"], alpha)
    above = [abs(plain_gradient("tanh", [1.5] * d, 1.5, alpha)[0]) > 2.0**-d for d in range(1, least + 5)]
    assert above[least - 2 :] == [True] + [False] * 5


def test_naive_scaling_vanishes_beyond_one_layer() -> None:
    one = [plain_gradient("tanh", [1.5], 1.5, a, "naive")[0] for a in (1.0, 10.0)]
    assert one[1] == pytest.approx(10 * one[0])
    for k in (0, 1):
        two = [abs(plain_gradient("tanh", [1.5, 1.5], 1.5, a, "naive")[k]) for a in (1.0, 4.0, 8.0)]
        assert two[0] > two[1] > two[2]


# ---- what is said of it


def test_every_counter_example_from_scratch(claims) -> None:
    seen = 0
    for claim in claims:
        example = claim["counter_example"]
        if example is None:
            assert claim["holds"] == "everywhere tested"
            continue
        left, right = example["left"], example["right"]
        broken = {
            "<=": left > right,
            ">=": left < right,
            ">": left <= right,
            "=": abs(left - right) > 1e-6 * max(abs(left), abs(right)),
        }
        assert broken[example["relation"]], claim
        if "theta" not in example["at"]:
            continue
        seen += 1
        at = Network(claim["activation"], **example["at"])
        gradient, d = loss_gradient(at)
        if at.t:
            assert min(map(abs, at.theta)) >= math.log(1 / at.t) / min(abs(at.x), 0.5)
        if claim["part"] == "theorem 1":
            if "bound" in claim["name"]:
                assert at.r == 0 or at.r >= abs(d) * (1 - 1e-9)
            scale = at.t if claim["name"].startswith("first") else math.log(1 / at.t)
            assert right == pytest.approx(abs(d) * scale)
        if "as printed" not in claim["name"]:
            expected = gradient if claim["name"] == "sign" else abs(gradient)
            # 1e-12: where plain tanh saturates, or the two gradients cancel.
            assert left == pytest.approx(expected, rel=1e-6, abs=1e-12)
    assert seen > 25


@pytest.mark.parametrize(("name", "ratio"), [("sign", -1.0), ("first factor", 1.5), ("scaled", 1.5 / 2)])
def test_printed_formula_lacks_a_sign_and_the_factor_x(claims, name, ratio) -> None:
    (example,) = (c["counter_example"] for c in claims if c["name"] == name)
    assert example["left"] / example["right"] == pytest.approx(ratio)


@pytest.mark.parametrize(
    ("name", "holding"),
    [("tanh", "1234"), ("arctan", "234"), ("softsign", "1234"), ("sigmoid", "123"), ("logsigmoid", "")],
)
def test_properties(claims, name, holding) -> None:
    of_name = [c for c in claims if c["part"] == "properties" and c["activation"] == name]
    assert len(of_name) == 4
    assert "".join(c["name"][-1] for c in of_name if c["holds"] == "everywhere tested") == holding


def test_the_check_says_the_same_in_every_call(claims) -> None:
    again = check()
    assert again["claims"] == claims
    assert again["disagreement"] < 1e-10


@pytest.mark.parametrize("points", [(dict(z=0.5),), (None, dict(z=np.array([0.5, 2.0])))])
def test_numbers_that_contradict_the_table_are_refused(monkeypatch, points) -> None:
    (row,) = (row for row in TABLE if row[1] == "property 1")
    monkeypatch.setattr("trainers.theory.check.TABLE", ((*row[:-3], ("arctan", "", "", *points)),))
    with pytest.raises(ArithmeticError, match="the numbers contradict .*property 1, arctan"):
        check()
