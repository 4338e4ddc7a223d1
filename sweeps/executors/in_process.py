"""The executor without a cluster: one pack after another, in this process; for tests and for debugging.

The same interface as `sweeps.executors.ray_tune.run`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from sweeps.driver.driver import Driver
from sweeps.driver.packs import train_pack
from sweeps.driver.signals import Interrupt
from sweeps.spec.reading import Resources
from tracking.store import Store
from trainers.errors import DeviceLost, RequestError, SweepStopped


@contextmanager
def opened(resources: Resources, store: Store, interrupt: Interrupt) -> Iterator[None]:
    """Nothing to open. Raises RequestError where there is no GPU and packs ask for one."""
    if resources.gpus:
        from trainers.cuda.memory import first_device

        if first_device() is None:
            raise RequestError(
                f"resources.gpus: a pack needs {resources.gpus:g}, and PyTorch sees no CUDA device here: "
                "--set resources.gpus=0 asks for less"
            )
    yield


def run(driver: Driver, resources: Resources, interrupt: Interrupt, bucket: str | None = None) -> None:
    """Train all packs of the driver; `bucket` is not needed here. Raises Interrupted after a signal.

    Raises SweepStopped where the GPU, and with it this process, can't go on.
    """
    device = "cuda" if resources.gpus else "cpu"
    while (pack := driver.next_pack()) is not None:
        states = driver.states_file(pack.id)
        with closing(train_pack(pack, states, driver.kept, device=device, threads=resources.cpus)) as reports:
            try:
                for report in reports:
                    driver.record(report)
                    interrupt.check()
                    if driver.time_is_up:
                        return
            except DeviceLost as error:
                raise SweepStopped(f"pack {pack.id}: {error}; a resume begins with a new process") from error
