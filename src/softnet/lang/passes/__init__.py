# SPDX-License-Identifier: GPL-2.0-or-later
"""Analyses of the intermediate form, and what follows from them."""
