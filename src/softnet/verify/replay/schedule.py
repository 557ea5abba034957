# SPDX-License-Identifier: GPL-2.0-or-later
"""A counterexample as a schedule: the actions done once more, with every access to memory written down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softnet.errors import SoftnetError
from softnet.units import whole_number
from softnet.verify.actions import Action, ActionKind, decode_action
from softnet.verify.arena import Arena, Failure, Limits
from softnet.verify.codegen.llvm_functions import LOG_FILL
from softnet.verify.codegen.runtime import FAILED
from softnet.verify.inside import words
from softnet.verify.model import SEARCHES, STACK_WORDS, Config, Leaf, asks_races, cards_of, nr_actions

if TYPE_CHECKING:
    from softnet.image.image import Image
    from softnet.verify.model import Model

STEPS_MAX = 1_000_000
"""Of a schedule that somebody hands in."""
SHOWN_CALLS: dict[str, tuple[str, ...]] = {
    "try_to_wake_up": (),
    "arch_send_call_function_single_ipi": (),
    "smp_send_reschedule": (),
    "nic_irq_disable": ("masks the card's interrupt",),
    "nic_irq_enable": ("unmasks the card's interrupt",),
    "hrtimer_start": ("arms the NAPI's timer",),
    "nic_rx_pop": ("takes a frame from the ring", "finds the ring empty"),
}
"""Calls of the machine that are steps of the story: who wakes whom, who interrupts whom, what decides whether a card is polled
again. With the words for one, and for one that gives nothing, where these say it all.
"""
DRIVER_TITLES = {"irq": "raises its interrupt", "nic": "receives a frame", "hotplug": "goes on: what it waited for has come"}
TITLES = {
    ActionKind.TICK: "NEED_RESCHED is set: a tick preempts",
    ActionKind.PREFER: "the scheduler prefers another task",
    ActionKind.TIME: "time passes every limit",
    ActionKind.TIMER: "the timer of a card's NAPI expires",
    ActionKind.STORE: "the oldest store reaches memory",
}
LOCK_CALLS = ("spin_acquire", "spin_release", "rt_try_take", "rt_release")


@dataclass(frozen=True)
class Access:
    """One access or call: ``what`` read, write, cmpxchg-old, … or call; with store buffers also buffer, a store into one, and
    flush, the same store when it reaches memory.
    """

    what: str
    leaf: Leaf | None
    address: int
    value: int
    function: str
    file: str
    line: int
    call: str = ""


@dataclass
class Step:
    """One action: which CPU, in which context, and what it touched."""

    number: int
    action: int
    cpu: int
    """-1 for what comes from outside."""
    context: str
    title: str
    accesses: list[Access] = field(default_factory=list)


@dataclass
class Schedule:
    """A run of actions from the first state, and how it ends."""

    config: Config
    actions: list[int]
    steps: list[Step]
    failure: Failure | None
    ends: list[str]
    """What the last state holds, in words."""
    leaves: dict[int, Leaf]
    """What stands at an address: the words of tables, and the beginnings of their structures."""
    references: frozenset[str]
    """Fields that hold references."""
    tasks: dict[int, str]
    """Address of a task -> its name."""
    stacks: list[str] = field(default_factory=list)
    """Where every context is, for a replay that was told where to stop."""

    def task_at(self, address: int) -> str:
        """A task's name."""
        return self.tasks.get(address, hex(address))

    def task_named(self, index: int) -> str:
        """The name of the task with that index."""
        return self.tasks[sorted(self.tasks)[index]]

    def text(self) -> str:
        """The actions as a string for replay: letters for repeats keep it short."""
        return encode(self.actions)


def encode(actions: Sequence[int], repeats: int = 0) -> str:
    """Actions as ``6.3x17.7``: numbers, with how often in a row; behind ``~`` those that repeat for ever."""
    if repeats:
        return f"{encode(actions[:-repeats])}~{encode(actions[-repeats:])}"
    parts: list[list[int]] = []
    for action in actions:
        if parts and parts[-1][0] == action:
            parts[-1][1] += 1
        else:
            parts.append([action, 1])
    return ".".join(f"{a}x{n}" if n > 1 else str(a) for a, n in parts)


def repeats_of(text: str) -> int:
    """How many of an encoded schedule's actions repeat for ever."""
    _, tilde, cycle = text.partition("~")
    return len(decode(cycle)) if tilde else 0


def decode(text: str) -> list[int]:
    """The actions of an encoded schedule: none for an empty text. Raises SoftnetError."""
    out: list[int] = []
    for part in text.replace("~", ".", 1).split(".") if text else ():
        action, times, count = part.partition("x")
        number, often = whole_number(action), whole_number(count) if times else 1
        if number is None or often is None:
            raise SoftnetError("not a schedule", found=repr(part), expected="numbers as in 6.3x17.7")
        if len(out) + often > STEPS_MAX:
            raise SoftnetError("the schedule is too long", found=repr(part), expected=f"at most {STEPS_MAX:,} steps")
        out += [number] * often
    return out


class Replay:
    """Does the actions of a schedule one by one."""

    model: Model
    image: Image
    words: Any
    """The memory: the image and what the search has behind it."""

    def nr_actions(self) -> int:
        """How many actions there are; their numbers are below."""
        return nr_actions(self.model.config)

    def perform(self, action: int) -> int:
        """Do one action; a code as the search's."""
        raise NotImplementedError

    def accesses(self) -> list[Access]:
        """What the last action touched."""
        raise NotImplementedError

    def failure(self, code: int) -> Failure:
        """What a failed action means."""
        raise NotImplementedError

    def early_race(self, actions: Sequence[int]) -> Failure | None:
        """A race of the last action with what another CPU would have done in its place; None where that is not looked for."""
        return None

    def stacks(self) -> list[str]:
        """Every context that is in the middle of something: its functions, innermost first, with their locals."""
        raise NotImplementedError

    def word(self, struct: str, index: int, name: str) -> int:
        """A field's present value."""
        table = self.image.layout.tables[struct]
        offset = self.image.layout.structs[struct].fields[name].offset
        return int(self.words[table.base + index * table.stride + offset])

    def context_of(self, cpu: int) -> str:
        """What a CPU runs, by name."""
        context = self.image.layout.tables["context"]
        number = (self.word("cpu_hw", cpu, "cur") - context.base) // context.stride
        if number < 2 * self.model.config.cpus:
            return "hardirq"
        comm = self.image.tasks[number - 2 * self.model.config.cpus].comm
        return comm + ("+softirq" if self.word("cpu_hw", cpu, "preempt_count") & 0x100 else "")

    def step(self, number: int, action: int) -> tuple[Step, int]:
        """Do one action; what it was and the code it gave."""
        what = decode_action(self.model.config, action)
        name, title = self.told(what)
        code = self.perform(action)
        accesses = self.accesses()
        return Step(number, action, what.cpu, name, title, self.by_line(what.cpu, accesses) if what.cpu >= 0 else accesses), code

    def told(self, what: Action) -> tuple[str, str]:
        """The context in which an action happens, before it does, and its title."""
        config = self.model.config
        if what.kind is ActionKind.INTERRUPT:
            return "hardirq", f"interrupt in {self.context_of(what.cpu)}"
        if what.cpu >= 0:
            return self.context_of(what.cpu), TITLES.get(what.kind, "")
        if what.kind is ActionKind.DRIVER:
            driver = config.drivers[what.number]
            return "outside", f"{driver.kind}/{driver.cpu} " + DRIVER_TITLES.get(driver.kind, "is woken to start")
        if what.kind is ActionKind.EVENT:
            event = config.events[what.number]
            return "outside", f"{event.name} = {event.value}"
        return "outside", TITLES[what.kind]

    def by_line(self, cpu: int, accesses: list[Access]) -> list[Access]:
        """The accesses of a step of that CPU, each with the line of the kernel that it belongs to."""
        return accesses

    def access(self, text: str, function: str, file: str, line: int, address: int, value: int) -> Access:
        """One record; ``text`` is "read structure.field", "call function" and so on."""
        what, _, name = text.partition(" ")
        leaf = self.model.words_of.get(address) if what != "call" else None
        return Access(what, leaf, address, value, function, file, line, name if what == "call" else "")

    def defer_counts(self, cpu: int) -> str:
        """The counter of the CPU's defer list, or of each of its lists."""
        if "skb_defer_node" not in self.image.layout.tables:
            return str(self.word("softnet_data", cpu, "defer_count"))
        nodes = self.model.config.nodes
        return " and ".join(str(self.word("skb_defer_node", cpu * nodes + node, "defer_count")) for node in range(nodes))

    def ends(self) -> list[str]:
        """The state of every CPU's backlog and defer list, and of every card, in words."""
        out = []
        for cpu in range(self.model.config.cpus):
            paths = {leaf.path: a for a, leaf in self.model.words_of.items() if leaf.table == "softnet_data" and leaf.index == cpu}
            value = {p: int(self.words[a]) for p, a in paths.items()}
            node = paths["backlog.poll_list.next"]
            linked = value["backlog.poll_list.next"] != node
            out.append(
                f"CPU{cpu}: backlog.state {flags(value['backlog.state'])}, {'on a poll list' if linked else 'on no poll list'}, "
                f"input_pkt_queue {value['input_pkt_queue.qlen']}, process_queue {value['process_queue.qlen']}, "
                f"defer_count {self.defer_counts(cpu)}, runs {self.context_of(cpu)}"
            )
        return out + [self.card_end(card) for card in range(len(cards_of(self.model.config)))]

    def card_end(self, card: int) -> str:
        """The state of a card: who owns its NAPI, its interrupt, its timer, its ring."""
        paths = {leaf.path: a for a, leaf in self.model.words_of.items() if leaf.table == "nic_vector" and leaf.index == card}
        state, timer = int(self.words[paths["napi.state"]]), int(self.words[paths["napi.timer.active"]])
        size, free, popped = (self.word("nic_queue", card, name) for name in ("size", "free", "popped"))
        masked = "unmasked" if self.word("nic_queue", card, "irq_enabled") else "masked"
        armed = ", timer armed" if timer else ""
        return f"nic{card}: napi.state {flags(state)}, interrupt {masked}{armed}, frames in the ring {size - free - popped}"


class NativeReplay(Replay):
    """In the explorer's own native code, which writes every access down; without ``log`` it is the search's very code."""

    def __init__(self, config: Config, *, log: bool = True) -> None:
        self.machine = Arena(config, Limits(states=1000, memory_bytes=64 << 20), log=log, hasty=True)
        self.machine.settle()
        if asks_races(config):
            self.machine.look_for_races({})
        self.model = self.machine.model
        self.image = self.model.image
        self.words = self.machine.words
        self.under_way: dict[int, list[Access]] = {cpu: [] for cpu in range(config.cpus)}
        """Each CPU's stores that have not reached memory yet."""

    def by_line(self, cpu: int, accesses: list[Access]) -> list[Access]:
        return [self.delayed(cpu, access) for access in accesses]

    def delayed(self, cpu: int, access: Access) -> Access:
        """A store that reaches memory belongs to the line of the kernel that made it."""
        if access.what == "buffer":
            self.under_way[cpu].append(access)
        elif access.what == "flush" and self.under_way[cpu]:
            return replace(self.under_way[cpu].pop(0), what="flush")
        return access

    def perform(self, action: int) -> int:
        self.words[LOG_FILL] = 0
        return self.machine.call(SEARCHES.index("vx_replay"), action)

    def accesses(self) -> list[Access]:
        out = []
        for number, address, value in self.machine._log[: int(self.words[LOG_FILL])].tolist():
            at = self.model.text.positions[number]
            out.append(self.access(at.what, at.function, self.model.module.functions[at.function].file, at.line, address, value))
        return out

    def failure(self, code: int) -> Failure:
        return self.machine.failure(code)

    def early_race(self, actions: Sequence[int]) -> Failure | None:
        config = self.model.config
        if not actions or not asks_races(config):
            return None
        other = NativeReplay(config)
        for action in actions[:-1]:
            other.perform(action)
        # What the search does in a state: all actions in their order, each taken back, under one stamp.
        other.machine.set(stamp=other.machine.get("stamp") + 1)
        for action in range(actions[-1] + 1):
            code = other.machine.call(SEARCHES.index("vx_try"), action)
            if code in (FAILED, words.VX_MACHINE):
                return other.failure(code) if action == actions[-1] and code != FAILED else None
        return None

    def stacks(self) -> list[str]:
        out = []
        running = {self.word("cpu_hw", cpu, "cur"): cpu for cpu in range(self.model.config.cpus)}
        context = self.image.layout.tables["context"]
        for ctx in range(self.model.nr_contexts):
            lines = self._frames(ctx)
            cpu = running.get(context.base + ctx * context.stride)
            if not lines or (cpu is None and len(lines) == 1):
                continue
            irqs = 2 * self.model.config.cpus
            name = f"hardirq of CPU{ctx // 2}" if ctx < irqs else self.image.tasks[ctx - irqs].comm
            out += [f"{name}{'' if cpu is None else f', which CPU{cpu} runs'}:", *(f"  {line}" for line in lines)]
        return out

    def _frames(self, ctx: int) -> list[str]:
        at = self.machine.stacks + ctx * STACK_WORDS
        frames = self.model.frames
        fp = at + int(self.words[at])
        out: list[str] = []
        while int(self.words[fp]):
            stop = frames.stops[int(self.words[fp])]
            file = Path(self.model.module.functions[stop.function].file).name
            names = [n for n in frames.names.get(stop.function, []) if not n.startswith(("%", "."))]
            values = [f"{n} = {self._value(v)}" for n, v in zip(names, self.words[fp + 2 :].tolist(), strict=False) if v]
            what = "" if out else f", before: {stop.what}"
            out.append(f"{stop.function} ({file}:{stop.line}){what}" + (f"; {', '.join(values)}" if values else ""))
            back = int(self.words[fp + 1])
            if not back:
                break
            fp -= back
        return out

    def _value(self, value: int) -> str:
        """A local: a reference by what stands there."""
        leaf = self.model.words_of.get(value)
        if leaf is None or value < 64:
            return str(value)
        table = self.image.layout.tables[leaf.table]
        path = leaf.path.rpartition(".")[0] if value != table.base + leaf.index * table.stride else ""
        return f"&{leaf.table}[{leaf.index}]" + (f".{path}" if path else "")


NAPI_FLAGS = {
    0: "SCHED", 1: "MISSED", 2: "DISABLE", 3: "NPSVC", 4: "LISTED", 5: "NO_BUSY_POLL", 6: "IN_BUSY_POLL",
    7: "PREFER_BUSY_POLL", 8: "THREADED", 9: "SCHED_THREADED",
}  # fmt: skip


def flags(state: int) -> str:
    """NAPI state bits by name."""
    names = [name for bit, name in NAPI_FLAGS.items() if state >> bit & 1]
    return "|".join(names) or "0"


def replay(
    config: Config,
    actions: Sequence[int],
    stop: Callable[[Step], bool] | None = None,
    engine: Replay | None = None,
    after: Callable[[Step], bool] | None = None,
) -> Schedule:
    """Do the actions from the first state, up to the first step that ``stop`` says, in ``engine`` or in native code.

    ``after`` is called behind each step, and ends the replay if it says so. Raises SoftnetError if an action cannot happen.
    """
    engine = engine or NativeReplay(config)
    steps = []
    failure = None
    for number, action in enumerate(actions, 1):
        if action >= engine.nr_actions():
            raise SoftnetError("the schedule does not fit this configuration", found=f"action {action}",
                               expected=f"0 to {engine.nr_actions() - 1}")  # fmt: skip
        step, code = engine.step(number, action)
        steps.append(step)
        if code == words.VX_BLOCKED:
            raise SoftnetError("the schedule does not fit this configuration", found=f"action {number} cannot happen")
        if code in (FAILED, words.VX_MACHINE):
            failure = engine.failure(code)
        if (after is not None and after(step)) or failure is not None or (stop is not None and stop(step)):
            break
    else:
        failure = engine.early_race(actions)
        if stop is not None:
            raise SoftnetError("the schedule does not come there", where="--break", found=f"{len(steps)} steps without it")
    model = engine.model
    table = model.image.layout.tables["task_struct"]
    tasks = {table.base + (t.pid - 1) * table.stride: t.comm for t in model.image.tasks}
    references = frozenset(f"{s.name}.{f.name}" for s in model.program.structs.values() for f in s.fields.values() if f.is_ref)
    return Schedule(config, list(actions), steps, failure, engine.ends(), model.words_of, references, tasks,
                    engine.stacks() if stop is not None else [])  # fmt: skip
