# SPDX-License-Identifier: GPL-2.0-or-later
"""Is it the restricted Python? Names, types, flow; all messages are in diagnostic.py."""
