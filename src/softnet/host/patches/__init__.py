# SPDX-License-Identifier: GPL-2.0-or-later
"""What the model runs in place of its own senders and hogs when a recording is replayed."""
