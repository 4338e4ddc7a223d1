"""Packages that add to gradsweep by entry points, as an installer leaves them in a folder."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Mapping
from pathlib import Path

# One of each kind.
SOURCE = """
import numpy as np

from trainers.activations import Activation
from trainers.data import Images, Source
from trainers.data.dataset import SIDE, Split, assemble
from trainers.initialization import Initialization
from trainers.layers.normalization import Normalization
from trainers.metrics import Metric

swish2 = Activation(lambda z: z * (2 * z).sigmoid(), steepest=1.0998393194985742, monotone=False)
halves = Normalization("half of it", lambda shape: {}, lambda x, parameters, buffers: (x / 2, {}))
signs = Initialization(lambda random, shapes: random.choice([-0.1, 0.1], sum(map(np.prod, shapes))))
largest = Metric("largest parameter", lambda layer: layer.by.library.amax(abs(layer.parameters), -1))
first = Metric("norm of the first layer", lambda layers: layers[0].norms[0])

def load():
    labels = np.arange(60) % 2
    images = np.broadcast_to(labels[:, None, None, None] * 200, (60, 3, SIDE, SIDE)).astype(np.uint8)
    whole = Split(images, labels)
    return assemble("dark", ("dark", "light"), whole.take(np.arange(40)), whole.take(np.arange(40, 60)))

dark = Source(f"{__name__}:load", lambda: Images(36, 4, 20, 2))
"""
ENTRIES = {
    "activations": {"swish2": "swish2"},
    "layers": {"halves": "halves"},
    "initializations": {"signs": "signs"},
    "metrics": {"layer.largest": "largest", "first.norm": "first"},
    "data": {"dark": "dark"},
}


def install(
    folder: Path,
    source: str = SOURCE,
    entries: Mapping[str, Mapping[str, str]] = ENTRIES,
    *,
    name: str = "gradsweep-all",
    version: str = "0.1",
    editable: bool = False,
) -> Path:
    """A package of one module: its code and what an installer notes about it; the folder is to be on the path."""
    module = name.replace("-", "_")
    about = folder / f"{module}-{version}.dist-info"
    for old in folder.glob(f"{module}-*.dist-info"):
        shutil.rmtree(old)
    about.mkdir(parents=True, exist_ok=True)
    (folder / f"{module}.py").write_text(textwrap.dedent(source))
    lines = [
        f"[gradsweep.{g}]\n" + "".join(f"{n} = {module}:{v}\n" for n, v in of.items()) for g, of in entries.items()
    ]
    (about / "entry_points.txt").write_text("\n".join(lines))
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    recorded = [f"__editable__.{module}.pth" if editable else f"{module}.py", f"{about.name}/METADATA"]
    (about / "RECORD").write_text("".join(f"{file},,\n" for file in (*recorded, f"{about.name}/RECORD")))
    return folder
