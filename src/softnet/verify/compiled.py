# SPDX-License-Identifier: GPL-2.0-or-later
"""A search's native code: what it is kept under, and how it goes from one machine to another of the same kind."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from softnet.lang.native.compile import Code, builder_identity, native_code
from softnet.lang.program import cache
from softnet.verify.codegen.runtime import module_text
from softnet.verify.model import build_model

if TYPE_CHECKING:
    from softnet.verify.model import Config, Model

HASTY: Final = 0
BEST: Final = 2
"""How much LLVM optimises code that is built in a tenth of the time, and the code of long searches."""


class PackedCode(NamedTuple):
    """A search's code, to be sent to another process or machine."""

    optimise: int
    text: str
    """The hash of its text."""
    about: dict[str, Any]
    code: bytes


def text_digest(text: str) -> str:
    """The hash of a model's text."""
    return hashlib.sha256(text.encode()).hexdigest()


def code_key(optimise: int, digest: str) -> str:
    """The hash of all that decides the code of a text that has this hash."""
    return hashlib.sha256(f"verify {optimise} {builder_identity()}\n{digest}".encode()).hexdigest()


def code_of(model: Model, *, hasty: bool) -> tuple[Code, bool]:
    """A model's code, and whether it is hasty: not where the best is known, whatever is asked."""
    text = module_text(model)
    digest = text_digest(text)
    hasty = hasty and not cache.known(code_key(BEST, digest))
    about = {"label": f"verify {model.config.kernel}", "positions": [], "functions": 0, "options": {}}
    optimise = HASTY if hasty else BEST
    return native_code(code_key(optimise, digest), optimise, lambda: (text, about)), hasty


def packed_code(config: Config) -> PackedCode | None:
    """The code that searches of a configuration begin with, made where the cache has none. None where there is no cache."""
    model = build_model(replace(config, owned=False))
    _, hasty = code_of(model, hasty=True)
    digest, optimise = text_digest(module_text(model)), HASTY if hasty else BEST
    found = cache.load(code_key(optimise, digest))
    return None if found is None else PackedCode(optimise, digest, *found)


def unpack_code(packed: PackedCode) -> None:
    """Put code that a builder of the same kind made into this machine's cache."""
    key = code_key(packed.optimise, packed.text)
    if cache.load(key) is None:
        cache.store(key, packed.about, packed.code)
