# SPDX-License-Identifier: GPL-2.0-or-later
"""net/core/net-procfs.c (6.1): how many columns /proc/net/softnet_stat has; softnet.image.readout prints them."""

from __future__ import annotations

SOFTNET_STAT_COLUMNS = 13
