"""What a sweep was made with: kept with its parent run."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("gradsweep", "ray", "torch", "torchvision", "optuna", "mlflow", "numpy")


def versions() -> dict[str, str]:
    """Package -> version, and python's own."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def git_commit() -> str | None:
    """The commit of the checkout that this code runs from, with `-dirty` where it was changed; None without one.

    Code that has travelled to a cluster is told it by GRADSWEEP_COMMIT.
    """
    if told := os.environ.get("GRADSWEEP_COMMIT"):
        return told
    here = Path(__file__).resolve().parent
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"],
            cwd=here,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
        # A checkout of something else that merely has us in its virtual environment says nothing about us.
        subprocess.run(
            ["git", "ls-files", "--error-unmatch", Path(__file__).name],
            cwd=here,
            capture_output=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None
