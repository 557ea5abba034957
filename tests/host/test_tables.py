# SPDX-License-Identifier: GPL-2.0-or-later
"""The header of /proc/interrupts says whose the columns are; one that no kernel writes is refused with its line."""

from __future__ import annotations

import pytest

from softnet.errors import HostError
from softnet.host.text import cpu_table


def test_the_columns_are_those_of_the_header() -> None:
    table, rest = cpu_table("      CPU1   CPU8\n NMI:   3   4   Non-maskable interrupts\n", "interrupts")
    assert (table.cpus, table.rows, rest) == ([1, 8], {"NMI": [3, 4]}, {"NMI": "Non-maskable interrupts"})


@pytest.mark.parametrize("header", ["CPU8 CPU1", "CPU1 CPU1", "CPU0 CPU99999", "CPU0 x", ""])
def test_a_header_that_no_kernel_writes_is_refused(header: str) -> None:
    with pytest.raises(HostError) as caught:
        cpu_table(f"\n{header}\n NMI: 3 4\n" if header else "", "interrupts", 7)
    assert caught.value.where.startswith("interrupts")
