# SPDX-License-Identifier: GPL-2.0-or-later
"""The softirq's part of the model, run piece by piece on a Driver's state.

net_rx_action() takes its decisions between polls whose packets the trace tells of. So it is run from one of those
places to the next: up to the flush, from the flush to the next poll or its end, from a poll's end to the next flush or
its end. Its lists stand in softnet_data, so a piece goes on where the one before stopped; what a resumed call would do
again from its beginning is held back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from softnet.lab.validate.driver import Driver, Stopped

_LATE = 1 << 40


@dataclass(frozen=True, slots=True)
class Turn:
    """What a piece of net_rx_action() came to.

    ``where``: "head" (its loop's beginning, where it flushes), "polls" (it polls a NAPI), "left" (it returned).
    ``raised``: it raised NET_RX for what is left; ``sent``: the CPUs that it sent the IPIs of RPS to, in order.
    """

    where: str
    raised: bool
    squeezed: bool
    sent: tuple[int, ...]


def _nothing(*arguments: Any) -> None:
    """What is held back."""


def _later(first: Callable[..., Any], then: Callable[..., Any], calls: int = 1) -> Callable[..., Any]:
    """A function that does one thing at its first ``calls`` calls and another from then on."""
    left = [calls]

    def hook(*arguments: Any) -> Any:
        left[0] -= 1
        return first(*arguments) if left[0] >= 0 else then(*arguments)

    return hook


def _stops(where: str) -> Callable[..., Any]:
    def hook(*arguments: Any) -> Any:
        raise Stopped(where)

    return hook


def _run(driver: Driver, cpu: int, **hooks: Any) -> Turn:
    driver.on(cpu)
    where = "left"
    with driver.hooked(**hooks):
        try:
            driver.kernel["net_rx_action"]()
        except Stopped as stopped:
            where = stopped.where
    sent = tuple(target for target, _, _ in driver.told("csd_queue_cpu"))
    return Turn(where, driver.did("softirq_raise"), driver.did("time_squeeze"), sent)


def net_rx_begins(driver: Driver, cpu: int) -> Turn:
    """From the softirq's entry to the first flush: the CPU's poll list is taken over."""
    return _run(driver, cpu, skb_defer_free_flush=_stops("head"))


def budget_of(driver: Driver) -> int:
    """The budget that net_rx_action() reads at its entry."""
    return int(driver.row("net_hotdata", 0).netdev_budget)


def net_rx_goes_on(driver: Driver, cpu: int) -> Turn:
    """From a flush: to a poll, to the end, or (since v6.4) back to the loop's head for what was scheduled meanwhile."""
    return _run(
        driver,
        cpu,
        INIT_LIST_HEAD=_later(_nothing, driver.kernel["INIT_LIST_HEAD"], 2),
        list_splice_init=_later(_nothing, driver.kernel["list_splice_init"]),
        skb_defer_free_flush=_later(_nothing, _stops("head")),
        napi_poll=_stops("polls"),
        jiffies=lambda: 0,
    )


def net_rx_polled(driver: Driver, cpu: int, spent: int, work: int, quota: int, granted: int, late: bool) -> Turn:
    """From the end of a poll that did ``work``: squeezed by budget or, if ``late``, by time; or on to the next flush.

    ``spent`` of the budget that was ``granted`` at its entry was used up before this poll.
    """
    settings = driver.row("net_hotdata", 0)
    budget = settings.netdev_budget
    settings.netdev_budget = granted - spent
    before, after = 0, _LATE if late else 0
    turn = _run(
        driver,
        cpu,
        INIT_LIST_HEAD=_later(_nothing, driver.kernel["INIT_LIST_HEAD"], 2),
        list_splice_init=_later(_nothing, driver.kernel["list_splice_init"]),
        skb_defer_free_flush=_later(_nothing, _stops("head")),
        # The NAPI has left the list already, so that the list may look empty where it was not.
        list_empty=_later(lambda head: False, driver.kernel["list_empty"]),
        napi_poll=_later(lambda napi, repoll: _polled(driver, cpu, repoll, work, quota), _stops("polls")),
        jiffies=_later(lambda: before, lambda: after),
    )
    settings.netdev_budget = budget
    return turn


def _polled(driver: Driver, cpu: int, repoll: Any, work: int, quota: int) -> int:
    """napi_poll()'s part after process_backlog(): whether the backlog is to be polled again."""
    backlog = driver.row("softnet_data", cpu).backlog
    if work < quota:
        return work
    weight, backlog.weight = backlog.weight, quota
    functions, number = driver.image.linked.functions, driver.image.linked.function_ids["process_backlog"]
    real = functions[number]
    functions[number] = lambda napi, budget: work
    try:
        driver.kernel["__napi_poll"](backlog)
    finally:
        functions[number] = real
    backlog.weight = weight
    if driver.repolls(cpu):
        driver.kernel["list_add_tail"](backlog.poll_list, repoll)
    return work


def rps_ipi(driver: Driver, cpu: int, in_interrupt: bool) -> tuple[bool, bool] | None:
    """rps_trigger_softirq() on ``cpu``: whether it raises NET_RX and wakes ksoftirqd; None if no IPI is in flight."""
    driver.on(cpu)
    sd = driver.row("softnet_data", cpu)
    if sd.csd.u_flags == 0:
        return None
    driver.kernel["csd_unlock"](sd.csd)
    driver.row("call_single_queue", cpu).head.first = None
    with driver.in_context(in_interrupt):
        driver.kernel["rps_trigger_softirq"](sd)
    return driver.did("softirq_raise"), driver.did("wakeup_softirqd")


def irq_exit(driver: Driver, cpu: int, *, bh_off: bool, ksoftirqd_runs: bool) -> str:
    """irq_exit_rcu() with NET_RX pending: "runs" the softirq, "wakes" ksoftirqd, or leaves it ("")."""
    kernel = driver.kernel
    driver.on(cpu)
    ran: list[bool] = []
    row = driver.row("irq_cpustat_t", cpu)
    row.softirq_pending = 1 << kernel["NET_RX_SOFTIRQ"]
    driver.row("softirq_ctrl", cpu).cnt = int(bh_off)
    state = kernel["TASK_RUNNING"] if ksoftirqd_runs else kernel["TASK_INTERRUPTIBLE"]
    with (
        driver.in_context(bh_off),
        driver.hooked(preempt_count_sub=_nothing, __do_softirq=lambda: ran.append(True), task_state=lambda task: state),
    ):
        kernel["irq_exit_rcu"]()
    row.softirq_pending = 0
    driver.row("softirq_ctrl", cpu).cnt = 0
    return "runs" if ran else "wakes" if driver.did("wakeup_softirqd") else ""
