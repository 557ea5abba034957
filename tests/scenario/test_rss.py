# SPDX-License-Identifier: GPL-2.0-or-later
"""The hashes are the ones that cards and kernels compute."""

from __future__ import annotations

import ipaddress
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from softnet.scenario import Application, Nic, Scenario
from softnet.scenario.columns import NOT_IP, PKT_HASH_TYPE_L3, PKT_HASH_TYPE_L4, PKT_HASH_TYPE_NONE
from softnet.scenario.flows import FlowKey, SocketBook, hash_and_queue, table_of_keys
from softnet.scenario.rss import TOEPLITZ_KEY, boot_key, indirection, siphash24, toeplitz

# Microsoft, "Verifying the RSS Hash Calculation" (Windows driver documentation): destination, its port, source,
# its port, the hash over the addresses alone, the hash over addresses and TCP ports. Intel's 82599 datasheet prints
# the same in section 7.1.2.8.3.
MICROSOFT = [
    ("161.142.100.80", 1766, "66.9.149.187", 2794, 0x323E8FC2, 0x51CCC178),
    ("65.69.140.83", 4739, "199.92.111.2", 14230, 0xD718262A, 0xC626B0EA),
    ("12.22.207.184", 38024, "24.19.198.95", 12898, 0xD2D0A5DE, 0x5C2B394A),
    ("209.142.163.6", 2217, "38.27.205.30", 48228, 0x82989176, 0xAFC7327F),
    ("202.188.127.2", 1303, "153.39.163.191", 44251, 0x5D1809C5, 0x10E828A2),
    ("3ffe:2501:200:3::1", 1766, "3ffe:2501:200:1fff::7", 2794, 0x2CC18CD5, 0x40207D3D),
    ("ff02::1", 4739, "3ffe:501:8::260:97ff:fe40:efab", 14230, 0x0F0C461C, 0xDDE51BBF),
    ("fe80::200:f8ff:fe21:67cf", 38024, "3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251, 0x4B61E985, 0x02D1FEEF),
]


def key(src: str, dst: str, sport: int, dport: int, proto: int = 6, fragment: bool = False, label: int = 0) -> FlowKey:
    ends = ipaddress.ip_address(src).packed, ipaddress.ip_address(dst).packed
    return FlowKey(proto, *ends, sport, dport, fragment, flow_label=label)


def card(flow: FlowKey, nic: Nic | None = None) -> int:
    return int(hash_and_queue(table_of_keys([flow]), nic or Nic(), seed=0).card[0])


@pytest.mark.parametrize(("dst", "dport", "src", "sport", "addresses", "with_ports"), MICROSOFT)
def test_microsofts_verification_suite(dst: str, dport: int, src: str, sport: int, addresses: int, with_ports: int) -> None:
    assert card(key(src, dst, sport, dport)) == with_ports
    assert card(key(src, dst, 0, 0, fragment=True)) == addresses
    assert card(key(src, dst, 0, 0, proto=1)) == addresses
    assert card(key(src, dst, sport, dport, proto=17)) == with_ports
    assert card(key(src, dst, sport, dport, proto=17), Nic(rx_flow_hash_udp="sd")) == addresses


@given(data=st.binary(min_size=1, max_size=36))
def test_toeplitz_agrees_with_its_definition(data: bytes) -> None:
    """For each set bit of the input, the 32 bits of the key that begin at that bit."""
    secret = int.from_bytes(TOEPLITZ_KEY, "big")
    expected = 0
    for position in range(len(data) * 8):
        if data[position // 8] & (0x80 >> position % 8):
            expected ^= (secret >> (len(TOEPLITZ_KEY) * 8 - 32 - position)) & 0xFFFF_FFFF
    assert int(toeplitz(np.frombuffer(data, dtype=np.uint8)[None])[0]) == expected


# The first vectors of the SipHash reference implementation (vectors_sip64): key 00 01 … 0f, message 00 01 ….
SIPHASH = {
    0: 0x726FDB47DD0E0E31,
    1: 0x74F839C593DC67FD,
    7: 0xAB0200F58B01D137,
    8: 0x93F5F5799A932462,
    15: 0xA129CA6149BE45E5,
}


@pytest.mark.parametrize("length", SIPHASH)
def test_siphash_reference_vectors(length: int) -> None:
    message = bytes(range(length)).ljust(length // 8 * 8 + 8, b"\0")
    words = np.frombuffer(message, dtype="<u8").astype(np.uint64)[None]
    k0, k1 = struct.unpack("<QQ", bytes(range(16)))
    assert int(siphash24((k0, k1), words, length)[0]) == SIPHASH[length]


@given(
    src=st.ip_addresses(v=4),
    dst=st.ip_addresses(v=4),
    sport=st.integers(0, 65535),
    dport=st.integers(0, 65535),
    seed=st.integers(0, 2**63 - 1),
)
def test_the_kernels_hash_is_symmetric_and_never_zero(
    src: ipaddress.IPv4Address, dst: ipaddress.IPv4Address, sport: int, dport: int, seed: int
) -> None:
    there = table_of_keys([FlowKey(17, src.packed, dst.packed, sport, dport)])
    back = table_of_keys([FlowKey(17, dst.packed, src.packed, dport, sport)])
    hashes = [int(hash_and_queue(flows, Nic(), seed).flow[0]) for flows in (there, back)]
    assert hashes[0] == hashes[1]
    assert 0 < hashes[0] < 2**32


def test_the_kernels_hash_depends_on_the_seed_and_the_cards_does_not() -> None:
    flows = table_of_keys([key("10.0.0.1", "10.0.0.2", 1, 2)])
    assert boot_key(1) != boot_key(2)
    one, two = hash_and_queue(flows, Nic(), 1), hash_and_queue(flows, Nic(), 2)
    assert int(one.flow[0]) != int(two.flow[0])
    assert int(one.card[0]) == int(two.card[0])


@pytest.mark.parametrize("queues", [1, 2, 3, 4, 16, 200])
def test_the_indirection_table_is_the_kernels_default(queues: int) -> None:
    table = indirection(queues)
    assert len(table) == 128
    assert table.tolist() == [index % queues for index in range(128)]


def test_a_card_chooses_the_queue_by_the_low_seven_bits() -> None:
    flows = table_of_keys([key("10.0.0.1", "10.0.0.2", port, 80) for port in range(1, 400)])
    for nic in (Nic(queues=3), Nic(queues=3, rss=False)):
        found = hash_and_queue(flows, nic, seed=5)
        card_hashes = hash_and_queue(flows, Nic(), seed=5).card
        assert found.queue.tolist() == [int(value) % 128 % 3 for value in card_hashes]
        assert (found.card.tolist() == card_hashes.tolist()) == nic.rss
        assert set(found.card_type.tolist()) == {PKT_HASH_TYPE_L4 if nic.rss else PKT_HASH_TYPE_NONE}


def test_an_ipv6_flow_label_counts_in_place_of_the_ports_for_the_kernel_alone() -> None:
    keys = [key("fd00::2", "fd00::1", port, 80, label=label) for port, label in ((1, 7), (2, 7), (3, 8))]
    found = hash_and_queue(table_of_keys(keys), Nic(), 1)
    assert found.flow[0] == found.flow[1] != found.flow[2]
    assert len(set(found.card.tolist())) == 3


def test_over_what_the_card_hashed_is_told() -> None:
    """skb_set_hash()'s type decides whether the kernel takes the hash as it is (include/linux/skbuff.h, skb_get_hash())."""
    keys = [key("10.0.0.1", "10.0.0.2", 1, 2, proto=proto) for proto in (6, 17, 132, 47, 50, 1)]
    keys += [key("10.0.0.1", "10.0.0.2", 0, 0, fragment=True), FlowKey(NOT_IP | 0x8847, b"", b"", 0, 0, dissected=bytes(73))]
    L3, L4, none = PKT_HASH_TYPE_L3, PKT_HASH_TYPE_L4, PKT_HASH_TYPE_NONE
    found = hash_and_queue(table_of_keys(keys), Nic(queues=4), 1)
    assert found.card_type.tolist() == [L4, L4, L3, L3, L3, L3, L3, none]
    assert hash_and_queue(table_of_keys(keys), Nic(rx_flow_hash_udp="sd"), 1).card_type.tolist()[:2] == [L4, L3]
    assert (found.card[-1], found.queue[-1]) == (0, 0)


def test_flows_of_one_connection_share_a_socket() -> None:
    """One connection seen with two flow labels and through two VLANs is four flows to RPS and one to TCP."""
    one = key("fd00::2", "fd00::1", 1000, 80)
    keys = [one, one._replace(flow_label=5), one._replace(dissected=bytes(73)), key("fd00::2", "fd00::1", 1001, 80)]
    scenario = Scenario(nic=(Nic(),), application=(Application(name="web"),))
    assert SocketBook(scenario).assign(table_of_keys(keys)).tolist() == [1, 1, 1, 2]
