# SPDX-License-Identifier: GPL-2.0-or-later
"""The intrinsics by name and signature, for the reader, the editor and the type checker.

Linking gives each its meaning (lang.python.runtime for CPython, lang.lowering.intrinsics for native code); unlinked, they raise.
"""

from __future__ import annotations

from typing import Any, NoReturn

PLACE_INTRINSICS: tuple[str, ...] = (
    "READ_ONCE",
    "WRITE_ONCE",
    "data_race",
    "smp_load_acquire",
    "smp_store_release",
    "cmpxchg",
    "xchg",
    "atomic_read",
    "atomic_set",
    "atomic_inc",
    "atomic_dec",
    "atomic_inc_return",
    "atomic_dec_and_test",
)
"""Intrinsics whose first argument is a place (a field of a structure)."""

PLACE_SECOND: tuple[str, ...] = (
    "atomic_add",
    "test_bit",
    "set_bit",
    "clear_bit",
    "test_and_set_bit",
    "test_and_clear_bit",
    "__set_bit",
    "__clear_bit",
    "__test_and_set_bit",
)
"""Intrinsics whose second argument is a place, as in C: ``set_bit(nr, &p->f)``."""

BARRIERS: tuple[str, ...] = (
    "smp_mb",
    "smp_rmb",
    "smp_wmb",
    "smp_mb__after_atomic",
    "smp_mb__before_atomic",
    "barrier",
)


def _unlinked(name: str) -> NoReturn:
    raise TypeError(f"{name}() has a meaning only inside linked kernel functions (softnet.lang.python.link)")


def READ_ONCE(place: Any) -> Any:
    """Load the field once; on a guarded field this is the exempt lockless read."""
    _unlinked("READ_ONCE")


def WRITE_ONCE(place: Any, value: Any) -> None:
    """Store the field once."""
    _unlinked("WRITE_ONCE")


def data_race(place: Any) -> Any:
    """A lockless read that the author declares harmless."""
    _unlinked("data_race")


def smp_load_acquire(place: Any) -> Any:
    """Load with acquire ordering."""
    _unlinked("smp_load_acquire")


def smp_store_release(place: Any, value: Any) -> None:
    """Store with release ordering."""
    _unlinked("smp_store_release")


def cmpxchg(place: Any, old: Any, new: Any) -> Any:
    """Atomically store ``new`` if the field holds ``old``; the old value."""
    _unlinked("cmpxchg")


def xchg(place: Any, new: Any) -> Any:
    """Atomically store ``new``; the old value."""
    _unlinked("xchg")


def atomic_read(place: Any) -> int:
    """Load an atomic counter."""
    _unlinked("atomic_read")


def atomic_set(place: Any, value: int) -> None:
    """Store an atomic counter."""
    _unlinked("atomic_set")


def atomic_inc(place: Any) -> None:
    """Atomically add 1."""
    _unlinked("atomic_inc")


def atomic_dec(place: Any) -> None:
    """Atomically subtract 1."""
    _unlinked("atomic_dec")


def atomic_add(value: int, place: Any) -> None:
    """Atomically add ``value``."""
    _unlinked("atomic_add")


def atomic_inc_return(place: Any) -> int:
    """Atomically add 1; the new value."""
    _unlinked("atomic_inc_return")


def atomic_dec_and_test(place: Any) -> bool:
    """Atomically subtract 1; whether the result is 0."""
    _unlinked("atomic_dec_and_test")


def test_bit(nr: int, place: Any) -> bool:
    """Whether bit ``nr`` is set."""
    _unlinked("test_bit")


def set_bit(nr: int, place: Any) -> None:
    """Atomically set bit ``nr``."""
    _unlinked("set_bit")


def clear_bit(nr: int, place: Any) -> None:
    """Atomically clear bit ``nr``."""
    _unlinked("clear_bit")


def test_and_set_bit(nr: int, place: Any) -> bool:
    """Atomically set bit ``nr``; whether it was set."""
    _unlinked("test_and_set_bit")


def test_and_clear_bit(nr: int, place: Any) -> bool:
    """Atomically clear bit ``nr``; whether it was set."""
    _unlinked("test_and_clear_bit")


def __set_bit(nr: int, place: Any) -> None:
    _unlinked("__set_bit")


def __clear_bit(nr: int, place: Any) -> None:
    _unlinked("__clear_bit")


def __test_and_set_bit(nr: int, place: Any) -> bool:
    _unlinked("__test_and_set_bit")


def smp_mb() -> None:
    """Full barrier."""
    _unlinked("smp_mb")


def smp_rmb() -> None:
    """Read barrier."""
    _unlinked("smp_rmb")


def smp_wmb() -> None:
    """Write barrier."""
    _unlinked("smp_wmb")


def smp_mb__before_atomic() -> None:
    """Full barrier next to an atomic operation that implies none."""
    _unlinked("smp_mb__before_atomic")


def smp_mb__after_atomic() -> None:
    """Full barrier next to an atomic operation that implies none."""
    _unlinked("smp_mb__after_atomic")


def barrier() -> None:
    """Compiler barrier."""
    _unlinked("barrier")


def container_of(ref: Any, struct: Any, field: str) -> Any:
    """The structure whose embedded ``field`` is ``ref``."""
    _unlinked("container_of")


def fls(value: int) -> int:
    """The number of the highest set bit, from 1; 0 for 0."""
    _unlinked("fls")


def draw(key: int, number: int) -> int:
    """Draw ``number`` of the stream that begins with ``key``, below 2**32 (softnet.units.draw)."""
    _unlinked("draw")


def smp_processor_id() -> int:
    """The CPU that runs this."""
    _unlinked("smp_processor_id")


def raw_smp_processor_id() -> int:
    """The CPU that runs this, without the claim that it stays so."""
    _unlinked("raw_smp_processor_id")


def this_cpu_ptr(struct: Any) -> Any:
    """This CPU's instance of a per-CPU structure."""
    _unlinked("this_cpu_ptr")


def per_cpu(struct: Any, cpu: int) -> Any:
    """That CPU's instance of a per-CPU structure."""
    _unlinked("per_cpu")


def table(struct: Any, index: int) -> Any:
    """The ``index``-th instance (from 0) of a structure."""
    _unlinked("table")


def table_len(struct: Any) -> int:
    """How many instances of a structure the image holds."""
    _unlinked("table_len")


def work(name: str) -> None:
    """Run for the named cost of the cost table."""
    _unlinked("work")


def work_bytes(name: str, n: int) -> None:
    """Run for ``n`` bytes at the named cost."""
    _unlinked("work_bytes")


def work_ns(ns: int) -> None:
    """Run ``ns`` nanoseconds in the kernel."""
    _unlinked("work_ns")


def trace(event: str, a: Any = 0, b: Any = 0, c: Any = 0) -> None:
    """Count the event on this CPU and, if traced, record it."""
    _unlinked("trace")


def hist_add(index: int, ns: int) -> None:
    """Add a value to a histogram."""
    _unlinked("hist_add")


def BUG_ON(condition: Any) -> None:
    """Stop the run with this line if the condition holds."""
    _unlinked("BUG_ON")


def WARN_ON_ONCE(condition: Any) -> bool:
    """Record a warning with this line if the condition holds; the condition."""
    _unlinked("WARN_ON_ONCE")


def lockdep_assert_held(lock: Any) -> None:
    """Stop the run with this line unless the lock is held by this context."""
    _unlinked("lockdep_assert_held")


def IS_ENABLED(option: int) -> bool:
    """Whether a configuration option is on; decided at link time."""
    _unlinked("IS_ENABLED")


def likely(condition: Any) -> bool:
    """The condition."""
    _unlinked("likely")


def unlikely(condition: Any) -> bool:
    """The condition."""
    _unlinked("unlikely")


def mem(address: int) -> int:
    """Machine only: the word at an address."""
    _unlinked("mem")


def mem_set(address: int, value: int) -> None:
    """Machine only: store the word at an address."""
    _unlinked("mem_set")


def address_of(ref: Any) -> int:
    """A reference as a number, 0 for None."""
    _unlinked("address_of")


def index_of(ref: Any) -> int:
    """The index of a table's instance, from 0."""
    _unlinked("index_of")


def ref_at(struct: Any, address: int) -> Any:
    """Machine only: the structure at an address, None for 0."""
    _unlinked("ref_at")


def suspend() -> None:
    """Machine only: give the CPU back to the event loop until this context is resumed."""
    _unlinked("suspend")
