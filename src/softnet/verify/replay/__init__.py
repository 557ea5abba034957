# SPDX-License-Identifier: GPL-2.0-or-later
"""A counterexample done once more: as a schedule, in plain Python, under a debugger."""
