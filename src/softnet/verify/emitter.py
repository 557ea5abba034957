# SPDX-License-Identifier: GPL-2.0-or-later
"""What the functions of the explorer's back end share, and those that cannot stop: plain native functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from softnet.lang import ir
from softnet.lang.llvm_function import RUN_WORDS, FunctionText, Position, Text
from softnet.verify.points import DROPPED, point_kind

STEP: Final = "verify_step"
"""The machine function that stands for this back end's loop; its text is given here."""

PHASE, RESULT, FRAME = RUN_WORDS["stack_of"], RUN_WORDS["fuel_full"], RUN_WORDS["slice"]
"""Words of S beside NULL: the phase of the step (0 fresh, 1 right movers done, 2 committed), a call's result, the frame."""
STACK_LIMIT = RUN_WORDS["points"]
"""The last address at which a frame may begin in the running context's part of memory."""
FRAME_WORDS_MAX: Final = 96
"""What a frame may take at most."""
LOG, LOG_FILL = RUN_WORDS["trace"], RUN_WORDS["trace_fill"]

LEFT, BLOCKED = -1, -2
"""What a step returns: the context stopped; or it waits for a lock and nothing happened."""

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


class Emitter:
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

    def __init__(self, emitter: Emitter, function: ir.Function) -> None:
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
