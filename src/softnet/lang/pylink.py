# SPDX-License-Identifier: GPL-2.0-or-later
"""Linking for CPython: a program's functions become plain Python functions over one flat list of words.

References are small objects whose attributes read and write that list; each access does what its field's kind says:
an interaction point, the price of the cache line, the check of the lock. A function's text is rewritten in few places, and
keeps its file and line numbers, so a debugger stops in the kernel function itself:

* the place argument of an intrinsic, ``cmpxchg(p.f, …)``, becomes object and field name, as ``&p->f`` in C;
* ``hw.field`` and ``mem(address)`` of machine functions become direct accesses;
* ``BUG_ON`` and ``WARN_ON_ONCE`` are told their line;
* loops count their turns, and in a user's functions the right operand of ``+ - * // % << >>`` is marked, so that a loop without
  end and a result that does not fit in 64 bits stop the run, as they do in native code.
"""

from __future__ import annotations

import ast
import hashlib
import pickle
import zlib
from collections.abc import Callable, Mapping, MutableSequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from softnet.errors import SoftnetError
from softnet.lang.declare import EMBED, GUARDED, HW, PERCPU, SHARED
from softnet.lang.intrinsics import BARRIERS, PLACE_INTRINSICS, PLACE_SECOND
from softnet.lang.layout import ENGINE_BASE, ENGINE_STRUCT, Layout
from softnet.lang.program import FieldDef, FunctionDef, Program, StructDef, function_numbers, warn_site
from softnet.lang.pyhooks import HookedRuntime, Hooks, accessors
from softnet.lang.pyruntime import STRUCTURES, TURNS_MAX, Checked, Runtime, endless
from softnet.lang.source import source_file

Words = MutableSequence[int]


class KernelStop(Exception):
    """The run must stop inside a kernel function: BUG_ON, a broken lock rule, an index out of range."""

    def __init__(self, message: str, where: str) -> None:
        super().__init__(message, where)
        self.message = message
        self.where = where

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


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
    functions: list[Any] = field(default_factory=list)
    """What function pointers lead to, by number: the list that the linked code itself uses."""
    suspend: list[Callable[[], None]] = field(default_factory=list)
    """One element: what suspend() calls; the engine replaces it by a switch to its loop."""
    turns: list[int] = field(default_factory=lambda: [0])
    """One element: turns of loops since a context was switched to; the engine sets it to 0."""
    interaction: Callable[[Any], Any] = lambda function: function
    """How a machine function becomes one that kernel functions call."""
    observers: dict[str, Any] = field(default_factory=dict)
    """The namespace of the observers; empty where nobody asks for it."""
    plain: dict[str, Callable[[int], Any]] = field(default_factory=dict)
    """Structure -> the reference to an address as observers see it, whose accesses cost nothing."""


SAFE_OPERATORS = (ast.BitAnd, ast.BitOr, ast.BitXor)


class _Rewrite(ast.NodeTransformer):
    """The rewrites; ``user`` says that the function is not softnet's own, whose sums are not checked in native code either."""

    def __init__(self, engine: StructDef, function: str, *, user: bool, counted: bool) -> None:
        self.engine = engine
        self.function = function
        self.user = user
        self.counted = counted

    def _operand(self, op: ast.operator, value: ast.expr) -> ast.expr:
        """The right operand of an operator whose result may leave 64 bits, or which refuses some operands."""
        if not self.user or isinstance(op, SAFE_OPERATORS):
            return value
        return ast.copy_location(ast.Call(ast.Name("_softnet_checked", ast.Load()), [value], []), value)

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        node.right = self._operand(node.op, node.right)
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        self.generic_visit(node)
        node.value = self._operand(node.op, node.value)
        return node

    def visit_While(self, node: ast.While) -> ast.AST:
        return self._count_turns(node) if self.counted else self.generic_visit(node)

    def visit_For(self, node: ast.For) -> ast.AST:
        return self._count_turns(node) if self.user else self.generic_visit(node)

    def _count_turns(self, node: ast.While | ast.For) -> ast.AST:
        """``turns[0] += 1; if turns[0] > TURNS_MAX: endless()``, placed at the loop's own line."""
        self.generic_visit(node)
        count = ast.parse(
            "_softnet_turns[0] += 1\nif _softnet_turns[0] > _softnet_turns_max: _softnet_endless()"
        ).body
        for statement in count:
            for inner in ast.walk(statement):
                ast.copy_location(inner, node)
        node.body = [*count, *node.body]
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        if isinstance(node.value, ast.Name) and node.value.id == "hw" and node.attr in self.engine.fields:
            address = ENGINE_BASE + self.engine.fields[node.attr].offset
            new = ast.Subscript(ast.Name("S", ast.Load()), ast.Constant(address), node.ctx)
            return ast.copy_location(new, node)
        self.generic_visit(node)
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        call = node.value
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "mem_set":
            address, value = (self.visit(a) for a in call.args)
            target = ast.Subscript(ast.Name("S", ast.Load()), address, ast.Store())
            return ast.copy_location(ast.Assign([target], value), node)
        self.generic_visit(node)
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name == "mem":
            new = ast.Subscript(ast.Name("S", ast.Load()), self.visit(node.args[0]), ast.Load())
            return ast.copy_location(new, node)
        at = 0 if name in PLACE_INTRINSICS else 1 if name in PLACE_SECOND else -1
        args: list[ast.expr] = []
        for i, arg in enumerate(node.args):
            if i == at and isinstance(arg, ast.Attribute):
                args += [self.visit(arg.value), ast.Constant(arg.attr)]
            elif i == at and isinstance(arg, ast.Subscript):
                args += [self.visit(arg.value), self.visit(arg.slice)]
            else:
                args.append(self.visit(arg))
        if name in ("BUG_ON", "WARN_ON_ONCE", "lockdep_assert_held"):
            args.append(ast.Constant(node.lineno))
        if name == "WARN_ON_ONCE":
            args.append(ast.Constant(warn_site(self.function, node.lineno)))
        if not isinstance(node.func, ast.Name):
            node.func = self.visit(node.func)
        node.args = args
        return node


def find_function(definition: FunctionDef) -> ast.FunctionDef:
    """The function's tree in its whole file, positions being the file's."""
    node = source_file(definition.file).definition(definition.name, definition.line)
    if isinstance(node, ast.FunctionDef):
        return node
    raise SoftnetError(
        "source of a kernel function not found",
        where=definition.file,
        found=definition.name,
        expected="a def at the recorded line",
        hint="keep the function in a file, not in a string",
    )


def compiled_with(definition: FunctionDef, engine: StructDef, change: ast.NodeTransformer) -> Any:
    """The function's code with a change of one's own: what ``link`` runs instead of it when it is executed there."""
    return _compiled(definition, engine, change)


def _compiled(definition: FunctionDef, engine: StructDef, change: ast.NodeTransformer | None = None) -> Any:
    """The function's code for CPython: its own text, with the three rewrites."""
    # A copy by way of bytes: ten times as fast as copy.deepcopy, and the file's tree must stay as it is.
    node = pickle.loads(pickle.dumps(find_function(definition)))
    node.decorator_list = []
    node.returns = None
    for argument in node.args.args:
        argument.annotation = None
    if change is not None:
        node = change.visit(node)
    user = not definition.module.startswith("softnet.")
    # The machine's loops are bounded by its tables, and run far too often to be counted.
    rewrite = _Rewrite(engine, definition.name, user=user, counted=user or definition.kind == "kfunc")
    tree = ast.Module([rewrite.visit(_strip_annotations(node))], [])
    return compile(ast.fix_missing_locations(tree), definition.file, "exec", dont_inherit=True)


def _function_code(program: Program, engine: StructDef) -> dict[str, Any]:
    """The code of every function; addresses of the machine's singleton are part of it."""
    offsets = ",".join(f"{f.name}={f.offset}" for f in engine.fields.values())
    return program.derived.get(
        f"functions {zlib.crc32(offsets.encode()):08x}",
        lambda: {name: _compiled(definition, engine) for name, definition in program.functions.items()},
    )


def _strip_annotations(node: ast.FunctionDef) -> ast.FunctionDef:
    class Strip(ast.NodeTransformer):
        def visit_AnnAssign(self, inner: ast.AnnAssign) -> ast.AST:
            value = inner.value if inner.value is not None else ast.Constant(None)
            return ast.copy_location(ast.Assign([inner.target], value), inner)

    return Strip().visit(node)  # type: ignore[no-any-return]


def _accessors(struct: str, f: FieldDef, checks: bool, priced: bool, hooked: bool) -> list[str]:
    """The source of a field's property; S is memory, S[NOW] > S[LIM] means that others act first."""
    if f.kind == EMBED:
        if f.count == 1:
            return [f"    {f.name} = property(lambda self: at_{f.type}(self._a + {f.offset}))"]
        items = f"Items(at_{f.type}, self._a + {f.offset}, {f.count}, size_of[{f.type!r}])"
        return [f"    {f.name} = property(lambda self: {items})"]
    if hooked:
        return accessors(struct, f, checks, f.kind == GUARDED, f.kind in (SHARED, PERCPU))
    wait = "        if S[NOW] > S[LIM]: suspend()" if priced and f.kind in (SHARED, PERCPU) else ""
    guard = f"        guard(self, {f.guard!r}, {f.name!r})" if checks and f.kind == GUARDED else ""
    if f.count != 1:
        line = f.kind != HW
        back = f"at_{f.type if f.is_ref else 'int'}"
        words = f"Array(self._a + {f.offset}, {f.count}, {bool(wait)}, {line}, {back})"
        return [f"    {f.name} = property(lambda self: {words})"]
    if f.is_ref:
        back, enc = f"at_{f.type}(S[self._a + {f.offset}])", "0 if v is None else v._a"
    elif f.type == "fnptr":
        back, enc = f"functions[S[self._a + {f.offset}]]", "0 if v is None else function_ids[v.__name__]"
    else:
        back, enc = f"S[self._a + {f.offset}]", "int(v)" if f.type == "bool" else "v"
    free = f.kind == HW or not priced
    read = "" if free else f"        line_read(self._a + {f.offset})"
    write = "" if free else f"        line_write(self._a + {f.offset})"
    return [
        "    def _get(self):", *filter(None, (wait, guard, read)), f"        return {back}",
        "    def _set(self, v):", *filter(None, (wait, guard, write)), f"        S[self._a + {f.offset}] = {enc}",
        f"    {f.name} = property(_get, _set)",
    ]  # fmt: skip


def _class_source(structs: Mapping[str, StructDef], checks: bool, priced: bool, hooked: bool = False) -> str:
    lines = ["def at_int(v):", "    return v"]
    for name, struct in structs.items():
        lines += [f"class {name}(Ref):", "    __slots__ = ()", f"    _name = {name!r}"]
        for f in struct.fields.values():
            lines += _accessors(name, f, checks, priced, hooked)
        lines += [
            f"cache_{name} = {{}}",
            f"def at_{name}(a):",
            "    if a == 0: return None",
            f"    r = cache_{name}.get(a)",
            f"    if r is None: r = cache_{name}[a] = {name}(a)",
            "    return r",
        ]
    return "\n".join(lines)


def _class_code(program: Program, layout: Layout, checks: bool, priced: bool, hooked: bool) -> Any:
    """The code of the structures' classes. Counts and offsets may come from outside the modules: they are in the name."""
    if hooked:
        return compile(_class_source(layout.structs, checks, priced, hooked), STRUCTURES, "exec")
    shape = repr([(s.name, [(f.name, f.type, f.kind, f.guard, f.count, f.offset) for f in s.fields.values()])
                  for s in layout.structs.values()])  # fmt: skip
    return program.derived.get(
        f"structures {hashlib.sha256(shape.encode()).hexdigest()[:16]} {checks}{'' if priced else ' unpriced'}",
        lambda: compile(_class_source(layout.structs, checks, priced), STRUCTURES, "exec"),
    )


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
    Without ``priced`` nothing takes time and nobody gives way: for who runs one function at a time.
    """
    function_ids = function_numbers(program)
    engine = layout.structs[ENGINE_STRUCT]
    runtime = (Runtime if hooks is None else HookedRuntime)(memory, engine, costs, events, record, function_ids)
    space = _class_space(runtime, layout)
    if hooks is not None and isinstance(runtime, HookedRuntime):
        runtime.hooks = hooks
        space |= {"HookedArray": runtime.hooked_array_class(), "point": hooks.point, "note": hooks.note, "nothing": lambda: None}
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
    linked = Linked(kernel, machine, structs, function_ids, runtime.functions, runtime.switch, runtime.turns,
                    runtime.interaction)  # fmt: skip
    if observed and len(function_ids) < len(program.functions):
        looking = Runtime(memory, engine, costs, events, record, function_ids)
        linked.observers, linked.plain = _link_observers(program, layout, looking, code)
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
    """The reference classes by structure, told where their tables stand."""
    structs: dict[str, type[Ref]] = {}
    for name, struct in layout.structs.items():
        cls = space[name]
        table = layout.tables.get(name)
        if table is not None:
            cls._base, cls._stride, cls._count = table.base, table.stride, table.count
        cls._known, cls._at = space[f"cache_{name}"], staticmethod(space[f"at_{name}"])
        cls._off = {f.name: f.offset for f in struct.fields.values()}
        cls._hw = frozenset(f.name for f in struct.fields.values() if f.kind == HW)
        cls._conv = {f.name: space[f"at_{f.type}"] for f in struct.fields.values() if f.is_ref}
        structs[name] = cls
    runtime.at = {name: space[f"at_{name}"] for name in structs}
    return structs


def _link_observers(
    program: Program, layout: Layout, runtime: Runtime, code: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Callable[[int], Any]]]:
    """The observers over the same words, with classes of their own whose fields are all the machine's: free to look at."""
    free = {
        name: replace(s, fields={n: f if f.embedded else replace(f, kind=HW) for n, f in s.fields.items()})
        for name, s in layout.structs.items()
    }
    seen = replace(layout, structs=free)
    space = _class_space(runtime, seen)
    exec(_class_code(program, seen, checks=False, priced=True, hooked=False), space)  # noqa: S102 - our own generated text
    structs = _classes(runtime, seen, space)
    observers = _namespace(program, runtime, structs, machine=True)
    for name, definition in program.functions.items():
        if definition.kind == "observer":
            exec(code[name], observers)  # noqa: S102 - softnet's own text
    return observers, runtime.at


def _nothing(*arguments: Any) -> None:
    """What a price is where time stands still."""


def _left_out(name: str) -> Callable[..., int]:
    """A machine function that is left out."""

    def nothing(*args: Any) -> int:
        return 0

    nothing.__name__ = name
    return nothing


def _namespace(
    program: Program, runtime: Any, structs: dict[str, type[Ref]], *, machine: bool
) -> dict[str, Any]:
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
