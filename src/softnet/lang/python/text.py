# SPDX-License-Identifier: GPL-2.0-or-later
"""The text that CPython runs: a program's functions rewritten, and the classes of its structures.

Everything here follows from the modules' text and is kept beside the compiled kernels (lang.program.memo), so a start whose
kernel is known imports none of it. A function's text is rewritten in few places. It keeps its file and line numbers, so a
debugger stops in the kernel function itself:

* the place argument of an intrinsic, ``cmpxchg(p.f, …)``, becomes object and field name, as ``&p->f`` in C;
* ``hw.field`` and ``mem(address)`` of machine functions become direct accesses;
* ``BUG_ON`` and ``WARN_ON_ONCE`` get their line as an argument;
* loops count their turns, and in a user's functions the right operand of ``+ - * // % << >>`` is marked, so that a loop without
  end and a result that does not fit in 64 bits stop the run, as they do in native code.
"""

from __future__ import annotations

import ast
import pickle
from collections.abc import Mapping
from types import CodeType
from typing import Any, Final

from softnet.errors import SoftnetError
from softnet.lang.declare import EMBED, GUARDED, HW, PERCPU, SHARED
from softnet.lang.intrinsics import PLACE_INTRINSICS, PLACE_SECOND
from softnet.lang.program.layout import ENGINE_BASE
from softnet.lang.program.program import FieldDef, FunctionDef, StructDef, warn_site
from softnet.lang.program.source import source_file
from softnet.lang.python.hooks import accessors

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
        """``turns.value += 1; if turns.value > TURNS_MAX: endless()``, placed at the loop's own line."""
        self.generic_visit(node)
        count = ast.parse("_softnet_turns.value += 1\nif _softnet_turns.value > _softnet_turns_max: _softnet_endless()").body
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


def compiled(definition: FunctionDef, engine: StructDef, change: ast.NodeTransformer | None = None) -> CodeType:
    """The function's code for CPython: its own text, with the rewrites, and before them a ``change`` of one's own.

    Executed in a namespace that ``link`` made, it takes the function's place there.
    """
    user = not definition.module.startswith("softnet.")
    # The machine's loops are bounded by its tables, and run far too often to be counted.
    rewrite = _Rewrite(engine, definition.name, user=user, counted=user or definition.kind == "kfunc")
    node = find_function(definition)
    if change is not None:
        return _code(node, definition.file, rewrite, change)
    key = (node, definition.file, user, rewrite.counted, tuple((f.name, f.offset) for f in engine.fields.values()))
    if key not in _CODE:
        while len(_CODE) >= CODE_MAX:
            del _CODE[next(iter(_CODE))]
        _CODE[key] = _code(node, definition.file, rewrite, None)
    return _CODE[key]


CODE_MAX: Final = 8192
_CODE: dict[tuple[Any, ...], CodeType] = {}
"""The code of functions by their trees: a stack with a patch has all but a few functions of the stack without it."""


def _code(tree: ast.FunctionDef, file: str, rewrite: _Rewrite, change: ast.NodeTransformer | None) -> CodeType:
    # A copy by way of bytes: ten times as fast as copy.deepcopy, and the file's tree must stay as it is.
    node = pickle.loads(pickle.dumps(tree))
    node.decorator_list = []
    node.returns = None
    for argument in node.args.args:
        argument.annotation = None
    if change is not None:
        node = change.visit(node)
    module = ast.Module([rewrite.visit(_strip_annotations(node))], [])
    code: CodeType = compile(ast.fix_missing_locations(module), file, "exec", dont_inherit=True)
    return code


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


def class_source(structs: Mapping[str, StructDef], checks: bool, priced: bool, hooked: bool) -> str:
    """The source of all reference classes, in the order of ``structs``."""
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
