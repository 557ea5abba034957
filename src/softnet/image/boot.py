# SPDX-License-Identifier: GPL-2.0-or-later
"""Boot: what start_kernel(), the drivers' probe and the user's set-up do, from a scenario, in plain Python.

Not in the restricted subset, and not in softnet.linux, which knows no scenarios. ``boot()`` runs before time starts: it
builds the image, calls kernel functions, sets fields and creates the tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from softnet.image.image import Image, Wiring, build, start
from softnet.image.settings import Namespace, roundup_pow_of_two, set_rps_cpus, set_sysctl, update_static_keys
from softnet.image.tasks import TaskSpec, create_task, idle_task
from softnet.units import mix
from softnet.workload.housekeeping import STAT_INTERVAL_NS

if TYPE_CHECKING:
    from softnet.image.plan import Plan
    from softnet.lang.program.program import Program
    from softnet.scenario.models import Nic, Scenario


NOISE_STREAM = 0x6E6F6973
"""The stream of chance that sources of noise take their keys from."""


def boot(
    program: Program, plan: Plan, wiring: Wiring, extra_tasks: Callable[[Image], Sequence[TaskSpec]] = lambda image: ()
) -> Image:
    """A machine that runs the program, booted as the plan's scenario says; its time has not begun.

    ``extra_tasks`` may change the image after the kernel's own boot and says which tasks come after the scenario's.
    """
    image = build(program, plan, wiring)
    image.linked.kernel["sched_init"](image.nr_cpus)
    specs = [*_Booter(image.linked.kernel, plan).run(), *extra_tasks(image)]
    for spec in [*map(idle_task, range(image.nr_cpus)), *specs]:
        create_task(image, spec)
    set_seed(image, plan.scenario)
    start(image)
    return image


def set_seed(image: Image, scenario: Scenario) -> None:
    """Set all that follows from the seed, in an image whose time has not begun; nothing else of a boot depends on it."""
    image.memory[image.engine_word("seed")] = scenario.measure.seed & 0x7FFFFFFF
    for cpu in range(image.nr_cpus):
        image.linked.machine["rnd_seed"](image.ref("cpu_hw", cpu))
    for source in range(image.nr_noise):
        row = image.ref("noise_source", source)
        row.key, row.drawn = mix(scenario.measure.seed, NOISE_STREAM, source) & 0xFFFFFFFF, 0
    if scenario.sender:
        from softnet.scenario.traffic import sender_flows

        for flow in sender_flows(scenario):
            image.set_word("sender", flow.sender, "hash", flow.hash)


class _Booter:
    """One boot: the linked kernel ``ns``, the plan, and the tasks that come up."""

    def __init__(self, ns: Namespace, plan: Plan) -> None:
        self.ns = ns
        self.plan = plan
        self.scenario = plan.scenario
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
        self.housekeeping()
        self.hotplug()
        return self.tasks

    def housekeeping(self) -> None:
        """The kernel's own second-by-second work, where it matters: vmstat_shepherd() leaves isolated CPUs alone."""
        if not self.plan.idle_states:
            return
        for cpu in range(self.scenario.machine.cpus):
            if cpu not in self.scenario.machine.isolated_cpus:
                first_ns = (3 + 7 * cpu) * 1_000_000 % STAT_INTERVAL_NS
                self.tasks.append(TaskSpec(f"kworker/{cpu}:1", (cpu,), "other", 0, 0, "vmstat_worker", first_ns, "kworker"))

    def hotplug(self) -> None:
        """The task that writes to the online files, and the stoppers of the CPUs that it takes down."""
        events = self.plan.hotplug
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
        self.idle()
        ns["softirq_init"]()
        for cpu in range(self.scenario.machine.cpus):
            ns["net_dev_init"](cpu)
        for name, value in kernel.sysctl_values().items():
            set_sysctl(ns, name, value, kernel.sysctl_values())
        self._flow_limit()

    def idle(self) -> None:
        """The idle driver and its governor, where the scenario states idle states."""
        drv, idle = self.row("cpuidle_driver", 0), self.scenario.machine.idle
        drv.halt = int("idle=halt" in self.scenario.kernel.boot_args)
        if not self.plan.idle_states:
            return
        drv.governor = self.ns[f"CPUIDLE_GOVERNOR_{idle.chosen_governor.upper()}"]
        drv.latency_req_ns = idle.latency_limit_ns
        drv.state_count = len(self.plan.idle_states)
        for i, state in enumerate(self.plan.idle_states):
            row = self.row("cpuidle_state", i)
            row.exit_latency_ns, row.target_residency_ns, row.wake_ns = state.exit_ns, state.residency_ns, state.wake_ns
            row.flags = self.ns["CPUIDLE_FLAG_MWAIT"] if state.mwait else 0
            row.disable = int(state.name in idle.disable)
        self.row("cpuidle_state", 0).flags = self.ns["CPUIDLE_FLAG_POLLING"]

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
            if hasattr(dev, "irq_suspend_timeout"):
                dev.irq_suspend_timeout = nic.irq_suspend_timeout
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
        bases = self.plan.first_workers
        for number, application in enumerate(self.scenario.application):
            for worker, cpu in enumerate(application.task_cpus):
                at = bases[number] + worker
                a = self.row("app", at)
                a.msg.reader, a.msg.hist, a.service_ns = number, number, application.service_ns
                a.kind = ns["SOCK_STREAM"] if application.kind == "tcp" else ns["SOCK_DGRAM"]
                ns["ep_init"](a.ep)
                if hasattr(a.ep, "busy_poll_usecs"):
                    a.ep.busy_poll_usecs, a.ep.busy_poll_budget = application.busy_poll_usecs, application.busy_poll_budget
                    a.ep.prefer_busy_poll = int(application.prefer_busy_poll)
                p = application.policy
                name = application.name if len(application.task_cpus) == 1 else f"{application.name}/{worker}"
                self.tasks.append(TaskSpec(name, (cpu,), p.policy, p.rt_priority, p.nice, "app_thread", at, "app"))
        for spec in self.plan.sockets:
            sk = self.row("sock", spec.sock - 1)
            sk.index = spec.sock
            sk.type = ns["SOCK_STREAM"] if spec.kind == "tcp" else ns["SOCK_DGRAM"]
            sk.sk_rcvbuf = spec.rcvbuf
            sk.ep = self.row("app", bases[spec.application] + spec.worker).ep
            ns["sock_init"](sk)
        for flow in sender_flows(self.scenario) if self.scenario.sender else ():
            self._sender(flow.sender, flow)

    def _sender(self, number: int, flow: Any) -> None:
        sender = self.scenario.sender[number]
        s = self.row("sender", number)
        s.index, s.sock, s.proto, s.flow = number, flow.sock, flow.proto, flow.flow
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
