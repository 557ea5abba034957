# SPDX-License-Identifier: GPL-2.0-or-later
"""What runs inside the guest. Standard library only, no import from the rest of softnet."""
