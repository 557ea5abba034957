# SPDX-License-Identifier: GPL-2.0-or-later
"""The patch files that ship as examples do what they say."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest
from tests.linux.support import drain_scenario, event_name, named, simulate
from tests.mutation import Edit, function_text

import softnet
from softnet.errors import SoftnetError
from softnet.linux.releases import load_patch, modules_for, patch_info

PATCHES = Path(__file__).parents[2] / "examples" / "patches"


def lengths_at_kicks(patches: list[str]) -> set[int]:
    """How long the defer list was at each kick."""
    out = set()
    length = 0
    for record in named(simulate(drain_scenario("6.12"), patches)[0], "skb_attempt_defer_free", "kick_defer_list_purge"):
        if event_name(record) == "skb_attempt_defer_free":
            length = record.c
        else:
            out.add(length)
    return out


@pytest.mark.slow
@pytest.mark.parametrize(("name", "length"), [("kick_at_max.py", 64), ("defer_watermark.py", 9)])
def test_example_patch(name, length):
    assert lengths_at_kicks([]) == {33}
    assert lengths_at_kicks([str(PATCHES / name)]) == {length}


ATTEMPT = "skb_attempt_defer_free"
IPIS = """
if sd_has_rps_ipi_waiting(sd):
    local_irq_disable()
    net_rps_action_and_irq_enable(sd)
"""
LOCKS = {
    "rps_lock_irqsave": "backlog_lock_irq_save",
    "rps_lock_irq_disable": "backlog_lock_irq_disable",
    "rps_unlock_irq_restore": "backlog_unlock_irq_restore",
    "rps_unlock_irq_enable": "backlog_unlock_irq_enable",
}
"""The backlog's lock in 6.10 and from 6.12 on."""
STATED = {
    "defer_watermark": (
        ("6.12",),
        [Edit(ATTEMPT, "defer_max >> 1", "READ_ONCE(table(net_hotdata, 0).sysctl_skb_defer_watermark)")],
    ),
    "defer_count_follows": (
        ("6.18", "6.18-rt", "6.19"),
        [
            Edit(ATTEMPT, "trace_skb_defer_nodefer(skb, cpu, SKB_NODEFER_FULL)\n",
                 "atomic_dec(sdn.defer_count)\ntrace_skb_defer_nodefer(skb, cpu, SKB_NODEFER_FULL)\n"),
            Edit("skb_defer_free_flush", "atomic_set(sdn.defer_count, 0)\nentry = llist_del_all(sdn.defer_list)",
                 "entry = llist_del_all(sdn.defer_list)\natomic_set(sdn.defer_count, 0)"),
        ],
    ),
    "flag_cleared_with_barrier": (
        ("6.1", "6.9", "6.12"),
        [
            Edit(
                "trigger_rx_softirq",
                "smp_store_release(sd.defer_ipi_scheduled, 0)",
                "smp_store_release(sd.defer_ipi_scheduled, 0)\nsmp_mb()",
            )
        ],
    ),
    "flush_after_break": (
        ("6.9", "6.10", "6.12", "6.12-rt"),
        [
            Edit(
                "net_rx_action",
                "local_irq_disable()\n\nlist_splice_tail_init(sd.poll_list, list)",
                "skb_defer_free_flush(sd)\nlocal_irq_disable()\n\nlist_splice_tail_init(sd.poll_list, list)",
            )
        ],
    ),
    "flush_when_dead": (
        ("6.1", "6.12", "6.12-rt"),
        [
            Edit(
                "dev_cpu_dead",
                "local_irq_enable()",
                "local_irq_enable()\nlocal_bh_disable()\nskb_defer_free_flush(oldsd)\nlocal_bh_enable()",
            )
        ],
    ),
    "kick_at_max": (("6.12", "6.12-rt"), [Edit(ATTEMPT, "defer_max >> 1", "defer_max - 1")]),
    "no_backlog_lock": (("6.10",), [Edit(name, "IS_ENABLED(CONFIG_RPS) or use_backlog_threads()", "IS_ENABLED(CONFIG_RPS)")
                                    for name in LOCKS]),
    "threaded_poll_forgets_rps": (("6.10", "6.12", "6.12-rt"), [Edit("napi_threaded_poll_loop", IPIS, "")]),
}  # fmt: skip
"""What each shipped patch changes in the kernels that it is for."""
OTHERWISE = {
    "thread_waits_for_ever": "it is another loop, not the kernel's with a change",
    "frees_at_once": "it is an older kernel: test_5_15_frees_where_it_reads",
}


def _functions(text: str) -> dict[str, str]:
    """Functions by name, without docstrings, comments and layout."""
    found = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef):
            node.body = node.body[1 if ast.get_docstring(node) else 0 :]
            found[node.name] = ast.unparse(node)
    return found


@pytest.mark.parametrize(("name", "kernel"), [(name, kernel) for name, (on, _) in STATED.items() for kernel in on])
def test_a_shipped_patch_changes_what_it_says_and_nothing_else(name: str, kernel: str) -> None:
    stated = {}
    for edit in STATED[name][1]:
        stated |= _functions(edit.apply(function_text(kernel, edit.function), name))
    shipped = _functions((PATCHES / f"{name}.py").read_text())
    if name == "no_backlog_lock":
        stated |= {new: stated[old].replace(old, new) for old, new in LOCKS.items()}
    assert shipped == stated


def test_what_each_shipped_patch_changes_is_stated() -> None:
    assert {path.stem for path in PATCHES.glob("*.py")} == {*STATED, *OTHERWISE}


def test_5_15_frees_where_it_reads() -> None:
    """What the reader has copied is freed by its own CPU, nothing is put on a list, nobody is kicked; both engines say so."""
    scenario, patches = drain_scenario("6.1"), [str(PATCHES / "frees_at_once.py")]
    assert named(simulate(scenario, [])[0], "skb_attempt_defer_free", "kick_defer_list_purge")
    run, _ = simulate(scenario, patches)
    assert not named(run, "skb_attempt_defer_free", "kick_defer_list_purge", "skb_defer_free_flush", "skb_defer_nodefer")
    assert run.result.counters["delivered"] > 0
    assert all(record.cpu == 1 for record in named(run, "consume_skb"))
    assert softnet.run(scenario, patches=patches, engine="native", trace="full").result.counters == run.result.counters


def test_the_watermark_is_the_only_field_that_its_patch_declares() -> None:
    tree = ast.parse((PATCHES / "defer_watermark.py").read_text())
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    fields = [ast.unparse(s.target) for c in classes for s in c.body if isinstance(s, ast.AnnAssign)]
    assert fields == ["sysctl_skb_defer_watermark"]


def test_a_patch_leaves_no_module_behind():
    before = set(sys.modules)
    load_patch(PATCHES / "kick_at_max.py")
    assert set(sys.modules) == before


@pytest.mark.parametrize(("text", "words"), [("def f(:\n", "must be Python"), ("import nothing_of_that_name\n", "failed while")])
def test_a_broken_patch_file_is_refused(tmp_path, text, words):
    path = tmp_path / "broken.py"
    path.write_text(text)
    with pytest.raises(SoftnetError, match=words):
        load_patch(path)


def test_a_missing_patch_file_is_refused(tmp_path):
    with pytest.raises(SoftnetError, match="no such patch file"):
        load_patch(tmp_path / "none.py")


def test_an_unknown_release_is_refused():
    with pytest.raises(SoftnetError, match="no such kernel release"):
        modules_for("5.4")


def test_every_patch_says_where_it_comes_from():
    for name in modules_for("6.12"):
        if ".patches." in name:
            info = patch_info(name)
            assert set(info) - {"config"} == {"commit", "subject", "since", "link"}, name
            assert len(info["commit"]) == 12, name


def test_6_10_is_6_9_and_the_series():
    added = [name.rpartition(".")[2] for name in modules_for("6.10") if name not in modules_for("6.9")]
    assert added == ["napi_wakeup_unconditional", "backlog_napi_threads", "backlog_napi_defer_list"]
