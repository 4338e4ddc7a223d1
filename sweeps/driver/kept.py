"""What `resources: {keep: weights | states}` keeps: one file of states per complete configuration, at its last epoch.

    >>> kept = Kept.of("alpha-r", store)
    >>> kept.numbers()
    {0, 1, 3}
    >>> [state.parameters.shape for state in kept.load(3)]      # one state per seed
    [(1078,), (1078,)]

A file is written before the report that ends its configuration, so whatever the ledger calls complete while the
setting is on has its file: `3.weights.npz`, or `3.states.npz`, from which more epochs can go on. They are in the
store's folder `kept`, or in the bucket that has the checkpoints.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from tracking.store import Store
from trainers.states import MemberState, States, load_states, save_states

ENDING = ".npz"


@dataclass(frozen=True)
class Kept:
    """The kept states of one sweep; plain data that pickles.

    They are in `bucket` if there is one, else in `folder`. `keep` is the setting: what `save` keeps.
    """

    folder: Path
    bucket: str | None = None
    keep: Literal["weights", "states"] | None = None

    @classmethod
    def of(cls, sweep: str, store: Store, keep: Literal["weights", "states"] | None = None) -> Kept:
        """Those of a sweep."""
        # No sweep has a dot in its name, so this is no sweep's folder of checkpoints.
        bucket = f"{store.checkpoints.rstrip('/')}/{sweep}.kept" if store.checkpoints else None
        return cls(store.kept(sweep), bucket, keep)

    @property
    def place(self) -> str:
        """Where they are."""
        return self.bucket or str(self.folder)

    def save(self, number: int, states: Sequence[MemberState]) -> None:
        """Write the states of a configuration's members, whole or not at all. Raises OSError, as for a full disk."""
        if self.keep == "weights":
            states = [replace(state, kept=()) for state in states]
        name = f"{number}.{self.keep}{ENDING}"
        if self.bucket is None:
            save_states(states, self.folder / name)
            return
        from sweeps.driver.bucket import Bucket, patient

        with tempfile.TemporaryDirectory(prefix="gradsweep-kept-") as folder:
            file = Path(folder) / name
            save_states(states, file)
            patient(Bucket(self.bucket).put)(name, file.read_bytes())

    def load(self, number: int) -> States:
        """The states of a configuration's members. Raises FileNotFoundError, OSError, ValueError for a torn file."""
        name = f"{number}.{'states' if self.has_states(number) else 'weights'}{ENDING}"
        if self.bucket is None:
            return load_states(self.folder / name)
        from sweeps.driver.bucket import Bucket

        with tempfile.TemporaryDirectory(prefix="gradsweep-kept-") as folder:
            file = Path(folder) / name
            file.write_bytes(Bucket(self.bucket).read(name))
            return load_states(file)

    def has_states(self, number: int) -> bool:
        """Whether more epochs of a configuration can go on from here. Raises OSError."""
        name = f"{number}.states{ENDING}"
        if self.bucket is None:
            return (self.folder / name).is_file()
        from sweeps.driver.bucket import Bucket

        return Bucket(self.bucket).has(name)

    def numbers(self) -> set[int]:
        """The configurations that have a file. Raises OSError."""
        if self.bucket is None:
            names = {file.name for file in self.folder.glob(f"*{ENDING}")}
        else:
            from sweeps.driver.bucket import Bucket

            names = Bucket(self.bucket).names()
        return {int(number) for name in names if (number := name.partition(".")[0]).isdecimal()}
