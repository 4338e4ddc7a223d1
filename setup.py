"""Compiles the lane kernels (trainers/lanes/README.md), a shared library for each instruction set.

Their tables are Python's (trainers/lanes/tables.py), written into a header before anything is compiled.

They speed training up and nothing needs them: where they can't be compiled the installation goes on without. All else
about the package is in pyproject.toml.
"""

import platform
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

sys.path.insert(0, str(Path(__file__).parent))  # a build in isolation has not got it there
from trainers.lanes.tables import header  # noqa: E402

FOLDER = Path("trainers/lanes")
# No contraction, no reordering: the sources alone decide a build's bits.
FLAGS = ["-std=gnu11", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fvisibility=hidden"]
FLAGS += ["-pthread", "-Wno-psabi"]
INSTRUCTION_SETS = {"portable": []}
if platform.machine().lower() in ("x86_64", "amd64"):
    INSTRUCTION_SETS["avx2"] = ["-mavx2", "-mfma"]
    INSTRUCTION_SETS["avx512"] = ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mavx2", "-mfma"]


class BuildLanes(build_ext):
    """Compiles each library in a folder of its own, and says in one line what is lost where that fails."""

    def build_extension(self, extension):
        folder = self.build_temp
        tables = Path(folder) / "tables.h"
        tables.parent.mkdir(parents=True, exist_ok=True)
        if not tables.exists() or tables.read_text() != header():
            tables.write_text(header())
        extension.include_dirs.append(folder)
        extension.depends.append(str(tables))
        self.build_temp = str(Path(folder) / extension.name)  # the same sources again, for other instructions
        try:
            super().build_extension(extension)
        except Exception:
            print(
                f"gradsweep: {extension.name} can't be compiled here: training on the CPU will be slower",
                file=sys.stderr,
            )
            raise  # the extension is optional: setuptools goes on
        finally:
            self.build_temp = folder

    def get_export_symbols(self, extension):
        return []  # ctypes opens it: it has no Python module's entry point


setup(
    ext_modules=[
        Extension(
            f"trainers.lanes._{name}",
            sources=sorted(str(path) for path in FOLDER.glob("*.c")),
            depends=sorted(str(path) for path in FOLDER.glob("*.h")),
            extra_compile_args=FLAGS + flags,
            extra_link_args=["-pthread"],
            libraries=["m"],
            optional=True,
        )
        for name, flags in INSTRUCTION_SETS.items()
    ],
    cmdclass={"build_ext": BuildLanes},
)
