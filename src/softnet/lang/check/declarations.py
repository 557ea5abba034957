# SPDX-License-Identifier: GPL-2.0-or-later
"""What a patch or a property file may say outside its functions: declarations, so that to load one runs nothing of its own.

Its functions are never called as they stand: softnet links them in the restricted Python. What Python does run when it loads
the file, is asked for here before: imports of softnet's modules and of typing, constants, structures, decorators.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Final, NoReturn

from softnet.errors import SoftnetError

IMPORTED: Final = ("__future__", "typing", "collections.abc", "softnet")
CALLED_FROM: Final = ("softnet.lang", "softnet.verify")
"""Only what is imported from here is called: the words of declarations."""
SHIFT_MAX: Final = 64
DEPTH_MAX: Final = 200
"""Of brackets and operators: Python's own stack bounds how deep a text may be nested."""


def check_declarations(tree: ast.Module, file: str, words: Iterable[str] = ()) -> None:
    """Raises SoftnetError, with the line, for a statement that would do something.

    ``words`` are those of declarations that the file need not import.
    """
    _Checker(file, words).body(tree.body)


class _Checker:
    def __init__(self, file: str, words: Iterable[str]) -> None:
        self.file = file
        self.words = set(words)

    def refuse(self, node: ast.AST, found: str = "") -> NoReturn:
        line = getattr(node, "lineno", 0)
        raise SoftnetError(
            "a patch file failed while it was loaded: it may only declare",
            where=f"{self.file}:{line}",
            found=found or ast.unparse(node).splitlines()[0][:80],
            expected="imports of softnet and typing, constants, structures, functions",
        )

    def body(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            self.statement(statement)

    def statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Import(names):
                for alias in names:
                    self.imported(node, alias.name)
                    self.bound(node, alias.asname or alias.name.partition(".")[0])
            case ast.ImportFrom(module, names, level):
                if level or not module:
                    self.refuse(node)
                self.imported(node, module)
                for alias in names:
                    if module in CALLED_FROM and alias.name != "*":
                        self.words.add(alias.asname or alias.name)
                    else:
                        self.bound(node, alias.asname or alias.name)
            case ast.If(ast.Name("TYPE_CHECKING"), _, orelse):
                # Never run: what stands there is for the reader and the type checker.
                self.body(orelse)
            case ast.Expr(ast.Constant()) | ast.Pass():
                pass
            case ast.Assign(targets, value):
                for target in targets:
                    self.target(target)
                self.expression(value)
            case ast.AnnAssign(target, _, value):
                self.target(target)
                if value is not None:
                    self.expression(value)
            case ast.ClassDef() | ast.FunctionDef():
                self.definition(node)
            case _:
                self.refuse(node)

    def definition(self, node: ast.ClassDef | ast.FunctionDef) -> None:
        self.bound(node, node.name)
        for decorator in node.decorator_list:
            # To decorate is to call.
            if not isinstance(decorator, ast.Call) and not self.is_word(decorator):
                self.refuse(decorator)
            self.expression(decorator)
        if isinstance(node, ast.ClassDef):
            if not all(map(self.is_word, node.bases)) or any(keyword.arg in (None, "metaclass") for keyword in node.keywords):
                self.refuse(node)
            for keyword in node.keywords:
                self.expression(keyword.value)
            self.body(node.body)
            return
        for default in [*node.args.defaults, *(value for value in node.args.kw_defaults if value is not None)]:
            self.expression(default)

    def imported(self, node: ast.stmt, module: str) -> None:
        if not any(module == allowed or module.startswith(f"{allowed}.") for allowed in IMPORTED):
            self.refuse(node)

    def is_word(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Name) and node.id in self.words

    def bound(self, node: ast.AST, name: str) -> None:
        """The words of declarations keep their meaning."""
        if name in self.words or name == "*":
            self.refuse(node)

    def target(self, node: ast.expr) -> None:
        if not isinstance(node, ast.Name):
            self.refuse(node)
        self.bound(node, node.id)

    def expression(self, node: ast.expr, depth: int = 0) -> None:
        """A constant, a name, an operator between them, or a call of a word of declarations."""
        if depth > DEPTH_MAX:
            self.refuse(node, "an expression that is nested too deeply")
        match node:
            case ast.Constant() | ast.Name():
                parts: list[ast.expr | None] = []
            case ast.Tuple(parts) | ast.List(parts) | ast.Set(parts):  # type: ignore[misc]
                pass
            case ast.Dict(keys, values):
                parts = [*keys, *values]
            case ast.UnaryOp(_, operand):
                parts = [operand]
            case ast.BinOp(left, ast.LShift() | ast.Pow(), ast.Constant(int(count))) if 0 <= count <= SHIFT_MAX:
                parts = [left]
            case ast.BinOp(left, ast.LShift() | ast.Pow(), _):
                self.refuse(node)
            case ast.BinOp(left, _, right):
                parts = [left, right]
            case ast.Call(ast.Name(name), args, keywords) if name in self.words:
                parts = [*args, *(keyword.value for keyword in keywords)]
            case _:
                self.refuse(node)
        for part in parts:
            if part is None:
                self.refuse(node)
            self.expression(part, depth + 1)
