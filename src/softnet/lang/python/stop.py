# SPDX-License-Identifier: GPL-2.0-or-later
"""What ends a run inside a kernel function."""

from __future__ import annotations


class KernelStop(Exception):
    """The run must stop inside a kernel function: BUG_ON, a broken lock rule, an index out of range."""

    def __init__(self, message: str, where: str) -> None:
        super().__init__(message, where)
        self.message = message
        self.where = where

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"
