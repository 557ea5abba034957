# SPDX-License-Identifier: GPL-2.0-or-later
"""The explorer: every interleaving of a small configuration of the kernel's functions, and the schedule that breaks it."""
