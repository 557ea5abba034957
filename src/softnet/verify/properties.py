# SPDX-License-Identifier: GPL-2.0-or-later
"""Which properties a search asks: names and numbers as masks. What they say is softnet.properties.statements'."""

from __future__ import annotations

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


def properties_mask(names: Iterable[str], known: Mapping[int, Property] = PROPERTIES) -> int:
    """The bits of the named properties, of all for no name. Raises SoftnetError for a name that there is not."""
    by_name = {p.name: number for number, p in known.items()}
    mask = 0
    for name in names or by_name:
        if name not in by_name:
            raise SoftnetError("no such property", where="--property", found=name, expected=", ".join(sorted(by_name)))
        mask |= 1 << by_name[name]
    return mask
