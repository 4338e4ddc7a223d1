"""One round of delivery: what waits in the outbox, to MLflow. To do a round again does no harm.

Each run is created once: that it will be is noted before, its id after (`tracking.outbox`). Metrics carry the spool's
timestamps, so MLflow takes a repeated one for the same. What is delivered leaves the outbox after MLflow has it.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Mapping, Sequence

from tracking import runs
from tracking.mlflow_api import Tracker
from tracking.outbox import Event, Outbox, Waiting
from tracking.records import write_records
from tracking.runs import RunUpdate
from tracking.spool import SWEEP, Spool, SpooledConfiguration, SpooledEpoch, SweepRun
from tracking.store import Store, scratch
from trainers.errors import Unmendable

log = logging.getLogger("gradsweep")
# So long a running configuration's epochs are collected: those of small networks come many a second.
LINGER = 1_000  # milliseconds


class Courier:
    """See the module. `aside` says what is wrong with the configurations whose runs MLflow refuses."""

    def __init__(self, store: Store, spool: Spool, sweep: SweepRun, tracker: Tracker) -> None:
        self.aside: dict[int, str] = {}
        self._outgoing = store.outgoing(sweep.name)
        self._pictures = store.report(sweep.name)
        self._spool = spool
        self._sweep = sweep
        self._outbox = Outbox(spool)
        self._tracker = tracker
        self._experiment: str | None = None
        self._doubtful = False
        self._parent: str | None = None

    def round(self, all_of_it: bool = False) -> bool:
        """Deliver a part of what waits, and say whether there was any; `all_of_it`: without waiting for more."""
        own = self._outbox.events()
        begin = [e for e in own if e.kind == "begin"]
        if begin or self._parent is None:
            self._begin(begin)
        if chosen := self._choose(all_of_it):
            self._deliver(chosen)
            return True
        finish = [e for e in own if e.kind == "finish"]
        if finish and not self._waiting():
            self._finish(finish)
            return True
        return False

    def _waiting(self) -> list[Waiting]:
        return [w for w in self._outbox.waiting() if w.number not in self.aside]

    def _choose(self, all_of_it: bool) -> list[Waiting]:
        now = time.time_ns() // 1_000_000
        waiting = self._waiting()
        # Ended ones first: all of their epochs go at once. A clock that was put back must keep nobody waiting.
        ended = [w for w in waiting if w.ended]
        others = [w for w in waiting if not w.ended and (all_of_it or abs(now - w.since) > LINGER)]
        return (ended + others)[: self._tracker.at_once]

    def _begin(self, events: Sequence[Event]) -> None:
        """See that the experiment and the sweep's run are there, and say what is known of it."""
        state, known = self._outbox.state(), self._outbox.parent()
        assert state is not None
        if self._experiment is None:
            self._experiment = self._tracker.experiment(self._sweep.name)
        if known.run is None or known.artifacts is None:
            if not known.attempted:
                self._outbox.attempt([SWEEP])
            tags = runs.parent_tags(self._sweep, state)
            run, artifacts = self._run(tags, known.attempted, self._sweep.name, state.begun)
            self._outbox.created([(SWEEP, run, artifacts)])
        else:
            run, artifacts = known.run, known.artifacts
            if events:
                self._tracker.reopen(run)
        if events:
            if self._sweep.spec:
                self._log(artifacts, "spec.yaml", self._sweep.spec)
            params = {key: value[: runs.MOST_IN_PARAM] for key, value in self._sweep.parameters.items()}
            _accepted(self._tracker.write([RunUpdate(run, params=params)]))
            self._outbox.delivered(events)
        self._parent = run

    def _log(self, artifacts: str | None, name: str, text: str) -> None:
        assert artifacts is not None
        with scratch(self._outgoing) as folder:
            file = folder / name
            file.write_text(text, encoding="utf-8")
            self._tracker.log_file(artifacts, file)

    def _index(self) -> str:
        """All configurations with their runs: MLflow takes 20 ms a run to find them, this is one file."""
        places = self._outbox.runs()
        fields = ("number", "arm", "name", "state", "reason")
        return json.dumps(
            [
                {f: getattr(c, f) for f in fields}
                | {"run": places[c.number].run, "artifacts": places[c.number].artifacts}
                for c in self._spool.configurations()
            ]
        )

    def _remove_strays(self, spool: str) -> None:
        """Delete the runs of this spool that came into being after another had been made in their place."""
        assert self._experiment is not None
        known = {self._parent, *(place.run for place in self._outbox.runs().values())}
        strays = [
            run.info.run_id
            for run in self._tracker.runs(self._experiment, {runs.SPOOL_TAG: spool})
            if run.info.run_id not in known
        ]
        for run in strays:
            self._tracker.delete(run)

    def _finish(self, events: Sequence[Event]) -> None:
        state = self._outbox.state()
        assert state is not None and self._parent is not None
        if self._doubtful:
            self._remove_strays(state.id)
        self._log(self._outbox.parent().artifacts, runs.INDEX, self._index())
        tags = {runs.NOTE_TAG: (state.note or "")[: runs.MOST_IN_TAG]}
        update = RunUpdate(self._parent, tags=tags, status=state.status, ended=state.ended)
        _accepted(self._tracker.write([update]))
        self._report()
        self._outbox.delivered(events)

    def _report(self) -> None:
        """The page and the figures, where the driver has left them: the records are complete without."""
        folder, artifacts = self._pictures, self._outbox.parent().artifacts
        if not folder.is_dir() or artifacts is None:
            return
        try:
            self._tracker.log_folder(artifacts, folder)
        except Unmendable as error:
            log.warning("the figures of %s are not in MLflow: %s", self._sweep.name, error)
        shutil.rmtree(folder, ignore_errors=True)

    def _deliver(self, chosen: Sequence[Waiting]) -> None:
        configurations = {w.number: self._spool.configuration(w.number) for w in chosen}
        places = self._places(configurations)
        updates: dict[int, RunUpdate] = {}
        events: list[Event] = []
        room = self._tracker.most_rows
        with scratch(self._outgoing) as folder:
            for number in configurations:
                if room <= 0:
                    break
                run, artifacts = places[number]
                # What they tell of is read after them: it may have ended since it was chosen.
                events_of = self._outbox.events(number)
                configuration, epochs = self._spool.configuration(number), self._spool.epochs(number)
                taken = _fitting(events_of, epochs, room)
                update = updates[number] = _update(run, configuration, taken, epochs)
                events += taken
                room -= sum(s.values.size for s in update.series)
                if update.status is not None:
                    file = write_records(self._sweep.name, configuration, epochs, folder)
                    if file is not None:
                        self._tracker.log_file(artifacts, file)
            wrong = self._tracker.write(list(updates.values()))
        for number, update in updates.items():
            if update.run in wrong:
                self.aside[number] = f"configuration {number}: {wrong[update.run]}"
        self._outbox.delivered(e for e in events if e.number not in self.aside)

    def _places(self, configurations: Mapping[int, SpooledConfiguration]) -> dict[int, tuple[str, str]]:
        """(run id, place of its artifacts) of configurations; runs that are missing are created."""
        state = self._outbox.state()
        assert state is not None and self._parent is not None
        known = {number: run for number, run in self._outbox.runs().items() if number in configurations}
        fresh = [number for number, place in known.items() if place.run is None and not place.attempted]
        if fresh:
            self._outbox.attempt(fresh)
        found: dict[int, tuple[str, str]] = {}
        made: list[tuple[int, str, str]] = []
        try:
            for number, place in known.items():
                if place.run is not None and place.artifacts is not None:
                    found[number] = place.run, place.artifacts
                    continue
                c = configurations[number]
                tags = runs.child_tags(self._sweep.name, state.id, self._parent, c)
                found[number] = self._run(tags, place.attempted, c.name, c.started)
                made.append((number, *found[number]))
        finally:
            if made:
                self._outbox.created(made)
        return found

    def _run(self, tags: Mapping[str, str], attempted: bool, name: str, started: int) -> tuple[str, str]:
        """Create a run; where that was attempted before, look whether it is there."""
        assert self._experiment is not None
        if attempted:
            own = (runs.SPOOL_TAG, runs.KIND_TAG, runs.CONFIGURATION_TAG)
            mine = {key: tags[key] for key in own if key in tags}
            if there := self._tracker.find(self._experiment, mine):
                return there
            # What was asked for then may still be on its way, through a server that takes its time.
            self._doubtful = True
        return self._tracker.create(self._experiment, name, started, tags)


def _fitting(events: list[Event], epochs: Sequence[SpooledEpoch], room: int) -> list[Event]:
    """The events whose metrics fit, one epoch at least; the end goes with the last epoch."""
    size = {e.epoch: 3 * len(e.names) for e in epochs}
    taken: list[Event] = []
    for event in (e for e in events if e.kind == "epoch"):
        if taken and room < size[event.epoch]:
            return [e for e in events if e.kind == "start"] + taken
        room -= size[event.epoch]
        taken.append(event)
    return events


def _update(
    run: str, configuration: SpooledConfiguration, events: Sequence[Event], epochs: Sequence[SpooledEpoch]
) -> RunUpdate:
    kinds = {e.kind for e in events}
    fresh = {e.epoch for e in events if e.kind == "epoch"}
    ended = "end" in kinds
    return RunUpdate(
        run,
        params=runs.params(configuration) if "start" in kinds else {},
        tags=runs.final_tags(configuration) if ended else {},
        series=runs.series([e for e in epochs if e.epoch in fresh]),
        status=runs.STATUS[configuration.state] if ended else None,
        ended=configuration.ended if ended else None,
    )


def _accepted(wrong: Mapping[str, str]) -> None:
    for problem in wrong.values():
        raise Unmendable(f"the sweep's run in MLflow: {problem}")
