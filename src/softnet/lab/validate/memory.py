# SPDX-License-Identifier: GPL-2.0-or-later
"""Words of a model's image that can be put aside and taken up again, at the price of what was written.

An image has a hundred thousand words and a kernel function writes some twenty of them. So what stood where something
is overwritten is kept; a saved state is the difference to the state that it was made from, and going from one saved
state to another undoes and does again the differences between them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, SupportsIndex


class Noted(list[int]):
    """Words that keep, in ``before``, what stood where they were overwritten."""

    __slots__ = ("before",)

    def __init__(self, words: Iterable[int]) -> None:
        super().__init__(words)
        self.before: dict[int, int] = {}

    def __setitem__(self, at: SupportsIndex | slice, value: Any) -> None:
        if isinstance(at, slice):
            # Laying an image out stores whole runs; kernel functions store words.
            for place, word in zip(range(*at.indices(len(self))), value, strict=True):
                self[place] = word
            return
        before = self.before
        if at not in before:
            before[at] = self[at]  # type: ignore[index]
        list.__setitem__(self, at, value)


class Memory:
    """A saved state: the words that differ from ``parent``, as they were there and as they are here.

    ``told`` has what the driver has read from the state and ``after`` what came of the functions that were run on it, by
    their name and arguments: the same function is tried on the same state again and again.
    """

    __slots__ = ("after", "depth", "parent", "redo", "told", "undo")

    def __init__(self, parent: Memory | None, undo: dict[int, int], redo: dict[int, int]) -> None:
        self.parent = parent
        self.undo = undo
        self.redo = redo
        self.depth: int = parent.depth + 1 if parent is not None else 0
        self.told: object = None
        self.after: dict[tuple[object, ...], tuple[Memory, object, tuple[int, ...]]] = {}

    def __repr__(self) -> str:
        return f"<memory {self.depth} saves after the first>"


class History:
    """The saved states of one image's words; ``at`` is the one that the words stood at last."""

    def __init__(self, words: Noted) -> None:
        self.words = words
        words.before.clear()
        self.at = Memory(None, {}, {})

    def save(self) -> Memory:
        """The state; the one before if nothing is different."""
        words, before = self.words, self.words.before
        if before:
            undo = {at: was for at, was in before.items() if words[at] != was}
            before.clear()
            if undo:
                self.at = Memory(self.at, undo, {at: words[at] for at in undo})
        return self.at

    def load(self, saved: Memory) -> None:
        """Take up a saved state; what was written since the last ``save`` or ``load`` is forgotten."""
        words, put = self.words, list.__setitem__
        if words.before:
            for at, value in words.before.items():
                put(words, at, value)
            words.before.clear()
        here, there = self.at, saved
        if here is there:
            return
        again = []
        while here is not there:
            if here.depth >= there.depth:
                for at, value in here.undo.items():
                    put(words, at, value)
                assert here.parent is not None
                here = here.parent
            else:
                again.append(there)
                assert there.parent is not None
                there = there.parent
        for memory in reversed(again):
            for at, value in memory.redo.items():
                put(words, at, value)
        self.at = saved

    def forget(self, kept: Sequence[Memory]) -> None:
        """Only ``kept``, and what is saved from here on, will be loaded again.

        Each of them becomes a difference from the first. Else two that explain the trace side by side from its beginning
        on are as far apart as the trace is long, and going from one to the other takes longer with every event.
        """
        first = kept[0]
        self.load(first)
        others = []
        for memory in {id(memory): memory for memory in kept[1:] if memory is not first}.values():
            here = {at: self.words[at] for at in self._between(first, memory)}
            self.load(memory)
            redo = {at: self.words[at] for at, value in here.items() if self.words[at] != value}
            others.append((memory, {at: here[at] for at in redo}, redo))
            self.load(first)
        first.parent, first.undo, first.redo, first.depth = None, {}, {}, 0
        # What has been run on them stands at the depth that they had.
        first.after.clear()
        for memory, undo, redo in others:
            memory.parent, memory.undo, memory.redo, memory.depth = first, undo, redo, 1
            memory.after.clear()

    @staticmethod
    def _between(here: Memory, there: Memory) -> set[int]:
        """Where the words of two states can differ."""
        places: set[int] = set()
        while here is not there:
            if here.depth < there.depth:
                here, there = there, here
            places.update(here.undo)
            assert here.parent is not None
            here = here.parent
        return places
