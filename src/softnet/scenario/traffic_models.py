# SPDX-License-Identifier: GPL-2.0-or-later
"""``[[traffic]]``: what arrives at a NIC, from a capture or from a generator."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from softnet.scenario.fields import Name, PortList, Settings, SizeMix, TextList, required, setting

STANDARD_INPUT: Final = "-"
"""A capture's ``file`` that means standard input."""

_NIC_DOC = "Name of the NIC that it arrives at. Not given: the only NIC."


class _Source(Settings):
    nic: str | None = setting(None, _NIC_DOC)
    start_ms: float = setting(0, "When it starts.", unit="ms", ge=0, le=10**8)
    stop_ms: float | None = setting(None, "When it stops. Not given: the end of the run.", unit="ms", gt=0, le=10**8)


class CaptureTraffic(_Source):
    """``kind="capture"``: the packets of a pcap or pcapng file, which may be compressed."""

    kind: Literal["capture"] = "capture"
    file: Annotated[str, required('Path of the capture, from the scenario\'s folder; "-" is standard input.', min_length=1)]
    speed: float = setting(1.0, "2 plays it twice as fast.", ge=0.001, le=1000)
    loop: bool = setting(False, "Start again at its end, until the run ends.")
    local_addresses: TextList = setting(
        (),
        "IP addresses of the receiving host: only packets to them arrive. Empty: all but those that the capture marks as outgoing.",
    )


class _Generator(_Source):
    rate_pps: Annotated[int, required("Packets a second.", unit="packets/s", ge=1, le=10**9)]
    flows: int = setting(1, "Flows.", ge=1, le=2**20)
    sizes: SizeMix = setting(
        ((1514, 1.0),),
        "Sizes and their weights. A size is the frame with its Ethernet header, without checksum.",
        unit="bytes",
        allowed="a list of [bytes, weight] pairs: bytes from 60 to 65535, weight above 0",
    )
    proto: Literal["tcp", "udp"] = setting("udp", "Protocol.")
    dst_ports: PortList = setting((9,), "Destination ports; flow i goes to the port at i modulo their number.", min_length=1)
    src: str = setting(
        "",
        "Address of the first flow's client, IPv4 or IPv6; flow i has this and i more. Empty: 10.0.0.1 for the first source.",
    )
    dst: str = setting("", "Address that the packets go to, of the same family. Empty: 192.168.NIC.1, or fd00::NIC.")
    vlan: int = setting(0, "VLAN id of the frames, whose tag their size counts; 0 is no tag.", ge=0, le=4094)
    train: int = setting(
        1,
        "Packets of one flow that follow each other before the flow changes; the last carries PSH.",
        unit="packets",
        ge=1,
        le=65536,
    )


class ConstantTraffic(_Generator):
    """``kind="constant"``: evenly spaced packets."""

    kind: Literal["constant"] = "constant"


class PoissonTraffic(_Generator):
    """``kind="poisson"``: exponential gaps."""

    kind: Literal["poisson"] = "poisson"


class OnOffTraffic(_Generator):
    """``kind="onoff"``: bursts at rate_pps, with silence between them."""

    kind: Literal["onoff"] = "onoff"
    on_us: Annotated[float, required("Length of a burst.", unit="us", gt=0, le=10**9)]
    off_us: Annotated[float, required("Silence after it.", unit="us", gt=0, le=10**9)]
    exponential: bool = setting(False, "Draw both lengths from exponential distributions with these means.")


Generator = ConstantTraffic | PoissonTraffic | OnOffTraffic
Traffic = Annotated[CaptureTraffic | ConstantTraffic | PoissonTraffic | OnOffTraffic, Field(discriminator="kind")]

__all__ = [
    "CaptureTraffic",
    "ConstantTraffic",
    "Generator",
    "Name",
    "OnOffTraffic",
    "PoissonTraffic",
    "Traffic",
]
