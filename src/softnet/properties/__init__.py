# SPDX-License-Identifier: GPL-2.0-or-later
"""What must hold, in one place: for the run-time checks of a simulation and for the explorer alike.

``statements`` says it in words and numbers, ``findings`` what the real kernel breaks, ``numbers`` are the explorer's bits,
``state`` are the predicates on one state that both sides ask, and ``history`` is what a run's checks must remember. ``where`` says
where the kernel's structures are; a patch may say it otherwise.

Restricted Python is linked by name, and one program has all of it: kernel, machine and what looks on. So names that are not the
kernel's begin with a prefix. ``ck_`` is a check: it looks and changes nothing. ``vx_`` is the explorer and its harness.
"""
