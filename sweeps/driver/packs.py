"""The worker's side of a sweep: a pack of configurations in, one report per epoch out.

A pack trains several configurations times all of their seeds as one array of members. They do not affect each other: a
pruned, diverged or completed configuration leaves the array, and the others continue. This module knows neither Ray nor
databases nor MLflow, so a worker needs no credentials and a test no cluster.

    >>> for report in train_pack(pack):
    ...     driver.record(report)          # sweeps.driver.driver

The states of an epoch are saved before its report, and the worker that replaces a lost one continues from what is
recorded (`sweeps.driver.checkpoints`): a lost worker costs the epoch that it was in.
"""

from __future__ import annotations

import logging
import math
import platform
import traceback
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from search_spaces.plan import History, Settings
from sweeps.driver.checkpoints import Checkpoints
from sweeps.driver.kept import Kept
from trainers import plugins
from trainers.errors import DeviceLost, GradsweepError, PluginError, one_line
from trainers.members import EpochRecord, MemberConfig
from trainers.objectives import Objective

if TYPE_CHECKING:
    from search_spaces.pruners import Judge
    from trainers.states import States

log = logging.getLogger("gradsweep")


Metrics = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class PackedConfiguration:
    """One configuration of a pack: its members, one per seed, and what has been recorded of it.

    `past` is the first objective by epoch, as far as the driver knows it; empty for a new one. `courses` are the
    metrics of the objectives by epoch, one row per objective and one number per seed; empty where only the last epoch
    counts. `before` is the configuration from whose kept states it goes on, where it trains more epochs of that.
    """

    number: int
    members: tuple[MemberConfig, ...]
    past: Mapping[int, float] = field(default_factory=dict)
    courses: Mapping[int, Metrics] = field(default_factory=dict)
    before: int | None = None


@dataclass(frozen=True)
class Pack:
    """What one Ray Tune trial trains; plain data that pickles.

    The first of the `objectives` is what `pruner` judges, on a scale of `epochs`, against the `history` of all others.
    `digest` is that of the data, where it is known; `packages` are those of `trainers.plugins.packages`, likewise.
    """

    id: str
    configurations: tuple[PackedConfiguration, ...]
    objectives: tuple[Objective, ...]
    epochs: int = 1
    pruner: Settings | None = None
    history: History = field(default_factory=History)
    digest: str = ""
    packages: Mapping[str, str] | None = None


@dataclass(frozen=True)
class End:
    """How a configuration ended, and why: complete | pruned | diverged | failed.

    `values` are its objectives, None for one that diverged or failed. `traceback` is that of a
    programming error, else "".
    """

    state: str
    values: tuple[float, ...] | None = None
    reason: str = ""
    pruner_attributes: Mapping[str, float] = field(default_factory=dict)
    traceback: str = ""


@dataclass(frozen=True)
class PackReport:
    """One epoch of a pack: its configurations' records, first objectives and ends, by their numbers.

    `stop`, if not empty, is why the sweep can't continue here: the configurations are left as they were.
    """

    pack: str
    epoch: int
    records: Mapping[int, tuple[EpochRecord, ...]]
    ended: Mapping[int, End]
    last: bool
    stop: str = ""
    values: Mapping[int, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"PackReport({self.pack!r}, epoch={self.epoch})"


def train_pack(
    pack: Pack, states: Path | None = None, kept: Kept | None = None, *, device: str = "cpu", threads: int = 1
) -> Generator[PackReport]:
    """Train a pack to its end and yield one report per epoch; epoch 0 is the state before the first step.

    The names of the files in which the states are saved after every epoch but the last begin with `states`; a former
    worker may have left some. The last states of a complete configuration go to `kept` before its report. If states
    can't be saved, the last report says `stop`. An error in the training ends the remaining configurations as failed,
    in a last report. Raises DeviceLost and ImportError: any pack would fail here.
    """
    if not pack.configurations:
        # The worker before was lost after its last report.
        yield PackReport(pack.id, 0, {}, {}, last=True)
        return
    epoch, left = 0, {c.number for c in pack.configurations}
    try:
        for report in _train(pack, states, kept, device, threads):
            epoch = report.epoch
            left -= report.ended.keys()
            yield report
    except ImportError:
        raise
    except PluginError as error:
        yield PackReport(pack.id, epoch, {}, {}, last=True, stop=f"{platform.node()}: {error}")
    except Exception as error:
        if device != "cpu":
            from trainers.cuda.memory import failure

            if lost := failure():
                raise DeviceLost(f"the GPU takes no more work: {one_line(lost)}") from error
        log.warning("pack %s: %s", pack.id, one_line(error))
        log.debug("pack %s", pack.id, exc_info=True)
        trace = "" if isinstance(error, GradsweepError) else traceback.format_exc()
        failed = End("failed", reason=one_line(error), traceback=trace)
        yield PackReport(pack.id, epoch, {}, dict.fromkeys(sorted(left), failed), last=True)


def other_data(data: str, began: str, now: str) -> str:
    """One line: the data of a sweep have changed."""
    return f"{data} is not the data that the sweep was started with: its sha256 was {began[:12]} and is {now[:12]} here"


class Judged:
    """A configuration's objectives so far: what counts of each seed's course, epoch by epoch."""

    def __init__(self, objectives: Sequence[Objective], courses: Mapping[int, Metrics] = {}) -> None:
        self._objectives = objectives
        self._counted: list[list[dict[int, float]]] = []
        for epoch, metrics in sorted(courses.items()):
            self._add(epoch, metrics)

    def after(self, records: Sequence[EpochRecord]) -> tuple[float, ...]:
        """The objectives after one more epoch, whose records there are one of per seed: means over the seeds."""
        self._add(records[0].epoch, metrics_of(records, self._objectives))
        seeds = [[o.value(c) for c in courses] for o, courses in zip(self._objectives, self._counted, strict=True)]
        return tuple(math.fsum(values) / len(values) for values in seeds)

    def _add(self, epoch: int, metrics: Metrics) -> None:
        before = self._counted or [[{} for _ in seeds] for seeds in metrics]
        self._counted = [
            [o.counted(course | {epoch: value}) for course, value in zip(courses, seeds, strict=True)]
            for o, courses, seeds in zip(self._objectives, before, metrics, strict=True)
        ]


def metrics_of(records: Sequence[EpochRecord], objectives: Sequence[Objective]) -> Metrics:
    """What the objectives are about, of one epoch: one row per objective, one number per seed."""
    return tuple(tuple(r.metrics[o.metric] for r in records) for o in objectives)


def _train(pack: Pack, file: Path | None, kept: Kept | None, device: str, threads: int) -> Iterator[PackReport]:
    # The driver imports this module for its types; only a worker needs PyTorch.
    from trainers.data import load
    from trainers.training import train

    if pack.packages is not None and (why := plugins.difference(pack.packages)):
        yield PackReport(pack.id, 0, {}, {}, last=True, stop=f"{platform.node()}: {why}")
        return
    data = pack.configurations[0].members[0].data
    if pack.digest and (digest := load(data).digest) != pack.digest:
        why = f"{platform.node()}: {other_data(data, pack.digest, digest)}"
        yield PackReport(pack.id, 0, {}, {}, last=True, stop=why)
        return
    living = {c.number: c for c in pack.configurations}
    checkpoints = Checkpoints(file) if file else None
    recorded = min(max(c.past, default=0) for c in living.values())
    resume = checkpoints.load(_members(living), recorded) if checkpoints else ()
    try:
        resume = resume or _extended(living, kept)
    except (OSError, ValueError) as error:
        why = f"{platform.node()}: the states from which more epochs go on can't be read: {error}"
        yield PackReport(pack.id, 0, {}, {}, last=True, stop=why)
        return
    known = resume[0].epoch if resume else -1
    judge = _judge(pack, max(known, 0))
    judged = {
        number: Judged(pack.objectives, {epoch: past for epoch, past in c.courses.items() if epoch <= known})
        for number, c in living.items()
    }
    training = train(_members(living), resume, device=device, threads=threads)
    while living:
        # Not one more: that would train the epoch after.
        next_epoch = [next(training) for _ in _members(living)]
        of, epoch = {r.member: r for r in next_epoch}, next_epoch[0].epoch
        records = {number: tuple(of[m] for m in c.members) for number, c in living.items()}
        values = {number: judged[number].after(rs) for number, rs in records.items()}
        ended = {n: end for n, rs in records.items() if (end := end_of(pack, judge, n, rs, values[n]))}
        # Before they leave the array.
        last = {s.member: s for s in training.state()} if kept and kept.keep and ended else {}
        gone = {number: living.pop(number).members for number in ended}
        training.drop(*{m for members in gone.values() for m in members}.difference(_members(living)))
        place = ""
        try:
            for number, end in ended.items():
                if kept and kept.keep and end.state == "complete":
                    place = kept.place
                    kept.save(number, [last[m] for m in gone[number]])
            if living and checkpoints and epoch > 0:
                place = str(checkpoints.folder)
                checkpoints.save(training.state(), epoch)
        except OSError as error:
            # Further training would be lost with the worker, and the records may need the same disk.
            why = f"can't save the states of pack {pack.id} in {place}: {error.strerror or error}"
            yield PackReport(pack.id, epoch, {}, {}, last=True, stop=why)
            return
        first = {number: value[0] for number, value in values.items()}
        yield PackReport(pack.id, epoch, records, ended, last=not living, values=first)
        if checkpoints and living:
            checkpoints.recorded(epoch)


def _extended(living: Mapping[int, PackedConfiguration], kept: Kept | None) -> States:
    """The states from which members go on that are trained for more epochs; empty where they are new.

    Raises OSError and ValueError for a file that is lost or torn.
    """
    going_on = []
    for c in living.values():
        if kept and c.before is not None:
            by_seed = {state.member.seed: state for state in kept.load(c.before)}
            going_on += [replace(by_seed[member.seed], member=member) for member in c.members]
    return tuple(going_on)


def _members(living: Mapping[int, PackedConfiguration]) -> list[MemberConfig]:
    """Each member once: an arm and a suggestion may be the same configuration, and share their members."""
    return list(dict.fromkeys(m for c in living.values() for m in c.members))


def end_of(
    pack: Pack, judge: Judge | None, number: int, records: tuple[EpochRecord, ...], values: tuple[float, ...]
) -> End | None:
    """Whether, and how, a configuration ends with these records of one epoch, one per seed, and these objectives."""
    epoch, epochs = records[0].epoch, records[0].member.epochs
    if any(r.diverged for r in records):
        seeds = ", ".join(str(r.member.seed) for r in records if r.diverged)
        return End("diverged", reason=f"the loss is not finite at epoch {epoch} (seed {seeds})")
    pruned = judge is not None and judge.prune(number, epoch, values[0])
    attributes = judge.attributes(number) if judge else {}
    if epoch >= epochs:
        for objective, value in zip(pack.objectives, values, strict=True):
            if not math.isfinite(value):
                return End("failed", reason=f"{objective.name} is {value} at the last epoch, {epoch}")
        return End("complete", values, pruner_attributes=attributes)
    if pruned:
        return End("pruned", values, f"pruned at epoch {epoch} of {epochs}", attributes)
    return None


def _judge(pack: Pack, epoch: int) -> Judge | None:
    """The pruner, with what it knew of this pack after `epoch`, where a former worker was lost."""
    if pack.pruner is None:
        return None
    # Optuna is imported by workers that prune, and by no others.
    from search_spaces.pruners import Judge

    numbers = [c.number for c in pack.configurations]
    judge = Judge(pack.pruner, pack.objectives[0].direction, pack.epochs, pack.history, numbers)
    for past in range(epoch + 1):
        for c in pack.configurations:
            if past in c.past:
                judge.replay(c.number, past, c.past[past])
    return judge
