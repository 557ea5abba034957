# SPDX-License-Identifier: GPL-2.0-or-later
"""Is it the restricted Python? Names, types, flow; every message stands in diagnostic.py."""
