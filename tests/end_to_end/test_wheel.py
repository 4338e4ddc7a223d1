"""The wheel, installed where there is no checkout: what it needs is in it, and it runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("sweeps", "tracking", "trainers", "search_spaces")
THIS = f"{sys.version_info.major}.{sys.version_info.minor}"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def called(*words: str | Path, folder: Path, **environment: str) -> str:
    """What a command prints."""
    kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "GRADSWEEP_STORE")}
    done = subprocess.run(words, cwd=folder, env=kept | environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is in the checkout, without what has been built there."""
    folder = tmp_path_factory.mktemp("source")
    for name in (*ROOMS, "pyproject.toml", "setup.py", "README.md"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
        else:
            shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with setuptools alone, which any Python can run."""
    setuptools = pytest.importorskip("setuptools", minversion="77")
    site, folder = Path(setuptools.__file__).parents[1], tmp_path_factory.mktemp("tools")
    for part in [site / "setuptools", site / "_distutils_hack", *site.glob("setuptools-*.dist-info")]:
        (folder / part.name).symlink_to(part)
    return str(folder)


def installed(python: str, source: Path, tools: str, folder: Path, *, compiler: str | None = None) -> Path:
    """A wheel built by this Python in an environment of its own, nothing else in it: the environment."""
    settings = {"PYTHONPATH": tools} | ({"CC": compiler} if compiler else {})
    words = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    called(python, *words, str(source), folder=folder, **settings)
    (wheel,) = folder.glob("gradsweep-*.whl")
    with zipfile.ZipFile(wheel) as content:
        names = content.namelist()
    assert {f"{room}/py.typed" for room in ROOMS} < set(names)
    assert "sweeps/studies/quickstart.yaml" in names and "tracking/report/page.html" in names
    assert {f"tracking/report/vendor/{library}/LICENSE" for library in ("plotly", "tablesort")} < set(names)
    assert "tracking/report/vendor/plotly/plotly-cartesian.min.js" in names and "tracking/report/page.js" in names
    assert not [name for name in names if name.split("/")[0] in ("tests", "docs", "k8s")]
    called(python, "-m", "venv", str(folder / "environment"), folder=folder)
    environment = folder / "environment"
    called(environment / "bin/python", "-m", "pip", "install", "--quiet", "--no-deps", str(wheel), folder=folder)
    return environment


def test_the_wheel_runs_without_the_checkout(source: Path, tools: str, tmp_path: Path) -> None:
    environment = installed(sys.executable, source, tools, tmp_path)
    # The dependencies of this environment; the project itself, which may be here too, is found in the new one first.
    site = Path(sysconfig.get_path("purelib", vars={"base": str(environment)}))
    (site / "dependencies.pth").write_text("\n".join(p for p in sys.path if p.endswith("site-packages")))
    here = tmp_path / "elsewhere"
    here.mkdir()
    gradsweep = environment / "bin/gradsweep"
    where = called(environment / "bin/python", "-c", "import sweeps; print(sweeps.__file__)", folder=here)
    assert Path(where.strip()).is_relative_to(environment)
    assert called(gradsweep, "--version", folder=here).startswith("gradsweep ")
    assert "quickstart" in called(gradsweep, "studies", folder=here)
    changes = ["base.epochs=1", "seeds=2", "search=null"]
    words = ["run", "quickstart", "--executor", "in-process", "--json", *(w for c in changes for w in ("--set", c))]
    assert json.loads(called(gradsweep, *words, folder=here))["counts"]["complete"] == 2
    if shutil.which("cc"):
        fast = "from trainers.lanes import available; print(available())"
        assert called(environment / "bin/python", "-c", fast, folder=here).strip() in ("portable", "avx2", "avx512")


def python_of(version: str) -> str:
    """The interpreter of a version, on the path or among pyenv's; a skip where there is none."""
    root = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    for python in (shutil.which(f"python{version}"), *map(str, root.glob(f"versions/{version}.*/bin/python"))):
        if python and subprocess.run([python, "-c", ""], capture_output=True).returncode == 0:
            return python
    pytest.skip(f"there is no Python {version} here")


@pytest.mark.parametrize("version", [v for v in ("3.11", "3.12", "3.13") if v != THIS])
def test_the_wheel_is_for_other_pythons_too(version: str, source: Path, tools: str, tmp_path: Path) -> None:
    """Without a compiler, with which it installs as well, and without its dependencies: what can be told so."""
    environment = installed(python_of(version), source, tools, tmp_path, compiler="/bin/false")
    code = "import compileall, sweeps, tracking, trainers, search_spaces, trainers.errors, trainers.members, sys;"
    code += "sys.exit(not all(compileall.compile_dir(m.__path__[0], quiet=1, force=True) for m in "
    code += "(sweeps, tracking, trainers, search_spaces)))"
    called(environment / "bin/python", "-W", "error", "-c", code, folder=tmp_path)
