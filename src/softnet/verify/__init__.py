# SPDX-License-Identifier: GPL-2.0-or-later
"""The explorer: every interleaving of small configurations, properties, counterexamples."""

from softnet.verify.user_properties import always, eventually, in_the_end

__all__ = ["always", "eventually", "in_the_end"]
