# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest records, and how its ring buffers become records."""
