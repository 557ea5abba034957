# SPDX-License-Identifier: GPL-2.0-or-later
"""The linked source is what linking takes, and a difference of two kernels turns one into the other."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import re
from pathlib import Path

import pytest
from tests.linux.support import loopback_scenario, simulate

from softnet.cli import run_cli
from softnet.errors import SoftnetError
from softnet.lang.program.program import collect
from softnet.linux.releases import load_modules
from softnet.linux.source import Source, difference, linked_source
from softnet.machine import MACHINE_MODULES

KICK_AT_MAX = str(Path(__file__).parents[2] / "examples" / "patches" / "kick_at_max.py")
KERNELS = ("6.1", "6.1-rt", "6.9", "6.10", "6.12-rt")


@functools.cache
def source(kernel: str) -> Source:
    """A kernel's linked source."""
    release, _, flavour = kernel.partition("-")
    return linked_source(release, flavour or "plain", label=kernel)


def declared(text: str) -> dict[str, str]:
    """Functions and structures by name, without comments and layout. A structure's additions follow it."""
    found: dict[str, str] = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = found.get(node.name, "") + ast.unparse(node)
    return found


@pytest.mark.parametrize("kernel", KERNELS)
def test_each_function_is_the_one_that_linking_takes(kernel: str) -> None:
    release, _, flavour = kernel.partition("-")
    machine = [importlib.import_module(name) for name in MACHINE_MODULES]
    program = collect([*machine, *load_modules(release, flavour or "plain")], {})
    assert len(program.functions) > 400
    for name, definition in program.functions.items():
        shown = source(kernel).definition(name)
        assert "\n".join(shown.pieces[-1].text).endswith(inspect.getsource(definition.function).rstrip("\n")), name
        stack = program.overridden.get(name, (definition.module,))
        modules = [where.partition(".py:")[0] for where in (*shown.replaced, shown.pieces[-1].origin)]
        assert modules == [m.removeprefix("softnet.").removeprefix("linux.").replace(".", "/") for m in stack], name
    assert set(program.structs) <= set(source(kernel).definitions)


def test_a_whole_file_as_the_release_has_it() -> None:
    file = source("6.12").text("net/core/dev.c")
    names = list(declared(file))
    assert names.index("____napi_schedule") < names.index("enqueue_to_backlog") < names.index("netif_receive_skb")
    # The series' own functions stand where v6.12 has them, not at the end.
    assert names.index("use_backlog_threads") < names.index("____napi_schedule")
    assert names.index("napi_threaded_poll_loop") + 1 == names.index("napi_threaded_poll")
    assert "# from patches/avoid_extra_net_rx.py:" in file
    assert "use_backlog_threads" not in source("6.9").text("net/core/dev.c")
    assert source("6.12").text("dev.c") == file


@pytest.mark.slow
@pytest.mark.parametrize("name", ["net_rx_action", "process_backlog", "softnet_data"])
def test_the_text_is_a_patch_that_changes_nothing(tmp_path: Path, name: str) -> None:
    path = tmp_path / "same.py"
    path.write_text(source("6.12").text(name))
    what = loopback_scenario("6.12")
    assert simulate(what, [str(path)])[0].trace.records == simulate(what)[0].trace.records


HUNK = re.compile(r"@@ -(\d+),(\d+) \+(\d+),(\d+) @@ (\w+)")


def applied(text: str, hunks: list[str]) -> str:
    """A unified diff of one file applied to its text, by line numbers."""
    old = text.splitlines()
    out: list[str] = []
    at = 0
    for head, *body in hunks:
        found = HUNK.fullmatch(head)
        assert found is not None
        start = int(found[1]) - (int(found[2]) > 0)
        out += old[at:start]
        at = start
        for line in body:
            if line[0] in " -":
                assert line[1:] == old[at]
                at += 1
            if line[0] in " +":
                out.append(line[1:])
    return "\n".join([*out, *old[at:]])


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [("6.1", "6.9"), ("6.9", "6.10"), ("6.10", "6.12"), ("6.1-rt", "6.12-rt")])
def test_a_difference_turns_one_kernel_into_the_other(before: str, after: str) -> None:
    text = difference(source(before), source(after))
    files = re.split(r"^--- \S+?/(\S+)\n\+\+\+ .*\n", text, flags=re.MULTILINE)
    changed = dict(zip(files[1::2], files[2::2], strict=True))
    assert "net/core/dev.c" in changed
    for file in {*source(before).files, *source(after).files}:
        here = source(before).text(file) if file in source(before).files else "\n" * 20
        hunks: list[list[str]] = []
        for line in changed.get(file, "").splitlines():
            if line.startswith("@@"):
                hunks.append([])
            hunks[-1].append(line)
        there = source(after).text(file) if file in source(after).files else ""
        assert declared(applied(here, hunks)) == declared(there), file


def test_the_difference_names_the_patches_and_each_function_by_itself() -> None:
    text = difference(source("6.9"), source("6.10"))
    assert text.splitlines()[:4] == [
        "# 6.9 -> 6.10",
        (
            "#   + patches/napi_wakeup_unconditional.py  56364c910691 (v6.10)  net: Remove conditional threaded-NAPI"
            " wakeup based on task state."
        ),
        "#   + patches/backlog_napi_threads.py  dad6b9770263 (v6.10)  net: Allow to use SMP threads for backlog NAPI.",
        "#   + patches/backlog_napi_defer_list.py  80d2eefcb4c8 (v6.10)  net: Use backlog-NAPI to clean up the defer_list.",
    ]
    assert "@@ napi_threaded_poll\n" in text
    assert "@@ net_rx_action\n" not in text
    assert difference(source("6.9"), source("6.9")) == "# 6.9 -> 6.9\n"


def test_a_patch_of_yours_counts(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["diff", "6.12", "6.12", "--patch", KICK_AT_MAX]) == 0
    text = capsys.readouterr().out
    changes = [line for line in text.splitlines() if line[0] in "+-" and line[:3] not in ("+++", "---") and '"""' not in line]
    assert changes == ["-    kick = sd.defer_count == defer_max >> 1", "+    # The skb that makes the list full.",
                       "+    kick = sd.defer_count == defer_max - 1"]  # fmt: skip
    assert run_cli(["source", "skb_attempt_defer_free", "--patch", KICK_AT_MAX]) == 0
    assert f"# from {KICK_AT_MAX}:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("what", "message", "expected"),
    [
        ("net_rx_acton", "6.12 has no such function", "net_rx_action"),
        ("net/core/devs.c", "6.12 has no such file", "net/core/dev.c"),
    ],
)
def test_what_is_not_there(what: str, message: str, expected: str) -> None:
    with pytest.raises(SoftnetError) as caught:
        source("6.12").text(what)
    assert (caught.value.message, caught.value.found, caught.value.expected) == (message, what, expected)


def test_the_command_without_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["source"]) == 2
    assert "softnet source --list" in capsys.readouterr().err
    assert run_cli(["source", "--list", "--kernel", "6.1"]) == 0
    assert "  net/core/dev.c\n" in capsys.readouterr().out
    assert run_cli(["diff", "6.1", "6.2"]) == 2
    assert "unknown kernel" in capsys.readouterr().err
