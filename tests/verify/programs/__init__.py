# SPDX-License-Identifier: GPL-2.0-or-later
"""Small random programs for the explorer, and an explorer of their own that shares nothing with it."""
