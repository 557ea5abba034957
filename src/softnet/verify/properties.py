# SPDX-License-Identifier: GPL-2.0-or-later
"""Which properties a search asks: names and numbers as masks. What they say is softnet.properties.statements'."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from softnet.errors import SoftnetError
from softnet.properties import numbers
from softnet.properties.statements import PROPERTIES, Property
from softnet.verify.inside import cycles

LIVENESS: dict[int, int] = {
    cycles.VX_OWED_FLUSH: numbers.VX_NEVER_FLUSHED,
    cycles.VX_OWED_POLL: numbers.VX_NEVER_POLLED,
    cycles.VX_OWED_SOFTIRQ: numbers.VX_NEVER_RUN,
    cycles.VX_OWED_DRIVER: numbers.VX_NEVER_DONE,
    cycles.VX_OWED_REST: numbers.VX_NO_REST,
}
"""First bit of what vx_owed() finds -> the property."""


def named(asked: Iterable[str], known: Mapping[int, Property] = PROPERTIES, where: str = "--property") -> tuple[str, ...]:
    """The names of the properties that are asked for, by name or by the number of an invariant, such as I6.

    Raises SoftnetError for one that there is not.
    """
    found: list[str] = []
    for text in asked:
        names = [p.name for p in known.values() if text in (p.name, p.invariants)]
        if not names:
            everything = [*dict.fromkeys(p.invariants for p in known.values() if p.invariants), *(p.name for p in known.values())]
            near = difflib.get_close_matches(text, everything, 1, 0.5)
            raise SoftnetError("no such property", where=where, found=text, expected=", ".join(everything),
                               hint=f"did you mean {near[0]!r}?" if near else "")  # fmt: skip
        found += [name for name in names if name not in found]
    return tuple(found)


def properties_mask(names: Iterable[str], known: Mapping[int, Property] = PROPERTIES, without: Iterable[str] = ()) -> int:
    """The bits of the named properties, of all for no name, less those ``without``. Raises SoftnetError for an unknown one."""
    asked = set(named(names, known)) or {p.name for p in known.values()}
    asked -= set(named(without, known, "--without"))
    return sum(1 << number for number, p in known.items() if p.name in asked)
