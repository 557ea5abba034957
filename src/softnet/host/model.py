# SPDX-License-Identifier: GPL-2.0-or-later
"""What is known of a machine: a report, which is JSON as it stands.

Everything but the schema may be missing: a report made of one pasted file holds that file. Counters are the kernel's own, since
boot (or since a driver was loaded), and stand in samples, one or two; what does not count stands outside.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, StringConstraints, ValidationError

from softnet.errors import HostError
from softnet.files import from_json
from softnet.host.cpusets import CPUS_MAX, as_list, cpu_list

SCHEMA: Final = "softnet-host/1"

Count = Annotated[int, Field(ge=0, lt=2**64)]
CpuNumber = Annotated[int, Field(ge=0, lt=CPUS_MAX)]
Cpus = Annotated[list[CpuNumber], BeforeValidator(lambda v: cpu_list(v, "a list of CPUs in a report") if isinstance(v, str) else v),
                 PlainSerializer(as_list)]  # fmt: skip
"""In JSON the kernel's own notation, ``0-3,8``."""
Text = Annotated[str, Field(max_length=4096)]
IrqNumber = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,10}$")]
Preempt = Literal["", "none", "voluntary", "full", "lazy", "rt"]


CARD_NAME: Final = r"^[A-Za-z0-9_][A-Za-z0-9_.:@+\-]{0,62}$"
"""Names that stand in the commands which the doctor prints: nothing in them means anything to a shell. An interface may be called
otherwise (dev_valid_name() refuses only "/", ":" and blanks); such a one is passed over."""


class Part(BaseModel):
    """A part of a report: unknown keys are refused, and values are what their types say."""

    model_config = ConfigDict(extra="forbid", strict=True)


class SoftnetRow(Part):
    """A CPU's line of /proc/net/softnet_stat. None: this kernel prints no such column."""

    cpu: CpuNumber
    processed: Count
    dropped: Count
    time_squeeze: Count
    received_rps: Count | None = None
    flow_limit: Count | None = None
    backlog: Count | None = None
    input_queue: Count | None = None
    process_queue: Count | None = None


class CpuTable(Part):
    """Counts for each CPU: /proc/interrupts, /proc/softirqs. A row has one number for each of ``cpus``."""

    cpus: Cpus = []
    rows: dict[Text, list[Count]] = {}

    def get(self, name: str, cpu: int) -> int:
        """A row's number of one CPU; 0 where there is none."""
        row = self.rows.get(name)
        if row is None:
            return 0
        usual = cpu < len(self.cpus) and self.cpus[cpu] == cpu
        at = cpu if usual else self.cpus.index(cpu) if cpu in self.cpus else len(row)
        return row[at] if at < len(row) else 0


class CpuTime(Part):
    """A CPU's line of /proc/stat, in ticks of USER_HZ."""

    user: Count = 0
    nice: Count = 0
    system: Count = 0
    idle: Count = 0
    iowait: Count = 0
    irq: Count = 0
    softirq: Count = 0
    steal: Count = 0

    @property
    def total(self) -> int:
        return self.user + self.nice + self.system + self.idle + self.iowait + self.irq + self.softirq + self.steal


class SocketDrops(Part):
    """A UDP socket that holds or has dropped something: a line of /proc/net/udp or udp6."""

    protocol: Text
    local: Text
    port: Count
    queued_bytes: Count = 0
    drops: Count = 0


class Sample(Part):
    """All counters at one instant."""

    at_ns: Count | None = None
    """On a clock that only goes forward; None where nobody knows when it was taken."""
    softnet: list[SoftnetRow] = []
    interrupts: CpuTable = CpuTable()
    softirqs: CpuTable = CpuTable()
    cpu_time: dict[Text, CpuTime] = {}
    protocols: dict[Text, Annotated[int, Field(gt=-(2**63), lt=2**64)]] = {}
    """``Udp.RcvbufErrors``, ``TcpExt.TCPBacklogDrop``: /proc/net/snmp, snmp6 and netstat by group and name."""
    devices: dict[Text, dict[Text, Count]] = {}
    """/proc/net/dev or ``ip -s link``, by interface."""
    ethtool: dict[Text, dict[Text, Count]] = {}
    """``ethtool -S``, by interface."""
    sockets: list[SocketDrops] = []
    thread_ticks: dict[Text, Count] = {}
    """CPU time in USER_HZ, by ``pid/comm``."""
    throttled: dict[Text, Count] = {}
    """cpu.stat of the cgroup."""


class Irq(Part):
    """An interrupt with a number."""

    number: IrqNumber
    chip: Text = ""
    name: Text = ""
    affinity: Cpus | None = None
    effective: Cpus | None = None


class RxQueue(Part):
    """queues/rx-N of an interface."""

    rps_cpus: Cpus | None = None
    rps_flow_cnt: Count | None = None


class TxQueue(Part):
    """queues/tx-N of an interface."""

    xps_cpus: Cpus | None = None


class Napi(Part):
    """A NAPI instance of an interface, from netlink's family netdev; a kernel leaves out what it has not yet."""

    id: Count
    irq: Count | None = None
    pid: Count | None = None
    """Its thread's, if it is threaded."""
    defer_hard_irqs: Count | None = None
    gro_flush_timeout: Count | None = None
    irq_suspend_timeout: Count | None = None
    threaded: Count | None = None


class Card(Part):
    """A network interface, from /sys/class/net and from ethtool."""

    name: Annotated[str, StringConstraints(pattern=CARD_NAME)]
    driver: Text = ""
    kind: Literal["", "hardware", "virtual", "loopback"] = ""
    """hardware: it stands below a bus, as virtio does too."""
    devtype: Text = ""
    state: Text = ""
    speed_mbps: Count | None = None
    numa_node: int | None = None
    rx_queues: list[RxQueue] = []
    tx_queues: list[TxQueue] = []
    irqs: list[IrqNumber] = []
    threaded: Count | None = None
    gro_flush_timeout: Count | None = None
    napi_defer_hard_irqs: Count | None = None
    napis: list[Napi] = []
    """The instances with settings of their own, since 6.13; none where netlink did not say."""
    ring: dict[Text, Count] = {}
    """rx, rx_max and others of ``ethtool -g``."""
    channels: dict[Text, Count] = {}
    """combined, combined_max, rx and others of ``ethtool -l``."""
    coalesce: dict[Text, Count] = {}
    """rx_usecs, rx_frames, adaptive_rx and others of ``ethtool -c``."""
    features: dict[Text, bool] = {}


class Thread(Part):
    """A kernel thread of the receive path, or another one that runs at a real-time priority."""

    pid: Count
    comm: Text
    policy: Literal["other", "fifo", "rr", "batch", "idle", "deadline"] = "other"
    priority: Count = 0
    """Of real-time policies, 1 to 99."""
    nice: int = 0
    cpus: Cpus | None = None


class CpuIdleState(Part):
    """A directory below /sys/devices/system/cpu/cpuN/cpuidle."""

    name: Text
    desc: Text = ""
    latency_us: Count
    residency_us: Count
    disabled: bool = False


class CpuSet(Part):
    """The CPUs."""

    possible: Cpus | None = None
    online: Cpus | None = None
    offline: Cpus | None = None
    isolated: Cpus | None = None
    nohz_full: Cpus | None = None
    nodes: dict[Text, Cpus] = {}
    model: Text = ""
    hypervisor: bool | None = None
    idle_driver: Text = ""
    idle_governor: Text = ""
    idle_states: list[CpuIdleState] = []
    """Of the first online CPU, from the shallowest on; the others have the same on ordinary machines."""
    latency_limit_us: Count | None = None
    """That CPU's pm_qos_resume_latency_us, if there is a limit."""


class Unread(Part):
    """What could not be read, and why."""

    what: Text
    why: Text


class HostReport(Part):
    """All that was read of a machine."""

    schema_name: Literal["softnet-host/1"] = Field(default="softnet-host/1", alias="schema")
    name: Text = ""
    release: Text = ""
    version: Text = ""
    uptime_s: Annotated[float, Field(ge=0, le=1e12)] | None = None
    preempt: Preempt = ""
    config: dict[Text, Text] = {}
    boot_args: list[Text] | None = None
    cpus: CpuSet = CpuSet()
    irqs: list[Irq] = []
    cards: list[Card] = []
    sysctl: dict[Text, Text] = {}
    threads: list[Thread] = []
    shares: dict[Text, Annotated[float, Field(ge=0, le=1e6)]] = {}
    """What ps or top said that a thread takes of a CPU, by comm."""
    cgroup: dict[Text, Text] = {}
    log: list[Text] = []
    """Lines of the kernel's log that speak of the receive path."""
    samples: Annotated[list[Sample], Field(max_length=2)] = []
    sources: dict[Text, Text] = {}
    """Part of the report -> the file or command that it is from."""
    notes: list[Text] = []
    """What had to be assumed while it was read."""
    unread: list[Unread] = []

    @property
    def hz(self) -> int | None:
        """CONFIG_HZ."""
        text = self.config.get("CONFIG_HZ", "")
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 6 and int(text) else None

    def card(self, name: str) -> Card:
        """The interface of a name, made if it is new."""
        for card in self.cards:
            if card.name == name:
                return card
        self.cards.append(Card(name=name))
        return self.cards[-1]

    def to_json(self) -> str:
        """As text; equal reports give equal bytes."""
        import json

        found = self.model_dump(by_alias=True, exclude_defaults=True)
        return json.dumps({"schema": SCHEMA, **found}, indent=1, ensure_ascii=True) + "\n"


def report_from_json(data: bytes | str, where: str) -> HostReport:
    """A report that ``to_json`` wrote. Raises HostError with the place in it."""
    try:
        document = from_json(data)
    except ValueError as error:
        raise HostError("not JSON", where=where, found=str(error)[:200], expected="a report of softnet host doctor --out") from None
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema != SCHEMA:
        raise HostError(
            "not a report of a machine",
            where=f"{where}: schema",
            found=str(schema)[:100] if isinstance(document, dict) else type(document).__name__,
            expected=SCHEMA,
            hint="softnet host doctor --out FILE writes one",
        )
    try:
        return HostReport.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])[:200]
        raise HostError(f"not a report: {first['msg']}", where=f"{where}: {place}", found=str(first["input"])[:100]) from None
