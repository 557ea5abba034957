# SPDX-License-Identifier: GPL-2.0-or-later
"""What ftrace writes: pages of its ring buffer, files of trace-cmd, text. For the lab's guests and for live machines."""
