# SPDX-License-Identifier: GPL-2.0-or-later
"""The explorer's back end: the same intermediate form as the native engine's, with frames in memory.

The native engine keeps a context on a stack of the processor, which cannot be copied. Here a kernel function that may stop
has its frame in S: the number of the place where it stopped (its *pc*) and the locals that are live there; all else of the
frame is 0, so that equal states are equal words. ``verify_step`` runs a context from its pc to its next stop. Machine
functions, and kernel functions that cannot stop, are plain native functions.

Where a context stops (softnet.verify.codegen.points, after Lipton's reduction): a step is any number of right movers, at most one
access that another CPU can see, and any number of left movers. While interrupts are on, what this CPU's own interrupts may
touch counts as well. ``reduce=False`` stops at every interaction point.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from softnet.errors import SoftnetError
from softnet.lang import ir
from softnet.lang.passes.null_checks import mark_sound_alone
from softnet.lang.program.program import Program
from softnet.verify.codegen.llvm_functions import (
    BLOCKED,
    END,
    FOREIGN,
    FRAME,
    FRAME_WORDS_MAX,
    LEFT,
    LOG,
    LOG_FILL,
    PHASE,
    RESULT,
    STACK_LIMIT,
    STEP,
    SWITCHED,
    Emitter,
    Frames,
    PlainText,
    holders_of,
)
from softnet.verify.codegen.points import (
    CAUTIOUS,
    OWN_LOCK,
    OWN_MACHINE,
    PREEMPT_MASK,
    Facts,
    Segment,
    describe,
    fields_at_stops,
    following,
    reachable,
    stored_fields,
    uses,
)
from softnet.verify.codegen.store_order import buffered_fields, with_points
from softnet.verify.inside import words

VX_READ_ONLY: Final = words.VX_READ_ONLY

__all__ = ["LOG", "LOG_FILL", "Frames", "emit_frames"]


def emit_frames(
    module: ir.Module,
    program: Program,
    roots: Iterable[str],
    ignored: frozenset[str],
    outside: frozenset[str],
    *,
    reduce: bool = True,
    log: bool = False,
    store_buffer: int = 0,
    owned: bool = False,
    races: bool = False,
    facts: Facts = CAUTIOUS,
) -> Frames:
    """The text of all reachable functions, those that may stop as steps over frames.

    ``ignored`` fields and structures ``outside`` are no state.
    """
    # A step begins in any function, at any of its stops.
    mark_sound_alone(module)
    used = sorted(reachable(module, roots, program))
    fields = {f"{s.name}.{f.name}": f.kind for s in program.structs.values() for f in s.fields.values()}
    changing = stored_fields(module, used) - ignored
    buffered = None
    if store_buffer:
        state = frozenset(f for f in changing if f.partition(".")[0] not in outside)
        buffered = buffered_fields(module, used, fields, state, reduce=reduce)
        module = with_points(module, used, buffered)
    emitter = Emitter(
        module,
        fields,
        changing,
        outside,
        reduce=reduce,
        log=log,
        buffered=buffered,
        store_buffer=store_buffer,
        owned=owned,
        facts=facts,
        holders=holders_of(module, program.structs, races=races),
        stops=fields_at_stops(module, used),
    )
    emitter.stopping = stopping_functions(module, used, emitter)
    for name in used:
        function = module.functions[name]
        if name in (STEP, "vx_poke") or name in FOREIGN:
            continue
        if name in emitter.stopping:
            StepText(emitter, function).emit_step()
        else:
            PlainText(emitter, function).emit()
            if function.kind == "kfunc":
                emitter.thunk(function)
    emitter.tables(used)
    return emitter.out


def stopping_functions(module: ir.Module, used: Iterable[str], emitter: Emitter) -> set[str]:
    """Kernel functions that may stop, themselves or in what they call."""
    kernel = [n for n in used if module.functions[n].kind == "kfunc"]
    stopping: set[str] = set()
    while True:
        more = {n for n in kernel if n not in stopping and _may_stop(module.functions[n], stopping, emitter)}
        if not more:
            return stopping
        stopping |= more


def _may_stop(function: ir.Function, stopping: set[str], emitter: Emitter) -> bool:
    for block in function.blocks:
        for i in block.body:
            if isinstance(i, ir.Suspend | ir.CallPointer) or (isinstance(i, ir.Call) and i.function in stopping):
                return True
            if isinstance(i, ir.Point) and emitter.kind(i.why):
                return True
    return False


class StepText(PlainText):
    """A function that may stop: entered at any of its pcs, left at any of its stops."""

    def emit_step(self) -> None:
        """The whole function."""
        self.analyse()
        names, entry = self.frame_names, self.entry
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

    def analyse(self) -> None:
        """Cut the function at its stops; find what is live there; lay out its frame; number its places."""
        self.segments = self._split()
        self.crossing = self._crossing_temps()
        self.frame_names = names = [*self.function.locals, *(str(t) for t in sorted(self.crossing, key=lambda t: t.number))]
        self.slot = {name: 2 + index for index, name in enumerate(names)}
        self.live = self._liveness()
        self.local_index = {name: index for index, name in enumerate(names)}
        self.entry = self.emitter.new_pc(self.function.name, ir.At(self.function.line, 1), "entry")
        frames = self.emitter.out
        frames.entries[self.function.name] = self.entry
        frames.names[self.function.name] = names
        self.words = 2 + len(names)
        frames.frame_words[self.function.name] = self.words
        if self.words > FRAME_WORDS_MAX:
            raise SoftnetError("a function has too many locals to be explored", where=f"{self.function.file}:{self.function.line}",
                               found=f"{self.words} words in {self.function.name}()", expected=f"at most {FRAME_WORDS_MAX}",
                               hint="divide the function")  # fmt: skip
        for segment in self.segments:
            if segment.stop is not None:
                segment.pc = self.emitter.new_pc(self.function.name, segment.stop.at, describe(segment.stop))
                if isinstance(segment.stop, ir.Suspend) and not self.live[segment.after]:
                    frames.resume.setdefault(self.function.name, segment.pc)

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
                for label in following(segment):
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
        self.frame_end()
        self.line(f"ret i64 {SWITCHED if isinstance(segment.stop, ir.Suspend) else LEFT}")

    def frame_end(self) -> None:
        """Say where the last frame ends; behind it there is nothing but 0."""
        self.store(str(END), self.define(f"add i64 %fp, {self.words}"), "")

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
        room = self.define(f"icmp sle i64 {callee}, {self.load(str(STACK_LIMIT), '')}")
        self.unless(room, "stack", i.at)
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
        own = self.emitter.owned and kind == "non"
        if own:
            leaves, _ = self.owned(segment)
        elif kind in ("hard", "hard-acquire"):
            leaves = self.define(f"icmp ne i64 {phase}, 0")
        elif kind in ("non", "acquire"):
            committed = self.define(f"icmp eq i64 {phase}, 2")
            right = self.define(f"icmp eq i64 {phase}, 1")
            open_ = self.define(f"and i1 {right}, {self.irqs_on()}")
            leaves = self.define(f"or i1 {committed}, {open_}")
        elif kind in ("own", "disable", "enable"):
            leaves = self.define(f"and i1 {self.define(f'icmp ne i64 {phase}, 0')}, {self.irqs_on()}")
        elif kind == "count":
            seen = self.count_changes(segment)
            leaves = self.define(f"and i1 {self.define(f'icmp ne i64 {phase}, 0')}, {seen}")
        elif kind == "cpu":
            leaves = self.define(f"and i1 {self.define(f'icmp ne i64 {phase}, 0')}, {self.may_move()}")
        elif kind == "release":
            leaves = self.taken_here(phase)
        elif kind in ("store", "full", "full release", "fence"):
            leaves = self.buffer_leaves(kind, phase)
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
        if own:
            self.names = {}
            _, new = self.owned(segment)
        elif kind == "count":
            self.names = {}
            new = self.define(f"select i1 {self.count_changes(segment)}, i64 2, i64 {old}")
        elif kind == "cpu":
            new = self.define(f"select i1 {self.may_move()}, i64 2, i64 {old}")
        elif kind == "own":
            new = self.define(f"select i1 {self.irqs_on()}, i64 2, i64 {old}")
        elif kind in ("disable", "acquire"):
            new = self.define(f"call i64 @llvm.smax.i64(i64 {old}, i64 1)")
        elif kind == "fence":
            new = self.define(f"select i1 {self.define(f'icmp ne i64 {self.buffer_fill()}, 0')}, i64 2, i64 {old}")
        else:
            new = "2"
        self.store(str(PHASE), new, "")
        self.line(f'br label %"{segment.after}"')

    def may_move(self) -> str:
        """Whether the running task may be switched out and moved to another CPU, as an i1."""
        moves = self.define(f"icmp ne i64 {self.define('call i64 @vx_may_move(ptr %S)')}, 0")
        return self.define(f"and i1 {moves}, {self.irqs_on()}")

    def count_changes(self, segment: Segment) -> str:
        """Whether preempt_count_add() or _sub() changes anything for an interrupt that may strike, as an i1."""
        if not self.emitter.facts.classes:
            return self.irqs_on()
        call = self._call_after(self.segments.index(segment))
        assert isinstance(call, ir.Call)
        old = self.define('call i64 @"preempt_count"(ptr %S)')
        new = self.define(f"{'add' if call.function == 'preempt_count_add' else 'sub'} i64 {old}, {self.operand(call.args[0])}")
        bits = self.define(f"icmp ugt i64 {self.define(f'xor i64 {old}, {new}')}, {PREEMPT_MASK}")
        some = [self.define(f"icmp ne i64 {count}, 0") for count in (old, new)]
        changes = self.define(f"or i1 {bits}, {self.define(f'xor i1 {some[0]}, {some[1]}')}")
        return self.define(f"and i1 {changes}, {self.irqs_on()}")

    def taken_here(self, phase: str) -> str:
        """Whether a lock that is released now may have been taken in this step, where an interrupt could want it, too."""
        taken = self.define(f"icmp ne i64 {phase}, 0" if self.emitter.facts.tries else f"icmp eq i64 {phase}, 1")
        return self.define(f"and i1 {taken}, {self.irqs_on()}")

    def buffer_fill(self) -> str:
        """How many stores the CPU's buffer holds."""
        return self.define('call i64 @"vx_buffer_fill"(ptr %S)')

    def buffer_leaves(self, kind: str, phase: str) -> str:
        """Whether the context stops before a store into the buffer, or before a fence."""
        committed = self.define(f"icmp eq i64 {phase}, 2")
        if kind == "fence":
            return self.define(f"and i1 {committed}, {self.define(f'icmp ne i64 {self.buffer_fill()}, 0')}")
        full = self.define(f"icmp eq i64 {self.buffer_fill()}, {self.emitter.store_buffer}")
        flushes = self.define(f"and i1 {committed}, {full}")
        if kind == "full":
            return flushes
        if kind == "full release":
            return self.define(f"or i1 {flushes}, {self.taken_here(phase)}")
        open_ = self.define(f"and i1 {self.define(f'icmp ne i64 {phase}, 0')}, {self.irqs_on()}")
        return self.define(f"or i1 {flushes}, {open_}")

    def owned(self, segment: Segment) -> tuple[str, str]:
        """At a non-mover, by who else touches what it touches: whether the context stops (an i1), the phase after it.

        What only this CPU touches counts while an interrupt may strike; what nobody writes, and what this CPU does to its own
        machine while nothing can strike it, does not count.
        """
        assert isinstance(segment.stop, ir.Point)
        why, number = segment.stop.why, self.segments.index(segment)
        old = self.load(str(PHASE), "")
        committed = self.define(f"icmp eq i64 {old}, 2")
        if why == "jiffies" and "verify_env.jiffies" not in self.emitter.changing:
            return "false", old
        if "." not in why:
            right = self.define(f"icmp eq i64 {old}, 1")
            leaves = self.define(f"or i1 {committed}, {self.define(f'and i1 {right}, {self.irqs_on()}')}")
            if why not in OWN_MACHINE and why not in OWN_LOCK:
                return leaves, "2"
            calm = self.define(f"icmp ne i64 {self.define('call i64 @vx_calm(ptr %S)')}, 0")
            if why in OWN_LOCK:
                call = self._call_after(number)
                assert isinstance(call, ir.Call)
                calm = self.define(f"and i1 {calm}, {self.mine(self.operand(call.args[0]))}")
            stops = self.define(f"and i1 {leaves}, {self.define(f'xor i1 {calm}, true')}")
            return stops, self.define(f"select i1 {calm}, i64 {old}, i64 2")
        access = self._call_after(number)
        if isinstance(access, ir.Call):
            address, reads = self.operand(access.args[0]), access.function == "line_read"
        else:
            assert isinstance(access, ir.Load | ir.Store | ir.Atomic)
            address, reads = self.operand(access.place.address), isinstance(access, ir.Load)
        owner = self.define(f"call i64 @vx_owner(ptr %S, i64 {address})")
        mine = self.mine(address)
        fixed = self.define(f"icmp eq i64 {owner}, {VX_READ_ONLY}") if reads else "false"
        exposed = self.irqs_on()
        fresh = self.define(f"icmp eq i64 {old}, 0")
        moved = self.define(f"and i1 {self.define(f'xor i1 {fresh}, true')}, {exposed}")
        plain = self.define(f"or i1 {committed}, {moved}")
        stops = self.define(f"select i1 {mine}, i1 {moved}, i1 {plain}")
        after = self.define(f"select i1 {exposed}, i64 2, i64 {old}")
        after = self.define(f"select i1 {mine}, i64 {after}, i64 2")
        return (
            self.define(f"select i1 {fixed}, i1 false, i1 {stops}"),
            self.define(f"select i1 {fixed}, i64 {old}, i64 {after}"),
        )

    def mine(self, address: str) -> str:
        """Whether the running CPU owns the word, as an i1."""
        owner = self.define(f"call i64 @vx_owner(ptr %S, i64 {address})")
        me = self.define(f"add i64 {self.engine('cpu')}, 1")
        return self.define(f"icmp eq i64 {owner}, {me}")

    def irqs_on(self) -> str:
        """Whether an interrupt may strike the running context, as an i1: with interrupts on, unless nothing can come."""
        if self.emitter.owned:
            return self.define(f"icmp ne i64 {self.define('call i64 @vx_exposed(ptr %S)')}, 0")
        off = self.define('call i64 @"irqs_disabled"(ptr %S)')
        return self.define(f"icmp eq i64 {off}, 0")

    def acquire(self, segment: Segment) -> None:
        """A lock that another context holds: this one cannot act; if it has acted already it stops before the lock."""
        pc = segment.pc
        call = self._call_after(self.segments.index(segment))
        assert isinstance(call, ir.Call)
        self.names = {}
        if self.emitter.buffered is not None:
            self.fence()
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
        self.frame_end()
        self.line(f"ret i64 {BLOCKED}")
        self.block(f"park{pc}")
        self.leave(segment)
        self.block(f"take{pc}")
