# SPDX-License-Identifier: GPL-2.0-or-later
"""A small machine to explore: a release, user's patches and the harness, booted, with its state cut into components."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from softnet.errors import SoftnetError
from softnet.lang import Struct, ir
from softnet.lang.program.digest import program_digest
from softnet.lang.program.program import Program
from softnet.linux import releases
from softnet.machine import nic, state
from softnet.machine.costtable import load_cost_table
from softnet.scenario import apply_kernel, scenario_from_dict
from softnet.simulate import boot
from softnet.simulate import image as images
from softnet.simulate.image import Image, TaskInfo
from softnet.simulate.simulation import POLICIES, TIME_CLASS_OF_KIND, constants, machine_spec
from softnet.trace import EVENT_ID
from softnet.verify.codegen import frames as back_end
from softnet.verify.codegen.guard import check_patches, depended_on
from softnet.verify.codegen.points import CAUTIOUS, Facts, facts_of, reachable, stored_fields, with_stops
from softnet.verify.inside.words import VX_COMP_WORDS, VX_PER_CPU
from softnet.verify.properties import PROPERTIES, Property
from softnet.verify.user_properties import Claim, claims_of, dispatcher

if TYPE_CHECKING:
    from softnet.scenario.models import Scenario

_INSIDE = "softnet.verify.inside"
HARNESS = tuple(
    f"{_INSIDE}.{name}" for name in ("words", "harness", "properties", "explorer", "exact", "compact", "cycles", "buffers", "races")
)
DRIVER_KINDS = {"free": 0, "netif_rx": 1, "rps": 2, "irq": 3, "hotplug": 4, "nic": 5, "call": 6}
WITHOUT_SKBS = ("hotplug", "call")
"""Kinds of driver whose count is of something else."""
DEVICES = ("irq", "nic")
"""Kinds of driver that are no task."""
EVENTS = {"skb_defer_max": 0, "netdev_max_backlog": 1, "netdev_budget": 2, "dev_weight": 3, "rps_cpus": 4}
"""Settings that may change while the system runs; rps_cpus is a mask, for every receive queue."""
_EVENT_CONSTANTS = ("VX_SET_DEFER_MAX", "VX_SET_BACKLOG", "VX_SET_BUDGET", "VX_SET_WEIGHT", "VX_SET_RPS")
STACK_WORDS = 320

STATISTICS = frozenset(
    ("context.wait_since", "context.time_class", "context.wait_next", "context.waiting_for", "cpu_hw.time_class",
     "cpu_hw.time_since", "cpu_hw.time_spent", "cpu_hw.spin_ns", "cpu_hw.rnd_count", "cpu_hw.line_transfers",
     "cpu_hw.context_switches", "cpu_hw.irq_from", "cpu_hw.tick_at", "cpu_hw.min_vruntime", "task_struct.exec_start",
     "task_struct.slice_used", "task_struct.woken_at", "task_struct.nr_switches", "task_struct.nr_wakeups",
     "task_struct.vruntime", "task_struct.time_class", "spinlock_t.contended", "softnet_data.processed",
     "softnet_data.time_squeeze", "softnet_data.received_rps", "softnet_data.dropped", "softnet_data.input_queue_head",
     "softnet_data.input_queue_tail", "net_device.nr_rx_dropped", "skb_drop_stats.reason", "skb_drop_stats.skbs",
     "irq_line.at", "nic_queue.received", "nic_queue.dropped", "nic_queue.irqs", "nic_vector.received",
     "nic_vector.alloc_failed")
)  # fmt: skip
"""Fields that count or keep time: no function's path depends on them while the clock stands still and RFS is off."""

NOT_STATE = frozenset(("engine_state", "explorer"))


@dataclass(frozen=True)
class Driver:
    """A task of the harness, on ``cpu``, on ``count`` skbs of ``alloc_cpu``.

    ``kind``: free calls skb_attempt_defer_free(), netif_rx queues on its CPU's backlog, rps on that of ``target``; irq is no
    task but a device's interrupt, whose handler calls netif_rx(); nic a card with NAPI that receives ``count`` frames; hotplug
    takes ``target`` offline, and with a ``count`` of 2 online again; call calls the user's verify_task(``count``).
    """

    kind: str
    cpu: int
    count: int = 1
    alloc_cpu: int = 0
    target: int = 0


@dataclass(frozen=True)
class Event:
    """A setting that changes once while the system runs."""

    name: str
    value: int


@dataclass(frozen=True)
class Config:
    """What is explored."""

    name: str
    kernel: str = "6.12"
    cpus: int = 2
    rps: bool = False
    defer_max: int = 2
    budget: int = 300
    dev_weight: int = 64
    drivers: tuple[Driver, ...] = ()
    patches: tuple[str, ...] = ()
    preempt: str = ""
    resched: bool = True
    """Whether the scheduler may preempt a fair task in favour of another at any time."""
    resched_max: int = -1
    """How often at most, on all CPUs together; -1 for no bound."""
    any_order: bool = False
    """Whether it may choose any of the waiting fair tasks, instead of the one that waits longest."""
    ticks: int = 0
    """How often time may jump past every limit."""
    rps_cpus: int = 0
    """The mask of CPUs to which every receive queue steers, with ``rps``; 0 is none."""
    threaded: bool = False
    """Whether cards poll in a thread napi/NIC-QUEUE."""
    threadirqs: bool = False
    """The boot argument: softirqs that an interrupt raised run in ksoftirqd."""
    events: tuple[Event, ...] = ()
    """Settings that change at any time, each once; those of one name in their order."""
    memory_model: str = "sc"
    """``sc``: sequentially consistent; ``tso``: x86's, each CPU with a store buffer (softnet.verify.codegen.store_order)."""
    store_buffer: int = 4
    """How many stores a CPU's buffer holds at most, with ``tso``."""
    reduce: bool = True
    owned: bool = True
    """Whether a context may pass without a stop what no other CPU touches (softnet.verify.ownership)."""
    races: bool = True
    """Whether data races and touches after a free are looked for (softnet.verify.inside.races)."""
    liveness: bool = False
    """Whether the graph of the finished search is asked for what stays owed for ever."""
    property_files: tuple[str, ...] = ()
    """Files with properties of the user's own (softnet.verify.user_properties)."""
    properties: tuple[str, ...] = ()
    """Names of the properties to check; all if empty. What stops a kernel function counts always."""


@dataclass
class Components:
    """The words of a state: per component its name, its addresses and 1 + the context whose frames they are."""

    names: list[str] = field(default_factory=list)
    addresses: list[list[int]] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)


@dataclass
class Model:
    """A booted configuration."""

    config: Config
    scenario: Scenario
    program: Program
    module: ir.Module
    image: Image
    frames: back_end.Frames
    roots: list[str]
    changing: frozenset[str]
    nr_contexts: int
    facts: Facts = CAUTIOUS
    properties: dict[int, Property] = field(default_factory=dict)
    words_of: dict[int, Leaf] = field(default_factory=dict)
    """Address -> what every word of a table is."""
    one_holder: list[int] = field(default_factory=list)
    """The words that softnet.verify.ownership finds to be of one holder, once it has looked."""

    def context_name(self, ctx: int) -> str:
        """Who a context is: an interrupt level of a CPU, or a task."""
        cpus = self.config.cpus
        return f"an interrupt of CPU{ctx // 2}" if ctx < 2 * cpus else self.image.tasks[ctx - 2 * cpus].comm


def nr_actions(config: Config) -> int:
    """How many actions there are: of each CPU, of each driver, that time passes, that a setting changes, of store buffers."""
    buffers = config.cpus if store_buffer(config) else 0
    return VX_PER_CPU * config.cpus + len(config.drivers) + 1 + len(config.events) + buffers


def known_properties(config: Config) -> dict[int, Property]:
    """The properties by number, with those of the user's files."""
    claims = claims_of([releases.load_patch(path) for path in (*config.patches, *config.property_files)])
    return PROPERTIES | {c.number: Property(c.name, "", c.text) for c in claims}


def scenario_of(config: Config) -> Scenario:
    """The scenario that boots the configuration: CPUs and kernel, no cards, no traffic."""
    tables: dict[str, Any] = {
        "machine": {"cpus": config.cpus},
        "kernel": {
            "config": {"RPS": config.rps, "NET_FLOW_LIMIT": False},
            "sysctl": {"skb_defer_max": config.defer_max, "netdev_budget": config.budget, "dev_weight": config.dev_weight},
        },
        "measure": {"duration_ms": 1},
    }
    cards = [d.cpu for d in config.drivers if d.kind == "nic"]
    tables["nic"] = [
        {"name": f"nic{i}", "irq_cpus": [cpu], "ring": 16, "gro": False, "threaded": config.threaded} for i, cpu in enumerate(cards)
    ]
    raw = apply_kernel(tables, config.kernel)
    if config.threadirqs:
        raw["kernel"]["boot_args"] = [*raw["kernel"].get("boot_args", ()), "threadirqs"]
    flavour = raw["kernel"].get("flavour", "plain")
    if flavour != "rt":
        raw["kernel"]["preempt"] = config.preempt or "full"
    return scenario_from_dict(raw, [], directory=Path())


def build_program(config: Config, scenario: Scenario, patches: Sequence[ModuleType], claims: Sequence[Claim]) -> Program:
    """The release's modules, the user's patches, the harness. Raises SubsetError, PatchError."""
    modules = images.load_modules(releases.modules_for(scenario.kernel.release, scenario.kernel.flavour))
    modules += [*images.load_modules((f"{_INSIDE}.user_task",)), *patches]
    work = any("worker_thread" in vars(module) for module in modules)
    modules += [dispatcher(claims), *images.load_modules((*HARNESS, f"{_INSIDE}.calls{'_work' if work else ''}"))]
    changed = {EVENTS[e.name] for e in config.events}
    values = constants(scenario) | {
        "VX_RESCHED": 2 if config.resched_max >= 0 else int(config.resched),
        "VX_ORDER": int(config.any_order), "VX_TICKS": int(config.ticks > 0),
        "VX_STORE_BUFFER": store_buffer(config),
        "VX_HOTPLUG": int(plugged(config)), "VX_RACES": int(config.races),
    } | {name: int(kind in changed) for kind, name in enumerate(_EVENT_CONSTANTS)}  # fmt: skip
    program = images.make_program(modules, values)
    check_patches(program, patches, HARNESS)
    if any(d.kind == "call" for d in config.drivers) and program.functions["verify_task"].module == f"{_INSIDE}.user_task":
        raise SoftnetError("nothing to call", where="driver call", found="no verify_task() in a patch file",
                           expected="--patch FILE with a kfunc verify_task(number: int) -> None")  # fmt: skip
    return program


def build_model(config: Config, memory: Any = None, *, log: bool = False) -> Model:
    """Boot a configuration. ``memory`` makes the words of the image."""
    scenario = scenario_of(config)
    patches = [releases.load_patch(path) for path in (*config.patches, *config.property_files)]
    claims = claims_of(patches)
    program = build_program(config, scenario, patches, claims)
    image = boot_image(config, scenario, program, patches, memory)
    key = (program_digest(program), *config.patches, *config.property_files, *image.cost_index.items())
    module = _kept(("module", *key), lambda: lowered(program, image))
    roots = find_roots(program, image, module)
    if store_buffer(config):
        roots = sorted({*roots, *STORE_BUFFER_FUNCTIONS})
    if config.races:
        roots = sorted({*roots, *RACE_FUNCTIONS})

    movable = plugged(config) or any(len(task.cpus) > 1 for task in image.tasks)
    used = reachable(module, roots, program)
    module = _kept(("stops", *key, *roots), lambda: with_stops(module, used))

    def emitted() -> tuple[back_end.Frames, frozenset[str], Facts]:
        ignored = STATISTICS - depended_on(module, patches, STATISTICS)
        facts = facts_of(module, used, movable=movable)
        frames = back_end.emit_frames(module, program, roots, ignored, NOT_STATE, reduce=config.reduce, log=log,
                                      store_buffer=store_buffer(config), owned=owned, races=config.races, facts=facts)  # fmt: skip
        return frames, stored_fields(module, used) - ignored, facts

    owned = applies(config) and not log
    frames, changing, facts = _kept(("frames", *key, *roots, config.reduce, log, owned, movable, config.races), emitted)
    return Model(config, scenario, program, module, image, frames, roots, changing,
                 2 * config.cpus + len(image.tasks), facts, known_properties(config))  # fmt: skip


def plugged(config: Config) -> bool:
    """Whether a CPU goes."""
    return any(d.kind == "hotplug" for d in config.drivers)


def applies(config: Config) -> bool:
    """Whether ownership may be assumed: the search looks into other CPUs nowhere but in their steps."""
    return config.owned and config.reduce and config.memory_model == "sc" and not config.liveness and not plugged(config)


def lowered(program: Program, image: Image) -> ir.Module:
    """The program in the intermediate form, with checks of guarded fields."""
    from softnet.lang.check.subset import typed_program
    from softnet.lang.lowering.lower import lower_program

    return lower_program(typed_program(program), image.cost_index, EVENT_ID, checks=True)


_KEPT: dict[tuple[object, ...], Any] = {}
KEPT_MAX = 12


def _kept(key: tuple[object, ...], make: Callable[[], Any]) -> Any:
    """What was made for that key before: configurations of one kernel differ in memory more often than in code."""
    if key not in _KEPT:
        while len(_KEPT) >= KEPT_MAX:
            del _KEPT[next(iter(_KEPT))]
        _KEPT[key] = make()
    return _KEPT[key]


def own_structs(patches: Sequence[ModuleType]) -> list[str]:
    """The structures that a user's files declare anew."""
    return [
        name
        for patch in patches
        for name, value in vars(patch).items()
        if isinstance(value, type) and issubclass(value, Struct) and value.__module__ == patch.__name__ and not value._extends
    ]


def boot_image(config: Config, scenario: Scenario, program: Program, patches: Sequence[ModuleType], memory: Any) -> Image:
    """Memory as boot leaves it, with the drivers' tasks and their skbs; of a user's own structure there is one for each CPU."""
    cpus, drivers = config.cpus, config.drivers
    nr_skbs = max(sum(d.count for d in drivers if d.kind not in WITHOUT_SKBS), 1)
    counts = boot.STRUCT_COUNTS(scenario)
    counts |= {
        "sk_buff": nr_skbs, "verify_env": 1, "explorer": 1, "vx_driver": max(len(drivers), 1), "vx_skb": nr_skbs, "vx_sd": cpus,
        "vx_event": max(len(config.events), 1), "vx_buffer": cpus if store_buffer(config) else 1,
        "rps_map": counts["rps_map"] + len(config.events),
    }  # fmt: skip
    going = sorted({d.target for d in drivers if d.kind == "hotplug"})
    nr_tasks = cpus + boot.nr_tasks_max(scenario) + len(drivers) + len(going)
    counts["vx_open"] = 2 * cpus + nr_tasks if config.races else 1
    counts = dict.fromkeys(own_structs(patches), cpus) | counts
    image = images.build(
        program, machine_spec(scenario, 1), counts, nr_tasks, [], load_cost_table("default"), lambda *args: None, words=memory
    )
    free_of_charge(image)
    kernel = image.linked.kernel
    specs = boot.boot(kernel, scenario)
    specs += [stopper(image, cpu) for cpu in going]
    for cpu in range(cpus):
        idle = (state.SCHED_IDLE_TASK, 120, "cpu_startup_entry", cpu, state.TIME_IDLE)
        images.add_task(image, TaskInfo(cpu + 1, f"swapper/{cpu}", (cpu,), *idle))
    for pid, spec in enumerate(specs, start=cpus + 1):
        policy, prio = POLICIES[spec.policy], 99 - spec.priority if spec.policy != "other" else 120 + spec.nice
        info = TaskInfo(pid, spec.comm, spec.cpus, policy, prio, spec.thread_fn, spec.data, TIME_CLASS_OF_KIND[spec.kind])
        task = images.add_task(image, info, spec.nice)
        if spec.store is not None:
            spec.store(task)
    add_drivers(image, config)
    add_events(image, config)
    images.start(image)
    return image


def stopper(image: Image, cpu: int) -> boot.TaskSpec:
    """The thread that takes the CPU down, above every other task."""

    def store(task: Any) -> None:
        image.ref("cpu_stopper", cpu).thread = task

    return boot.TaskSpec(f"migration/{cpu}", (cpu,), "fifo", 99, 0, "cpu_stopper_thread", cpu, "hotplug", store)


def free_of_charge(image: Image) -> None:
    """Nothing takes time: the order of events is the search's."""
    memory = image.memory
    for i in range(2 * len(image.cost_index)):
        memory[image.regions.costs + i] = 0
    for name in image.layout.structs["engine_state"].fields:
        if name.startswith("cost_") and name != "cost_base":
            memory[image.engine_word(name)] = 0


def add_drivers(image: Image, config: Config) -> None:
    """The drivers' tasks, each pinned to its CPU, and their skbs in use, allocated where the configuration says."""
    for cpu in range(config.cpus):
        sd = image.ref("softnet_data", cpu)
        # process_backlog() sets it at its first poll; the system is older than that.
        sd.backlog.weight = config.dev_weight
        sd.backlog.poll = image.linked.kernel["vx_process_backlog"]
        kick = sd.defer_work if "defer_work" in image.layout.structs["softnet_data"].fields else sd.defer_csd
        sd.csd.func, kick.func = (image.linked.kernel[f"vx_{n}"] for n in ("rps_trigger_softirq", "trigger_rx_softirq"))
    first = nr_cards = 0
    env = image.ref("verify_env", 0)
    env.ticks_left, env.resched_left = config.ticks, max(config.resched_max, 0)
    env.nr_producers = sum(1 for d in config.drivers if d.kind == "free")
    # A card's skbs come last: napi_skb_cache_get() takes them in their order.
    for number, driver in sorted(enumerate(config.drivers), key=lambda pair: pair[1].kind == "nic"):
        row = image.ref("vx_driver", number)
        if driver.kind not in DEVICES:
            info = TaskInfo(len(image.tasks) + 1, f"{driver.kind}/{driver.cpu}", (driver.cpu,), state.SCHED_NORMAL, 120,
                            "vx_driver_task", number, state.TIME_SYSTEM)  # fmt: skip
            row.task = images.add_task(image, info)
        target = driver.cpu if driver.kind == "irq" else driver.target
        row.kind, row.first, row.count, row.target = DRIVER_KINDS[driver.kind], first, driver.count, target
        row.home = driver.cpu
        if driver.kind == "nic":
            add_frame(image, number, nr_cards)
            nr_cards += 1
        elif driver.kind not in WITHOUT_SKBS:
            for i in range(first, first + driver.count):
                add_skb(image, i, driver.alloc_cpu)
            first += driver.count
    env.next_skb = first


def add_skb(image: Image, index: int, alloc_cpu: int) -> None:
    """A driver's own skb, in use."""
    skb = image.ref("sk_buff", index)
    skb.id, skb.state, skb.users, skb.dataref = index + 1, 1, 1, 1
    skb.alloc_cpu = skb.slab_cpu = alloc_cpu
    skb.len, skb.nr_packets, skb.hash = 1, 1, FLOW_HASH
    skb.dev = image.ref("net_device", 0)


def add_frame(image: Image, number: int, card: int) -> None:
    """The frame that a card's driver receives, over and over: of one flow, for nobody's socket."""
    at = image.regions.arrivals + number * nic.ARRIVAL_WORDS
    image.memory[at + nic.ARRIVAL_QUEUE] = card
    image.memory[at + nic.ARRIVAL_HASH] = FLOW_HASH
    image.memory[at + nic.ARRIVAL_LEN] = 1


def add_events(image: Image, config: Config) -> None:
    """The settings that change while the system runs, and where RPS steers at first."""
    ns = image.linked.machine
    maps = ns["table_len"](image.linked.structs["rps_map"]) - len(config.events)
    for i in range(ns["table_len"](image.linked.structs["vx_event"])):
        image.ref("vx_event", i).kind = -1
    for number, event in enumerate(config.events):
        row = image.ref("vx_event", number)
        row.kind, row.value, row.row = EVENTS[event.name], event.value, maps + number
        fill_map(image, maps + number, event.value if event.name == "rps_cpus" else 0)
    if config.rps_cpus:
        for queue in range(ns["table_len"](image.linked.structs["netdev_rx_queue"])):
            fill_map(image, queue, config.rps_cpus)
            image.ref("netdev_rx_queue", queue).map = image.ref("rps_map", queue)
        boot.update_static_keys(image.linked.kernel)


def fill_map(image: Image, row: int, mask: int) -> None:
    """The CPUs of a mask into an rps_map."""
    cpus = [cpu for cpu in range(image.nr_cpus) if mask >> cpu & 1]
    image.ref("rps_map", row).len = len(cpus)
    for at, cpu in enumerate(cpus):
        image.ref("rps_map", row).cpus[at] = cpu


FLOW_HASH = 1
"""Every packet is of one flow: RPS steers it to the first CPU of the mask."""

SEARCHES = (
    "vx_explore", "vx_start", "vx_settle", "vx_replay", "vx_compact_explore", "vx_compact_start", "vx_compact_grow", "vx_edges",
    "vx_scc", "vx_rebuild", "vx_walk",
)  # fmt: skip
"""What the search calls, by the number of the call."""
EXPLORER_FUNCTIONS = (*SEARCHES, "vx_warn", "vx_touched", "vx_calm", "vx_exposed", "vx_may_move", "irqs_disabled", "lock_is_held")


STORE_BUFFER_FUNCTIONS = ("vx_buffer_load", "vx_buffer_store", "vx_buffer_release", "vx_buffer_fence", "vx_buffer_fill")
"""What the back end calls where a CPU has a store buffer."""
RACE_FUNCTIONS = ("vx_plain", "vx_commit", "vx_race_owner", "vx_freed_node")
"""What it calls at an access to a word of one holder."""


def store_buffer(config: Config) -> int:
    """How many stores a CPU's buffer holds; 0 where memory is sequentially consistent."""
    return config.store_buffer if config.memory_model == "tso" else 0


def find_roots(program: Program, image: Image, module: ir.Module) -> list[str]:
    """Where execution may begin: the two kinds of context, the search, and every function that a booted pointer names."""
    names = {number: name for name, number in module.function_ids.items()}
    roots = {"irq_context", "task_context", *EXPLORER_FUNCTIONS}
    for address, leaf in leaf_words(image):
        struct, _, name = leaf.what.partition(".")
        if program.structs[struct].fields[name].type == "fnptr" and image.memory[address]:
            roots.add(names[image.memory[address]])
    return sorted(roots)


@dataclass(frozen=True)
class Leaf:
    """A word of a table: the "structure.field" that declares it, the table, and the path from the table's instance."""

    what: str
    table: str
    index: int
    path: str


def leaf_words(image: Image) -> list[tuple[int, Leaf]]:
    """Every word of every table with its address."""
    layout = image.layout
    out: list[tuple[int, Leaf]] = []

    def visit(struct: str, base: int, table: str, index: int, path: str) -> None:
        for f in layout.structs[struct].fields.values():
            for i in range(f.count):
                name = f"{path}{f.name}" + (f"[{i}]" if f.count > 1 else "")
                if f.embedded:
                    visit(f.type, base + f.offset + i * layout.structs[f.type].size, table, index, name + ".")
                else:
                    out.append((base + f.offset + i, Leaf(f"{struct}.{f.name}", table, index, name)))

    for name, table in sorted(layout.tables.items()):
        for index in range(table.count):
            visit(name, table.base + index * table.stride, name, index, "")
    return out


def components(model: Model, stacks: int) -> Components:
    """Cut the words that may change into components: one per instance of the big structures, the rest by table.

    The last are the contexts' frames, as long as the deepest can be.
    """
    groups: dict[str, list[int]] = {}
    for address, leaf in leaf_words(model.image):
        model.words_of[address] = leaf
        if leaf.what not in model.changing:
            continue
        if leaf.table in NOT_STATE:
            # What is stored to such a word would be undone without being part of a state.
            assert leaf.what.partition(".")[0] in NOT_STATE, leaf
            continue
        groups.setdefault(f"{leaf.table}[{leaf.index}]", []).append(address)
    out = Components()
    for name, addresses in groups.items():
        out.names.append(name)
        out.addresses.append(addresses)
        out.owners.append(0)
    for ctx in range(model.nr_contexts):
        out.names.append(f"frames of context {ctx}")
        out.addresses.append(list(range(stacks + ctx * STACK_WORDS, stacks + (ctx + 1) * STACK_WORDS)))
        out.owners.append(ctx + 1)
    return out


def check_room(image: Image) -> None:
    """Addresses are stored in halves of words nowhere, but numbers of values are."""
    if image.regions.size >= 1 << 31:
        raise SoftnetError("the configuration is too large", found=f"{image.regions.size} words", expected="fewer than 2**31")


__all__ = ["VX_COMP_WORDS", "Components", "Config", "Driver", "Model", "build_model", "components"]
