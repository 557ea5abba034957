# SPDX-License-Identifier: GPL-2.0-or-later
"""Declarations: structures, fields with their kind and cache line, and the two marks for functions.

A declaration says who may touch a field. From it follow the interaction points, the price of an access, the explorer's
reductions and the check that a guarded field is never touched without its lock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

Kind = Literal["shared", "guarded", "percpu", "private", "hw", "embed"]
"""Who may touch a field; the functions below say what each means."""
SHARED: Final = "shared"
GUARDED: Final = "guarded"
PERCPU: Final = "percpu"
PRIVATE: Final = "private"
HW: Final = "hw"
EMBED: Final = "embed"


@dataclass(frozen=True)
class Field:
    """One declared field: its kind, cache line, guard, array length and initial value.

    ``line`` is the index of the cache line inside the structure; ``count`` is 1 for a scalar.
    """

    kind: Kind
    line: int = 0
    guard: str = ""
    count: int = 1
    init: int = 0


if TYPE_CHECKING:
    fnptr = Callable[..., Any]
else:

    class fnptr:
        """The annotation of a function pointer field or local: ``poll: fnptr = private()``."""


def shared(*, line: int = 0, init: int = 0) -> Any:
    """A field that any CPU may touch at any time; every access is an interaction point."""
    return Field(SHARED, line, init=init)


def guarded(lock: str, *, line: int = 0, init: int = 0) -> Any:
    """A field that only the holder of ``lock`` (a field of the same structure) may touch."""
    return Field(GUARDED, line, guard=lock, init=init)


def percpu(*, line: int = 0, init: int = 0) -> Any:
    """A field that only its own CPU touches, in any of its contexts, interrupts included."""
    return Field(PERCPU, line, init=init)


def private(*, line: int = 0, init: int = 0) -> Any:
    """A field whose object has one holder by construction: no interaction point."""
    return Field(PRIVATE, line, init=init)


def hw(*, init: int = 0) -> Any:
    """A field of the machine: no interaction point, no cost. Only softnet.machine declares these."""
    return Field(HW, 0, init=init)


def embed(*, line: int = 0, count: int = 1) -> Any:
    """A structure by value; its own lines are laid out from ``line`` on."""
    return Field(EMBED, line, count=count)


def array(count: int, field: Any = None) -> Any:
    """``count`` words of the given kind (default ``private()``): ``x.history[i]``, bounds-checked."""
    base: Field = field if field is not None else Field(PRIVATE)
    return Field(base.kind, base.line, base.guard, count, base.init)


class Struct:
    """Base of every declared structure. Instances exist only inside an image (see lang.layout)."""

    def __init_subclass__(cls, *, extends: bool = False, **kwargs: Any) -> None:
        """``extends=True``: add to, or redeclare in, the structure of the same name further down the stack."""
        super().__init_subclass__(**kwargs)
        cls._extends = extends

    _extends: bool = False


def kfunc(function: F) -> F:
    """Mark a function of the kernel: interruptible, preemptible and blockable at its interaction points."""
    function.__softnet_kind__ = "kfunc"  # type: ignore[attr-defined]
    return function


def hwfunc(function: F) -> F:
    """Mark a function of the machine: atomic, never blocks, may call only other hwfuncs."""
    function.__softnet_kind__ = "hwfunc"  # type: ignore[attr-defined]
    return function


OBSERVER_PACKAGE = ("softnet.properties", "softnet.simulate.observers")
"""Structures declared there stand behind all others in memory, so that a run that is observed has the same addresses."""


def observer(function: F) -> F:
    """Mark a function that looks on: its accesses cost nothing and are no interaction points, whatever the fields' kinds.

    It may call observers only and must not store to the kernel's or the machine's fields. lang.observe says when it runs.
    """
    function.__softnet_kind__ = "observer"  # type: ignore[attr-defined]
    return function


def predicate(function: F) -> F:
    """Mark a function that only looks at a state: an observer beside a run, a function of the machine beside the explorer.

    It may call predicates only. Which of the two it is, the program says that it is linked into (softnet.verify.model).
    """
    function.__softnet_kind__ = "observer"  # type: ignore[attr-defined]
    function.__softnet_predicate__ = True  # type: ignore[attr-defined]
    return function
