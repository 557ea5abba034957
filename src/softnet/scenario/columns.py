# SPDX-License-Identifier: GPL-2.0-or-later
"""The columns that travel from a traffic source to an engine."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Bits of the column ``flags``.
FLAG_PUSH: Final = 1
FLAG_FRAGMENT: Final = 2
FLAG_NO_MERGE: Final = 4

#: What stands in ``proto``: IP protocol numbers.
TCP: Final = 6
UDP: Final = 17
#: Or, where a frame holds no IP packet, its Ethernet type with this bit.
NOT_IP: Final = 0x10000

#: What stands in ``hash_type``: what a driver tells skb_set_hash() (enum pkt_hash_types, include/linux/skbuff.h).
PKT_HASH_TYPE_NONE: Final = 0
PKT_HASH_TYPE_L3: Final = 2
PKT_HASH_TYPE_L4: Final = 3

#: Packets of one chunk handed to an engine.
CHUNK: Final = 8192


@dataclasses.dataclass(frozen=True, eq=False)
class ArrivalChunk:
    """Arrivals in time order, as numpy int64 columns of one length.

    time_ns
        When the last byte is in the card's memory, from the start of the run.
    nic_queue
        Receive queue, counted from 0 over the queues of all NICs.
    hash
        The card's hash, 32 bits; 0 where it gives none.
    hash_type
        Whether that hash is over ports (``PKT_HASH_TYPE_L4``, the kernel uses it as it is), over addresses only, or none.
    flow_hash
        What skb_get_hash() computes where the card's hash is not over ports, 32 bits.
    len_bytes
        ``skb->len`` with the Ethernet header.
    sock
        1-based row of ``socket_table``; 0 if nobody listens.
    proto
        6, 17 or another IP protocol; of a frame without an IP packet its Ethernet type and ``NOT_IP``.
    flow
        Number of the flow, counted from 0 over all sources.
    flags
        Bit 0: PSH, or the last packet of a burst. Bit 1: an IP fragment. Bit 2: a TCP segment that GRO never
        merges (SYN, FIN, RST, URG).
    seq_ok
        1 where a TCP segment directly continues the one before it of its flow.
    payload_bytes
        Bytes above the transport header.
    source
        Index of the ``[[traffic]]`` table that it comes from.
    """

    time_ns: NDArray[np.int64]
    nic_queue: NDArray[np.int64]
    hash: NDArray[np.int64]
    hash_type: NDArray[np.int64]
    flow_hash: NDArray[np.int64]
    len_bytes: NDArray[np.int64]
    sock: NDArray[np.int64]
    proto: NDArray[np.int64]
    flow: NDArray[np.int64]
    flags: NDArray[np.int64]
    seq_ok: NDArray[np.int64]
    payload_bytes: NDArray[np.int64]
    source: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.time_ns)

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> ArrivalChunk:
        return ArrivalChunk(*(getattr(self, name)[rows] for name in COLUMNS))

    def matrix(self) -> NDArray[np.int64]:
        """All columns as one C-ordered (columns, packets) array, in the order of ``COLUMNS``."""
        return np.stack([getattr(self, name) for name in COLUMNS])


COLUMNS: Final = tuple(field.name for field in dataclasses.fields(ArrivalChunk))


def concatenate(chunks: list[ArrivalChunk]) -> ArrivalChunk:
    """One chunk after the other."""
    if len(chunks) == 1:
        return chunks[0]
    return ArrivalChunk(*(np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in COLUMNS))


@dataclasses.dataclass(frozen=True, eq=False)
class SourceChunk:
    """What a source itself knows of its packets; the flow is counted within the source."""

    time_ns: NDArray[np.int64]
    flow: NDArray[np.int64]
    len_bytes: NDArray[np.int64]
    flags: NDArray[np.int64]
    seq_ok: NDArray[np.int64]
    payload_bytes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.time_ns)

    def until(self, stop_ns: int) -> SourceChunk:
        """The packets before ``stop_ns``."""
        keep = int(np.searchsorted(self.time_ns, stop_ns, side="left"))
        if keep == len(self):
            return self
        return SourceChunk(*(getattr(self, field.name)[:keep] for field in dataclasses.fields(self)))
