# SPDX-License-Identifier: GPL-2.0-or-later
"""From the checked tree to the intermediate form (softnet.lang.ir)."""
