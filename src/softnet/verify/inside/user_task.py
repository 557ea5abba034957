# SPDX-License-Identifier: GPL-2.0-or-later
"""What the driver *call* runs: a patch file of the user's defines it anew."""

from __future__ import annotations

from softnet.lang import kfunc


@kfunc
def verify_task(number: int) -> None:
    """A task of the search, on the driver's CPU; ``number`` is the driver's, to tell several apart."""
