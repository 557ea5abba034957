# SPDX-License-Identifier: GPL-2.0-or-later
"""``[kernel]``: which kernel, its flavour, its boot arguments, its sysctls, its threads.

Defaults cite the file that sets them in Linux 6.12 unless another release is named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, StringConstraints, WithJsonSchema, model_validator

from softnet.release import DEFAULT, RT_SUFFIX, THREADS_ARG, THREADS_SUFFIX, Feature, releases
from softnet.scenario.fields import (
    CPU_LIST_ALLOWED,
    CPU_MASK_ALLOWED,
    RELEASES,
    SCHED_ALLOWED,
    CpuList,
    CpuMask,
    Sched,
    SchedText,
    Settings,
    TextList,
    parse_sched,
    setting,
)

_KERNELS: Final = tuple(kernel for release in releases().values() for kernel in release.kernels)
if TYPE_CHECKING:
    ReleaseName = str
else:
    ReleaseName = Annotated[Literal[RELEASES], WithJsonSchema({"enum": list(_KERNELS), "type": "string"})]

#: Sysctls of net.core that exist in the kernel but change nothing in the model, with the reason.
UNMODELLED_SYSCTLS: Final = {
    "dev_weight_tx_bias": "it scales the transmit quota, and softnet models the receive path",
    "netdev_tstamp_prequeue": "time stamps cost nothing in the model",
    "rps_default_mask": "give each NIC its rps_cpus instead",
    "rmem_default": "give each application its rcvbuf instead",
    "rmem_max": "give each application its rcvbuf instead",
    "default_qdisc": "softnet models the receive path",
    "mem_pcpu_rsv": "socket memory accounting per CPU is not modelled",
    "max_skb_frags": "fragments of one skb are not modelled",
    "somaxconn": "accepting connections is not modelled",
}

IDLE_POLL: Final = "idle=poll"
CPUIDLE_OFF: Final = "cpuidle.off=1"
IDLE_OVERRIDES: Final = ("idle=halt", IDLE_POLL, CPUIDLE_OFF)
"""Boot arguments with which no idle driver is registered."""

#: Boot arguments that the model knows, with what each does.
BOOT_ARGS: Final = {
    THREADS_ARG: "the backlog is polled by backlog_napi/N threads instead of the softirq (v6.10)",
    "threadirqs": "interrupt handlers run in threads (kernel/irq/manage.c)",
    "idle=halt": "CPUs idle by hlt, as most guests do: waking one takes an interrupt (arch/x86/kernel/process.c)",
    IDLE_POLL: "CPUs spin instead of idling, and their tick never stops (kernel/sched/idle.c cpu_idle_poll())",
    CPUIDLE_OFF: "no idle states and no governor: CPUs idle by mwait in C1, or by hlt (drivers/cpuidle/cpuidle.c)",
}

THREAD_NAMES: Final = (
    "ksoftirqd",
    "ksoftirqd/CPU",
    "backlog_napi",
    "backlog_napi/CPU",
    "irq",
    "irq/NIC-QUEUE",
    "napi",
    "napi/NIC-QUEUE",
)
_THREAD_PATTERN: Final = r"^((ksoftirqd|backlog_napi)(/[0-9]{1,4})?|(irq|napi)(/[A-Za-z_][A-Za-z0-9_-]*-[0-9]{1,4})?)$"
#: What a thread of each kind runs as when the user says nothing.
THREAD_DEFAULTS: Final = {
    "ksoftirqd": "other:0",  # kernel/softirq.c: an smpboot thread keeps kthreadd's policy
    "backlog_napi": "other:0",  # net/core/dev.c: an smpboot thread
    "irq": "fifo:50",  # kernel/irq/manage.c: irq_thread() calls sched_set_fifo(), MAX_RT_PRIO / 2
    "napi": "other:0",  # net/core/dev.c: napi_kthread_create()
}


class Sysctl(Settings):
    """``[kernel.sysctl]``: what stands below /proc/sys/net/core, under the kernel's names."""

    netdev_max_backlog: int = setting(
        1000,
        "Packets that a CPU's backlog holds before it drops.",
        unit="packets",
        source="net/core/hotdata.c: max_backlog (6.1: net/core/dev.c)",
        ge=0,
        le=2**31 - 1,
    )
    netdev_budget: int = setting(
        300,
        "Packets that one run of net_rx_action may process over all its NAPIs.",
        unit="packets",
        source="net/core/hotdata.c (6.1: net/core/dev.c)",
        ge=1,
        le=2**31 - 1,
    )
    netdev_budget_usecs: int | None = setting(
        None,
        "Time that one run of net_rx_action may take; the kernel counts it in ticks. Not given: two ticks.",
        unit="us",
        source="net/core/hotdata.c: 2 * USEC_PER_SEC / HZ, also the least that kernels accept from v6.14 on",
        ge=1,
        le=2**31 - 1,
    )
    dev_weight: int = setting(
        64,
        "Packets that one poll of the backlog may process.",
        unit="packets",
        source="net/core/hotdata.c: dev_rx_weight (6.1: weight_p in net/core/dev.c)",
        ge=1,
        le=2**31 - 1,
    )
    dev_weight_rx_bias: int = setting(
        1,
        "Multiplies dev_weight for the backlog.",
        source="net/core/dev.c",
        ge=1,
        le=2**15,
    )
    skb_defer_max: int | None = setting(
        None,
        "skbs that other CPUs may leave on a CPU's list of deferred frees; 0 never defers. Not given: 64, from 6.19 on 128.",
        unit="skbs",
        source="net/core/hotdata.c: sysctl_skb_defer_max (6.1: net/core/dev.c)",
        ge=0,
        le=2**31 - 1,
    )
    gro_normal_batch: int = setting(
        8,
        "Packets that GRO gathers before it hands them up together.",
        unit="packets",
        source="net/core/hotdata.c (6.1: net/core/gro.c)",
        ge=1,
        le=2**31 - 1,
    )
    flow_limit_cpu_bitmap: CpuMask = setting(
        (), "CPUs whose enqueuing applies the flow limit.", source="net/core/dev.c: none", allowed=CPU_MASK_ALLOWED
    )
    flow_limit_table_len: int = setting(
        4096,
        "Buckets of a flow-limit table; a power of two, as the kernel asks. softnet models up to 4096.",
        unit="buckets",
        source="net/core/dev.c: netdev_flow_limit_table_len",
        ge=1,
        le=4096,
    )
    rps_sock_flow_entries: int = setting(
        0,
        "Entries of the table that remembers on which CPU a flow's application runs (RFS); 0 is off. "
        "Rounded up to a power of two, as the kernel does, which takes up to 2**29; softnet models up to 2**20.",
        unit="entries",
        source="net/core/sysctl_net_core.c: no table",
        ge=0,
        le=2**20,
    )
    busy_poll: int = setting(
        0,
        "How long epoll_wait() polls the card before it sleeps; 0 never. The kernel counts in units of 1,024 ns.",
        unit="us",
        source="net/socket.c: sysctl_net_busy_poll",
        ge=0,
        le=2**31 - 1,
    )
    busy_read: int = setting(
        0,
        "SO_BUSY_POLL of new sockets: whether a read that finds nothing polls the card once. What reads here waits by epoll.",
        unit="us",
        source="net/core/sock.c: sysctl_net_busy_read",
        ge=0,
        le=2**31 - 1,
    )


class KernelConfig(Settings):
    """``[kernel.config]``: build options that change the receive path, without their CONFIG_ prefix."""

    RPS: bool = setting(True, "Receive packet steering.", source="net/Kconfig: default y with SMP and SYSFS")
    NET_FLOW_LIMIT: bool = setting(True, "The backlog's flow limit.", source="net/Kconfig: default y, needs RPS")


class ThreadSetting(Settings):
    """How a kernel thread runs: what ``chrt`` and ``taskset`` would set."""

    sched: SchedText = setting(
        "other",
        "Policy and priority.",
        source="see THREAD_DEFAULTS in kernel_models.py",
        allowed=SCHED_ALLOWED,
    )
    cpus: CpuList | None = setting(
        None,
        "CPUs it may run on. Only irq and napi threads can be moved.",
        source="the kernel's placement",
        allowed=CPU_LIST_ALLOWED,
    )


def _text_to_thread(value: Any) -> Any:
    return {"sched": value} if isinstance(value, str) else value


ThreadValue = Annotated[ThreadSetting, BeforeValidator(_text_to_thread, json_schema_input_type=SchedText | ThreadSetting)]
ThreadName = Annotated[str, StringConstraints(pattern=_THREAD_PATTERN)]


def _shorthand_taken_apart(value: Any) -> Any:
    """``release = "6.12-rt"`` says what ``--kernel 6.12-rt`` says, unless another key says otherwise."""
    if not isinstance(value, dict) or value.get("release") not in _KERNELS or value["release"] in RELEASES:
        return value
    release, _, suffix = str(value["release"]).partition("-")
    args = value.get("boot_args", [])
    if "-" + suffix == RT_SUFFIX and value.get("flavour", "rt") == "rt":
        return {**value, "release": release, "flavour": "rt"}
    if "-" + suffix == THREADS_SUFFIX and isinstance(args, (list, tuple)) and value.get("flavour", "plain") == "plain":
        return {**value, "release": release, "boot_args": [*args, *([] if THREADS_ARG in args else [THREADS_ARG])]}
    return value


class Kernel(Settings):
    """``[kernel]``: the kernel that receives the traffic."""

    release: ReleaseName = setting(DEFAULT, "Linux release; with -rt or -threads, what --kernel says by it.")
    flavour: Literal["plain", "rt"] = setting("plain", "rt is a kernel built with PREEMPT_RT.")
    preempt: Literal["none", "voluntary", "full", "lazy", "rt"] = setting(
        "voluntary",
        'Preemption model. Not given: "rt" with flavour rt, else "voluntary". "lazy" with flavour rt is Debian\'s 6.12-rt.',
        source="the usual choice of distributions; kernel/Kconfig.preempt itself defaults to none",
    )
    hz: Literal[100, 250, 300, 1000] = setting(250, "Ticks a second.", unit="Hz", source="kernel/Kconfig.hz: HZ_250")
    config: KernelConfig = Field(default=KernelConfig.model_construct(), description="Build options.")
    boot_args: TextList = setting(
        (),
        "Boot arguments.",
        source="none",
        allowed="a list of: " + ", ".join(f'"{name}"' for name in BOOT_ARGS),
    )
    sysctl: Sysctl = Field(default=Sysctl.model_construct(), description="Settings of net.core.")
    threads: dict[ThreadName, ThreadValue] = setting(
        {},
        'Policy and affinity of kernel threads, by name. A text such as "fifo:50" stands for {sched="fifo:50"}.',
        source="ksoftirqd, backlog_napi, napi: other:0; irq: fifo:50 (kernel/irq/manage.c)",
        allowed="a thread name: " + ", ".join(THREAD_NAMES),
    )

    @model_validator(mode="before")
    @classmethod
    def _preempt_follows_flavour(cls, value: Any) -> Any:
        value = _shorthand_taken_apart(value)
        if isinstance(value, dict) and value.get("flavour") == "rt" and "preempt" not in value:
            return {**value, "preempt": "rt"}
        return value

    @property
    def rt(self) -> bool:
        """Whether the kernel is built with PREEMPT_RT."""
        return self.flavour == "rt"

    def has(self, feature: Feature) -> bool:
        """Whether this kernel has a feature that not every release has."""
        return releases()[self.release].has(feature, rt=self.rt)

    @property
    def label(self) -> str:
        """The kernel's shorthand, as ``--kernel`` takes it."""
        if self.rt:
            return self.release + RT_SUFFIX
        return self.release + (THREADS_SUFFIX if THREADS_ARG in self.boot_args else "")

    @property
    def jiffy_us(self) -> int:
        """Microseconds of one tick, rounded down as the kernel's own integer division does."""
        return 1_000_000 // self.hz

    @property
    def budget_usecs_default(self) -> int:
        """``netdev_budget_usecs`` where nobody sets it: two ticks."""
        return 2 * 1_000_000 // self.hz

    @property
    def defer_max(self) -> int:
        """``skb_defer_max``, given or the release's own."""
        given = self.sysctl.skb_defer_max
        return given if given is not None else releases()[self.release].defer_max

    @property
    def budget_usecs_min(self) -> int:
        """The least ``netdev_budget_usecs`` that the kernel accepts."""
        return self.budget_usecs_default if self.has("budget_usecs_min") else 0

    @property
    def backlog_threads(self) -> bool:
        """Whether backlog_napi/N threads exist: of the releases that know them always on RT, else by the boot argument."""
        return self.has("backlog_threads") and (self.rt or THREADS_ARG in self.boot_args)

    @property
    def busy_poll(self) -> bool:
        """Whether it is built with CONFIG_NET_RX_BUSY_POLL."""
        return not self.rt or self.has("busy_poll_rt")

    @property
    def threaded_irqs(self) -> bool:
        """Whether interrupt handlers are forced into threads."""
        return self.rt or "threadirqs" in self.boot_args

    @property
    def idle_poll(self) -> bool:
        """Whether CPUs spin instead of idling."""
        return IDLE_POLL in self.boot_args

    def sysctl_values(self) -> dict[str, int]:
        """Every integer sysctl with its value in force; the CPU list of flow_limit_cpu_bitmap as a mask."""
        values: dict[str, int] = {}
        for name in Sysctl.model_fields:
            value = getattr(self.sysctl, name)
            if value is None:
                value = self.defer_max if name == "skb_defer_max" else self.budget_usecs_default
            if isinstance(value, tuple):
                value = sum(1 << cpu for cpu in sorted(set(value)))
            values[name] = value
        return values

    def thread(self, kind: str, instance: str | int | None = None) -> tuple[Sched, tuple[int, ...] | None]:
        """Policy and affinity of one kernel thread: its own entry, else its kind's, else the kernel's default.

        ``kind`` is ksoftirqd, backlog_napi, irq or napi; ``instance`` the CPU, or ``NIC-QUEUE``.
        """
        for name in (f"{kind}/{instance}", kind):
            if name in self.threads:
                chosen = self.threads[name]
                return parse_sched(chosen.sched), chosen.cpus
        return parse_sched(THREAD_DEFAULTS[kind]), None
