# SPDX-License-Identifier: GPL-2.0-or-later
"""Play a scenario or a plan on an arm, and what came of it."""
