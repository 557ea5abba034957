# SPDX-License-Identifier: GPL-2.0-or-later
"""A search that stopped, in a file: everything that it needs to go on, and of which kernel and configuration it is."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from softnet.errors import SoftnetError
from softnet.files import atomic
from softnet.lang.native.abi import RUN_WORDS
from softnet.verify.arena import Arena
from softnet.verify.codegen.runtime import module_text
from softnet.verify.model import SEARCHES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VERSION: Final = 3
ADDRESSES: Final = frozenset(
    ("index", "index_mask", "ctable", "ctable_mask", "store", "store_room", "pool", "max_states", "prints", "prints_shift",
     "prints_max", "trail", "trail_action", "queue", "other", "other_room", "read_at", "read_end", "write_at", "write_room",
     "touched", "race_masks", "early")
)  # fmt: skip
"""Words of the search that say where its tables are and how large: of the machine that goes on, not of the one that stopped."""


def digest(machine: Arena) -> str:
    """The hash of everything that decides what the search finds: the code, the first memory's tables, the properties."""
    from softnet.verify.standard import to_text

    config = machine.model.config
    rest = json.dumps([VERSION, to_text(config), list(config.properties), machine.limits.storage, machine.get("nr_slots")])
    return hashlib.sha256((rest + module_text(machine.model)).encode()).hexdigest()


def save(machine: Arena, path: Path) -> None:
    """Write a search that stopped between two states. Raises SoftnetError if the file cannot be written."""
    import numpy as np

    about = {"softnet": "verify", "version": VERSION, "digest": digest(machine), "storage": machine.limits.storage}
    about["owned"] = machine.owned
    tables = _compact_arrays(machine) if machine.compact else _exact_arrays(machine)
    arrays = {"words": machine.words, "owners": machine.owners, "holders": machine.holders, **tables}
    if machine.compact:
        about["bits"] = machine.prints_bits
    with atomic(path) as stream:
        np.savez(stream, about=np.frombuffer(json.dumps(about).encode(), dtype=np.uint8), **arrays)


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
    import numpy as np

    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as found:
            return bool(json.loads(bytes(found["about"])).get("owned"))
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, EOFError, AttributeError):
        return False


def load(machine: Arena, path: Path) -> None:
    """Make a fresh machine the one that was saved.

    Raises SoftnetError if the file is none of softnet's, is of another kernel or configuration, or does not fit the limits.
    """
    import numpy as np

    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as found:
            arrays = {name: found[name] for name in found.files}
        about = json.loads(bytes(arrays["about"]))
        known = about["softnet"] == "verify" and about["version"] == VERSION
    except OSError as error:
        raise SoftnetError("the search cannot be read", where=str(path), found=error.strerror or str(error)) from error
    except (ValueError, KeyError, TypeError, zipfile.BadZipFile, EOFError) as error:
        raise SoftnetError("not a saved search", where=str(path), expected="a file that softnet verify --save wrote") from error
    if not known or about["digest"] != digest(machine):
        raise SoftnetError(
            "the saved search is of another kernel, patch, configuration, set of properties or storage",
            where=str(path),
            found=f"storage {about['storage']}, digest {about['digest'][:12]}",
            expected=f"storage {machine.limits.storage}, digest {digest(machine)[:12]}",
            hint="begin anew, without --resume",
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


def _load_exact(machine: Arena, arrays: dict[str, Any], path: Path) -> None:
    for name in ("store", "pool"):
        _fit(machine, name, arrays[name], path)
    machine.call(SEARCHES.index("vx_rebuild"))


def _load_compact(machine: Arena, arrays: dict[str, Any], path: Path) -> None:
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
