# SPDX-License-Identifier: GPL-2.0-or-later
"""What can go wrong with a guest, one class per cause, so that a script can tell them apart.

A guest that hangs, one that panics and one that loses its channel are three different findings, and none of
them is a failing experiment. Each class has its own ``kind``, which ``--json`` output carries.
"""

from __future__ import annotations

from softnet.errors import LabError

__all__ = ["LabChannelLost", "LabError", "LabGuestError", "LabHostBusy", "LabMissing", "LabPanic", "LabTimeout", "kind_of"]


class LabMissing(LabError):
    """A program, package or kernel that the lab needs is not here; the hint says how to get it."""


class LabTimeout(LabError):
    """The guest did not finish within its bound and was killed."""


class LabHostBusy(LabTimeout):
    """The same, and the guest waited for the host's CPUs longer than it ran: that says nothing of the guest."""


class LabPanic(LabError):
    """The guest's kernel panicked; the message quotes its last words."""


class LabChannelLost(LabError):
    """The guest went away, or closed its channel, before it said that it was done."""


class LabGuestError(LabError):
    """The guest is well, but what it was asked to do failed there; the message is the guest's own."""


_KINDS: dict[type[LabError], str] = {
    LabMissing: "missing",
    LabTimeout: "timeout",
    LabHostBusy: "host-busy",
    LabPanic: "panic",
    LabChannelLost: "channel-lost",
    LabGuestError: "guest",
}


def kind_of(error: LabError) -> str:
    """The word for this kind of error in machine-readable output."""
    return next((_KINDS[kind] for kind in type(error).__mro__ if kind in _KINDS), "lab")
