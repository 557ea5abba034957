# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames: where a kernel function may stop, what is live there, and the layout of its frame. This is data that writers read.

The native engine keeps a context on a stack of the processor, which cannot be copied. In the explorer a kernel function that may
stop has its frame in S: the number of the place where it stopped (its *pc*), the size of its caller's frame, and the locals that
are live there; all else of the frame is 0, so that equal states are equal words. A function runs in *steps*, each from a pc to
the next stop. Machine functions, and kernel functions that cannot stop, are plain functions without a frame.

llvm_frames.py writes the steps for the explorer, c_model.py writes them in C; both read what ``analyse`` finds, so that they
count the same states.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from softnet.errors import SoftnetError
from softnet.lang import ir
from softnet.lang.declare import NOTHING_SAID, FunctionFacts
from softnet.verify.codegen import store_order
from softnet.verify.codegen.points import Facts, point_kind

FRAME_WORDS_MAX: Final = 96
"""The largest frame that a function may have."""
HEAD_WORDS: Final = 2
"""Words of a frame before its locals: the pc, and the size of the caller's frame."""
ACQUIRES: Final = ("acquire", "hard-acquire")
"""The kinds of points before a lock is taken: the context stops there, too, while another one holds the lock."""


@dataclass(frozen=True)
class Rules:
    """What decides where contexts of a program stop."""

    module: ir.Module
    fields: Mapping[str, str]
    """The kind of "structure.field"."""
    changing: frozenset[str]
    """The fields that any function stores to."""
    reduce: bool
    """Stop only where the reduction asks for it (softnet.verify.codegen.points); else at every interaction point."""
    facts: Facts
    buffered: frozenset[str] | None = None
    """The fields whose stores go through a store buffer; None where memory is sequentially consistent."""

    def kind(self, why: str) -> str:
        """What an interaction point is; "" if no context stops there."""
        found = store_order.point_kind(why, self.said(why), self.reduce) if self.buffered is not None else None
        return point_kind(why, self.fields, self.changing, self.reduce, self.facts) if found is None else found

    def said(self, name: str) -> FunctionFacts:
        """What the declaration of a function says."""
        return self.facts.functions.get(name, NOTHING_SAID)


@dataclass
class Stop:
    """A place where a context may be between two steps."""

    function: str
    line: int
    column: int
    what: str


@dataclass
class Frames:
    """The numbers of all places of a program, and the frames of its functions."""

    stops: list[Stop] = field(default_factory=lambda: [Stop("", 0, 0, "nothing")])
    """The place of each pc."""
    entries: dict[str, int] = field(default_factory=dict)
    """Function -> the pc of its beginning."""
    frame_words: dict[str, int] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)
    """Function that may stop -> what the words of its frame are from the third on: locals, then temps (%number)."""
    resume: dict[str, int] = field(default_factory=dict)
    """Function -> its first unconditional stop, where nothing is live: irq_context()'s wait for the next interrupt."""

    def new_pc(self, function: str, at: ir.At, what: str) -> int:
        """A number for a place."""
        self.stops.append(Stop(function, at.line, at.column, what))
        return len(self.stops) - 1

    def enter(self, function: ir.Function) -> int:
        """A number for the beginning of a function."""
        pc = self.entries[function.name] = self.new_pc(function.name, ir.At(function.line, 1), "entry")
        return pc


@dataclass
class Segment:
    """Straight-line code between stops; ``stop`` is the instruction that may stop after it, ``after`` what follows."""

    number: int
    label: str
    body: list[ir.Instr] = field(default_factory=list)
    end: ir.Terminator | None = None
    stop: ir.Instr | None = None
    kind: str = ""
    """What the stop is: Rules.kind() of a point, or call, pointer, suspend."""
    after: str = ""
    pc: int = 0

    @property
    def acquires(self) -> bool:
        """Whether the stop is the point before a lock is taken."""
        return self.kind in ACQUIRES

    def successors(self) -> tuple[str, ...]:
        """The labels of the segments that may come next."""
        if self.stop is not None:
            return (self.after,)
        return () if self.end is None else self.end.successors()


@dataclass
class Frame:
    """One function that may stop: its segments, and its frame."""

    function: ir.Function
    entry: int
    """The pc of its beginning."""
    segments: list[Segment]
    crossing: set[ir.Temp]
    """Temps that are used in another segment than the one that defines them: they are kept in the frame, like locals."""
    names: list[str]
    """Locals and crossing temps, in the order of their words."""
    live: dict[str, set[str]]
    """Segment -> the names that are live at its beginning."""
    words: int = 0
    slot: dict[str, int] = field(default_factory=dict)
    """Name -> its word in the frame."""

    def __post_init__(self) -> None:
        self.words = HEAD_WORDS + len(self.names)
        self.slot = {name: HEAD_WORDS + index for index, name in enumerate(self.names)}

    def access(self, segment: Segment) -> ir.Instr:
        """What follows the interaction point that ends a segment: the access, or the call of the machine."""
        return self.segments[segment.number + 1].body[0]

    def lock_call(self, segment: Segment) -> ir.Call:
        """The call that takes the lock, after the point before it."""
        call = self.access(segment)
        assert isinstance(call, ir.Call)
        return call

    def saved(self, segment: Segment) -> list[str]:
        """What the frame holds while the context is at a segment's stop, in the order of the words."""
        return self.ordered(self.live[segment.after])

    def ordered(self, names: Iterable[str]) -> list[str]:
        """Names in the order of their words."""
        return sorted(names, key=self.slot.__getitem__)


def analyse(function: ir.Function, rules: Rules, stopping: set[str], frames: Frames) -> Frame:
    """Cut a function at its stops, find what is live there, lay out its frame; its places get their numbers in ``frames``.

    ``stopping`` are the functions that may stop. Raises SoftnetError for a function with too many locals.
    """
    segments = _segments(function, rules, stopping)
    crossing = _crossing_temps(segments)
    names = [*function.locals, *(str(temp) for temp in sorted(crossing, key=lambda temp: temp.number))]
    live = _liveness(segments, crossing)
    frame = Frame(function, frames.enter(function), segments, crossing, names, live)
    frames.names[function.name] = names
    frames.frame_words[function.name] = frame.words
    if frame.words > FRAME_WORDS_MAX:
        raise SoftnetError("a function has too many locals to be explored", where=f"{function.file}:{function.line}",
                           found=f"{frame.words} words in {function.name}()", expected=f"at most {FRAME_WORDS_MAX}",
                           hint="divide the function")  # fmt: skip
    for segment in segments:
        if segment.stop is not None:
            segment.pc = frames.new_pc(function.name, segment.stop.at, describe(segment.stop))
            if isinstance(segment.stop, ir.Suspend) and not live[segment.after]:
                frames.resume.setdefault(function.name, segment.pc)
    return frame


def stopping_functions(used: Iterable[str], rules: Rules) -> set[str]:
    """Kernel functions that may stop, themselves or in what they call."""
    functions = rules.module.functions
    kernel = [name for name in used if functions[name].kind == "kfunc"]
    stopping: set[str] = set()
    while True:
        more = {name for name in kernel if name not in stopping and _may_stop(functions[name], rules, stopping)}
        if not more:
            return stopping
        stopping |= more


def state_fields(changing: Iterable[str], outside: frozenset[str]) -> frozenset[str]:
    """The fields whose words are the state: those that change, but for structures ``outside`` of it."""
    return frozenset(name for name in changing if name.partition(".")[0] not in outside)


def describe(stop: ir.Instr) -> str:
    """What a stop is, in a word."""
    if isinstance(stop, ir.Point):
        return stop.why
    if isinstance(stop, ir.Call):
        return f"call {stop.function}"
    return "call through a pointer" if isinstance(stop, ir.CallPointer) else "suspend"


def _may_stop(function: ir.Function, rules: Rules, stopping: set[str]) -> bool:
    return any(_stop_kind(i, rules, stopping) for block in function.blocks for i in block.body)


def _stop_kind(i: ir.Instr, rules: Rules, stopping: set[str]) -> str:
    """How a context may stop at an instruction; "" if it does not."""
    if isinstance(i, ir.Suspend):
        return "suspend"
    if isinstance(i, ir.CallPointer):
        return "pointer"
    if isinstance(i, ir.Call):
        return "call" if i.function in stopping else ""
    return rules.kind(i.why) if isinstance(i, ir.Point) else ""


def _segments(function: ir.Function, rules: Rules, stopping: set[str]) -> list[Segment]:
    """The function's blocks, cut at everything that may stop."""
    out: list[Segment] = []
    for block in function.blocks:
        current = Segment(len(out), block.label)
        for i in block.body:
            kind = _stop_kind(i, rules, stopping)
            if not kind:
                current.body.append(i)
                continue
            current.stop, current.kind = i, kind
            current.after = f"{block.label}.{len(out)}"
            out.append(current)
            current = Segment(len(out), current.after)
        current.end = block.end
        out.append(current)
    return out


def _crossing_temps(segments: list[Segment]) -> set[ir.Temp]:
    """Temps that are used in another segment than the one that defines them."""
    home: dict[ir.Temp, int] = {}
    crossing: set[ir.Temp] = set()
    for number, segment in enumerate(segments):
        for i in segment.body:
            crossing.update(temp for temp in i.uses() if home.get(temp, number) != number)
            to = i.defines()
            if to is not None:
                home[to] = number
        if segment.acquires:
            # The result of the call that takes the lock has a word, though nothing needs it across the stop: the layout of
            # frames, and with it what a state's words are, stays as it is.
            to = segments[number + 1].body[0].defines()
            if to is not None:
                crossing.add(to)
        for end in (segment.stop, segment.end):
            if end is not None:
                crossing.update(temp for temp in end.uses() if home.get(temp, number) != number)
                to = end.defines()
                if to is not None:
                    crossing.add(to)
    return crossing


def _liveness(segments: list[Segment], crossing: set[ir.Temp]) -> dict[str, set[str]]:
    """Segment -> the locals and crossing temps that are live at its beginning."""
    live: dict[str, set[str]] = {segment.label: set() for segment in segments}
    changed = True
    while changed:
        changed = False
        for segment in reversed(segments):
            now: set[str] = set()
            for label in segment.successors():
                now |= live[label]
            for end in (segment.end, segment.stop):
                if end is not None:
                    _before(end, now, crossing)
            for i in reversed(segment.body):
                _before(i, now, crossing)
            if now != live[segment.label]:
                live[segment.label] = now
                changed = True
    return live


def _before(i: ir.Instr, live: set[str], crossing: set[ir.Temp]) -> None:
    """Turn what is live after an instruction into what is live before it."""
    to = i.defines()
    if to is not None:
        live.discard(str(to))
    if isinstance(i, ir.Set):
        live.discard(i.local)
    live.update(str(temp) for temp in i.uses() if temp in crossing)
    if isinstance(i, ir.Get):
        live.add(i.local)
