# SPDX-License-Identifier: GPL-2.0-or-later
"""The only place where errors in kernel functions are worded and drawn.

A check names a row of MESSAGES and its words. The table holds all that a user reads about a mistake: what is wrong, and what to
write instead. All mistakes of a program are shown at once, in the order of the text.
"""

from __future__ import annotations

import linecache
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from softnet.errors import SubsetError
from softnet.lang.program.source import Span

MESSAGES: Final[dict[str, tuple[str, str]]] = {
    # What is not in the subset.
    "statement": ("{what} is not in the kernel subset", "{write}"),
    "expression": ("{what} is not in the kernel subset", "{write}"),
    "operator": ("'{what}' is not in the kernel subset", "{write}"),
    "literal": ("{what} is not in the kernel subset", "{write}"),
    "int-range": ("the number does not fit in 64 bits", "a number from -2**63 to 2**63 - 1"),
    "chained": ("a chained comparison is not in the kernel subset", "{write}"),
    "bool-op-value": ("'{what}' as a value would be one of its operands in Python", "bool({text})"),
    "no-effect": ("the expression has no effect", "assign its value, or delete the line"),
    "decorator": ("a kernel function takes no decorator besides @{kind}", "only @{kind} above the def"),
    "async": ("an async function is not in the kernel subset", "def {name}(...)"),
    "parameter-kind": ("{what} is not in the kernel subset", "plain positional parameters, each with its type"),
    "keyword-argument": ("keyword arguments are not in the kernel subset", "the arguments of {name}() by position"),
    "target": ("cannot assign to {what}", "a name, a field p.f or an array element p.a[i] on the left side"),
    "while-else": ("'else' of a loop is not in the kernel subset", "a local variable that says how the loop ended"),
    "for-iter": ("'for' runs over range() only", "for {name} in range(n):"),
    "range-step": ("the step of range() must be a positive number", "range(start, stop, 1), or a while loop"),
    # Types.
    "no-annotation": ("parameter '{name}' has no type", "{name}: int, {name}: bool or {name}: STRUCTURE"),
    "no-result": ("'{name}' does not say what it returns", "-> None, -> int, -> bool or -> STRUCTURE at its end"),
    "bad-annotation": ("'{text}' is not a type of the kernel subset", "{write}"),
    "unknown-struct": ("there is no structure '{name}'", "{write}"),
    "assign-type": ("{target} is {want}, the value is {got}", "{write}"),
    "argument-type": ("argument {number} of {name}() is {want}, this is {got}", "{write}"),
    "return-type": ("{name}() returns {want}, this is {got}", "{write}"),
    "operand-type": ("'{what}' takes integers, this is {got}", "{write}"),
    "compare-type": ("cannot compare {left} with {right}", "{write}"),
    "compare-none": ("None is compared with 'is'", "{write}"),
    "compare-is": ("'is' compares with None only", "{write}"),
    "condition": ("a condition is an integer, a bool or a reference that may be NULL, this is {got}", "{write}"),
    "ifexp-type": ("the two values of 'if else' differ: {left} and {right}", "two values of one type"),
    "void-value": ("{name}() returns nothing", "call it on a line of its own"),
    "untyped-none": ("cannot tell which structure '{name}' refers to", "{name}: STRUCTURE = None"),
    # Names.
    "unknown-name": ("there is no '{name}'", "{write}"),
    "unknown-function": ("there is no kernel function '{name}'", "{write}"),
    "not-marked": ("'{name}' is defined at line {line} but it is not linked", "@kfunc (or @hwfunc) above 'def {name}'"),
    "not-a-function": ("'{name}' is {what}, it cannot be called", "the name of a kernel function"),
    "struct-value": ("'{name}' is a structure, not a value", "{write}"),
    "intrinsic-value": ("the intrinsic '{name}' has no address", "a call of it, or the name of a kernel function"),
    "assign-constant": ("'{name}' is {what}, it cannot be assigned", "another name for the local variable"),
    "unassigned": ("'{name}' may be used before it is assigned", "{name} = ... on every path that leads here"),
    # Fields.
    "unknown-field": ("{struct} has no field '{name}'", "{write}"),
    "field-of": ("{got} has no fields", "{write}"),
    "assign-embedded": ("'{name}' holds a {struct} by value, it cannot be assigned", "its fields one by one, as in C"),
    "array-whole": ("'{name}' is an array of {count}", "{text}[i]"),
    "not-array": ("'{name}' is not an array", "{text} without an index"),
    "index-range": ("index {index} is outside '{name}', which has {count} elements", "an index from 0 to {last}"),
    "index-slice": ("a slice is not in the kernel subset", "a loop over the elements"),
    "subscript": ("only an array field can be indexed", "p.field[i], with the field declared as array(n)"),
    "hw-field": ("'{name}' belongs to the machine; a kfunc may only read it", "a call of a function of the machine"),
    # Calls.
    "arity": ("{name}() takes {want}, {got} given", "{write}"),
    "place": ("argument {number} of {name}() is a place, as with '&' in C", "a field, such as {name}({example})"),
    "struct-name": ("argument {number} of {name}() is the name of a structure", "{name}({example})"),
    "literal-name": ("argument {number} of {name}() is a literal name", "{name}({example})"),
    "unknown-cost": ("the cost table has no row '{name}'", "{write}"),
    "unknown-event": ("there is no trace event '{name}'", "{write}"),
    "event-arity": ("the event '{name}' has {want}, {got} given", "trace({signature})"),
    "member": ("'{name}' is not a field that {struct} holds by value", "{write}"),
    "member-type": ("{struct}.{name} is a {want}, the reference is to a {got}", "{write}"),
    "call-target": ("this cannot be called", "a kernel function by its name, or p.fn(...) through a fnptr field"),
    "fnptr-arity": ("no function that has its address taken has {got}", "{write}"),
    "hw-calls-kernel": ("a hwfunc calls hwfuncs, '{name}' is a kfunc", "@kfunc for this function, or call a hwfunc"),
    "facts-not-said": (
        "the machine's '{name}' does not say who sees it act and what it is on x86",
        '@hwfunc(visible="all", x86="locked") at {where}, or what is true of it: docs/language.md',
    ),
    "hw-intrinsic": ("a hwfunc is atomic: it cannot call {name}()", "@kfunc for this function"),
    "machine-intrinsic": ("{name}() is for softnet.machine only", "p.f, or a function of the machine"),
    # Flow.
    "endless": ("this loop has no way out and no interaction point", "break or return in it, or a call"),
    "missing-return": ("{name}() returns {want}, but a path ends without return", "return ... at its end"),
    "unreachable": ("this is never reached", "delete it, or the jump before it"),
    "outside-loop": ("'{what}' is outside a loop", "return, or a loop around it"),
    "divide-negative": ("'{what}' is for a positive divisor, this is {value}", "a positive divisor"),
    "shift-range": ("a shift count is from 0 to 62, this is {value}", "a count from 0 to 62"),
}
"""Code -> what is wrong, what to write instead."""


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One mistake in a user's function, at its place."""

    span: Span
    code: str
    message: str
    write: str
    function: str = ""

    def sort_key(self) -> tuple[str, int, int, str]:
        """By file, line and column."""
        return (self.span.file, self.span.line, self.span.column, self.message)

    def __str__(self) -> str:
        """The message with its source line, the place underlined, and what to write instead."""
        span = self.span
        inside = f"in {self.function}: " if self.function else ""
        lines = [f"{span.file}:{span.line}:{span.column}: {inside}{self.message}"]
        source = linecache.getline(span.file, span.line).rstrip("\n")
        if source:
            gutter = f"{span.line:>6} | "
            lines += [gutter + source, f"{'':>6} | " + _underline(source, span)]
        if self.write:
            lines.append(f"  write: {self.write}")
        return "\n".join(lines)


def diagnose(span: Span, code: str, function: str = "", **words: Any) -> Diagnostic:
    """Word one mistake: ``code`` is a row of MESSAGES."""
    message, write = MESSAGES[code]
    return Diagnostic(span, code, message.format(**words), write.format(**words), function)


def raise_all(diagnostics: Sequence[Diagnostic]) -> None:
    """Raise a SubsetError that shows all of them in the order of the text; return if there are none."""
    if diagnostics:
        raise SubsetErrors(diagnostics)


class SubsetErrors(SubsetError):
    """All mistakes found in a program's functions."""

    diagnostics: tuple[Diagnostic, ...]

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        self.diagnostics = tuple(sorted(diagnostics, key=Diagnostic.sort_key))
        super().__init__(render(self.diagnostics))

    def __reduce__(self) -> tuple[Any, ...]:
        return SubsetErrors, (self.diagnostics,)


def render(diagnostics: Sequence[Diagnostic]) -> str:
    """The text of all of them and, if there are several, their number."""
    parts = [str(d) for d in sorted(diagnostics, key=Diagnostic.sort_key)]
    if len(parts) > 1:
        parts.append(f"{len(parts)} errors")
    return "\n".join(parts)


def closest(name: str, candidates: Sequence[str]) -> str:
    """The candidate that the user most likely meant, or an empty string."""
    import difflib

    matches = difflib.get_close_matches(name, sorted(candidates), n=1, cutoff=0.6)
    return matches[0] if matches else ""


def _underline(source: str, span: Span) -> str:
    """Spaces and carets as wide as the text above them: tabs stay tabs, wide characters take two columns."""
    start = span.column - 1
    stop = span.end_column - 1 if span.end_line == span.line else len(source)
    before = "".join("\t" if c == "\t" else " " * _width(c) for c in source[:start])
    return before + "^" * max(1, sum(_width(c) for c in source[start:stop]))


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
