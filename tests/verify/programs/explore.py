# SPDX-License-Identifier: GPL-2.0-or-later
"""An explorer of its own for the programs of generate.py: every instruction is a step, every order of steps is tried.

It knows nothing of softnet: not of its compiler, not of where its contexts may stop, not of its machine. What an instruction does,
what an interrupt, a softirq and the scheduler do is written here once more from what they mean in the kernel, as simply as can
be: a state is copied whole for each step. It is slow.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tests.verify.programs import kernel as k

# preempt_count()
PREEMPT, SERVING, BH, HARD = 1, 0x100, 0x200, 0x10000
IN_INTERRUPT = 0xFFF00

Micro = tuple[object, ...]
Operation = tuple[int, int, int]


@dataclass(frozen=True)
class Shape:
    """Who runs a program: the CPU of each task, and per CPU how often its device interrupts."""

    cpus: int
    tasks: tuple[int, ...]
    interrupts: tuple[int, ...]
    ticks: bool = False


@dataclass(frozen=True)
class Program:
    """What each of them does: ``code[0]`` the interrupt handler, ``code[1]`` the softirq, ``code[1 + n]`` the n-th task."""

    shape: Shape
    code: tuple[tuple[Operation, ...], ...]


@dataclass(slots=True)
class Context:
    """A flow of control: its frames (procedure and place), its register, its flags."""

    frames: list[tuple[str, int]]
    x: int = 0
    t: int = 0
    """What ADD has loaded."""
    saved: list[int] = field(default_factory=list)
    """The registers of the procedures that wait for one that they called."""
    flags: list[bool] = field(default_factory=list)
    """Whether interrupts were on, of the sections with flags that are open, inner ones last."""
    irqs_on: bool = True
    count: int = 0
    """A task's preempt_count() while it is switched out."""
    state: str = "R"
    """R runnable, I asleep until it is woken, U done."""
    preempted: bool = False
    """Switched out by an interrupt, at any place."""
    known: tuple[object, ...] = ()

    def identity(self) -> tuple[object, ...]:
        """All of it; whoever changes a context changes a copy."""
        if not self.known:
            self.known = (
                *self.frames, self.x, self.t, *self.saved, *self.flags, self.irqs_on, self.count, self.state, self.preempted,
            )  # fmt: skip
        return self.known


@dataclass(slots=True)
class Cpu:
    """What a CPU runs, and what waits there."""

    task: str = ""
    """The current task; none: idle."""
    levels: list[str] = field(default_factory=list)
    """Interrupts above it."""
    queue: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    """Pending interrupts: T of the device, R to reschedule."""
    count: int = 0
    need_resched: bool = False
    pending: bool = False
    """The softirq is raised."""
    left: int = 0
    """How often the device will interrupt."""
    raised: bool = False
    known: tuple[object, ...] = ()

    def identity(self) -> tuple[object, ...]:
        """All of it; whoever changes a CPU changes a copy."""
        if not self.known:
            self.known = (
                self.task, *self.levels, 0, *self.queue, 0, *self.lines, self.count, self.need_resched, self.pending, self.left,
                self.raised,
            )  # fmt: skip
        return self.known


@dataclass(slots=True)
class State:
    """Everything."""

    words: list[int]
    percpu: list[int]
    notes: list[int]
    locks: list[str]
    cpus: list[Cpu]
    contexts: dict[str, Context]
    unstarted: list[str]

    def cpu(self, number: int) -> Cpu:
        """A CPU to be changed."""
        c = self.cpus[number]
        new = Cpu(c.task, c.levels[:], c.queue[:], c.lines[:], c.count, c.need_resched, c.pending, c.left, c.raised)
        self.cpus[number] = new
        return new

    def context(self, name: str) -> Context:
        """A context to be changed."""
        c = self.contexts[name]
        new = Context(c.frames[:], c.x, c.t, c.saved[:], c.flags[:], c.irqs_on, c.count, c.state, c.preempted)
        self.contexts[name] = new
        return new


def copied(s: State) -> State:
    """The same state, to be changed: its CPUs and contexts are shared until a step takes one for itself (State.cpu, .context)."""
    return State(s.words[:], s.percpu[:], s.notes[:], s.locks[:], s.cpus[:], dict(s.contexts), s.unstarted[:])


def identity(s: State) -> tuple[object, ...]:
    """What two states have in common that are the same."""
    return (
        *s.words, *s.percpu, *s.notes, *s.locks, *s.unstarted,
        *(c.identity() for c in s.cpus), *((name, s.contexts[name].identity()) for name in sorted(s.contexts)),
    )  # fmt: skip


class Violation(Exception):
    """What a step did that must not be."""


def due() -> list[Micro | str]:
    """preempt_enable() after it has counted: the scheduler runs as long as it is asked for."""
    again, out = f"again{next(LABELS)}", f"out{next(LABELS)}"
    return [again, ("unless-due", out), ("switch", True), ("goto", again), out]


def bh_enable() -> list[Micro | str]:
    """local_bh_enable(): what is raised is done before preemption is possible again."""
    done, none = f"done{next(LABELS)}", f"none{next(LABELS)}"
    return [
        ("count", PREEMPT - BH), ("unless-softirq", done), ("irq-save",), ("unless-pending", none), ("call", "softirqs"),
        none, ("irq-restore",), done, ("count", -PREEMPT), ("count", PREEMPT), ("count", -PREEMPT), *due(),
    ]  # fmt: skip


def lock(number: int, how: int) -> list[Micro | str]:
    """spin_lock(), spin_lock_irqsave(), spin_lock_bh()."""
    before: list[list[Micro | str]] = [[], [("irq-save",)], [("count", BH)]]
    return [*before[how], ("count", PREEMPT), ("acquire", number)]


def unlock(number: int, how: int) -> list[Micro | str]:
    """And their ends."""
    restore: list[Micro | str] = [("irq-restore",)] if how == 1 else []
    return [("release", number), *restore, ("count", -PREEMPT), *due(), *(bh_enable() if how == 2 else [])]


def try_lock(number: int, otherwise: str) -> list[Micro | str]:
    """spin_trylock()."""
    got = f"got{next(LABELS)}"
    return [("count", PREEMPT), ("try", number), ("if-x", got), ("count", -PREEMPT), *due(), ("goto", otherwise), got]


def instructions(op: int, a: int, b: int, otherwise: str) -> list[Micro | str]:
    """The instructions of an operation; ``otherwise`` is where it may jump to."""
    if op in (k.LOCK, k.UNLOCK, k.TRY):
        return lock(a, b) if op == k.LOCK else unlock(a, b) if op == k.UNLOCK else try_lock(a, otherwise)
    table: dict[int, list[Micro | str]] = {
        k.LOAD: [("load", a)], k.STORE: [("store", a, b)], k.STORE_X: [("store-x", a)],
        k.ADD: [("load-t", a), ("store-t", a, b)], k.READ_ONCE_OF: [("read-once", a)], k.WRITE_ONCE_TO: [("write-once", a, b)],
        k.INC: [("inc", a)], k.CAS: [("cas", a)], k.OBSERVE: [("note", a)], k.BUG_IF: [("bug", a)], k.MB: [("nop",)],
        k.SKIP_UNLESS: [("unless-x", a, otherwise)], k.BH_OFF: [("count", BH)], k.PREEMPT_OFF: [("count", PREEMPT)],
        k.IRQ_OFF: [("irq-save",)], k.IRQ_ON: [("irq-restore",)], k.RAISE_IRQOFF: [("raise",), ("wake-softirqd",)],
        k.RAISE: [("irq-save",), ("raise",), ("wake-softirqd",), ("irq-restore",)],
    }  # fmt: skip
    if op == k.BH_ON:
        return bh_enable()
    return [("count", -PREEMPT), *due()] if op == k.PREEMPT_ON else table[op]


def microcode(operations: Sequence[Operation]) -> list[Micro]:
    """A context's operations as instructions."""
    out: list[Micro | str] = []
    for number, (op, a, b) in enumerate(operations):
        out += [f"op{number}", *instructions(op, a, b, f"op{number + 1 + b}")]
    return assembled([*out, f"op{len(operations)}", ("return",)])


def assembled(code: Sequence[Micro | str]) -> list[Micro]:
    """Labels become places."""
    places: dict[object, int] = {}
    lines: list[Micro] = []
    for line in code:
        if isinstance(line, str):
            places[line] = len(lines)
        else:
            lines.append(line)
    jumps = ("goto", "if-x")
    return [
        (*line[:-1], places[line[-1]]) if line[0] in jumps or str(line[0]).startswith("unless") else line for line in lines
    ]  # fmt: skip


LABELS = itertools.count()

SLEPT = 0
"""Where the procedures of tasks begin that sleep in schedule() at first."""
_PROCEDURES: dict[str, list[Micro | str]] = {
    # handle_softirqs(), entered and left with interrupts off.
    "softirqs": [
        ("count", SERVING), "again", ("clear-pending",), ("irqs-on",), ("call", "softirq"), ("irqs-off",),
        ("unless-pending", "out"), ("unless-need-resched", "again"), ("give-to-softirqd",), "out", ("count", -SERVING),
        ("return",),
    ],
    "timer": [
        ("count", HARD), ("device",), ("call", "irq"), ("count", -HARD), ("unless-softirq", "out"), ("call", "softirqs"),
        "out", ("iret",),
    ],
    "reschedule": [("iret",)],
    # smpboot_thread_fn() with ksoftirqd_should_run() and run_ksoftirqd().
    "ksoftirqd": [
        "slept", ("unless-need-resched", "loop"), ("goto", "schedule"),
        "loop", ("state", "I"), ("count", PREEMPT), ("unless-pending", "sleep"), ("state", "R"), ("count", -PREEMPT), *due(),
        ("irqs-off",), ("unless-pending", "none"), ("call", "softirqs"), "none", ("irqs-on",), ("goto", "loop"),
        "sleep", ("count", -PREEMPT), "schedule", ("switch", False), ("goto", "slept"),
    ],
    "driver": [
        "slept", ("unless-need-resched", "go"), ("switch", False), ("goto", "slept"),
        "go", ("body",), ("state", "U"), "gone", ("switch", False), ("goto", "gone"),
    ],
}  # fmt: skip
PROCEDURES = {name: assembled(code) for name, code in _PROCEDURES.items()}


LOCAL = ("goto", "if-x", "unless-x", "call", "return", "body")
"""What touches nothing but its own context is no step of its own."""


class Explorer:
    """All states of a program."""

    def __init__(self, program: Program) -> None:
        self.shape = program.shape
        self.code: Mapping[str, list[Micro]] = {
            **PROCEDURES, "irq": microcode(program.code[0]), "softirq": microcode(program.code[1]),
            **{f"task{n}": microcode(code) for n, code in enumerate(program.code[2:], 1)},
        }  # fmt: skip
        self.violations: set[str] = set()
        self.ends: set[tuple[int, ...]] = set()
        self.states = 0

    def first(self) -> State:
        """Every CPU idles, no task has started, ksoftirqd sleeps in schedule()."""
        shape = self.shape
        contexts = {}
        for n in range(1, len(shape.tasks) + 1):
            contexts[f"t{n}"] = Context([("driver", SLEPT)], state="I")
        for cpu in range(shape.cpus):
            contexts[f"k{cpu}"] = Context([("ksoftirqd", SLEPT)], state="I")
        cpus = [Cpu(left=shape.interrupts[cpu]) for cpu in range(shape.cpus)]
        unstarted = [f"t{n}" for n in range(1, len(shape.tasks) + 1)]
        return State([0] * 6, [0] * shape.cpus, [0] * 8, ["", ""], cpus, contexts, unstarted)

    def explore(self, states_max: int) -> bool:
        """Whether all states were seen."""
        first = self.first()
        seen = {identity(first)}
        waiting = [first]
        while waiting:
            state = waiting.pop()
            self.states += 1
            if self.states > states_max:
                return False
            if self.racing(state):
                self.violations.add("data race")
                continue
            moved = False
            for after in self.steps(state):
                moved = True
                if after is not None:
                    key = identity(after)
                    if key not in seen:
                        seen.add(key)
                        waiting.append(after)
            if not moved:
                self.end(state)
        return True

    def end(self, state: State) -> None:
        """Nothing can happen any more."""
        if any(c.task or c.levels for c in state.cpus):
            self.violations.add("deadlock")
        else:
            self.ends.add((*state.words, *state.percpu, *state.notes))

    # -- what can happen

    def steps(self, state: State) -> Iterator[State | None]:
        """The states that may come next; None for a step that violates something."""
        for number, cpu in enumerate(state.cpus):
            if self.can_go(state, number):
                yield self.tried(state, number, "go")
            top = state.contexts[cpu.levels[-1]] if cpu.levels else state.contexts.get(cpu.task)
            if cpu.lines and (top is None or top.irqs_on):
                yield self.tried(state, number, "interrupt")
            if self.shape.ticks and cpu.task and not cpu.levels and cpu.queue and not cpu.need_resched and "R" not in cpu.lines:
                yield self.tried(state, number, "tick")
            if cpu.left and not cpu.raised:
                yield self.tried(state, number, "device")
        for name in state.unstarted:
            after = copied(state)
            after.unstarted.remove(name)
            self.wake(after, self.shape.tasks[int(name[1:]) - 1], name)
            yield after

    def tried(self, state: State, number: int, what: str) -> State | None:
        """The state after that; None if it violates something, which is noted."""
        after = copied(state)
        try:
            getattr(self, f"do_{what}")(after, number)
        except Violation as violation:
            self.violations.add(str(violation))
            return None
        return after

    def running(self, state: State, number: int) -> str:
        """The context that a CPU runs; none where it idles."""
        cpu = state.cpus[number]
        return cpu.levels[-1] if cpu.levels else cpu.task

    def can_go(self, state: State, number: int) -> bool:
        """Whether a CPU can take a step by itself."""
        name = self.running(state, number)
        if not name:
            return bool(state.cpus[number].queue)
        op = self.next_of(state, name)
        return not (op[0] == "acquire" and state.locks[int(str(op[1]))] not in ("", name))

    def next_of(self, state: State, name: str) -> Micro:
        """A context's next instruction."""
        procedure, at = state.contexts[name].frames[-1]
        return self.code[procedure][at]

    def do_device(self, s: State, number: int) -> None:
        cpu = s.cpu(number)
        cpu.left -= 1
        cpu.raised = True
        if "T" not in cpu.lines:
            cpu.lines.append("T")

    def do_tick(self, s: State, number: int) -> None:
        cpu = s.cpu(number)
        cpu.need_resched = True
        cpu.lines.append("R")

    def do_interrupt(self, s: State, number: int) -> None:
        cpu = s.cpu(number)
        line = cpu.lines.pop(0)
        name = f"i{number}.{len(cpu.levels)}"
        s.contexts[name] = Context([("timer" if line == "T" else "reschedule", 0)], irqs_on=False)
        cpu.levels.append(name)

    def do_go(self, s: State, number: int) -> None:
        name = self.running(s, number)
        if not name:
            self.switch(s, number, preempted=False)
            return
        context = s.context(name)
        while True:
            procedure, at = context.frames[-1]
            context.frames[-1] = (procedure, at + 1)
            op, *args = self.code[procedure][at]
            getattr(self, "op_" + str(op).replace("-", "_"))(s, number, name, context, *args)
            if s.contexts.get(name) is not context or self.next_of(s, name)[0] not in LOCAL:
                break

    # -- the scheduler

    def wake(self, s: State, number: int, name: str) -> None:
        """try_to_wake_up()."""
        if s.contexts[name].state != "I":
            return
        cpu = s.cpu(number)
        s.context(name).state = "R"
        if name != cpu.task and name not in cpu.queue:
            cpu.queue.append(name)
            if not cpu.task:
                cpu.need_resched = True

    def switch(self, s: State, number: int, *, preempted: bool, anywhere: bool = False) -> None:
        """__schedule(): who gives way goes to the end of the queue if it is runnable, or only looked whether to sleep."""
        cpu = s.cpu(number)
        cpu.need_resched = False
        before = cpu.task
        if before:
            context = s.context(before)
            if context.state == "R" or (preempted and context.state == "I"):
                cpu.queue.append(before)
            context.count, context.preempted = cpu.count, anywhere
        cpu.task = cpu.queue.pop(0) if cpu.queue else ""
        cpu.count = 0
        if cpu.task:
            s.context(cpu.task).preempted = False
            cpu.count = s.contexts[cpu.task].count

    # -- instructions

    def op_nop(self, s: State, n: int, me: str, c: Context) -> None:
        """Nothing that another step could tell."""

    def op_call(self, s: State, n: int, me: str, c: Context, procedure: str) -> None:
        c.frames.append((procedure, 0))
        c.saved += (c.x, c.t)
        c.x = c.t = 0

    def op_body(self, s: State, n: int, me: str, c: Context) -> None:
        self.op_call(s, n, me, c, f"task{me[1:]}")

    def op_return(self, s: State, n: int, me: str, c: Context) -> None:
        c.frames.pop()
        c.t, c.x = c.saved.pop(), c.saved.pop()

    def jump(self, c: Context, to: int) -> None:
        c.frames[-1] = (c.frames[-1][0], to)

    def op_goto(self, s: State, n: int, me: str, c: Context, to: int) -> None:
        self.jump(c, to)

    def op_unless_x(self, s: State, n: int, me: str, c: Context, value: int, to: int) -> None:
        if c.x != value:
            self.jump(c, to)

    def op_if_x(self, s: State, n: int, me: str, c: Context, to: int) -> None:
        if c.x:
            self.jump(c, to)

    def op_unless_due(self, s: State, n: int, me: str, c: Context, to: int) -> None:
        cpu = s.cpus[n]
        if not (cpu.need_resched and cpu.count == 0 and c.irqs_on and not cpu.levels):
            self.jump(c, to)

    def op_unless_softirq(self, s: State, n: int, me: str, c: Context, to: int) -> None:
        if s.cpus[n].count & IN_INTERRUPT or not s.cpus[n].pending:
            self.jump(c, to)

    def op_unless_pending(self, s: State, n: int, me: str, c: Context, to: int) -> None:
        if not s.cpus[n].pending:
            self.jump(c, to)

    def op_unless_need_resched(self, s: State, n: int, me: str, c: Context, to: int) -> None:
        if not s.cpus[n].need_resched:
            self.jump(c, to)

    def op_give_to_softirqd(self, s: State, n: int, me: str, c: Context) -> None:
        self.wake(s, n, f"k{n}")

    def op_count(self, s: State, n: int, me: str, c: Context, change: int) -> None:
        s.cpu(n).count += change

    def op_switch(self, s: State, n: int, me: str, c: Context, preempted: bool) -> None:
        self.switch(s, n, preempted=preempted)

    def op_state(self, s: State, n: int, me: str, c: Context, state: str) -> None:
        c.state = state

    def op_irqs_on(self, s: State, n: int, me: str, c: Context) -> None:
        c.irqs_on = True

    def op_irqs_off(self, s: State, n: int, me: str, c: Context) -> None:
        c.irqs_on = False

    def op_irq_save(self, s: State, n: int, me: str, c: Context) -> None:
        c.flags.append(c.irqs_on)
        c.irqs_on = False

    def op_irq_restore(self, s: State, n: int, me: str, c: Context) -> None:
        c.irqs_on = c.flags.pop()

    def op_iret(self, s: State, n: int, me: str, c: Context) -> None:
        cpu = s.cpu(n)
        cpu.levels.pop()
        del s.contexts[me]
        if not cpu.levels and cpu.task and cpu.need_resched and cpu.count == 0:
            self.switch(s, n, preempted=True, anywhere=True)

    def op_device(self, s: State, n: int, me: str, c: Context) -> None:
        s.cpu(n).raised = False

    def op_raise(self, s: State, n: int, me: str, c: Context) -> None:
        s.cpu(n).pending = True

    def op_clear_pending(self, s: State, n: int, me: str, c: Context) -> None:
        s.cpu(n).pending = False

    def op_wake_softirqd(self, s: State, n: int, me: str, c: Context) -> None:
        if s.cpus[n].count & IN_INTERRUPT == 0:
            self.wake(s, n, f"k{n}")

    # -- locks

    def op_acquire(self, s: State, n: int, me: str, c: Context, lock: int) -> None:
        if s.locks[lock] == me:
            raise Violation("spinlock recursion")
        s.locks[lock] = me

    def op_try(self, s: State, n: int, me: str, c: Context, lock: int) -> None:
        c.x = int(s.locks[lock] == "")
        if c.x:
            s.locks[lock] = me

    def op_release(self, s: State, n: int, me: str, c: Context, lock: int) -> None:
        if s.locks[lock] != me:
            raise Violation("unlock by another context")
        s.locks[lock] = ""

    # -- memory

    def get(self, s: State, n: int, me: str, word: int) -> int:
        if word == k.P0:
            return s.percpu[n]
        if word == k.G0 and s.locks[0] != me:
            raise Violation("guard")
        return s.words[word]

    def put(self, s: State, n: int, me: str, word: int, value: int) -> None:
        if word == k.P0:
            s.percpu[n] = value
            return
        if word == k.G0 and s.locks[0] != me:
            raise Violation("guard")
        s.words[word] = value

    def op_load(self, s: State, n: int, me: str, c: Context, word: int) -> None:
        c.x = self.get(s, n, me, word)

    def op_load_t(self, s: State, n: int, me: str, c: Context, word: int) -> None:
        c.t = self.get(s, n, me, word)

    def op_store(self, s: State, n: int, me: str, c: Context, word: int, value: int) -> None:
        self.put(s, n, me, word, value)

    def op_store_x(self, s: State, n: int, me: str, c: Context, word: int) -> None:
        self.put(s, n, me, word, c.x)

    def op_store_t(self, s: State, n: int, me: str, c: Context, word: int, value: int) -> None:
        self.put(s, n, me, word, c.t + value)
        c.t = 0

    def op_read_once(self, s: State, n: int, me: str, c: Context, word: int) -> None:
        c.x = s.words[word]

    def op_write_once(self, s: State, n: int, me: str, c: Context, word: int, value: int) -> None:
        self.put(s, n, me, word, value)

    def op_inc(self, s: State, n: int, me: str, c: Context, word: int) -> None:
        s.words[word] += 1

    def op_cas(self, s: State, n: int, me: str, c: Context, word: int) -> None:
        c.x = s.words[word]
        if c.x == 0:
            s.words[word] = 1

    def op_note(self, s: State, n: int, me: str, c: Context, note: int) -> None:
        s.notes[note] = c.x

    def op_bug(self, s: State, n: int, me: str, c: Context, value: int) -> None:
        if c.x == value:
            raise Violation("bug-on")

    # -- races

    def racing(self, state: State) -> bool:
        """Whether what a running context does next and what another one does next, or would have done next when it was struck,
        touches the same private word, and one of them writes.
        """
        running, struck = [], []
        for number, cpu in enumerate(state.cpus):
            stack = [name for name in (cpu.task, *cpu.levels) if name]
            if stack and self.can_go(state, number):
                running.append(stack[-1])
            struck += stack[:-1] + [name for name in cpu.queue if state.contexts[name].preempted]
        for me in running:
            mine = self.touches(state, me)
            for other in (*running, *struck):
                theirs = self.touches(state, other) if other != me else None
                if mine is not None and theirs is not None and mine[0] == theirs[0] and (mine[1] or theirs[1]):
                    return True
        return False

    def touches(self, state: State, name: str) -> tuple[object, bool] | None:
        """The private word that a context's next instruction touches, and whether it writes."""
        op, *args = self.next_of(state, name)
        if op == "note":
            return ("note", args[0]), True
        if op in ("load", "load-t", "store", "store-x", "store-t") and args[0] in (k.Q0, k.Q1):
            return ("word", args[0]), str(op).startswith("store")
        return None
