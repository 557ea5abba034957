# SPDX-License-Identifier: GPL-2.0-or-later
"""The explorer's back ends: where a context stops, frames in memory, LLVM, C, plain Python."""
