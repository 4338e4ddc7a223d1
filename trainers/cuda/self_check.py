"""Whether `auto` may take the CUDA engine on a device: only after the engine has checked itself there.

Every kernel takes a step or two on a small network with one of everything, for one member per activation, and the
results are held against the reference engine's on the same device. That happens in a process of its own, because an
illegal address would leave the process that met it without its device, and once per model of device, driver, kernels,
PyTorch and Triton: the answer is kept in the cache folder. Where that can't be written the check is made again.

    >>> earned("cuda")      # None, or in a line why `auto` takes the reference engine
    >>> first_difference("cuda")    # the check itself, in this process; python -m trainers.cuda.self_check cuda
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainers.cuda import SUPPORT
from trainers.cuda.engine import CudaEngine
from trainers.data import cache
from trainers.data.dataset import Dataset, Split
from trainers.errors import DataError
from trainers.layers import Convolution, Dense, Layer, Pooling
from trainers.members import MemberConfig
from trainers.reference import ReferenceEngine
from trainers.states import MemberState, initial_state, kept_by

log = logging.getLogger("gradsweep")

# The regimes' kernels: what is constant in them are the sizes of images and of the widest dense layer.
LAYERS: tuple[Layer, ...] = (
    Convolution("conv1"),
    Convolution("conv2", separable=True),
    Pooling("pool1"),
    Convolution("conv3"),
    Pooling("pool2"),
    Convolution("conv4", separable=True),
    Pooling("pool3"),
    Dense("dense1", 8, bias=True),
    Dense("dense2", 8),
    Dense("output", 10, bias=True, activated=False),
)
# Two steps, the second one a replay of the recorded first; of two blocks of images, and of a part of one.
IMAGES, BATCH = 40, 36
# Of the reference's norm. Rounding makes 1e-6 of it, and up to 2e-3 where it decides the winner of a pooling.
LIMIT = 1e-2
SECONDS = 900  # most of them for the compiler
COMMAND = (sys.executable, "-P", "-m", "trainers.cuda.self_check")


@functools.cache
def earned(device: str) -> str | None:
    """None where the engine has passed its check on the device; else the reason, in a line."""
    about = versions(device)
    digest = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:32]
    with contextlib.suppress(ValueError, KeyError, TypeError, DataError):
        return _reason(cache.recall("cuda-self-check", digest) or "")
    log.info("the cuda engine checks itself on %s: a minute or two if its kernels must be compiled", about["name"])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [*COMMAND, device]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=True)
        reason = _reason(done.stdout)
    except (subprocess.SubprocessError, ValueError, KeyError, TypeError) as error:
        # not kept: memory may have been short, or the device another process's own
        lines = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        return f"the cuda engine's check of itself failed on {about['name']}: {''.join(lines[-1:])[:200]}"
    with contextlib.suppress(DataError):
        cache.remember("cuda-self-check", digest, json.dumps(about | {"reason": reason}))
    return reason


def versions(device: str) -> dict[str, str]:
    """What the answer depends on: the model of the device, its driver, PyTorch, Triton, and the kernels' text."""
    import triton

    name, capability, driver = "Triton's interpreter", "", ""
    if torch.device(device).type == "cuda":
        properties = torch.cuda.get_device_properties(torch.device(device))
        name, capability = properties.name, f"{properties.major}.{properties.minor}"
        module = Path("/proc/driver/nvidia/version")
        driver = module.read_text().partition("\n")[0] if module.exists() else ""
    source = hashlib.sha256()
    for file in sorted(Path(__file__).parent.rglob("*.py")):
        source.update(file.read_bytes())
    return {
        "name": name,
        "capability": capability,
        "driver": driver,
        "torch": f"{torch.__version__}, CUDA {torch.version.cuda}",
        "triton": triton.__version__,
        "kernels": source.hexdigest(),
    }


def members(activations: Sequence[str] = SUPPORT.fields["activation"]) -> list[MemberConfig]:
    """One per activation, with the scalings and penalties in turn."""
    return [
        MemberConfig(
            activation=activation,
            scaling=SUPPORT.fields["scaling"][i % 2],
            penalty=SUPPORT.fields["penalty"][i // 2 % 2],
            alpha=1.5,
            r=0.01,
            batch_size=BATCH,
            initialization="glorot_uniform",
            init_scale=2.0,
            seed=i,
        )
        for i, activation in enumerate(activations)
    ]


def dataset(count: int = IMAGES) -> Dataset:
    """Random images."""
    random = np.random.default_rng(0)

    def split(count: int) -> Split:
        return Split(random.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8), random.integers(0, 10, count))

    return Dataset("self-check", tuple("abcdefghij"), split(count), split(1), split(5), digest="")


def first_difference(
    device: str, activations: Sequence[str] = SUPPORT.fields["activation"], images: int = IMAGES
) -> str | None:
    """What the kernels compute otherwise than the reference engine does on the device, in a line; None for nothing."""
    states = [initial_state(m, LAYERS) for m in members(activations)]
    data = dataset(images)
    engines = CudaEngine(LAYERS, data, device, 1), ReferenceEngine(LAYERS, data, device, 1)
    for (what, ours), (_, theirs) in zip(*(_results(e, states) for e in engines), strict=True):
        for state, its, true in zip(states, ours, theirs, strict=True):
            difference = float(np.linalg.norm(its - true) / max(float(np.linalg.norm(true)), 1e-30))
            if not difference <= LIMIT:
                return (
                    f"with {state.member.activation} the cuda engine's {what} differs from the reference engine's "
                    f"by {difference:.1g} of its size on {versions(device)['name']}"
                )
    return None


def _results(
    engine: CudaEngine | ReferenceEngine, states: list[MemberState]
) -> Iterator[tuple[str, list[NDArray[Any]]]]:
    """What each kernel leaves, an array per member."""
    yield "evaluation", [np.array(scores) for scores in engine.evaluate(states, "test")]
    trained = engine.train_epoch(states)
    yield "loss in training", [np.array(scores) for _, *scores in trained]
    for i, what in enumerate(kept_by(states[0].member)):
        yield what.replace("_", " "), [after.kept[i].astype(np.float64) for after, *_ in trained]
    before = [s.parameters.astype(np.float64) for s in states]
    yield "step", [after.parameters - start for (after, *_), start in zip(trained, before, strict=True)]
    probes = engine.probe(states)
    yield "gradient", [probe.gradient.astype(np.float64) for probe in probes]
    yield "count of saturated units", [probe.saturated for probe in probes]
    yield "count of dead units", [probe.dead for probe in probes]


def _reason(answer: str) -> str | None:
    """The reason in the JSON document of the last line; raises ValueError, KeyError or TypeError for anything else."""
    reason: str | None = json.loads(answer.strip().rpartition("\n")[2])["reason"]
    return reason


if __name__ == "__main__":
    print(json.dumps({"reason": first_difference(sys.argv[1])}))
