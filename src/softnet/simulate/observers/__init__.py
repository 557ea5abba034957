# SPDX-License-Identifier: GPL-2.0-or-later
"""Observers in the restricted Python: one text, which both engines run at the same places (softnet.lang.program.observe).

``squeeze`` counts what the kernel does not tell apart, in every run. The others are the invariants I1 to I13: they keep what they
remember in tables of their own behind the kernel's and note what does not hold as numbers (words.ck_found);
softnet.simulate.invariants lays the tables out, asks for the last look, and puts the numbers into words.
"""

from __future__ import annotations

_PACKAGE = "softnet.simulate.observers"

OBSERVER_MODULES = (f"{_PACKAGE}.squeeze",)
"""Linked behind the modules of every kernel."""

CHECK_MODULES = (
    "softnet.properties.state",
    *(f"{_PACKAGE}.{name}" for name in ("words", "notes", "napi", "defer", "skb", "calls", "locks", "hooks")),
)
"""Linked behind those when a run is checked."""

WHERE_MODULES = ("softnet.properties.where",)
"""Linked below a user's patches when a run is checked: a patch may say otherwise."""

KICK_MODULES = {False: ("softnet.properties.kick",), True: ("softnet.properties.kick_work",)}
"""Whether the defer list is kicked by a work item -> the module that knows it in flight."""
