# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading an image: baselines at the end of the warm-up, samples of the queues, and the figures at the end."""

from __future__ import annotations

import ast
import functools
from itertools import compress
from typing import TYPE_CHECKING, Any

from softnet.image import readout
from softnet.image.image import Image, clear
from softnet.image.time_classes import TIME_CLASS_NAMES
from softnet.lang.program.program import warn_site
from softnet.machine import state, stats
from softnet.scenario.traffic import capture_notes
from softnet.simulate.result import Conservation, Histogram, Result
from softnet.trace import EVENT_ID, EVENTS

if TYPE_CHECKING:
    from typing import Protocol

    from softnet.lang.program.program import Program
    from softnet.machine.costtable import CostTable
    from softnet.scenario import Scenario
    from softnet.simulate.recorder import Recorder

    class Measured(Protocol):
        """What is read of a simulation."""

        scenario: Scenario
        program: Program
        image: Image
        costs: CostTable
        recorder: Recorder
        baseline: Baseline
        sampler: Sampler
        engine_name: str
        now_ns: int
        partial: bool


SERIES_MAX = 20_000
"""Bound of the samples kept per column; beyond it every second one is dropped and the interval doubles."""


def cpu_word(image: Image, cpu: int, name: str) -> int:
    """A field of a CPU."""
    return image.word("cpu_hw", cpu, name)


def cpu_times(image: Image) -> list[list[int]]:
    """Per CPU, ns per class of time, the open stretch included."""
    out = []
    now = image.memory[image.engine_word("stop_at")]
    for cpu in range(image.nr_cpus):
        table = image.layout.tables["cpu_hw"]
        at = table.base + cpu * table.stride + image.layout.structs["cpu_hw"].fields["time_spent"].offset
        spent = list(image.memory[at : at + state.TIME_CLASSES])
        since, running = cpu_word(image, cpu, "time_since"), cpu_word(image, cpu, "time_class")
        if since < now < state.NEVER:
            spent[running] += now - since
        out.append(spent)
    return out


def event_counts(image: Image) -> list[list[int]]:
    """Per CPU, how often each event happened."""
    n = len(EVENT_ID)
    start = image.regions.counts
    return [list(image.memory[start + cpu * n : start + (cpu + 1) * n]) for cpu in range(image.nr_cpus)]


PER_CPU = {
    "spin_ns": "cpu_hw",
    "line_transfers": "cpu_hw",
    "context_switches": "cpu_hw",
    "by_budget": "squeeze_stat",
    "by_time": "squeeze_stat",
}
"""Counters of a CPU that are no events -> the structure that holds them."""


def per_cpu_counts(image: Image) -> dict[str, list[int]]:
    """Those counters, CPU by CPU."""
    return {name: [image.word(struct, cpu, name) for cpu in range(image.nr_cpus)] for name, struct in PER_CPU.items()}


IDLE_COUNTERS = {"entered": "usage", "time_ns": "time_ns", "too_deep": "above", "too_shallow": "below"}
"""Of an idle state -> the array of cpuidle_device that holds it."""


def idle_counts(image: Image, states: int) -> list[dict[str, list[int]]]:
    """Those counters of each of so many idle states, CPU by CPU."""
    devices = [image.ref("cpuidle_device", cpu) for cpu in range(image.nr_cpus)] if states else []
    return [{name: [getattr(dev, at)[i] for dev in devices] for name, at in IDLE_COUNTERS.items()} for i in range(states)]


class Baseline:
    """The counters at the end of the warm-up, to be taken off at the end."""

    def __init__(self, image: Image, idle_states: int) -> None:
        self.image = image
        self.idle_states = idle_states
        self.idle = idle_counts(image, idle_states)
        self.events = [[0] * len(EVENT_ID) for _ in range(image.nr_cpus)]
        self.times = [[0] * state.TIME_CLASSES for _ in range(image.nr_cpus)]
        self.per_cpu = {name: [0] * image.nr_cpus for name in PER_CPU}

    def take(self) -> None:
        """Remember the counters and empty the histograms: the measured part begins."""
        image = self.image
        self.events = event_counts(image)
        self.times = cpu_times(image)
        self.idle = idle_counts(image, self.idle_states)
        self.per_cpu = per_cpu_counts(image)
        start = image.regions.hists
        clear(image.memory, start, start + len(image.hists) * stats.HIST_WORDS)


class Sampler:
    """Length and bytes of the queues at regular times, in bounded memory."""

    def __init__(self, image: Image) -> None:
        self.queues = readout.QueueReader(image)
        self.columns: dict[str, list[int]] = {"time_ns": []}
        self.stride = 1
        self.seen = 0

    def sample(self, at_ns: int) -> None:
        """Take one sample."""
        self.seen += 1
        if self.seen % self.stride:
            return
        if not self.columns["time_ns"]:
            self.columns = {name: [] for name in ("time_ns", *self.queues.columns)}
        for column, value in zip(self.columns.values(), (at_ns, *self.queues.read()), strict=True):
            column.append(value)
        if len(self.columns["time_ns"]) >= SERIES_MAX:
            self.stride *= 2
            for column in self.columns.values():
                del column[::2]


def bucket_bounds(index: int) -> tuple[int, int]:
    """Lower bound, and upper bound exclusive, of a histogram's bucket (machine/stats.py)."""
    sub = 1 << stats.HIST_SUB_BITS
    if index < 2 * sub:
        return index, index + 1
    shift = (index >> stats.HIST_SUB_BITS) - 1
    mantissa = index - (shift << stats.HIST_SUB_BITS)
    return mantissa << shift, (mantissa + 1) << shift


_NUMBERS = range(stats.HIST_BUCKETS)


@functools.cache
def _bounds() -> list[tuple[int, int]]:
    return [bucket_bounds(number) for number in _NUMBERS]


OF_CLASSES = ("sched", "preempted")
"""Kinds of histograms that there are of each class of CPU time: from being woken to running, from having to give way to running."""


def histograms(image: Image, wanted: str = "") -> dict[str, Histogram]:
    """The scenario's histograms by name; or of a kind of OF_CLASSES those of each class, without the empty ones."""
    out = {}
    for i, full_name in enumerate(image.hists):
        kind, _, name = full_name.partition(":")
        if (kind if kind in OF_CLASSES else "") != wanted:
            continue
        if wanted and not image.memory[image.regions.hists + i * stats.HIST_WORDS]:
            continue
        at = image.regions.hists + i * stats.HIST_WORDS
        count, total, high, low = image.memory[at : at + stats.HIST_HEAD]
        start = at + stats.HIST_HEAD
        counted = image.memory[start : start + stats.HIST_BUCKETS]
        buckets = tuple((*_bounds()[b], counted[b]) for b in compress(_NUMBERS, counted))
        out[name] = Histogram(name, kind, count, total, max(low - 1, 0), high, buckets)
    return out


def _minus(a: list[int], b: list[int]) -> list[int]:
    return [x - y for x, y in zip(a, b, strict=True)]


def collect_result(sim: Measured) -> Result:
    """The Result of a simulation as it stands."""
    image = sim.image
    counts = [_minus(a, b) for a, b in zip(event_counts(image), sim.baseline.events, strict=True)]
    events = {e.name: [counts[cpu][i] for cpu in range(image.nr_cpus)] for i, e in enumerate(EVENTS)}
    times = [_minus(a, b) for a, b in zip(cpu_times(image), sim.baseline.times, strict=True)]
    per_cpu = {name: _minus(now, sim.baseline.per_cpu[name]) for name, now in per_cpu_counts(image).items()}
    conservation = Conservation(**readout.conservation(image))
    measure = sim.scenario.measure
    lines, columns = readout.softnet_stat(image)
    return Result(
        scenario=sim.scenario.name,
        description=sim.scenario.description,
        kernel=kernel_row(sim),
        engine=sim.engine_name,
        seed=measure.seed,
        cpus=image.nr_cpus,
        duration_ns=sim.now_ns if sim.partial else measure.duration_ns,
        warmup_ns=measure.warmup_ns,
        costs=sim.costs.name,
        softnet_stat=lines,
        softnet_columns=columns,
        events=events,
        counters=counters(events, per_cpu, conservation),
        cpu_time_ns=[dict(zip(TIME_CLASS_NAMES, row, strict=True)) for row in times],
        latency=histograms(image),
        wakeup_latency=histograms(image, "sched"),
        preempted_latency=histograms(image, "preempted"),
        deferred_left=sim.sampler.queues.left(),
        conservation=conservation,
        series=sim.sampler.columns,
        locks={"contended": events["lock_contended"], "spin_ns": per_cpu["spin_ns"]},
        line_transfers=per_cpu["line_transfers"],
        squeezes={name: per_cpu[name] for name in ("by_budget", "by_time")},
        tasks=[_task_row(image, i) for i in range(len(image.tasks))],
        notes=[*sim.scenario.notes(), *capture_notes(sim.scenario, deviations_only=True)],
        warnings=_warnings(sim, conservation),
        partial=sim.partial,
        asked=sim.scenario.to_dict(),
        idle=_idle(sim),
        cost_rows=sim.costs.provenances(),
    )


def _idle(sim: Measured) -> dict[str, dict[str, list[int]]]:
    """What became of each idle state in the measured part."""
    states = sim.scenario.idle_states
    now = idle_counts(sim.image, len(states))
    return {
        state.name: {name: _minus(values, before[name]) for name, values in counts.items()}
        for state, counts, before in zip(states, now, sim.baseline.idle, strict=True)
    }


def kernel_row(sim: Measured) -> dict[str, Any]:
    """The kernel of a simulation, for its result."""
    kernel = sim.scenario.kernel
    return {
        "label": kernel.label, "release": kernel.release, "flavour": kernel.flavour, "preempt": kernel.preempt, "hz": kernel.hz,
        "boot_args": list(kernel.boot_args), "sysctl": dict(kernel.sysctl_values()),
        "patches": [m for m in sim.program.modules if ".patches." in m or not m.startswith("softnet.")],
    }  # fmt: skip


def counters(events: dict[str, list[int]], per_cpu: dict[str, list[int]], where: Conservation) -> dict[str, int]:
    """The figures that people ask for, of the measured part."""
    total = {name: sum(values) for name, values in events.items()}
    return {
        "kicks": total["kick_defer_list_purge"],
        "kicks_coalesced": total["kick_coalesced"],
        "trigger_rx_softirq": total["trigger_rx_softirq"],
        "rps_ipis": total["net_rps_send_ipi"],
        "ipis": total["ipi_send_cpu"],
        "ipis_call_function": total["ipi_call_function"],
        "ipis_reschedule": total["ipi_send_cpu"] - total["ipi_call_function"],
        "net_rx_raises": total["net_rx_raise"],
        "ksoftirqd_wakeups": total["wakeup_softirqd"],
        "backlog_napi_wakeups": total["backlog_napi_wake"],
        "context_switches": sum(per_cpu["context_switches"]),
        "napi_polls": total["napi_poll"],
        "process_backlog_polls": total["process_backlog"],
        "time_squeeze": total["time_squeeze"],
        "time_squeeze_budget": sum(per_cpu["by_budget"]),
        "time_squeeze_time": sum(per_cpu["by_time"]),
        "deferred": total["skb_attempt_defer_free"],
        "not_deferred": total["skb_defer_nodefer"],
        "flushes": total["skb_defer_free_flush"],
        "line_transfers": sum(per_cpu["line_transfers"]),
        "hard_interrupts": total["irq_handler_entry"],
        "delivered": total["deliver"],
        "dropped": sum(where.dropped.values()),
    }


def _task_row(image: Image, index: int) -> dict[str, Any]:
    info = image.tasks[index]
    return {
        "pid": info.pid, "comm": info.comm, "cpus": list(info.cpus), "policy": info.policy, "prio": info.prio,
        "switches": image.word("task_struct", index, "nr_switches"), "wakeups": image.word("task_struct", index, "nr_wakeups"),
    }  # fmt: skip


def warning_sites(program: Program, warned: dict[int, int]) -> list[str]:
    """Where WARN_ON_ONCE fired: how often, file and line, kernel function, condition."""
    places = program.derived.get("warn_places", lambda: _warn_places(program))
    program.derived.save()
    return [f"WARN_ON_ONCE fired {n} times at {places[site]}" for site, n in sorted(warned.items())]


def _warn_places(program: Program) -> dict[int, str]:
    """Every WARN_ON_ONCE of a kernel by its number. To find them, all functions are parsed: it is done once for each kernel."""
    from softnet.lang.python.text import find_function

    places: dict[int, str] = {}
    for name in sorted(program.functions):
        definition = program.functions[name]
        for node in ast.walk(find_function(definition)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "WARN_ON_ONCE":
                module = definition.module.removeprefix("softnet.linux.")
                places[warn_site(name, node.lineno)] = f"{module}:{node.lineno} in {name}(): {ast.unparse(node.args[0])}"
    return places


def _warnings(sim: Measured, where: Conservation) -> list[str]:
    out = warning_sites(sim.program, sim.recorder.warned) if sim.recorder.warned else []
    if where.balance:
        out.append(f"conservation broken: {where.balance} packets neither delivered, dropped nor queued; this is a defect")
    return out
