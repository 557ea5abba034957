# SPDX-License-Identifier: GPL-2.0-or-later
"""Patches of the model that a study applies (``--patch``)."""
