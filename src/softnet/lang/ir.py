# SPDX-License-Identifier: GPL-2.0-or-later
"""The intermediate form of kernel functions: a control-flow graph of simple instructions, on one screen.

Everything is a signed 64-bit word. An operand is an int or a ``Temp``; a temp is defined once and used in its own block
only, whatever lives longer is a local (``Get``, ``Set``), so a local is all that a suspended function has to keep.
Every access to memory is one instruction that says what it is: the field, its kind, its ordering. Every place where a
context may lose the CPU is a ``Point`` or a ``Suspend``. Every instruction carries its place in the user's file.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from softnet.lang.declare import NOTHING_SAID, FunctionFacts


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


@dataclass(frozen=True, slots=True)
class Place:
    """A word of memory and what is declared about it; ``field`` is "structure.field", kind "raw" means mem()."""

    address: Operand
    field: str
    kind: str
    guard: str = ""


@dataclass(slots=True)
class Instr:
    """What every instruction has."""

    at: At


@dataclass(slots=True)
class Binary(Instr):
    """``+ - * // % & | ^ << >> == != < <= > >= min max``; comparisons give 0 or 1."""

    to: Temp
    op: str
    left: Operand
    right: Operand


@dataclass(slots=True)
class BitLength(Instr):
    """The number of the highest set bit, from 1; 0 for 0."""

    to: Temp
    value: Operand


@dataclass(slots=True)
class Get(Instr):
    """Read a local."""

    to: Temp
    local: str


@dataclass(slots=True)
class Set(Instr):
    """Write a local."""

    local: str
    value: Operand


@dataclass(slots=True)
class Load(Instr):
    """``order``: plain, once, acquire, atomic, race."""

    to: Temp
    place: Place
    order: str = "plain"


@dataclass(slots=True)
class Store(Instr):
    """``order``: plain, once, release, atomic."""

    place: Place
    value: Operand
    order: str = "plain"


@dataclass(slots=True)
class Atomic(Instr):
    """Read-modify-write, gives the old value: ``cmpxchg`` (old, new), ``xchg``, ``add``, ``or``, ``and``."""

    to: Temp
    op: str
    place: Place
    args: tuple[Operand, ...]


@dataclass(slots=True)
class Barrier(Instr):
    """smp_mb, smp_rmb, smp_wmb, barrier: both engines are sequentially consistent, the explorer with store buffers is not."""

    kind: str


@dataclass(slots=True)
class Offset(Instr):
    """The address of a part of a structure; ``base`` must not be NULL, and is tested unless lang.sound cleared ``checked``."""

    to: Temp
    base: Operand
    words: int
    what: str
    checked: bool = True


@dataclass(slots=True)
class Element(Instr):
    """The address of an array's element, ``base + index * stride``; the index is checked."""

    to: Temp
    base: Operand
    index: Operand
    count: int
    stride: int


@dataclass(slots=True)
class Table(Instr):
    """The address of the index-th instance of a structure; ``checked`` unless the index is this CPU."""

    to: Temp
    struct: str
    index: Operand
    checked: bool = True


@dataclass(slots=True)
class TableLength(Instr):
    """How many instances of a structure there are."""

    to: Temp
    struct: str


@dataclass(slots=True)
class IndexOf(Instr):
    """The index of a table's instance, which must not be NULL; tested as of Offset."""

    to: Temp
    struct: str
    address: Operand
    checked: bool = True


@dataclass(slots=True)
class Call(Instr):
    """Call a function by name; ``to`` is None where the result is not wanted."""

    to: Temp | None
    function: str
    args: tuple[Operand, ...]


@dataclass(slots=True)
class CallPointer(Instr):
    """Call the function with that number."""

    to: Temp | None
    pointer: Operand
    args: tuple[Operand, ...]


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


@dataclass(slots=True)
class Check(Instr):
    """Stop the run with ``code`` unless ``value`` is true; ``what`` says more where the code alone does not."""

    value: Operand
    code: str
    what: str = ""


@dataclass(slots=True)
class Fuel(Instr):
    """One turn of a loop; a run stops when a context turns without end. ``counted``: a ``for``, whose turns are counted anyway."""

    counted: bool = False


@dataclass(slots=True)
class Jump(Instr):
    """Go on in another block."""

    target: str


@dataclass(slots=True)
class Branch(Instr):
    """Go on in one of two blocks."""

    value: Operand
    yes: str
    no: str


@dataclass(slots=True)
class Return(Instr):
    """Leave the function."""

    value: Operand | None


Terminator = Jump | Branch | Return


@dataclass(slots=True)
class Block:
    """Straight-line code and how it ends."""

    label: str
    body: list[Instr] = field(default_factory=list)
    end: Terminator | None = None


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
    """Functions whose address is taken: a pointer may lead to them."""
    observer_index: dict[str, int] = field(default_factory=dict)
    """Structure of the observers -> its row in their directory, which stands at engine_state.observed."""
    in_lines: dict[str, int] = field(default_factory=dict)
    """How the instances of a structure lie in their lines: layout.in_lines()."""
    before_switch: str = ""
    """The observer that runs before a context goes on; "" for none."""
    decides_turn: frozenset[str] = frozenset()
    """"structure.field" of those by which the machine decides who acts next."""
