"""What a sweep costs besides training: `python -m sweeps.bench_sweep`, or `make bench-sweep`.

Configurations of one member and one step each, packed by 8, through the whole path: the command line, Ray Tune on two
cores, Optuna and MLflow on SQLite, until the last record is delivered. The data are 20 images, so that next to nothing
is training. It prints the seconds in all, the seconds a configuration, and how much more a configuration costs in the
larger sweep.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

SIZES = (200, 2000)
SPEC = """\
name: bench-{size}
base: {{regime: combined, init_scale: 1.0, data: "folder:{images}", epochs: 1, batch_size: 64}}
seeds: 1
search:
  space:
    alpha: {{low: 0.5, high: 8.0, log: true}}
    r: {{low: 1.0e-5, high: 1.0, log: true}}
  sampler: {{name: tpe, seed: 0}}
  configurations: {size}
resources: {{cpus: 1, gpus: 0, pack: 8, concurrent: 2}}
"""


def write_images(root: Path) -> None:
    """Two classes of eight training and two test images."""
    random = np.random.default_rng(0)
    for part, count in (("train", 8), ("test", 2)):
        for name in ("a", "b"):
            folder = root / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = random.integers(0, 256, (32, 32, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")


def seconds(size: int, folder: Path) -> float:
    """How long a sweep of so many configurations takes, from the command to its end."""
    spec = folder / f"{size}.yaml"
    spec.write_text(SPEC.format(size=size, images=folder / "images"))
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "sweeps.cli", "run", str(spec), "--store", str(folder / f"store-{size}")],
        check=True,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"GRADSWEEP_CACHE": str(folder / "cache")},
    )
    return time.perf_counter() - began


def main(sizes: tuple[int, ...]) -> None:
    """Run and print."""
    with tempfile.TemporaryDirectory(prefix="gradsweep-bench-") as name:
        folder = Path(name)
        write_images(folder / "images")
        found = {size: seconds(size, folder) for size in sizes}
    for size, taken in found.items():
        print(f"{size:>6} configurations: {taken:7.1f} s in all, {1000 * taken / size:6.1f} ms each")
    if len(sizes) > 1:
        first, last = sizes[0], sizes[-1]
        ratio = (found[last] / last) / (found[first] / first)
        print(f"a configuration costs {ratio:.2f} times as much in {last} as in {first}")


if __name__ == "__main__":
    main(tuple(map(int, sys.argv[1:])) or SIZES)
