# SPDX-License-Identifier: GPL-2.0-or-later
"""A program: which modules declare what, their text, the layout of structures, what is kept on disk."""
