# SPDX-License-Identifier: GPL-2.0-or-later
"""The explorer's back end: the same intermediate form as the native engine's, with frames in memory.

The native engine keeps a context on a stack of the processor, which cannot be copied. Here a kernel function that may stop
has its frame in S: the number of the place where it stopped (its *pc*) and the locals that are live there; all else of the
frame is 0, so that equal states are equal words. ``verify_step`` runs a context from its pc to its next stop. Machine
functions, and kernel functions that cannot stop, are plain native functions.

Where a context stops (``POINTS``, Lipton's reduction): a step is any number of right movers, at most one access that
another CPU can see, and any number of left movers. While interrupts are on, what this CPU's own interrupts may touch counts
as well. ``reduce=False`` stops at every interaction point.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from softnet.lang import ir
from softnet.lang.llvm_function import RUN_WORDS, FunctionText, Position, Text
from softnet.lang.program import Program

DROPPED: Final = frozenset(
    ("line_read", "line_write", "line_transfer", "hist_record", "cost_ns", "cpu_update", "actor_set", "cpu_timer_update",
     "timer_program", "account", "update_curr")
)  # fmt: skip
"""Machine functions that only keep time, prices and statistics: calls of them are left out, their result is 0."""

STEP: Final = "verify_step"
"""The machine function that stands for this back end's loop; its text is given here."""

PHASE, RESULT, FRAME = RUN_WORDS["stack_of"], RUN_WORDS["fuel_full"], RUN_WORDS["slice"]
"""Words of S beside NULL: the phase of the step (0 fresh, 1 right movers done, 2 committed), a call's result, the frame."""
LOG, LOG_FILL = RUN_WORDS["trace"], RUN_WORDS["trace_fill"]

LEFT, BLOCKED = -1, -2
"""What a step returns: the context stopped; or it waits for a lock and nothing happened."""

LOCAL: Final = frozenset(
    ("preempt_count_add", "preempt_count_sub", "preempt_count", "softirq_count", "in_hardirq", "irqs_disabled", "current",
     "nr_cpu_ids", "cpu_online", "cpu_is_offline", "vtime_softirq_enter", "vtime_softirq_exit", "vtime_user_enter",
     "vtime_user_exit", "migrate_count", "ktime_get", "local_clock", "irq_ack", "cpu_irq_line", "preempt_enable_due",
     "task_is_rt_policy", "spin_release", "hrtimer_active", "mix32")
)  # fmt: skip
"""Machine functions that only this context can see or that commute to the left (spin_release): no stop.

preempt_enable_due() reads NEED_RESCHED, which another CPU may set; whoever does also sends an interrupt, which preempts at
the next stop, so that reading it early loses nothing.
"""


def point_kind(why: str, fields: Mapping[str, str], changing: frozenset[str], reduce: bool) -> str:
    """What an interaction point is: "" none, ``non`` (non-mover), ``own`` (own CPU's interrupts only), ``acquire``,
    ``disable``, ``enable`` (interrupts), ``hard`` (always a stop).

    ``fields`` gives the kind of "structure.field", ``changing`` the fields that any function stores to.
    """
    if why.startswith("trace "):
        return ""
    if "." in why:
        if why not in changing:
            return ""
        if not reduce:
            return "hard"
        return "own" if fields.get(why) == "percpu" else "non"
    if why == "spin_acquire":
        return "acquire" if reduce else "hard-acquire"
    if not reduce:
        return "hard"
    if why in LOCAL:
        return ""
    if why == "irq_local_disable":
        return "disable"
    if why == "irq_local_restore":
        return "enable"
    return "non"


@dataclass
class Segment:
    """Straight-line code between stops; ``stop`` is the instruction that may stop after it, ``after`` what follows."""

    label: str
    body: list[ir.Instr]
    end: ir.Terminator | None = None
    stop: ir.Instr | None = None
    kind: str = ""
    after: str = ""
    pc: int = 0


@dataclass
class Stop:
    """A place where a context may have stopped."""

    function: str
    line: int
    column: int
    what: str


@dataclass
class Frames:
    """The LLVM text of a program for the explorer, and what its numbers mean."""

    text: Text
    stops: list[Stop] = field(default_factory=list)
    entries: dict[str, int] = field(default_factory=dict)
    """Function -> the pc of its beginning."""
    frame_words: dict[str, int] = field(default_factory=dict)
    resume: dict[str, int] = field(default_factory=dict)
    """Function -> its first unconditional stop, where nothing is live: irq_context()'s wait for the next interrupt."""


def reachable(module: ir.Module, roots: Iterable[str], program: Program) -> set[str]:
    """The functions that the roots lead to, by call or by a pointer that some of them store."""
    names = {number: name for name, number in module.function_ids.items()}
    fnptr = {f"{s.name}.{f.name}" for s in program.structs.values() for f in s.fields.values() if f.type == "fnptr"}
    seen: set[str] = set()
    pending = list(roots)
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        for block in module.functions[name].blocks:
            for i in block.body:
                if isinstance(i, ir.Call):
                    if i.function not in DROPPED:
                        pending.append(i.function)
                elif isinstance(i, ir.Store) and i.place.field in fnptr and isinstance(i.value, int) and i.value:
                    pending.append(names[i.value])
    return seen


def stored_fields(module: ir.Module, functions: Iterable[str]) -> frozenset[str]:
    """The fields that some of the functions store to; everything else is constant once booted."""
    found: set[str] = set()
    for name in functions:
        for block in module.functions[name].blocks:
            found |= {i.place.field for i in block.body if isinstance(i, ir.Store | ir.Atomic)}
    return frozenset(found)


def emit_frames(
    module: ir.Module, program: Program, roots: Iterable[str], ignored: frozenset[str], *, reduce: bool = True, log: bool = False
) -> Frames:
    """The text of all reachable functions, those that may stop as steps over frames; ``ignored`` fields are no state."""
    used = sorted(reachable(module, roots, program))
    fields = {f"{s.name}.{f.name}": f.kind for s in program.structs.values() for f in s.fields.values()}
    changing = stored_fields(module, used) - ignored
    emitter = _Emitter(module, fields, changing, reduce, log)
    emitter.stopping = _stopping(module, used, emitter)
    for name in used:
        function = module.functions[name]
        if name == STEP:
            continue
        if name in emitter.stopping:
            StepText(emitter, function).emit_step()
        else:
            PlainText(emitter, function).emit()
            if function.kind == "kfunc":
                emitter.thunk(function)
    emitter.tables(used)
    return emitter.out


def _stopping(module: ir.Module, used: Iterable[str], emitter: _Emitter) -> set[str]:
    """Kernel functions that may stop, themselves or in what they call."""
    kernel = [n for n in used if module.functions[n].kind == "kfunc"]
    stopping: set[str] = set()
    while True:
        more = {n for n in kernel if n not in stopping and _may_stop(module.functions[n], stopping, emitter)}
        if not more:
            return stopping
        stopping |= more


def _may_stop(function: ir.Function, stopping: set[str], emitter: _Emitter) -> bool:
    for block in function.blocks:
        for i in block.body:
            if isinstance(i, ir.Suspend | ir.CallPointer) or (isinstance(i, ir.Call) and i.function in stopping):
                return True
            if isinstance(i, ir.Point) and emitter.kind(i.why):
                return True
    return False


class _Emitter:
    """What the functions of one program share while they are written."""

    def __init__(self, module: ir.Module, fields: Mapping[str, str], changing: frozenset[str], reduce: bool, log: bool) -> None:
        self.module = module
        self.fields = fields
        self.changing = changing
        self.reduce = reduce
        self.log = log
        self.stopping: set[str] = set()
        self.text = Text()
        self.out = Frames(self.text)
        self.out.stops.append(Stop("", 0, 0, "nothing"))
        self.step_of_pc: list[str] = [""]

    def kind(self, why: str) -> str:
        """What an interaction point is here."""
        return point_kind(why, self.fields, self.changing, self.reduce)

    def new_pc(self, function: str, at: ir.At, what: str) -> int:
        """A number for a place where a context may have stopped."""
        self.out.stops.append(Stop(function, at.line, at.column, what))
        self.step_of_pc.append(f'@"{function}.step"')
        return len(self.out.stops) - 1

    def thunk(self, function: ir.Function) -> None:
        """A function that cannot stop, called through a pointer: it returns at once."""
        lines = self.text.lines
        pc = self.new_pc(function.name, ir.At(function.line, 1), "entry")
        self.out.entries[function.name] = pc
        lines.append(f'define internal i64 @"{function.name}.step"(ptr noalias nonnull %S, i64 %fp, i64 %pc) #0 {{')
        args = ""
        for index in range(len(function.params)):
            lines += [
                f"  %a{index} = add i64 %fp, {2 + index}",
                f"  %p{index} = getelementptr i64, ptr %S, i64 %a{index}",
                f"  %v{index} = load i64, ptr %p{index}",
                f"  store i64 0, ptr %p{index}",
            ]
            args += f", i64 %v{index}"
        lines += [
            f'  %r = call i64 @"{function.name}"(ptr %S{args})',
            f"  %rp = getelementptr i64, ptr %S, i64 {RESULT}",
            "  store i64 %r, ptr %rp",
            "  %f0 = getelementptr i64, ptr %S, i64 %fp",
            "  %f1 = getelementptr i64, ptr %f0, i64 1",
            "  %back = load i64, ptr %f1",
            "  store i64 0, ptr %f0",
            "  store i64 0, ptr %f1",
            "  %to = sub i64 %fp, %back",
            "  ret i64 %to",
            "}",
        ]

    def tables(self, used: list[str]) -> None:
        """The step function of each pc, the entry of each function number, and the loop over them."""
        steps = ", ".join("ptr " + (name or "null") for name in self.step_of_pc)
        count = len(self.module.function_ids) + 1
        entries = ["i64 0"] * count
        arity = ["i64 -1"] * count
        for name in used:
            number = self.module.function_ids[name]
            if name in self.out.entries:
                entries[number] = f"i64 {self.out.entries[name]}"
                arity[number] = f"i64 {len(self.module.functions[name].params)}"
        self.text.lines += [
            f"@steps = internal constant [{len(self.step_of_pc)} x ptr] [{steps}]",
            f"@entries = internal constant [{count} x i64] [{', '.join(entries)}]",
            f"@arity = internal constant [{count} x i64] [{', '.join(arity)}]",
            f'define internal i64 @"{STEP}"(ptr %S, i64 %fp0) #0 {{',
            "start:",
            "  br label %loop",
            "loop:",
            "  %fp = phi i64 [ %fp0, %start ], [ %r, %loop ]",
            "  %pcp = getelementptr i64, ptr %S, i64 %fp",
            "  %pc = load i64, ptr %pcp",
            f"  %sp = getelementptr [{len(self.step_of_pc)} x ptr], ptr @steps, i64 0, i64 %pc",
            "  %step = load ptr, ptr %sp",
            "  %r = call i64 %step(ptr %S, i64 %fp, i64 %pc)",
            "  %go = icmp sgt i64 %r, 0",
            "  br i1 %go, label %loop, label %done",
            "done:",
            "  ret i64 %r",
            "}",
        ]


class PlainText(FunctionText):
    """A function that cannot stop. No alias tags: the explorer reads the words of structures by their addresses."""

    def __init__(self, emitter: _Emitter, function: ir.Function) -> None:
        super().__init__(emitter.module, function, emitter.text, not function.shipped, False)
        self.emitter = emitter
        self.logging = emitter.log and function.kind == "kfunc"

    def tag(self, field_name: str) -> str:
        return ""

    def _point(self, i: ir.Point) -> None:
        """No other context can tell whether it acts before or after this."""

    def _trace(self, i: ir.Trace) -> None:
        """States keep no records."""

    def _fuel(self, i: ir.Fuel) -> None:
        if not self.function.name.startswith("vx_"):
            super()._fuel(i)

    def _suspend(self, i: ir.Suspend) -> None:
        raise AssertionError("a function that suspends may stop")

    def _call(self, i: ir.Call) -> None:
        if i.function in DROPPED:
            if i.to is not None:
                self.names[i.to] = "0"
            return
        super()._call(i)
        if self.logging and self.module.functions[i.function].kind == "hwfunc" and i.function != "lock_is_held":
            first = self.operand(i.args[0]) if i.args else "0"
            self.note(i.at, f"call {i.function}", first, self.operand(i.to) if i.to is not None else "0")

    def note(self, at: ir.At, what: str, address: str, value: str) -> None:
        """Write down an access for the counterexample."""
        positions = self.text.positions
        positions.append(Position(self.function.name, at.line, at.column, what))
        self.line(f"call void @log(ptr %S, i64 {len(positions) - 1}, i64 {address}, i64 {value})")

    def noted(self, at: ir.At, what: str, place: ir.Place, value: str) -> None:
        """Write an access down unless it is to the machine's own fields."""
        if self.logging and place.kind not in ("hw", "raw"):
            self.note(at, f"{what} {place.field}", self.operand(place.address), value)

    def _load(self, i: ir.Load) -> None:
        super()._load(i)
        self.noted(i.at, "read", i.place, self.names[i.to])

    def _store(self, i: ir.Store) -> None:
        if i.place.field == "engine_state.now" and self.function.kind == "kfunc":
            return
        super()._store(i)
        self.noted(i.at, "write", i.place, self.operand(i.value))

    def _atomic(self, i: ir.Atomic) -> None:
        super()._atomic(i)
        new = self.load(self.operand(i.place.address), i.place.field) if self.logging else "0"
        self.noted(i.at, f"{i.op}-old", i.place, self.names[i.to])
        self.noted(i.at, f"{i.op}-new", i.place, new)


class StepText(PlainText):
    """A function that may stop: entered at any of its pcs, left at any of its stops."""

    def emit_step(self) -> None:
        """The whole function."""
        self.segments = self._split()
        self.crossing = self._crossing_temps()
        names = [*self.function.locals, *(str(t) for t in sorted(self.crossing, key=lambda t: t.number))]
        self.slot = {name: 2 + index for index, name in enumerate(names)}
        self.live = self._liveness()
        self.local_index = {name: index for index, name in enumerate(names)}
        entry = self.emitter.new_pc(self.function.name, ir.At(self.function.line, 1), "entry")
        frames = self.emitter.out
        frames.entries[self.function.name] = entry
        self.words = 2 + len(names)
        frames.frame_words[self.function.name] = self.words
        for segment in self.segments:
            if segment.stop is not None:
                segment.pc = self.emitter.new_pc(self.function.name, segment.stop.at, _what(segment.stop))
                if isinstance(segment.stop, ir.Suspend) and not self.live[segment.after]:
                    frames.resume.setdefault(self.function.name, segment.pc)
        self.out.append(f'define internal i64 @"{self.function.name}.step"(ptr noalias nonnull %S, i64 %fp, i64 %pc) #0 {{')
        self.block("start")
        for index in range(len(names)):
            self.line(f"%l{index} = alloca i64")
            self.line(f"store i64 0, ptr %l{index}")
        cases = "".join(f" i64 {s.pc}, label %resume{s.pc}" for s in self.segments if s.stop is not None)
        self.line(f"switch i64 %pc, label %lost [ i64 {entry}, label %resume{entry}{cases} ]")
        self.block("lost")
        self.line("unreachable")
        self.block(f"resume{entry}")
        self.restore(set(self.function.params))
        self.line(f'br label %"{self.segments[0].label}"')
        for segment in self.segments:
            self.sound = set()
            self.from_local = {}
            self.names = {}
            self.block(f'"{segment.label}"')
            self.label = segment.label
            for instr in segment.body:
                self.instruction(instr)
                to = getattr(instr, "to", None)
                if to is not None and to in self.crossing:
                    self.line(f"store i64 {self.names[to]}, ptr %l{self.local_index[str(to)]}")
            if segment.stop is None:
                assert segment.end is not None
                self.terminator(segment.end)
            else:
                self.stop(segment)
        self.out.append("}")

    # -- analysis

    def _split(self) -> list[Segment]:
        """The function's blocks, cut at everything that may stop."""
        out: list[Segment] = []
        for block in self.function.blocks:
            current = Segment(block.label, [])
            for i in block.body:
                kind = self._stop_kind(i)
                if not kind:
                    current.body.append(i)
                    continue
                current.stop, current.kind = i, kind
                current.after = f"{block.label}.{len(out)}"
                out.append(current)
                current = Segment(current.after, [])
            current.end = block.end
            out.append(current)
        return out

    def _stop_kind(self, i: ir.Instr) -> str:
        if isinstance(i, ir.Suspend):
            return "suspend"
        if isinstance(i, ir.CallPointer):
            return "pointer"
        if isinstance(i, ir.Call):
            return "call" if i.function in self.emitter.stopping else ""
        return self.emitter.kind(i.why) if isinstance(i, ir.Point) else ""

    def _crossing_temps(self) -> set[ir.Temp]:
        """Temps that are used in another segment than the one that defines them."""
        home: dict[ir.Temp, int] = {}
        crossing: set[ir.Temp] = set()
        for number, segment in enumerate(self.segments):
            for i in segment.body:
                crossing |= {t for t in uses(i) if home.get(t, number) != number}
                to = getattr(i, "to", None)
                if to is not None:
                    home[to] = number
            ends = [i for i in (segment.stop, segment.end) if i is not None]
            if isinstance(segment.stop, ir.Point) and segment.kind in ("acquire", "hard-acquire"):
                ends.append(self._call_after(number))
            for end in ends:
                crossing |= {t for t in uses(end) if home.get(t, number) != number}
                to = getattr(end, "to", None)
                if to is not None:
                    crossing.add(to)
                if isinstance(end, ir.Call) and segment.kind in ("acquire", "hard-acquire"):
                    crossing |= set(uses(end))
        return crossing

    def _call_after(self, number: int) -> ir.Instr:
        """The call of spin_acquire() that follows its interaction point."""
        return self.segments[number + 1].body[0]

    def _liveness(self) -> dict[str, set[str]]:
        """Segment -> the locals and crossing temps that are live at its beginning."""
        by_label = {s.label: s for s in self.segments}
        live: dict[str, set[str]] = {label: set() for label in by_label}
        changed = True
        while changed:
            changed = False
            for segment in reversed(self.segments):
                now: set[str] = set()
                for label in _next(segment):
                    now |= live[label]
                for end in (segment.end, segment.stop):
                    if end is not None:
                        now = self._before(end, now)
                for i in reversed(segment.body):
                    now = self._before(i, now)
                if now != live[segment.label]:
                    live[segment.label] = now
                    changed = True
        return live

    def _before(self, i: ir.Instr, live: set[str]) -> set[str]:
        to = getattr(i, "to", None)
        now = set(live)
        if to is not None:
            now.discard(str(to))
        if isinstance(i, ir.Set):
            now.discard(i.local)
        now |= {str(t) for t in uses(i) if t in self.crossing}
        if isinstance(i, ir.Get):
            now.add(i.local)
        return now

    # -- code

    def operand(self, operand: ir.Operand) -> str:
        if isinstance(operand, ir.Temp) and operand not in self.names:
            self.names[operand] = self.define(f"load i64, ptr %l{self.local_index[str(operand)]}")
        return super().operand(operand)

    def terminator(self, end: ir.Terminator) -> None:
        if not isinstance(end, ir.Return):
            super().terminator(end)
            return
        self.store(str(RESULT), "0" if end.value is None else self.operand(end.value), "")
        back_at = self.define("add i64 %fp, 1")
        back = self.load(back_at, "")
        self.store(back_at, "0", "")
        self.store("%fp", "0", "")
        self.line(f"ret i64 {self.define(f'sub i64 %fp, {back}')}")

    def restore(self, names: set[str]) -> None:
        """Take live values out of the frame, which is 0 while the function runs."""
        for name in sorted(names, key=self.slot.__getitem__):
            at = self.define(f"add i64 %fp, {self.slot[name]}")
            value = self.load(at, "")
            self.store(at, "0", "")
            self.line(f"store i64 {value}, ptr %l{self.local_index[name]}")

    def save(self, names: set[str], pc: int) -> None:
        """Put live values and the place into the frame."""
        self.store("%fp", str(pc), "")
        for name in sorted(names, key=self.slot.__getitem__):
            value = self.define(f"load i64, ptr %l{self.local_index[name]}")
            self.store(self.define(f"add i64 %fp, {self.slot[name]}"), value, "")

    def leave(self, segment: Segment) -> None:
        """Stop here."""
        live = self.live[segment.after]
        if isinstance(segment.stop, ir.Point) and segment.kind in ("acquire", "hard-acquire"):
            live = live | {str(t) for t in uses(self._call_after(self.segments.index(segment)))}
        self.save(live, segment.pc)
        self.store(str(FRAME), "%fp", "")
        self.line(f"ret i64 {LEFT}")

    def stop(self, segment: Segment) -> None:
        """The end of a segment at which the context may stop."""
        if isinstance(segment.stop, ir.Suspend):
            self.leave(segment)
            self.block(f"resume{segment.pc}")
            self.restore(self.live[segment.after])
            self.line(f'br label %"{segment.after}"')
        elif isinstance(segment.stop, ir.Call | ir.CallPointer):
            self.call_frame(segment, segment.stop)
        else:
            self.point(segment)

    def call_frame(self, segment: Segment, i: ir.Call | ir.CallPointer) -> None:
        """Call a function that may stop: its frame stands above this one."""
        if isinstance(i, ir.Call):
            entry = str(self.emitter.module.function_ids[i.function])
        else:
            entry = self.operand(i.pointer)
        count = len(self.module.function_ids) + 1
        if isinstance(i, ir.CallPointer):
            self.unless(self.define(f"icmp ult i64 {entry}, {count}"), "pointer", i.at, str(len(i.args)), entry)
        arity_at = self.define(f"getelementptr [{count} x i64], ptr @arity, i64 0, i64 {entry}")
        arity = self.define(f"load i64, ptr {arity_at}")
        self.unless(self.define(f"icmp eq i64 {arity}, {len(i.args)}"), "pointer", i.at, str(len(i.args)), entry)
        pc_at = self.define(f"getelementptr [{count} x i64], ptr @entries, i64 0, i64 {entry}")
        pc = self.define(f"load i64, ptr {pc_at}")
        args = [self.operand(a) for a in i.args]
        live = self.live[segment.after] - ({str(i.to)} if i.to is not None else set())
        self.save(live, segment.pc)
        callee = self.define(f"add i64 %fp, {self.words}")
        self.store(callee, pc, "")
        self.store(self.define(f"add i64 {callee}, 1"), str(self.words), "")
        for index, value in enumerate(args):
            self.store(self.define(f"add i64 {callee}, {2 + index}"), value, "")
        self.line(f"ret i64 {callee}")
        self.block(f"resume{segment.pc}")
        self.restore(live)
        if i.to is not None:
            self.line(f"store i64 {self.load(str(RESULT), '')}, ptr %l{self.local_index[str(i.to)]}")
        self.line(f'br label %"{segment.after}"')

    def point(self, segment: Segment) -> None:
        """An interaction point: by the phase of the step the context stops before it or goes on."""
        pc, kind = segment.pc, segment.kind
        acquire = kind in ("acquire", "hard-acquire")
        phase = self.load(str(PHASE), "")
        if kind in ("hard", "hard-acquire"):
            leaves = self.define(f"icmp ne i64 {phase}, 0")
        elif kind in ("non", "acquire"):
            committed = self.define(f"icmp eq i64 {phase}, 2")
            right = self.define(f"icmp eq i64 {phase}, 1")
            open_ = self.define(f"and i1 {right}, {self.irqs_on()}")
            leaves = self.define(f"or i1 {committed}, {open_}")
        elif kind in ("own", "disable"):
            leaves = self.define(f"and i1 {self.define(f'icmp ne i64 {phase}, 0')}, {self.irqs_on()}")
        else:
            leaves = "false"
        self.line(f"br i1 {leaves}, label %leave{pc}, label %go{pc}")
        self.block(f"leave{pc}")
        self.leave(segment)
        self.block(f"resume{pc}")
        live = self.live[segment.after]
        if acquire:
            live = live | {str(t) for t in uses(self._call_after(self.segments.index(segment)))}
        self.restore(live)
        self.line(f"br label %go{pc}")
        self.block(f"go{pc}")
        if acquire:
            self.acquire(segment)
        old = self.load(str(PHASE), "")
        if kind == "own":
            new = self.define(f"select i1 {self.irqs_on()}, i64 2, i64 {old}")
        elif kind in ("disable", "acquire"):
            new = self.define(f"call i64 @llvm.smax.i64(i64 {old}, i64 1)")
        else:
            new = "2"
        self.store(str(PHASE), new, "")
        self.line(f'br label %"{segment.after}"')

    def irqs_on(self) -> str:
        """Whether the running context has interrupts on, as an i1."""
        off = self.define('call i64 @"irqs_disabled"(ptr %S)')
        return self.define(f"icmp eq i64 {off}, 0")

    def acquire(self, segment: Segment) -> None:
        """A lock that another context holds: this one cannot act; if it has acted already it stops before the lock."""
        pc = segment.pc
        call = self._call_after(self.segments.index(segment))
        assert isinstance(call, ir.Call)
        self.names = {}
        lock = self.operand(call.args[0])
        owner = self.load(lock, "")
        free = self.define(f"icmp eq i64 {owner}, 0")
        me = self.define(f"add i64 {self.engine('ctx')}, 1")
        mine = self.define(f"icmp eq i64 {owner}, {me}")
        can = self.define(f"or i1 {free}, {mine}")
        self.line(f"br i1 {can}, label %take{pc}, label %wait{pc}")
        self.block(f"wait{pc}")
        fresh = self.define(f"icmp eq i64 {self.load(str(PHASE), '')}, 0")
        self.line(f"br i1 {fresh}, label %blocked{pc}, label %park{pc}")
        self.block(f"blocked{pc}")
        self.line(f"ret i64 {BLOCKED}")
        self.block(f"park{pc}")
        self.leave(segment)
        self.block(f"take{pc}")


def _next(segment: Segment) -> list[str]:
    if segment.stop is not None:
        return [segment.after]
    if isinstance(segment.end, ir.Jump):
        return [segment.end.target]
    return [segment.end.yes, segment.end.no] if isinstance(segment.end, ir.Branch) else []


def _what(stop: ir.Instr) -> str:
    if isinstance(stop, ir.Point):
        return stop.why
    if isinstance(stop, ir.Call):
        return f"call {stop.function}"
    return "call through a pointer" if isinstance(stop, ir.CallPointer) else "suspend"


def uses(i: ir.Instr) -> list[ir.Temp]:
    """The temps that an instruction reads."""
    found: list[ir.Temp] = []
    for name in i.__dataclass_fields__:
        if name in ("to", "at"):
            continue
        value = getattr(i, name)
        if isinstance(value, ir.Place):
            value = value.address
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, ir.Temp):
                found.append(part)
    return found
