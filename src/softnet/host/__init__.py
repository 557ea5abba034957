# SPDX-License-Identifier: GPL-2.0-or-later
"""A live machine: its receive path read from /proc and /sys, or from what somebody sends, and judged. Nothing is changed."""
