# SPDX-License-Identifier: GPL-2.0-or-later
"""The analysis behind passes.redundant, on functions small enough to follow by hand: settled contexts and held lines."""

from __future__ import annotations

from collections.abc import Sequence

from tests.lang.forms import AT, block, branch, call, function, get, give, jump, module, place, point, read, t, write

from softnet.lang import ir
from softnet.lang.passes.dataflow import AS_ENTERED, NO, UNKNOWN, YES, Entry, Flow, Redundant, Summary
from softnet.lang.passes.redundant import find_redundant
from softnet.lang.passes.symbolic_lines import CPU, RESULT, Line, param

P = Line(param("p"), 0)


def flow(
    *blocks: ir.Block, settled: int = NO, summaries: dict[str, Summary] | None = None, others: Sequence[ir.Function] = ()
) -> Flow:
    """The analysis of a function of the parameters p and q."""
    tested = function("tested", ["p", "q"], *blocks, more=["x"])
    return Flow(module(tested, *others), tested, summaries or {}, Entry(settled))


def found(*blocks: ir.Block, settled: int = NO, others: Sequence[ir.Function] = ()) -> Redundant:
    """What may be dropped of it."""
    return flow(*blocks, settled=settled, others=others).found


def body(*instrs: ir.Instr) -> ir.Block:
    """One block with the whole function: p is %1, q is %2."""
    return block("entry", get(1, "p"), get(2, "q"), *instrs, give())


def store_now() -> ir.Store:
    """The clock moves."""
    return ir.Store(AT, place(16, "engine_state.now", "hw"), 1)


def test_a_second_point_is_redundant() -> None:
    assert found(body(point(), point())).points == {("entry", 3)}


def test_not_after_the_clock_moved() -> None:
    assert found(body(point(), store_now(), point())).points == set()


def test_nor_after_a_suspend_or_a_call_through_a_pointer() -> None:
    assert found(body(point(), ir.Suspend(AT), point())).points == set()
    assert found(body(point(), ir.CallPointer(AT, None, t(1), ()), point())).points == set()


def test_a_store_to_another_field_settles_nothing_and_unsettles_nothing() -> None:
    assert found(body(point(), ir.Store(AT, place(t(1)), 1), point())).points == {("entry", 4)}


def test_the_first_point_is_redundant_if_the_caller_is_settled() -> None:
    assert found(body(point()), settled=YES).points == {("entry", 2)}
    assert found(body(point()), settled=AS_ENTERED).points == set()


def test_a_line_is_paid_for_once() -> None:
    assert found(body(read(t(1)), read(t(1)))).lines == {("entry", 3)}
    assert found(body(write(t(1)), read(t(1)))).lines == {("entry", 3)}


def test_a_line_that_was_read_is_not_held_for_writing() -> None:
    assert found(body(read(t(1)), write(t(1)), write(t(1)))).lines == {("entry", 4)}


def test_other_lines_are_other_lines() -> None:
    assert found(body(read(t(1)), read(t(2)))).lines == set()


def test_a_point_gives_the_line_away() -> None:
    assert found(body(read(t(1)), point(), read(t(1)))).lines == set()


def test_a_redundant_point_does_not() -> None:
    """The price of a line moves the clock; a second point right behind the first is dropped, and the line stays."""
    assert found(body(point(), point(), read(t(1)), read(t(1)))).lines == {("entry", 5)}
    held = found(body(read(t(1)), point(), read(t(1)), read(t(1))))
    assert held.lines == {("entry", 5)}


def test_a_price_that_is_paid_unsettles() -> None:
    assert found(body(point(), read(t(1)), point())).points == set()
    assert found(body(read(t(1)), point(), read(t(1)), read(t(1)), point())).points == set()


def test_a_price_that_is_dropped_does_not() -> None:
    one = body(point(), read(t(1)), read(t(1)), point())
    assert found(one) == Redundant(points=set(), lines={("entry", 4)})


# -- paths


def diamond(yes: Sequence[ir.Instr], no: Sequence[ir.Instr], after: Sequence[ir.Instr]) -> list[ir.Block]:
    """Two ways that meet."""
    return [
        block("entry", get(1, "p"), branch(t(1), "yes", "no")),
        block("yes", get(2, "p"), *yes, jump("after")),
        block("no", get(3, "p"), *no, jump("after")),
        block("after", get(4, "p"), *after, give()),
    ]


def test_where_paths_meet_only_what_holds_on_both_stays() -> None:
    both = found(*diamond([read(t(2))], [write(t(3))], [read(t(4)), write(t(4))]))
    assert both.lines == {("after", 1)}
    assert found(*diamond([read(t(2))], [], [read(t(4))])).lines == set()
    assert found(*diamond([point()], [point()], [point()])).points == {("after", 1)}
    assert found(*diamond([point()], [], [point()])).points == set()


def test_a_local_with_different_values_is_a_new_one() -> None:
    """x is p on one way and q on the other: its line is neither's."""
    blocks = [
        block("entry", get(1, "p"), get(2, "q"), read(t(1)), read(t(2)), branch(t(1), "yes", "no")),
        block("yes", get(3, "p"), ir.Set(AT, "x", t(3)), jump("after")),
        block("no", get(4, "q"), ir.Set(AT, "x", t(4)), jump("after")),
        block("after", get(5, "x"), read(t(5)), read(t(5)), give()),
    ]
    assert found(*blocks).lines == {("after", 2)}


def test_a_loop_holds_what_every_turn_holds() -> None:
    loop = [
        block("entry", get(1, "p"), read(t(1)), jump("loop")),
        block("loop", get(2, "p"), read(t(2)), branch(t(2), "loop", "after")),
        block("after", get(3, "p"), read(t(3)), give()),
    ]
    assert found(*loop).lines == {("loop", 1), ("after", 1)}


def test_a_loop_that_gives_way_holds_nothing() -> None:
    loop = [
        block("entry", get(1, "p"), read(t(1)), jump("loop")),
        block("loop", get(2, "p"), read(t(2)), point(), branch(t(2), "loop", "after")),
        block("after", get(3, "p"), read(t(3)), give()),
    ]
    assert found(*loop).lines == set()


def test_a_local_that_moves_in_a_loop_is_another_each_turn() -> None:
    """x = next: the line of one turn is not the line of the next."""
    loop = [
        block("entry", get(1, "p"), ir.Set(AT, "x", t(1)), jump("loop")),
        block("loop", get(2, "x"), read(t(2)), ir.Load(AT, t(3), place(t(2))), ir.Set(AT, "x", t(3)), branch(t(3), "loop", "end")),
        block("end", give()),
    ]
    assert found(*loop).lines == set()


def test_what_a_loop_loads_is_another_each_turn() -> None:
    loop = [
        block("entry", get(1, "p"), jump("loop")),
        block("loop", get(2, "p"), ir.Load(AT, t(3), place(t(2))), read(t(3)), branch(t(3), "loop", "end")),
        block("end", give()),
    ]
    assert found(*loop).lines == set()


# -- calls


def test_the_summary_of_a_function() -> None:
    assert flow(body()).summary() == Summary(NO, suspends=False)
    assert flow(body(), settled=AS_ENTERED).summary() == Summary(AS_ENTERED, suspends=False)
    assert flow(body(write(t(1)))).summary() == Summary(NO, suspends=False, held={P: True})
    assert flow(body(point())).summary() == Summary(YES, suspends=True)


def test_a_line_of_the_result() -> None:
    gives = flow(block("entry", ir.Load(AT, t(1), place(16)), read(t(1)), give(t(1))))
    assert gives.summary().held == {Line(param(RESULT), 0): False}


def test_a_call_of_an_unknown_function_ends_everything() -> None:
    other = function("other", ["a"], block("entry", give()))
    unknown = flow(body(point(), read(t(1)), call("other", t(1)), read(t(1)), point()), others=[other])
    assert unknown.found == Redundant()
    assert UNKNOWN.suspends


def test_a_call_gives_what_its_summary_holds() -> None:
    other = function("other", ["a"], block("entry", give()))
    known = {"other": Summary(AS_ENTERED, suspends=False, held={Line(param("a"), 0): True})}
    after = flow(body(point(), call("other", t(2)), write(t(2)), read(t(1)), point()), summaries=known, others=[other])
    assert after.found == Redundant(points=set(), lines={("entry", 4)})
    settled = flow(body(point(), call("other", t(2)), point()), summaries=known, others=[other])
    assert settled.found.points == {("entry", 4)}


def test_a_call_that_moves_the_clock_unsettles() -> None:
    other = function("other", ["a"], block("entry", give()))
    for settled, points in ((NO, set()), (AS_ENTERED, {("entry", 4)}), (YES, {("entry", 4)})):
        after = flow(body(point(), call("other", 0), point()), summaries={"other": Summary(settled, False)}, others=[other])
        assert after.found.points == points


def test_another_cpu_after_a_suspend() -> None:
    """The context may go on elsewhere, so this CPU's instance of a structure is another one."""

    def mine(number: int) -> tuple[ir.Instr, ...]:
        load = ir.Load(AT, t(number), place(18, "engine_state.cpu", "hw"))
        return load, ir.Table(AT, t(number + 1), "cpu_hw", t(number)), read(t(number + 1))

    assert found(body(*mine(3), *mine(5))).lines == {("entry", 7)}
    moved = flow(body(*mine(3), point(), *mine(5)))
    assert moved.found.lines == set()
    assert moved.state.values[CPU].root.kind == "cpu"


def test_what_all_callers_hold_a_function_holds() -> None:
    inner = function("inner", ["a"], block("entry", get(1, "a"), read(t(1)), give()))
    one = function("one", ["p"], block("entry", get(1, "p"), read(t(1)), call("inner", t(1)), give()))
    two = function("two", ["p"], block("entry", get(1, "p"), write(t(1)), call("inner", t(1)), give()))
    three = function("three", ["p"], block("entry", get(1, "p"), call("inner", t(1)), give()))
    assert find_redundant(module(inner, one, two))["inner"].lines == {("entry", 1)}
    assert find_redundant(module(inner, one, three))["inner"].lines == set()
    assert find_redundant(module(inner, one, two, pointed=["inner"]))["inner"].lines == set()


def test_nothing_is_assumed_of_a_function_that_calls_itself() -> None:
    inner = function("inner", ["a"], block("entry", get(1, "a"), read(t(1)), call("inner", t(1)), give()))
    one = function("one", ["p"], block("entry", get(1, "p"), read(t(1)), call("inner", t(1)), read(t(1)), give()))
    dropped = find_redundant(module(inner, one))
    assert dropped["inner"].lines == set()
    assert dropped["one"].lines == set()
