"""The page of what the paper leaves unstated: each command on it works, and each number is what our code has."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch
import yaml

from sweeps.cli import _status
from sweeps.spec.reading import SweepSpec, read, studies
from trainers.initialization import DEPTHWISE_FANS, INITIALIZATIONS
from trainers.members import FIELDS, MemberConfig, layers_of
from trainers.optimizers import OPTIMIZERS, Epsilon
from trainers.states import initial_state

PAGE = (Path(__file__).parents[2] / "docs" / "readings.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"gradsweep run [^|`]+?(?=`|\n\n)", PAGE.replace("\\\n", " "))


def rows(heading: str) -> list[list[str]]:
    """The cells of the table below a heading, without its own heading."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")][2:]


READINGS = rows("The table")


def asked(command: str) -> tuple[str, list[str]]:
    """A command's study, and its options without the sweep's name."""
    _, _, study, *options = shlex.split(command)
    pairs = list(zip(options[::2], options[1::2], strict=True))
    assert {key for key, _ in pairs} == {"--set", "--name"} and len({value for _, value in pairs}) == len(pairs)
    return study, [value for key, value in pairs if key == "--set"]


def members(spec: SweepSpec) -> dict[str, MemberConfig]:
    return {name: spec.members(arm)[0] for name, arm in spec.arms.items()}


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_one_that_would_run(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    study, settings = asked(command)
    assert _status(["plan", study, *(word for value in settings for word in ("--set", value))]) == 0
    assert f"sweep           {study}\n" in capsys.readouterr().out
    assert read(study, settings) != read(study)


def test_the_studies_that_it_names_are_shipped() -> None:
    named = re.findall(r"Study: `([^`]+)`", PAGE)
    assert len(named) == 3 and {*named} <= {*studies()}


def test_every_row_has_a_command_of_its_own() -> None:
    names = [re.search(r"--name (\S+)", command) for command in COMMANDS]
    assert len({name[1] for name in names if name}) == len(COMMANDS) == len(READINGS) + 2


@pytest.mark.parametrize("row", READINGS, ids=lambda row: row[2].strip("`"))
def test_a_row_says_what_its_study_has_and_switches_it(row: list[str]) -> None:
    (command,) = (command for command in COMMANDS if command in row[-1])
    study, settings = asked(command)
    was, now = members(read(study)), members(read(study, settings))
    if row[2] == "a claim's `metric`":
        assert was == now
        return
    ((field, value),) = yaml.safe_load(row[2].strip("`")).items()
    value = float(value) if field == "epsilon" else value  # YAML has 1e-7 for text
    assert field in FIELDS
    assert value in {getattr(member, field) for member in was.values()}
    assert any(getattr(was[arm], field) == value != getattr(now[arm], field) for arm in was)


@pytest.mark.parametrize("row", rows("Where Adam adds epsilon"), ids=lambda row: f"step {row[0]}, epsilon {row[1]}")
def test_adams_steps_on_a_gradient_of_1e_11(row: list[str]) -> None:
    """What our optimizer does, and the two libraries' own formulas, in float64."""
    last, epsilon, gradient, rate = int(row[0]), float(row[1]), 1e-11, torch.full((1, 1), 1e-3, dtype=torch.float64)
    steps = {}
    for after in (True, False):
        parameters, first, second = torch.zeros(3, 1, 1, dtype=torch.float64)
        for step in range(1, last + 1):
            before = parameters.clone()
            gradients = torch.full_like(parameters, gradient)
            OPTIMIZERS["adam"].update(parameters, gradients, (first, second), step, rate, Epsilon(epsilon, after))
        steps[after] = float(before - parameters)
    m, v = gradient * (1 - 0.9**last), gradient**2 * (1 - 0.999**last)
    corrections = 1 - 0.9**last, (1 - 0.999**last) ** 0.5
    assert steps[True] == pytest.approx(1e-3 * (m / corrections[0]) / (v**0.5 / corrections[1] + epsilon), rel=1e-6)
    # Keras's update_step
    assert steps[False] == pytest.approx(m * (1e-3 * corrections[1] / corrections[0]) / (v**0.5 + epsilon), rel=1e-6)
    assert row[2:] == [f"{steps[True]:.2e}", f"{steps[False]:.2e}", f"{steps[True] / steps[False]:.1f}"]


def test_pytorchs_adam_adds_epsilon_where_the_page_says() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    parameter.grad = torch.full_like(parameter, 1e-11)
    torch.optim.Adam([parameter], lr=1e-3, eps=1e-7).step()
    (row, *_) = rows("Where Adam adds epsilon")
    assert f"{-parameter.item():.2e}" == row[2]


def test_the_fans_and_their_deviations_are_our_own() -> None:
    table = rows("Fans of a depthwise convolution")
    assert [row[0].strip("`") for row in table] == [*DEPTHWISE_FANS]
    for name, _, inputs, outputs, *deviations in table:
        fans = DEPTHWISE_FANS[name.strip("`")].fans(9, 3)
        assert fans == (int(inputs), int(outputs))
        fan_in, fan_out = fans
        assert deviations == [f"{(of**0.5):.3f}" for of in (2 / (fan_in + fan_out), 2 / fan_in, 1 / fan_in)]


def test_keras_l2_is_the_penalty_that_the_page_says() -> None:
    """0.01 times the sum of the squares of the weights, biases left out: half of r = 0.02 times it here."""
    from trainers.penalties import PENALTIES

    weights = torch.tensor([[1.0, -2.0, 3.0]], dtype=torch.float64)
    assert float(PENALTIES["l2"].value(weights, 0.02)) == pytest.approx(0.01 * 14)


def test_the_flags_that_are_as_keras_would_do_it_leave_other_initial_values_alone() -> None:
    """Biases start at 0, and all else as without the flags."""
    (command,) = (command for command in COMMANDS if "figure-1-keras " in command)
    study, settings = asked(command)
    assert len(settings) == 5
    was, now = members(read(study)), members(read(study, settings))
    states = [initial_state(of["l2"], layers_of(of["l2"], 10)).parameters for of in (was, now)]
    changed = states[0] != states[1]
    assert changed.sum() == 8 + 10 and not states[1][changed].any()
    assert INITIALIZATIONS["truncated_normal"].unit != INITIALIZATIONS["normal"].unit
