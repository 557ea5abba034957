# SPDX-License-Identifier: GPL-2.0-or-later
"""The linked source: what a kernel of ours is made of, once its patches have gone in, as text.

A release is a stack of modules, and later ones override earlier ones by name. Here the stack is read as linking reads it: for
each name the definition in force, with where it comes from and what it replaces, sorted into the kernel's own files. A
definition stands in the file that its docstring names (``net/core/dev.c:7104 (6.12)``), else in its module's.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from softnet.errors import SoftnetError
from softnet.lang.check.diagnostic import closest
from softnet.lang.program.source import source_file
from softnet.linux.releases import is_diff, load_patch, modules_for
from softnet.machine import MACHINE_MODULES
from softnet.release import RT_SUFFIX

LICENSE = "# SPDX-License-Identifier: GPL-2.0-or-later"
_CITED = re.compile(r"(?P<file>[\w.+-]+(?:/[\w.+-]+)*\.[ch])(?:\S*?:(?P<line>\d+) \((?P<release>\d+\.\d+))?")


class Piece(NamedTuple):
    """One declaration of one module: a function, a structure or a constant, with the comment above it."""

    name: str
    text: tuple[str, ...]
    file: str
    """The kernel's file, "net/core/dev.c"."""
    cited: tuple[str, int]
    """Release and line that the docstring names; ("", 0) without."""
    origin: str
    """Module and line: "patches/defer_lock_bh.py:30"."""
    adds: bool
    """Whether it is a structure's ``extends=True``, which adds to the one before."""


@dataclass(frozen=True)
class Definition:
    """What a name is in a kernel: a structure may have several pieces, the first and what later modules add to it."""

    pieces: tuple[Piece, ...]
    replaced: tuple[str, ...] = ()
    """Where the definitions stand that this one overrides, oldest first."""

    @property
    def name(self) -> str:
        """Its name."""
        return self.pieces[0].name

    @property
    def file(self) -> str:
        """The kernel's file."""
        return self.pieces[0].file

    def text(self) -> list[str]:
        """Its lines, each piece below a comment that says where it comes from."""
        out = []
        for number, piece in enumerate(self.pieces):
            instead = f", in place of {', '.join(reversed(self.replaced))}" if self.replaced and not number else ""
            out += ["", "", f"# from {piece.origin}{instead}", *piece.text]
        return out[2:]


@dataclass(frozen=True)
class Source:
    """A kernel's linked source. ``label`` is what it is called: "6.12-rt"."""

    label: str
    modules: tuple[str, ...]
    definitions: dict[str, Definition]
    files: dict[str, list[str]] = field(default_factory=dict)
    """The kernel's file -> names, in the order of the file."""

    def definition(self, name: str) -> Definition:
        """One definition. Raises SoftnetError for a name that this kernel does not have."""
        found = self.definitions.get(name)
        if found is None:
            raise self._unknown(name)
        return found

    def text(self, what: str) -> str:
        """A function, a structure, a constant, or a whole file of the kernel, with where each definition comes from.

        The text of a function is a patch file as it stands. Raises SoftnetError for what this kernel does not have.
        """
        if what in self.definitions:
            title = f"{what} in {self.definitions[what].file}"
            lines, _ = self._laid_out(title, [what])
        else:
            file = self._file_of(what)
            lines, _ = self._laid_out(file, self.files[file])
        return "\n".join(lines) + "\n"

    def first_lines(self, file: str) -> dict[str, int]:
        """Name -> the line, from 1, at which its definition begins in the text of a file; {} for a file that there is not."""
        return self._laid_out(file, self.files.get(file, []))[1]

    def _laid_out(self, title: str, names: Sequence[str]) -> tuple[list[str], dict[str, int]]:
        """The lines of a text, and where each definition begins."""
        body: list[str] = []
        firsts = {}
        for name in names:
            body += ["", ""]
            firsts[name] = len(body) + 2
            body += self.definitions[name].text()
        words = set(re.findall(r"\w+", "\n".join(body)))
        imported = ", ".join(name for name in _DECLARING if name in words)
        head = [LICENSE, f"# {title}, as softnet links it for {self.label}", "from __future__ import annotations", ""]
        head += [f"from softnet.lang import {imported}"] if imported else []
        return [*head, *body], {name: line + len(head) for name, line in firsts.items()}

    def _file_of(self, what: str) -> str:
        if what in self.files:
            return what
        near = [file for file in self.files if file.endswith(f"/{what}")]
        if len(near) == 1:
            return near[0]
        raise self._unknown(what)

    def _unknown(self, what: str) -> SoftnetError:
        is_file = "/" in what or what.endswith((".c", ".h", ".py"))
        near = closest(what, list(self.files) if is_file else list(self.definitions))
        return SoftnetError(
            f"{self.label} has no such {'file' if is_file else 'function'}",
            found=what,
            expected=near or "a function, a structure, or a file such as net/core/dev.c",
            hint="softnet source --list shows the files",
        )


def linked_source(
    release: str, flavour: str = "plain", patches: Sequence[str | Path] = (), label: str = "", beside: Sequence[str] = ()
) -> Source:
    """The linked source of a kernel, the machine's functions included, with the user's patches on top.

    ``beside`` are the modules of what runs on it.

    Raises SoftnetError for a release that does not exist and for a patch file that cannot be loaded.
    """
    kernel = (*modules_for(release, flavour), *beside)
    found: dict[str, Definition] = {}
    files: dict[str, list[str]] = {}
    for module in (*MACHINE_MODULES, *kernel):
        path = str(importlib.import_module(module).__file__)
        _take(found, files, _pieces(path, _shown(module)))
    for number, patch in enumerate(patches):
        if is_diff(patch):
            _change(found, files, patch, linked_source(release, flavour, patches[:number], label, beside))
            continue
        load_patch(patch)
        _take(found, files, _pieces(str(patch), str(patch)))
    names = (*kernel, *(str(patch) for patch in patches))
    label = label or release + (RT_SUFFIX if flavour == "rt" else "")
    return Source(label, names, found, files)


def _change(found: dict[str, Definition], files: dict[str, list[str]], patch: str | Path, below: Source) -> None:
    """Link what a diff changes in the source below it."""
    from softnet.linux.diffs import changes

    for changed in changes(patch, below):
        pieces = [piece for piece in _pieces(changed.path, changed.path) if piece.name in changed.names]
        _take(found, files, iter(piece._replace(file=changed.file) for piece in pieces))


def difference(old: Source, new: Source) -> str:
    """What is different in ``new``: the modules that only one has, then a unified diff, each definition by itself.

    The line numbers are those of the files that ``Source.text`` gives. Comments on the origin are not compared.
    """
    changes = _module_changes(old, new)
    out = [f"# {old.label} -> {new.label}", *(f"#   {line}" for line in changes)]
    for file in _merged(list(old.files), list(new.files)):
        entries = list(_file_difference(old, new, file))
        if entries:
            out += [f"--- {old.label}/{file}", f"+++ {new.label}/{file}", *entries]
    return "\n".join(out) + "\n"


def _shown(module: str) -> str:
    """A module as a path: below linux/ without it, the machine's with it."""
    return module.removeprefix("softnet.").removeprefix("linux.").replace(".", "/") + ".py"


def _pieces(path: str, shown: str) -> Iterator[Piece]:
    """The declarations of one module, in its order."""
    source = source_file(path)
    body = source.tree.body
    home = _CITED.match(ast.get_docstring(source.tree) or "")
    home_file = home["file"] if home and "/" in home["file"] else shown
    for node, after in zip(body, [*body[1:], None], strict=True):
        name = _declared(node)
        if not name:
            continue
        first, last = node.lineno, node.end_lineno or node.lineno
        doc = ""
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            first = min([first, *(d.lineno for d in node.decorator_list)])
            doc = ast.get_docstring(node) or ""
        elif isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            last = after.end_lineno or last
        while first > 1 and source.lines[first - 2].startswith("#") and not source.lines[first - 2].startswith("# from "):
            first -= 1
        cited = _CITED.match(doc)
        file = home_file
        if cited and "/" in cited["file"]:
            file = cited["file"]
        elif cited and home_file.endswith(".c"):
            file = f"{home_file.rpartition('/')[0]}/{cited['file']}"
        where = (cited["release"], int(cited["line"])) if cited and cited["line"] else ("", 0)
        adds = isinstance(node, ast.ClassDef) and any(k.arg == "extends" for k in node.keywords)
        text = tuple(source.lines[first - 1 : last])
        yield Piece(name, text, file, where, f"{shown}:{node.lineno}", adds)


def _declared(node: ast.stmt) -> str:
    """The name that a statement of a module declares, if linking takes it."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return node.name
    target: ast.expr | None = None
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target = node.targets[0]
    elif isinstance(node, ast.AnnAssign):
        target = node.target
    name = target.id if isinstance(target, ast.Name) and target.id.isupper() else ""
    return "" if name == "PATCH" else name


def _take(found: dict[str, Definition], files: dict[str, list[str]], pieces: Iterator[Piece]) -> None:
    """Link the pieces of one more module; names that it brings stand where the kernel's line numbers put them."""
    new = []
    for piece in pieces:
        before = found.get(piece.name)
        if before is None:
            found[piece.name] = Definition((piece,))
            new.append(piece)
        elif piece.adds:
            found[piece.name] = Definition((*before.pieces, piece), before.replaced)
        else:
            # What is overridden says in which file a name stands: patches are often shorter about it.
            replaced = (*before.replaced, *(p.origin for p in before.pieces))
            found[piece.name] = Definition((piece._replace(file=before.file),), replaced)
    for piece in new:
        names = files.setdefault(piece.file, [])
        release, line = piece.cited
        is_patch = piece.origin.startswith("patches/") and release
        at = _place([found[name].pieces[0] for name in names], release, line) if is_patch else len(names)
        names.insert(at, piece.name)


def _place(pieces: Sequence[Piece], release: str, line: int) -> int:
    """Where a line of a release belongs: behind the nearest one before it, else in front of the nearest one after it."""
    same = [(piece.cited[1], at) for at, piece in enumerate(pieces) if piece.cited[0] == release]
    before = max((pair for pair in same if pair[0] <= line), default=None)
    after = min((pair for pair in same if pair[0] > line), default=None)
    return before[1] + 1 if before else after[1] if after else len(pieces)


_DECLARING = ("Struct", "array", "embed", "fnptr", "guarded", "hw", "hwfunc", "kfunc", "percpu", "private", "shared")


def _module_changes(old: Source, new: Source) -> list[str]:
    lines = []
    for sign, modules, others in (("-", old.modules, new.modules), ("+", new.modules, old.modules)):
        lines += [f"{sign} {_described(module)}" for module in modules if module not in others]
    return lines


def _described(module: str) -> str:
    """A module of the stack with its commit and subject."""
    if not module.startswith("softnet."):
        return module
    info = getattr(importlib.import_module(module), "PATCH", {})
    commit = f"  {info['commit']} (v{info['since']})  {info['subject']}" if info else ""
    return f"{_shown(module)}{commit}"


def _merged(old: Sequence[str], new: Sequence[str]) -> list[str]:
    """The names of both: the new order, and what is gone behind what it stood behind."""
    out = list(new)
    for at, name in enumerate(old):
        if name not in new:
            out.insert(out.index(old[at - 1]) + 1 if at else 0, name)
    return out


def _file_difference(old: Source, new: Source, file: str) -> Iterator[str]:
    """The hunks of one file, definition by definition."""
    sides = [(source.definitions, source.first_lines(file)) for source in (old, new)]
    # Before the first definition stand two empty lines and the comment on its origin.
    at = [max(min(firsts.values(), default=1) - 4, 0) for _, firsts in sides]
    for name in _merged(list(sides[0][1]), list(sides[1][1])):
        texts: list[list[str]] = [[], []]
        for side, (definitions, firsts) in enumerate(sides):
            if name in firsts:
                texts[side] = definitions[name].text()[1:]
                at[side] = firsts[name] - 1
        yield from _hunks(texts, at, name)
        at = [line + len(text) for line, text in zip(at, texts, strict=True)]


def _hunks(texts: Sequence[list[str]], at: Sequence[int], name: str) -> Iterator[str]:
    """The changed pieces of one definition, whose texts come behind these numbers of lines in their files."""
    matcher = difflib.SequenceMatcher(None, texts[0], texts[1], autojunk=False)
    for group in matcher.get_grouped_opcodes(3):
        spans = []
        for start, stop, before in ((group[0][1], group[-1][2], at[0]), (group[0][3], group[-1][4], at[1])):
            # An empty side names the line that it stands behind, as diff does.
            spans.append(f"{before + start + (stop > start)},{stop - start}")
        yield f"@@ -{spans[0]} +{spans[1]} @@ {name}"
        for kind, i1, i2, j1, j2 in group:
            if kind == "equal":
                yield from (f" {line}" for line in texts[0][i1:i2])
            else:
                yield from (f"-{line}" for line in texts[0][i1:i2])
                yield from (f"+{line}" for line in texts[1][j1:j2])
