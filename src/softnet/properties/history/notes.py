# SPDX-License-Identifier: GPL-2.0-or-later
"""How the invariants note what does not hold, and sets of numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import BUG_ON, observer
from softnet.lang.intrinsics import table

if TYPE_CHECKING:
    from softnet.machine.globals import hw
    from softnet.machine.state import cpu_hw
    from softnet.properties.history.words import CK_KNOWN, CK_MEMBERS, ck_env, ck_found, ck_set


@observer
def ck_report(row: int, text: int, cpu: int, time_ns: int) -> bool:
    """Count what does not hold; whether it is the first of its kind, whose arguments are kept."""
    found = table(ck_found, row)
    found.count += 1
    if found.count > 1:
        return False
    found.time_ns = time_ns
    found.cpu = cpu
    found.text = text
    return True


@observer
def ck_stop(row: int) -> None:
    """Strict checks stop here, unless the real kernel has it as well."""
    BUG_ON(table(ck_env, 0).strict != 0 and row < CK_KNOWN)


@observer
def ck_say(row: int, text: int, a: int, b: int, c: int, d: int) -> None:
    """Something does not hold here and now."""
    ck_say_at(row, text, hw.cpu, hw.now, a, b, c, d)


@observer
def ck_say_at(row: int, text: int, cpu: int, time_ns: int, a: int, b: int, c: int, d: int) -> None:
    """Something does not hold on that CPU at that time."""
    if ck_report(row, text, cpu, time_ns):
        found = table(ck_found, row)
        found.args[0] = a
        found.args[1] = b
        found.args[2] = c
        found.args[3] = d
    ck_stop(row)


@observer
def ck_preempt_count() -> int:
    """The preemption counter of the CPU that runs."""
    return table(cpu_hw, hw.cpu).preempt_count


@observer
def ck_insert(first_row: int, member: int) -> bool:
    """Put a number into the set that begins at a row; whether it was not in it."""
    piece = table(ck_set, first_row + member // CK_MEMBERS)
    word = member % CK_MEMBERS // 32
    bit = 1 << (member % 32)
    if piece.bits[word] & bit != 0:
        return False
    piece.bits[word] |= bit
    return True


@observer
def ck_remove(first_row: int, member: int) -> None:
    """Take a number out of the set."""
    piece = table(ck_set, first_row + member // CK_MEMBERS)
    word = member % CK_MEMBERS // 32
    piece.bits[word] &= ~(1 << (member % 32))
