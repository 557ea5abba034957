# SPDX-License-Identifier: GPL-2.0-or-later
"""Observers look on: they store to tables of their own only, and what they cannot look at they say."""

from __future__ import annotations

import pytest
from tests.linux.support import loopback_scenario, patch_file

from softnet.errors import SoftnetError
from softnet.image.costnames import cost_names
from softnet.lang import ir
from softnet.lang.check.subset import typed_program
from softnet.lang.lowering.lower import lower_program
from softnet.lang.program.layout import observers_own
from softnet.lang.program.observe import observers_of
from softnet.lang.program.program import function_numbers
from softnet.properties.history import words
from softnet.simulate.invariants import ROWS
from softnet.simulate.program import load_program
from softnet.simulate.simulation import Simulation
from softnet.trace import EVENT_ID


@pytest.fixture(scope="module")
def checked():
    return load_program(loopback_scenario("6.12-rt"), checks=True)


@pytest.mark.slow
def test_an_observer_changes_nothing_of_the_model(checked):
    module = lower_program(typed_program(checked), {n: i for i, n in enumerate(cost_names(checked))}, EVENT_ID)
    observers = {name for name, d in checked.functions.items() if d.kind == "observer"}
    assert len(observers) > 100
    for name in observers:
        for block in module.functions[name].blocks:
            for i in block.body:
                assert not isinstance(i, ir.Point | ir.Suspend | ir.CallPointer | ir.Atomic | ir.Trace), name
                if isinstance(i, ir.Call):
                    assert i.function in observers, (name, i.function)
                if isinstance(i, ir.Store):
                    assert observers_own(checked.structs[i.place.field.partition(".")[0]]), (
                        name,
                        i.place.field,
                    )


def test_observers_have_no_function_numbers(checked):
    plain = load_program(loopback_scenario("6.12-rt"))
    assert function_numbers(plain) == function_numbers(checked)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["6.1", "6.1-rt", "6.9", "6.10-rt", "6.12-threads"])
def test_every_observer_finds_what_it_looks_at(kernel):
    """Those of functions, events and fields that there are in no kernel would never run."""
    program = load_program(loopback_scenario(kernel), checks=True)
    hooks = observers_of(program, ["process_backlog"])
    asked = {a.enter for a in hooks.around.values()} | {a.leave for a in hooks.around.values()}
    asked |= set(hooks.event.values()) | set(hooks.stored.values()) | {hooks.before_switch}
    named = {n for n in program.functions if n.startswith(("enter_", "leave_", "event_", "stored_", "before_"))}
    only_later = {"kick_defer_list_purge", "napi_threaded_poll_loop", "napi_skb_cache_take", "process_one_work"}
    missing = {n.removeprefix("enter_").removeprefix("leave_") for n in named - asked}
    assert missing <= only_later - set(program.functions)
    assert set(hooks.event) <= set(EVENT_ID)
    for field in hooks.stored:
        struct, _, name = field.partition(".")
        assert name in program.structs[struct].fields


OTHER_PARAMETERS = """@kfunc
def __smp_call_single_queue(PARAMETERS) -> None:
    send_call_function_single_ipi(cpu)


@kfunc
def generic_exec_single(cpu: int, csd: call_single_data) -> int:
    __smp_call_single_queue(CALL)
    return 0


@kfunc
def __ttwu_queue_wakelist(p: task_struct) -> None:
    __smp_call_single_queue(WAKEUP)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("parameters", "call", "wakeup"),
    [("cpu: int", "cpu", "p.cpu"), ("node: llist_node, cpu: int", "csd.llist, cpu", "p.wake_entry.llist, p.cpu")],
)
def test_a_patch_with_other_parameters_is_refused(tmp_path, parameters, call, wakeup):
    text = OTHER_PARAMETERS.replace("PARAMETERS", parameters).replace("CALL", call).replace("WAKEUP", wakeup)
    patch = patch_file(tmp_path, "other", text)
    for engine in ("native", "reference"):
        with pytest.raises(SoftnetError) as caught:
            Simulation(loopback_scenario("6.9"), patches=[patch], checks=True, engine=engine)
        error = caught.value
        assert error.message == "the invariants cannot be checked with this __smp_call_single_queue()"
        assert error.where.startswith(f"{patch}:")
        assert error.found == f"__smp_call_single_queue({parameters})"
        assert error.expected.startswith("__smp_call_single_queue(cpu: int, node: llist_node)")


def test_every_row_and_way_to_say_it_is_known():
    assert set(ROWS) == set(range(1, words.CK_ROWS))
