# SPDX-License-Identifier: GPL-2.0-or-later
"""An image: a kernel of some release, linked over the memory of a machine, booted with a scenario's settings.

Every engine starts from the same words; the functions are the same text. Boot runs in plain Python, without time.
"""

from __future__ import annotations

import importlib
from array import array
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any, NamedTuple

from softnet.errors import SoftnetError
from softnet.lang.program.layout import ENGINE_BASE, ENGINE_STRUCT, LINE_SHIFT, Layout, lay_out, lay_out_structs
from softnet.lang.program.program import Program, StructDef, collect
from softnet.lang.python.link import Linked, link
from softnet.machine import MACHINE_MODULES, events, nic, state, stats
from softnet.machine.costtable import CostTable
from softnet.simulate.costnames import cost_names
from softnet.simulate.result import WAKEUP_CLASSES
from softnet.trace import EVENT_ID

SHARERS_PER_WORD = 32
ZEROS_BYTES = 1 << 16
PREEMPT_MODELS = {
    "none": state.PREEMPT_MODEL_NONE,
    "voluntary": state.PREEMPT_MODEL_VOLUNTARY,
    "full": state.PREEMPT_MODEL_FULL,
    "lazy": state.PREEMPT_MODEL_LAZY,
    "rt": state.PREEMPT_MODEL_RT,
}


class TaskInfo(NamedTuple):
    """A task of the image: its pid (index + 1), name, CPUs it may use, policy, priority and what its time counts as."""

    pid: int
    comm: str
    cpus: tuple[int, ...]
    policy: int
    prio: int
    thread_fn: str
    data: int
    time_class: int


@dataclass
class Regions:
    """Where the tables that are no structures stand: start addresses in words."""

    cpus: int = 0
    cpu_leaves: int = 0
    devices: int = 0
    device_leaves: int = 0
    directory: int = 0
    directory_lines: int = 0
    costs: int = 0
    counts: int = 0
    hists: int = 0
    arrivals: int = 0
    rings: list[int] = field(default_factory=list)
    size: int = 0


@dataclass(eq=False)
class Image:
    """A booted machine: ``memory`` is all of its state."""

    program: Program
    layout: Layout
    memory: list[int]
    linked: Linked
    regions: Regions
    tasks: list[TaskInfo]
    hists: list[str]
    """Histograms as "kind:name": the scenario's, then how long the woken wait for their CPU, by class of time (kind "sched")."""
    cost_index: dict[str, int]
    nr_cpus: int
    nr_queues: int
    nr_actors: int

    def engine_word(self, name: str) -> int:
        """The address of a field of the machine's singleton."""
        return ENGINE_BASE + self.layout.structs[ENGINE_STRUCT].fields[name].offset

    def ref(self, struct: str, index: int) -> Any:
        """The ``index``-th instance of a structure, as machine functions see it: no cost, no interaction."""
        return self.linked.machine["table"](self.linked.structs[struct], index)

    def word(self, struct: str, index: int, name: str) -> int:
        """The value of one field, read from memory as it stands."""
        table = self.layout.tables[struct]
        return self.memory[table.base + index * table.stride + self.layout.structs[struct].fields[name].offset]


class MachineSpec(NamedTuple):
    """What the image needs of a machine; softnet.simulate.build fills it from a scenario."""

    nr_cpus: int
    nodes: tuple[int, ...]
    isolated: tuple[int, ...]
    ring_sizes: tuple[int, ...]
    irq_cpus: tuple[int, ...]
    rx_usecs: tuple[int, ...]
    rx_frames: tuple[int, ...]
    preempt: str
    hz: int
    seed: int


def load_modules(names: Iterable[str]) -> list[ModuleType]:
    """Import a stack of modules by name."""
    return [importlib.import_module(name) for name in names]


def machine_modules() -> list[ModuleType]:
    """The modules of the machine."""
    return load_modules(MACHINE_MODULES)


def make_program(modules: Iterable[ModuleType], constants: Mapping[str, int]) -> Program:
    """Collect machine and kernel into one program."""
    program = collect([*machine_modules(), *modules], constants)
    entries = tuple(sorted(name for name, d in program.functions.items() if d.facts.entry))
    return replace(program, pointed=entries)


def _regions(layout: Layout, spec: MachineSpec, nr_costs: int, nr_hists: int) -> Regions:
    r = Regions()
    at = layout.size

    def take(words: int) -> int:
        nonlocal at
        start = at
        at += words
        return start

    actors = 2 * spec.nr_cpus + len(spec.ring_sizes) + 1
    if actors > events.ACTOR_MASK:
        raise SoftnetError(
            "too many receive queues",
            where="nic",
            found=f"{len(spec.ring_sizes)} of all cards together",
            expected=f"at most {events.ACTOR_MASK - 2 * spec.nr_cpus - 1} with {spec.nr_cpus} CPUs",
        )
    r.cpu_leaves, r.device_leaves = _power_of_two(spec.nr_cpus), _power_of_two(actors + 1 - spec.nr_cpus)
    r.cpus, r.devices = take(2 * r.cpu_leaves), take(2 * r.device_leaves)
    r.costs = take(2 * nr_costs)
    r.counts = take(spec.nr_cpus * len(EVENT_ID))
    r.hists = take(nr_hists * stats.HIST_WORDS)
    r.arrivals = take(nic.ARRIVAL_ROWS * nic.ARRIVAL_WORDS)
    r.rings = [take(size * nic.ARRIVAL_WORDS) for size in spec.ring_sizes]
    r.directory_lines = (layout.size >> LINE_SHIFT) + 1
    r.directory = take(r.directory_lines * ((spec.nr_cpus + SHARERS_PER_WORD - 1) // SHARERS_PER_WORD))
    r.size = at
    return r


def _fill_defaults(memory: Any, layout: Layout) -> None:
    """The fields' initial values: one instance of each structure, repeated over its table."""

    def fill(one: list[int], struct: StructDef, base: int) -> None:
        for f in struct.fields.values():
            if f.embedded:
                inner = layout.structs[f.type]
                for i in range(f.count):
                    fill(one, inner, base + f.offset + i * inner.size)
            elif f.init:
                at = base + f.offset
                one[at : at + f.count] = [f.init] * f.count

    for name, table in layout.tables.items():
        one = [0] * table.stride
        fill(one, layout.structs[name], 0)
        if any(one):
            _put(memory, table.base, one * table.count)


def _power_of_two(least: int) -> int:
    return 1 << (least - 1).bit_length()


def _put(memory: Any, at: int, values: list[int]) -> None:
    """Store a run of words, in a list or in native memory."""
    memory[at : at + len(values)] = values if isinstance(memory, list) else array("q", values)


def clear(memory: Any, at: int, end: int) -> None:
    """Store zeros, in a list or in native memory."""
    if isinstance(memory, list):
        memory[at:end] = [0] * (end - at)
        return
    # Block by block: as many zeros at once would take as many pages, each a fault.
    zeros = memoryview(bytes(ZEROS_BYTES)).cast("q")
    for first in range(at, end, len(zeros)):
        last = min(first + len(zeros), end)
        memory[first:last] = zeros[: last - first]


def build(
    program: Program,
    spec: MachineSpec,
    counts: Mapping[str, int],
    nr_tasks: int,
    hists: list[str],
    costs: CostTable,
    record: Callable[[int, int, int, int], None],
    *,
    checks: bool = False,
    words: Callable[[int], Any] | None = None,
) -> Image:
    """Lay out, link and initialise an image; tasks are added by ``add_task``, the kernel is booted by the caller.

    ``words`` makes the memory, a list of zeros if it is not given: the native engine needs one that it can address.
    """
    nr_queues = len(spec.ring_sizes)
    names = cost_names(program)
    cost_index = {name: i for i, name in enumerate(names)}
    all_counts = {
        **counts, "cpu_hw": spec.nr_cpus, "context": 2 * spec.nr_cpus + nr_tasks, "task_struct": nr_tasks,
        "irq_line": 4 * spec.nr_cpus + nr_queues, "nic_queue": nr_queues,
    }  # fmt: skip
    all_counts = {k: v for k, v in all_counts.items() if k in program.structs}
    layout = lay_out(program, all_counts)
    if layout.observer_index:
        all_counts |= _observers_counts(program, spec, all_counts, layout.size)
        layout = lay_out(program, all_counts, layout.structs)
    regions = _regions(layout, spec, len(names), len(hists) + state.TIME_CLASSES)
    memory: list[int] = words(regions.size) if words is not None else [0] * regions.size
    _fill_defaults(memory, layout)
    for name, i in layout.table_index.items():
        table = layout.tables.get(name)
        memory[layout.table_dir + 2 * i] = table.base if table else 0
        memory[layout.table_dir + 2 * i + 1] = table.count if table else 0
    for name, i in layout.observer_index.items():
        table = layout.tables.get(name)
        row = [table.base, table.count] if table else [0, 0]
        _put(memory, layout.observer_dir + 2 * i, row)
        memory[ENGINE_BASE + layout.structs[ENGINE_STRUCT].fields["observed"].offset] = layout.observer_dir
    hists = [*hists, *(f"sched:{name}" for name in WAKEUP_CLASSES)]
    # Native code calls the observers by itself; what asks them from outside are the checks.
    observed = checks or words is None
    linked = link(program, layout, memory, cost_index, EVENT_ID, record, checks=checks, observed=observed)
    image = Image(
        program, layout, memory, linked, regions, [], hists, cost_index, spec.nr_cpus, nr_queues, 2 * spec.nr_cpus + nr_queues + 1
    )
    _init_engine(image, spec, costs, names)
    _init_devices(image, spec)
    return image


def _observers_counts(program: Program, spec: MachineSpec, counts: Mapping[str, int], size: int) -> dict[str, int]:
    """How many rows each table of the observers has, in an image whose other tables take ``size`` words."""
    found = {"squeeze_stat": spec.nr_cpus}
    if "ck_env" in program.structs:
        from softnet.simulate.invariants import table_counts

        found |= table_counts(spec.nr_cpus, len(spec.ring_sizes), counts["context"], counts["sk_buff"], size)
    return {name: count for name, count in found.items() if name in program.structs}


def _init_engine(image: Image, spec: MachineSpec, costs: CostTable, names: list[str]) -> None:
    r, memory = image.regions, image.memory
    rows = {name: costs.row(name) for name in names}
    for name, i in image.cost_index.items():
        half = rows[name].base * rows[name].spread_permille // 1000
        memory[r.costs + 2 * i] = rows[name].base - half
        memory[r.costs + 2 * i + 1] = 2 * half + 1 if rows[name].spread_permille else 0
    machine_costs = {
        "cost_line_local": "line_transfer_local", "cost_line_remote": "line_transfer_remote", "cost_atomic": "atomic",
        "cost_ipi": "ipi", "cost_handoff": "lock_handoff", "cost_context_switch": "context_switch",
        "cost_irq_entry": "irq_entry", "cost_irq_exit": "irq_exit", "cost_idle_exit": "idle_exit",
        "cost_wakeup": "wakeup", "cost_poll_wake": "poll_wake",
    }  # fmt: skip
    words = {
        "now": 0, "lim": state.NEVER, "cpu": 0, "ctx": 0, "seed": spec.seed & 0x7FFFFFFF, "nr_cpus": spec.nr_cpus,
        "nr_actors": image.nr_actors,
        "cpus": r.cpus, "cpu_leaves": r.cpu_leaves, "cpu_depth": r.cpu_leaves.bit_length() - 1, "devices": r.devices,
        "device_leaves": r.device_leaves - spec.nr_cpus, "device_depth": r.device_leaves.bit_length() - 1,
        "dir_base": r.directory, "dir_lines": r.directory_lines, "cost_base": r.costs, "count_base": r.counts, "hist_base": r.hists,
        "wake_hists": len(image.hists) - state.TIME_CLASSES,
        "stop_at": events.KEY_NEVER, "preempt_model": PREEMPT_MODELS[spec.preempt], "tick_ns": 10**9 // spec.hz,
        "arrivals": r.arrivals, "slice_ns": 3_000_000, "wakeup_gran_ns": 1_000_000,
        **{word: costs.row(row).ns for word, row in machine_costs.items()},
    }  # fmt: skip
    for name, value in words.items():
        memory[image.engine_word(name)] = value
    never = events.KEY_NEVER << events.ACTOR_BITS
    for tree, leaves, first in ((r.cpus, r.cpu_leaves, 0), (r.devices, r.device_leaves, spec.nr_cpus)):
        _put(memory, tree + leaves, [never | (first + leaf) for leaf in range(leaves)])
        for node in range(leaves - 1, 0, -1):
            memory[tree + node] = min(memory[tree + 2 * node], memory[tree + 2 * node + 1])


def _init_devices(image: Image, spec: MachineSpec) -> None:
    for cpu in range(spec.nr_cpus):
        c = image.ref("cpu_hw", cpu)
        c.id, c.node, c.tick_at = cpu, spec.nodes[cpu], state.NEVER
        c.isolated = int(cpu in spec.isolated)
        image.linked.machine["line_seat"](c)
        for level, name in enumerate(("irq0", "irq1")):
            ctx = image.ref("context", 2 * cpu + level)
            ctx.id, ctx.kind, ctx.cpu, ctx.irqs_off = 2 * cpu + level, state.CTX_IRQ, cpu, 1
            setattr(c, name, ctx)
        for vector in (state.VECTOR_TIMER, state.VECTOR_CALL_FUNCTION_SINGLE, state.VECTOR_RESCHEDULE):
            line = image.ref("irq_line", cpu * 4 + vector)
            line.vector = vector
    image.linked.machine["line_owner"](image.ref("cpu_hw", 0))
    for index in range(image.nr_queues):
        q = image.ref("nic_queue", index)
        q.ring, q.size, q.free = image.regions.rings[index], spec.ring_sizes[index], spec.ring_sizes[index]
        q.irq_cpu, q.irq_enabled, q.raise_at = spec.irq_cpus[index], 1, state.NEVER
        q.rx_usecs, q.rx_frames, q.actor = (
            spec.rx_usecs[index],
            spec.rx_frames[index],
            2 * spec.nr_cpus + index,
        )
        line = image.ref("irq_line", spec.nr_cpus * 4 + index)
        line.vector, line.data = state.VECTOR_DEVICE, index


def add_task(image: Image, info: TaskInfo, nice: int = 0) -> Any:
    """Create a task: runnable at time 0 on the first CPU it may use, or the CPU's idle task."""
    p = image.ref("task_struct", info.pid - 1)
    ctx = image.ref("context", 2 * image.nr_cpus + info.pid - 1)
    if not info.cpus:
        raise SoftnetError(
            "a task may run on no CPU",
            where=info.comm,
            found="an empty CPU mask",
            expected="at least one CPU",
        )
    ctx.id, ctx.kind, ctx.cpu, ctx.task = 2 * image.nr_cpus + info.pid - 1, state.CTX_TASK, info.cpus[0], p
    ctx.time_class = info.time_class
    p.pid, p.ctx, p.cpu, p.policy, p.data = info.pid, ctx, info.cpus[0], info.policy, info.data
    p.prio = p.normal_prio = info.prio
    p.weight = nice_weight(nice)
    p.time_class = info.time_class
    p.thread_fn = image.linked.kernel[info.thread_fn]
    for cpu in info.cpus:
        image.linked.machine["set_allowed"](p, cpu)
    c = image.ref("cpu_hw", info.cpus[0])
    if info.policy == state.SCHED_IDLE_TASK:
        c.idle = c.task = p
        c.cur, p.on_cpu = ctx, 1
    else:
        image.linked.machine["enqueue_task"](c, p, 0)
        c.need_resched = 1
    image.tasks.append(info)
    return p


def nice_weight(nice: int) -> int:
    """sched_prio_to_weight[] of kernel/sched/core.c follows 1024 / 1.25 ** nice; here exactly that, rounded."""
    weight = 1024 * 10**12
    for _ in range(abs(nice)):
        weight = weight * 4 // 5 if nice > 0 else weight * 5 // 4
    return max((weight + 5 * 10**11) // 10**12, 3)


def start(image: Image) -> None:
    """Everybody's first action is at time 0; boot leaves no trace of itself in the caches."""
    memory, r = image.memory, image.regions
    clear(memory, r.directory, r.size)
    clear(memory, r.counts, r.counts + image.nr_cpus * len(EVENT_ID))
    memory[image.engine_word("now")] = 0
    memory[image.engine_word("line_transfers")] = 0
    for cpu in range(image.nr_cpus):
        c = image.ref("cpu_hw", cpu)
        c.line_transfers = 0
        image.linked.machine["rnd_seed"](c)
        c.t = 0
        c.time_since = 0
        c.time_class = state.TIME_IDLE
        image.linked.machine["cpu_update"](c)
    for actor in range(image.nr_cpus, image.nr_actors):
        image.linked.machine["actor_set"](actor, state.NEVER)
    image.linked.machine["stop_set"](state.NEVER)


def machine_error(image: Image) -> str:
    """What the machine found wrong, in words."""
    error = image.memory[image.engine_word("error")]
    arg = image.memory[image.engine_word("error_arg")]
    comm = next((t.comm for t in image.tasks if t.pid == arg), "?")
    return {
        state.ERROR_SPIN_RECURSION: f"spinlock recursion: the lock at {arg:#x} is taken twice by one context",
        state.ERROR_UNLOCK_NOT_OWNER: f"the lock at {arg:#x} is released by a context that does not hold it",
        state.ERROR_SLEEP_IN_ATOMIC: f"scheduling while atomic: {comm} (pid {arg})",
        state.ERROR_LOCKDEP: f"lockdep_assert_held: the lock at {arg:#x} is not held",
    }.get(error, f"error {error}, argument {arg}")


def struct_size(program: Program, name: str) -> int:
    """Words of one instance of a structure."""
    return lay_out_structs(program)[name].size
