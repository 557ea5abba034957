# SPDX-License-Identifier: GPL-2.0-or-later
"""The explorer's back end: the same intermediate form as the native engine's, with frames in memory (codegen.frames).

``verify_step`` runs a context from its pc to its next stop. Where a context stops (softnet.verify.codegen.points, after Lipton's
reduction): a step is any number of right movers, at most one access that another CPU can see, and any number of left movers.
While interrupts are on, what this CPU's own interrupts may touch counts as well. ``reduce=False`` stops at every interaction point.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from softnet.lang import ir
from softnet.lang.passes.null_checks import mark_sound_alone
from softnet.lang.program.program import Program
from softnet.verify.codegen.frames import Frame, Rules, Segment, analyse, state_fields, stopping_functions
from softnet.verify.codegen.llvm_functions import (
    BLOCKED,
    END,
    FOREIGN,
    FRAME,
    LEFT,
    PHASE,
    RESULT,
    STACK_LIMIT,
    STEP,
    SWITCHED,
    Code,
    Emitter,
    PlainText,
    holders_of,
)
from softnet.verify.codegen.points import PREEMPT_MASK, Facts, fields_at_stops, reachable, stored_fields
from softnet.verify.codegen.store_order import buffered_fields, with_points
from softnet.verify.inside import words

VX_READ_ONLY: Final = words.VX_READ_ONLY


def emit_frames(
    module: ir.Module, program: Program, roots: Iterable[str], ignored: frozenset[str], outside: frozenset[str], *,
    reduce: bool = True, log: bool = False, store_buffer: int = 0, owned: bool = False, races: bool = False, facts: Facts,
) -> Code:  # fmt: skip
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
        buffered = buffered_fields(module, used, fields, state_fields(changing, outside), reduce=reduce)
        module = with_points(module, used, buffered)
    rules = Rules(module, fields, changing, reduce, facts, buffered)
    emitter = Emitter(rules, outside, log=log, store_buffer=store_buffer, owned=owned,
                      holders=holders_of(module, program.structs, races=races), stops=fields_at_stops(module, used))  # fmt: skip
    stopping = stopping_functions(used, rules)
    for name in used:
        function = module.functions[name]
        if name in (STEP, "vx_poke") or name in FOREIGN:
            continue
        if name in stopping:
            StepText(emitter, analyse(function, rules, stopping, emitter.frames)).emit_step()
        else:
            PlainText(emitter, function).emit()
            if function.kind == "kfunc":
                emitter.thunk(function)
    emitter.tables(used)
    return Code(emitter.text, emitter.frames)


class StepText(PlainText):
    """Writes a function that may stop: entered at any of its pcs, left at any of its stops."""

    def __init__(self, emitter: Emitter, frame: Frame) -> None:
        super().__init__(emitter, frame.function)
        self.frame = frame
        self.local_index = {name: index for index, name in enumerate(frame.names)}

    def emit_step(self) -> None:
        """The whole function."""
        names, entry, segments = self.frame.names, self.frame.entry, self.frame.segments
        self.out.append(f'define internal i64 @"{self.function.name}.step"(ptr noalias nonnull %S, i64 %fp, i64 %pc) #0 {{')
        self.block("start")
        for index in range(len(names)):
            self.line(f"%l{index} = alloca i64")
            self.line(f"store i64 0, ptr %l{index}")
        cases = "".join(f" i64 {s.pc}, label %resume{s.pc}" for s in segments if s.stop is not None)
        self.line(f"switch i64 %pc, label %lost [ i64 {entry}, label %resume{entry}{cases} ]")
        self.block("lost")
        self.line("unreachable")
        self.block(f"resume{entry}")
        self.restore(self.frame.ordered(set(self.function.params)))
        self.line(f'br label %"{segments[0].label}"')
        for segment in segments:
            self.names = {}
            self.block(f'"{segment.label}"')
            self.label = segment.label
            for instr in segment.body:
                self.visit(instr)
                to = instr.defines()
                if to is not None and to in self.frame.crossing:
                    self.line(f"store i64 {self.names[to]}, ptr %l{self.local_index[str(to)]}")
            if segment.stop is None:
                assert segment.end is not None
                self.visit(segment.end)
            else:
                self.stop(segment)
        self.out.append("}")

    def operand(self, operand: ir.Operand) -> str:
        if isinstance(operand, ir.Temp) and operand not in self.names:
            self.names[operand] = self.define(f"load i64, ptr %l{self.local_index[str(operand)]}")
        return super().operand(operand)

    def on_return(self, i: ir.Return) -> None:
        self.store(str(RESULT), "0" if i.value is None else self.operand(i.value), "")
        back_at = self.define("add i64 %fp, 1")
        back = self.load(back_at, "")
        self.store(back_at, "0", "")
        self.store("%fp", "0", "")
        self.line(f"ret i64 {self.define(f'sub i64 %fp, {back}')}")

    def restore(self, names: Iterable[str]) -> None:
        """Take values out of the frame, which is 0 while the function runs."""
        for name in names:
            at = self.define(f"add i64 %fp, {self.frame.slot[name]}")
            value = self.load(at, "")
            self.store(at, "0", "")
            self.line(f"store i64 {value}, ptr %l{self.local_index[name]}")

    def save(self, names: Iterable[str], pc: int) -> None:
        """Put values and the place into the frame."""
        self.store("%fp", str(pc), "")
        for name in names:
            value = self.define(f"load i64, ptr %l{self.local_index[name]}")
            self.store(self.define(f"add i64 %fp, {self.frame.slot[name]}"), value, "")

    def leave(self, segment: Segment) -> None:
        """Stop here."""
        self.save(self.frame.saved(segment), segment.pc)
        self.store(str(FRAME), "%fp", "")
        self.frame_end()
        self.line(f"ret i64 {SWITCHED if isinstance(segment.stop, ir.Suspend) else LEFT}")

    def frame_end(self) -> None:
        """Note where the last frame ends; all words behind it are 0."""
        self.store(str(END), self.define(f"add i64 %fp, {self.frame.words}"), "")

    def stop(self, segment: Segment) -> None:
        """The end of a segment at which the context may stop."""
        if isinstance(segment.stop, ir.Suspend):
            self.leave(segment)
            self.block(f"resume{segment.pc}")
            self.restore(self.frame.saved(segment))
            self.line(f'br label %"{segment.after}"')
        elif isinstance(segment.stop, ir.Call | ir.CallPointer):
            self.call_frame(segment, segment.stop)
        else:
            self.point(segment)

    def call_frame(self, segment: Segment, i: ir.Call | ir.CallPointer) -> None:
        """Call a function that may stop: its frame begins where this one ends."""
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
        live = self.frame.ordered(self.frame.live[segment.after] - {str(i.to)})
        self.save(live, segment.pc)
        callee = self.define(f"add i64 %fp, {self.frame.words}")
        room = self.define(f"icmp sle i64 {callee}, {self.load(str(STACK_LIMIT), '')}")
        self.unless(room, "stack", i.at)
        self.store(callee, pc, "")
        self.store(self.define(f"add i64 {callee}, 1"), str(self.frame.words), "")
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
        self.restore(self.frame.saved(segment))
        self.line(f"br label %go{pc}")
        self.block(f"go{pc}")
        if segment.acquires:
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
        if not self.rules.facts.classes:
            return self.irqs_on()
        call = self.frame.access(segment)
        assert isinstance(call, ir.Call)
        old = self.define('call i64 @"preempt_count"(ptr %S)')
        new = self.define(f"{'add' if call.function == 'preempt_count_add' else 'sub'} i64 {old}, {self.operand(call.args[0])}")
        bits = self.define(f"icmp ugt i64 {self.define(f'xor i64 {old}, {new}')}, {PREEMPT_MASK}")
        some = [self.define(f"icmp ne i64 {count}, 0") for count in (old, new)]
        changes = self.define(f"or i1 {bits}, {self.define(f'xor i1 {some[0]}, {some[1]}')}")
        return self.define(f"and i1 {changes}, {self.irqs_on()}")

    def taken_here(self, phase: str) -> str:
        """Whether a lock that is released now may have been taken in this step, where an interrupt could want it, too."""
        taken = self.define(f"icmp ne i64 {phase}, 0" if self.rules.facts.tries else f"icmp eq i64 {phase}, 1")
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
        """At a non-mover, by the owner of what it touches: whether the context stops (an i1), and the phase after it.

        An access to what only this CPU touches is a non-mover while an interrupt may come, else none. One to what no CPU writes
        is none; nor is a change of this CPU's own machine while nothing can interrupt it (vx_calm).
        """
        assert isinstance(segment.stop, ir.Point)
        why = segment.stop.why
        old = self.load(str(PHASE), "")
        committed = self.define(f"icmp eq i64 {old}, 2")
        said = self.rules.said(why)
        if said.reads and said.reads not in self.rules.changing:
            return "false", old
        if "." not in why:
            right = self.define(f"icmp eq i64 {old}, 1")
            leaves = self.define(f"or i1 {committed}, {self.define(f'and i1 {right}, {self.irqs_on()}')}")
            if said.visible not in ("own cpu", "lock"):
                return leaves, "2"
            calm = self.define(f"icmp ne i64 {self.define('call i64 @vx_calm(ptr %S)')}, 0")
            if said.visible == "lock":
                calm = self.define(f"and i1 {calm}, {self.mine(self.operand(self.frame.lock_call(segment).args[0]))}")
            stops = self.define(f"and i1 {leaves}, {self.define(f'xor i1 {calm}, true')}")
            return stops, self.define(f"select i1 {calm}, i64 {old}, i64 2")
        access = self.frame.access(segment)
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
        """Whether an interrupt may come, as an i1: interrupts are on and, where owners are known, some interrupt can come."""
        if self.emitter.owned:
            return self.define(f"icmp ne i64 {self.define('call i64 @vx_exposed(ptr %S)')}, 0")
        off = self.define('call i64 @"irqs_disabled"(ptr %S)')
        return self.define(f"icmp eq i64 {off}, 0")

    def acquire(self, segment: Segment) -> None:
        """A lock that another context holds: this one cannot act; if it has acted already it stops before the lock."""
        pc = segment.pc
        self.names = {}
        if self.rules.buffered is not None:
            self.fence()
        lock = self.operand(self.frame.lock_call(segment).args[0])
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
