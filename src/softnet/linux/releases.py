# SPDX-License-Identifier: GPL-2.0-or-later
"""Releases: 6.1 is a base, every later one the one before it and a list of patches.

The patches of a release stand in the order in which they went in. softnet's 6.10 is 6.9 and the backlog-NAPI series and
nothing else, so that a comparison of the two shows the series alone; what else 6.10 changed comes with 6.12, and says
so by its ``since``.
"""

from __future__ import annotations
import __future__

import ast
import importlib
import importlib.util
import os
import re
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple

from softnet.errors import SoftnetError
from softnet.files import read_bounded
from softnet.release import Release

_KERNEL = "softnet.linux"
_PATCHES = "softnet.linux.patches"

BASE: tuple[str, ...] = tuple(
    f"{_KERNEL}.{name}"
    for name in (
        "config",
        "include.linux.list",
        "include.linux.hash",
        "include.linux.topology",
        "include.linux.spinlock",
        "kernel.locking.spinlock",
        "include.linux.cpuidle",
        "kernel.sched.sched",
        "include.linux.sched",
        "kernel.sched.fair",
        "kernel.sched.rt",
        "kernel.sched.core",
        "kernel.time.hrtimer",
        "kernel.time.tick_sched",
        "include.linux.preempt",
        "include.linux.netdevice",
        "include.linux.skbuff",
        "include.net.busy_poll",
        "kernel.time.time",
        "kernel.softirq",
        "kernel.smp",
        "kernel.smpboot",
        "kernel.irq.manage",
        "drivers.cpuidle.governors.menu",
        "drivers.cpuidle.governors.teo",
        "drivers.cpuidle.governors.haltpoll",
        "drivers.cpuidle.cpuidle",
        "drivers.cpuidle.poll_state",
        "kernel.sched.idle",
        "arch.x86.kernel.irq",
        "mm.slub",
        "fs.eventpoll",
        "net.core.skbuff",
        "net.core.dev",
        "net.core.dev_backlog",
        "net.core.dev_busy_poll",
        "net.core.dev_receive",
        "net.core.net_procfs",
        "net.core.gro",
        "net.core.sock",
        "net.ipv4.ip_input",
        "net.ipv4.tcp_ipv4",
        "net.ipv4.tcp_input",
        "net.ipv4.tcp",
        "net.ipv4.udp",
        "net.socket",
        "drivers.net.softnet_nic",
        "drivers.net.loopback",
        "kernel.cpu",
    )
)
"""The modules of the oldest release."""

RELEASES: dict[str, Release] = {
    release.name: release
    for release in (
        # x86 could not be built with PREEMPT_RT before v6.12 without the patch queue of linux-stable-rt, so a 6.1-rt that runs is
        # that queue's; read in Debian's linux 6.1.176-1, debian/patches-rt (v6.1.176-rt64). Of its 72 patches two change this path
        # (0009, 0055); 0012 to 0015 give the timer softirqs a thread of their own, and there are none in the model. The later
        # releases have mainline's text on both flavours: 6.9-rt and 6.10-rt differ by the series.
        Release(
            "6.1",
            rt_patches=("kernel.workqueue", "patches.rt_defer_work", "patches.ksoftirqd_gate_revert"),
            rt_features=("kick_by_work_item",),
            in_lab=True,
        ),
        Release(
            "6.6",
            patches=(
                "eevdf",
                "call_function_prep_ipi",
                "softnet_stat_queue_lengths",
                "in_net_rx_action",
                "optimize_napi_schedule_rps",
                "avoid_extra_net_rx",
                "defer_lock_bh",
                "threaded_poll_defer_flush",
                "threaded_poll_rps",
                "ksoftirqd_gate_revert",
            ),
            rt_features=("busy_poll_rt",),
        ),
        Release(
            "6.9",
            patches=("epoll_busy_poll", "busy_poll_defer_flush"),
            features=("epoll_busy_poll",),
            rt_features=("busy_poll_rt",),
        ),
        Release(
            "6.10",
            patches=(
                "napi_wakeup_unconditional",
                "backlog_napi_threads",
                "backlog_napi_defer_list",
            ),
            features=("backlog_threads", "kick_function", "epoll_busy_poll"),
            rt_features=("busy_poll_rt",),
        ),
        Release(
            "6.12",
            patches=(
                "eevdf_delay_dequeue",
                "eevdf_preempt_short",
                "fair_server",
                "menu_skip_sleep_length",
                "teo_skip_sleep_length",
                "haltpoll_grow_start",
                "backlog_lock_rename",
                "enqueue_not_running",
                "dropped_atomic",
                "rps_input_queue_head_add",
                "nodefer_napi_cache",
                "backlog_lock_no_rt",
                "process_queue_bh_lock",
                "napi_alloc_cache_bh_lock",
            ),
            features=("backlog_threads", "kick_function", "epoll_busy_poll"),
            rt_features=("busy_poll_rt",),
            in_lab=True,
        ),
        Release(
            "6.18",
            patches=(
                "eevdf_vprot",
                "menu_outliers",
                "teo_short_idles",
                "rfs_slot_hash",
                "flow_limit_hash",
                "enqueue_running_unlocked",
                "drop_counters_numa",
                "rt_bh_unlocked",
                "udp_defer_free",
                "udp_prod_queue",
                "defer_nodes",
                "napi_irq_suspend",
            ),
            features=("backlog_threads", "kick_function", "defer_nodes", "budget_usecs_min", "epoll_busy_poll", "irq_suspend"),
            rt_features=("busy_poll_rt", "bh_unlocked"),
            in_lab=True,
        ),
        # Read from its commits, and in the trees of 7.2.12 and 7.3.4: 6.19's own could not be had.
        Release(
            "6.19",
            patches=(
                "flow_limit_unlocked",
                "consume_defers",
                "defer_max_128",
                "alloc_napi_cache",
                "napi_cache_128",
            ),
            features=(
                "backlog_threads",
                "kick_function",
                "defer_nodes",
                "consume_defers",
                "defer_max_128",
                "budget_usecs_min",
                "epoll_busy_poll",
                "irq_suspend",
            ),
            rt_features=("busy_poll_rt", "bh_unlocked"),
        ),
        Release(
            "7.3",
            patches=(
                "menu_stopped_tick",
                "teo_tick_wakeups",
                "defer_disable_key",
                "enqueue_running_locked",
                "defer_flush_dead",
                "busy_poll_stop_timer",
            ),
            features=(
                "backlog_threads",
                "kick_function",
                "defer_nodes",
                "consume_defers",
                "defer_max_128",
                "budget_usecs_min",
                "epoll_busy_poll",
                "irq_suspend",
            ),
            rt_features=("busy_poll_rt", "bh_unlocked"),
            in_lab=True,
        ),
    )
}
"""Oldest first: each release is the one before it with its own patches on top."""


def modules_for(release: str, flavour: str = "plain") -> tuple[str, ...]:
    """The names of the modules of a release. Raises SoftnetError for one that does not exist.

    PREEMPT_RT is a configuration constant that the functions test, as in the kernel; the ``flavour`` "rt" adds modules
    only where the kernel had it from patches (``rt_patches``).
    """
    if release not in RELEASES:
        raise SoftnetError(
            "no such kernel release",
            where="kernel.release",
            found=release,
            expected=", ".join(RELEASES),
            hint="write a patch file for what another release changes: docs/kernel.md",
        )
    if flavour not in ("plain", "rt"):
        raise SoftnetError("no such kernel flavour", where="kernel.flavour", found=flavour, expected="plain or rt")
    stack = list(BASE)
    for one in RELEASES.values():
        stack += [f"{_PATCHES}.{name}" for name in one.patches]
        if one.name == release:
            break
    if flavour == "rt":
        stack += [f"{_KERNEL}.{name}" for name in RELEASES[release].rt_patches]
    return tuple(stack)


def shipped_patches() -> frozenset[str]:
    """The names of the modules that some release or flavour has on top of the base."""
    plain = [f"{_PATCHES}.{name}" for one in RELEASES.values() for name in one.patches]
    return frozenset([*plain, *(f"{_KERNEL}.{name}" for one in RELEASES.values() for name in one.rt_patches)])


def patch_info(name: str) -> dict[str, Any]:
    """The PATCH record of a patch module: commit, subject, since, link; config, the constant without which it changes nothing."""
    module = importlib.import_module(name)
    info: dict[str, Any] = dict(getattr(module, "PATCH", {}))
    return info


class Change(NamedTuple):
    """What a patch module of softnet changes, in its own words."""

    text: str
    """The first sentence behind the title of its docstring."""
    commit: str
    since: str


def change_of(name: str) -> Change:
    """What the module of that name says of itself. Its docstring is a title, an empty line, and what changes."""
    title, _, body = (importlib.import_module(name).__doc__ or "").partition("\n\n")
    sentence = re.split(r"(?<=[.]) (?=[A-Z0-9])|\.$", " ".join((body or title).split()), maxsplit=1)[0]
    info = patch_info(name)
    return Change(sentence.rstrip("."), str(info.get("commit", "")), str(info.get("since", "")))


PATCH_BYTES_MAX: Final = 4 << 20
"""Of a patch, as a Python file or as a diff."""


def load_patch(path: str | Path) -> ModuleType:
    """A patch module from a file outside the package; sys.modules stays as it is. Imports inside it may be missing: names link.

    The file is declarations (softnet.lang.check.declarations): to load it, and so to check it, runs nothing of its own. Raises
    SoftnetError when it cannot be read, or says more than that.
    """
    file = Path(path)
    if not os.path.isfile(file):
        raise SoftnetError("no such patch file", where=str(path), found="nothing", expected="a Python file")
    name = "softnet_patch_" + "".join(c if c.isalnum() else "_" for c in file.stem)
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise SoftnetError("not a patch file", where=str(path), found=file.suffix or "no suffix", expected="a .py file")
    module = importlib.util.module_from_spec(spec)
    # As its functions name it, whose code is kept under this name (softnet.lang.program.memo): importlib makes it absolute.
    module.__file__ = str(file)
    # Needed only here: a release's own files are not parsed where they are known.
    from softnet.lang.check.declarations import check_declarations
    from softnet.lang.program.source import refresh

    refresh(str(file))
    text = read_bounded(file, PATCH_BYTES_MAX, SoftnetError, "patch file")
    try:
        tree = ast.parse(text, str(file))
        check_declarations(tree, str(path))
        # Annotations name structures that only linking knows, so they are never evaluated, future import or not.
        flags = __future__.annotations.compiler_flag
        code = compile(tree, str(file), "exec", flags=flags, dont_inherit=True)
        exec(code, module.__dict__)  # noqa: S102 - declarations, which run nothing of the file's own
    except SyntaxError as error:
        raise SoftnetError(
            "a patch file must be Python",
            where=f"{path}:{error.lineno}",
            found=str(error.msg),
            expected="valid syntax",
        ) from error
    except SoftnetError:
        raise
    except (MemoryError, RecursionError) as error:
        raise SoftnetError("a patch file is nested too deeply", where=str(path), found=type(error).__name__) from error
    except Exception as error:
        raise SoftnetError(
            "a patch file failed while it was loaded",
            where=str(path),
            found=f"{type(error).__name__}: {error}",
            expected="declarations only: structures, constants, functions",
        ) from error
    return module


def load_patches(paths: Sequence[str | Path], release: str, flavour: str) -> list[tuple[str, ModuleType]]:
    """The modules of the user's patches, in their order, each with what it is called.

    A patch is a Python file, or a unified diff (``.diff``, ``.patch``) against the kernel below it: a module for each file of it.
    """
    modules: list[tuple[str, ModuleType]] = []
    for number, path in enumerate(paths):
        if is_diff(path):
            from softnet.linux.diffs import modules_of

            modules += modules_of(path, release, flavour, paths[:number])
        else:
            modules.append((str(path), load_patch(path)))
    return modules


def is_diff(path: str | Path) -> bool:
    """Whether a patch is a unified diff: by its name."""
    return Path(path).suffix in (".diff", ".patch")


def load_modules(release: str, flavour: str = "plain", patches: Sequence[str | Path] = ()) -> list[ModuleType]:
    """The modules of a release, imported, with the user's patch files on top, in their order."""
    names: Sequence[str] = modules_for(release, flavour)
    return [importlib.import_module(name) for name in names] + [module for _, module in load_patches(patches, release, flavour)]
