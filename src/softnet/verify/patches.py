# SPDX-License-Identifier: GPL-2.0-or-later
"""What a user's patch changes, in words; a patch that changes nothing, or not what it seems to, is refused."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING

from softnet.errors import SoftnetError
from softnet.lang import Struct
from softnet.lang.program.program import constant_names

if TYPE_CHECKING:
    from softnet.lang.program.program import Program

Patch = tuple[str, ModuleType]
"""A module of the user's, and what it is called."""

ASKED = ("verify_task",)
"""Functions that the harness calls in a patch, besides those of softnet.properties.where."""


@dataclass
class Changes:
    """What one patch file does to the kernel below it."""

    path: str
    replaced: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    structures: list[str] = field(default_factory=list)
    constants: list[str] = field(default_factory=list)
    properties: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    """Functions among the added that nothing calls."""

    @property
    def nothing(self) -> bool:
        """Whether the kernel is the same with the patch as without."""
        used = [name for name in self.added if name not in self.unused]
        return not (self.replaced or used or self.structures or self.constants or self.properties)

    def __str__(self) -> str:
        parts = []
        if self.replaced:
            parts.append(f"replaces {_many(self.replaced, 'function')}")
        if self.added:
            parts.append(f"adds {_many(self.added, 'function')}" if not parts else f"adds {len(self.added)}")
        if self.structures:
            parts.append(f"changes {_many(self.structures, 'structure')}")
        if self.constants:
            parts.append(f"changes {_many(self.constants, 'constant')}")
        if self.properties:
            parts.append(f"declares {_many(self.properties, 'property', 'properties')}")
        unused = f"; nothing calls {', '.join(f'{name}()' for name in self.unused)}" if self.unused else ""
        return f"{self.path}: {', '.join(parts)}{unused}"


def _many(names: Sequence[str], what: str, plural: str = "") -> str:
    return f"{len(names)} {what if len(names) == 1 else plural or what + 's'}"


def changes_of(program: Program, patches: Sequence[Patch], below: Sequence[ModuleType]) -> list[Changes]:
    """What each patch changes. Raises SoftnetError for one that changes nothing, and for mistakes that would pass in silence."""
    called = {name for d in program.functions.values() for name in _names_in(d.function.__code__)}
    found = []
    for path, patch in patches:
        changes = _changes(program, patch, path, called, below)
        if changes.nothing:
            added = ", ".join(f"{name}()" for name in changes.added)
            raise SoftnetError(
                "the patch changes nothing",
                where=path,
                found=f"{added}, which nothing calls" if added else "no function, structure, constant or property",
                expected="@kfunc above a function with the name of one of the kernel's",
                hint=_hint(changes.added, program),
            )
        found.append(changes)
    return found


def _hint(names: Iterable[str], program: Program) -> str:
    """What a misspelt name may have meant."""
    kernel = [n for n, d in program.functions.items() if d.module.startswith("softnet.")]
    near = [difflib.get_close_matches(name, kernel, 1, 0.6) for name in names]
    return f"did you mean {', '.join(n[0] + '()' for n in near if n)}?" if any(near) else ""


def _names_in(code: object) -> tuple[str, ...]:
    return tuple(getattr(code, "co_names", ()))


def _changes(program: Program, patch: ModuleType, path: str, called: set[str], below: Sequence[ModuleType]) -> Changes:
    changes = Changes(path)
    for name, value in vars(patch).items():
        if getattr(value, "__module__", None) != patch.__name__:
            continue
        if isinstance(value, type) and issubclass(value, Struct):
            changes.structures.append(name)
        elif hasattr(value, "__softnet_claim__"):
            changes.properties.append(name)
        elif hasattr(value, "__softnet_kind__"):
            if program.overridden.get(name, (patch.__name__,))[0] != patch.__name__:
                changes.replaced.append(name)
                continue
            changes.added.append(name)
            if name not in called and name not in ASKED:
                changes.unused.append(name)
        elif isinstance(value, FunctionType) and name in program.functions:
            raise SoftnetError(
                "a function with the name of one of the kernel's is not marked, so it changes nothing",
                where=f"{path}:{value.__code__.co_firstlineno}",
                found=f"def {name}()",
                expected=f"@{program.functions[name].kind} above it",
            )
    own = [name for name in constant_names(str(patch.__file__)) if name in vars(patch)]
    changes.constants = [name for name in own if any(isinstance(vars(module).get(name), int) for module in below)]
    return changes


def refuse_anew(patches: Sequence[Patch], below: Sequence[ModuleType]) -> None:
    """Raises SoftnetError for a structure of the kernel that a patch declares anew, which loses its other fields."""
    kernel = {
        name
        for module in below
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Struct) and value.__module__ == module.__name__
    }
    for path, patch in patches:
        for name, value in vars(patch).items():
            own = isinstance(value, type) and issubclass(value, Struct) and value.__module__ == patch.__name__
            if own and name in kernel and not value._extends:
                raise SoftnetError(
                    "a structure of the kernel is declared anew, without its other fields",
                    where=path,
                    found=f"class {name}(Struct)",
                    expected=f"class {name}(Struct, extends=True)",
                    hint="with extends=True the fields are added to the kernel's structure, or declared otherwise there",
                )
