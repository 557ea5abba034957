# SPDX-License-Identifier: GPL-2.0-or-later
"""A search that stopped, in a file: everything that it needs to go on, and of which kernel and configuration it is.

What is read from it goes into the memory of native code, so it is read only if this user's softnet wrote it: the file carries a
code of its content (HMAC-SHA256) made with a key that only the user can read. Its layout: MAGIC, the code, the length of the
header in eight bytes, the header in JSON, and the arrays that it names, one behind the other.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from softnet.errors import SoftnetError
from softnet.files import UNREADABLE, atomic, from_json, users_key
from softnet.lang.native.abi import RUN_WORDS
from softnet.verify.arena import Arena
from softnet.verify.codegen.runtime import module_text
from softnet.verify.model import SEARCHES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VERSION: Final = 4
MAGIC: Final = b"softnet verify search\n"
HEADER_BYTES_MAX: Final = 1 << 20
KINDS: Final = ("int64", "uint64", "uint32", "uint8")
ADDRESSES: Final = frozenset(
    ("index", "index_mask", "ctable", "ctable_mask", "store", "store_room", "pool", "max_states", "prints", "prints_shift",
     "prints_max", "trail", "trail_action", "queue", "other", "other_room", "read_at", "read_end", "write_at", "write_room",
     "recent", "touched", "race_masks", "early")
)  # fmt: skip
"""Words of the search that say where its tables are and how large: of the machine that goes on, not of the one that stopped."""


def digest(machine: Arena) -> str:
    """The hash of everything that decides what the search finds: the code, the first memory's tables, the properties."""
    from softnet.verify.standard import to_text

    config = machine.model.config
    asked = [list(config.properties), sorted(config.without)]
    rest = json.dumps([VERSION, to_text(config), asked, machine.limits.storage, machine.get("nr_slots")])
    return hashlib.sha256((rest + module_text(machine.model)).encode()).hexdigest()


def save(machine: Arena, path: Path) -> None:
    """Write a search that stopped between two states. Raises SoftnetError if the file cannot be written."""
    about = {"softnet": "verify", "version": VERSION, "digest": digest(machine), "storage": machine.limits.storage}
    about["owned"] = machine.owned
    about["without"] = sorted(machine.model.config.without)
    tables = _compact_arrays(machine) if machine.compact else _exact_arrays(machine)
    arrays = {"words": machine.words, "owners": machine.owners, "holders": machine.holders, **tables}
    if machine.compact:
        about["bits"] = machine.prints_bits
    try:
        write(path, about, arrays)
    except SoftnetError as error:
        raise SoftnetError("the search cannot be saved", where=str(path), found=error.found or error.message) from error


def write(path: Path, about: dict[str, Any], arrays: Mapping[str, Any]) -> None:
    """Write the file. Raises SoftnetError."""
    import numpy as np

    flat = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    header = json.dumps({**about, "arrays": [[name, array.dtype.name, len(array)] for name, array in flat.items()]}).encode()
    start = len(header).to_bytes(8, "little") + header
    code = hmac.new(users_key(), start, hashlib.sha256)
    for array in flat.values():
        code.update(array.data)
    with atomic(path) as stream:
        stream.write(MAGIC + code.digest() + start)
        for array in flat.values():
            stream.write(array.data)


def _exact_arrays(machine: Arena) -> dict[str, Any]:
    get = machine.get
    return {
        "store": machine.regions["store"][: get("store_used")],
        "pool": machine.regions["pool"][: get("states") * (get("key_words") + 1)],
    }


def _compact_arrays(machine: Arena) -> dict[str, Any]:
    get = machine.get
    states = get("states")
    written, read = machine.queues()
    return {
        "prints": machine.regions["prints"],
        "trail": machine.regions["trail"].view("uint32")[:states],
        "trail_action": machine.regions["trail_action"].view("uint8")[:states],
        "written": machine.halves(written)[: get("write_at") - get("queue")],
        "read": machine.halves(read)[get("read_at") - get("other") : get("read_end") - get("other")],
    }


def owned(path: Path) -> bool:
    """Whether the search in the file assumes owners; false for a file that load() will refuse."""
    try:
        with path.open("rb") as stream:
            return bool(_header(stream, path)[0].get("owned"))
    except (OSError, SoftnetError):
        return False


def _header(stream: IO[bytes], path: Path) -> tuple[dict[str, Any], bytes, bytes]:
    """What the file says of itself, the code of its content, and the bytes that it begins with. Raises SoftnetError."""
    error = SoftnetError("not a saved search", where=str(path), expected="a file that softnet verify --save wrote")
    if stream.read(len(MAGIC)) != MAGIC:
        raise error
    code, length = stream.read(32), stream.read(8)
    size = int.from_bytes(length, "little")
    header = stream.read(min(size, HEADER_BYTES_MAX))
    try:
        about = from_json(header)
        whole = len(header) == size and about["softnet"] == "verify" and about["version"] == VERSION
        sizes = [np_bytes(kind, count) for _, kind, count in about["arrays"]]
    except UNREADABLE:
        raise error from None
    if not whole or sum(sizes) != os.fstat(stream.fileno()).st_size - stream.tell():
        raise error
    return about, code, length + header


def np_bytes(kind: str, count: int) -> int:
    """How many bytes an array takes."""
    if kind not in KINDS or type(count) is not int or count < 0:
        raise ValueError(kind)
    return count * (int(kind.lstrip("uint")) // 8)


def read(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The header and the arrays of a file that this user wrote. Raises SoftnetError."""
    import numpy as np

    try:
        with path.open("rb") as stream:
            about, code, start = _header(stream, path)
            found = hmac.new(users_key(), start, hashlib.sha256)
            arrays = {}
            for name, kind, count in about["arrays"]:
                arrays[name] = array = np.empty(count, dtype=kind)
                stream.readinto(array.data)
                found.update(array.data)
    except OSError as error:
        raise SoftnetError("the search cannot be read", where=str(path), found=error.strerror or str(error)) from error
    if not hmac.compare_digest(found.digest(), code):
        raise SoftnetError(
            "the saved search is damaged, or was written by another user or on another machine",
            where=str(path),
            expected="a file that your softnet verify --save wrote",
            hint="begin anew, without --resume",
        )
    return about, arrays


def _hint(saved: Sequence[str], asked: Sequence[str]) -> str:
    if list(saved) == sorted(asked):
        return "begin anew, without --resume"
    words = " ".join(f"--without {name!r}" for name in saved)
    return f"it was saved without some properties, perhaps past a known finding: add {words}" if words else "leave out --without"


def load(machine: Arena, path: Path) -> None:
    """Make a fresh machine the one that was saved.

    Raises SoftnetError if the file is none of this user's, is of another kernel or configuration, or does not fit the limits.
    """
    about, arrays = read(path)
    if about["digest"] != digest(machine):
        raise SoftnetError(
            "the saved search is of another kernel, patch, configuration, set of properties or storage",
            where=str(path),
            found=f"storage {about['storage']}, digest {about['digest'][:12]}",
            expected=f"storage {machine.limits.storage}, digest {digest(machine)[:12]}",
            hint=_hint(about.get("without", []), machine.model.config.without),
        )
    _words(machine, arrays["words"])
    machine.owners[:] = arrays["owners"]
    machine.holders[:] = arrays["holders"]
    (_load_compact if machine.compact else _load_exact)(machine, arrays, path)


def _words(machine: Arena, saved: NDArray[np.int64]) -> None:
    """Everything but the engine's own words, and where this machine's tables are."""
    first = max(RUN_WORDS.values()) + 1
    own = {name: machine.get(name) for name in ADDRESSES}
    machine.words[first:] = saved[first:]
    machine.set(**own)


def _fit(machine: Arena, name: str, array: Any, path: Path) -> None:
    """Copy an array to the beginning of a region."""
    target = machine.regions[name].view(array.dtype)
    if len(array) > len(target):
        raise SoftnetError("the saved search does not fit", where=str(path), found=f"{array.nbytes:,} bytes for its {name}",
                           expected=f"at most {target.nbytes:,}", hint="raise --memory or --max-states")  # fmt: skip
    target[: len(array)] = array


def _load_exact(machine: Arena, arrays: Mapping[str, Any], path: Path) -> None:
    for name in ("store", "pool"):
        _fit(machine, name, arrays[name], path)
    machine.call(SEARCHES.index("vx_rebuild"))


def _load_compact(machine: Arena, arrays: Mapping[str, Any], path: Path) -> None:
    bits = len(arrays["prints"]).bit_length() - 1
    if bits > machine.prints_bits_max:
        raise SoftnetError("the saved search does not fit", where=str(path), found=f"{8 << bits:,} bytes of fingerprints",
                           expected=f"at most {8 << machine.prints_bits_max:,}", hint="raise --memory")  # fmt: skip
    machine.new_prints(bits)
    for name in ("prints", "trail", "trail_action"):
        _fit(machine, name, arrays[name], path)
    get = machine.get
    written, read = machine.queues()
    _fit(machine, written, arrays["written"], path)
    _fit(machine, read, arrays["read"], path)
    machine.set(write_at=get("queue") + len(arrays["written"]), read_at=get("other"), read_end=get("other") + len(arrays["read"]))
