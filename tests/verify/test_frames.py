# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a function may stop, what its frame keeps there, and how its places are numbered: data, looked at without any back end."""

from __future__ import annotations

import pytest
from tests.lang.forms import AT, block, branch, call, function, get, give, jump, module, place, point, t

from softnet.errors import SoftnetError
from softnet.lang import ir
from softnet.lang.declare import FunctionFacts
from softnet.verify.codegen.frames import FRAME_WORDS_MAX, Frame, Frames, Rules, analyse, state_fields, stopping_functions
from softnet.verify.codegen.points import Facts

FIELDS = {"s.f": "shared", "s.mine": "percpu", "s.constant": "shared"}
CHANGING = frozenset(("s.f", "s.mine"))
FACTS = Facts(functions={"spin_acquire": FunctionFacts(visible="acquire", x86="locked")})


def rules(*functions: ir.Function, reduce: bool = True) -> Rules:
    """Of a program in which s.constant is never stored to."""
    return Rules(module(*functions), FIELDS, CHANGING, reduce, FACTS)


def frame_of(*blocks: ir.Block, params: tuple[str, ...] = ("p",), more: tuple[str, ...] = ()) -> tuple[Frame, Frames]:
    """The frame of a function, and what is known of the program then."""
    tested = function("tested", params, *blocks, more=more)
    acquire = function("spin_acquire", ["lock"], block("entry", give()), kind="hwfunc")
    other = function("other", ["a"], block("entry", ir.Suspend(AT), give()))
    frames = Frames()
    program = rules(tested, acquire, other)
    return analyse(tested, program, stopping_functions(["tested", "other"], program), frames), frames


def test_which_functions_may_stop() -> None:
    plain = function("plain", [], block("entry", point("s.constant"), give()))
    suspends = function("suspends", [], block("entry", ir.Suspend(AT), give()))
    shared = function("shared", [], block("entry", point("s.f"), give()))
    caller = function("caller", [], block("entry", call("calls"), give()))
    calls = function("calls", [], block("entry", call("shared"), give()))
    machine = function("machine", [], block("entry", ir.Suspend(AT), give()), kind="hwfunc")
    functions = (plain, suspends, shared, caller, calls, machine)
    names = [f.name for f in functions]
    assert stopping_functions(names, rules(*functions)) == {"suspends", "shared", "calls", "caller"}


def test_without_reduction_what_changes_stops_and_what_does_not_does_not() -> None:
    assert [rules(reduce=False).kind(why) for why in ("s.f", "s.mine", "s.constant")] == ["hard", "hard", ""]
    assert [rules().kind(why) for why in ("s.f", "s.mine", "s.constant")] == ["non", "own", ""]


def test_a_function_is_cut_at_its_stops() -> None:
    frame, _ = frame_of(
        block("entry", get(1, "p"), point("s.f"), ir.Load(AT, t(2), place(t(1))), point("s.constant"), branch(t(2), "more", "end")),
        block("more", ir.Suspend(AT), jump("end")),
        block("end", give()),
    )
    labels = [(s.label, s.kind, s.successors()) for s in frame.segments]
    assert labels == [
        ("entry", "non", ("entry.0",)),
        ("entry.0", "", ("more", "end")),
        ("more", "suspend", ("more.2",)),
        ("more.2", "", ("end",)),
        ("end", "", ()),
    ]
    assert [s.number for s in frame.segments] == [0, 1, 2, 3, 4]
    assert isinstance(frame.access(frame.segments[0]), ir.Load)


def test_the_frame_keeps_live_locals_and_the_temps_that_cross_a_stop() -> None:
    frame, frames = frame_of(
        block("entry", get(1, "p"), get(2, "q"), ir.Set(AT, "x", t(2)), point("s.f"), ir.Load(AT, t(3), place(t(1))),
              get(4, "x"), give(t(4))),
        params=("p", "q"), more=("x", "unused"),
    )  # fmt: skip
    assert frame.crossing == {t(1)}
    assert frame.names == ["p", "q", "x", "unused", "%1"] == frames.names["tested"]
    assert frame.slot == {"p": 2, "q": 3, "x": 4, "unused": 5, "%1": 6}
    assert frame.words == 7 == frames.frame_words["tested"]
    # p and q have been read, unused never is: only these are kept at the stop.
    assert frame.saved(frame.segments[0]) == ["x", "%1"]


def test_what_is_live_follows_every_path() -> None:
    frame, _ = frame_of(
        block("entry", ir.Suspend(AT), jump("head")),
        block("head", get(1, "p"), branch(t(1), "body", "end")),
        block("body", get(2, "x"), ir.Set(AT, "p", t(2)), jump("head")),
        block("end", get(3, "y"), give(t(3))),
        more=("x", "y", "z"),
    )  # fmt: skip
    assert frame.saved(frame.segments[0]) == ["p", "x", "y"]
    assert frame.live["end"] == {"y"}


def test_a_local_that_is_written_first_is_not_kept() -> None:
    frame, frames = frame_of(block("entry", ir.Suspend(AT), ir.Set(AT, "p", 1), get(1, "p"), give(t(1))))
    assert frame.saved(frame.segments[0]) == []
    # So the context has nothing to remember while it waits there.
    assert frames.resume == {"tested": frame.segments[0].pc}


def test_no_place_of_rest_where_something_is_live() -> None:
    _, frames = frame_of(block("entry", ir.Suspend(AT), get(1, "p"), give(t(1))))
    assert frames.resume == {}


def test_before_a_lock_the_frame_keeps_the_lock() -> None:
    """The lock is looked at each time the context goes on."""
    frame, _ = frame_of(block("entry", get(1, "p"), point("spin_acquire"), call("spin_acquire", t(1)), give()))
    acquire = frame.segments[0]
    assert acquire.acquires
    assert frame.lock_call(acquire).function == "spin_acquire"
    assert frame.saved(acquire) == ["%1"]


def test_the_result_of_a_call_that_may_stop_crosses() -> None:
    frame, _ = frame_of(block("entry", get(1, "p"), call("other", t(1), to=2), give(t(2))))
    assert [s.kind for s in frame.segments] == ["call", ""]
    assert frame.crossing == {t(2)}
    assert frame.live["entry.0"] == {"%2"}


def test_places_are_numbered_in_order_and_say_what_they_are() -> None:
    blocks = block("entry", point("s.f"), call("other", 1), ir.CallPointer(AT, None, 2, ()), ir.Suspend(AT), give())
    frame, frames = frame_of(blocks)
    assert frame.entry == frames.entries["tested"] == 1
    assert [s.pc for s in frame.segments] == [2, 3, 4, 5, 0]
    assert [stop.what for stop in frames.stops] == ["nothing", "entry", "s.f", "call other", "call through a pointer", "suspend"]
    assert {stop.function for stop in frames.stops[1:]} == {"tested"}
    second = function("second", [], block("entry", give()))
    assert frames.enter(second) == 6


def test_too_many_locals_are_refused() -> None:
    many = tuple(f"local{number}" for number in range(FRAME_WORDS_MAX))
    with pytest.raises(SoftnetError, match="too many locals"):
        frame_of(block("entry", ir.Suspend(AT), give()), more=many)


def test_the_state_is_what_changes_inside() -> None:
    assert state_fields(("s.f", "explorer.depth"), frozenset(("explorer",))) == {"s.f"}
