# SPDX-License-Identifier: GPL-2.0-or-later
"""List links are shared: every access to one is a stop."""

from __future__ import annotations

from softnet.lang import Struct, shared


class list_head(Struct, extends=True):
    next: list_head = shared()
    prev: list_head = shared()
