"""The versions and the commit that a sweep is run with; the ledger and MLflow's parent run keep them."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("gradsweep", "ray", "torch", "torchvision", "optuna", "mlflow", "numpy")


def versions() -> dict[str, str]:
    """Package -> version, Python included."""
    installed = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            installed[package] = "not installed"
    return installed


def git_commit() -> str | None:
    """The commit of the checkout that this code runs from, with `-dirty` if it has changes; None without one.

    On a cluster, where there is no checkout, GRADSWEEP_COMMIT has it.
    """
    if given := os.environ.get("GRADSWEEP_COMMIT"):
        return given
    here = Path(__file__).resolve().parent
    try:
        described = subprocess.run(
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
    return described.stdout.strip() or None
