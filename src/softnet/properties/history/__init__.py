# SPDX-License-Identifier: GPL-2.0-or-later
"""The invariants I1 to I13 where they need memory of what was: observers that a checked run links beside the kernel.

They keep what they remember in tables of their own behind the kernel's (``words``), ask the predicates of softnet.properties.state
between contexts, and note what does not hold as numbers (words.ck_found). softnet.simulate.invariants lays the tables out, asks for
the last look, and puts the numbers into words.
"""

from __future__ import annotations

_PROPERTIES = "softnet.properties"

CHECK_MODULES = (
    f"{_PROPERTIES}.state",
    *(f"{_PROPERTIES}.history.{name}" for name in ("words", "notes", "napi", "defer", "skb", "calls", "locks", "hooks")),
)
"""Linked behind the modules of a kernel when a run is checked."""

WHERE_MODULES = {False: (f"{_PROPERTIES}.where",), True: (f"{_PROPERTIES}.where", f"{_PROPERTIES}.where_nodes")}
"""Whether there is a defer list for each NUMA node -> what says where it is. Linked below a user's patches when a run is checked:
a patch may say otherwise."""

KICK_MODULES = {False: (f"{_PROPERTIES}.kick",), True: (f"{_PROPERTIES}.kick_work",)}
"""Whether the defer list is kicked by a work item -> the module that knows it in flight."""
