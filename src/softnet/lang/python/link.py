# SPDX-License-Identifier: GPL-2.0-or-later
"""Linking for CPython: a program's functions become plain Python functions over one flat list of words.

References are small objects whose attributes read and write that list; each access does what its field's kind says:
an interaction point, the price of the cache line, the check of the lock. The text that runs is softnet.lang.python.text's.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, MutableSequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from softnet.lang.cell import Cell
from softnet.lang.declare import HW
from softnet.lang.intrinsics import BARRIERS
from softnet.lang.program.layout import ENGINE_STRUCT, Layout
from softnet.lang.program.program import Program, StructDef, function_numbers
from softnet.lang.python.runtime import STRUCTURES, TURNS_MAX, Checked, Runtime, endless

if TYPE_CHECKING:
    from softnet.lang.python.hooks import Hooks

Words = MutableSequence[int]


class Ref:
    """A reference to a structure in memory: compared by identity, one object per address and type."""

    __slots__ = ("_a",)
    _name = ""
    _off: ClassVar[dict[str, int]] = {}
    _conv: ClassVar[dict[str, Callable[[int], Any]]] = {}
    _hw: ClassVar[frozenset[str]] = frozenset()
    _known: ClassVar[dict[int, Ref]] = {}
    _at: ClassVar[Callable[[int], Any]]
    _base = 0
    _stride = 0
    _count = 0

    def __init__(self, a: int) -> None:
        self._a = a

    def __repr__(self) -> str:
        return f"<{self._name} at {self._a:#x}>"


@dataclass
class Linked:
    """A linked program: ``kfuncs`` and ``hwfuncs`` namespaces by name, reference classes, function numbers."""

    kernel: dict[str, Any]
    machine: dict[str, Any]
    structs: dict[str, type[Ref]]
    function_ids: dict[str, int]
    functions: list[Any]
    """What function pointers lead to, by number: the list that the linked code itself uses."""
    switch: Cell[Callable[[], None]]
    """What suspend() calls: the engine puts the switch to its loop here."""
    turns: Cell[int]
    """Turns of loops since a context was switched to; the engine sets it to 0 there."""
    interaction: Callable[[Any], Any] = lambda function: function
    """How a machine function becomes one that kernel functions call."""
    observers: dict[str, Any] = field(default_factory=dict)
    """The namespace of the observers; empty unless link() is told ``observed``."""
    plain: dict[str, Callable[[int], Any]] = field(default_factory=dict)
    """Structure -> what makes an address a reference for observers, whose accesses cost nothing."""


def _function_code(program: Program, engine: StructDef) -> dict[str, Any]:
    """The code of every function. It contains addresses of the machine's singleton."""

    def make() -> dict[str, Any]:
        from softnet.lang.python.text import compiled

        return {name: compiled(definition, engine) for name, definition in program.functions.items()}

    offsets = ",".join(f"{f.name}={f.offset}" for f in engine.fields.values())
    return program.derived.get(f"functions {zlib.crc32(offsets.encode()):08x}", make)


def _class_code(program: Program, layout: Layout, checks: bool, priced: bool, hooked: bool) -> Any:
    """The code of the structures' classes, kept under a name with counts and offsets: they may come from outside the modules."""

    def make() -> Any:
        from softnet.lang.python.text import class_source

        return compile(class_source(layout.structs, checks, priced, hooked), STRUCTURES, "exec")

    if hooked:
        return make()
    shape = repr([(s.name, [(f.name, f.type, f.kind, f.guard, f.count, f.offset) for f in s.fields.values()])
                  for s in layout.structs.values()])  # fmt: skip
    digest = hashlib.sha256(shape.encode()).hexdigest()[:16]
    return program.derived.get(f"structures {digest} {checks}{'' if priced else ' unpriced'}", make)


def link(
    program: Program,
    layout: Layout,
    memory: Words,
    costs: dict[str, int],
    events: dict[str, int],
    record: Callable[[int, int, int, int], None],
    *,
    checks: bool = False,
    priced: bool = True,
    hooks: Hooks | None = None,
    observed: bool = False,
) -> Linked:
    """Link ``program`` over ``memory``, for the machine's event loop or for the one that ``hooks`` belong to.

    ``costs`` maps a cost's name to its row, ``events`` an event's name to its number; ``record(event, a, b, c)`` takes the
    events that are traced. ``checks`` turns the lock check of guarded fields on; ``observed``: the observers can be called.
    Without ``priced`` nothing takes time and no context gives way: for callers that run one function at a time.
    """
    function_ids = function_numbers(program)
    engine = layout.structs[ENGINE_STRUCT]
    if hooks is None:
        runtime = Runtime(memory, engine, costs, events, record, function_ids)
        space = _class_space(runtime, layout)
    else:
        from softnet.lang.python.hooks import HookedRuntime

        hooked = HookedRuntime(hooks, memory, engine, costs, events, record, function_ids)
        runtime, space = hooked, _class_space(hooked, layout) | hooked.class_space()
    exec(_class_code(program, layout, checks, priced, hooks is not None), space)  # noqa: S102 - our own generated text
    structs = _classes(runtime, layout, space)
    machine = _namespace(program, runtime, structs, machine=True)
    kernel = _namespace(program, runtime, structs, machine=False)
    code = _function_code(program, engine)
    program.derived.save()
    functions: list[Any] = [None] * (len(function_ids) + 1)
    for name, number in function_ids.items():
        definition = program.functions[name]
        into = machine if definition.kind == "hwfunc" else kernel
        exec(code[name], into)  # noqa: S102 - a kernel function's own text
        if hooks is not None and name in hooks.dropped:
            into[name] = _left_out(name)
        made = into[name]
        made.__doc__ = definition.function.__doc__
        if definition.kind == "hwfunc":
            kernel[name] = runtime.interaction(made)
        functions[number] = kernel[name]
    runtime.functions[:] = functions
    if not priced:
        for name in ("line_read", "line_write", "work", "work_bytes", "work_ns"):
            kernel[name] = machine[name] = _nothing
    space["line_read"], space["line_write"] = machine["line_read"], machine["line_write"]
    runtime.bind(machine)
    linked = Linked(kernel, machine, structs, function_ids, runtime.functions, runtime.switch, runtime.turns, runtime.interaction)
    if observed and len(function_ids) < len(program.functions):
        observing = Runtime(memory, engine, costs, events, record, function_ids)
        linked.observers, linked.plain = _link_observers(program, layout, observing, code)
    return linked


def _class_space(runtime: Runtime, layout: Layout) -> dict[str, Any]:
    """What the text of the structures' classes needs around it."""
    return {
        "__name__": "softnet.lang.structures", "Ref": Ref, "S": runtime.S, "NOW": runtime.NOW, "LIM": runtime.LIM,
        "suspend": runtime.suspend, "guard": runtime.guard,
        "Array": runtime.array_class(), "Items": runtime.items_class(), "functions": runtime.functions,
        "function_ids": runtime.function_ids, "size_of": {n: s.size for n, s in layout.structs.items()},
    }  # fmt: skip


def _classes(runtime: Runtime, layout: Layout, space: dict[str, Any]) -> dict[str, type[Ref]]:
    """The reference classes by structure, with the addresses of their tables."""
    structs: dict[str, type[Ref]] = {}
    for name, struct in layout.structs.items():
        cls = space[name]
        table = layout.tables.get(name)
        if table is not None:
            cls._base, cls._stride, cls._count = table.base, table.stride, table.count
        cls._known, cls._at = space[f"cache_{name}"], staticmethod(space[f"at_{name}"])
        cls._off = {f.name: f.offset for f in struct.fields.values()}
        cls._hw = frozenset(f.name for f in struct.fields.values() if f.kind == HW)
        cls._guards = {f.name: f.guard for f in struct.fields.values() if f.guard}
        cls._conv = {f.name: space[f"at_{f.type}"] for f in struct.fields.values() if f.is_ref}
        structs[name] = cls
    runtime.at = {name: space[f"at_{name}"] for name in structs}
    return structs


def _link_observers(
    program: Program, layout: Layout, runtime: Runtime, code: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Callable[[int], Any]]]:
    """The observers over the same words, with classes of their own, in which every field is the machine's and costs nothing."""
    free = {
        name: s._replace(fields={n: f if f.embedded else replace(f, kind=HW) for n, f in s.fields.items()})
        for name, s in layout.structs.items()
    }
    unpriced = layout._replace(structs=free)
    space = _class_space(runtime, unpriced)
    exec(_class_code(program, unpriced, checks=False, priced=True, hooked=False), space)  # noqa: S102 - our own generated text
    structs = _classes(runtime, unpriced, space)
    observers = _namespace(program, runtime, structs, machine=True)
    for name, definition in program.functions.items():
        if definition.kind == "observer":
            exec(code[name], observers)  # noqa: S102 - softnet's own text
    return observers, runtime.at


def _nothing(*arguments: Any) -> None:
    """Takes no time."""


def _left_out(name: str) -> Callable[..., int]:
    """A machine function that is left out."""

    def nothing(*args: Any) -> int:
        return 0

    nothing.__name__ = name
    return nothing


def _namespace(program: Program, runtime: Any, structs: dict[str, type[Ref]], *, machine: bool) -> dict[str, Any]:
    space: dict[str, Any] = {
        "S": runtime.S,
        "_softnet_turns": runtime.turns,
        "_softnet_turns_max": TURNS_MAX,
        "_softnet_endless": endless,
        "_softnet_checked": Checked,
        "__name__": "softnet.linked.machine" if machine else "softnet.linked.kernel",
    }
    space.update(program.constants)
    space.update(structs)
    space.update(runtime.intrinsics(machine=machine))
    for name in BARRIERS:
        space[name] = lambda: None
    return space
