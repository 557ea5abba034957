# SPDX-License-Identifier: GPL-2.0-or-later
"""/proc/net/softnet_stat shows the lengths of the input and the process queue in two more columns, v6.4.

Before, column 12 held their sum only. Read in 6.12's net/core/net-procfs.c, absent in 6.1's; posted March 2023.
"""

from __future__ import annotations

PATCH = {
    "commit": "commit not verified",
    "subject": "net-sysfs/procfs: display two backlog queue len separately",
    "since": "6.4",
    "link": "net/core/net-procfs.c of 6.12, softnet_seq_show()",
}

SOFTNET_STAT_COLUMNS = 15
