"""What `resources: {keep: weights | states}` keeps: one file of states per complete configuration, at its last epoch.

    >>> kept = Kept.of("alpha-r", store)
    >>> kept.numbers()
    {0, 1, 3}
    >>> [state.parameters.shape for state in kept.load(3)]      # one state per seed
    [(1078,), (1078,)]

A file is written before the report that ends its configuration, so whatever the ledger calls complete while the
setting is on has its file. They are in the store's folder `kept`, or in the bucket that has the checkpoints.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tracking.store import Store
from trainers.states import MemberState, States, load_states, save_states


@dataclass(frozen=True)
class Kept:
    """The kept states of one sweep; plain data that pickles.

    They are in `bucket` if there is one, else in `folder`; `optimizer` says whether what the optimizer keeps is to be
    saved as well.
    """

    folder: Path
    bucket: str | None = None
    optimizer: bool = False

    @classmethod
    def of(cls, sweep: str, store: Store, keep: str | None = None) -> Kept:
        """Those of a sweep; `keep` is the setting."""
        # No sweep has a dot in its name, so this is no sweep's folder of checkpoints.
        bucket = f"{store.checkpoints.rstrip('/')}/{sweep}.kept" if store.checkpoints else None
        return cls(store.kept(sweep), bucket, keep == "states")

    @property
    def place(self) -> str:
        """Where they are."""
        return self.bucket or str(self.folder)

    def save(self, number: int, states: Sequence[MemberState]) -> None:
        """Write the states of a configuration's members, whole or not at all. Raises OSError, as for a full disk."""
        if not self.optimizer:
            states = [replace(state, kept=()) for state in states]
        if self.bucket is None:
            save_states(states, self._file(self.folder, number))
            return
        from sweeps.driver.bucket import Bucket, patient

        with tempfile.TemporaryDirectory(prefix="gradsweep-kept-") as folder:
            file = self._file(Path(folder), number)
            save_states(states, file)
            patient(Bucket(self.bucket).put)(file.name, file.read_bytes())

    def load(self, number: int) -> States:
        """The states of a configuration's members. Raises FileNotFoundError, OSError, ValueError for a torn file."""
        if self.bucket is None:
            return load_states(self._file(self.folder, number))
        from sweeps.driver.bucket import Bucket

        with tempfile.TemporaryDirectory(prefix="gradsweep-kept-") as folder:
            file = self._file(Path(folder), number)
            Bucket(self.bucket).get(file.name, file.parent)
            return load_states(file)

    def numbers(self) -> set[int]:
        """The configurations that have a file. Raises OSError."""
        if self.bucket is None:
            names = {file.name for file in self.folder.glob("*.npz")}
        else:
            from sweeps.driver.bucket import Bucket

            names = Bucket(self.bucket).names()
        return {int(name.removesuffix(".npz")) for name in names if name.removesuffix(".npz").isdecimal()}

    @staticmethod
    def _file(folder: Path, number: int) -> Path:
        return folder / f"{number}.npz"
