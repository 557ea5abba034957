# SPDX-License-Identifier: GPL-2.0-or-later
"""A program: what a stack of modules declares, collected; later modules override earlier ones by name."""

from __future__ import annotations

import ast
import functools
import linecache
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any, NamedTuple

from softnet.errors import SubsetError
from softnet.lang.cell import Cell
from softnet.lang.declare import EMBED, NOTHING_SAID, Field, FunctionFacts, Kind, Struct
from softnet.lang.program.memo import Derived, derived, nothing_known
from softnet.lang.program.tracepoints import PREFIX, expanded


@dataclass(frozen=True)
class FieldDef:
    """One field: ``type`` is "int", "bool", "fnptr" or a structure's name; ``offset`` in words, set by the layout."""

    name: str
    type: str
    kind: Kind
    line: int
    guard: str
    count: int
    init: int
    where: str
    offset: int = 0
    statistic: bool = False
    decides_turn: bool = False

    @property
    def embedded(self) -> bool:
        """Whether the field holds a structure by value."""
        return self.kind == EMBED

    @property
    def is_ref(self) -> bool:
        """Whether the field holds a reference to a structure."""
        return self.type not in ("int", "bool", "fnptr") and not self.embedded

    def placed(self, offset: int) -> FieldDef:
        """The field at its offset. Every start places hundreds, and dataclasses.replace() takes three times as long."""
        return FieldDef(**{**vars(self), "offset": offset})


class StructDef(NamedTuple):
    """One structure; ``size`` and ``stride`` in words, set by the layout."""

    name: str
    fields: dict[str, FieldDef]
    where: str
    doc: str = ""
    size: int = 0
    stride: int = 0
    per_cpu: bool = False
    settings: bool = False
    engine: bool = False


class FunctionDef(NamedTuple):
    """One function of the stack: ``kind`` is "kfunc", "hwfunc" or "observer"."""

    name: str
    kind: str
    function: Callable[..., Any]
    module: str
    file: str
    line: int
    facts: FunctionFacts = NOTHING_SAID


@dataclass(frozen=True)
class Program:
    """Everything a stack of modules declares: functions, structures and integer constants by name."""

    functions: dict[str, FunctionDef]
    structs: dict[str, StructDef]
    constants: dict[str, int]
    modules: tuple[str, ...]
    overridden: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Function name -> modules that defined it, base first, where there is more than one."""
    derived: Derived = field(default_factory=nothing_known, compare=False, repr=False)
    """What follows from the modules' text, computed once and kept on disk."""
    typed: Cell[Any] = field(default_factory=lambda: Cell(None), compare=False, repr=False)
    """The check.subset.TypedProgram of the check, for a compilation that follows it; None before and after."""
    pointed: tuple[str, ...] | None = None
    """Functions whose address is stored from outside the program's text, sorted; None: any may be. Native code can call through
    a pointer only these and those whose name is used as a value in the text."""


def function_numbers(program: Program) -> dict[str, int]:
    """The number that stands for a function in a pointer. Observers have none, so that observing changes no word."""
    names = sorted(name for name, d in program.functions.items() if d.kind != "observer")
    return {name: number for number, name in enumerate(names, 1)}


def warn_site(function: str, line: int) -> int:
    """The number that a WARN_ON_ONCE records: the same in every engine, different for every place."""
    return zlib.crc32(f"{function}:{line}".encode()) & 0x7FFFFFFF


@functools.cache
def parse_file(file: str) -> ast.Module:
    """The whole file's tree, parsed once: positions are the file's own."""
    text = "".join(linecache.getlines(file))
    tree = ast.parse(text, filename=file)
    return expanded(tree) if PREFIX in text else tree


def constant_names(file: str) -> list[str]:
    """Upper-case names that a file itself assigns at its top level (not what it imports)."""
    found: list[str] = []
    for node in parse_file(file).body:
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign):
            targets = [node.target]
        found += [target.id for target in targets if isinstance(target, ast.Name) and target.id.isupper()]
    return found


def _constants(modules: Sequence[ModuleType], known: Derived) -> dict[str, int]:
    """The integers among them, of a stack of modules; later ones override earlier ones."""
    names = known.get("constants", lambda: [constant_names(str(module.__file__)) for module in modules])
    found: dict[str, int] = {}
    for module, own in zip(modules, names, strict=True):
        for name in own:
            value = getattr(module, name, None)
            if isinstance(value, int):
                found[name] = int(value)
    return found


def _struct_def(cls: type[Struct], base: StructDef | None) -> StructDef:
    module_file = cls.__module__
    where = f"{module_file}.{cls.__name__}"
    fields: dict[str, FieldDef] = dict(base.fields) if base is not None and cls._extends else {}
    for name, annotation in cls.__dict__.get("__annotations__", {}).items():
        value = cls.__dict__.get(name)
        if not isinstance(value, Field):
            if name.startswith("_"):
                continue
            raise SubsetError(
                "a structure's field needs a kind",
                where=f"{where}.{name}",
                found=repr(value),
                expected="shared(), guarded(lock), percpu(), private(), embed() or array(n)",
                hint=f"write: {name}: {annotation} = private()",
            )
        kind_type = str(annotation).strip("'\"")
        fields[name] = FieldDef(
            name, kind_type, value.kind, value.line, value.guard, value.count, value.init, f"{where}.{name}",
            statistic=value.statistic, decides_turn=value.decides_turn,
        )  # fmt: skip
    said = StructDef(cls.__name__, fields, where, (cls.__doc__ or "").strip(),
                     per_cpu=cls._per_cpu, settings=cls._settings, engine=cls._engine)  # fmt: skip
    if base is None or not cls._extends:
        return said
    return said._replace(per_cpu=base.per_cpu, settings=base.settings, engine=base.engine)


def _facts(function: Callable[..., Any], before: FunctionDef | None) -> FunctionFacts:
    """What a definition says; what the one that it overrides said of a kernel function's name stays true."""
    facts: FunctionFacts = function.__softnet_facts__  # type: ignore[attr-defined]
    if before is None or before.kind != "kfunc" or before.facts is NOTHING_SAID:
        return facts
    return replace(facts, entry=facts.entry or before.facts.entry, exclusion=facts.exclusion or before.facts.exclusion)


def collect(modules: Sequence[ModuleType], constants: Mapping[str, int]) -> Program:
    """Collect the declarations of ``modules`` in order; ``constants`` (the configuration) override theirs."""
    functions: dict[str, FunctionDef] = {}
    history: dict[str, list[str]] = {}
    structs: dict[str, StructDef] = {}
    known = derived(modules)
    found = _constants(modules, known)
    for module in modules:
        for name, value in vars(module).items():
            if getattr(value, "__module__", None) != module.__name__:
                continue
            if isinstance(value, type) and issubclass(value, Struct):
                structs[name] = _struct_def(value, structs.get(name))
            elif callable(value) and hasattr(value, "__softnet_kind__"):
                code = value.__code__
                functions[name] = FunctionDef(
                    name,
                    value.__softnet_kind__,
                    value,
                    module.__name__,
                    code.co_filename,
                    code.co_firstlineno,
                    _facts(value, functions.get(name)),
                )
                history.setdefault(name, []).append(module.__name__)
    found.update(constants)
    program = Program(
        functions,
        structs,
        found,
        tuple(m.__name__ for m in modules),
        {name: tuple(where) for name, where in history.items() if len(where) > 1},
        known,
    )
    _check_types(program)
    return program


def _check_types(program: Program) -> None:
    for struct in program.structs.values():
        for f in struct.fields.values():
            if f.type not in ("int", "bool", "fnptr") and f.type not in program.structs:
                raise SubsetError(
                    "unknown type of a structure's field",
                    where=f.where,
                    found=f.type,
                    expected="int, bool, fnptr or a structure of the linked modules",
                    hint="declare the structure with class NAME(Struct) in a module of the stack",
                )
            if f.guard and f.guard not in struct.fields:
                raise SubsetError(
                    "unknown lock of a guarded field",
                    where=f.where,
                    found=f.guard,
                    expected=f"a field of {struct.name}",
                    hint="declare the lock in the same structure",
                )


def with_struct(struct: StructDef, fields: dict[str, FieldDef], size: int, stride: int) -> StructDef:
    """A copy of ``struct`` with its layout filled in."""
    return struct._replace(fields=fields, size=size, stride=stride)
