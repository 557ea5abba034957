# SPDX-License-Identifier: GPL-2.0-or-later
"""A booted machine in memory, made once from a program and a scenario: what simulation, search and trace checker begin with."""
