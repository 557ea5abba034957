# SPDX-License-Identifier: GPL-2.0-or-later
"""The functions as native code, by LLVM."""
