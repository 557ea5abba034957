# SPDX-License-Identifier: GPL-2.0-or-later
"""One method for each type of a tree's or a form's nodes, checked when the class is defined."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Generic, TypeVar

Result = TypeVar("Result")


class Dispatch(Generic[Result]):
    """``visit(node)`` calls the method for the node's type: ``on_aug_assign(node)`` for an AugAssign.

    ``over`` names the types. A class that has no method for one of them, and no ``otherwise(node)`` that takes the rest, cannot
    be defined; neither can one with a method for a type that is not among them. ``abstract``: subclasses have the methods.
    """

    over: ClassVar[tuple[type, ...]] = ()
    _methods: ClassVar[dict[type, Callable[..., Any]]] = {}

    def __init_subclass__(cls, *, over: Iterable[type] = (), abstract: bool = False) -> None:
        super().__init_subclass__()
        cls.over = tuple(over) or cls.over
        names = {method_name(kind): kind for kind in cls.over}
        found = {name for name in dir(cls) if name.startswith("on_")}
        missing = [] if cls.otherwise is not Dispatch.otherwise else [name for name in names if name not in found]
        if not abstract and (missing or not found <= names.keys()):
            odd = [*(f"no {name}()" for name in missing), *(f"{name}() is for no type" for name in sorted(found - names.keys()))]
            raise TypeError(f"{cls.__name__}: {', '.join(odd)}")
        cls._methods = {kind: getattr(cls, name) for name, kind in names.items() if name in found}

    def visit(self, node: Any) -> Result:
        """What the node's method gives."""
        method = self._methods.get(type(node))
        result: Result = self.otherwise(node) if method is None else method(self, node)
        return result

    @classmethod
    def has_method(cls, node: object) -> bool:
        """Whether the node's type has a method of its own."""
        return type(node) in cls._methods

    def otherwise(self, node: Any) -> Result:
        """A node without a method of its own."""
        raise TypeError(f"{type(self).__name__} does not know {type(node).__name__}")


def method_name(kind: type) -> str:
    """The method for a type: ``on_bit_length`` for BitLength."""
    return "on_" + re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower()
