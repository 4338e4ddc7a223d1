"""A space of a few points, suggested again and again: ranks, verdict, figures and status count what is distinct."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sweeps.cli import _status

SPEC = """\
name: few
base: {{init_scale: 1.0, data: "{images}", epochs: 1, batch_size: 8}}
seeds: 6
arms:
  plain: {{alpha: 1.0, r: 0.0}}
  paper: {{alpha: 2.0, r: 0.01}}
search:
  space: {{alpha: [1.0, 2.0], r: [0.0, 0.01]}}
  sampler: {{name: random, seed: 0}}
  configurations: 12
claims:
  - {{as_good: paper, as: best, margin: 0.01}}
  - {{better: best, than: paper, by: 0.001}}
"""


def test_of_many_suggestions_the_distinct_ones_count(
    images: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("few.yaml").write_text(SPEC.format(images=images))
    assert _status(["run", "few.yaml", "--executor", "in-process"]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines()[:-1])) <= 80
    assert _status(["report", "few", "--json"]) == 0
    verdict = json.loads(capsys.readouterr().out)
    ranking = verdict["objectives"][0]["ranking"]
    assert len(ranking) == verdict["total"] - verdict["copies"] == 4
    assert f"few: {verdict['total']} configurations, 4 distinct (" in shown
    assert len({s["name"] for s in ranking}) == 4
    as_good, better = verdict["claims"]
    assert as_good["candidates"] == better["candidates"] == 3
    rivals = {s["name"] for s in ranking} - {"paper"}
    for claim, rival in ((as_good, as_good["comparison"]["other"]), (better, better["comparison"]["one"])):
        assert claim["best"] in rivals and rival in rivals
        assert f"Of 3 comparisons, that with `{rival}` " in claim["sentence"]
    assert _status(["status", "few", "--json"]) == 0
    best = json.loads(capsys.readouterr().out)["best"]
    assert best["name"] == verdict["objectives"][0]["best"]["name"]
