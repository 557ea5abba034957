# SPDX-License-Identifier: GPL-2.0-or-later
"""What decides a program's meaning, as one hash: its text, its constants, the text of checker and compiler."""

from __future__ import annotations

import hashlib
import json
import os
import sys

from softnet.lang.program.memo import PACKAGE, text_digest
from softnet.lang.program.program import Program


def program_digest(program: Program) -> str:
    """The hash of a program. Paths do not enter it: the same patch in another folder is the same kernel."""
    digest = hashlib.sha256(PACKAGE)
    for path in _source_files(program):
        digest.update(os.path.basename(path).encode() + b"\0" + text_digest(path))
    rest = [program.modules, program.constants, _structure_text(program), program.pointed]
    digest.update(json.dumps(rest, sort_keys=True).encode())
    return digest.hexdigest()


def around(program: Program) -> str:
    """The hash of what a function's types and form depend on besides its text: constants, structures, all functions' headers."""
    headers = [(name, d.kind, d.function.__annotations__, d.facts) for name, d in sorted(program.functions.items())]
    rest = [sorted(program.constants.items()), sorted(program.structs.items()), program.pointed]
    return hashlib.sha256(repr((headers, rest)).encode()).hexdigest()


def _source_files(program: Program) -> list[str]:
    """Files that declare anything: of the functions, and of modules that declare structures or constants alone."""
    files = {definition.file for definition in program.functions.values()}
    files |= {str(getattr(sys.modules.get(name), "__file__", "")) for name in program.modules}
    return sorted(file for file in files if file)


def _structure_text(program: Program) -> list[str]:
    """Structures as declared: those of a user's module that holds nothing else have no file above."""
    return [
        f"{s.name}: " + ", ".join(f"{f.name} {f.type} {f.kind} {f.line} {f.guard} {f.count}" for f in s.fields.values())
        for s in program.structs.values()
    ]
