# SPDX-License-Identifier: GPL-2.0-or-later
"""The types of expressions, and the mistakes in them."""

from __future__ import annotations

import ast
from typing import Any, Final

from softnet.lang.check.calls import CallRules
from softnet.lang.check.names import ENGINE_NAME, field_type, world_hint
from softnet.lang.check.scope import Scope
from softnet.lang.declare import PERCPU, SHARED
from softnet.lang.dispatch import Dispatch
from softnet.lang.program.layout import ENGINE_STRUCT
from softnet.lang.program.program import FieldDef
from softnet.lang.syntax import BINARY_OPERATORS, COMPARISONS, EXPRESSIONS
from softnet.lang.types import (
    BOOL,
    FNPTR,
    INT,
    INT64_MAX,
    INT64_MIN,
    NULL,
    SIGNATURES,
    UNKNOWN,
    VOID,
    Type,
    ref,
)

_OPERATORS: Final[dict[type[ast.operator], str]] = {**BINARY_OPERATORS, ast.Div: "/", ast.Pow: "**", ast.MatMult: "@"}
_REFUSED_OPERATORS: Final = {
    "/": "//, the integer division",
    "**": "1 << n for a power of two, or a product",
    "@": "a loop",
}
_COMPARISONS: Final[dict[type[ast.cmpop], str]] = {**COMPARISONS, ast.In: "in", ast.NotIn: "not in"}
_REFUSED: Final[dict[type, tuple[str, str]]] = {
    ast.List: ("a list", "an array field of a structure: name: int = array(n)"),
    ast.Tuple: ("a tuple", "one value at a time"),
    ast.Set: ("a set", "bits of an integer, or an array field"),
    ast.Dict: ("a dict", "an array field of a structure: name: int = array(n)"),
    ast.ListComp: ("a comprehension", "a for loop over range()"),
    ast.SetComp: ("a comprehension", "a for loop over range()"),
    ast.DictComp: ("a comprehension", "a for loop over range()"),
    ast.GeneratorExp: ("a generator expression", "a for loop over range()"),
    ast.Lambda: ("a lambda", "a function marked @kfunc"),
    ast.JoinedStr: ("a formatted string", 'trace("event", a, b, c) to record values'),
    ast.NamedExpr: ("':=' inside an expression", "an assignment on a line of its own, or: while x := f():"),
    ast.Await: ("await", "a call; a kfunc may block"),
    ast.Yield: ("yield", "a call; a kfunc may block"),
    ast.YieldFrom: ("yield", "a call; a kfunc may block"),
    ast.Starred: ("'*'", "the arguments one by one"),
}


class ExpressionRules(Dispatch[Type], over=EXPRESSIONS):
    """The rules for the expressions of one function: ``visit`` gives the type of any, VOID for a call without a result."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.error = scope.error
        self.header = scope.header
        self.world = scope.world
        self.calls = CallRules(scope, self)

    def value(self, node: ast.expr) -> Type:
        """The type of an expression used as a value; a call without a result is none."""
        found = self.visit(node)
        if found == VOID and isinstance(node, ast.Call):
            self.error(node, "void-value", name=ast.unparse(node.func))
            found = UNKNOWN
        self.scope.types[node] = found
        return found

    def otherwise(self, node: Any) -> Type:
        """An expression that is not in the subset."""
        what, write = _REFUSED.get(type(node), (f"'{type(node).__name__}'", "integers, fields and calls"))
        self.error(node, "expression", what=what, write=write)
        return UNKNOWN

    def on_call(self, node: ast.Call) -> Type:
        return self.calls.call(node)

    def condition(self, node: ast.expr, *, assigns: bool = False) -> None:
        """An expression in a condition: and, or and not may join others. A reference is true unless it is NULL.

        ``assigns``: ``x := value`` is allowed here, because it is evaluated whenever the condition is.
        """
        self.scope.types[node] = BOOL
        if isinstance(node, ast.BoolOp):
            for number, part in enumerate(node.values):
                self.condition(part, assigns=assigns and number == 0)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            self.condition(node.operand, assigns=assigns)
        elif isinstance(node, ast.NamedExpr) and assigns:
            self.true_or_false(node.value, self.value(node.value))
            self.scope.store_local(node.target, self.scope.types[node.value], node.value)
            self.scope.types[node] = self.scope.locals[node.target.id]
        else:
            self.true_or_false(node, self.value(node))

    def true_or_false(self, node: ast.expr, got: Type) -> None:
        """An int, a bool, a reference or a function pointer is a condition; what is never NULL is none."""
        if got == NULL:
            self.error(node, "condition", got="None", write="True or False")
        elif self.is_embedded(node.value if isinstance(node, ast.Subscript) else node):
            self.error(
                node, "condition", got=f"a {got} by value, which is never NULL", write="what is asked of it: list_empty(p.f)"
            )

    def is_embedded(self, field: ast.expr) -> bool:
        """Whether an expression, already checked, names a field that is a structure by value."""
        owner = self.scope.types.get(field.value, UNKNOWN) if isinstance(field, ast.Attribute) else UNKNOWN
        if not isinstance(field, ast.Attribute) or owner.kind != "ref":
            return False
        found = self.world.fields(owner.struct).get(field.attr)
        return found is not None and found.embedded

    def on_constant(self, node: ast.Constant) -> Type:
        value = node.value
        if value is None:
            return NULL
        if isinstance(value, bool):
            return BOOL
        if isinstance(value, int):
            if not INT64_MIN <= value <= INT64_MAX:
                self.error(node, "int-range")
            return INT
        kinds = {
            str: ("a string", "an upper-case integer constant"),
            float: ("a float", "integers, in nanoseconds"),
        }
        what, write = kinds.get(type(value), (f"{value!r}", "an integer"))
        self.error(node, "literal", what=what, write=write)
        return UNKNOWN

    def on_name(self, node: ast.Name) -> Type:
        name = node.id
        if name in self.scope.locals:
            return self.scope.locals[name]
        if name in self.scope.local_names:
            return UNKNOWN
        program = self.world.program
        if name in program.constants:
            return INT
        if name in program.functions:
            self.scope.address_taken.add(name)
            return FNPTR
        if name == ENGINE_NAME and self.header.in_machine:
            return ref(ENGINE_STRUCT)
        if name in program.structs:
            self.error(node, "struct-value", name=name, write=f"table({name}, 0), or a reference to one")
        elif name in SIGNATURES:
            self.error(node, "intrinsic-value", name=name)
        else:
            known = [*self.scope.locals, *program.constants, *program.functions]
            write = world_hint(name, known, "a local, a parameter, an upper-case constant or a kernel function")
            self.error(node, "unknown-name", name=name, write=write)
        return UNKNOWN

    def field_of(self, node: ast.Attribute) -> FieldDef | None:
        """The field that ``p.f`` names, or None after an error; the access is noted."""
        owner = self.value(node.value)
        if owner.kind != "ref":
            if owner == NULL and isinstance(node.value, ast.Name):
                self.error(node.value, "untyped-none", name=node.value.id)
            elif owner != UNKNOWN:
                write = "a reference to a structure before the dot"
                self.error(node, "field-of", got=_a(owner), write=write)
            return None
        fields = self.world.fields(owner.struct)
        found = fields.get(node.attr)
        if found is None:
            near = world_hint(node.attr, fields, "")
            text = ast.unparse(node.value)
            write = f"{text}.{near}" if near else "one of: " + ", ".join(fields)
            self.error(node, "unknown-field", struct=owner.struct, name=node.attr, write=write)
            return None
        if found.kind in (SHARED, PERCPU):
            self.scope.interacts.add(node)
        return found

    def on_attribute(self, node: ast.Attribute) -> Type:
        found = self.field_of(node)
        if found is None:
            return UNKNOWN
        if found.count != 1:
            self.error(node, "array-whole", name=found.name, count=found.count, text=ast.unparse(node))
            return UNKNOWN
        return field_type(found)

    def on_subscript(self, node: ast.Subscript) -> Type:
        found = self.element_of(node)
        return UNKNOWN if found is None else field_type(found)

    def element_of(self, node: ast.Subscript) -> FieldDef | None:
        """The array field that ``p.a[i]`` indexes, or None after an error."""
        if not isinstance(node.value, ast.Attribute):
            self.error(node, "subscript")
            return None
        found = self.field_of(node.value)
        if isinstance(node.slice, ast.Slice):
            self.error(node.slice, "index-slice")
            return None
        self.integer(node.slice, "[]")
        if found is None:
            return None
        if found.count == 1:
            self.error(node, "not-array", name=found.name, text=ast.unparse(node.value))
            return None
        index = self.constant_value(node.slice)
        if index is not None and not 0 <= index < found.count:
            words = {"index": index, "name": found.name, "count": found.count, "last": found.count - 1}
            self.error(node.slice, "index-range", **words)
        return found

    def constant_value(self, node: ast.expr) -> int | None:
        """The value of an expression of literals and constants, None if it is not one."""
        if isinstance(node, ast.Constant) and isinstance(node.value, int):
            return int(node.value)
        if isinstance(node, ast.Name) and node.id not in self.scope.local_names:
            return self.world.program.constants.get(node.id)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            inner = self.constant_value(node.operand)
            return None if inner is None else -inner
        return None

    def integer(self, node: ast.expr, what: str) -> None:
        """An operand that must be an integer."""
        got = self.value(node)
        if got not in (INT, BOOL, UNKNOWN):
            self.error(node, "operand-type", what=what, got=_a(got), write="an integer")

    def operator(self, node: ast.BinOp | ast.AugAssign, right: ast.expr) -> None:
        """Check the operator of ``a + b`` and of ``a += b``."""
        what = _OPERATORS[type(node.op)]
        if what in _REFUSED_OPERATORS:
            self.error(node, "operator", what=what, write=_REFUSED_OPERATORS[what])
        value = self.constant_value(right)
        if value is not None:
            if what in ("//", "%") and value <= 0:
                self.error(right, "divide-negative", what=what, value=value)
            if what in ("<<", ">>") and not 0 <= value <= 62:
                self.error(right, "shift-range", value=value)

    def on_bin_op(self, node: ast.BinOp) -> Type:
        what = _OPERATORS[type(node.op)]
        self.integer(node.left, what)
        self.integer(node.right, what)
        self.operator(node, node.right)
        both = {self.scope.types.get(node.left), self.scope.types.get(node.right)}
        return BOOL if both == {BOOL} and what in "&|^" else INT

    def on_unary_op(self, node: ast.UnaryOp) -> Type:
        if isinstance(node.op, ast.Not):
            self.condition(node.operand)
            return BOOL
        if isinstance(node.op, ast.UAdd):
            self.error(node, "operator", what="+", write=ast.unparse(node.operand))
        self.integer(node.operand, "~" if isinstance(node.op, ast.Invert) else "-")
        return INT

    def on_bool_op(self, node: ast.BoolOp) -> Type:
        kinds = {self.value(part) for part in node.values}
        if kinds <= {BOOL, UNKNOWN}:
            return BOOL
        what = "and" if isinstance(node.op, ast.And) else "or"
        self.error(node, "bool-op-value", what=what, text=ast.unparse(node))
        return BOOL

    def on_if_exp(self, node: ast.IfExp) -> Type:
        self.condition(node.test)
        left, right = self.value(node.body), self.value(node.orelse)
        if left == right or right == UNKNOWN:
            return left
        if left == UNKNOWN:
            return right
        if {left, right} == {INT, BOOL}:
            return INT
        for one, other in ((left, right), (right, left)):
            if one == NULL and other.kind in ("ref", "fnptr"):
                return other
        self.error(node, "ifexp-type", left=_a(left), right=_a(right))
        return UNKNOWN

    def on_compare(self, node: ast.Compare) -> Type:
        operands = [node.left, *node.comparators]
        kinds = [self.value(operand) for operand in operands]
        if len(node.ops) > 1:
            texts = [ast.unparse(o) for o in operands]
            parts = [f"{a} {_COMPARISONS[type(op)]} {b}" for a, op, b in zip(texts, node.ops, texts[1:], strict=False)]
            self.error(node, "chained", write=" and ".join(parts))
            return BOOL
        self.compare_two(node, kinds[0], kinds[1])
        return BOOL

    def compare_two(self, node: ast.Compare, left: Type, right: Type) -> None:
        """References compare with ==, != and None; integers with everything but ``is``."""
        what = _COMPARISONS[type(node.ops[0])]
        texts = ast.unparse(node.left), ast.unparse(node.comparators[0])
        if what in ("in", "not in"):
            self.error(node, "operator", what=what, write="a loop, or comparisons joined by 'or'")
        elif UNKNOWN in (left, right):
            return
        elif what in ("is", "is not"):
            if right != NULL:
                self.error(node, "compare-is", write=f"{texts[0]} {'==' if what == 'is' else '!='} {texts[1]}")
            elif left.kind not in ("ref", "fnptr", "null"):
                self.error(node, "compare-type", left=_a(left), right="None", write=f"{texts[0]} == 0")
        elif {left, right} <= {INT, BOOL}:
            return
        elif NULL in (left, right):
            other = texts[0] if right == NULL else texts[1]
            self.error(node, "compare-none", write=f"{other} {'is' if what == '==' else 'is not'} None")
        elif left != right:
            self.error(node, "compare-type", left=_a(left), right=_a(right), write="two values of one type")
        elif what not in ("==", "!="):
            self.error(
                node,
                "compare-type",
                left=_a(left),
                right=_a(right),
                write="== or !=: references have no order",
            )


def _a(kind: Type) -> str:
    """A type with its article, for messages."""
    names = {
        "int": "an int",
        "bool": "a bool",
        "fnptr": "a function pointer",
        "null": "None",
        "void": "nothing",
    }
    return names.get(kind.kind, f"a reference to {kind.struct}")
