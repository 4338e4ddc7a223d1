"""What goes to a Ray cluster with a sweep: our four packages as they are installed here, its spec and its store file.

So the code that runs there is the code that is here, and the cluster needs our dependencies (our image has them) but
neither a checkout nor our package. The folder is 3 MB with the compiled kernels, which are used where they fit the
cluster's machines.
"""

from __future__ import annotations

import shutil
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

PACKAGES = ("sweeps", "trainers", "search_spaces", "tracking")
SPEC_FILE, STORE_FILE = "spec.yaml", "store.yaml"
NOT_NEEDED = shutil.ignore_patterns("__pycache__", "*.c", "*.h", "*.md")


def fill(folder: Path, spec: str, store: str) -> None:
    """Put all of it into an empty folder; `store` is the text of the store file, "" where there is none."""
    for name in PACKAGES:
        shutil.copytree(str(files(name)), folder / name, ignore=NOT_NEEDED)
    # What importlib.metadata looks for: a sweep notes the version it was run with.
    about = folder / f"gradsweep-{version('gradsweep')}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: gradsweep\nVersion: {version('gradsweep')}\n")
    (folder / SPEC_FILE).write_text(spec, encoding="utf-8")
    if store:
        (folder / STORE_FILE).write_text(store, encoding="utf-8")
