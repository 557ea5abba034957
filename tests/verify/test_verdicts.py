# SPDX-License-Identifier: GPL-2.0-or-later
"""Verdicts that are neither vacuous nor masked nor false: broken and correct kernels, each with what must be said of it.

Most are an edit of a shipped function. A broken one names a property that is asked alone; a correct one holds to all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.linux.support import patch_file
from tests.long import sample
from tests.mutation import mutate

from softnet.errors import SoftnetError
from softnet.lang.native.compile import available
from softnet.properties import numbers
from softnet.properties.findings import FINDINGS
from softnet.properties.statements import PROPERTIES
from softnet.verify.api import Standing, Verification, VerifyOptions, configurations
from softnet.verify.known import finding_of, search_past_known
from softnet.verify.properties import named, properties_mask
from softnet.verify.search import Limits, Outcome, search
from softnet.verify.standard import from_text
from softnet.verify.verdict import Verdict

CASES = Path(__file__).parent / "cases"
EXAMPLES = Path(__file__).parents[2] / "examples" / "patches"
SMALL = Limits(states=2_000_000, memory_bytes=512 << 20)
native = [pytest.mark.slow, pytest.mark.skipif(bool(available()), reason=f"no native code: {available()}")]

FREE, IRQ, BOTH = "kernel=6.12,driver=free:1:2", "kernel=6.12,driver=irq:0:2", "kernel=6.12,driver=free:1:2,driver=irq:0"
LLIST = "kernel=6.12,defer_max=6,driver=free:1:5"


_LIST_FIRST = """
    sd.defer_list = None
    count = sd.defer_count
    sd.defer_count = 0
"""
_COUNT_FIRST = """
    count = sd.defer_count
    sd.defer_count = 0
    sd.defer_list = None
"""
_DROPPED = """
    sd.defer_list = None
    count = sd.defer_count
    sd.defer_count = 0
    skb = None
"""


@dataclass(frozen=True)
class Case:
    """A kernel and what is explored: edits as function, old text, new text, or a file of this folder or of examples."""

    name: str
    configuration: str
    edits: tuple[tuple[str, str, str], ...] = ()
    file: str = ""
    breaks: tuple[str, ...] = ()
    """Properties that are broken, each of which a search for it alone must find; none for a correct kernel."""

    def patches(self, tmp_path: Path) -> tuple[str, ...]:
        """The patch files."""
        files = [next(str(d / self.file) for d in (CASES, EXAMPLES) if (d / self.file).exists())] if self.file else []
        for number, (function, old, new) in enumerate(self.edits):
            folder = tmp_path / str(number)
            folder.mkdir(exist_ok=True)
            files.append(mutate(folder, "6.12", function, old, new))
        return tuple(files)


_FLAG_CLEARED = """
    if smp_call_function_single_async(cpu, sd.defer_csd):
        smp_store_release(sd.defer_ipi_scheduled, 0)
"""
_NO_WORK = "work('net_rx_action')"
"""In the place of what is left out: a price, which the explorer does not pay."""

BROKEN = (
    # A broken link in front of what is asked: at the end all are looked at.
    Case("no_backlog_lock", "kernel=6.12-threads,driver=free:1:2,driver=irq:0", file="no_backlog_lock.py",
         breaks=("lost work", "lost kick")),
    Case("never_scheduled", IRQ, (("enqueue_to_backlog", "napi_schedule_rps(sd)", _NO_WORK),),
         breaks=("phantom SCHED", "lost work")),
    Case("sched_stays", IRQ, (("process_backlog", "process_backlog_retire_sched(napi)", _NO_WORK),),
         breaks=("phantom SCHED", "lost work")),
    Case("poll_list_left", "kernel=6.12,budget=1,dev_weight=1,driver=irq:0:2",
         (("net_rx_action", "__raise_softirq_irqoff(NET_RX_SOFTIRQ)", _NO_WORK),), breaks=("poll list left", "lost work")),
    Case("call_raises_nothing", FREE, (("trigger_rx_softirq", "__raise_softirq_irqoff(NET_RX_SOFTIRQ)", _NO_WORK),),
         breaks=("lost kick",)),
    Case("flag_stays", "kernel=6.12,driver=free:1:4,driver=irq:0",
         (("trigger_rx_softirq", "smp_store_release(sd.defer_ipi_scheduled, 0)", _NO_WORK),),
         breaks=("flag without a call", "lost kick")),
    Case("flag_and_no_call", FREE, (("kick_defer_list_purge", "smp_call_function_single_async(cpu, sd.defer_csd)", _NO_WORK),),
         breaks=("flag without a call", "lost kick")),
    # What is promised is asked of the events, wherever the list is.
    Case("never_kicks", FREE, (("skb_attempt_defer_free", "if kick:", "if defer_max < 0:"),), breaks=("lost kick",)),
    Case("llist_never_kicks", LLIST, file="llist_a_never_kicks.py", breaks=("lost kick",)),
    Case("push_does_not_count", FREE,
         (("skb_attempt_defer_free", "WRITE_ONCE(sd.defer_count, sd.defer_count + 1)", _NO_WORK),),
         breaks=("count without list", "lost kick")),
    Case("flush_keeps_the_count", BOTH, (("skb_defer_free_flush", "sd.defer_count = 0", "sd.defer_count = count"),),
         breaks=("count without list",)),
    Case("flush_drops_the_list", BOTH, (("skb_defer_free_flush", _LIST_FIRST, _DROPPED),), breaks=("conservation",)),
    Case("flush_frees_here", BOTH, (("skb_attempt_defer_free", "kick_defer_list_purge(sd, cpu)", "skb_defer_free_flush(sd)"),),
         breaks=("freed away from home",)),
    Case("no_limit", "kernel=6.12,defer_max=2,driver=free:1:4",
         (("skb_attempt_defer_free", "if READ_ONCE(sd.defer_count) >= defer_max:", "if READ_ONCE(sd.defer_count) < 0:"),),
         breaks=("over the limit",)),
    Case("never_rests", "kernel=6.12-threads,liveness=1,driver=free:1:2", file="thread_waits_for_ever.py",
         breaks=("kick without a flush", "livelock")),
)  # fmt: skip

CORRECT = (
    # Inside a critical section what it restores may be broken.
    Case("append_first", "kernel=6.12,rps=1,driver=rps:1:1:0,driver=irq:0", file="c_append_first.py"),
    Case("append_first_without_a_lock", IRQ, file="c_append_first.py"),
    Case("append_first_with_threads", "kernel=6.12-threads,driver=free:1:2,driver=irq:0", file="c_append_first.py"),
    Case("flag_cleared_before_detach", BOTH, file="c_flag_cleared_before_detach.py"),
    Case("count_first", BOTH, (("skb_defer_free_flush", _LIST_FIRST, _COUNT_FIRST),)),
    # Lists elsewhere.
    Case("llist", LLIST, file="llist_a.py"),
    Case("llist_declared", LLIST, file="llist_declared.py"),
    Case("llist_declared_and_polled", f"{LLIST},driver=irq:0", file="llist_declared.py"),
    # More than must be done.
    Case("kicks_more_often", BOTH,
         (("skb_attempt_defer_free", "sd.defer_count == defer_max >> 1", "sd.defer_count >= defer_max >> 1"),)),
    Case("tries_each_time", IRQ, (("enqueue_to_backlog", "if not qlen:", "if qlen >= 0:"),)),
)  # fmt: skip


def case_named(name: str) -> Case:
    """One of them."""
    return next(case for case in (*BROKEN, *CORRECT) if case.name == name)


def explore(case: Case, tmp_path: Path, *properties: str) -> Outcome:
    """Search a case, for some properties or for all."""
    return search(replace(from_text(case.configuration, case.patches(tmp_path)), properties=properties), SMALL)


def said(outcome: Outcome) -> dict[str, str]:
    """What the table says of each property."""
    rows = Verification([(outcome, 0.0)]).properties()
    return {row.property.name: str(row.standing) for row in rows if row.property is not None}


NAMED = [
    ("C1", "6.12-rt"), ("C7", "6.18"), ("C4", "7.3"), ("C4", "6.12-rt"), ("C6", "6.12-rt"), ("C1", "7.3-threads"), ("C10", "6.18"),
    ("C7", "6.12"), ("C11", "7.3"), ("C9", "6.12"), ("C12", "6.12"), ("C10", "7.3"), ("C6", "6.18"), ("C11", "6.18"),
]  # fmt: skip
"""Findings and kernels that have them; the document's commands run the first of each, too."""


class TestKernels:
    """What takes a search."""

    pytestmark = native

    @pytest.mark.parametrize(("case", "name"), [(c, p) for c in BROKEN for p in c.breaks], ids=lambda v: getattr(v, "name", v))
    def test_each_broken_property_is_found_when_it_alone_is_asked(self, case: Case, name: str, tmp_path: Path) -> None:
        outcome = explore(case, tmp_path, name)
        assert outcome.failure is not None
        assert outcome.failure.name == name
        assert said(outcome)[name] == "violated"

    @pytest.mark.parametrize("case", BROKEN, ids=lambda c: c.name)
    def test_a_broken_kernel_is_found_by_all(self, case: Case, tmp_path: Path) -> None:
        outcome = explore(case, tmp_path)
        assert outcome.verdict is Verdict.VIOLATED
        assert "holds" not in said(outcome).values()

    @pytest.mark.parametrize("case", CORRECT, ids=lambda c: c.name)
    def test_a_correct_kernel_holds(self, case: Case, tmp_path: Path) -> None:
        outcome = explore(case, tmp_path)
        assert outcome.failure is None
        assert outcome.verdict is Verdict.HOLDS

    @pytest.mark.parametrize(("file", "name"), [("p_queue_empty.py", "queue_empty"), ("p_watermark.py", "watermark_end")])
    def test_a_users_property_sees_what_ours_sees(self, file: str, name: str) -> None:
        config = from_text("kernel=6.12-threads,driver=free:1:2,driver=irq:0", (str(EXAMPLES / "no_backlog_lock.py"),))
        asked = replace(config, property_files=(str(CASES / file),), properties=(name, "deadlock"))
        failure = search(asked, SMALL).failure
        assert failure is not None
        assert failure.name == name

    def test_half_a_fix_of_c7_leaves_a_lost_kick(self, tmp_path: Path) -> None:
        # The flag is right again; the list of the CPU that comes back is above its watermark, and nobody flushes it.
        text = "kernel=6.12,defer_max=1,resched=0,driver=free:0:1:1,driver=hotplug:0:2:1"
        call = "smp_call_function_single_async(cpu, sd.defer_csd)"
        patch = mutate(tmp_path, "6.12", "kick_defer_list_purge", call, _FLAG_CLEARED)
        asked = replace(from_text(text, (patch,)), properties=("lost kick",))
        failure = search(asked, replace(SMALL, states=4_000_000, storage="compact")).failure
        assert failure is not None
        assert failure.name == "lost kick"

    def test_what_there_was_nothing_of_is_not_said_to_hold(self, tmp_path: Path) -> None:
        rows = said(search(from_text("kernel=6.12,driver=free:1:1"), SMALL))
        assert rows["lost kick"] == rows["NET_RX from an IPI"] == rows["stranded"] == rows["polled elsewhere"] == "nothing to check"
        assert rows["count without list"] == rows["conservation"] == "holds"
        rows = said(explore(case_named("llist"), tmp_path))
        assert rows["over the limit"] == rows["count without list"] == "nothing to check"
        assert rows["conservation"] == "not decided"
        assert said(explore(case_named("llist_declared"), tmp_path))["conservation"] == "holds"

    def test_premises_are_counted_alike_in_both_storages(self) -> None:
        config = from_text(BOTH)
        exact, compact = (search(config, replace(SMALL, storage=storage)) for storage in ("exact", "compact"))
        assert exact.states == compact.states
        assert exact.premises == compact.premises
        assert exact.premises["lost kick"] > 0

    @pytest.mark.parametrize(
        ("number", "kernel"),
        sample(NAMED, NAMED[::3]),
    )
    def test_a_known_finding_is_named_and_only_what_is_new_fails(self, number: str, kernel: str) -> None:
        finding = FINDINGS[number]
        assert kernel in finding.kernels
        config = from_text(finding.on(kernel))
        outcome = search_past_known(config, SMALL)
        assert number in {known.finding for known in outcome.known}
        assert outcome.failure is None
        assert outcome.verdict is Verdict.HOLDS
        assert said(outcome)[finding.properties[0]] == "known"

    def test_a_patch_that_brings_the_property_down_is_no_known_finding(self, tmp_path: Path) -> None:
        case = case_named("never_kicks")
        config = replace(from_text("kernel=6.12,defer_max=4,event=skb_defer_max:3,driver=free:1:3", case.patches(tmp_path)))
        outcome = search_past_known(config, SMALL)
        assert outcome.known == ()
        assert outcome.failure is not None
        assert outcome.failure.name == "lost kick"

    def test_without_a_property_the_next_one_is_found(self, tmp_path: Path) -> None:
        case = case_named("sched_stays")
        options = VerifyOptions(case.patches(tmp_path), drivers=("irq:0:2",), without=("phantom SCHED", "L1"))
        (config,) = configurations(["6.12"], options)
        outcome = search(config, SMALL)
        assert outcome.failure is not None
        assert outcome.failure.name == "lost work"
        assert said(outcome)["phantom SCHED"] == Standing.NOT_ASKED


def test_names_and_numbers_of_properties() -> None:
    assert named(("I6", "L1", "lost work")) == (
        "lost kick",
        "softirq left pending",
        "stranded",
        "kick without a flush",
        "lost work",
    )
    mask = 1 << numbers.VX_COUNT_WITHOUT_LIST | 1 << numbers.VX_DEFERRAL_STOPPED
    assert properties_mask(("I10",)) == mask
    assert properties_mask((), without=("I10",)) == sum(1 << n for n in PROPERTIES) & ~mask
    with pytest.raises(SoftnetError) as caught:
        named(("lost kik",))
    assert caught.value.hint == "did you mean 'lost kick'?"


def test_asked_for_nothing_is_an_error() -> None:
    with pytest.raises(SoftnetError, match="nothing is left to check"):
        configurations(["6.12"], VerifyOptions(properties=("lost kick", "deadlock"), without=("I6", "I11")))


def test_findings_need_what_makes_them_possible() -> None:
    assert finding_of(from_text("kernel=6.12,driver=free:1:2"), "lost kick") is None
    assert finding_of(from_text("kernel=6.12-rt,driver=free:1:2"), "lost kick") is None
    for finding in FINDINGS.values():
        for name in finding.properties:
            found = finding_of(from_text(finding.on(finding.kernels[-1])), name)
            assert found is not None
            assert name in found.properties


def test_a_patch_says_what_it_changes(tmp_path: Path) -> None:
    from softnet.verify.model import build_model

    text = (
        "@kfunc\ndef trigger_rx_softirq(data: softnet_data) -> None:\n    helper(data)\n\n\n"
        "@kfunc\ndef helper(sd: softnet_data) -> None:\n    __raise_softirq_irqoff(NET_RX_SOFTIRQ)\n"
    )
    path = patch_file(tmp_path, "kick", text)
    assert build_model(from_text(FREE, (path,))).changes == (f"{path}: replaces 1 function, adds 1",)


NOTHING = {
    "empty": ("", "the patch changes nothing", ""),
    "misspelt": (
        "@kfunc\ndef skb_defer_free_flsuh(sd: softnet_data) -> None:\n    sd.defer_count = 0\n",
        "the patch changes nothing",
        "did you mean skb_defer_free_flush()?",
    ),
    "unmarked": (
        "def skb_defer_free_flush(sd: softnet_data) -> None:\n    sd.defer_count = 0\n",
        "is not marked, so it changes nothing",
        "",
    ),
    "anew": (
        "from softnet.lang import Struct, shared\n\n\nclass softnet_data(Struct):\n    mine: int = shared()\n",
        "a structure of the kernel is declared anew",
        "with extends=True the fields are added to the kernel's structure, or declared otherwise there",
    ),
}


@pytest.mark.parametrize("name", NOTHING)
def test_a_patch_that_changes_nothing_is_an_error(name: str, tmp_path: Path) -> None:
    from softnet.verify.model import build_model

    text, message, hint = NOTHING[name]
    path = patch_file(tmp_path, name, text)
    with pytest.raises(SoftnetError, match=message) as caught:
        build_model(from_text(FREE, (path,)))
    assert caught.value.where.startswith(path)
    assert caught.value.hint == hint
