# SPDX-License-Identifier: GPL-2.0-or-later
"""One simulation: a scenario's image, its engine, and the stops at which it is measured, sampled or changed."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from softnet.errors import SoftnetError
from softnet.image import readout
from softnet.image.boot import boot
from softnet.image.changes import apply_change
from softnet.image.image import Image, Wiring, list_of_words
from softnet.image.plan import Plan
from softnet.lang.python.stop import KernelStop
from softnet.machine.costtable import CostTable
from softnet.scenario import Change, Scenario, changes
from softnet.simulate import native
from softnet.simulate.arrivals import arrival_blocks, arrival_rows
from softnet.simulate.measure import Baseline, Sampler, collect_result
from softnet.simulate.program import load_program, scenario_costs
from softnet.simulate.recorder import WARN_EVENT, Recorder, trace_mask
from softnet.simulate.result import Result, Trace
from softnet.trace import EVENT_ID, Record

if TYPE_CHECKING:
    from typing import Protocol

    import numpy as np
    from numpy.typing import NDArray

    from softnet.lang.program.program import Program
    from softnet.simulate.invariants import Invariants

    class Engine(Protocol):
        """What runs an image."""

        def run(self, until_ns: int) -> int:
            """Run until that virtual time; the machine's reason to stop."""
            ...


Progress = Callable[[int, int], None]
"""Called with (virtual time in ns, duration in ns)."""

Checks = bool | Literal["strict"]


class Run(NamedTuple):
    """A result with the trace that was asked for."""

    result: Result
    trace: Trace


def with_seed(scenario: Scenario, seed: int | None) -> Scenario:
    """The scenario with another seed; the same one for None."""
    if seed is None:
        return scenario
    return scenario.model_copy(update={"measure": scenario.measure.model_copy(update={"seed": seed})})


@dataclass(frozen=True, kw_only=True)
class Setup:
    """How a scenario is run."""

    patches: Sequence[str] = ()
    """The user's patch files, on top of the kernel."""
    seed: int | None = None
    """Another seed than the scenario's."""
    engine: str = "auto"
    trace: str | None = None
    """Another kind of trace than the scenario's: off, decisions or full."""
    checks: Checks = False
    """True holds the run to the lock rules and to the invariants of softnet.simulate.invariants, which speak up in the result's
    warnings; "strict" raises InvariantError instead."""
    costs: CostTable | None = None
    """Another cost table than the scenario's."""
    program: Program | None = None
    """What load_program() gave for an equal kernel with the same patches, checks and costs: it is not loaded again."""
    code: native.Native | None = None
    """The native code of that program, from an earlier simulation of these options."""
    run_ahead: bool = True
    """False: every interaction point gives way, also where nobody else could act before; slower, and the same run."""
    trace_file: str | Path | None = None
    """Takes the recording while the run goes on (simulate.tracefile), so that its length is not bounded by memory; the file
    appears when the run ends."""


class Simulation:
    """Build with a scenario, then ``finish()``; ``advance()`` for those who want to look in between."""

    def __init__(self, scenario: Scenario, setup: Setup | None = None, **changed: Any) -> None:
        """``changed`` are fields of the setup by their names."""
        self.setup = replace(setup or Setup(), **changed)
        self.code: native.Native | None = self.setup.code
        """The native code, once there is an engine that has it."""
        self.scenario = with_seed(scenario, self.setup.seed)
        self.costs = self.setup.costs or scenario_costs(scenario)
        checked = bool(self.setup.checks)
        self.program = self.setup.program or load_program(self.scenario, self.setup.patches, self.costs, checks=checked)
        self.engine_name, self.engine_note = native.choose_engine(self.setup.engine)
        wanted = self.setup.trace if self.setup.trace is not None else scenario.measure.trace
        self.trace_mask = trace_mask(wanted)
        self.recorder = Recorder(keep_warnings=bool(self.trace_mask >> WARN_EVENT & 1))
        self.image = self._boot(checked)
        self._begin()

    def _begin(self) -> None:
        """From a booted image to an engine that stands at time 0."""
        self.image.memory[self.image.engine_word("trace_mask")] = self.trace_mask | 1 << WARN_EVENT
        self.recorder.attach(self.image)
        self.invariants: Invariants | None = None
        if self.setup.checks:
            from softnet.simulate.invariants import Invariants

            self.invariants = Invariants(self.image, strict=self.setup.checks == "strict")
        self.engine: Engine = self._engine(bool(self.setup.checks), self.setup.run_ahead)
        self._watch()
        self.now_ns = 0
        self.partial = False
        self._trace_done = False

    def _arrivals(self) -> Iterator[NDArray[np.int64]]:
        return arrival_blocks(self.scenario)

    def _watch(self) -> None:
        self.sampler = Sampler(self.image)
        self.baseline = Baseline(self.image, len(self.scenario.idle_states))

    def _boot(self, checks: bool, again: Image | None = None) -> Image:
        wiring = Wiring(
            costs=self.costs,
            record=self.recorder,
            words=native.words if self.engine_name == "native" else list_of_words,
            checks=checks,
            observed=checks or self.engine_name != "native",
            again=again,
        )
        if checks:
            from softnet.simulate.invariants import table_counts

            wiring = replace(wiring, observer_counts=table_counts)
        return boot(self.program, Plan.of(self.scenario), wiring)

    def _engine(self, checks: bool, run_ahead: bool) -> Engine:
        polls = self.invariants.polls if self.invariants is not None else ()
        if self.engine_name == "native":
            options = native.Options(checks=checks, run_ahead=run_ahead, polls=polls)
            engine = native.NativeEngine(self.image, self._arrivals(), self.recorder.take, options, self.code)
            self.code = engine.native
            return engine
        from softnet.simulate.observing import observe
        from softnet.simulate.reference import ReferenceEngine

        observer = observe(self.image, polls)
        return ReferenceEngine(self.image, arrival_rows(self.scenario), observer, run_ahead=run_ahead)

    def advance(self, until_ns: int) -> None:
        """Run to that virtual time, applying the scenario's changes of settings on the way."""
        try:
            self.engine.run(until_ns)
        except KernelStop:
            self._raise_violation()
            raise
        self.now_ns = until_ns
        if readout.starved(self.image):
            self._raise_starved()

    def _raise_starved(self) -> None:
        """The image has no skb left. The kernel would have had: what follows would be of no kernel."""
        held = readout.count(self.image, "sk_buff")
        raise SoftnetError(
            "more skbs in use at once than the model holds; the kernel has no such bound",
            where=f"scenario {self.scenario.name}: before {self.now_ns / 1e6:g} ms of virtual time",
            found=f"all of {held:,} skbs in use",
            expected="shorter queues (netdev_max_backlog, rcvbuf, skb_defer_max), less traffic, or a shorter run",
            hint="softnet check says whether a scenario can come to that",
        )

    def _raise_violation(self) -> None:
        """A strict check stops a run as BUG_ON does: say what did not hold."""
        stopped = self.invariants.stopped() if self.invariants is not None else None
        if stopped is not None:
            raise stopped from None

    def stops(self, *, sampled: bool = True) -> Iterator[tuple[int, str, Change | None]]:
        """What happens when: changes, the end of the warm-up, samples, the end; in the order of their time.

        At one instant changes come first, the warm-up's end next, then the sample: in the order in which they are merged.
        """
        measure = self.scenario.measure
        step = measure.series_interval_us * 1000
        changed: list[tuple[int, str, Change | None]] = [(c.at_ns, "change", c) for c in changes(self.scenario)]
        samples: Iterator[tuple[int, str, Change | None]] = (
            (at, "sample", None) for at in range(step, measure.duration_ns + 1 if sampled else step, step)
        )
        ends: list[tuple[int, str, Change | None]] = [(measure.duration_ns, "end", None)]
        warmup: list[tuple[int, str, Change | None]] = [(measure.warmup_ns, "warmup", None)]
        return heapq.merge(changed, warmup, samples, ends, key=lambda stop: stop[0])

    def finish(self, progress: Progress | None = None) -> Run:
        """Run to the end and say what was found. Ctrl-C ends the run early and marks the result partial."""
        self._open_trace_file()
        self.run_through(self.baseline.take, self.sampler.sample, progress)
        return Run(self.result(), self.trace())

    def run_through(
        self, measured: Callable[[], None], sample: Callable[[int], None] | None, progress: Progress | None = None
    ) -> None:
        """Run to the end, or to Ctrl-C. ``measured`` is called when the warm-up is over, ``sample`` at regular times."""
        try:
            for at, what, change in self.stops(sampled=sample is not None):
                if at > self.now_ns or at == 0:
                    self.advance(at)
                if what == "change" and change is not None:
                    apply_change(self.image, self.scenario, change)
                    if self.invariants is not None:
                        self.invariants.settings_changed()
                    self.recorder_note(change)
                elif what == "warmup":
                    measured()
                elif what == "sample" and sample is not None:
                    sample(at)
                if progress is not None:
                    progress(at, self.scenario.measure.duration_ns)
        except KeyboardInterrupt:
            self.partial = True
            self._stop_here()
        except BaseException:
            if self.recorder.writer is not None:
                self.recorder.writer.abandon()
            raise

    def _stop_here(self) -> None:
        """Interrupted between two stops: the figures are of the time that was reached, not of the stop that was wanted."""
        image = self.image
        stop_at = image.engine_word("stop_at")
        reached = int(image.memory[image.engine_word("now")])
        if self.now_ns < reached < image.memory[stop_at]:
            self.now_ns = reached
        image.memory[stop_at] = self.now_ns

    def _open_trace_file(self) -> None:
        file = self.setup.trace_file
        if file is not None and self.trace_mask:
            from softnet.simulate.tracefile import TraceWriter

            self.recorder.writer = TraceWriter(Path(file), self.image.nr_cpus, self._tasks())

    def recorder_note(self, change: Change) -> None:
        """Record a change of settings as an event of CPU 0 at its own time."""
        event = EVENT_ID["sysctl_set"]
        if self.trace_mask >> event & 1:
            value = change.value if isinstance(change.value, int) else len(change.value)
            self.recorder.add(Record(change.at_ns, 0, 0, event, 0, value, 0))

    def result(self) -> Result:
        """The figures as they stand, with what the invariants' checks have to say."""
        result = collect_result(self)
        if self.invariants is None:
            return result
        try:
            found = self.invariants.finish(result.duration_ns)
        except KernelStop:
            self._raise_violation()
            raise
        return replace(result, warnings=result.warnings + found)

    def trace(self) -> Trace:
        """The events recorded so far. Those that went to a file stay there, and the file is complete from now on."""
        recorder = self.recorder
        if recorder.writer is None:
            return Trace(tuple(recorder.records), self._tasks(), self.image.nr_cpus, recorder.dropped, self.partial)
        from softnet.simulate.tracefile import StoredRecords

        if not self._trace_done:
            recorder.flush()
            recorder.writer.close(partial=self.partial)
            self._trace_done = True
        stored = StoredRecords(recorder.writer.path.absolute(), recorder.writer.records)
        return Trace(stored, self._tasks(), self.image.nr_cpus, 0, self.partial)

    def _tasks(self) -> tuple[tuple[int, str], ...]:
        return tuple((t.pid, t.comm) for t in self.image.tasks)
