"""What a plan says must be what the books do."""

from __future__ import annotations

from pathlib import Path

import pytest

from search_spaces.search import Search
from sweeps.books import Books
from sweeps.commands.text import duration
from sweeps.planning import pack_size, plan_of, train_images
from sweeps.spec import parse
from tracking.spool import Spool
from trainers.data import load

SPEC = """\
name: planned
base: {{data: "{images}", epochs: 3}}
seeds: [4, 7]
arms:
  a: {{alpha: 1.0}}
  b: {{alpha: 2.0, batch_size: 16}}
  c: {{regime: many-layers, epochs: 5}}
search:
  space: {{alpha: {{low: 0.5, high: 8.0}}}}
  sampler: {{name: random, seed: 0}}
  configurations: 6
resources: {{pack: 4, concurrent: 1}}
"""


def test_the_packs_of_a_plan_are_those_of_the_books(images: str, tmp_path: Path) -> None:
    spec = parse(SPEC.format(images=images))
    plan = plan_of(spec)
    assert (plan.configurations, plan.arms, plan.searched) == (9, 3, 6)
    assert (plan.seeds, plan.members, plan.epochs) == (2, 18, 5)
    search = Search.create("planned", f"sqlite:///{tmp_path}/optuna.db", spec.search_plan(), {})
    spool = Spool.at(tmp_path / "planned.db")
    try:
        books = Books(spec, search, spool, tmp_path / "packs")
        packs = 0
        while books.next_pack():
            packs += 1
    finally:
        spool.close()
        search.close()
    assert plan.packs == packs == 5


def test_more_work_takes_longer_and_gpus_are_not_guessed_at(images: str) -> None:
    text = SPEC.format(images=images)
    short, long, gpu = (
        plan_of(parse(text, settings=[s])).seconds for s in ("base.epochs=10", "base.epochs=10000", "resources.gpus=1")
    )
    assert short is not None and long is not None
    assert long > short
    assert gpu is None


def test_the_number_of_images_is_about_right(images: str) -> None:
    assert train_images("digits") == len(load("digits").train)
    assert abs(train_images(images) - len(load(images).train)) <= 1
    assert train_images("folder:/nowhere") == 0


def test_durations_are_no_more_exact_than_they_are() -> None:
    words = [duration(s) for s in (0.3, 4, 33, 100, 4000, 20000, 400000)]
    assert words == [
        "about 1 s",
        "about 4 s",
        "about 30 s",
        "about 2 min",
        "about 67 min",
        "about 5.6 h",
        "about 4.6 days",
    ]


@pytest.mark.parametrize(
    ("configurations", "pack", "concurrent", "size"), [(2, 8, 2, 1), (10, 8, 2, 5), (60, 8, 2, 8), (5, 8, 1, 5)]
)
def test_no_core_stands_idle_for_want_of_a_pack(configurations: int, pack: int, concurrent: int, size: int) -> None:
    arms = "".join(f"  a{i}: {{alpha: {1 + i}}}\n" for i in range(configurations))
    spec = parse(f"name: few\narms:\n{arms}resources: {{pack: {pack}, concurrent: {concurrent}}}\n", "few")
    assert pack_size(spec) == size
