# SPDX-License-Identifier: GPL-2.0-or-later
"""A user's own properties: functions of the restricted Python beside the kernel's, that the explorer asks in each state.

``always``: must be true in every state. ``in_the_end``: where nothing can happen any more. ``eventually``: may be false,
but not for ever (softnet.verify.liveness). A function with a parameter ``cpu`` is asked for every CPU.
"""

from __future__ import annotations

import inspect
import linecache
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar

from softnet.errors import SoftnetError, printable
from softnet.lang import hwfunc

F = TypeVar("F", bound=Callable[..., Any])

FIRST_NUMBER = 40
"""Properties of the harness have numbers below, a user's from here on: bits of a word."""
LAST_NUMBER = 61


def always(text: str) -> Callable[[F], F]:
    """The function must return true in every state; ``text`` says what it means when it does not."""
    return _mark("always", text)


def in_the_end(text: str) -> Callable[[F], F]:
    """The function must return true in every state in which nothing can happen any more."""
    return _mark("in_the_end", text)


def eventually(text: str) -> Callable[[F], F]:
    """The function may return false, but in no fair run for ever."""
    return _mark("eventually", text)


def _mark(kind: str, text: str) -> Callable[[F], F]:
    def mark(function: F) -> F:
        hwfunc(function)
        function.__softnet_claim__ = (kind, text)  # type: ignore[attr-defined]
        return function

    return mark


@dataclass(frozen=True)
class Claim:
    """One property of a user's."""

    name: str
    kind: str
    text: str
    per_cpu: bool
    number: int


def claims_of(modules: Sequence[ModuleType]) -> list[Claim]:
    """The properties that a user's files declare. Raises SoftnetError for too many, and for a parameter that is not cpu."""
    found: list[Claim] = []
    for module in modules:
        for name, value in vars(module).items():
            marked = getattr(value, "__softnet_claim__", None)
            if marked is None or value.__module__ != module.__name__:
                continue
            names = list(inspect.signature(value).parameters)
            where = f"{value.__code__.co_filename}:{value.__code__.co_firstlineno}"
            if names not in ([], ["cpu"]):
                raise SoftnetError("a property takes nothing, or the number of a CPU", where=where,
                                   found=f"{name}({', '.join(names)})", expected=f"{name}() or {name}(cpu: int)")  # fmt: skip
            number = FIRST_NUMBER + len(found)
            if number > LAST_NUMBER:
                raise SoftnetError("too many properties", where=where, found=str(len(found) + 1),
                                   expected=f"at most {LAST_NUMBER - FIRST_NUMBER + 1}")  # fmt: skip
            found.append(Claim(name, marked[0], printable(str(marked[1])), bool(names), number))
    return found


_FUNCTION_OF_KIND = {"always": "vx_user_state", "in_the_end": "vx_user_terminal", "eventually": "vx_user_pending"}


def dispatcher(claims: Sequence[Claim]) -> ModuleType:
    """The module whose functions ask all of a user's properties: masks of those that are false."""
    lines = ["from softnet.lang import hwfunc"]
    for kind, function in _FUNCTION_OF_KIND.items():
        lines += ["", "@hwfunc", f"def {function}() -> int:", f'    """The user\'s properties of kind {kind}."""', "    found = 0"]
        for claim in claims:
            if claim.kind != kind:
                continue
            if claim.per_cpu:
                lines += ["    for cpu in range(hw.nr_cpus):", f"        if not {claim.name}(cpu):"]
                lines += [f"            found |= 1 << {claim.number}"]
            else:
                lines += [f"    if not {claim.name}():", f"        found |= 1 << {claim.number}"]
        lines.append("    return found")
    text = "\n".join(lines) + "\n"
    file = f"<properties {zlib.crc32(text.encode()):08x}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    module = ModuleType("softnet.verify.inside.user_properties")
    module.__file__ = file
    exec(compile(text, file, "exec"), module.__dict__)  # noqa: S102 - the text is this function's own
    return module
