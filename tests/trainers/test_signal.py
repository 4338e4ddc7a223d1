"""Signal propagation against scipy, closed forms, published numbers and real networks; the law for alpha."""

import itertools
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import IntegrationWarning, quad

from sweeps.commands.signal import digits
from trainers import MemberConfig, activations, train
from trainers.activations import ACTIVATIONS, Activation, activation
from trainers.theory import signal
from trainers.theory.born_dead import born_dead_bounds
from trainers.theory.gaussian import Unit
from trainers.theory.network import root
from trainers.theory.published import PUBLISHED, compared

SETTINGS = ((1.0, "rescaled"), (4.0, "rescaled"), (4.0, "naive"))
KINKS = {"relu": (0.0,), "leaky_relu": (0.0,), "hardtanh": (-1.0, 1.0), "relu6": (0.0, 6.0), "hardswish": (-3.0, 3.0)}
TANH = ("tanh", 1.0, "rescaled")
RELU = ("relu", 1.0, "rescaled")
few = settings(deadline=None, max_examples=30)


def density(z: float) -> float:
    return math.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def average(of, turns=(0.0,)) -> float:
    """E of(z) over the standard Gaussian, by scipy between the points where `of` turns."""
    ends = [-12.0, *(turn for turn in sorted(turns) if -12 < turn < 12), 12.0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IntegrationWarning)  # a part of no weight has no digits
        parts = (quad(lambda z: of(z) * density(z), *pair, epsabs=0, epsrel=1e-12) for pair in itertools.pairwise(ends))
        return sum(value for value, _ in parts)


def number(f, u: float) -> float:
    return float(f(torch.tensor(u, dtype=torch.float64)))


def slope(f, u: float) -> float:
    at = torch.tensor(u, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(f(at), at)
    return float(gradient)


# ---- quadrature


@pytest.mark.parametrize(("alpha", "scaling"), SETTINGS)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_averages_over_one_preactivation(name, alpha, scaling) -> None:
    unit, f = Unit(name, alpha, scaling), activation(name, scaling)
    size = alpha if scaling == "rescaled" else 1.0
    for q in (1e-4, 1.0, 1e4):
        root = math.sqrt(q)
        turns = [size * turn / root for turn in (*KINKS.get(name, ()), -16, -4, -1, 0, 1, 4, 16)]
        values = average(lambda z, root=root: number(lambda u: f(u, alpha), root * z) ** 2, turns)
        slopes = average(lambda z, root=root: slope(lambda u: f(u, alpha), root * z) ** 2, turns)
        assert unit.square(q) == pytest.approx(values, rel=1e-10)
        assert unit.slope_square(q) == pytest.approx(slopes, rel=1e-10)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_averages_over_two_hold_together(name) -> None:
    """The slopes by q and c are those of the averages, and at c = 1 two are one."""
    unit, q, e, step = Unit(name, 2.0), 3.0, 0.4, 1e-5
    assert unit.growth(q) == pytest.approx((unit.square(q + step) - unit.square(q - step)) / (2 * step), rel=1e-7)
    by_c = (unit.product(q, e - step) - unit.product(q, e + step)) / (2 * step)
    assert q * unit.slope_product(q, e) == pytest.approx(by_c, rel=1e-6)
    difference = 2 * (unit.square(q) - unit.product(q, e))
    assert unit.square_of_difference(q, e) == pytest.approx(difference, rel=1e-10)
    assert unit.product(q, 0.0) == pytest.approx(unit.square(q), rel=1e-12)
    assert unit.slope_product(q, 1e-14) == pytest.approx(unit.slope_square(q), rel=1e-6)
    assert unit.product(q, 1.0) == pytest.approx(unit.mean(q) ** 2, rel=1e-10, abs=1e-14)


@pytest.mark.parametrize(("name", "f"), [("tanh", math.tanh), ("hardtanh", lambda u: min(1.0, max(-1.0, u)))])
def test_two_by_scipy(name, f) -> None:
    q, c = 4.0, 0.7
    root, rest = math.sqrt(q), math.sqrt(1 - c * c)

    def inner(s: float) -> float:
        turns = [(turn / root - c * s) / rest for turn in (-1.0, 0.0, 1.0)]
        return f(root * s) * average(lambda t: f(root * (c * s + rest * t)), turns)

    assert Unit(name).product(q, 1 - c) == pytest.approx(average(inner, (-0.5, 0.0, 0.5)), rel=1e-9)


@pytest.mark.parametrize("c", [-1.0, -0.5, 0.0, 0.3, 0.9, 0.999, 1 - 1e-7])
def test_relu_has_the_arc_cosine_kernel(c) -> None:
    angle = math.acos(c)
    kernel = (math.sin(angle) + (math.pi - angle) * c) / math.pi
    assert signal.correlation_map(c, *RELU, 1.7, 0.0, q=5.0) == pytest.approx(kernel, rel=1e-9, abs=1e-12)
    assert Unit("relu").slope_product(5.0, 1 - c) == pytest.approx((math.pi - angle) / (2 * math.pi), rel=1e-9)


@pytest.mark.parametrize("q", [1e-6, 0.5, 40.0, 1e10])
@pytest.mark.parametrize("c", [0.0, 0.6, 0.999])
def test_erf_has_a_closed_form(q, c, monkeypatch) -> None:
    monkeypatch.setattr(activations, "ACTIVATIONS", {"erf": Activation(torch.erf)})
    monkeypatch.setattr("trainers.theory.gaussian.ACTIVATIONS", activations.ACTIVATIONS)
    unit = Unit("erf")
    assert unit.square(q) == pytest.approx(2 / math.pi * math.asin(2 * q / (1 + 2 * q)), rel=1e-10)
    assert unit.product(q, 1 - c) == pytest.approx(
        2 / math.pi * math.asin(2 * q * c / (1 + 2 * q)), rel=1e-9, abs=1e-12
    )
    assert unit.slope_square(q) == pytest.approx(4 / math.pi / math.sqrt(1 + 4 * q), rel=1e-9)


# ---- the law for alpha

of_any = {
    "name": st.sampled_from(sorted(ACTIVATIONS)),
    "alpha": st.floats(0.05, 50.0),
    "sigma_w": st.floats(0.3, 4.0),
    "sigma_b": st.floats(0.0, 3.0),
    "q": st.floats(1e-3, 1e3),
}


@few
@given(**of_any, c=st.floats(-0.9, 0.99))
def test_rescaling_is_a_change_of_units(name, alpha, sigma_w, sigma_b, q, c) -> None:
    rescaled, plain = (name, alpha, "rescaled", sigma_w, sigma_b), (name, 1.0, "rescaled", sigma_w, sigma_b / alpha)
    length = signal.length_map(alpha**2 * q, *rescaled)
    assert length == pytest.approx(alpha**2 * signal.length_map(q, *plain), rel=1e-10)
    ours, theirs = signal.correlation_map(c, *rescaled, q=alpha**2 * q), signal.correlation_map(c, *plain, q=q)
    assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-12)
    slopes = (Unit(name, alpha).slope_square(alpha**2 * q), Unit(name).slope_square(q))
    assert slopes[0] == pytest.approx(slopes[1], rel=1e-10)


@few
@given(**of_any)
def test_naive_scaling_is_more_weight(name, alpha, sigma_w, sigma_b, q) -> None:
    naive, plain = (name, alpha, "naive", sigma_w, sigma_b), (name, 1.0, "naive", alpha * sigma_w, sigma_b)
    assert signal.length_map(q, *naive) == pytest.approx(signal.length_map(q, *plain), rel=1e-12)
    assert signal.fixed_point(*naive) == pytest.approx(signal.fixed_point(*plain), rel=1e-9)
    assert signal.chi(*naive) == pytest.approx(signal.chi(*plain), rel=1e-9)


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "softsign", "relu6", "gelu", "silu"])
@pytest.mark.parametrize("alpha", [0.5, 16.0])
def test_the_fixed_points_and_edges_of_rescaled_units(name, alpha) -> None:
    rescaled, plain = (name, alpha, "rescaled"), (name, 1.0, "rescaled")
    at = signal.fixed_point(*rescaled, 1.2, 0.6 * alpha, start=alpha**2)
    assert at == pytest.approx(alpha**2 * signal.fixed_point(*plain, 1.2, 0.6), rel=1e-9)
    for sigma_b in (0.0, 0.6):
        edges = signal.critical_sigma_w(*rescaled, sigma_b * alpha), signal.critical_sigma_w(*plain, sigma_b)
        assert edges[0] == pytest.approx(edges[1], rel=1e-9, nan_ok=True)
        naive = signal.critical_sigma_w(name, alpha, "naive", sigma_b)
        assert naive == pytest.approx(edges[1] / alpha, rel=1e-9, nan_ok=True)


# ---- fixed points


def test_relu_and_identity_by_hand() -> None:
    assert signal.fixed_point(*RELU, 1.0, 0.5) == pytest.approx(0.25 / (1 - 0.5), rel=1e-12)
    assert signal.fixed_point("identity", 2.0, "naive", 0.4, 0.3) == pytest.approx(0.09 / (1 - 0.64), rel=1e-12)
    assert signal.fixed_point(*RELU, 1.5, 0.0) == math.inf == signal.fixed_point(*RELU, math.sqrt(2), 0.1)
    assert signal.fixed_point(*RELU, 1.4, 0.0) == 0.0
    assert signal.fixed_point(*RELU, math.sqrt(2), 0.0, start=3.0) == 3.0  # every length is kept
    for sigma_w in (0.5, 1.4, 1.5, 3.0):
        assert signal.chi(*RELU, sigma_w, 0.0) == pytest.approx(sigma_w**2 / 2, rel=1e-12)
        assert signal.fixed_correlation(*RELU, sigma_w, 0.0) == 1.0
        assert signal.depth_scales(*RELU, sigma_w, 0.0)[1] == math.inf


def test_tanh_without_biases_settles_at_zero_up_to_its_edge() -> None:
    assert signal.fixed_point(*TANH, 1.0, 0.0) == 0.0 == signal.fixed_point(*TANH, 0.7, 0.0)
    # the deeper, the more linear: angles are kept
    assert signal.depth_scales(*TANH, 0.7, 0.0) == pytest.approx((-1 / math.log(0.49), math.inf), rel=1e-9)
    assert signal.depth_scales(*TANH, 1.0, 0.0) == (math.inf, math.inf)
    # V(q) = sigma_w^2 (q - 2 q^2 + ...)
    assert signal.fixed_point(*TANH, 1.001, 0.0) == pytest.approx((1.001**2 - 1) / 2, rel=0.01)


@pytest.mark.parametrize("alpha", [1e-6, 1e6])
@pytest.mark.parametrize("scaling", ["rescaled", "naive"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_no_alpha_is_too_much(name, scaling, alpha) -> None:
    at = (name, alpha, scaling, 1.5, 0.2)
    assert 0 <= signal.fixed_point(*at) and 0 <= signal.chi(*at) < math.inf
    assert 0 <= signal.fixed_correlation(*at) <= 1
    assert all(scale >= 0 for scale in signal.depth_scales(*at))


@pytest.mark.parametrize(
    ("name", "sigma_w", "sigma_b"),
    [("tanh", 1.8, 0.3), ("tanh", 1.1, 0.3), ("arctan", 2.0, 0.0), ("hardtanh", 1.5, 0.4), ("relu6", 2.0, 0.5)],
)
def test_deep_layers_come_to_the_fixed_points_at_the_pace_of_the_depth_scales(name, sigma_w, sigma_b) -> None:
    at = (name, 1.0, "rescaled", sigma_w, sigma_b)
    q, c, (xi_q, xi_c) = signal.fixed_point(*at), signal.fixed_correlation(*at), signal.depth_scales(*at)
    near = q * (1 + 1e-4)
    assert signal.length_map(q, *at) == pytest.approx(q, rel=1e-12)
    assert (signal.length_map(near, *at) - q) / (near - q) == pytest.approx(math.exp(-1 / xi_q), rel=1e-3)
    assert signal.correlation_map(c, *at) == pytest.approx(c, abs=1e-10)
    assert (signal.correlation_map(c - 1e-4, *at) - c) / -1e-4 == pytest.approx(math.exp(-1 / xi_c), rel=2e-3)
    assert (c < 1) == (signal.chi(*at) > 1)
    far = 0.5
    for _ in range(int(8 * xi_c)):
        far = signal.correlation_map(far, *at)
    assert far == pytest.approx(c, abs=2e-3)


# ---- the edge of chaos


@pytest.mark.parametrize("published", PUBLISHED, ids=lambda published: published.what)
def test_published_numbers(published) -> None:
    assert published.compute() == pytest.approx(published.value, rel=0, abs=published.within)


@pytest.mark.parametrize("name", ["tanh", "arctan", "softsign", "sigmoid", "elu", "relu6", "hardtanh"])
@pytest.mark.parametrize("sigma_b", [0.01, 0.3, 2.0])
def test_chi_is_one_on_the_edge(name, sigma_b) -> None:
    unit = (name, 2.0, "rescaled")
    edge = signal.critical_sigma_w(*unit, sigma_b)
    assert signal.chi(*unit, edge, sigma_b) == pytest.approx(1, abs=1e-8)
    assert signal.chi(*unit, 0.99 * edge, sigma_b) < 1 < signal.chi(*unit, 1.01 * edge, sigma_b)
    q = signal.fixed_point(*unit, edge, sigma_b)
    assert signal.edge_of_chaos(*unit, [q])[0] == pytest.approx((edge, sigma_b), rel=1e-6)


def test_where_there_is_no_edge() -> None:
    assert signal.critical_sigma_w(*RELU, 0.0) == pytest.approx(math.sqrt(2), rel=1e-12)
    assert math.isnan(signal.critical_sigma_w(*RELU, 0.1))
    silu = ("silu", 1.0, "rescaled")
    assert math.isnan(signal.critical_sigma_w(*silu, 0.2))
    # chi jumps over 1 where the lengths no longer settle
    assert signal.chi(*silu, 1.6, 0.2) < 0.8 and signal.chi(*silu, 1.65, 0.2) > 1.2
    assert signal.fixed_point(*silu, 1.6, 0.2) < 1 and signal.fixed_point(*silu, 1.65, 0.2) == math.inf


# ---- real networks


def network(widths, unit, sigma_w, sigma_b, x):
    """The outputs of a random dense network at x, and its weights."""
    f, y, weights = activation(unit[0], unit[2]), x, []
    for i, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        weights.append((torch.randn(outputs, inputs) * sigma_w / math.sqrt(inputs)).requires_grad_())
        z = weights[-1] @ y + sigma_b * torch.randn(outputs)
        y = f(z, unit[1]) if i < len(widths) - 2 else z
    return y, weights


@pytest.mark.parametrize(
    ("unit", "sigma_w", "sigma_b"),
    [(("tanh", 2.0, "rescaled"), 1.3, 0.2), (("relu", 1.0, "rescaled"), 1.2, 0.1), (("tanh", 1.5, "naive"), 1.3, 0.3)],
)
def test_gradients_and_jacobians_of_random_networks(unit, sigma_w, sigma_b) -> None:
    """By 60 networks of some 250 units: 5 % of deviation where networks differ by 30 %, and what is finite in them."""
    torch.set_default_dtype(torch.float64)
    try:
        torch.manual_seed(0)
        widths, x = (300, 200, 400, 200, 10), torch.randn(300)
        gradients, jacobians = [], []
        for _ in range(60):
            at = x.clone().requires_grad_()
            y, weights = network(widths, unit, sigma_w, sigma_b, at)
            by_weights = torch.autograd.grad(torch.randn(10) @ y, weights, retain_graph=True)
            gradients.append([float((gradient**2).mean()) for gradient in by_weights])
            rows = [torch.autograd.grad(output, at, retain_graph=True)[0] for output in y]
            jacobians.append(float(torch.linalg.svdvals(torch.stack(rows)).square().mean()))
    finally:
        torch.set_default_dtype(torch.float32)
    q0 = float((x**2).mean())
    expected = signal.gradient_profile(*unit, sigma_w, sigma_b, widths, q0)
    np.testing.assert_allclose(np.log(np.mean(gradients, axis=0)) / 2, expected, atol=0.1)
    assert np.mean(jacobians) == pytest.approx(signal.jacobian_profile(*unit, sigma_w, sigma_b, 3, q0)[-1], rel=0.15)


@pytest.mark.parametrize(
    ("alpha", "sigma_w", "sigma_b"), [(1.0, 1.3, 0.2), (4.0, 1.3, 0.2), (1.0, 1.0, 0.0)], ids=["1", "4", "critical"]
)
def test_members_are_what_theory_says_of_them(alpha, sigma_w, sigma_b) -> None:
    """12 layers of 64 units on real images: the gradient by layer, up to one factor, the variances and the Jacobian."""
    config = MemberConfig(
        regime="many-layers", blocks=0, dense=12, units=64, dense_bias=True, alpha=alpha, epochs=0,
        initialization="lecun_normal", init_scale=sigma_w, bias_scale=sigma_b, measure=("jacobian", "signal"),
    )  # fmt: skip
    records = [record.metrics for record in train([config.with_seed(seed) for seed in range(12)])]

    def of_layers(metric: str) -> np.ndarray:
        """Root mean squares over the members, by layer."""
        names = [name for name in records[0] if name.startswith("layer.") and name.endswith(metric)]
        return np.sqrt(np.mean([[record[name] ** 2 for name in names] for record in records], axis=0))

    at, variances = ("tanh", alpha, "rescaled", sigma_w, sigma_b), of_layers("signal.variance")
    q0 = (variances[0] - sigma_b**2) / sigma_w**2
    apart = np.log(of_layers("gradient.data.rms")) - signal.gradient_profile(*at, [3072, *[64] * 12, 10], q0)
    assert len(apart) == 13 and np.abs(apart - apart.mean()).max() < 0.15
    np.testing.assert_allclose(variances, signal.lengths(*at, 12, q0), rtol=0.2)
    jacobian = np.mean([record["jacobian.mean_square"] for record in records])
    assert jacobian == pytest.approx(signal.jacobian_profile(*at, 12, q0)[-1], rel=0.25)


def test_profiles_at_the_fixed_point_are_powers_of_chi() -> None:
    at = (*TANH, 1.5, 0.3)
    q, chi = signal.fixed_point(*at), signal.chi(*at)
    q0 = (q - 0.3**2) / 1.5**2  # so that q_1 is q already
    assert signal.lengths(*at, 5, q0) == pytest.approx([q] * 5, rel=1e-10)
    assert signal.jacobian_profile(*at, 5, q0) == pytest.approx(1.5**2 * chi ** np.arange(6), rel=1e-9)
    profile = signal.gradient_profile(*at, [50] * 7, q0)
    assert np.diff(profile[1:]) == pytest.approx([-math.log(chi) / 2] * 4, abs=1e-9)
    assert signal.gradient_profile(*at, [50, 10], q0) == pytest.approx([math.log(q0) / 2])


def test_profiles_keep_what_is_as_small_or_large_as_a_deep_network_makes_it() -> None:
    """relu takes both passes by the same factor, so that no layer's gradient differs."""
    for sigma_w in (0.5, 4.0):
        profile = signal.gradient_profile(*RELU, sigma_w, 0.0, [50] * 102, 1.0)
        assert profile == pytest.approx([50 * math.log(sigma_w**2 / 2)] * 101, abs=1e-9)
        assert np.isfinite(signal.gradient_profile(*RELU, sigma_w, 0.0, [50] * 1000, 1.0)).all()
        assert np.isfinite(signal.lengths(*RELU, sigma_w, 0.0, 1000, 1.0)).all()


def test_a_flat_function_has_no_edge(monkeypatch) -> None:
    monkeypatch.setattr(activations, "ACTIVATIONS", {"step": Activation(lambda z: z.relu() * 0 + (z > 0))})
    monkeypatch.setattr("trainers.theory.gaussian.ACTIVATIONS", activations.ACTIVATIONS)
    at = ("step", 1.0, "rescaled")
    assert math.isnan(signal.critical_sigma_w(*at, 0.3)) and signal.chi(*at, 1.5, 0.3) == 0
    assert signal.fixed_point(*at, 1.5, 0.3) == pytest.approx(1.5**2 / 2 + 0.09, rel=1e-9)
    assert signal.depth_scales(*at, 1.5, 0.3) == (0, 0)


def test_the_deviations_are_those_of_lecun_normal() -> None:
    from trainers.initialization import INITIALIZATIONS

    drawn = INITIALIZATIONS["lecun_normal"].draw(np.random.default_rng(0), [(500, 400)])
    assert drawn.std() * math.sqrt(400) == pytest.approx(1, rel=0.01)


# ---- docs/theory.md

PAGE = " ".join((Path(__file__).parents[2] / "docs" / "theory.md").read_text().split())


def stable_from(name: str, low: float, high: float) -> float:
    """The sigma_b from which on lengths come to the edge's fixed point, which lies between `low` and `high`."""
    unit = Unit(name)
    q = root(lambda q: unit.growth(q) - unit.slope_square(q), low, high)
    return math.sqrt(q - unit.square(q) / unit.slope_square(q))


def hermite(name: str, q: float) -> float:
    """By how much Gauss-Hermite quadrature with 200 nodes is off for chi, relatively."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(200)
    unit = Unit(name)
    of_nodes = weights @ unit.slopes(math.sqrt(q) * nodes) ** 2 / math.sqrt(2 * math.pi)
    return abs(float(of_nodes) / unit.slope_square(q) - 1)


def numbers() -> list[tuple[str, tuple[float, ...]]]:
    """What the page says of numbers, but for the table; and they."""
    edges = [signal.critical_sigma_w("tanh", alpha, "rescaled", 0.2) for alpha in (1.0, 2.0, 4.0, 16.0)]
    naive = [signal.chi(name, 1000.0, "naive", 1.5, 0.2) for name in ACTIVATIONS]
    low, high = born_dead_bounds(3, 10), born_dead_bounds(8, 10)
    return [
        ("`sigma_w` = {:.4f} for `alpha = 1`, at {:.4f} for 2, at {:.4f} for 4 and at {:.4f} for 16", tuple(edges)),
        ("the smallest `chi` is {:.1f}, sigmoid's", (min(naive),)),
        ("is {:.4f} for gelu and {:.4f} for silu", (stable_from("gelu", 1, 10), stable_from("silu", 5, 40))),
        ("which scipy's quadrature confirms, is {:.4f}", (signal.critical_sigma_w(*TANH, 0.1) ** 2,)),
        ("but {:.0%} off for hardtanh there and {:.0%} off for tanh", (hermite("hardtanh", 1), hermite("tanh", 100))),
        ("the bounds are {:.4f} and {:.4f}; with 10 layers of 8 units, {:.4f} and {:.4f}", (*low, *high)),
    ]


@pytest.mark.parametrize("sentence", [0, 1, 2, 3, 4, 5])
def test_a_number_on_the_page(sentence, page_numbers) -> None:
    text, values = page_numbers[sentence]
    assert text.format(*values).replace("%", " %") in PAGE


@pytest.fixture(scope="module")
def page_numbers():
    return numbers()


def test_what_the_page_says_of_single_cases() -> None:
    assert hermite("tanh", 1.0) < 1e-13
    # tanh on its edge at sigma_b^2 = 0.01, by scipy alone
    sigma_w = signal.critical_sigma_w(*TANH, 0.1)
    spread = math.sqrt(signal.fixed_point(*TANH, sigma_w, 0.1))
    assert sigma_w**2 * average(lambda z: math.cosh(spread * z) ** -4) == pytest.approx(1, rel=1e-9)
    assert sigma_w**2 * average(lambda z: math.tanh(spread * z) ** 2) + 0.01 == pytest.approx(spread**2, rel=1e-9)
    for name in ("logsigmoid", "softplus"):
        assert np.isnan(signal.edge_of_chaos(name, 1.0, "rescaled", np.geomspace(1e-6, 1e12, 40))).all()


def test_the_table_on_the_page_is_the_command_s() -> None:
    for row in compared():
        cells = (row["what"], row["source"], *(digits(row[of], row["within"]) for of in ("published", "ours")))
        assert f"| {' | '.join(cells)} |" in PAGE
