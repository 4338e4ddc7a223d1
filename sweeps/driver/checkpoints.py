"""The states of a pack in training: one file per epoch, of which the last few are kept.

    >>> checkpoints.save(training.state(), epoch)          # before the epoch is reported
    >>> checkpoints.recorded(epoch)                        # the driver has asked for the next one

An epoch's states are saved before its report is sent, so nothing that is recorded has to be trained again: the worker
that replaces a lost one knows what is recorded, and takes the last file that is not ahead of that. If it is torn, the
one before it costs one epoch. Both may be on disk with a third that is not recorded yet.
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
    """See the module. The names of all of a pack's files begin with `base`."""

    def __init__(self, base: Path) -> None:
        self.folder = base.parent
        self._base = base

    def save(self, states: States, epoch: int) -> None:
        """Save the states after an epoch. Raises OSError (a full disk); the other files are then as before."""
        save_states(states, self._base.with_name(f"{self._base.name}.{epoch}"))

    def recorded(self, epoch: int) -> None:
        """The driver has recorded this epoch: delete all files but this and its predecessor's."""
        for known, file in self._files():
            if known < epoch - 1:
                # `save` notices a disk that fails; the driver deletes what is left with its pack.
                with suppress(OSError):
                    file.unlink()

    def load(self, members: Sequence[MemberConfig], recorded: int) -> States:
        """The last whole states of these members, not ahead of what is recorded; empty if none fit."""
        for epoch, file in sorted(self._files(), reverse=True):
            if epoch > recorded:
                continue
            try:
                known = {s.member: s for s in load_states(file)}
            except (OSError, ValueError) as error:
                log.warning("%s", error)
                continue
            if all(m in known for m in members):
                return tuple(known[m] for m in members)
        return ()

    def _files(self) -> list[tuple[int, Path]]:
        """The files by their epochs; one that is still being written has another name."""
        files = self.folder.glob(f"{self._base.name}.*")
        return [(int(file.suffix[1:]), file) for file in files if file.suffix[1:].isdecimal()]
