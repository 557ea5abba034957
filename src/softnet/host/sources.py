# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a report comes from: this machine, a report that was written, a copied tree, pasted output."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from softnet.errors import HostError
from softnet.files import read_bounded
from softnet.host.dumps import SENT_MAX, Dumps
from softnet.host.model import HostReport, report_from_json
from softnet.host.read import Tree, read_machine

FILES_MAX = 1000


def read_sources(given: Sequence[Path], seconds: float) -> HostReport:
    """The machine's own report, or one of all that is given. Raises HostError for what cannot be read, with its place."""
    if not given:
        return read_machine(Tree("/"), seconds)
    report: HostReport | None = None
    dumps = Dumps()
    for path in given:
        whole = _whole(path, dumps)
        if whole is not None and report is not None:
            whole = _later(report, whole, path)
        report = whole or report
    return dumps.into(report or HostReport())


def _later(first: HostReport, second: HostReport, path: Path) -> HostReport:
    """Two reports or trees of one machine: two samples."""
    if (first.name, first.release) != (second.name, second.release) or not first.samples or not second.samples:
        raise HostError(
            "two machines at once",
            where=str(path),
            found=f"{second.name} {second.release}",
            expected=f"the same one later ({first.name} {first.release}), or outputs of tools beside it",
        )
    early, late = first.samples[-1], second.samples[-1]
    if early.at_ns is not None and late.at_ns is not None and late.at_ns < early.at_ns:
        return _later(second, first, path)
    second.samples = [early, late]
    return second


def _whole(path: Path, dumps: Dumps) -> HostReport | None:
    """A report or a tree; what is a dump goes to the others."""
    if path.is_dir():
        return _folder(path, dumps)
    data = read_bounded(path, SENT_MAX, HostError, "file of a machine")
    if data.lstrip()[:1] == b"{":
        return report_from_json(data, str(path))
    if not dumps.take(data.decode("utf-8", errors="replace"), str(path)):
        raise HostError(
            "nothing of a receive path is recognised in it",
            where=str(path),
            found=data[:60].decode("utf-8", errors="replace").strip().partition("\n")[0],
            expected="a report of --out, /proc/net/softnet_stat, /proc/interrupts, /proc/softirqs, nstat, sysctl,"
            " ethtool -S/-g/-l/-c, ip -s -s link, ps, the kernel's log",
            hint="give the whole output, with its header",
        )
    return None


def _folder(path: Path, dumps: Dumps) -> HostReport | None:
    """A copy of a machine's files, as a sosreport is, with the outputs of tools beside them; or a folder of outputs."""
    report = read_machine(Tree(path)) if (path / "proc").is_dir() else None
    folders = [path / "sos_commands" / name for name in ("networking", "kernel", "processor", "process")] if report else [path]
    found = False
    names = sorted(f for folder in folders if folder.is_dir() for f in folder.iterdir() if f.is_file() and not f.is_symlink())
    for file in names[:FILES_MAX]:
        data = read_bounded(file, SENT_MAX, HostError, "file of a machine")
        found |= dumps.take(data.decode("utf-8", errors="replace"), str(file), lenient=True)
    if report is None and not found:
        raise HostError(
            "nothing of a machine is in this directory", where=str(path), expected="a directory proc, or files with pasted output"
        )
    return report
