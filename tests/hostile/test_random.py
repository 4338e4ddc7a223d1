"""Laws over random documents: whatever is in a spec or a setting, it is read, or refused in lines; nothing else."""

from __future__ import annotations

import contextlib
import io
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sweeps.cli import _status
from sweeps.spec.reading import SweepSpec, parse, read
from tests.hostile.command import SPEC
from trainers.errors import SpecError
from trainers.members import FIELDS

pytestmark = pytest.mark.timeout(600)

KEYS = st.sampled_from(
    [*SweepSpec.model_fields, *FIELDS, *("space", "sampler", "pruner", "low", "high", "log", "metric")]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["tpe", "grid", "combined", "tanh", "digits", "folder:x", "auto", "../x", "$(x)", "maximize"])
)
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=8), inner, max_size=6),
    max_leaves=30,
)
WHOLE = """\
name: x
question: why
base: {regime: combined, activation: tanh, data: digits, epochs: 3, batch_size: 32, learning_rate: 1e-3}
seeds: [1, 2]
arms: {plain: {alpha: 1.0, r: 0.0}, paper: {alpha: 2.0, r: 0.01}}
search:
  space: {alpha: {low: 0.5, high: 8.0, log: true}, activation: [tanh, relu]}
  sampler: {name: tpe, seed: 0}
  configurations: 4
  pruner: {name: asha, reduction: 3, min_epochs: 1}
objective: {metric: validation.accuracy, goal: maximize}
claim: paper
resources: {cpus: 1, gpus: 0, pack: 8, concurrent: auto}
"""


def read_or_refused(make: Callable[[], SweepSpec]) -> None:
    """A spec that can run, or lines that say why not."""
    try:
        spec = make()
    except SpecError as error:
        assert 1 <= len(error.problems) <= 21
        assert all("\n" not in problem and len(problem) < 2000 for problem in error.problems)
        return
    assert parse(spec.to_yaml()) == spec
    assert spec.search_plan().total >= 1


@pytest.mark.inputs("Specs: random documents", outcome="read, or refused in lines; nothing else is raised")
@settings(max_examples=60)
@given(DOCUMENTS)
def test_random_documents(document: Any) -> None:
    read_or_refused(lambda: parse(yaml.safe_dump(document, allow_unicode=True)))


@pytest.mark.inputs("Specs: a sound one with one random entry", outcome="read, or refused in lines")
@settings(max_examples=60)
@given(st.data())
def test_one_random_entry(data: st.DataObject) -> None:
    document = yaml.safe_load(WHOLE)
    place = document
    while True:
        key = data.draw(st.sampled_from(list(place) if isinstance(place, dict) else list(range(len(place)))))
        if not place[key] or not isinstance(place[key], dict | list) or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(DOCUMENTS)
    read_or_refused(lambda: parse(yaml.safe_dump(document, allow_unicode=True)))


@pytest.mark.inputs(
    "Specs: a sound one with characters taken away, put in, doubled", outcome="read, or refused in lines"
)
@settings(max_examples=60)
@given(st.integers(0, len(WHOLE)), st.integers(0, 40), st.text(string.printable + "\0é\u2028\ufeff", max_size=12))
def test_mutilated_text(at: int, length: int, put: str) -> None:
    read_or_refused(lambda: parse(WHOLE[:at] + put + WHOLE[at + length :]))


@pytest.mark.inputs("Specs: random bytes", outcome="read, or refused in lines")
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.integers(0, len(SPEC)))
def test_random_bytes(tmp_path: Path, noise: bytes, cut: int) -> None:
    file = tmp_path / "s.yaml"
    file.write_bytes(SPEC[:cut].encode() + noise)
    read_or_refused(lambda: read(file))


@pytest.mark.inputs("--set: random keys and values", outcome="read, or refused in lines")
@settings(max_examples=60)
@given(
    st.lists(st.text(max_size=20) | st.tuples(KEYS, KEYS, st.text(max_size=10)).map(lambda t: f"{t[0]}.{t[1]}={t[2]}"))
)
def test_random_settings(given_: list[str]) -> None:
    read_or_refused(lambda: parse(WHOLE, "spec", given_))


@pytest.mark.inputs(
    "Command lines of random words", outcome="exit status 0 or 2, the latter with lines that a terminal only shows"
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["plan", "status", "report", "studies", "regimes", "export", "list"]),
    st.lists(st.text(max_size=12) | st.sampled_from(["--json", "--set", "--store", "--", "-h", "x.csv"]), max_size=4),
)
def test_random_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, words: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = _status([command, *words])
    assert status in (0, 2), err.getvalue()
    assert all(line.isprintable() for line in err.getvalue().split("\n"))
    assert not list(tmp_path.iterdir())
