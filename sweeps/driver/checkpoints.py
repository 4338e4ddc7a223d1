"""The states of a pack in training: a file an epoch, of which the last few are kept.

    >>> checkpoints.save(training.state(), epoch)          # before the epoch is reported
    >>> checkpoints.booked(epoch)                          # the driver has asked for the next one

An epoch's states are saved before its report is sent, so that nothing that is booked has to be trained again: the
worker in place of a lost one is told what is booked, and takes the last file that is not ahead of that. Where this one
is torn there is the one before it, which costs one epoch. Both may be on disk with one that is not booked yet.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from trainers.members import MemberConfig
from trainers.states import States, load_states, save_states

log = logging.getLogger("gradsweep")


class Checkpoints:
    """See the module. `base` is the path that all of a pack's files begin with."""

    def __init__(self, base: Path) -> None:
        self.folder = base.parent
        self._base = base

    def save(self, states: States, epoch: int) -> None:
        """The states after an epoch. Raises OSError (a full disk), and the former files are as they were."""
        save_states(states, self._file(epoch))

    def booked(self, epoch: int) -> None:
        """The driver has booked this epoch: it and its predecessor are kept."""
        for known in self._epochs():
            if known < epoch - 1:
                # A disk that fails is found out by `save`; the driver deletes what is left with its pack.
                with suppress(OSError):
                    self._file(known).unlink()

    def load(self, members: Sequence[MemberConfig], booked: int) -> States:
        """The last whole states of exactly these members, not ahead of what is booked; none: all start anew."""
        for epoch in sorted(self._epochs(), reverse=True):
            if epoch > booked:
                continue
            try:
                known = {s.member: s for s in load_states(self._file(epoch))}
            except (OSError, ValueError) as error:
                log.warning("%s", error)
                continue
            if all(m in known for m in members):
                return tuple(known[m] for m in members)
        return ()

    def _file(self, epoch: int) -> Path:
        return self._base.with_name(f"{self._base.name}.{epoch}")

    def _epochs(self) -> list[int]:
        """Those of which there is a file; one that is being written is called otherwise."""
        endings = (f.name.removeprefix(f"{self._base.name}.") for f in self.folder.glob(f"{self._base.name}.*"))
        return [int(ending) for ending in endings if ending.isdecimal()]
