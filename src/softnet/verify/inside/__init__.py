# SPDX-License-Identifier: GPL-2.0-or-later
"""What runs inside a search, in the restricted Python: the searches, drivers, stand-ins, properties."""
