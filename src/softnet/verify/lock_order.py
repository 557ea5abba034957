# SPDX-License-Identifier: GPL-2.0-or-later
"""Lock order, as lockdep keeps it: which class of locks was held while which was taken, over the whole search."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from softnet.verify.model import Leaf


@dataclass(frozen=True)
class Locks:
    """All locks of a machine by the addresses of their owners, and their classes: the field that holds them."""

    addresses: tuple[int, ...]
    class_of: tuple[int, ...]
    classes: tuple[str, ...]

    @classmethod
    def of(cls, leaves: Mapping[int, Leaf]) -> Locks:
        """The locks among a machine's words."""
        found = [
            (a, f"{leaf.table}.{leaf.path.removesuffix('.owner')}")
            for a, leaf in sorted(leaves.items())
            if leaf.what == "spinlock_t.owner"
        ]
        classes = tuple(sorted({name for _, name in found}))
        return cls(tuple(a for a, _ in found), tuple(classes.index(name) for _, name in found), classes)

    @property
    def words(self) -> int:
        """The words of the table and of the matrix."""
        return 2 * len(self.addresses) + len(self.classes) ** 2

    def table(self) -> list[int]:
        """Address and class of each, then the matrix, nothing seen."""
        rows = [word for pair in zip(self.addresses, self.class_of, strict=True) for word in pair]
        return rows + [-1] * len(self.classes) ** 2

    def cycle(self, matrix: Sequence[int]) -> tuple[str, int] | None:
        """The first cycle among the classes in words, and the latest step that it needs; None if there is an order."""
        n = len(self.classes)
        for start in range(n):
            trail = self._back_to(matrix, start, (start,))
            if trail is not None:
                held = " -> ".join(self.classes[c] for c in trail)
                return f"locks are taken in a circle, each under the one before it: {held}", max(
                    matrix[a * n + b] for a, b in itertools.pairwise(trail)
                )
        return None

    def _back_to(self, matrix: Sequence[int], start: int, trail: tuple[int, ...]) -> tuple[int, ...] | None:
        n = len(self.classes)
        for following in range(n):
            if matrix[trail[-1] * n + following] < 0:
                continue
            if following == start:
                return (*trail, start)
            if following not in trail:
                found = self._back_to(matrix, start, (*trail, following))
                if found is not None:
                    return found
        return None
