# SPDX-License-Identifier: GPL-2.0-or-later
"""The syntax of restricted Python: the nodes of ``ast`` that a checked function consists of, and its operators."""

from __future__ import annotations

import ast
from typing import Final

STATEMENTS: Final = (
    ast.Expr, ast.If, ast.While, ast.For, ast.Return, ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Pass, ast.Break, ast.Continue,
)  # fmt: skip
EXPRESSIONS: Final = (
    ast.Constant, ast.Name, ast.Attribute, ast.Subscript, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.IfExp, ast.Compare, ast.Call,
)  # fmt: skip

BINARY_OPERATORS: Final[dict[type[ast.operator], str]] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.FloorDiv: "//", ast.Mod: "%", ast.BitAnd: "&", ast.BitOr: "|",
    ast.BitXor: "^", ast.LShift: "<<", ast.RShift: ">>",
}  # fmt: skip
COMPARISONS: Final[dict[type[ast.cmpop], str]] = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Is: "is", ast.IsNot: "is not",
}  # fmt: skip
