# SPDX-License-Identifier: GPL-2.0-or-later
"""I11, a small lockdep: classes of locks, the order in which they nest, and the contexts that take them.

A class is a field of a structure, as softnet_data.defer_lock: all CPUs' locks of that name are one. As in
kernel/locking/lockdep.c an order seen once counts for ever, so a run that never deadlocks still shows that it could.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from typing import Any

from softnet.machine import state
from softnet.simulate.invariants_watch import Watch

IN_HARDIRQ, HARDIRQS_ON, IN_SOFTIRQ, SOFTIRQS_ON = 1, 2, 4, 8


class LockChecks:
    """The checks of I11 over one image."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.rt = bool(watch.image.program.constants.get("CONFIG_PREEMPT_RT", 0))
        self.tables = sorted(
            (t.base, t.stride, t.count, name) for name, t in watch.image.layout.tables.items()
        )
        self.bases = [t[0] for t in self.tables]
        self.fields: dict[str, dict[int, tuple[str, bool]]] = {}
        self.held: dict[int, list[tuple[int, str, bool]]] = {}
        """Context -> locks it holds: address, class, raw."""
        self.after: dict[str, dict[str, str]] = {}
        """Class -> classes taken while it was held, and by whom first."""
        self.usage: dict[str, int] = {}
        self.said: set[tuple[str, ...]] = set()
        watch.around("spin_acquire", before=lambda args: self._acquire(args[0]._a, blocking=True))
        watch.around("rt_spin_lock", before=lambda args: self._acquire(args[0]._a, blocking=True, sleeps=True))
        watch.around("spin_trylock", after=self._tried)
        watch.around("spin_release", before=self._release)
        watch.around("rt_release", before=self._release)

    def lock_class(self, address: int) -> tuple[str, bool]:
        """Name of a lock's class, and whether it spins on PREEMPT_RT, too."""
        at = bisect.bisect_right(self.bases, address) - 1
        base, stride, count, struct = self.tables[max(at, 0)]
        offset = (address - base) % stride
        if at < 0 or address >= base + stride * count:
            return f"the lock at {address:#x}", False
        if struct not in self.fields:
            self.fields[struct] = dict(self._locks(struct, 0, struct))
        return self.fields[struct].get(offset, (f"{struct}+{offset}", False))

    def _locks(self, struct: str, at: int, path: str) -> Iterator[tuple[int, tuple[str, bool]]]:
        structs = self.watch.image.layout.structs
        for f in structs[struct].fields.values():
            if not f.embedded:
                continue
            for i in range(f.count):
                here = at + f.offset + i * structs[f.type].size
                if f.type in ("spinlock_t", "raw_spinlock_t", "local_lock_t"):
                    yield here, (f"{path}.{f.name}", f.type == "raw_spinlock_t")
                else:
                    yield from self._locks(f.type, here, f"{path}.{f.name}")

    def _once(self, key: tuple[str, ...], what: str) -> None:
        if key not in self.said:
            self.said.add(key)
            self.watch.violation("I11", what)

    def _acquire(self, address: int, *, blocking: bool, sleeps: bool = False) -> None:
        ctx = self.watch.ctx()
        name, raw = self.lock_class(address)
        held = self.held.setdefault(ctx, [])
        if blocking:
            for _, other, _ in held:
                self._order(other, name, ctx)
        if sleeps:
            self._may_sleep(name, held, ctx)
        else:
            self._use(name, ctx)
        held.append((address, name, raw))

    def _tried(self, args: tuple[Any, ...], taken: Any) -> None:
        if taken:
            name, raw = self.lock_class(args[0]._a)
            self.held.setdefault(self.watch.ctx(), []).append((args[0]._a, name, raw))

    def _release(self, args: tuple[Any, ...]) -> None:
        held = self.held.get(self.watch.ctx(), [])
        for i in range(len(held) - 1, -1, -1):
            if held[i][0] == args[0]._a:
                del held[i]
                return

    def _order(self, first: str, then: str, ctx: int) -> None:
        """``then`` is taken under ``first``: somewhere else it may not be the other way round."""
        if then in self.after.setdefault(first, {}):
            return
        who = self.watch.describe(ctx)
        back = self._path(then, first)
        self.after[first][then] = who
        if back:
            text = f"{who} takes {then} while it holds another lock of that class"
            if len(back) > 1:
                other = f"{' then '.join(back)} (first by {self.after[back[0]][back[1]]})"
                text = f"{who} takes {then} while it holds {first}; elsewhere the order is {other}"
            self._once(("order", first, then), text)

    def _path(self, start: str, end: str) -> list[str]:
        """A chain of nested classes from ``start`` to ``end``; empty when there is none."""
        stack, seen = [[start]], {start}
        while stack:
            path = stack.pop()
            if path[-1] == end:
                return path
            for name in self.after.get(path[-1], {}):
                if name not in seen:
                    seen.add(name)
                    stack.append([*path, name])
        return []

    def _may_sleep(self, name: str, held: list[tuple[int, str, bool]], ctx: int) -> None:
        """A PREEMPT_RT spinlock sleeps: __might_resched() of its rtlock_might_resched()."""
        watch = self.watch
        why = ""
        raw = next((other for _, other, is_raw in held if is_raw), "")
        if raw:
            why = f"it holds the raw lock {raw}"
        elif watch.in_hardirq():
            why = "it is a hard interrupt"
        elif watch.irqs_off():
            why = "interrupts are off"
        elif watch.preempt_count() & 0xFF:
            why = "preemption is off"
        if why:
            self._once(
                ("sleep", name, why), f"{watch.describe(ctx)} takes the sleeping lock {name}, but {why}"
            )

    def _use(self, name: str, ctx: int) -> None:
        """A spinning lock that interrupts take must never be held with them on: the holder would be spun upon for ever."""
        watch = self.watch
        count = watch.preempt_count()
        bits = 0 if watch.irqs_off() else HARDIRQS_ON
        if count & state.HARDIRQ_MASK:
            bits |= IN_HARDIRQ
        elif not self.rt:
            if count & state.SOFTIRQ_OFFSET:
                bits |= IN_SOFTIRQ
            elif bits and not count & state.SOFTIRQ_MASK:
                bits |= SOFTIRQS_ON
        was = self.usage.get(name, 0)
        new = self.usage[name] = was | bits
        who = watch.describe(ctx)
        if new != was:
            if new & IN_HARDIRQ and new & HARDIRQS_ON:
                self._once(
                    ("irq", name),
                    f"{name} is taken in hard interrupts and, by {who} or another, with interrupts on",
                )
            if new & IN_SOFTIRQ and new & SOFTIRQS_ON:
                self._once(
                    ("bh", name),
                    f"{name} is taken in softirqs and, by {who} or another, with bottom halves on",
                )
