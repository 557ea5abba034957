# SPDX-License-Identifier: GPL-2.0-or-later
"""A unified diff as a patch: what a kernel developer writes, against the text that ``softnet source FILE`` prints.

    softnet source net/core/dev.c --kernel 6.12 > dev.c; cp dev.c dev.c.orig; $EDITOR dev.c; diff -u dev.c.orig dev.c > mine.diff

The diff is applied to the kernel in use, with the patches before it, and the definitions that it changes are linked on top. As
with patch(1) a hunk may stand some lines away from where it says, but every line of it must be there. The positions in messages
are those of the changed text, which is called by the diff's name and the kernel's file: ``mine.diff/net/core/dev.c:120``.
"""

from __future__ import annotations
import __future__

import ast
import importlib
import linecache
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import softnet.lang
from softnet.errors import SoftnetError
from softnet.files import read_bounded
from softnet.lang.program.source import forget
from softnet.linux.releases import PATCH_BYTES_MAX, modules_for

if TYPE_CHECKING:
    from softnet.linux.source import Source

_HEADER = re.compile(r"\+\+\+ (?P<name>\S+)")
_HUNK = re.compile(r"@@ -(?P<line>\d{1,9})(?:,(?P<old>\d{1,9}))? \+\d{1,9}(?:,(?P<new>\d{1,9}))? @@", re.ASCII)


@dataclass
class Hunk:
    """One piece of a diff: at which line of the old text, from 1, and the lines with their marks."""

    where: str
    line: int
    body: list[str] = field(default_factory=list)

    @property
    def old(self) -> list[str]:
        """What must be there."""
        return [line[1:] for line in self.body if line[0] != "+"]

    @property
    def new(self) -> list[str]:
        """What it becomes."""
        return [line[1:] for line in self.body if line[0] != "-"]


@dataclass(frozen=True)
class Changed:
    """A file of the kernel after the diff, and the names in it that the diff changes or brings."""

    file: str
    path: str
    """What it is called in messages."""
    lines: list[str]
    names: list[str]
    added: list[str]
    """Those among them that the diff brings."""


def modules_of(path: str | Path, release: str, flavour: str, before: Sequence[str | Path]) -> list[tuple[str, ModuleType]]:
    """A module for each file that a diff changes, of the changed definitions. ``before`` are the patches below it.

    Raises SoftnetError for a diff that cannot be read or does not fit the kernel.
    """
    from softnet.linux.source import linked_source

    source = linked_source(release, flavour, before)
    return [(changed.path, definitions_of(changed, release, flavour)) for changed in changes(path, source)]


def changes(path: str | Path, source: Source) -> list[Changed]:
    """What a diff makes of a kernel's source. The changed texts are kept where functions are looked up by position."""
    found = []
    for file, hunks in _files(path, source).items():
        old = source.text(file).splitlines()
        new = _applied(old, hunks, file)
        shown = f"{path}/{file}"
        before, after = (_declared(lines, shown) for lines in (old, new))
        gone = [name for name in before if name not in after] + sorted(_fields(old, shown) - _fields(new, shown))
        if gone:
            raise SoftnetError(
                "a diff may not take a definition or a field away",
                where=shown,
                found=gone[0],
                expected="its text, changed",
                hint="nothing need call it any more",
            )
        names = [name for name, text in after.items() if text != before.get(name)]
        forget(shown)
        linecache.cache[shown] = (0, None, [line + "\n" for line in new], shown)
        found.append(Changed(file, shown, new, names, [name for name in names if name not in before]))
    if not found:
        raise SoftnetError("not a unified diff", where=str(path), found="no hunk", expected="--- old, +++ new, @@ -1,3 +1,4 @@, …")
    return found


def _files(path: str | Path, source: Source) -> dict[str, list[Hunk]]:
    """The hunks of a diff by the kernel's file."""
    try:
        lines = read_bounded(path, PATCH_BYTES_MAX, SoftnetError, "diff").decode().splitlines()
    except UnicodeDecodeError as error:
        raise SoftnetError("this diff cannot be read", where=str(path), found=str(error), expected="a text file") from error
    files: dict[str, list[Hunk]] = {}
    hunks: list[Hunk] | None = None
    left = [0, 0]
    for number, line in enumerate(lines, 1):
        where = f"{path}:{number}"
        if hunks and max(left) > 0 and line[:1] in (" ", "+", "-", ""):
            hunks[-1].body.append(line or " ")
            left = [left[0] - (line[:1] != "+"), left[1] - (line[:1] != "-")]
        elif header := _HEADER.match(line):
            hunks = files.setdefault(_kernels_file(header["name"], source, where), [])
        elif (hunk := _HUNK.match(line)) and hunks is not None:
            hunks.append(Hunk(where, int(hunk["line"])))
            left = [int(hunk["old"] or 1), int(hunk["new"] or 1)]
    return {file: hunks for file, hunks in files.items() if hunks}


def _kernels_file(name: str, source: Source, where: str) -> str:
    """The kernel's file that a header means: ``b/net/core/dev.c``, ``6.10/net/core/dev.c``, ``dev.c``, ``dev.c.new``."""
    parts = [part for part in name.split("/") if part]
    parts[-1:] = [re.sub(r"(\.[ch])\..*$", r"\1", part) for part in parts[-1:]]
    for at in range(len(parts)):
        tail = "/".join(parts[at:])
        found = [file for file in source.files if file == tail or file.endswith(f"/{tail}")]
        if len(found) == 1:
            return found[0]
    raise SoftnetError(f"{source.label} has no such file", where=where, found=name, expected="a file such as net/core/dev.c",
                       hint="softnet source --list shows the files")  # fmt: skip


def _applied(lines: list[str], hunks: Sequence[Hunk], file: str) -> list[str]:
    """The text after the hunks. Each stands where it says, or as near to it as its lines are."""
    out = list(lines)
    moved = 0
    for hunk in hunks:
        old = hunk.old
        wanted = hunk.line + moved - (1 if old else 0)
        places = list(_places(out, old)) if old else [min(wanted, len(out))]
        if not places:
            missing = next((line for line in old if line not in out), old[0])
            raise SoftnetError("this hunk does not fit the kernel", where=hunk.where, found=missing.strip(),
                               expected=f"lines that stand together in {file}",
                               hint=f"softnet source {file} --kernel … prints the text that it must be made against")  # fmt: skip
        at = min(places, key=lambda place: abs(place - wanted))
        out[at : at + len(old)] = hunk.new
        moved = at + (1 if old else 0) - hunk.line + len(hunk.new) - len(old)
    return out


def _places(lines: list[str], wanted: list[str]) -> Iterator[int]:
    """Where lines stand together in a text."""
    at = -1
    for _ in range(lines.count(wanted[0])):
        at = lines.index(wanted[0], at + 1)
        if lines[at : at + len(wanted)] == wanted:
            yield at


def _parsed(lines: Sequence[str], shown: str) -> ast.Module:
    try:
        return ast.parse("\n".join(lines) + "\n", filename=shown)
    except SyntaxError as error:
        raise SoftnetError("after the diff this is no Python", where=f"{shown}:{error.lineno}", found=str(error.msg),
                           expected="valid syntax") from error  # fmt: skip
    except (MemoryError, RecursionError, ValueError) as error:
        raise SoftnetError("after the diff this is no Python", where=shown, found=str(error) or type(error).__name__,
                           expected="text that is not nested too deeply") from error  # fmt: skip


def _names(tree: ast.Module) -> Iterator[tuple[str, ast.stmt]]:
    """The declarations of a text; a structure that is added to comes once for each piece."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name, node
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node


def _declared(lines: Sequence[str], shown: str) -> dict[str, str]:
    """Name -> text without layout and comments."""
    found: dict[str, str] = {}
    for name, node in _names(_parsed(lines, shown)):
        found[name] = found.get(name, "") + ast.unparse(node)
    return found


def _fields(lines: Sequence[str], shown: str) -> set[str]:
    """The fields of a text's structures."""
    return {
        f"{name}.{ast.unparse(field.target)}"
        for name, node in _names(_parsed(lines, shown))
        if isinstance(node, ast.ClassDef)
        for field in node.body
        if isinstance(field, ast.AnnAssign)
    }


def _constants(release: str, flavour: str) -> dict[str, object]:
    """What a changed definition may name when it is executed: the language's words and the kernel's constants."""
    known: dict[str, object] = {name: getattr(softnet.lang, name) for name in softnet.lang.__all__}
    for name in modules_for(release, flavour):
        known |= {n: v for n, v in vars(importlib.import_module(name)).items() if n.isupper() and isinstance(v, int)}
    return known


def definitions_of(changed: Changed, release: str, flavour: str) -> ModuleType:
    """The changed definitions, executed at the lines that they have in the changed text: declarations, which run nothing."""
    # Needed only here: a release's own files are not parsed where they are known.
    from softnet.lang.check.declarations import check_declarations

    name = "softnet_patch_" + "".join(c if c.isalnum() else "_" for c in changed.path)
    module = ModuleType(name)
    module.__file__ = changed.path
    body: list[ast.stmt] = []
    for declared, node in _names(_parsed(changed.lines, changed.path)):
        if declared in changed.names:
            if isinstance(node, ast.ClassDef) and declared not in changed.added:
                # The structure's other fields stay as they are; those that other patches add are among them.
                node.keywords = [ast.keyword("extends", ast.Constant(True))]
            body.append(node)
    flags = __future__.annotations.compiler_flag
    tree = ast.fix_missing_locations(ast.Module(_joined(body), []))
    check_declarations(tree, changed.path, softnet.lang.__all__)
    try:
        code = compile(tree, changed.path, "exec", flags=flags, dont_inherit=True)
        exec(code, {**_constants(release, flavour), "__name__": name}, vars(module))  # noqa: S102 - declarations, which run nothing of the file's own
    except Exception as error:
        raise SoftnetError("a changed file failed while it was loaded", where=changed.path,
                           found=f"{type(error).__name__}: {error}",
                           expected="declarations only: structures, constants, functions") from error  # fmt: skip
    return module


def _joined(body: list[ast.stmt]) -> list[ast.stmt]:
    """The same with one class for all pieces of a structure."""
    out: dict[str, ast.stmt] = {}
    for number, node in enumerate(body):
        first = out.get(node.name) if isinstance(node, ast.ClassDef) else None
        if isinstance(node, ast.ClassDef) and isinstance(first, ast.ClassDef):
            first.body += node.body
        else:
            out[node.name if isinstance(node, ast.ClassDef) else str(number)] = node
    return list(out.values())
