# SPDX-License-Identifier: GPL-2.0-or-later
"""Boot: what start_kernel(), the drivers' probe and the user's set-up do, from a scenario, in plain Python.

Not in the restricted subset, and not in softnet.linux, which knows no scenarios. ``boot()`` runs before time starts: it
calls kernel functions and sets fields of a linked image, and says which tasks must be created.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from softnet.scenario.flows import SocketSpec
    from softnet.scenario.models import Nic, Scenario

Namespace = Mapping[str, Any]
"""The linked kernel: functions, structures and intrinsics by name."""

SYSCTL_FIELDS: dict[str, str] = {
    "netdev_max_backlog": "max_backlog",
    "netdev_budget": "netdev_budget",
    "netdev_budget_usecs": "netdev_budget_usecs",
    "skb_defer_max": "sysctl_skb_defer_max",
    "gro_normal_batch": "gro_normal_batch",
}
"""Sysctl of net.core -> field of net_hotdata; dev_weight and the tables are set by set_sysctl()."""

SKB_POOL_MAX = 65536
"""skbs of the largest pool; beyond it an allocation fails, as it does without memory."""


class TaskSpec(NamedTuple):
    """A task that the image needs.

    ``cpus`` are those it may use, the first is where it starts; ``policy`` is "other", "fifo" or "rr" with ``priority``
    1..99 and ``nice``; ``thread_fn`` is the kernel function that is its body, called with ``data``, a row number.
    ``kind`` is what its time counts as: ksoftirqd, backlog_napi, kworker, irq, napi, idle, app, sender, cyclictest or hog.
    ``store`` gives the created task to whom the kernel keeps a pointer for.
    """

    comm: str
    cpus: tuple[int, ...]
    policy: str
    priority: int
    nice: int
    thread_fn: str
    data: int
    kind: str
    store: Callable[[Any], None] | None = None


def roundup_pow_of_two(n: int) -> int:
    """include/linux/log2.h."""
    return 1 << max(n - 1, 0).bit_length()


def _nr_queues(scenario: Scenario) -> int:
    return sum(nic.queues for nic in scenario.nic)


def _sockets(scenario: Scenario) -> list[SocketSpec]:
    from softnet.scenario.traffic import socket_table

    return socket_table(scenario)


def _worker_base(scenario: Scenario) -> list[int]:
    """The row in table(app, ...) of each application's first task."""
    bases, total = [], 0
    for application in scenario.application:
        bases.append(total)
        total += len(application.task_cpus)
    return bases


def skb_pool(scenario: Scenario) -> int:
    """How many skbs can be in use at once, bounded by SKB_POOL_MAX: queues, lists, caches and sockets full."""
    cpus = scenario.machine.cpus
    sysctl = scenario.kernel.sysctl
    per_cpu = 2 * (min(sysctl.netdev_max_backlog, 16384) + 1) + min(sysctl.skb_defer_max, 4096) + 64 + 64 + 512
    sockets = sum(min(s.rcvbuf // 2304 * 3 + 64, 1024) for s in _sockets(scenario))
    return min(cpus * per_cpu + sockets + 64 * _nr_queues(scenario) + 256, SKB_POOL_MAX)


def STRUCT_COUNTS(scenario: Scenario) -> dict[str, int]:
    """How many instances of each kernel structure the image must hold; one per CPU for the per-CPU ones."""
    cpus = scenario.machine.cpus
    queues = _nr_queues(scenario)
    flows = sum(roundup_pow_of_two(nic.rps_flow_cnt) * nic.queues for nic in scenario.nic if nic.rps_flow_cnt)
    if scenario.loopback.rps_flow_cnt:
        flows += roundup_pow_of_two(scenario.loopback.rps_flow_cnt)
    entries = scenario.kernel.sysctl.rps_sock_flow_entries
    cyclics = sum(1 for task in scenario.task if task.kind == "cyclictest")
    counts = dict.fromkeys(
        ("softnet_data", "irq_cpustat_t", "softirq_ctrl", "kmem_cache_cpu", "napi_alloc_cache", "skb_drop_stats"), cpus
    )
    counts |= {
        "call_single_queue": cpus,
        "backlog_napi": cpus,
        "worker_pool": cpus,
        "sd_flow_limit": cpus if scenario.kernel.sysctl.flow_limit_cpu_bitmap else 1,
        "net_hotdata": 1,
        "cpuidle_device": 1,
        "kmem_cache_node": 1,
        "softirq_action": 10,
        "smp_hotplug_thread": 2,
        "smpboot_thread_data": 2 * cpus,
        "net_device": 1 + len(scenario.nic),
        "netdev_rx_queue": 1 + queues,
        "rps_map": 1 + queues,
        "rps_dev_flow_table": 1 + queues,
        "rps_dev_flow": max(flows, 1),
        "rps_sock_flow_entry": roundup_pow_of_two(entries) if entries else 1,
        "nic_vector": max(queues, 1),
        "sk_buff": skb_pool(scenario),
        "sock": max(len(_sockets(scenario)), 1),
        "app": max(sum(len(a.task_cpus) for a in scenario.application), 1),
        "sender": max(len(scenario.sender), 1),
        "cyclic": max(cyclics, 1),
        "hog": max(len(scenario.task) - cyclics, 1),
        "cpuhp_event": max(len(hotplug_events(scenario)), 1),
        "cpu_stopper": cpus,
    }
    return counts


def nr_tasks_max(scenario: Scenario) -> int:
    """The most tasks that boot() can ask for: the image keeps room for them."""
    workers = sum(len(a.task_cpus) for a in scenario.application)
    changed = hotplug_events(scenario)
    hotplug = len({cpu for _, cpu, _ in changed}) + 1 if changed else 0
    families = 3 if (scenario.kernel.release, scenario.kernel.flavour) == ("6.1", "rt") else 2
    threads = families * scenario.machine.cpus + 2 * _nr_queues(scenario) + hotplug
    return threads + workers + len(scenario.sender) + len(scenario.task)


def histograms(scenario: Scenario) -> list[str]:
    """The histograms that boot() numbers: packet latency of each application, then wakeup latency of each cyclictest."""
    names = [f"deliver.{application.name}" for application in scenario.application]
    n = 0
    for task in scenario.task:
        if task.kind == "cyclictest":
            names.append(f"cyclictest.{task.name}.{n}")
            n += 1
    return names


class _Booter:
    """One boot: the linked kernel ``ns``, the scenario, and the tasks that come up."""

    def __init__(self, ns: Namespace, scenario: Scenario) -> None:
        self.ns = ns
        self.scenario = scenario
        self.tasks: list[TaskSpec] = []

    def row(self, struct: str, index: int) -> Any:
        return self.ns["table"](self.ns[struct], index)

    def run(self) -> list[TaskSpec]:
        self.start_kernel()
        self.devices()
        self.steering()
        self.kernel_threads()
        self.applications()
        self.background()
        self.hotplug()
        return self.tasks

    def hotplug(self) -> None:
        """The task that writes to the online files, and the stoppers of the CPUs that it takes down."""
        events = hotplug_events(self.scenario)
        if not events:
            return
        for i, (at_ns, cpu, online) in enumerate(events):
            row = self.row("cpuhp_event", i)
            row.at_ns, row.cpu, row.online = at_ns, cpu, online
        for cpu in sorted({cpu for _, cpu, _ in events}):
            store = _setter(self.row("cpu_stopper", cpu), "thread")
            self.tasks.append(TaskSpec(f"migration/{cpu}", (cpu,), "fifo", 99, 0, "cpu_stopper_thread", cpu, "hotplug", store))
        self.tasks.append(TaskSpec("cpuhp", (0,), "other", 0, 0, "cpuhp_thread", 0, "hotplug"))

    def start_kernel(self) -> None:
        """net_dev_init(), softirq_init(), smpboot registration, sysctls."""
        ns, kernel = self.ns, self.scenario.kernel
        nh = self.row("net_hotdata", 0)
        nh.rps_cpu_mask = roundup_pow_of_two(self.scenario.machine.cpus) - 1
        nh.use_backlog_threads_key = int("thread_backlog_napi" in kernel.boot_args)
        nh.force_irqthreads = int("threadirqs" in kernel.boot_args)
        self.row("cpuidle_device", 0).halt = int("idle=halt" in kernel.boot_args)
        ns["softirq_init"]()
        for cpu in range(self.scenario.machine.cpus):
            ns["net_dev_init"](cpu)
        for name, value in kernel.sysctl_values().items():
            set_sysctl(ns, name, value, kernel.sysctl_values())
        self._flow_limit()

    def _flow_limit(self) -> None:
        sysctl = self.scenario.kernel.sysctl
        for cpu in sorted(set(sysctl.flow_limit_cpu_bitmap)):
            limit = self.row("sd_flow_limit", cpu)
            limit.num_buckets = min(sysctl.flow_limit_table_len, 4096)
            self.row("softnet_data", cpu).flow_limit = limit

    def devices(self) -> None:
        """The loopback device, then each NIC with a vector per queue."""
        lo = self.row("net_device", 0)
        lo.ifindex, lo.gro_on, lo.rx_base = 1, 1, 0
        queue = 0
        for number, nic in enumerate(self.scenario.nic):
            dev = self.row("net_device", 1 + number)
            dev.ifindex, dev.gro_on, dev.threaded = 2 + number, int(nic.gro), int(nic.threaded)
            dev.rx_base, dev.real_num_rx_queues = 1 + queue, nic.queues
            dev.napi_defer_hard_irqs, dev.gro_flush_timeout = nic.napi_defer_hard_irqs, nic.gro_flush_timeout
            for index in range(nic.queues):
                self._vector(nic, dev, queue, index)
                queue += 1

    def _vector(self, nic: Nic, dev: Any, queue: int, index: int) -> None:
        ns, kernel = self.ns, self.scenario.kernel
        v = self.row("nic_vector", queue)
        v.queue, v.rx_index, v.rxhash = queue, index, int(nic.rss)
        v.napi.napi_id = queue + 1
        ns["netif_napi_add_weight"](dev, v.napi, ns["softnet_poll"], nic.weight)
        v.action.handler, v.action.dev_id, v.action.irq = ns["softnet_msix_clean_rings"], v, 32 + queue
        ns["irq_setup_forced_threading"](v.action)
        label = f"{nic.name}-{index}"
        irq_cpu = nic.irq_cpu(index, self.scenario.machine.cpus)
        if nic.threaded:
            self._thread("napi", label, self._everywhere(irq_cpu), "napi_threaded_poll", queue, _setter(v.napi, "thread"))
        if kernel.threaded_irqs:
            self._thread("irq", label, (irq_cpu,), "irq_thread", queue, _setter(v.action, "thread"))

    def _everywhere(self, first: int) -> tuple[int, ...]:
        """Any CPU that is not isolated, starting where the interrupt is."""
        isolated = set(self.scenario.machine.isolated_cpus)
        others = tuple(c for c in range(self.scenario.machine.cpus) if c not in isolated and c != first)
        return (first, *others) if first not in isolated or not others else others

    def steering(self) -> None:
        """rps_cpus and rps_flow_cnt of every receive queue: net/core/net-sysfs.c."""
        base = 0
        lo = self.scenario.loopback
        base = self._steer(0, lo.rps_cpus, lo.rps_flow_cnt, base)
        queue = 1
        for nic in self.scenario.nic:
            for _ in range(nic.queues):
                base = self._steer(queue, nic.rps_cpus, nic.rps_flow_cnt, base)
                queue += 1
        update_static_keys(self.ns)

    def _steer(self, queue: int, cpus: tuple[int, ...], flows: int, base: int) -> int:
        set_rps_cpus(self.ns, queue, cpus, self.scenario.machine.isolated_cpus)
        if not flows:
            return base
        size = roundup_pow_of_two(flows)
        table = self.row("rps_dev_flow_table", queue)
        table.mask, table.base = size - 1, base
        self.row("netdev_rx_queue", queue).flow_table = table
        return base + size

    def kernel_threads(self) -> None:
        """spawn_ksoftirqd(), and net_dev_init()'s backlog threads: smpboot families 0 and 1."""
        ns = self.ns
        ht = self.row("smp_hotplug_thread", 0)
        ht.thread_should_run, ht.thread_fn = ns["ksoftirqd_should_run"], ns["run_ksoftirqd"]
        cpus = self.scenario.machine.cpus
        for cpu in range(cpus):
            td = self.row("smpboot_thread_data", cpu)
            td.cpu, td.ht = cpu, ht
            self._thread("ksoftirqd", str(cpu), (cpu,), "smpboot_thread_fn", cpu,
                         _setters((self.row("irq_cpustat_t", cpu), "ksoftirqd"), (td, "task")), pinned=True)  # fmt: skip
        self.kworkers()
        if "use_backlog_threads" not in ns or not ns["use_backlog_threads"]():
            return
        ht = self.row("smp_hotplug_thread", 1)
        ht.thread_should_run, ht.thread_fn = ns["backlog_napi_should_run"], ns["run_backlog_napi"]
        ht.setup = ns["backlog_napi_setup"]
        for cpu in range(cpus):
            td = self.row("smpboot_thread_data", cpus + cpu)
            td.cpu, td.ht = cpu, ht
            self._thread(
                "backlog_napi", str(cpu), (cpu,), "smpboot_thread_fn", cpus + cpu, self._backlog_thread(cpu, td), pinned=True
            )

    def kworkers(self) -> None:
        """A worker for each CPU, on the kernels whose receive path queues work; a kworker keeps kthreadd's policy."""
        if "worker_thread" not in self.ns:
            return
        for cpu in range(self.scenario.machine.cpus):
            self.ns["init_worker_pool"](cpu)
            store = _setter(self.row("worker_pool", cpu), "worker")
            self.tasks.append(TaskSpec(f"kworker/{cpu}:0", (cpu,), "other", 0, 0, "worker_thread", cpu, "kworker", store))

    def _backlog_thread(self, cpu: int, td: Any) -> Callable[[Any], None]:
        """The thread has run once before time starts, as it has long before the network is up: backlog_napi_setup().

        Until then the backlog is not THREADED, and __napi_schedule() would link it on the caller's CPU, also a remote one.
        """

        def store(task: Any) -> None:
            self.row("backlog_napi", cpu).task = task
            td.task = task
            backlog = self.row("softnet_data", cpu).backlog
            backlog.thread = task
            backlog.state |= self.ns["NAPIF_STATE_THREADED"]
            td.status = self.ns["HP_THREAD_ACTIVE"]

        return store

    def _thread(self, kind: str, instance: str, cpus: tuple[int, ...], thread_fn: str, data: int,
                store: Callable[[Any], None], *, pinned: bool = False) -> None:  # fmt: skip
        sched, wanted = self.scenario.kernel.thread(kind, instance)
        if wanted and not pinned:
            cpus = tuple(wanted)
        self.tasks.append(
            TaskSpec(f"{kind}/{instance}", cpus, sched.policy, sched.rt_priority, sched.nice, thread_fn, data, kind, store)
        )

    def applications(self) -> None:
        """Applications with their sockets, and the senders."""
        from softnet.scenario.traffic import sender_flows

        ns = self.ns
        bases = _worker_base(self.scenario)
        for number, application in enumerate(self.scenario.application):
            for worker, cpu in enumerate(application.task_cpus):
                at = bases[number] + worker
                a = self.row("app", at)
                a.index, a.hist, a.service_ns = number, number, application.service_ns
                a.kind = ns["SOCK_STREAM"] if application.kind == "tcp" else ns["SOCK_DGRAM"]
                ns["ep_init"](a.ep)
                p = application.policy
                name = application.name if len(application.task_cpus) == 1 else f"{application.name}/{worker}"
                self.tasks.append(TaskSpec(name, (cpu,), p.policy, p.rt_priority, p.nice, "app_thread", at, "app"))
        for spec in _sockets(self.scenario):
            sk = self.row("sock", spec.sock - 1)
            sk.index = spec.sock
            sk.type = ns["SOCK_STREAM"] if spec.kind == "tcp" else ns["SOCK_DGRAM"]
            sk.sk_rcvbuf = spec.rcvbuf
            sk.app = self.row("app", bases[spec.application] + spec.worker)
            ns["sock_init"](sk)
        for flow in sender_flows(self.scenario) if self.scenario.sender else ():
            self._sender(flow.sender, flow)

    def _sender(self, number: int, flow: Any) -> None:
        sender = self.scenario.sender[number]
        s = self.row("sender", number)
        s.index, s.sock, s.proto, s.flow, s.hash = number, flow.sock, flow.proto, flow.flow, flow.hash
        s.size, s.gap_ns = sender.size, sender.gap_ns
        s.start_ns = int(sender.start_ms * 1_000_000)
        if sender.stop_ms is not None:
            s.stop_ns = int(sender.stop_ms * 1_000_000)
        p = sender.policy
        self.tasks.append(TaskSpec(sender.name, (sender.cpu,), p.policy, p.rt_priority, p.nice, "sender_thread", number, "sender"))

    def background(self) -> None:
        """cyclictest and hogs."""
        cyclics = hogs = 0
        for task in self.scenario.task:
            p = task.policy
            if task.kind == "cyclictest":
                c = self.row("cyclic", cyclics)
                c.index, c.hist = cyclics, len(self.scenario.application) + cyclics
                c.interval_ns, c.work_ns = task.interval_ns, task.work_ns
                spec = TaskSpec(task.name, (task.cpu,), p.policy, p.rt_priority, p.nice, "cyclictest_thread", cyclics, task.kind)
                cyclics += 1
            else:
                h = self.row("hog", hogs)
                h.period_ns = int(task.period_us * 1000)
                h.run_ns = h.period_ns * int(task.duty * 1000) // 1000
                spec = TaskSpec(task.name, (task.cpu,), p.policy, p.rt_priority, p.nice, "hog_thread", hogs, task.kind)
                hogs += 1
            self.tasks.append(spec)


def _setter(owner: Any, name: str) -> Callable[[Any], None]:
    return lambda task: setattr(owner, name, task)


def _setters(*places: tuple[Any, str]) -> Callable[[Any], None]:
    def store(task: Any) -> None:
        for owner, name in places:
            setattr(owner, name, task)

    return store


def hotplug_events(scenario: Scenario) -> list[tuple[int, int, int]]:
    """The scenario's changes of CPUs, in the order of their time: (at_ns, cpu, online)."""
    from softnet.scenario import changes

    return [(c.at_ns, int(c.key), int(c.value != 0)) for c in changes(scenario) if c.table == "cpu"]


def set_sysctl(ns: Namespace, name: str, value: int, values: Mapping[str, int]) -> None:
    """Write one sysctl as its handler in net/core/sysctl_net_core.c would; ``values`` are those in force.

    Names that the model does not read are left alone: the scenario warns about them.
    """
    nh = ns["table"](ns["net_hotdata"], 0)
    if name in SYSCTL_FIELDS:
        setattr(nh, SYSCTL_FIELDS[name], value)
    elif name in ("dev_weight", "dev_weight_rx_bias"):
        merged = {**values, name: value}
        nh.dev_rx_weight = merged["dev_weight"] * merged.get("dev_weight_rx_bias", 1)
    elif name == "rps_sock_flow_entries":
        room = ns["table_len"](ns["rps_sock_flow_entry"])
        nh.rps_sock_flow_entries = min(roundup_pow_of_two(value), room) if value else 0
        nh.rfs_needed = int(value != 0)
        update_static_keys(ns)


def set_rps_cpus(ns: Namespace, queue: int, cpus: tuple[int, ...], isolated: tuple[int, ...] = ()) -> None:
    """store_rps_map() of net/core/net-sysfs.c: the CPUs of a queue, without the isolated ones; queue 0 is loopback's."""
    rxq = ns["table"](ns["netdev_rx_queue"], queue)
    usable = [cpu for cpu in sorted(set(cpus)) if cpu not in set(isolated)]
    if not usable:
        rxq.map = None
        return
    rps_map = ns["table"](ns["rps_map"], queue)
    rps_map.len = len(usable)
    for at, cpu in enumerate(usable):
        rps_map.cpus[at] = cpu
    rxq.map = rps_map


def update_static_keys(ns: Namespace) -> None:
    """rps_needed: on while some queue has a map, or RFS has a table."""
    nh = ns["table"](ns["net_hotdata"], 0)
    queues = [ns["table"](ns["netdev_rx_queue"], i) for i in range(ns["table_len"](ns["netdev_rx_queue"]))]
    nh.rps_needed = int(nh.rfs_needed != 0 or any(queue.map is not None for queue in queues))


def boot(ns: Namespace, scenario: Scenario) -> list[TaskSpec]:
    """Initialise the kernel of a linked image for a scenario. Returns the tasks to create, kernel threads first."""
    return _Booter(ns, scenario).run()
