# SPDX-License-Identifier: GPL-2.0-or-later
"""Observers of every run, in the restricted Python: one text, which both engines run at the same places
(softnet.lang.program.observe). Those that hold a run to the invariants are softnet.properties.history.
"""

from __future__ import annotations

OBSERVER_MODULES = ("softnet.simulate.observers.squeeze",)
"""Linked behind the modules of every kernel."""
