# SPDX-License-Identifier: GPL-2.0-or-later
"""A small machine to explore: a release, user's patches and the harness, booted, with its state cut into components."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from softnet.errors import SoftnetError
from softnet.image.boot import boot
from softnet.image.costnames import cost_names
from softnet.image.image import Image, Wiring, list_of_words
from softnet.image.plan import Plan
from softnet.image.program import constants, kernel_modules, load_modules, make_program
from softnet.image.settings import update_static_keys
from softnet.image.tasks import TaskSpec
from softnet.lang import Struct, ir
from softnet.lang.program.digest import around, program_digest
from softnet.lang.program.program import Program
from softnet.linux import releases
from softnet.linux.mends import mended
from softnet.machine import MACHINE_MODULES, nic
from softnet.machine.costtable import load_cost_table
from softnet.properties.history import WHERE_MODULES
from softnet.properties.numbers import VX_DATA_RACE
from softnet.properties.statements import PROPERTIES, Property
from softnet.release import DEFAULT
from softnet.scenario import apply_kernel, parse_kernel, scenario_from_dict
from softnet.trace import EVENT_ID
from softnet.verify.codegen import llvm_frames as back_end
from softnet.verify.codegen.frames import Frames
from softnet.verify.codegen.guard import check_patches, depended_on
from softnet.verify.codegen.llvm_functions import Code
from softnet.verify.codegen.points import Facts, facts_of, reachable, stored_fields, with_stops
from softnet.verify.inside.words import VX_COMP_WORDS, VX_PER_CPU
from softnet.verify.patches import Patch, changes_of, refuse_anew
from softnet.verify.user_properties import Claim, claims_of, dispatcher

if TYPE_CHECKING:
    from softnet.lang.check.subset import TypedFunction
    from softnet.lang.native.llvm_function import Text
    from softnet.scenario.models import Scenario

_INSIDE = "softnet.verify.inside"
_PROPERTIES = "softnet.properties"
LIST_FIELD = {f"{_PROPERTIES}.where": "softnet_data.defer_list", f"{_PROPERTIES}.where_nodes": "skb_defer_node.defer_count"}
"""What says where a shipped kernel's defer list is -> the field that a kernel stores to if it is there."""
HARNESS = (
    f"{_PROPERTIES}.numbers",
    f"{_PROPERTIES}.state",
    *(f"{_INSIDE}.{name}" for name in ("words", "fair", "harness", "properties", "explorer", "exact", "compact", "shared")),
    *(f"{_INSIDE}.{name}" for name in ("parts", "swarm", "cycles", "buffers", "open_accesses", "races")),
)
DRIVER_KINDS = {"free": 0, "netif_rx": 1, "rps": 2, "irq": 3, "hotplug": 4, "nic": 5, "call": 6, "close": 7, "busy": 8}
WITHOUT_SKBS = ("hotplug", "call", "close", "busy")
"""Kinds of driver whose count is of something else."""
DEVICES = ("irq", "nic")
"""Kinds of driver that are no task."""
EVENTS = {"skb_defer_max": 0, "netdev_max_backlog": 1, "netdev_budget": 2, "dev_weight": 3, "rps_cpus": 4}
"""Settings that may change while the system runs; rps_cpus is a mask, for every receive queue."""
_EVENT_CONSTANTS = ("VX_SET_DEFER_MAX", "VX_SET_BACKLOG", "VX_SET_BUDGET", "VX_SET_WEIGHT", "VX_SET_RPS")
STACK_WORDS = 320
RACE: Final = PROPERTIES[VX_DATA_RACE].name


@dataclass(frozen=True)
class Driver:
    """A task of the harness, on ``cpu``, on ``count`` skbs of ``alloc_cpu``.

    ``kind``: free calls skb_attempt_defer_free(), netif_rx queues on its CPU's backlog, rps on that of ``target``; irq is no
    task but a device's interrupt, whose handler calls netif_rx(); nic a card with NAPI that receives ``count`` frames; hotplug
    takes ``target`` offline, and with a ``count`` of 2 online again; call calls the user's verify_task(``count``). close stops the
    card whose interrupts ``target`` takes, and with a ``count`` of 2 starts it again; busy polls it, up to ``count`` times and then
    once more.
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
    kernel: str = DEFAULT
    cpus: int = 2
    nodes: int = 1
    """NUMA nodes, to which the CPUs are dealt in equal runs."""
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
    ttwu_queue: bool = True
    """Whether a task of another CPU that idles is woken by way of that CPU's wake list; 0 is NO_TTWU_QUEUE in the kernel's
    sched/features. PREEMPT_RT has it off.
    """
    defer_hard_irqs: int = 0
    """Cards' napi_defer_hard_irqs: after so many empty polls by a timer the interrupt is enabled. 0: at once, no timer."""
    prefer_busy_poll: bool = False
    """Whether the drivers *busy* prefer their polls to the softirq's."""
    busy_poll_budget: int = 1
    """Packets of one poll of theirs."""
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
    without: tuple[str, ...] = ()
    """Names of properties that are not checked."""
    mended: str = ""
    """The finding that is mended in this kernel (softnet.linux.mends), with its patches; "" for none."""

    @property
    def preempt_rt(self) -> bool:
        """Whether the kernel is PREEMPT_RT."""
        return parse_kernel(self.kernel).rt


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
    text: Text
    frames: Frames
    roots: list[str]
    changing: frozenset[str]
    nr_contexts: int
    facts: Facts
    properties: dict[int, Property] = field(default_factory=dict)
    words_of: dict[int, Leaf] = field(default_factory=dict)
    """Address -> what every word of a table is."""
    one_holder: list[int] = field(default_factory=list)
    """The words that softnet.verify.ownership finds to be of one holder, once it has looked."""
    changes: tuple[str, ...] = ()
    """What each patch changes, in words."""

    def context_name(self, ctx: int) -> str:
        """Who a context is: an interrupt level of a CPU, or a task."""
        cpus = self.config.cpus
        return f"an interrupt of CPU{ctx // 2}" if ctx < 2 * cpus else self.image.tasks[ctx - 2 * cpus].comm


def nr_actions(config: Config) -> int:
    """How many actions there are: of each CPU, of each driver, that time passes, that a setting changes, of store buffers."""
    buffers = config.cpus if store_buffer(config) else 0
    return VX_PER_CPU * config.cpus + len(config.drivers) + 1 + nr_settings(config) + nr_timers(config) + buffers


def nr_settings(config: Config) -> int:
    """How many numbers of actions the changes of settings have: where timers come behind them, one at least."""
    return max(len(config.events), 1) if nr_timers(config) else len(config.events)


def nr_timers(config: Config) -> int:
    """How many cards have a timer that may expire."""
    return len(cards_of(config)) if config.defer_hard_irqs else 0


def shared_code(config: Config) -> tuple[object, ...]:
    """What the code of a search depends on: where this is equal, one process builds it once (_kept())."""
    kinds = {d.kind for d in config.drivers}
    events = tuple(sorted({e.name for e in config.events}))
    return (
        config.kernel, config.patches, config.mended, config.property_files, config.rps, config.preempt, config.resched,
        config.resched_max >= 0, config.any_order, config.ticks > 0, events, store_buffer(config), config.reduce, config.races,
        "hotplug" in kinds, "close" in kinds, "busy" in kinds, config.defer_hard_irqs > 0, config.ttwu_queue,
    )  # fmt: skip


def asks_races(config: Config) -> bool:
    """Whether data races are looked for: they are a property, which may be left out."""
    return config.races and RACE in (config.properties or (RACE,)) and RACE not in config.without


def known_properties(config: Config) -> dict[int, Property]:
    """The properties by number, with those of the user's files."""
    claims = claims_of([module for _, module in _patches(config)])
    return PROPERTIES | {c.number: Property(c.name, "", c.text) for c in claims}


def _patches(config: Config) -> list[Patch]:
    """The modules of the user's patches, with what they are called; behind them those of the property files."""
    choice = parse_kernel(config.kernel)
    found = releases.load_patches(config.patches, choice.release, choice.flavour)
    if config.mended:
        found += mended(config.mended, choice.release, choice.flavour, config.patches) or ()
    return found + releases.load_patches(config.property_files, choice.release, choice.flavour)


def scenario_of(config: Config) -> Scenario:
    """The scenario that boots the configuration: CPUs and kernel, no cards, no traffic."""
    tables: dict[str, Any] = {
        "machine": {"cpus": config.cpus, "numa_nodes": config.nodes},
        "kernel": {
            "config": {"RPS": config.rps, "NET_FLOW_LIMIT": False},
            "sysctl": {"skb_defer_max": config.defer_max, "netdev_budget": config.budget, "dev_weight": config.dev_weight},
        },
        "measure": {"duration_ms": 1},
    }
    cards = cards_of(config)
    tables["nic"] = [
        {
            "name": f"nic{i}", "irq_cpus": [cpu], "ring": 16, "gro": False, "threaded": config.threaded,
            "napi_defer_hard_irqs": config.defer_hard_irqs, "gro_flush_timeout": int(config.defer_hard_irqs > 0),
        }
        for i, cpu in enumerate(cards)
    ]  # fmt: skip
    raw = apply_kernel(tables, config.kernel)
    if config.threadirqs:
        raw["kernel"]["boot_args"] = [*raw["kernel"].get("boot_args", ()), "threadirqs"]
    if not config.preempt_rt:
        raw["kernel"]["preempt"] = config.preempt or "full"
    return scenario_from_dict(raw, [], directory=Path())


def build_program(config: Config, scenario: Scenario, patches: Sequence[Patch], claims: Sequence[Claim]) -> Program:
    """The release's modules, the user's patches, the harness. Raises SubsetError, SoftnetError."""
    modules = [*kernel_modules(scenario), *load_modules((f"{_INSIDE}.user_task", *where_modules(scenario)))]
    refuse_anew(patches, [*load_modules(MACHINE_MODULES), *modules])
    modules += [module for _, module in patches]
    work = "_work" if scenario.kernel.has("kick_by_work_item") else ""
    modules += [dispatcher(claims), *load_modules((*HARNESS, f"{_PROPERTIES}.kick{work}", f"{_INSIDE}.calls{work}"))]
    changed = {EVENTS[e.name] for e in config.events}
    values = constants(scenario) | {
        "VX_RESCHED": 2 if config.resched_max >= 0 else int(config.resched),
        "VX_ORDER": int(config.any_order), "VX_TICKS": int(config.ticks > 0),
        "VX_STORE_BUFFER": store_buffer(config),
        "VX_HOTPLUG": int(bool(plugged(config))), "VX_CLOSES": int(any(d.kind == "close" for d in config.drivers)),
        "VX_POLLS_BUSY": int(any(d.kind == "busy" for d in config.drivers)), "VX_TIMERS": int(config.defer_hard_irqs > 0),
        "VX_BH_UNLOCKED": int(scenario.kernel.has("bh_unlocked")),
        "VX_RACES": int(config.races), "TTWU_QUEUE": int(config.ttwu_queue),
    } | {name: int(kind in changed) for kind, name in enumerate(_EVENT_CONSTANTS)}  # fmt: skip
    program = looked_at(make_program(modules, values))
    check_patches(program, [module for _, module in patches], HARNESS)
    if any(d.kind == "call" for d in config.drivers) and program.functions["verify_task"].module == f"{_INSIDE}.user_task":
        raise SoftnetError("nothing to call", where="driver call", found="no verify_task() in a patch file",
                           expected="--patch FILE with a kfunc verify_task(number: int) -> None")  # fmt: skip
    return program


def where_modules(scenario: Scenario) -> tuple[str, ...]:
    """What says where the shipped kernel's defer list is; a user's patch may say otherwise."""
    return WHERE_MODULES[scenario.kernel.has("defer_nodes")]


def looked_at(program: Program) -> Program:
    """The program with its predicates as functions of the machine: here nothing observes, the search itself looks."""
    found = {n: d._replace(kind="hwfunc") for n, d in program.functions.items() if hasattr(d.function, "__softnet_predicate__")}
    return replace(program, functions=program.functions | found)


def build_model(config: Config, memory: Any = None, *, log: bool = False) -> Model:
    """Boot a configuration. ``memory`` makes the words of the image."""
    scenario = scenario_of(config)
    loaded = _patches(config)
    patches = [module for _, module in loaded]
    claims = claims_of(patches)
    program = build_program(config, scenario, loaded, claims)
    below = [*load_modules(MACHINE_MODULES), *kernel_modules(scenario), *load_modules(where_modules(scenario))]
    changes = changes_of(program, loaded[: len(loaded) - len(config.property_files)], below)
    image = boot_image(config, scenario, program, patches, memory)
    key = (program_digest(program), *config.patches, *config.property_files, *image.cost_index.items())
    module = _kept(("module", *key), lambda: lowered(program, image))
    roots = find_roots(program, image, module)
    if store_buffer(config):
        roots = sorted({*roots, *STORE_BUFFER_FUNCTIONS})
    if config.races:
        roots = sorted({*roots, *RACE_FUNCTIONS})

    movable = bool(plugged(config)) or any(len(task.cpus) > 1 for task in image.tasks)
    used = reachable(module, roots, program)
    module = _kept(("stops", *key, *roots), lambda: with_stops(module, used))

    def emitted() -> tuple[Code, frozenset[str], Facts]:
        counted = statistics(program)
        ignored = counted - depended_on(module, patches, counted)
        facts = facts_of(module, used, movable=movable)
        code = back_end.emit_frames(module, program, roots, ignored, not_state(program), reduce=config.reduce, log=log,
                                    store_buffer=store_buffer(config), owned=owned, races=config.races, facts=facts)  # fmt: skip
        return code, stored_fields(module, used) - ignored, facts

    owned = applies(config) and not log
    code, changing, facts = _kept(("frames", *key, *roots, config.reduce, log, owned, movable, config.races), emitted)
    env = image.ref("verify_env", 0)
    env.list_own = int("softnet_data.defer_list" not in changing)
    told_by = program.functions["defer_list_first"].module
    env.list_unknown = int(told_by in LIST_FIELD and LIST_FIELD[told_by] not in changing)
    return Model(config, scenario, program, module, image, code.text, code.frames, roots, changing,
                 2 * config.cpus + len(image.tasks), facts, known_properties(config), changes=tuple(map(str, changes)))  # fmt: skip


def statistics(program: Program) -> frozenset[str]:
    """The "structure.field" of those that only count or keep time: no part of a state."""
    return frozenset(f"{s.name}.{f.name}" for s in program.structs.values() for f in s.fields.values() if f.statistic)


def not_state(program: Program) -> frozenset[str]:
    """The structures that are bookkeeping of the machine's engine and of the search."""
    return frozenset(s.name for s in program.structs.values() if s.engine)


def applies(config: Config) -> bool:
    """Whether ownership may be assumed: the search looks into other CPUs nowhere but in their steps."""
    return config.owned and config.reduce and config.memory_model == "sc" and not config.liveness and not plugged(config)


class _Lowered(NamedTuple):
    """A function that was checked, and what was made of it."""

    typed: TypedFunction
    lowered: ir.Function


_LOWERED: dict[object, dict[str, _Lowered]] = {}
"""By what is around them, functions and what was made of them; the latest used last."""
LOWERED_MAX = 6


def lowered(program: Program, image: Image) -> ir.Module:
    """The program in the intermediate form, with checks of guarded fields.

    A patched kernel has all but a few functions of the kernel without the patch: those that were lowered before are taken again.
    """
    from softnet.lang.check.subset import typed_program
    from softnet.lang.lowering.lower import lower_program

    key = (around(program), *image.cost_index)
    before = _LOWERED[key] = _LOWERED.pop(key, {})
    while len(_LOWERED) > LOWERED_MAX:
        del _LOWERED[next(iter(_LOWERED))]
    typed = typed_program(program)
    known = {name: before[name] for name, function in typed.functions.items() if name in before and before[name].typed is function}
    module = lower_program(typed, image.cost_index, EVENT_ID, checks=True, known={n: old.lowered for n, old in known.items()})
    for old in known.values():
        module.pointed |= old.typed.address_taken
    before.update({name: _Lowered(function, module.functions[name]) for name, function in typed.functions.items()})
    return module


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
    plan = Plan.of(scenario)
    counts = dict.fromkeys(own_structs(patches), cpus) | dict(plan.counts) | {
        "sk_buff": nr_skbs, "verify_env": 1, "explorer": 1, "vx_driver": max(len(drivers), 1), "vx_skb": nr_skbs,
        "vx_premise": max(PROPERTIES) + 1,
        "vx_event": max(len(config.events), 1), "vx_buffer": cpus if store_buffer(config) else 1,
        "rps_map": plan.counts["rps_map"] + len(config.events),
    }  # fmt: skip
    tasks_max = plan.tasks_max + len(drivers) + len(plugged(config))
    counts["vx_open"] = 2 * cpus + tasks_max if config.races else 1
    plan = replace(plan, counts=counts, tasks_max=tasks_max, histograms=())
    check_costs(program)
    # Nothing takes time: the order of events is the search's.
    wiring = Wiring(costs=None, record=lambda *event: None, words=memory or list_of_words, observed=memory is None)
    return boot(program, plan, wiring, lambda image: harness_tasks(image, config))


def cards_of(config: Config) -> list[int]:
    """Of each card the CPU that takes its interrupts."""
    return [d.cpu for d in config.drivers if d.kind == "nic"]


def plugged(config: Config) -> list[int]:
    """The CPUs that a driver takes down."""
    return sorted({d.target for d in config.drivers if d.kind == "hotplug"})


def check_costs(program: Program) -> None:
    """A search pays for nothing, but a cost without a row is a mistake here too. Raises CostError."""
    table = load_cost_table("default")
    for name in cost_names(program):
        table.row(name)


def harness_tasks(image: Image, config: Config) -> list[TaskSpec]:
    """Give the harness what it finds when the search begins; its tasks, each pinned to its CPU."""
    add_events(image, config)
    return [stopper(image, cpu) for cpu in plugged(config)] + add_drivers(image, config)


def stopper(image: Image, cpu: int) -> TaskSpec:
    """The thread that takes the CPU down, above every other task."""

    def store(task: Any) -> None:
        image.ref("cpu_stopper", cpu).thread = task

    return TaskSpec(f"migration/{cpu}", (cpu,), "fifo", 99, 0, "cpu_stopper_thread", cpu, "hotplug", store)


def driver_task(image: Image, number: int, driver: Driver) -> TaskSpec:
    """The task of a driver."""

    def store(task: Any) -> None:
        image.ref("vx_driver", number).task = task

    return TaskSpec(f"{driver.kind}/{driver.cpu}", (driver.cpu,), "other", 0, 0, "vx_driver_task", number, "sender", store)


def add_drivers(image: Image, config: Config) -> list[TaskSpec]:
    """The drivers' rows, and their skbs in use, allocated where the configuration says; the tasks that they need."""
    tasks = []
    for cpu in range(config.cpus):
        sd = image.ref("softnet_data", cpu)
        # process_backlog() sets it at its first poll; the system is older than that.
        sd.backlog.weight = config.dev_weight
        sd.backlog.poll = image.linked.kernel["vx_process_backlog"]
        kick = sd.defer_work if "defer_work" in image.layout.structs["softnet_data"].fields else sd.defer_csd
        sd.csd.func, kick.func = (image.linked.kernel[f"vx_{n}"] for n in ("rps_trigger_softirq", "trigger_rx_softirq"))
    first = nr_cards = 0
    env = image.ref("verify_env", 0)
    env.prefer_busy_poll, env.busy_poll_budget = int(config.prefer_busy_poll), config.busy_poll_budget
    env.ticks_left, env.resched_left = config.ticks, max(config.resched_max, 0)
    env.defer_max_most = max([config.defer_max, *(e.value for e in config.events if e.name == "skb_defer_max")])
    for driver in config.drivers:
        # A user's verify_task() may free, too: skbs of any CPU.
        cpus = {"free": [driver.alloc_cpu], "call": range(config.cpus)}.get(driver.kind, [])
        for cpu in cpus:
            image.ref("vx_sd", cpu).producers += 1
    # A card's skbs come last: napi_skb_cache_get() takes them in their order.
    for number, driver in sorted(enumerate(config.drivers), key=lambda pair: pair[1].kind == "nic"):
        row = image.ref("vx_driver", number)
        if driver.kind not in DEVICES:
            tasks.append(driver_task(image, number, driver))
        target = driver.cpu if driver.kind == "irq" else driver.target
        row.kind, row.first, row.count, row.target = DRIVER_KINDS[driver.kind], first, driver.count, target
        row.home = driver.cpu
        if driver.kind in ("close", "busy"):
            row.first = cards_of(config).index(driver.target)
        if driver.kind == "close":
            image.ref("nic_vector", row.first).napi.poll = image.linked.kernel["vx_softnet_poll"]
        elif driver.kind == "nic":
            add_frame(image, number, nr_cards)
            nr_cards += 1
        elif driver.kind not in WITHOUT_SKBS:
            for i in range(first, first + driver.count):
                add_skb(image, i, driver.alloc_cpu)
            first += driver.count
    env.next_skb = first
    return tasks


def add_skb(image: Image, index: int, alloc_cpu: int) -> None:
    """A driver's own skb, in use."""
    skb = image.ref("sk_buff", index)
    skb.id, skb.state, skb.users, skb.dataref = index + 1, 1, 1, 1
    skb.alloc_cpu = skb.slab_cpu = alloc_cpu
    skb.len, skb.nr_packets, skb.hash, skb.l4_hash = 1, 1, FLOW_HASH, 1
    skb.dev = image.ref("net_device", 0)


def add_frame(image: Image, number: int, card: int) -> None:
    """The frame that a card's driver receives, over and over: of one flow, for nobody's socket. What its ring holds is no part of a
    state: it holds that frame everywhere from the beginning, also for a thread that has received none (softnet.verify.cores).
    """
    at = image.regions.arrivals + number * nic.ARRIVAL_WORDS
    image.memory[at + nic.ARRIVAL_QUEUE] = card
    image.memory[at + nic.ARRIVAL_HASH] = image.memory[at + nic.ARRIVAL_FLOW_HASH] = FLOW_HASH
    image.memory[at + nic.ARRIVAL_HASH_TYPE] = image.program.constants["PKT_HASH_TYPE_L4"]
    image.memory[at + nic.ARRIVAL_LEN] = 1
    ring = image.regions.rings[card]
    for slot in range(image.ref("nic_queue", card).size):
        for i in range(nic.ARRIVAL_WORDS):
            image.memory[ring + slot * nic.ARRIVAL_WORDS + i] = image.memory[at + i]


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
        update_static_keys(image.linked.kernel)


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
    "vx_scc", "vx_rebuild", "vx_walk", "vx_try", "vx_swarm_explore", "vx_swarm_start", "vx_parts_explore", "vx_parts_grow",
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
    outside = not_state(model.program)
    for address, leaf in leaf_words(model.image):
        model.words_of[address] = leaf
        if leaf.what not in model.changing:
            continue
        if leaf.table in outside:
            # What is stored to such a word would be undone without being part of a state.
            assert leaf.what.partition(".")[0] in outside, leaf
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


def machine_words(model: Model) -> dict[int, int]:
    """Address -> the CPU of whose machine it is: cpu_hw, contexts, interrupt lines, tasks that stay on it."""
    image, cpus = model.image, model.config.cpus
    found = {}
    for address, leaf in model.words_of.items():
        home = -1
        if leaf.table == "cpu_hw":
            home = leaf.index
        elif leaf.table == "irq_line" and leaf.index < 4 * cpus:
            home = leaf.index // 4
        elif leaf.table == "context" and leaf.index < 2 * cpus:
            home = leaf.index // 2
        elif leaf.table in ("task_struct", "context"):
            number = leaf.index - (2 * cpus if leaf.table == "context" else 0)
            allowed = image.tasks[number].cpus if number < len(image.tasks) else ()
            home = allowed[0] if len(allowed) == 1 else -1
        if home >= 0 and leaf.what in model.changing:
            found[address] = home
    return found


__all__ = ["VX_COMP_WORDS", "Components", "Config", "Driver", "Model", "build_model", "components"]
