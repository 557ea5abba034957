# SPDX-License-Identifier: GPL-2.0-or-later
"""A program's native code: from the cache, or checked, lowered, compiled by LLVM and put there."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from softnet.errors import SoftnetError
from softnet.lang.native.loader import Flat, Loaded, flatten, loadable
from softnet.lang.program import cache
from softnet.lang.program.digest import program_digest
from softnet.lang.program.memo import PACKAGE
from softnet.lang.program.program import Program


@dataclass(frozen=True)
class Options:
    """How to compile; every option is part of the cache's key."""

    checked: bool = False
    """Overflow and raw addresses are checked in softnet's own functions too, not only in a user's, and what
    passes.redundant drops."""
    run_ahead: bool = True
    """A context goes on past an interaction point if no other actor acts before its time; without, it gives way at every point."""
    count_points: bool = False
    """Interaction points are counted, for the benchmarks; those that native code drops are counted, too."""
    checks: bool = False
    """Accesses to guarded fields check their lock."""
    polls: tuple[str, ...] = ()
    """The functions by which NAPIs are polled, for the observers of a checked run."""
    optimise: int = 1


@dataclass(frozen=True)
class Place:
    """A position that a failing run names."""

    function: str
    file: str
    line: int
    column: int
    what: str


class Code:
    """Native code in memory; ``about`` is its description in the cache."""

    def __init__(self, code: bytes, about: dict[str, Any], from_cache: bool) -> None:
        self.from_cache = from_cache
        self.about = about
        flat = about["flat"]
        self.address: Callable[[str], int] = (
            Loaded(Flat(code, flat["absolute"], flat["exports"])).address if flat else _load_object(code)
        )
        """The address of an exported function by its name."""


class Native:
    """A program's code: its entry points as addresses, and the places that its failures name."""

    def __init__(self, program: Program, code: Code) -> None:
        self.from_cache = code.from_cache
        self.address = code.address
        self._program = program
        self._places: list[list[Any]] = code.about["positions"]

    def place(self, number: int) -> Place | None:
        """The position with that number, None for none."""
        if not 0 <= number < len(self._places):
            return None
        function, line, column, what = self._places[number]
        # The file is the one that this program was loaded from: an entry of the cache may come from a copy of it.
        return Place(function, self._program.functions[function].file, line, column, what)


def _load_object(code: bytes) -> Callable[[str], int]:
    """Load an object file that flatten() does not know."""
    from softnet.lang.native.build import binding, target_machine

    llvm = binding()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target_machine(2))
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return lambda name: int(engine.get_function_address(name))


def available() -> str:
    """Empty if native code can be made here, else the reason why not."""
    from softnet.lang.native.switch_runtime import supported

    if not supported():
        return f"stacks cannot be switched on {platform.machine()}"
    if importlib.util.find_spec("llvmlite") is None:
        return "llvmlite is not installed: pip install llvmlite"
    return ""


def compile_program(
    program: Program, costs: Mapping[str, int], events: Mapping[str, int], options: Options | None = None
) -> Native:
    """The native code of a program.

    ``costs`` maps a cost's name to its row, ``events`` an event's name to its number. Raises SubsetErrors for mistakes in
    the functions, SoftnetError where native code cannot be made.
    """
    options = options or Options()
    reason = available()
    if reason:
        raise SoftnetError("no native engine", found=reason, hint="--engine reference runs the same functions")
    key = cache_key(program, costs, events, options)

    def write() -> tuple[str, dict[str, Any]]:
        text, positions = native_text(program, costs, events, options)
        rt = ", PREEMPT_RT" if program.constants.get("CONFIG_PREEMPT_RT") else ""
        label = f"{len(program.modules)} modules up to {program.modules[-1]}{rt}"
        return text, {
            "positions": positions,
            "functions": len(program.functions),
            "label": label,
            "options": vars(options),
        }

    return Native(program, native_code(key, options.optimise, write))


def native_code(key: str, optimise: int, write: Callable[[], tuple[str, dict[str, Any]]]) -> Code:
    """The code in the cache under ``key``; if there is none, that of the text and description which ``write`` gives."""
    found = cache.load(key)
    if found is not None:
        return Code(found[1], found[0], from_cache=True)
    with cache.turn(key):
        found = cache.load(key)
        if found is not None:
            return Code(found[1], found[0], from_cache=True)
        code, about = _build(optimise, write)
        cache.store(key, about, code)
    return Code(code, about, from_cache=False)


class Packed(NamedTuple):
    """A program's code, to be sent to another process or machine: what it is of, and the entry of the cache."""

    what: dict[str, Any]
    about: dict[str, Any]
    code: bytes


def pack(program: Program, costs: Mapping[str, int], events: Mapping[str, int], options: Options | None = None) -> Packed | None:
    """A program's code, which is made if the cache does not have it. None where there is no cache to keep it in.

    Raises as compile_program().
    """
    options = options or Options()
    key = cache_key(program, costs, events, options)
    found = cache.load(key)
    if found is None:
        compile_program(program, costs, events, options)
        found = cache.load(key)
    return None if found is None else Packed(_decided_by(program, costs, events, options), *found)


def unpack(packed: Packed) -> bool:
    """Put code that a builder of the same kind (``builder_kind()``) made into this machine's cache; whether it is there."""
    key = _hashed({**packed.what, **_made_by()})
    return cache.load(key) is not None or cache.store(key, packed.about, packed.code)


def builder_kind() -> str:
    """Where code is made that runs here, too: the hash of softnet's compiler, Python, LLVM and the processor.

    Unlike the cache's key it does not take in when LLVM was installed. Empty where no native code can be made.
    """
    if available():
        return ""
    libraries = [row[:2] for row in _compiler_identity()]
    return _hashed({"python": sys.version_info[:3], "llvm": libraries, "cpu": _processor_identity(), "lang": PACKAGE.hex()})


def cache_key(program: Program, costs: Mapping[str, int], events: Mapping[str, int], options: Options) -> str:
    """The hash of all that decides the code."""
    return _hashed({**_decided_by(program, costs, events, options), **_made_by()})


def _decided_by(program: Program, costs: Mapping[str, int], events: Mapping[str, int], options: Options) -> dict[str, Any]:
    return {"program": program_digest(program), "costs": dict(costs), "events": dict(events), "options": vars(options)}


def _made_by() -> dict[str, Any]:
    return {"python": sys.version_info[:3], "llvm": _compiler_identity(), "cpu": _processor_identity()}


def _hashed(parts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def builder_identity() -> str:
    """What decides the code of a given text: softnet's compiler, LLVM and the processor."""
    return json.dumps([PACKAGE.hex(), _compiler_identity(), _processor_identity()])


@functools.cache
def _compiler_identity() -> list[Any]:
    """Which LLVM: llvmlite's library by size and time, because asking LLVM itself would import it."""
    spec = importlib.util.find_spec("llvmlite")
    folder = Path(str(spec.origin)).parent / "binding" if spec is not None else Path()
    return [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in sorted(folder.glob("lib*"))]


@functools.cache
def _processor_identity() -> str:
    """For which processor: what /proc/cpuinfo says of the first one; where there is none, what LLVM says."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            words = dict(line.split(":", 1) for line in file.read(8192).split("\n\n")[0].splitlines() if ":" in line)
        named = {key.strip(): value.strip() for key, value in words.items()}
        return json.dumps([named[key] for key in ("vendor_id", "cpu family", "model", "model name", "flags")])
    except (OSError, KeyError):
        from softnet.lang.native.build import binding

        llvm = binding()
        return f"{llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"


def native_text(
    program: Program, costs: Mapping[str, int], events: Mapping[str, int], options: Options
) -> tuple[str, list[list[Any]]]:
    """LLVM's text of a program and the positions that it names."""
    from softnet.lang.check.subset import typed_program
    from softnet.lang.lowering.lower import lower_program
    from softnet.lang.native.llvm import emit_module
    from softnet.lang.native.switch_runtime import runtime_text
    from softnet.lang.passes.redundant import drop_redundant

    typed = program.typed.value or typed_program(program)
    program.typed.value = None  # it holds all trees of the program
    module = lower_program(typed, costs, events, checks=options.checks, polls=options.polls)
    drop_redundant(module, counted=options.count_points, checked=options.checked)
    text = emit_module(module, checked=options.checked, run_ahead=options.run_ahead, count_points=options.count_points)
    positions: list[list[Any]] = [[p.function, p.line, p.column, p.what] for p in text.positions]
    return runtime_text(module) + "\n".join(text.lines), positions


def _build(optimise: int, write: Callable[[], tuple[str, dict[str, Any]]]) -> tuple[bytes, dict[str, Any]]:
    from softnet.lang.native.build import BackgroundCompiler, binding, build
    from softnet.lang.native.partition import cut

    binding()
    if optimise and loadable():
        with BackgroundCompiler(optimise) as background:
            text, about = write()
            mine, other = cut(text, 2)
            background.begin(other)
            objects = [build(mine, optimise), background.result()]
    else:
        text, about = write()
        objects = [build(text, optimise)]
    flat = flatten(*objects) if loadable() else None
    about = {**about, "flat": {"absolute": flat.absolute, "exports": flat.exports} if flat else None}
    if flat:
        return flat.image, about
    return objects[0] if len(objects) == 1 else build(text, optimise), about
