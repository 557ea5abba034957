# SPDX-License-Identifier: GPL-2.0-or-later
"""Without properties of a user's nothing is asked; softnet.verify.user_properties.dispatcher() writes these functions anew."""

from __future__ import annotations

from softnet.lang import hwfunc


@hwfunc
def vx_user_state() -> int:
    """A mask of the user's properties that are false in this state."""
    return 0


@hwfunc
def vx_user_terminal() -> int:
    """A mask of those that are false where nothing can happen any more."""
    return 0


@hwfunc
def vx_user_pending() -> int:
    """A mask of those that are false now and must not be for ever."""
    return 0
