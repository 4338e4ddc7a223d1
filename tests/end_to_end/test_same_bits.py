"""The records of the shipped studies have the same bits as before the rebuilding.

`tests/data/records.parquet` holds the records of figure-1, figure-2, quickstart, sigmoid-types and penalties as the
code of commit 619125a trained them: two epochs of digits, one seed or two, the portable lane kernels, x86-64. The
kernels' sources fix their bits, but for two things that come from the machine: fused multiply-adds (Arm's portable
kernels use them, x86-64's don't), and the C library's exp, log and pow, whose last bits are its own. Where either
differs the bits may, so the comparison of the bits is skipped, says why, and leaves the judgement to the second test,
whose tolerance holds for any build: it is measured against AVX-512, whose sums have another order. NumPy's part of the
records does not depend on its vector instructions.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trainers.lanes.kernels import builds, chosen
from trainers.members import FIELDS

RECORDS = Path(__file__).parents[1] / "data" / "records.parquet"
TRAIN = """
import json, sys
from trainers.members import MemberConfig
from trainers import train

packs = json.load(sys.stdin)
json.dump([[r.metrics for r in train([MemberConfig(**m) for m in pack])] for pack in packs], sys.stdout)
"""
# exp, log and pow of the C library (glibc 2.36 on a processor with FMA) on which the records were made.
LIBRARY = "a15e525a90629c4658dc6fe3771e73949df4388de5152e6c813e8ac7a5a9d332"
# Where the bits may differ, losses and accuracies are compared, relative to 1 or the loss: all of them before the first
# step, and nine of ten after it, since training in deep saturation amplifies a last bit.
AT_FIRST, LATER = 1e-3, 0.1
LOSSES = ("train.loss", "train.accuracy", "validation.loss", "validation.accuracy", "test.accuracy")


def different() -> str | None:
    """Why this machine's bits may legitimately be others; None where they may not."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return f"the portable kernels of {platform.machine()} use fused multiply-adds"
    values = [f(x) for x in np.random.default_rng(0).uniform(0, 30, 50_000).tolist() for f in (math.exp, math.log)]
    values += [b**k for b in (0.9, 0.999) for k in range(1, 5000)]
    if hashlib.sha256(struct.pack(f"{len(values)}d", *values)).hexdigest() != LIBRARY:
        return "the C library's exp, log and pow have other last bits"
    return None


BEFORE = pd.read_parquet(RECORDS)


def records(build: str) -> pd.DataFrame:
    """The metrics of the stored records' members, trained now: a row each, in the same order."""
    if build not in builds():
        pytest.skip("the lane engine was not compiled")
    fields = [name for name in BEFORE if name in FIELDS]
    packs = [rows for _, rows in BEFORE.groupby(["sweep", "configuration"], sort=False)]
    trained = subprocess.run(
        [sys.executable, "-c", TRAIN],
        input=json.dumps([rows[fields].drop_duplicates().to_dict("records") for rows in packs]),
        env=os.environ | {"GRADSWEEP_LANES": build},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    after = pd.DataFrame([metrics for pack in json.loads(trained.stdout) for metrics in pack])
    # `train` yields epoch by epoch, an export is in the order of seeds.
    after.index = pd.concat([rows.sort_values(["epoch", "seed"]) for rows in packs]).index
    return after.loc[BEFORE.index]


def test_every_metric_to_the_bit() -> None:
    if reason := different():
        pytest.skip(f"{reason}: losses and accuracies are compared by the next test alone")
    after = records("portable")
    metrics = [name for name in BEFORE if "." in name]
    assert len(metrics) > 300 and len(BEFORE) == 84
    assert {*after} >= {*metrics, "seconds"}
    assert [name for name in metrics if BEFORE[name].to_numpy().tobytes() != after[name].to_numpy().tobytes()] == []


def test_losses_and_accuracies_on_any_processor() -> None:
    after = records(chosen())
    difference = (after[[*LOSSES]] - BEFORE[[*LOSSES]]).abs() / BEFORE[[*LOSSES]].abs().clip(lower=1)
    first = BEFORE["epoch"] == 0
    assert (difference[first].max() <= AT_FIRST).all()
    assert (difference[~first].quantile(0.9) <= LATER).all()
