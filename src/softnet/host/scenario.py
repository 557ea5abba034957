# SPDX-License-Identifier: GPL-2.0-or-later
"""A scenario of a machine: what was read goes into it, and every value that had to be guessed says so in a comment."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, Final

from softnet.errors import printable
from softnet.host.cpusets import as_list
from softnet.host.facts import Facts
from softnet.host.model import Card, HostReport
from softnet.release import THREADS_ARG, Release, not_newer, releases
from softnet.scenario import scenario_from_dict
from softnet.scenario.fields import CPUS_MAX, NAME_PATTERN
from softnet.scenario.idle import GOVERNORS, STATES_MAX
from softnet.scenario.kernel_models import Sysctl

GUESS: Final = "guessed: "
CARDS_MAX: Final = 4
HOGS_MAX: Final = 16
NAPI_SETTINGS: Final = (
    ("threaded", "threaded", 2),
    ("napi_defer_hard_irqs", "defer_hard_irqs", 2**31 - 1),
    ("gro_flush_timeout", "gro_flush_timeout", 10**9),
)
"""A key of the scenario and of the card, that of a NAPI instance, the most that a scenario takes."""
PACKETS: Final = 20_000
"""A run is as long as so many packets take, within bounds."""
RATE_GUESSED: Final = 100_000
RATE_MIN: Final = 1_000
HZ_KNOWN: Final = (100, 250, 300, 1000)


class Writer:
    """Lines of TOML, with what was guessed."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def text(self) -> str:
        return "\n".join(self.lines) + "\n"

    def table(self, header: str) -> None:
        self.lines += ["", header]

    def comment(self, text: str) -> None:
        self.lines += [f"# {printable(line)}".rstrip() for line in _folded(text)]

    def key(self, name: str, value: Any, note: str = "") -> None:
        shown = _value(value)
        self.lines.append(f"{name} = {shown}" + (f"  # {printable(note)}" if note else ""))


def _folded(text: str) -> list[str]:
    import textwrap

    return textwrap.wrap(text, 110, break_long_words=False, break_on_hyphens=False) or [""]


def _value(value: Any) -> str:
    """A value in TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        import json

        return json.dumps(printable(value))
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return str(value)


def scenario_of(report: HostReport) -> str:
    """The scenario as TOML, which softnet accepts. Raises SoftnetError if it does not, which would be a mistake of"
    " softnet's own.
    """
    import tomllib

    text = _Machine(report).write()
    scenario_from_dict(tomllib.loads(text))
    return text


def numbers_of(report: HostReport) -> dict[int, int]:
    """CPU of the machine -> CPU of its scenario."""
    return _Machine(report).number


class _Machine:
    """What several tables need to know."""

    def __init__(self, report: HostReport) -> None:
        self.report = report
        self.facts = Facts(report)
        self.out = Writer()
        self.online = self.facts.online[:CPUS_MAX] or [0]
        self.number = {cpu: at for at, cpu in enumerate(self.online)}
        self.release: Release = not_newer(report.release) or next(iter(releases().values()))
        self.rt = report.preempt == "rt"
        self.hz = report.hz if report.hz in HZ_KNOWN else 250

    def write(self) -> str:
        out, report = self.out, self.report
        out.comment(f"The receive path of {report.name or 'a machine'}, as softnet host scenario read it. What it could"
        f" not read says"
                    f' "{GUESS.strip()}": check these before you believe a figure.')  # fmt: skip
        out.lines.append("")
        out.key("name", "host")
        self._machine()
        self._kernel()
        self._sysctl()
        self._threads()
        cards = self._cards()
        for card in cards:
            self._nic(card)
        for at, card in enumerate(cards):
            self._traffic(card, at, len(cards))
        self._application(cards)
        self._hogs()
        rate = max(sum(self._rate(card)[0] for card in cards), 1)
        duration = min(max(PACKETS * 1000 // rate, 20), 1000)
        out.table("[measure]")
        out.key("duration_ms", duration, f"{GUESS}about {rate * duration // 1000:,} packets")
        out.key("warmup_ms", duration // 10, GUESS.strip(" :"))
        return out.text()

    def cpus(self, cpus: Iterable[int]) -> list[int]:
        """CPUs of the machine as numbers of the scenario; those it has not are left out."""
        return sorted(self.number[cpu] for cpu in cpus if cpu in self.number)

    def _machine(self) -> None:
        out, report = self.out, self.report
        out.table("[machine]")
        known = bool(self.facts.online)
        out.key("cpus", len(self.online), "" if known else f"{GUESS}no list of CPUs was there")
        if len(self.facts.online) > CPUS_MAX:
            out.comment(
                f"The machine has {len(self.facts.online)} CPUs, and the model at most {CPUS_MAX}: the others are left out."
            )
        if self.online != list(range(len(self.online))):
            out.comment(f"CPUs have the numbers of the online ones in order: 0, 1, … stand for {as_list(self.online)}.")
        nodes = [node for node, cpus in report.cpus.nodes.items() if self.cpus(cpus)]
        if 1 < len(nodes) <= min(64, len(self.online)):
            out.key("numa_nodes", len(nodes), "dealt to the CPUs in equal runs; the machine may deal them otherwise")
        isolated = self.cpus(self.facts.kept_free)
        if isolated and len(isolated) < len(self.online):
            out.key("isolated_cpus", isolated)
        out.key("costs", "default", f"{GUESS}no machine has exactly these; times follow from them, counts hardly")
        self._idle()

    def _idle(self) -> None:
        """The idle states, if they are such as a scenario takes; the polling one is there by itself."""
        cpus, out = self.report.cpus, self.out
        states = [state for state in cpus.idle_states if state.name != "POLL"]
        if not states:
            return
        names = [re.sub(r"[^A-Za-z0-9_-]", "_", state.name)[:32] for state in states]
        ordered = all(a.latency_us <= b.latency_us and a.residency_us <= b.residency_us for a, b in pairwise(states))
        bounded = all(state.latency_us <= 10**6 and state.residency_us <= 10**7 for state in states)
        named = len(set(names)) == len(names) and all(re.fullmatch(NAME_PATTERN, name, re.ASCII) for name in names)
        governor = cpus.idle_governor if cpus.idle_governor in GOVERNORS else "menu"
        if not (ordered and bounded and named and len(states) <= STATES_MAX) or (governor == "haltpoll" and len(states) != 1):
            out.comment("The idle states of this machine are none that a scenario takes: leaving idleness costs the same always.")
            return
        out.table("[machine.idle]")
        known = governor == cpus.idle_governor
        out.key("governor", governor, "" if known else f"{GUESS}the machine's is {cpus.idle_governor or 'not known'}")
        if cpus.latency_limit_us is not None:
            out.key("latency_limit_us", min(cpus.latency_limit_us, 10**7))
        off = [name for name, state in zip(names, states, strict=True) if state.disabled]
        off += ["POLL"] if any(state.disabled and state.name == "POLL" for state in cpus.idle_states) else []
        if off:
            out.key("disable", off)
        out.comment("Waking takes as long as the driver states at the most; wake_us says what it takes really.")
        for name, state in zip(names, states, strict=True):
            out.table("[[machine.idle.states]]")
            out.key("name", name)
            out.key("exit_latency_us", state.latency_us)
            out.key("target_residency_us", state.residency_us)
            if "MWAIT" not in state.desc:
                out.key("mwait", False, state.desc)

    def _kernel(self) -> None:
        out, report = self.out, self.report
        out.table("[kernel]")
        if not report.release:
            note = f"{GUESS}the release is not known"
        elif self.release.name == ".".join(map(str, self.facts.version)):
            note = f"the machine's is {report.release}"
        else:
            older = not_newer(report.release) is None
            note = f"{GUESS}the machine's is {report.release}; of those that softnet has, this is the nearest" + (
                ", and newer" if older else " that is not newer"
            )
        if not report.release:
            from softnet.release import DEFAULT

            self.release = releases()[DEFAULT]
        out.key("release", self.release.name, note)
        if self.rt:
            out.key("flavour", "rt")
        elif report.preempt:
            out.key("preempt", report.preempt)
        else:
            out.key("preempt", "voluntary", f"{GUESS}neither /proc/version nor the configuration says it")
        out.key("hz", self.hz, "" if report.hz == self.hz else f"{GUESS}no CONFIG_HZ that softnet has")
        given = report.boot_args or []
        args = ["threadirqs"] if "threadirqs" in given and not self.rt else []
        if THREADS_ARG in given and self.release.has("backlog_threads"):
            args.append(THREADS_ARG)
        if report.cpus.hypervisor and report.cpus.idle_driver in ("", "none"):
            args.append("idle=halt")
        args += [arg for arg in ("idle=poll", "cpuidle.off=1") if arg in given and "idle=halt" not in args]
        if args:
            out.key("boot_args", args, "idle=halt: a guest without an idle driver" if "idle=halt" in args else "")

    def _sysctl(self) -> None:
        values = dict(self._sysctls())
        if not values:
            return
        self.out.table("[kernel.sysctl]")
        for name, value in values.items():
            self.out.key(name, value)

    def _sysctls(self) -> Iterator[tuple[str, Any]]:
        for name, field in Sysctl.model_fields.items():
            text = self.report.sysctl.get(f"net.core.{name}", "")
            if name == "flow_limit_cpu_bitmap":
                if re.fullmatch(r"[0-9a-fA-F,]{1,2200}", text) and text.strip("0,"):
                    mask = int(text.replace(",", "") or "0", 16)
                    yield name, self.cpus(cpu for cpu in range(mask.bit_length()) if mask >> cpu & 1)
                continue
            value = self.facts.sysctl(f"net.core.{name}")
            if value is None or value == field.default or not self._accepted(name, value):
                continue
            yield name, value

    def _accepted(self, name: str, value: int) -> bool:
        """Whether the scenario takes a sysctl's value; what it has by itself need not be said."""
        low, high = (0 if name in ("netdev_max_backlog", "skb_defer_max", "rps_sock_flow_entries") else 1), 2**31 - 1
        if name == "netdev_budget_usecs":
            ticks = 2 * 1_000_000 // self.hz
            return low <= value <= high and value != ticks and not (self.release.has("budget_usecs_min") and value < ticks)
        if name == "skb_defer_max":
            return value != self.release.defer_max and value <= high
        limits = {"rps_sock_flow_entries": 2**20, "flow_limit_table_len": 4096, "dev_weight_rx_bias": 2**15}
        if name == "flow_limit_table_len" and value & (value - 1):
            return False
        return low <= value <= limits.get(name, high)

    def _threads(self) -> None:
        found: dict[str, str] = {}
        threads_of_backlog = self.release.has("backlog_threads") and (self.rt or THREADS_ARG in (self.report.boot_args or []))
        for thread in self.report.threads:
            match = re.fullmatch(r"(ksoftirqd|backlog_napi)/(\d{1,4})", thread.comm)
            if (
                not match
                or int(match[2]) not in self.number
                or thread.policy not in ("fifo", "rr")
                or not 1 <= thread.priority <= 99
            ):
                continue
            if match[1] == "backlog_napi" and not threads_of_backlog:
                continue
            found[f"{match[1]}/{self.number[int(match[2])]}"] = f"{thread.policy}:{thread.priority}"
        if found:
            self.out.table("[kernel.threads]")
            for name, value in found.items():
                self.out.key(f'"{name}"', value)

    def _cards(self) -> list[Card]:
        """The cards to write: the busiest; one that is made up if none is known."""
        cards = self.facts.hardware or [card for card in self.report.cards if card.kind == "virtual" and card.state == "up"]
        cards = sorted(cards, key=lambda card: -self.facts.device(card.name, "rx_packets").now)[:CARDS_MAX]
        if cards and not self.facts.device(cards[0].name, "rx_packets").now:
            return cards[:1]
        cards = [card for card in cards if self.facts.device(card.name, "rx_packets").now] or cards
        return cards or [Card(name="eth0")]

    def name(self, card: Card) -> str:
        """The card's name, if a scenario takes it."""
        return card.name if re.fullmatch(NAME_PATTERN, card.name, re.ASCII) else f"nic{self._cards().index(card)}"

    def _nic(self, card: Card) -> None:
        out = self.out
        out.table("[[nic]]")
        out.key("name", self.name(card), "" if card in self.report.cards else f"{GUESS}no card was read")
        queues = min(len(card.rx_queues) or card.channels.get("combined", 0) or card.channels.get("rx", 0) or 1, CPUS_MAX)
        known = bool(card.rx_queues or card.channels)
        out.key("queues", queues, "" if known else GUESS.strip(" :"))
        ring = card.ring.get("rx", 0)
        out.key("ring", ring if 1 <= ring <= 65536 else 512, "" if 1 <= ring <= 65536 else f"{GUESS}ethtool -g says it")
        irqs = [cpus[0] for irq in self.facts.irqs_of(card) if (cpus := self.cpus(self.facts.irq_cpus(irq)))]
        whole = len(irqs) >= queues
        chosen = irqs[:queues] if whole else [(irqs[at % len(irqs)] if irqs else at % len(self.online)) for at in range(queues)]
        out.key("irq_cpus", chosen, "" if whole else f"{GUESS}receiving interrupts known: {len(irqs)}, queues: {queues}")
        for key, most in (("rx_usecs", 10**6), ("rx_frames", 65536)):
            if key in card.coalesce:
                out.key(key, min(card.coalesce[key], most))
        if not card.coalesce:
            out.comment(f"{GUESS}rx_usecs = 0, no coalescing; ethtool -c says it")
        masks = [self.cpus(queue.rps_cpus or []) for queue in card.rx_queues]
        if any(masks):
            self._mask(next(mask for mask in masks if mask), all(mask == masks[0] for mask in masks))
        flows = max((queue.rps_flow_cnt or 0 for queue in card.rx_queues), default=0)
        if 0 < flows <= 2**20:
            out.key("rps_flow_cnt", flows)
        if card.features.get("generic-receive-offload") is False:
            out.key("gro", False)
        self._napi(card)

    def _napi(self, card: Card) -> None:
        """What a NAPI instance is set to: a scenario has one setting a card."""
        for key, of_napi, most in NAPI_SETTINGS:
            own = sorted({value for napi in card.napis if (value := getattr(napi, of_napi)) is not None})
            value = max(own, default=getattr(card, key) or 0)
            if 0 < value <= most:
                note = f"{GUESS}NAPI instances differ: {', '.join(map(str, own))}" if len(own) > 1 else ""
                self.out.key(key, bool(value) if key == "threaded" else value, note)
        if suspended := max((napi.irq_suspend_timeout or 0 for napi in card.napis), default=0):
            self.out.comment(f"irq_suspend_timeout = {suspended} on the machine: it acts where an application polls busily.")

    def _mask(self, mask: list[int], alike: bool) -> None:
        free = [cpu for cpu in mask if cpu not in self.cpus(self.facts.kept_free)]
        if not free:
            self.out.comment(f"rps_cpus = {_value(mask)} on the machine: only isolated CPUs, which the model's kernels refuse.")
            return
        self.out.key("rps_cpus", free, "" if alike else f"{GUESS}queues differ, and a scenario has one mask a card")

    def _rate(self, card: Card) -> tuple[int, str]:
        """Packets a second, and how that is known."""
        counter = self.facts.device(card.name, "rx_packets")
        rate = self.facts.rate(counter)
        uptime = self.report.uptime_s
        if rate is not None:
            said = f"measured over {self.facts.seconds:.1f} s"
        elif counter.total and uptime:
            rate, said = counter.total / uptime, f"{GUESS}the mean since boot, and no machine is as busy all the time"
        else:
            return RATE_GUESSED, f"{GUESS}no counter of packets over a known time"
        if rate < RATE_MIN:
            return RATE_GUESSED, f"{GUESS}it was nearly idle ({rate:,.0f} packets a second): put the rate that you ask about"
        return min(int(rate), 10**8), said

    def _udp(self) -> bool:
        """Whether most of what comes is UDP."""
        udp, tcp = self.facts.protocol("Udp.InDatagrams").now, self.facts.protocol("Tcp.InSegs").now
        return udp >= tcp

    def _ports(self) -> tuple[list[int], str]:
        ports = sorted({s.port for s in self.facts.last.sockets if 0 < s.port < 65536})[:16]
        if ports and self._udp():
            return ports, "UDP sockets whose queue held or dropped something"
        return [5000], GUESS.strip(" :")

    def _traffic(self, card: Card, at: int, count: int) -> None:
        out = self.out
        rate, said = self._rate(card)
        out.table("[[traffic]]")
        out.key("kind", "poisson", f'{GUESS}counters do not show bursts; a capture would (kind = "capture")')
        if count > 1:
            out.key("nic", self.name(card))
        out.key("rate_pps", rate, said)
        size, packets = self.facts.device(card.name, "rx_bytes"), self.facts.device(card.name, "rx_packets")
        mean = size.now // packets.now if packets.now else 0
        if mean > 1514:
            out.key("sizes", [[1514, 1]], f"{GUESS}the mean is {mean:,} bytes, so somebody merges packets before they are counted")
        elif mean >= 60:
            out.key("sizes", [[mean, 1]], "the mean of the bytes received; mixtures act otherwise")
        else:
            out.key("sizes", [[64, 1]], GUESS.strip(" :"))
        out.key("flows", 64, GUESS.strip(" :"))
        out.key(
            "proto",
            "udp" if self._udp() else "tcp",
            "what more was received of" if self.facts.last.protocols else GUESS.strip(" :"),
        )
        ports, why = self._ports()
        out.key("dst_ports", ports, why)

    def _application(self, cards: list[Card]) -> None:
        out = self.out
        busy = {cpu for card in cards for irq in self.facts.irqs_of(card) for cpu in self.cpus(self.facts.irq_cpus(irq))}
        free = (
            [cpu for cpu in self.cpus(self.facts.housekeeping()) if cpu not in busy] or self.cpus(self.facts.housekeeping()) or [0]
        )
        out.table("[[application]]")
        out.key("name", "app")
        out.key("kind", "udp" if self._udp() else "tcp")
        out.key("cpus", free[:4], f"{GUESS}CPUs that the cards do not interrupt")
        out.key("service_ns", 1500, f"{GUESS}user time of each packet")
        rcvbuf = self.facts.sysctl("net.core.rmem_default")
        if rcvbuf is not None and 2304 <= rcvbuf <= 2**31 - 1:
            out.key("rcvbuf", rcvbuf, "net.core.rmem_default; an application may ask for more")
        out.key("dst_ports", self._ports()[0])

    def _hogs(self) -> None:
        """Real-time tasks that take a noticeable share of one CPU."""
        written = 0
        for thread in self.report.threads:
            share = self.facts.thread_share(thread)
            pinned = self.cpus(thread.cpus or [])
            kernel = re.match(
                r"(migration|ksoftirqd|backlog_napi|ktimers|rcuc|irq|napi|cpuhp|idle_inject)/|rcu_|watchdogd", thread.comm
            )
            if kernel or thread.policy not in ("fifo", "rr") or not 1 <= thread.priority <= 99 or len(pinned) != 1:
                continue
            if share is None or share < 0.05 or written >= HOGS_MAX:
                continue
            written += 1
            self.out.table("[[task]]")
            self.out.key("kind", "hog")
            self.out.key("name", f"task{written}", thread.comm)
            self.out.key("cpu", pinned[0])
            self.out.key("sched", f"{thread.policy}:{thread.priority}")
            self.out.key("duty", round(min(share, 1.0), 3), f"{GUESS}evenly over every 10 ms")
