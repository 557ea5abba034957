# SPDX-License-Identifier: GPL-2.0-or-later
"""An image: a kernel of some release, linked over the memory of a machine, booted with a scenario's settings.

Every engine starts from the same words; the functions are the same text. Boot runs in plain Python, without time.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from softnet.errors import SoftnetError
from softnet.image.costnames import cost_names
from softnet.image.program import PREEMPT_MODELS
from softnet.image.time_classes import WAKEUP_CLASSES
from softnet.lang.program.layout import ENGINE_BASE, ENGINE_STRUCT, LINE_SHIFT, Layout, lay_out
from softnet.lang.program.program import Program, StructDef
from softnet.lang.python.link import Linked, link
from softnet.machine import events, nic, state, stats
from softnet.machine.costtable import CostTable
from softnet.trace import EVENT_ID

if TYPE_CHECKING:
    from softnet.image.plan import MachineSpec, Plan

SHARERS_PER_WORD = 32
ZEROS_BYTES = 1 << 16


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


def list_of_words(count: int) -> list[int]:
    """Memory that only Python reaches; the native engine has its own kind."""
    return [0] * count


def one_per_cpu(spec: MachineSpec, counts: Mapping[str, int], size: int) -> dict[str, int]:
    """Rows of the tables of the observers that every run has."""
    return {"squeeze_stat": spec.nr_cpus}


@dataclass(frozen=True)
class Wiring:
    """How an image is linked: what things cost, who takes its events, what its memory is."""

    costs: CostTable | None
    """None: nothing takes time."""
    record: Callable[[int, int, int, int], None]
    """Takes the events that are traced: event, a, b, c."""
    words: Callable[[int], Any] = list_of_words
    """Makes the memory."""
    checks: bool = False
    """Whether the lock of a guarded field is checked at each access."""
    priced: bool = True
    """Without it no access takes time and nobody gives way: for who runs one function at a time."""
    observed: bool = True
    """Whether the observers can be called from outside. Native code calls them by itself."""
    observer_counts: Callable[[MachineSpec, Mapping[str, int], int], dict[str, int]] = one_per_cpu
    """Rows of the observers' tables, from the machine, the other tables' rows and the words that these take."""
    again: Image | None = None
    """An image that nobody needs any more, of the same program with the same wiring, its memory zeroed: if the new one is of the
    same shape it takes its place, and nothing is laid out and linked anew."""


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
    shape: tuple[Any, ...] = ()
    """What decides where everything stands, beside the program."""

    @property
    def nr_noise(self) -> int:
        """How many sources of noise there are."""
        return self.nr_actors - 1 - 2 * self.nr_cpus - self.nr_queues

    def engine_word(self, name: str) -> int:
        """The address of a field of the machine's singleton."""
        return ENGINE_BASE + self.layout.structs[ENGINE_STRUCT].fields[name].offset

    def ref(self, struct: str, index: int) -> Any:
        """The ``index``-th instance of a structure, as machine functions see it: no cost, no interaction."""
        return self.linked.machine["table"](self.linked.structs[struct], index)

    def word(self, struct: str, index: int, name: str) -> int:
        """The value of one field, read from memory as it stands."""
        return self.memory[self._at(struct, index, name)]

    def set_word(self, struct: str, index: int, name: str, value: int) -> None:
        """Write one field to memory; no CPU did it, and no cache holds its line because of it."""
        self.memory[self._at(struct, index, name)] = value

    def _at(self, struct: str, index: int, name: str) -> int:
        table = self.layout.tables[struct]
        return table.base + index * table.stride + self.layout.structs[struct].fields[name].offset


def _regions(layout: Layout, spec: MachineSpec, nr_costs: int, nr_hists: int) -> Regions:
    r = Regions()
    at = layout.size

    def take(words: int) -> int:
        nonlocal at
        start = at
        at += words
        return start

    actors = 2 * spec.nr_cpus + len(spec.ring_sizes) + len(spec.noise) + 1
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
    """Store a run of words, in a list or in native memory. A list that notes single stores is told of none of these."""
    if isinstance(memory, list):
        list.__setitem__(memory, slice(at, at + len(values)), values)
    else:
        memory[at : at + len(values)] = array("q", values)


def clear(memory: Any, at: int, end: int) -> None:
    """Store zeros, in a list or in native memory."""
    if isinstance(memory, list):
        _put(memory, at, [0] * (end - at))
        return
    # Block by block: as many zeros at once would take as many pages, each a fault.
    zeros = memoryview(bytes(ZEROS_BYTES)).cast("q")
    for first in range(at, end, len(zeros)):
        last = min(first + len(zeros), end)
        memory[first:last] = zeros[: last - first]


def build(program: Program, plan: Plan, wiring: Wiring) -> Image:
    """Lay out, link and initialise an image. The kernel is not booted yet, and there are no tasks: softnet.image.boot."""
    spec = plan.machine
    nr_queues = len(spec.ring_sizes)
    names = cost_names(program)
    cost_index = {name: i for i, name in enumerate(names)}
    counts = {
        **{s.name: spec.nr_cpus for s in program.structs.values() if s.per_cpu},
        **plan.counts, "cpu_hw": spec.nr_cpus, "context": 2 * spec.nr_cpus + plan.tasks_max, "task_struct": plan.tasks_max,
        "net_rx_stack": plan.tasks_max, "irq_line": 4 * spec.nr_cpus + nr_queues + len(spec.noise),
        "nic_queue": nr_queues, "noise_source": len(spec.noise),
    }  # fmt: skip
    counts = {k: v for k, v in counts.items() if k in program.structs}
    hists = [*plan.histograms, *(f"{kind}:{name}" for kind in ("sched", "preempted") for name in WAKEUP_CLASSES)]
    shape = spec.nr_cpus, spec.ring_sizes, tuple(sorted(counts.items())), len(hists)
    old = wiring.again
    if old is not None and old.program is program and old.shape == shape:
        layout, regions, memory, linked = old.layout, old.regions, old.memory, old.linked
        _fill_defaults(memory, layout)
        _fill_directories(memory, layout)
    else:
        layout, regions, memory, linked = _placed(program, spec, wiring, counts, cost_index, len(hists))
    image = Image(
        program, layout, memory, linked, regions, [], hists, cost_index, spec.nr_cpus, nr_queues,
        2 * spec.nr_cpus + nr_queues + len(spec.noise) + 1,
        shape,
    )  # fmt: skip
    _init_engine(image, spec)
    _init_costs(image, wiring.costs)
    _init_devices(image, spec)
    _init_noise(image, spec)
    return image


def _placed(
    program: Program, spec: MachineSpec, wiring: Wiring, counts: dict[str, int], cost_index: dict[str, int], nr_hists: int
) -> tuple[Layout, Regions, Any, Linked]:
    """Lay out the tables with so many rows, in new memory with their initial values, and link the program over it."""
    layout = lay_out(program, counts)
    if layout.observer_index:
        beside = wiring.observer_counts(spec, counts, layout.size)
        counts |= {name: count for name, count in beside.items() if name in program.structs}
        layout = lay_out(program, counts, layout.structs)
    regions = _regions(layout, spec, len(cost_index), nr_hists)
    memory = wiring.words(regions.size)
    _fill_defaults(memory, layout)
    _fill_directories(memory, layout)
    linked = link(
        program, layout, memory, cost_index, EVENT_ID, wiring.record,
        checks=wiring.checks, priced=wiring.priced, observed=wiring.observed,
    )  # fmt: skip
    return layout, regions, memory, linked


def _fill_directories(memory: Any, layout: Layout) -> None:
    """Where each table stands and how many rows it has, as table() asks; the observers' tables have a directory of their own."""
    for name, i in layout.table_index.items():
        table = layout.tables.get(name)
        memory[layout.table_dir + 2 * i] = table.base if table else 0
        memory[layout.table_dir + 2 * i + 1] = table.count if table else 0
    for name, i in layout.observer_index.items():
        table = layout.tables.get(name)
        row = [table.base, table.count] if table else [0, 0]
        _put(memory, layout.observer_dir + 2 * i, row)
        memory[ENGINE_BASE + layout.structs[ENGINE_STRUCT].fields["observed"].offset] = layout.observer_dir


NOISE_KINDS = {"interrupt": state.NOISE_INTERRUPT, "steal": state.NOISE_STEAL, "smi": state.NOISE_SMI}
MACHINE_COSTS = {
    "cost_line_local": "line_transfer_local", "cost_line_remote": "line_transfer_remote", "cost_atomic": "atomic",
    "cost_ipi": "ipi", "cost_handoff": "lock_handoff", "cost_context_switch": "context_switch",
    "cost_irq_entry": "irq_entry", "cost_irq_exit": "irq_exit", "cost_idle_exit": "idle_exit",
    "cost_wakeup": "wakeup", "cost_poll_wake": "poll_wake",
}  # fmt: skip
"""Field of the machine's singleton -> the row of the cost table that it holds."""
OPTIONAL_COSTS = {"cost_ipi_send": "ipi_send"}
"""The same of rows that a table may lack; then they cost nothing."""


def _init_costs(image: Image, costs: CostTable | None) -> None:
    """The prices, or none: then nothing takes time."""
    if costs is None:
        return
    memory, at = image.memory, image.regions.costs
    for name, i in image.cost_index.items():
        row = costs.row(name)
        half = row.base * row.spread_permille // 1000
        memory[at + 2 * i] = row.base - half
        memory[at + 2 * i + 1] = 2 * half + 1 if row.spread_permille else 0
    for word, name in MACHINE_COSTS.items():
        memory[image.engine_word(word)] = costs.row(name).ns
    for word, name in OPTIONAL_COSTS.items():
        if name in costs.rows:
            memory[image.engine_word(word)] = costs.rows[name].ns


def _init_engine(image: Image, spec: MachineSpec) -> None:
    r, memory = image.regions, image.memory
    words = {
        "now": 0, "lim": state.NEVER, "cpu": 0, "ctx": 0, "seed": spec.seed & 0x7FFFFFFF, "nr_cpus": spec.nr_cpus,
        "nr_actors": image.nr_actors,
        "cpus": r.cpus, "cpu_leaves": r.cpu_leaves, "cpu_depth": r.cpu_leaves.bit_length() - 1, "devices": r.devices,
        "device_leaves": r.device_leaves - spec.nr_cpus, "device_depth": r.device_leaves.bit_length() - 1,
        "dir_base": r.directory, "dir_lines": r.directory_lines, "cost_base": r.costs, "count_base": r.counts, "hist_base": r.hists,
        "wake_hists": len(image.hists) - 2 * state.TIME_CLASSES, "preempt_hists": len(image.hists) - state.TIME_CLASSES,
        "stop_at": events.KEY_NEVER, "preempt_model": PREEMPT_MODELS[spec.preempt], "tick_ns": 10**9 // spec.hz,
        "tick_in_idle": int(spec.tick_in_idle), "noise_first": 2 * spec.nr_cpus + len(spec.ring_sizes),
        "arrivals": r.arrivals,
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
        c.id, c.node, c.llc, c.tick_at = cpu, spec.nodes[cpu], spec.llcs[cpu], state.NEVER
        c.isolated = int(cpu in spec.isolated)
        c.idle_exit = image.memory[image.engine_word("cost_idle_exit")]
        c.idle_wake = image.memory[image.engine_word("cost_poll_wake")]
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


def _init_noise(image: Image, spec: MachineSpec) -> None:
    for i, source in enumerate(spec.noise):
        row = image.ref("noise_source", i)
        row.kind, row.cpu, row.interval_ns = NOISE_KINDS[source.kind], source.cpu, source.interval_ns
        row.least_ns, row.values = source.least_ns, source.most_ns - source.least_ns + 1
        line = image.ref("irq_line", 4 * spec.nr_cpus + image.nr_queues + i)
        line.vector = state.VECTOR_OTHER


def _first_noise(image: Image) -> dict[int, int]:
    """When each source of noise first strikes, by its actor. It does not depend on the seed, as nothing does in a fresh image."""
    first, count = 2 * image.nr_cpus + image.nr_queues, image.nr_noise
    return {first + i: image.word("noise_source", i, "interval_ns") * (i + 1) // (count + 1) for i in range(count)}


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
        c.t = 0
        c.time_since = 0
        c.time_class = state.TIME_IDLE
        image.linked.machine["cpu_update"](c)
    due = _first_noise(image)
    for actor in range(image.nr_cpus, image.nr_actors):
        image.linked.machine["actor_set"](actor, due.get(actor, state.NEVER))
    for cpu in range(image.nr_cpus):
        image.linked.machine["timer_program"](image.ref("cpu_hw", cpu))
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
