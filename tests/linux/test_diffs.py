# SPDX-License-Identifier: GPL-2.0-or-later
"""A unified diff is a patch like another: it changes what it says, and says where it does not fit."""

from __future__ import annotations

import difflib
import importlib
from pathlib import Path

import pytest
from tests.linux.support import drain_scenario, simulate

from softnet.errors import SoftnetError
from softnet.image.program import make_program
from softnet.lang.check.diagnostic import SubsetErrors
from softnet.lang.check.once import ensure_checked
from softnet.lang.native.compile import available
from softnet.lang.program.program import Program
from softnet.linux.releases import load_modules, load_patches
from softnet.linux.source import linked_source
from softnet.simulate.simulation import Simulation
from softnet.verify.model import Config, Driver, build_model
from softnet.workload import WORKLOAD_MODULES

EXAMPLES = Path(__file__).parents[2] / "examples" / "patches"
WATERMARK = ("kick = sd.defer_count == defer_max >> 1", "kick = sd.defer_count == defer_max - 1")


def written(
    folder: Path, file: str, *changes: tuple[str, str], kernel: str = "6.12", name: str = "mine.diff", head: str = ""
) -> str:
    """What ``diff -u`` writes after these changes of a file's text."""
    old = linked_source(kernel, label=kernel).text(file)
    new = old
    for before, after in changes:
        assert new.count(before) == 1, before
        new = new.replace(before, after)
    lines = difflib.unified_diff(old.splitlines(True), new.splitlines(True), head or f"a/{file}", head or f"b/{file}", n=3)
    path = folder / "mine.diff"
    path.write_text("".join(lines))
    return str(path)


@pytest.mark.slow
def test_a_diff_does_what_the_patch_file_does(tmp_path: Path) -> None:
    diff = written(tmp_path, "net/core/skbuff.c", WATERMARK)
    what = drain_scenario("6.12", packets=100)
    plain, changed = simulate(what)[0], simulate(what, [diff])[0]
    assert changed.trace.records == simulate(what, [str(EXAMPLES / "kick_at_max.py")])[0].trace.records
    assert changed.trace.records != plain.trace.records
    if not available():
        native = Simulation(what, patches=[diff], engine="native", trace="full", checks=True).finish()
        assert native.trace.records == changed.trace.records


@pytest.mark.parametrize("head", ["skbuff.c", "skbuff.c.new", "b/linux/net/core/skbuff.c", "6.12-rt/net/core/skbuff.c"])
def test_the_file_is_known_by_the_end_of_its_name(tmp_path: Path, head: str) -> None:
    diff = written(tmp_path, "net/core/skbuff.c", WATERMARK, head=head)
    assert "defer_max - 1" in linked_source("6.12", patches=[diff]).text("skb_attempt_defer_free")


def test_a_diff_against_another_release_fits_where_its_lines_are(tmp_path: Path) -> None:
    diff = written(tmp_path, "net/core/skbuff.c", WATERMARK, kernel="6.12")
    for kernel in ("6.9", "6.10"):
        assert "defer_max - 1" in linked_source(kernel, patches=[diff]).text("skb_attempt_defer_free")
    with pytest.raises(SoftnetError, match="this hunk does not fit the kernel") as caught:
        linked_source("6.1", patches=[diff])
    assert caught.value.where == f"{diff}:3"
    assert caught.value.found == "spin_lock_bh(sd.defer_lock)"


@pytest.mark.parametrize(
    "line",
    [
        "MINE = open('RAN', 'w')",
        "class Mine(Struct, metaclass=open('RAN', 'w')):\n+    x: u32",
        "@kfunc\n+@(lambda f: open('RAN', 'w'))\n+def mine() -> None:\n+    pass",
        "@kfunc\n+def mine(x: u32 = open('RAN', 'w')) -> None:\n+    pass",
    ],
)
def test_to_load_a_diff_runs_nothing_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    monkeypatch.chdir(tmp_path)
    diff = tmp_path / "mine.diff"
    diff.write_text(f"+++ net/core/skbuff.c\n@@ -0,0 +1,{line.count(chr(10)) + 1} @@\n+{line}\n")
    with pytest.raises(SoftnetError, match="it may only declare") as caught:
        load_patches([diff], "6.12", "plain")
    assert caught.value.where.startswith(f"{diff}/net/core/skbuff.c:")
    assert not (tmp_path / "RAN").exists()


@pytest.mark.parametrize("head", ["/", "//", "/.c.", "\0"])
def test_a_name_that_is_none_is_no_file(tmp_path: Path, head: str) -> None:
    diff = tmp_path / "mine.diff"
    diff.write_text(f"+++ {head}\n@@ -1 +1 @@\n-a\n+b\n")
    with pytest.raises(SoftnetError, match="has no such file"):
        linked_source("6.12", patches=[str(diff)])


def test_a_diff_that_is_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    diff = tmp_path / "mine.diff"
    diff.write_text("+++ net/core/skbuff.c\n@@ -0,0 +1 @@\n+MINE = " + "(" * 100_000 + "\n")
    with pytest.raises(SoftnetError, match="no Python"):
        linked_source("6.12", patches=[str(diff)])


def test_a_diff_without_an_end_is_read_no_further_than_a_bound(tmp_path: Path) -> None:
    diff = tmp_path / "mine.diff"
    diff.symlink_to("/dev/zero")
    with pytest.raises(SoftnetError, match="too large for a diff"):
        linked_source("6.12", patches=[str(diff)])


def test_patches_stack(tmp_path: Path) -> None:
    """A diff is made against the kernel with the patches before it."""
    first = written(tmp_path, "net/core/skbuff.c", WATERMARK)
    second = tmp_path / "two.patch"
    second.write_text(f"--- skbuff.c\n+++ skbuff.c\n@@ -1 +1 @@\n-    {WATERMARK[1]}\n+    kick = sd.defer_count == 7\n")
    assert "sd.defer_count == 7" in linked_source("6.12", patches=[first, second]).text("skb_attempt_defer_free")
    with pytest.raises(SoftnetError, match="does not fit"):
        linked_source("6.12", patches=[second])


def test_structures_constants_and_new_functions(tmp_path: Path) -> None:
    diff = written(
        tmp_path,
        "include/linux/netdevice.h",
        ("FLOW_LIMIT_HISTORY = 1 << 7", "FLOW_LIMIT_HISTORY = 1 << 8"),
        ("    time_squeeze: int = percpu(", "    flushes: int = percpu()\n    time_squeeze: int = percpu("),
        ("@kfunc\ndef netif_running(", "@kfunc\ndef twice(n: int) -> int:\n    return 2 * n\n\n\n@kfunc\ndef netif_running("),
    )
    plain, changed = program_of([]), program_of([diff])
    assert (plain.constants["FLOW_LIMIT_HISTORY"], changed.constants["FLOW_LIMIT_HISTORY"]) == (128, 256)
    fields = {name: struct.fields for name, struct in changed.structs.items()}
    # What patches of the release added to the structure is still there.
    assert set(fields["softnet_data"]) == {*plain.structs["softnet_data"].fields, "flushes"}
    assert set(changed.functions) - set(plain.functions) == {"twice"}
    ensure_checked(changed)


def test_mistakes_are_shown_in_the_changed_text(tmp_path: Path) -> None:
    diff = written(tmp_path, "net/core/skbuff.c", (WATERMARK[0], "kick = sd.defer_cont == 3"))
    with pytest.raises(SubsetErrors) as caught:
        ensure_checked(program_of([diff]))
    (mistake,) = caught.value.diagnostics
    lines = linked_source("6.12", patches=[diff]).text("net/core/skbuff.c").splitlines()
    assert mistake.span.file == f"{diff}/net/core/skbuff.c"
    assert "sd.defer_cont" in lines[mistake.span.line - 1]
    assert "kick = sd.defer_cont == 3" in str(caught.value)


def program_of(patches: list[str]) -> Program:
    """6.12 with patches, linked as a run links it."""
    workload = [importlib.import_module(name) for name in WORKLOAD_MODULES]
    return make_program([*load_modules("6.12"), *workload, *(module for _, module in load_patches(patches, "6.12", "plain"))], {})


@pytest.mark.parametrize(
    ("text", "message", "where"),
    [
        ("nothing of a diff\n", "not a unified diff", ""),
        ("--- a/net/core/nodev.c\n+++ b/net/core/nodev.c\n@@ -1 +1 @@\n-x\n+y\n", "6.12 has no such file", ":2"),
        (
            "--- a/net/core/dev.c\n+++ b/net/core/dev.c\n@@ -9,2 +9,1 @@\n-    nothing_like_it\n     \n",
            "this hunk does not fit the kernel",
            ":3",
        ),
    ],
)
def test_a_diff_that_cannot_be_used_says_where(tmp_path: Path, text: str, message: str, where: str) -> None:
    path = tmp_path / "mine.patch"
    path.write_text(text)
    with pytest.raises(SoftnetError) as caught:
        load_patches([path], "6.12", "plain")
    assert (caught.value.message, caught.value.where) == (message, f"{path}{where}")


def test_a_diff_may_break_neither_python_nor_the_kernels_names(tmp_path: Path) -> None:
    broken = written(tmp_path, "net/core/skbuff.c", (WATERMARK[0], "kick = = 3"))
    with pytest.raises(SoftnetError, match="after the diff this is no Python"):
        load_patches([broken], "6.12", "plain")
    renamed = written(
        tmp_path,
        "net/core/skbuff.c",
        (
            "def skb_attempt_defer_free(",
            "def skb_attempt_defer(",
        ),
    )
    with pytest.raises(SoftnetError, match="a diff may not take a definition or a field away"):
        load_patches([renamed], "6.12", "plain")


def test_the_explorer_refuses_a_diff_of_what_it_replaces(tmp_path: Path) -> None:
    text = "        if cmpxchg(head.first, first, new) == first:\n"
    diff = written(tmp_path, "include/linux/llist.h", (text, "        barrier()\n" + text))
    with pytest.raises(SoftnetError, match="your change of it would not be explored") as caught:
        build_model(Config("test", drivers=(Driver("irq", 0),), patches=(diff,)))
    assert caught.value.where.startswith(f"{diff}/include/linux/llist.h:")
