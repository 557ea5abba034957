# SPDX-License-Identifier: GPL-2.0-or-later
"""When observers run: a program's observers say it by their names.

| name | when it runs | its parameters |
|---|---|---|
| ``enter_F`` | a function F begins, after the interaction point of its call | the first parameters of F |
| ``leave_F`` | F returns | ``token``, what ``enter_F`` returned; ``result``; then the first arguments, as F was called with them |
| ``event_E`` | the event E has been counted, traced or not | the event's three arguments |
| ``stored_S__F`` | the field F of a structure S has been stored to | the address of the word |
| ``before_switch`` | a context is about to go on: clock and CPU are its own | none |

``token`` and ``result`` may be left out. ``enter_poll`` and ``leave_poll`` observe every function by which a NAPI is polled.
Both engines call them at the same places: compiled, the call is part of the function; under CPython the function is wrapped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from softnet.errors import SoftnetError
from softnet.lang.program.program import FunctionDef, Program

BEFORE_SWITCH = "before_switch"


@dataclass(frozen=True)
class Around:
    """The observers of one function; "" for none."""

    enter: str = ""
    enter_arguments: int = 0
    leave: str = ""
    token: bool = False
    result: bool = False
    leave_arguments: int = 0


@dataclass(frozen=True)
class Observers:
    """What is observed in a program, by name."""

    around: dict[str, Around] = field(default_factory=dict)
    event: dict[str, str] = field(default_factory=dict)
    stored: dict[str, str] = field(default_factory=dict)
    """"structure.field" -> observer."""
    before_switch: str = ""


def parameters(definition: FunctionDef) -> list[tuple[str, str]]:
    """A function's parameters: name and type."""
    code = definition.function.__code__
    types = definition.function.__annotations__
    return [(name, str(types.get(name, "")).strip("'\"")) for name in code.co_varnames[: code.co_argcount]]


def observers_of(program: Program, polls: Sequence[str] = ()) -> Observers:
    """What a program's observers look at; ``polls`` are the functions by which NAPIs are polled.

    Raises SoftnetError where a function's first parameters are not those that its observers ask for.
    """
    observers = {name for name, d in program.functions.items() if d.kind == "observer"}
    found = Observers(before_switch=BEFORE_SWITCH if BEFORE_SWITCH in observers else "")
    for name, definition in sorted(program.functions.items()):
        if definition.kind == "observer":
            continue
        names = [name, *(["poll"] if name in polls else [])]
        enter = next((f"enter_{n}" for n in names if f"enter_{n}" in observers), "")
        leave = next((f"leave_{n}" for n in names if f"leave_{n}" in observers), "")
        if enter or leave:
            found.around[name] = _around(program, definition, enter, leave)
    for name in sorted(observers):
        kind, _, rest = name.partition("_")
        if kind == "event":
            found.event[rest] = name
        elif kind == "stored":
            struct, _, member = rest.partition("__")
            found.stored[f"{struct}.{member}"] = name
    return found


def _around(program: Program, definition: FunctionDef, enter: str, leave: str) -> Around:
    entering = parameters(program.functions[enter]) if enter else []
    leaving = parameters(program.functions[leave]) if leave else []
    names = [name for name, _ in leaving]
    token, result = "token" in names[:1], "result" in names[:2]
    rest = leaving[token + result :]
    has = parameters(definition)
    for wanted in (entering, rest):
        if [kind for _, kind in has[: len(wanted)]] != [kind for _, kind in wanted]:
            raise SoftnetError(
                f"the invariants cannot be checked with this {definition.name}()",
                where=f"{definition.file}:{definition.line}",
                found=f"{definition.name}({_listed(has)})",
                expected=f"{definition.name}({_listed(wanted)}), and more behind it if need be",
                hint="run it without --checks, or keep the kernel's parameters",
            )
    return Around(enter, len(entering), leave, token, result, len(rest))


def _listed(params: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{name}: {kind}" for name, kind in params)
