# SPDX-License-Identifier: GPL-2.0-or-later
"""The functions as plain Python, for the reference engine."""
