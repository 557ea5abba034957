# SPDX-License-Identifier: GPL-2.0-or-later
"""The types of restricted Python and the signatures of its intrinsics: data, on one screen.

Everything is a 64-bit word at run time; types exist to refuse mistakes and to tell fields apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Type:
    """``int``, ``bool``, ``void``, ``fnptr``, ``null``, ``ref`` to a structure, or ``unknown`` after an error."""

    kind: str
    struct: str = ""

    def __str__(self) -> str:
        names = {"null": "None", "void": "nothing (None)"}
        return self.struct if self.kind == "ref" else names.get(self.kind, self.kind)


INT: Final = Type("int")
BOOL: Final = Type("bool")
VOID: Final = Type("void")
FNPTR: Final = Type("fnptr")
NULL: Final = Type("null")
UNKNOWN: Final = Type("unknown")


def ref(struct: str) -> Type:
    """A reference to a structure."""
    return Type("ref", struct)


def assignable(value: Type, target: Type) -> bool:
    """Whether a value may be stored where ``target`` is declared: bool serves as int, None as any reference."""
    if value == target or UNKNOWN in (value, target):
        return True
    if target == INT:
        return value == BOOL
    return value == NULL and target.kind in ("ref", "fnptr")


def named_type(name: str) -> Type:
    """The type that a declaration's word means."""
    return _SCALARS.get(name) or ref(name)


_SCALARS: Final = {"int": INT, "bool": BOOL, "fnptr": FNPTR}

INT64_MAX: Final = 2**63 - 1
INT64_MIN: Final = -(2**63)


@dataclass(frozen=True, slots=True)
class Signature:
    """What an intrinsic takes and gives.

    Argument words: ``int``; ``cond`` (a condition); ``ref`` (any reference); ``any``; ``place`` (a field, as with ``&``
    in C); ``field`` (a value of that place's type); ``struct`` (a structure's name); ``member``, ``cost``, ``event``
    (literal names). Result words: ``field``, ``struct`` or a type. A last argument ending in ``*`` may be
    repeated or left out. ``users``: who may call it, ``all``, ``kfunc`` or ``machine`` (modules of softnet.machine).
    """

    name: str
    args: tuple[str, ...]
    result: str
    users: str
    interacts: bool
    """A kfunc may be interrupted there."""
    branches: bool
    """It is an expression whose lowering ends the block."""
    condition: bool
    """It gives its argument as a condition, and does nothing else."""
    fence: bool
    """A barrier that on x86 waits until the CPU's store buffer is empty; a kfunc may be interrupted there, too."""


def _signatures() -> dict[str, Signature]:
    table = """
    READ_ONCE               place               field   interacts all
    WRITE_ONCE              place field         void    interacts all
    data_race               place               field   interacts all
    smp_load_acquire        place               field   interacts all
    smp_store_release       place field         void    interacts all
    cmpxchg                 place field field   field   interacts all
    xchg                    place field         field   interacts all
    atomic_read             place               int     interacts all
    atomic_set              place int           void    interacts all
    atomic_inc              place               void    interacts all
    atomic_dec              place               void    interacts all
    atomic_add              int place           void    interacts all
    atomic_inc_return       place               int     interacts all
    atomic_dec_and_test     place               bool    interacts all
    test_bit                int place           bool    interacts all
    set_bit                 int place           void    interacts all
    clear_bit               int place           void    interacts all
    test_and_set_bit        int place           bool    interacts all
    test_and_clear_bit      int place           bool    interacts all
    __set_bit               int place           void    interacts all
    __clear_bit             int place           void    interacts all
    __test_and_set_bit      int place           bool    interacts all
    smp_mb                  -                   void    fence     all
    smp_rmb                 -                   void    interacts all
    smp_wmb                 -                   void    interacts all
    smp_mb__before_atomic   -                   void    interacts all
    smp_mb__after_atomic    -                   void    interacts all
    barrier                 -                   void    -         all
    container_of            ref struct member   struct  -         all
    bool                    cond                bool    condition all
    min                     int int             int     -         all
    max                     int int             int     -         all
    fls                     int                 int     -         all
    smp_processor_id        -                   int     -         all
    raw_smp_processor_id    -                   int     -         all
    this_cpu_ptr            struct              struct  -         all
    per_cpu                 struct int          struct  -         all
    table                   struct int          struct  -         all
    table_len               struct              int     -         all
    work                    cost                void    interacts kfunc
    work_bytes              cost int            void    interacts kfunc
    work_ns                 int                 void    interacts kfunc
    trace                   event any*          void    -         all
    hist_add                int int             void    -         all
    BUG_ON                  cond                void    -         all
    WARN_ON_ONCE            cond                bool    branches  all
    lockdep_assert_held     ref                 void    -         all
    IS_ENABLED              int                 bool    condition all
    unlikely                cond                bool    condition all
    likely                  cond                bool    condition all
    address_of              any                 int     -         all
    index_of                ref                 int     -         all
    mem                     int                 int     -         machine
    mem_set                 int int             void    -         machine
    ref_at                  struct int          struct  -         machine
    draw                    int int             int     -         machine
    suspend                 -                   void    interacts machine
    """
    out = {}
    for line in table.strip().splitlines():
        name, *args, result, effect, users = line.split()
        words = tuple(a for a in args if a != "-")
        kinds = [effect == word for word in ("interacts", "branches", "condition", "fence")]
        kinds[0] |= kinds[3]
        out[name] = Signature(name, words, result, users, *kinds)
    return out


SIGNATURES: Final[Mapping[str, Signature]] = _signatures()
