# SPDX-License-Identifier: GPL-2.0-or-later
"""net-sysfs: display two backlog queue len separately.

/proc/net/softnet_stat shows the lengths of the input and the process queue in two more columns. Before, column 12 held their sum
only. Read in 6.12's softnet_seq_show(), absent in 6.1's.
"""

from __future__ import annotations

PATCH = {
    "commit": "59da2d7b0e99",
    "subject": "net-sysfs: display two backlog queue len separately",
    "since": "6.4",
    "link": "https://lore.kernel.org/r/20230315092041.35482-2-kerneljasonxing@gmail.com",
}

SOFTNET_STAT_COLUMNS = 15
