# SPDX-License-Identifier: GPL-2.0-or-later
"""One simulation: a scenario's image, its engine, and the stops at which it is measured, sampled or changed."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from softnet.errors import SoftnetError
from softnet.lang.program.digest import ensure_checked
from softnet.lang.program.program import Program
from softnet.lang.python.link import KernelStop
from softnet.linux import releases
from softnet.machine import state
from softnet.machine.costtable import CostTable, load_cost_table, shipped_tables
from softnet.scenario import Change, Scenario, changes
from softnet.scenario.traffic import arrivals
from softnet.simulate import boot, native
from softnet.simulate import image as images
from softnet.simulate.changes import apply_change
from softnet.simulate.image import Image, MachineSpec, TaskInfo
from softnet.simulate.measure import Baseline, Sampler, collect_result
from softnet.simulate.observers import CHECK_MODULES, OBSERVER_MODULES
from softnet.simulate.result import Result, Trace
from softnet.trace import EVENT_ID, EVENTS, Record

if TYPE_CHECKING:
    from typing import Protocol

    import numpy as np
    from numpy.typing import NDArray

    from softnet.simulate.invariants import Invariants
    from softnet.simulate.reference import ArrivalRows
    from softnet.simulate.tracefile import TraceWriter

    class Engine(Protocol):
        """What runs an image."""

        def run(self, until_ns: int) -> int:
            """Run until that virtual time; the machine's reason to stop."""
            ...


Progress = Callable[[int, int], None]
"""Called with (virtual time in ns, duration in ns)."""

Checks = bool | Literal["strict"]

TRACE_RECORDS_MAX = 5_000_000
"""Bound of a recording in memory; what comes after is counted, not kept. One that goes to a file has none."""

WRITE_BLOCK = 10_000
"""Records that wait for the file of a recording."""

POLICIES = {"other": state.SCHED_NORMAL, "fifo": state.SCHED_FIFO, "rr": state.SCHED_RR}

TIME_CLASS_OF_KIND = {
    "ksoftirqd": state.TIME_KSOFTIRQD, "backlog_napi": state.TIME_BACKLOG_NAPI, "irq": state.TIME_IRQ_THREAD,
    "napi": state.TIME_NAPI_THREAD, "app": state.TIME_SYSTEM, "sender": state.TIME_SYSTEM, "cyclictest": state.TIME_TASK,
    "hog": state.TIME_TASK, "hotplug": state.TIME_TASK, "kworker": state.TIME_TASK,
}  # fmt: skip


class Run(NamedTuple):
    """A result with the trace that was asked for."""

    result: Result
    trace: Trace


WARN_EVENT = EVENT_ID["warn_on_once"]


@dataclass
class Recorder:
    """Takes traced events in their total order."""

    records: list[Record] = field(default_factory=list)
    dropped: int = 0
    memory: list[int] = field(default_factory=list)
    now: int = 0
    cpu: int = 0
    preempt_base: int = 0
    preempt_stride: int = 0
    warned: dict[int, int] = field(default_factory=dict)
    """Place of a WARN_ON_ONCE (lang.program.warn_site) -> how often it fired; counted whether or not the run is traced."""
    keep_warnings: bool = False
    writer: TraceWriter | None = None
    """Where the records go instead of memory; ``records`` then holds those that wait for it."""

    def attach(self, image: Image) -> None:
        """Learn where the image keeps what a record needs."""
        self.memory = image.memory
        self.now, self.cpu = image.engine_word("now"), image.engine_word("cpu")
        table = image.layout.tables["cpu_hw"]
        self.preempt_base = table.base + image.layout.structs["cpu_hw"].fields["preempt_count"].offset
        self.preempt_stride = table.stride

    def __call__(self, event: int, a: int, b: int, c: int) -> None:
        if event == WARN_EVENT:
            self.warned[b] = self.warned.get(b, 0) + 1
            if not self.keep_warnings:
                return
        memory = self.memory
        cpu = memory[self.cpu]
        count = memory[self.preempt_base + cpu * self.preempt_stride]
        context = 2 if count & state.HARDIRQ_MASK else 1 if count & state.SOFTIRQ_OFFSET else 0
        self.add(Record(memory[self.now], cpu, context, event, a, b, c))

    def add(self, record: Record) -> None:
        """Keep one record, in memory or in the file."""
        if self.writer is not None:
            self.records.append(record)
            if len(self.records) >= WRITE_BLOCK:
                self.flush()
        elif len(self.records) < TRACE_RECORDS_MAX:
            self.records.append(record)
        else:
            self.dropped += 1

    def flush(self) -> None:
        """Hand what waits to the file."""
        if self.writer is not None:
            self.writer.write(self.records)
            self.records.clear()

    def take(self, rows: NDArray[np.int64]) -> None:
        """Records of the native engine: time, CPU, preempt_count, event and three arguments."""
        fired = rows[:, 3] == WARN_EVENT
        if fired.any():
            for site in rows[fired, 5].tolist():
                self.warned[site] = self.warned.get(site, 0) + 1
            if not self.keep_warnings:
                rows = rows[~fired]
        if self.writer is None:
            room = TRACE_RECORDS_MAX - len(self.records)
            self.dropped += max(len(rows) - room, 0)
            rows = rows[:room]
        rows = rows[:, :7].copy()
        count = rows[:, 2]
        serving = (count & state.SOFTIRQ_OFFSET != 0).astype(count.dtype)
        serving[count & state.HARDIRQ_MASK != 0] = 2
        rows[:, 2] = serving
        if self.writer is not None:
            self.flush()
            self.writer.write(rows.tolist())
        else:
            self.records.extend(map(Record._make, rows.tolist()))


def with_seed(scenario: Scenario, seed: int | None) -> Scenario:
    """The scenario with another seed; the same one for None."""
    if seed is None:
        return scenario
    return scenario.model_copy(update={"measure": scenario.measure.model_copy(update={"seed": seed})})


def histogram_names(scenario: Scenario) -> list[str]:
    """The image's histograms as "kind:name", in the order in which boot numbers them; names are made unique."""
    out: list[str] = []
    for full in boot.histograms(scenario):
        what, _, name = full.partition(".")
        if what == "cyclictest":
            name = name.rpartition(".")[0]
        kind = "packet" if what == "deliver" else "wakeup"
        taken = {n.partition(":")[2] for n in out}
        unique, n = name, 2
        while unique in taken:
            unique, n = f"{name}#{n}", n + 1
        out.append(f"{kind}:{unique}")
    return out


def machine_spec(scenario: Scenario, seed: int) -> MachineSpec:
    """What the scenario says of the machine and its cards, queue by queue."""
    rings: list[int] = []
    irq_cpus: list[int] = []
    usecs: list[int] = []
    frames: list[int] = []
    for nic in scenario.nic:
        for queue in range(nic.queues):
            rings.append(nic.ring)
            irq_cpus.append(nic.irq_cpu(queue, scenario.machine.cpus))
            usecs.append(nic.rx_usecs)
            frames.append(nic.rx_frames)
    cpus = scenario.machine.cpus
    return MachineSpec(
        cpus, tuple(scenario.machine.numa_node(c) for c in range(cpus)), tuple(scenario.machine.isolated_cpus), tuple(rings),
        tuple(irq_cpus), tuple(usecs), tuple(frames), scenario.kernel.preempt, scenario.kernel.hz, seed,
    )  # fmt: skip


def constants(scenario: Scenario) -> dict[str, int]:
    """The configuration that the kernel is linked with."""
    kernel = scenario.kernel
    return {
        "CONFIG_PREEMPT_RT": int(kernel.flavour == "rt"),
        "CONFIG_PREEMPT_MODEL": images.PREEMPT_MODELS[kernel.preempt],
        "CONFIG_RPS": int(kernel.config.RPS),
        "CONFIG_NET_FLOW_LIMIT": int(kernel.config.NET_FLOW_LIMIT),
        "HZ": kernel.hz,
    }


def load_program(
    scenario: Scenario, patches: Sequence[str] = (), costs: CostTable | None = None, *, checks: bool = False
) -> Program:
    """The scenario's kernel with the user's patch files on top, and the observers of the invariants if it is to be checked.

    Raises SubsetErrors, also for a cost that its table lacks.
    """
    modules = images.load_modules(releases.modules_for(scenario.kernel.release, scenario.kernel.flavour))
    modules += [releases.load_patch(path) for path in patches]
    modules += images.load_modules(OBSERVER_MODULES + (CHECK_MODULES if checks else ()))
    program = images.make_program(modules, constants(scenario))
    ensure_checked(program, (costs or scenario_costs(scenario)).rows)
    return program


class Simulation:
    """Build with a scenario, then ``finish()``; ``advance()`` for those who want to look in between.

    ``checks``: True holds the run to the lock rules and to the invariants of softnet.simulate.invariants, which speak up in
    the result's warnings; "strict" raises InvariantError instead.

    ``trace_file`` takes the recording while the run goes on (simulate.tracefile), so that its length is not bounded by memory;
    the file appears when the run ends.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        patches: Sequence[str] = (),
        seed: int | None = None,
        engine: str = "auto",
        trace: str | None = None,
        checks: Checks = False,
        costs: CostTable | None = None,
        run_ahead: bool = True,
        trace_file: str | Path | None = None,
    ) -> None:
        self.scenario = with_seed(scenario, seed)
        self.seed = self.scenario.measure.seed
        self.patches = tuple(patches)
        self.costs = costs or scenario_costs(scenario)
        self.program = load_program(scenario, patches, self.costs, checks=bool(checks))
        self.recorder = Recorder()
        self.engine_name, self.engine_note = native.choose_engine(engine)
        self.image = self._build(bool(checks))
        self.invariants: Invariants | None = None
        if checks:
            from softnet.simulate.invariants import Invariants

            self.invariants = Invariants(self.image, strict=checks == "strict")
        self.recorder.attach(self.image)
        self._trace_file = Path(trace_file) if trace_file is not None else None
        self.trace_mask = _trace_mask(trace if trace is not None else scenario.measure.trace)
        self.recorder.keep_warnings = bool(self.trace_mask >> WARN_EVENT & 1)
        self.image.memory[self.image.engine_word("trace_mask")] = self.trace_mask | 1 << WARN_EVENT
        self.engine: Engine = self._engine(bool(checks), run_ahead)
        self.sampler = Sampler(self.image)
        self.baseline = Baseline(self.image)
        self.now_ns = 0
        self.partial = False
        self._trace_done = False

    def _build(self, checks: bool) -> Image:
        scenario = self.scenario
        cpus = scenario.machine.cpus
        image = images.build(
            self.program, machine_spec(scenario, self.seed), boot.STRUCT_COUNTS(scenario), cpus + boot.nr_tasks_max(scenario),
            histogram_names(scenario), self.costs, self.recorder, checks=checks,
            words=native.words if self.engine_name == "native" else None,
        )  # fmt: skip
        specs = boot.boot(image.linked.kernel, scenario)
        for cpu in range(cpus):
            idle = (state.SCHED_IDLE_TASK, 120, "cpu_startup_entry", cpu, state.TIME_IDLE)
            images.add_task(image, TaskInfo(cpu + 1, f"swapper/{cpu}", (cpu,), *idle))
        for pid, spec in enumerate(specs, start=cpus + 1):
            policy, prio = POLICIES[spec.policy], 99 - spec.priority if spec.policy != "other" else 120 + spec.nice
            info = TaskInfo(pid, spec.comm, spec.cpus, policy, prio, spec.thread_fn, spec.data, TIME_CLASS_OF_KIND[spec.kind])
            task = images.add_task(image, info, spec.nice)
            if spec.store is not None:
                spec.store(task)
        images.start(image)
        return image

    def _engine(self, checks: bool, run_ahead: bool) -> Engine:
        polls = self.invariants.polls if self.invariants is not None else ()
        if self.engine_name == "native":
            options = native.Options(checks=checks, run_ahead=run_ahead, polls=polls)
            return native.NativeEngine(self.image, self._arrival_blocks(), self.recorder.take, options)
        from softnet.simulate.observing import observe
        from softnet.simulate.reference import ReferenceEngine

        observer = observe(self.image, polls)
        return ReferenceEngine(self.image, self._arrival_rows(), observer, run_ahead=run_ahead)

    def _arrival_blocks(self) -> Iterator[NDArray[np.int64]]:
        """Chunks of arrivals in the column order of softnet.machine.nic, numbered from 1."""
        import numpy as np

        number = 1
        for chunk in arrivals(self.scenario, self.seed):
            columns = [
                chunk.time_ns,
                chunk.nic_queue,
                chunk.hash,
                chunk.len_bytes,
                chunk.sock,
                chunk.proto,
                chunk.flow,
                chunk.flags,
                chunk.seq_ok,
                chunk.payload_bytes,
            ]
            columns.append(np.arange(number, number + len(chunk.time_ns)))
            number += len(chunk.time_ns)
            # Rows of the transposed block: the engine's own copy turns it, and this one does not.
            yield np.array(columns, dtype=np.int64).T

    def _arrival_rows(self) -> Iterator[ArrivalRows]:
        for block in self._arrival_blocks():
            yield [tuple(row) for row in block.tolist()]

    def advance(self, until_ns: int) -> None:
        """Run to that virtual time, applying the scenario's changes of settings on the way."""
        try:
            self.engine.run(until_ns)
        except KernelStop:
            self._raise_violation()
            raise
        self.now_ns = until_ns

    def _raise_violation(self) -> None:
        """A strict check stops a run as BUG_ON does: say what did not hold."""
        stopped = self.invariants.stopped() if self.invariants is not None else None
        if stopped is not None:
            raise stopped from None

    def stops(self) -> Iterator[tuple[int, str, Change | None]]:
        """What happens when: changes, the end of the warm-up, samples, the end; in the order of their time.

        At one instant changes come first, the warm-up's end next, then the sample: in the order in which they are merged.
        """
        measure = self.scenario.measure
        step = measure.series_interval_us * 1000
        changed: list[tuple[int, str, Change | None]] = [(c.at_ns, "change", c) for c in changes(self.scenario)]
        samples: Iterator[tuple[int, str, Change | None]] = (
            (at, "sample", None) for at in range(step, measure.duration_ns + 1, step)
        )
        ends: list[tuple[int, str, Change | None]] = [(measure.duration_ns, "end", None)]
        warmup: list[tuple[int, str, Change | None]] = [(measure.warmup_ns, "warmup", None)]
        return heapq.merge(changed, warmup, samples, ends, key=lambda stop: stop[0])

    def finish(self, progress: Progress | None = None) -> Run:
        """Run to the end and say what was found. Ctrl-C ends the run early and marks the result partial."""
        self._open_trace_file()
        try:
            for at, what, change in self.stops():
                if at > self.now_ns or at == 0:
                    self.advance(at)
                if what == "change" and change is not None:
                    apply_change(self.image, self.scenario, change)
                    if self.invariants is not None:
                        self.invariants.settings_changed()
                    self.recorder_note(change)
                elif what == "warmup":
                    self.baseline.take()
                elif what == "sample":
                    self.sampler.sample(at)
                if progress is not None:
                    progress(at, self.scenario.measure.duration_ns)
        except KeyboardInterrupt:
            self.partial = True
            self._stop_here()
        except BaseException:
            if self.recorder.writer is not None:
                self.recorder.writer.abandon()
            raise
        return Run(self.result(), self.trace())

    def _stop_here(self) -> None:
        """Interrupted between two stops: the figures are of the time that was reached, not of the stop that was wanted."""
        image = self.image
        stop_at = image.engine_word("stop_at")
        reached = int(image.memory[image.engine_word("now")])
        if self.now_ns < reached < image.memory[stop_at]:
            self.now_ns = reached
        image.memory[stop_at] = self.now_ns

    def _open_trace_file(self) -> None:
        if self._trace_file is not None and self.trace_mask:
            from softnet.simulate.tracefile import TraceWriter

            self.recorder.writer = TraceWriter(self._trace_file, self.image.nr_cpus, self._tasks())

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


def scenario_costs(scenario: Scenario) -> CostTable:
    """The cost table that a scenario names: a shipped one, or a file beside it. Raises CostError."""
    name = scenario.machine.costs
    return load_cost_table(name if name in shipped_tables() else str(scenario.resolve(name)))


def _trace_mask(trace: str) -> int:
    if trace == "off":
        return 0
    if trace == "full":
        return (1 << len(EVENTS)) - 1
    if trace == "decisions":
        return sum(1 << EVENT_ID[event.name] for event in EVENTS if event.decision)
    raise SoftnetError("unknown kind of trace", found=trace, expected="off, decisions or full")


def describe(sim: Any) -> dict[str, Any]:
    """The kernel of a simulation, for its result."""
    kernel = sim.scenario.kernel
    label = kernel.release + ("-rt" if kernel.flavour == "rt" else "")
    if kernel.flavour != "rt" and "thread_backlog_napi" in kernel.boot_args:
        label += "-threads"
    return {
        "label": label, "release": kernel.release, "flavour": kernel.flavour, "preempt": kernel.preempt, "hz": kernel.hz,
        "boot_args": list(kernel.boot_args), "sysctl": dict(kernel.sysctl_values()),
        "patches": [m for m in sim.program.modules if ".patches." in m or not m.startswith("softnet.")],
    }  # fmt: skip
