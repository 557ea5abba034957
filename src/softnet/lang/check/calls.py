# SPDX-License-Identifier: GPL-2.0-or-later
"""Calls: of kernel functions, through function pointers, and of intrinsics."""

from __future__ import annotations

import ast
import os
from typing import Final, Protocol

from softnet.lang.check.names import Header, field_type, world_hint
from softnet.lang.check.scope import Scope, conversion
from softnet.lang.declare import PERCPU, SHARED
from softnet.lang.program.program import FieldDef
from softnet.lang.program.source import Definition
from softnet.lang.program.tracepoints import PREFIX
from softnet.lang.types import BOOL, FNPTR, INT, SIGNATURES, UNKNOWN, VOID, Signature, Type, assignable, ref

_EXAMPLES: Final = {
    "WRITE_ONCE": "p.f, v", "smp_store_release": "p.f, v", "cmpxchg": "p.f, old, new", "xchg": "p.f, v",
    "atomic_set": "p.f, v", "atomic_add": "n, p.f", "container_of": 'node, STRUCTURE, "field"',
    "this_cpu_ptr": "STRUCTURE", "per_cpu": "STRUCTURE, cpu", "table": "STRUCTURE, i", "table_len": "STRUCTURE",
    "ref_at": "STRUCTURE, address", "work": '"ip_rcv"', "work_bytes": '"copy_to_user", n', "trace": '"event", a, b, c',
}  # fmt: skip
"""Arguments to show for an intrinsic; bit operations take ``nr, p.f`` and the rest ``p.f``."""


_READERS: Final = ("READ_ONCE", "data_race", "smp_load_acquire", "atomic_read", "test_bit")
"""Intrinsics that only read their place."""


class Arguments(Protocol):
    """The rules for arguments: check.expressions."""

    def value(self, node: ast.expr) -> Type:
        """The type of a value."""

    def condition(self, node: ast.expr) -> None:
        """A condition."""

    def field_of(self, node: ast.Attribute) -> FieldDef | None:
        """The field that ``p.f`` names, None after an error."""

    def element_of(self, node: ast.Subscript) -> FieldDef | None:
        """The array field that ``p.a[i]`` indexes, None after an error."""


class CallRules:
    """The rules for calls in one function."""

    def __init__(self, scope: Scope, arguments: Arguments) -> None:
        self.scope = scope
        self.error = scope.error
        self.header = scope.header
        self.world = scope.world
        self.arguments = arguments

    def call(self, node: ast.Call) -> Type:
        """The type of a call's result; VOID if there is none."""
        name = ast.unparse(node.func)
        for keyword in node.keywords:
            # A keyword of ** has no name of its own; its value marks the place.
            self.error(keyword.value if keyword.arg is None else keyword, "keyword-argument", name=name)
        if node.keywords or any(isinstance(a, ast.Starred) for a in node.args):
            for argument in node.args:
                if isinstance(argument, ast.Starred):
                    self.arguments.value(argument)
            return UNKNOWN
        if isinstance(node.func, ast.Name):
            return self._call_name(node, node.func)
        if isinstance(node.func, ast.Attribute):
            found = self.arguments.field_of(node.func)
            if found is not None and (field_type(found) != FNPTR or found.count != 1):
                self.error(node.func, "call-target")
            return self._call_pointer(node)
        self.error(node.func, "call-target")
        return UNKNOWN

    def _call_name(self, node: ast.Call, func: ast.Name) -> Type:
        name = func.id
        program = self.world.program
        if name in self.scope.local_names:
            if self.scope.locals.get(name, UNKNOWN) not in (FNPTR, UNKNOWN):
                self.error(func, "not-a-function", name=name, what=f"a local of type {self.scope.locals[name]}")
            return self._call_pointer(node)
        if name in program.functions:
            return self._call_function(node, self.world.headers[name])
        if name in SIGNATURES:
            return self._call_intrinsic(node, SIGNATURES[name])
        if name in program.structs or name in program.constants:
            what = "a structure" if name in program.structs else "a constant"
            self.error(func, "not-a-function", name=name, what=what)
        else:
            self._unknown_function(func)
        for argument in node.args:
            self.arguments.value(argument)
        return UNKNOWN

    def _unknown_function(self, func: ast.Name) -> None:
        """A plain ``def`` of the same file is the likeliest reason, then a misspelled name."""
        for statement in self.header.source.tree.body:
            if isinstance(statement, Definition) and statement.name == func.id:
                self.error(func, "not-marked", name=func.id, line=statement.lineno)
                return
        names = [*self.world.program.functions, *SIGNATURES, *(PREFIX + event for event in self.world.events or ())]
        write = world_hint(func.id, names, "a function marked @kfunc or @hwfunc of the linked modules")
        self.error(func, "unknown-function", name=func.id, write=write)

    def _call_pointer(self, node: ast.Call) -> Type:
        """Through a function pointer: which function it is shows only at run time, its result may be anything."""
        self.scope.interacts.add(node)
        for argument in node.args:
            self.arguments.value(argument)
        count = len(node.args)
        if not any(len(h.params) == count for h in self.world.headers.values()):
            self.error(
                node,
                "fnptr-arity",
                got=_count(count),
                write="the arguments that the functions behind it take",
            )
        return UNKNOWN

    def _call_function(self, node: ast.Call, callee: Header) -> Type:
        self.scope.interacts.add(node)
        if self.header.kind != "kfunc" and callee.kind != self.header.kind:
            self.error(node.func, "hw-calls-kernel", name=callee.name)
        if self.header.kind == "kfunc" and callee.kind == "hwfunc" and not self.world.program.functions[callee.name].facts.complete:
            where = f"{os.path.basename(callee.source.path)}:{callee.tree.lineno}"
            self.error(node.func, "facts-not-said", name=callee.name, where=where)
        wanted = f"{callee.name}({', '.join(f'{n}: {t}' for n, t in callee.params)})"
        if len(node.args) != len(callee.params):
            words = {"name": callee.name, "want": _count(len(callee.params)), "got": len(node.args)}
            self.error(node, "arity", write=wanted, **words)
        for number, argument in enumerate(node.args):
            target = callee.params[number][1] if number < len(callee.params) else UNKNOWN
            self._argument(argument, number + 1, callee.name, target, wanted)
        return callee.result

    def _argument(self, node: ast.expr, number: int, name: str, target: Type, wanted: str) -> None:
        got = self.arguments.value(node)
        if not assignable(got, target):
            words = {"number": number, "name": name, "want": str(target), "got": str(got)}
            self.error(node, "argument-type", write=conversion(node, got, target) or wanted, **words)

    def _call_intrinsic(self, node: ast.Call, signature: Signature) -> Type:
        name = signature.name
        if signature.users == "kfunc" and self.header.kind != "kfunc":
            self.error(node.func, "hw-intrinsic", name=name)
        if signature.users == "machine" and not self.header.shipped:
            self.error(node.func, "machine-intrinsic", name=name)
        if signature.interacts:
            self.scope.interacts.add(node)
        wanted = _example(name) if signature.args else ""
        repeats = bool(signature.args) and signature.args[-1].endswith("*")
        least = len(signature.args) - repeats
        given = len(node.args)
        if given < least or (given > least and not repeats):
            self.error(node, "arity", name=name, want=_count(least), got=given, write=f"{name}({wanted})")
            return self._result(signature, UNKNOWN, UNKNOWN)
        place = struct = UNKNOWN
        words = [signature.args[min(i, len(signature.args) - 1)].rstrip("*") for i in range(given)]
        # The place decides the type of the values, and may come after them.
        for number, (word, argument) in enumerate(zip(words, node.args, strict=True), 1):
            if word == "place":
                place = self._place(argument, number, name)
            elif word == "struct":
                struct = self._struct(argument, number, name)
        for number, (word, argument) in enumerate(zip(words, node.args, strict=True), 1):
            if word == "field":
                self._argument(argument, number, name, place, f"{name}({wanted})")
            elif word not in ("place", "struct"):
                self._plain_argument(node, argument, number, word, signature)
        if name == "container_of":
            self._member(node, struct)
        return self._result(signature, place, struct)

    def _plain_argument(self, node: ast.Call, argument: ast.expr, number: int, word: str, of: Signature) -> None:
        if word == "int":
            self._argument(argument, number, of.name, INT, f"{of.name}({_example(of.name)})")
        elif word == "cond":
            self.arguments.condition(argument)
        elif word == "any":
            self.arguments.value(argument)
        elif word == "ref":
            got = self.arguments.value(argument)
            if got.kind not in ("ref", "null", "unknown"):
                words = {"number": number, "name": of.name, "want": "a reference", "got": str(got)}
                self.error(argument, "argument-type", write="a reference to a structure", **words)
        elif not (isinstance(argument, ast.Constant) and isinstance(argument.value, str)):
            self.error(argument, "literal-name", number=number, name=of.name, example=_example(of.name))
        elif word == "cost":
            self._cost(argument, argument.value)
        elif word == "event":
            self._event(node, argument, argument.value)

    def _cost(self, node: ast.expr, name: str) -> None:
        costs = self.world.costs
        if costs is not None and name not in costs:
            self.error(node, "unknown-cost", name=name, write=world_hint(name, costs, "a row of the cost table"))

    def _event(self, node: ast.Call, argument: ast.expr, name: str) -> None:
        events = self.world.events
        if events is None:
            return
        if name not in events:
            write = world_hint(name, events, "an event of softnet/trace.py")
            self.error(argument, "unknown-event", name=name, write=write)
        elif len(node.args) - 1 > events[name]:
            signature = ", ".join([f'"{name}"', *"abc"[: events[name]]])
            words = {"name": name, "want": _count(events[name]), "got": len(node.args) - 1}
            self.error(node, "event-arity", signature=signature, **words)

    def _place(self, node: ast.expr, number: int, name: str) -> Type:
        """A scalar field or an element of an array of scalars."""
        found: FieldDef | None = None
        if isinstance(node, ast.Attribute):
            found = self.arguments.field_of(node)
            if found is None:
                return UNKNOWN
            whole = found.count != 1
        elif isinstance(node, ast.Subscript):
            found = self.arguments.element_of(node)
            if found is None:
                return UNKNOWN
            whole = False
        if found is None or whole or found.embedded:
            self.error(node, "place", number=number, name=name, example=_example(name))
            return UNKNOWN
        if name not in _READERS:
            self.scope.stored(node, found)
        if found.kind in (SHARED, PERCPU):
            self.scope.interacts.add(node)
        self.scope.types[node] = field_type(found)
        return field_type(found)

    def _struct(self, node: ast.expr, number: int, name: str) -> Type:
        if isinstance(node, ast.Name) and node.id in self.world.program.structs:
            return ref(node.id)
        if isinstance(node, ast.Name) and node.id not in self.scope.local_names:
            write = world_hint(node.id, self.world.program.structs, "a declared structure")
            self.error(node, "unknown-struct", name=node.id, write=write)
        else:
            self.error(node, "struct-name", number=number, name=name, example=_example(name))
        return UNKNOWN

    def _member(self, node: ast.Call, struct: Type) -> None:
        """``container_of``: the member is held by value and has the reference's type."""
        member = node.args[2]
        if struct == UNKNOWN or not isinstance(member, ast.Constant) or not isinstance(member.value, str):
            return
        fields = {n: f for n, f in self.world.fields(struct.struct).items() if f.embedded and f.count == 1}
        found = fields.get(member.value)
        if found is None:
            write = world_hint(member.value, fields, "one of: " + ", ".join(fields))
            self.error(member, "member", name=member.value, struct=struct.struct, write=write)
            return
        got = self.scope.types.get(node.args[0], UNKNOWN)
        if got.kind == "ref" and got.struct != found.type:
            words = {"name": found.name, "struct": struct.struct, "want": found.type, "got": got.struct}
            write = ", ".join(f'"{n}"' for n, f in fields.items() if f.type == got.struct)
            self.error(member, "member-type", write=write or "another structure or reference", **words)

    def _result(self, signature: Signature, place: Type, struct: Type) -> Type:
        named = {"int": INT, "bool": BOOL, "void": VOID, "field": place, "struct": struct}
        return named[signature.result]


def _count(number: int) -> str:
    return {0: "no arguments", 1: "1 argument"}.get(number, f"{number} arguments")


def _example(name: str) -> str:
    if name in _EXAMPLES:
        return _EXAMPLES[name]
    signature = SIGNATURES[name]
    shown = {"place": "p.f", "int": "n", "cond": "x", "ref": "p", "any": "x", "struct": "STRUCTURE"}
    if signature.args == ("int", "place"):
        return "nr, p.f"
    return ", ".join(shown.get(word, word) for word in signature.args)
