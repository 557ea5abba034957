# SPDX-License-Identifier: GPL-2.0-or-later
"""Declarations: structures, fields with their kind and cache line, and the marks for functions.

A declaration says who may touch a field, and what of a function a compiler or a model checker must know. From it follow the
interaction points, the price of an access, the explorer's reductions, what waits for a store buffer, and the check that a
guarded field is never touched without its lock. No table elsewhere names a function or a field for that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, get_args, overload

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
    statistic: bool = False
    """It counts or keeps time; no function's path depends on it while the clock stands still, so it is no part of a state."""
    decides_turn: bool = False
    """The machine decides by it who acts next: after a store to it, nothing of that is known any more."""


if TYPE_CHECKING:
    fnptr = Callable[..., Any]
else:

    class fnptr:
        """The annotation of a function pointer field or local: ``poll: fnptr = private()``."""


def shared(*, line: int = 0, init: int = 0, statistic: bool = False) -> Any:
    """A field that any CPU may touch at any time; every access is an interaction point."""
    return Field(SHARED, line, init=init, statistic=statistic)


def guarded(lock: str, *, line: int = 0, init: int = 0, statistic: bool = False) -> Any:
    """A field that only the holder of ``lock`` (a field of the same structure) may touch."""
    return Field(GUARDED, line, guard=lock, init=init, statistic=statistic)


def percpu(*, line: int = 0, init: int = 0, statistic: bool = False) -> Any:
    """A field that only its own CPU touches, in any of its contexts, interrupts included."""
    return Field(PERCPU, line, init=init, statistic=statistic)


def private(*, line: int = 0, init: int = 0, statistic: bool = False) -> Any:
    """A field whose object has one holder by construction: no interaction point."""
    return Field(PRIVATE, line, init=init, statistic=statistic)


def hw(*, init: int = 0, statistic: bool = False, decides_turn: bool = False) -> Any:
    """A field of the machine: no interaction point, no cost. Only softnet.machine declares these."""
    return Field(HW, 0, init=init, statistic=statistic, decides_turn=decides_turn)


def embed(*, line: int = 0, count: int = 1) -> Any:
    """A structure by value; its own lines are laid out from ``line`` on."""
    return Field(EMBED, line, count=count)


def array(count: int, field: Any = None) -> Any:
    """``count`` words of the given kind (default ``private()``): ``x.history[i]``, bounds-checked."""
    base: Field = field if field is not None else Field(PRIVATE)
    return replace(base, count=count)


class Struct:
    """Base of every declared structure. Instances exist only inside an image (see lang.program.layout)."""

    def __init_subclass__(
        cls, *, extends: bool = False, per_cpu: bool = False, settings: bool = False, engine: bool = False, **kwargs: Any
    ) -> None:
        """What is true of the whole structure.

        ``extends``: add to, or redeclare in, the structure of the same name further down the stack, which keeps what is said of it.
        ``per_cpu``: one for each CPU, as by the kernel's DEFINE_PER_CPU().
        ``settings``: written from outside (a sysctl, a file of sysfs) at any time, by no CPU of the model.
        ``engine``: bookkeeping of who runs the model, no part of a state.
        """
        super().__init_subclass__(**kwargs)
        cls._extends = extends
        cls._per_cpu, cls._settings, cls._engine = per_cpu, settings, engine

    _extends: bool = False
    _per_cpu: bool = False
    _settings: bool = False
    _engine: bool = False


Visible = Literal[
    "own context", "own interrupts", "preempt_count", "migration", "own cpu", "lock", "acquire", "release", "try", "irq disable",
    "irq restore", "stop machine", "start machine", "search", "all",
]  # fmt: skip
"""Who can tell whether a call of a machine function comes before or after what other contexts do; docs/language.md."""

Inline = Literal["", "never", "always"]

X86_PLAIN: Final = ("none", "plain load", "posted write")
X86_STORE: Final = "plain store "


@dataclass(frozen=True)
class FunctionFacts:
    """What a function's declaration says of it; docs/language.md says what each word means."""

    visible: str = ""
    x86: str = ""
    reads: str = ""
    price_only: bool = False
    inline: Inline = ""
    entry: bool = False
    exclusion: bool = False

    @property
    def complete(self) -> bool:
        """Whether a kernel function may call it: who sees the call and what it is on x86 are said."""
        return self.price_only or bool(self.visible and self.x86)

    @property
    def drains(self) -> bool:
        """Whether the call waits on x86 until the CPU's store buffer is empty. What is not said does."""
        return not self.price_only and self.x86 not in X86_PLAIN and not self.x86.startswith(X86_STORE)

    @property
    def stores(self) -> str:
        """The "structure.field" whose plain store goes into the store buffer; "" for none."""
        return self.x86.removeprefix(X86_STORE) if self.x86.startswith(X86_STORE) else ""

    @property
    def loads_own(self) -> bool:
        """Whether it reads what its own CPU may have in its store buffer."""
        return self.x86.startswith("plain ")


NOTHING_SAID: Final = FunctionFacts()


def _mark(function: F, kind: str, facts: FunctionFacts) -> F:
    function.__softnet_kind__ = kind  # type: ignore[attr-defined]
    function.__softnet_facts__ = facts  # type: ignore[attr-defined]
    return function


@overload
def kfunc(function: F) -> F: ...
@overload
def kfunc(*, entry: bool = False, exclusion: bool = False) -> Callable[[F], F]: ...
def kfunc(function: Any = None, *, entry: bool = False, exclusion: bool = False) -> Any:
    """Mark a function of the kernel: interruptible, preemptible and blockable at its interaction points.

    ``entry``: its address is stored by boot, from outside the kernel's text. ``exclusion``: it switches
    interrupts, bottom halves, preemption or RCU off or on, with a lock or without, and gives 0 or nothing: who follows one CPU
    alone may leave it out. Both belong to the name: a later definition of the stack keeps them.
    """
    facts = FunctionFacts(entry=entry, exclusion=exclusion) if entry or exclusion else NOTHING_SAID
    if function is not None:
        return _mark(function, "kfunc", facts)
    return lambda function: _mark(function, "kfunc", facts)


@overload
def hwfunc(function: F) -> F: ...
@overload
def hwfunc(
    *, visible: Visible = ..., x86: str = "", reads: str = "", price_only: bool = False, inline: Inline = ""
) -> Callable[[F], F]: ...
def hwfunc(
    function: Any = None, *, visible: str = "", x86: str = "", reads: str = "", price_only: bool = False, inline: Inline = ""
) -> Any:
    """Mark a function of the machine: atomic, never blocks, may call only other hwfuncs.

    One that a kernel function calls says ``visible``, who can tell when it acts, and ``x86``, what it is on that processor:
    "none", "plain load", "plain store STRUCTURE.FIELD", "posted write" (to a device), or "locked" (anything that waits for the
    store buffer). ``price_only``: it keeps time, prices and statistics, nothing else. ``reads``: the one field by which its
    result changes. ``inline``: "never" or "always" taken into its callers by the compiler. They belong to this definition: one
    that overrides it says its own.
    """
    if function is not None:
        return _mark(function, "hwfunc", NOTHING_SAID)
    _check_words(visible, x86)
    facts = FunctionFacts(visible, x86, reads, price_only, inline)
    return lambda function: _mark(function, "hwfunc", facts)


def _check_words(visible: str, x86: str) -> None:
    """Refuse a misspelt word, which would mean something else in silence."""
    from softnet.errors import SubsetError

    if visible and visible not in get_args(Visible):
        raise SubsetError("unknown visibility of a machine function", where="@hwfunc(visible=...)", found=repr(visible),
                          expected=", ".join(f'"{word}"' for word in get_args(Visible)))  # fmt: skip
    known = x86 in (*X86_PLAIN, "locked") or (x86.startswith(X86_STORE) and x86.count(".") == 1)
    if x86 and not known:
        raise SubsetError("unknown kind of x86 instruction", where="@hwfunc(x86=...)", found=repr(x86),
                          expected='"none", "plain load", "plain store STRUCTURE.FIELD", "posted write" or "locked"')  # fmt: skip


OBSERVER_PACKAGE = ("softnet.properties", "softnet.simulate.observers")
"""Structures declared there come last in memory, so that all others have the same addresses with and without observers."""


def observer(function: F) -> F:
    """Mark a function that looks on: its accesses cost nothing and are no interaction points, whatever the fields' kinds.

    It may call observers only and must not store to the kernel's or the machine's fields. lang.program.observe says when it runs.
    """
    return _mark(function, "observer", NOTHING_SAID)


def predicate(function: F) -> F:
    """Mark a function that only looks at a state: an observer beside a run, a function of the machine beside the explorer.

    It may call predicates only. Which of the two it is, the program says that it is linked into (softnet.verify.model).
    """
    function.__softnet_predicate__ = True  # type: ignore[attr-defined]
    return _mark(function, "observer", NOTHING_SAID)
