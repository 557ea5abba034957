# SPDX-License-Identifier: GPL-2.0-or-later
"""The intermediate form of kernel functions: a control-flow graph of simple instructions.

Everything is a signed 64-bit word. An operand is an int or a ``Temp``; a temp is defined once. What lives across an interaction
point is a local (``Get``, ``Set``), except the address of an access, which is computed before the point of that access.
Every access to memory is one instruction that says what it is: the field, its kind, its ordering. Every place where a
context may lose the CPU is a ``Point`` or a ``Suspend``. Every instruction carries its place in the user's file.

Analyses ask an instruction what it ``uses()`` and ``defines()``, and a block for its ``successors()``. What treats each
instruction in a way of its own is a ``Visitor``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, TypeVar

from softnet.lang.declare import NOTHING_SAID, FunctionFacts, Kind
from softnet.lang.dispatch import Dispatch

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Temp:
    """A value computed in a block."""

    number: int

    def __str__(self) -> str:
        return f"%{self.number}"


Operand = int | Temp


@dataclass(frozen=True, slots=True)
class At:
    """Where an instruction comes from: line and character column in the function's file."""

    line: int
    column: int


Raw = Literal["raw"]
RAW: Final = "raw"
"""The kind of a word that mem() reaches by its address; all others are the kinds of fields."""


CPU_FIELD: Final = "engine_state.cpu"
"""The number of the CPU that runs: the only field that the compiler knows more about than its declaration says."""


@dataclass(frozen=True, slots=True)
class Place:
    """A word of memory and what is declared about it; ``field`` is "structure.field"."""

    address: Operand
    field: str
    kind: Kind | Raw
    guard: str = ""


@dataclass(slots=True)
class Instr:
    """What every instruction has."""

    at: At

    def operands(self) -> tuple[Operand, ...]:
        """What it computes with, in the order of its fields."""
        return ()

    def uses(self) -> list[Temp]:
        """The temps that it reads."""
        return [operand for operand in self.operands() if isinstance(operand, Temp)]

    def defines(self) -> Temp | None:
        """The temp that it computes, if any."""
        return None


@dataclass(slots=True)
class Binary(Instr):
    """``+ - * // % & | ^ << >> == != < <= > >= min max draw``; comparisons give 0 or 1,
    and draw is softnet.units.draw().
    """

    to: Temp
    op: str
    left: Operand
    right: Operand

    def operands(self) -> tuple[Operand, ...]:
        return (self.left, self.right)

    def defines(self) -> Temp:
        return self.to


@dataclass(slots=True)
class BitLength(Instr):
    """The number of the highest set bit, from 1; 0 for 0."""

    to: Temp
    value: Operand

    def operands(self) -> tuple[Operand, ...]:
        return (self.value,)

    def defines(self) -> Temp:
        return self.to


@dataclass(slots=True)
class Get(Instr):
    """Read a local."""

    to: Temp
    local: str

    def defines(self) -> Temp:
        return self.to


@dataclass(slots=True)
class Set(Instr):
    """Write a local."""

    local: str
    value: Operand

    def operands(self) -> tuple[Operand, ...]:
        return (self.value,)


@dataclass(slots=True)
class Load(Instr):
    """``order``: plain, once, acquire, atomic, race."""

    to: Temp
    place: Place
    order: str = "plain"

    def operands(self) -> tuple[Operand, ...]:
        return (self.place.address,)

    def defines(self) -> Temp:
        return self.to


@dataclass(slots=True)
class Store(Instr):
    """``order``: plain, once, release, atomic."""

    place: Place
    value: Operand
    order: str = "plain"

    def operands(self) -> tuple[Operand, ...]:
        return (self.place.address, self.value)


@dataclass(slots=True)
class Atomic(Instr):
    """Read-modify-write, gives the old value: ``cmpxchg`` (old, new), ``xchg``, ``add``, ``or``, ``and``."""

    to: Temp
    op: str
    place: Place
    args: tuple[Operand, ...]

    def operands(self) -> tuple[Operand, ...]:
        return (self.place.address, *self.args)

    def defines(self) -> Temp:
        return self.to


@dataclass(slots=True)
class Barrier(Instr):
    """smp_mb, smp_rmb, smp_wmb, barrier: both engines are sequentially consistent, the explorer with store buffers is not."""

    kind: str


@dataclass(slots=True)
class Offset(Instr):
    """The address of a part of a structure. ``base`` must not be NULL; it is tested while ``checked`` (see passes.null_checks)."""

    to: Temp
    base: Operand
    words: int
    what: str
    checked: bool = True

    def operands(self) -> tuple[Operand, ...]:
        return (self.base,)

    def defines(self) -> Temp:
        return self.to


@dataclass(slots=True)
class Element(Instr):
    """The address of an array's element, ``base + index * stride``; the index is checked."""

    to: Temp
    base: Operand
    index: Operand
    count: int
    stride: int

    def operands(self) -> tuple[Operand, ...]:
        return (self.base, self.index)

    def defines(self) -> Temp:
        return self.to


@dataclass(slots=True)
class Table(Instr):
    """The address of the index-th instance of a structure; ``checked`` unless the index is this CPU."""

    to: Temp
    struct: str
    index: Operand
    checked: bool = True

    def operands(self) -> tuple[Operand, ...]:
        return (self.index,)

    def defines(self) -> Temp:
        return self.to


@dataclass(slots=True)
class TableLength(Instr):
    """How many instances of a structure there are."""

    to: Temp
    struct: str

    def defines(self) -> Temp:
        return self.to


@dataclass(slots=True)
class IndexOf(Instr):
    """The index of a table's instance, which must not be NULL; tested while ``checked``."""

    to: Temp
    struct: str
    address: Operand
    checked: bool = True

    def operands(self) -> tuple[Operand, ...]:
        return (self.address,)

    def defines(self) -> Temp:
        return self.to


@dataclass(slots=True)
class Call(Instr):
    """Call a function by name; ``to`` is None where the result is not wanted."""

    to: Temp | None
    function: str
    args: tuple[Operand, ...]

    def operands(self) -> tuple[Operand, ...]:
        return self.args

    def defines(self) -> Temp | None:
        return self.to


@dataclass(slots=True)
class CallPointer(Instr):
    """Call the function with that number."""

    to: Temp | None
    pointer: Operand
    args: tuple[Operand, ...]

    def operands(self) -> tuple[Operand, ...]:
        return (self.pointer, *self.args)

    def defines(self) -> Temp | None:
        return self.to


@dataclass(slots=True)
class Point(Instr):
    """An interaction point: the context gives way if another acts before its time."""

    why: str


@dataclass(slots=True)
class Suspend(Instr):
    """The context gives way and goes on when it is resumed."""


@dataclass(slots=True)
class Trace(Instr):
    """Count the event on this CPU and record it if it is traced."""

    event: str
    args: tuple[Operand, ...]

    def operands(self) -> tuple[Operand, ...]:
        return self.args


@dataclass(slots=True)
class Check(Instr):
    """Stop the run with ``code`` unless ``value`` is true; ``what`` says more where the code alone does not."""

    value: Operand
    code: str
    what: str = ""

    def operands(self) -> tuple[Operand, ...]:
        return (self.value,)


@dataclass(slots=True)
class Fuel(Instr):
    """One turn of a loop; a run stops when a context turns without end. ``counted``: a ``for``, whose turns are counted anyway."""

    counted: bool = False


@dataclass(slots=True)
class Jump(Instr):
    """Go on in another block."""

    target: str

    def successors(self) -> tuple[str, ...]:
        """The blocks that may come next."""
        return (self.target,)


@dataclass(slots=True)
class Branch(Instr):
    """Go on in one of two blocks."""

    value: Operand
    yes: str
    no: str

    def operands(self) -> tuple[Operand, ...]:
        return (self.value,)

    def successors(self) -> tuple[str, ...]:
        """The blocks that may come next."""
        return (self.yes, self.no)


@dataclass(slots=True)
class Return(Instr):
    """Leave the function."""

    value: Operand | None

    def operands(self) -> tuple[Operand, ...]:
        return () if self.value is None else (self.value,)

    def successors(self) -> tuple[str, ...]:
        """The blocks that may come next."""
        return ()


Terminator = Jump | Branch | Return

INSTRUCTIONS: Final = (
    Binary, BitLength, Get, Set, Load, Store, Atomic, Barrier, Offset, Element, Table, TableLength, IndexOf, Call, CallPointer,
    Point, Suspend, Trace, Check, Fuel, Jump, Branch, Return,
)  # fmt: skip


class Visitor(Dispatch[Result], over=INSTRUCTIONS, abstract=True):
    """Does with each instruction what its type asks for: ``on_load(i)``, ``on_call_pointer(i)`` and so on."""


@dataclass(slots=True)
class Block:
    """Straight-line code and how it ends."""

    label: str
    body: list[Instr] = field(default_factory=list)
    end: Terminator | None = None

    def successors(self) -> tuple[str, ...]:
        """The labels of the blocks that may come next; none while the block has no end."""
        return () if self.end is None else self.end.successors()


@dataclass(slots=True)
class Function:
    """A lowered function: the first block is its entry, the parameters are locals."""

    name: str
    kind: str
    shipped: bool
    """Whether it is softnet's own; a user's is checked more."""
    file: str
    line: int
    params: tuple[str, ...]
    returns: bool
    locals: list[str]
    blocks: list[Block]
    facts: FunctionFacts = NOTHING_SAID
    """What its declaration says of it."""


@dataclass(slots=True)
class Module:
    """All functions of a program and the numbers that engines share about it."""

    functions: dict[str, Function]
    function_ids: dict[str, int]
    events: dict[str, int]
    table_index: dict[str, int]
    strides: dict[str, int]
    offsets: dict[str, int]
    """"structure.field" -> words from the structure's beginning."""
    table_dir: int
    engine: dict[str, int]
    """Field of the singleton engine_state -> its address."""
    pointed: set[str]
    """Functions whose address is taken: they may be called through a pointer."""
    observer_index: dict[str, int] = field(default_factory=dict)
    """Structure of the observers -> its row in their directory, whose address is in engine_state.observed."""
    in_lines: dict[str, int] = field(default_factory=dict)
    """Structure -> the alignment of its instances: layout.in_lines()."""
    before_switch: str = ""
    """The observer that runs before a context goes on; "" for none."""
    decides_turn: frozenset[str] = frozenset()
    """"structure.field" of those by which the machine decides who acts next."""
