# SPDX-License-Identifier: GPL-2.0-or-later
"""What an experiment's runs need on another machine, and what a worker there does with it: captures, patches, compiled kernels.

All of it is sent to a worker once. A file goes into the worker's own cache, ``shipped/HASH/NAME``: the user's alone, as the
compiled kernels are, and of the content that its name says. Deleting the folder is always safe.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from softnet.errors import SoftnetError
from softnet.files import cache_base, distrusted, own_folder, read_bounded, write_whole
from softnet.image.costnames import cost_names
from softnet.lang.check.once import check_key
from softnet.lang.native.compile import Packed, builder_kind, pack, unpack
from softnet.lang.program import cache
from softnet.simulate.native import choose_engine
from softnet.simulate.program import load_program, scenario_costs
from softnet.sweep.identity import package_digest
from softnet.sweep.store import Finished
from softnet.sweep.worker import Job, run_once
from softnet.trace import EVENT_ID

if TYPE_CHECKING:
    from softnet.machine.costtable import CostTable
    from softnet.scenario import Scenario
    from softnet.sweep.plan import SweepArm

FILES_BYTES_MAX: Final = 1 << 30
"""Captures and patches of an experiment, in all: each worker is sent them."""
KEPT_MAX: Final = 256
"""The least recently used files above this number are removed."""


class Described(NamedTuple):
    """What a worker is."""

    softnet: str
    """The hash of its softnet (identity.package_digest)."""
    kind: str
    """Where its native code can be made (lang.native.compile.builder_kind); empty: it has none."""


def describe() -> Described:
    """This process as a worker."""
    return Described(package_digest(), builder_kind())


class File(NamedTuple):
    """A file by its content."""

    name: str
    sha256: str


class Kernel(NamedTuple):
    """What a kernel is made from."""

    scenario: Scenario
    patches: tuple[str, ...]
    costs: str


@dataclass
class Shipment:
    """All that the arms' runs need beside their scenarios."""

    token: str
    softnet: str
    contents: dict[str, bytes]
    """A file's hash -> its content."""
    files: dict[str, File]
    """A path, as the client has it -> the file."""
    costs: dict[str, CostTable]
    """By the hash of its rows."""
    kernels: dict[str, Kernel]
    """Of each kernel's digest an example."""
    marks: list[str]
    """Under what it is known that the kernels' texts have passed the check."""
    memos: dict[str, bytes]
    """What was worked out of the kernels' texts (lang.program.memo): of use where softnet is in the same folder."""
    native: dict[str, list[Packed]]
    """Kind of worker -> its compiled kernels."""


class Piece(NamedTuple):
    """Runs of one arm, one after the other."""

    token: str
    arm: str
    kernel: str
    costs: str
    scenario: Scenario
    patches: tuple[str, ...]
    seeds: tuple[int, ...]
    engine: str


class Packer:
    """Gathers what goes to the workers of an experiment."""

    def __init__(self, token: str) -> None:
        self.shipment = Shipment(token, package_digest(), {}, {}, {}, {}, [], {}, {})
        self._costs: dict[str, str] = {}
        self._linked: set[tuple[str, str]] = set()
        self._packed: set[str] = set()

    def costs(self, scenario: Scenario) -> str:
        """The hash of a scenario's cost table, which is packed."""
        named = f"{scenario.machine.costs} {scenario.directory}"
        if named not in self._costs:
            table = scenario_costs(scenario)
            digest = hashlib.sha256(repr(sorted(table.rows.items())).encode()).hexdigest()
            self.shipment.costs[digest] = table
            self._costs[named] = digest
        return self._costs[named]

    def add(self, arm: SweepArm) -> bool:
        """Pack what an arm needs; whether anything was new. Raises SoftnetError for what cannot be sent."""
        if arm.digest in self._packed:
            return False
        self._packed.add(arm.digest)
        shipment = self.shipment
        before = len(shipment.files), len(self._linked)
        for path in (*captures_of(arm.scenario), *arm.patches):
            if path not in shipment.files:
                _add_file(shipment, path)
        costs = self.costs(arm.scenario)
        if (arm.kernel, costs) not in self._linked:
            self._linked.add((arm.kernel, costs))
            table = shipment.costs[costs]
            shipment.kernels[arm.kernel] = Kernel(arm.scenario, arm.patches, costs)
            program = load_program(arm.scenario, arm.patches, table)
            shipment.marks.append(check_key(program, table.rows))
            if (memo := cache.load_derived(program.derived.key)) is not None:
                shipment.memos[program.derived.key] = memo
        return before != (len(shipment.files), len(self._linked))


def _add_file(shipment: Shipment, path: str) -> None:
    left = FILES_BYTES_MAX - sum(map(len, shipment.contents.values()))
    data = read_bounded(path, left, SoftnetError, "file that is sent to the workers")
    found = File(os.path.basename(path), hashlib.sha256(data).hexdigest())
    shipment.files[path] = found
    shipment.contents[found.sha256] = data


def captures_of(scenario: Scenario) -> list[str]:
    """The files that a scenario's traffic comes from, as this process opens them."""
    return [str(scenario.resolve(source.file)) for source in scenario.traffic if hasattr(source, "file")]


def compiled(shipment: Shipment, *, sent: bool) -> list[Packed]:
    """The compiled kernels of a shipment, made here where the cache has none: for workers of this kind.

    ``sent``: this is a worker, which has the patches where they were sent.
    """
    found = []
    for kernel in shipment.kernels.values():
        patches = _paths(kernel.patches, shipment.files) if sent else kernel.patches
        program = load_program(kernel.scenario, patches, shipment.costs[kernel.costs])
        packed = pack(program, {name: i for i, name in enumerate(cost_names(program))}, EVENT_ID)
        if packed is not None:
            found.append(packed)
    return found


def compiled_there(token: str) -> list[Packed]:
    """The same in a worker, which has taken the shipment."""
    return compiled(_here[token], sent=True)


def kept(file: File, content: bytes) -> Path:
    """Where a shipped file is on this machine; written if it is not there. Raises SoftnetError where it cannot be kept."""
    if os.path.basename(file.name) != file.name or hashlib.sha256(content).hexdigest() != file.sha256:
        raise SoftnetError("a file came that is not what it says", where=file.name[:100], expected=f"the SHA-256 {file.sha256}")
    folder = shipped_dir() / file.sha256
    path = folder / file.name
    try:
        reason = own_folder(shipped_dir()) or own_folder(folder)
        if not reason:
            if path.is_symlink() or not path.is_file() or distrusted(path) or path.read_bytes() != content:
                path.unlink(missing_ok=True)
                write_whole(path, content, private=True)
            os.utime(folder)
            _evict(folder)
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        raise SoftnetError("a worker has no place for what it is sent", where=str(folder), found=reason,
                           expected="a folder that only its user writes", hint="set SOFTNET_CACHE on the workers")  # fmt: skip
    return path


def shipped_dir() -> Path:
    """The folder of files that were sent here."""
    return cache_base() / "shipped"


def _evict(keep: Path) -> None:
    folders = [path for path in shipped_dir().iterdir() if path != keep]
    folders.sort(key=lambda path: (-path.stat().st_mtime_ns, path.name))
    for path in folders[KEPT_MAX - 1 :]:
        shutil.rmtree(path, ignore_errors=True)


def clear_shipped() -> int:
    """Remove what was sent here; how many files went."""
    folders = sorted(shipped_dir().iterdir()) if shipped_dir().is_dir() else []
    for path in folders:
        shutil.rmtree(path, ignore_errors=True)
    return len(folders)


_here: dict[str, Shipment] = {}
"""In a worker: the shipments of the experiments that it works for."""
_one_at_a_time = threading.Lock()
"""A process runs one simulation at a time, however many threads its worker has."""


def take(shipment: Shipment) -> None:
    """In a worker: put what came where the runs will look for it. Raises SoftnetError."""
    if shipment.softnet != package_digest():
        raise other_softnet("a worker")
    for file in shipment.files.values():
        kept(file, shipment.contents[file.sha256])
    for mark in shipment.marks:
        cache.mark(mark)
    for key, memo in shipment.memos.items():
        if cache.load_derived(key) is None:
            cache.store_derived(key, memo)
    for packed in shipment.native.get(builder_kind(), []):
        unpack(packed)
    shipment.contents.clear()
    shipment.native.clear()
    shipment.memos.clear()
    _here[shipment.token] = shipment


def drop(token: str) -> None:
    """In a worker: the experiment is over."""
    _here.pop(token, None)


def other_softnet(where: str) -> SoftnetError:
    """The error for a worker whose figures could be others."""
    return SoftnetError("a worker of the cluster has another softnet or numpy, or its files have changed", where=where,
                        expected="the same release of both on all machines",
                        hint="install on the workers what is installed here, and start them anew")  # fmt: skip


def run_piece(piece: Piece, tell: Callable[[int, Finished], None] | None = None) -> list[Finished]:
    """In a worker: make the runs. ``tell`` hears of each when it ends. Raises as run_once()."""
    with _one_at_a_time:
        shipment = _here.get(piece.token)
        if shipment is None:
            raise SoftnetError("a worker does not know the experiment that it shall run", hint="start it again")
        scenario, patches = placed(piece.scenario, shipment.files), _paths(piece.patches, shipment.files)
        costs = shipment.costs[piece.costs]
        found = []
        for number, seed in enumerate(piece.seeds):
            done = run_once(Job(piece.arm, piece.kernel, scenario, patches, seed, piece.engine), (piece.costs, costs))
            if tell is not None:
                tell(number, done)
            found.append(done)
        return found


def placed(scenario: Scenario, files: Mapping[str, File]) -> Scenario:
    """The scenario with its captures where this machine has them."""
    if not captures_of(scenario):
        return scenario
    traffic: list[Any] = []
    for source in scenario.traffic:
        if hasattr(source, "file"):
            traffic.append(source.model_copy(update={"file": _path(files[str(scenario.resolve(source.file))])}))
        else:
            traffic.append(source)
    return scenario.model_copy(update={"traffic": tuple(traffic)})


def _paths(paths: Sequence[str], files: Mapping[str, File]) -> tuple[str, ...]:
    return tuple(_path(files[path]) for path in paths)


def _path(file: File) -> str:
    return str((shipped_dir() / file.sha256 / file.name).absolute())


def native_wanted(engine: str) -> bool:
    """Whether runs are to be made by native code, as far as this machine can tell."""
    return choose_engine(engine)[0] == "native"
