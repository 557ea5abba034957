# SPDX-License-Identifier: GPL-2.0-or-later
"""A variable that several objects share."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class Cell(Generic[T]):
    """Holds one value. What one holder of the cell puts in, all others see."""

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value = value
