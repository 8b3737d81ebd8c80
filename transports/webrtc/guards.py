"""What a packet must look like before aiortc and aioice read it, and how many a peer may send.

Both libraries trust the lengths that a peer writes: some loop on them, some raise where nobody catches. So what a
length or a count is read from is checked here first, by pure functions without state, against the RFCs and against
bounds of our own where those leave one packet too much work. docs/adr/0013 lists what was found.
"""

from __future__ import annotations

import logging
import struct
import time
from collections.abc import Callable

__all__ = ["Allowance", "Complaints", "MalformedPacket", "check_sctp", "is_media", "is_stun"]

MAX_DATAGRAM = 2048
"""Bytes; WebRTC endpoints keep to 1200 or so, and aiortc reads 1500 of a record."""
STUN_HEADER = 20
_STUN_COOKIE = b"\x21\x12\xa4\x42"

SCTP_HEADER = 12
_CHUNK_HEADER = 4
MAX_CONTROL_CHUNKS = 4
"""Chunks of a packet that carry no data. Each may be answered with a packet of its own; a peer bundles two or three."""
MAX_FORWARDED = 64
"""Streams in a FORWARD TSN; aiortc makes room for each."""

_DATA, _INIT, _INIT_ACK, _SACK, _HEARTBEAT, _HEARTBEAT_ACK = 0, 1, 2, 3, 4, 5
_ABORT, _SHUTDOWN, _ERROR, _RECONFIG, _FORWARD_TSN = 6, 7, 9, 130, 192

_SHORTEST_PARAM = {13: 16, 16: 12, 17: 12}
"""Of the RE-CONFIG parameters that aiortc reads, bytes (RFC 6525, 4.1, 4.4, 4.5)."""


class MalformedPacket(ValueError):  # noqa: N818 -- what it is, as in the RFCs
    """A packet is none that an honest peer sends. The text has neither addresses nor contents."""


def is_media(datagram: bytes) -> bool:
    """Whether a datagram is DTLS, RTP or RTCP by its first byte (RFC 7983, 7), and of a size that these have."""
    return 0 < len(datagram) <= MAX_DATAGRAM and (127 < datagram[0] < 192 or 19 < datagram[0] < 64)


def is_stun(datagram: bytes) -> bool:
    """Whether a datagram is STUN by its header (RFC 8489, 5 and 6.3)."""
    return (
        len(datagram) >= STUN_HEADER
        and datagram[0] < 4
        and datagram[4:8] == _STUN_COOKIE
        and len(datagram) == STUN_HEADER + (datagram[2] << 8 | datagram[3])
    )


def check_sctp(packet: bytes, *, sent_tsn: int) -> list[int]:
    """Check the structure of an SCTP packet (RFC 9260, RFC 3758, RFC 6525); its checksum is aiortc's business.

    Args:
        packet: What DTLS has decrypted.
        sent_tsn: The last transmission sequence number that we have sent; nothing beyond it can be acknowledged.

    Returns:
        The transmission sequence number of each DATA chunk, in order.

    Raises:
        MalformedPacket: If a length points outside of what holds it, or there is more of something than a peer sends.
    """
    if len(packet) < SCTP_HEADER + _CHUNK_HEADER:
        raise MalformedPacket(f"an SCTP packet of {len(packet)} bytes")
    data: list[int] = []
    at, control, first = SCTP_HEADER, 0, True
    while at <= len(packet) - _CHUNK_HEADER:
        kind, length = packet[at], packet[at + 2] << 8 | packet[at + 3]
        end = at + length
        if length < _CHUNK_HEADER or end > len(packet):
            raise MalformedPacket(f"an SCTP chunk of type {kind} whose length is {length}")
        if kind == _DATA:
            if length < 17:
                raise MalformedPacket("an SCTP DATA chunk without data")
            data.append(int.from_bytes(packet[at + 4 : at + 8], "big"))
        else:
            control += 1
            if control > MAX_CONTROL_CHUNKS:
                raise MalformedPacket(f"an SCTP packet of more than {MAX_CONTROL_CHUNKS} control chunks")
            _check_control(kind, packet[at + _CHUNK_HEADER : end], sent_tsn)
            if kind in (_INIT, _INIT_ACK) and not (first and end + 4 > len(packet)):
                raise MalformedPacket("an SCTP INIT that is not alone in its packet")
        first = False
        at = end + -length % 4
    return data


def _check_control(kind: int, body: bytes, sent_tsn: int) -> None:
    if kind == _SACK:
        _check_sack(body, sent_tsn)
    elif kind in (_INIT, _INIT_ACK):
        if len(body) < 16:
            raise MalformedPacket(f"an SCTP INIT of {len(body)} bytes")
        _check_params(body[16:])
    elif kind in (_HEARTBEAT, _HEARTBEAT_ACK, _ABORT, _ERROR):
        _check_params(body)
    elif kind == _RECONFIG:
        # One or two (RFC 6525, 3.1); aiortc answers each.
        if _check_params(body, _SHORTEST_PARAM) > 2:
            raise MalformedPacket("an SCTP RE-CONFIG chunk of more than two parameters")
    elif kind == _SHUTDOWN:
        if len(body) < 4:
            raise MalformedPacket("an SCTP SHUTDOWN chunk without its TSN")
    elif kind == _FORWARD_TSN and (len(body) < 4 or len(body) % 4 or len(body) // 4 - 1 > MAX_FORWARDED):
        raise MalformedPacket(f"an SCTP FORWARD TSN chunk of {len(body)} bytes")


def _check_params(body: bytes, shortest: dict[int, int] | None = None) -> int:
    """Check type-length-value parameters or error causes; returns how many."""
    at = count = 0
    while at <= len(body) - 4:
        kind, length = struct.unpack_from("!HH", body, at)
        if length < max(4, (shortest or {}).get(kind, 0)) or at + length > len(body):
            raise MalformedPacket(f"an SCTP parameter of type {kind} whose length is {length}")
        at += length + -length % 4
        count += 1
    return count


def _check_sack(body: bytes, sent_tsn: int) -> None:
    if len(body) < 12:
        raise MalformedPacket(f"an SCTP SACK of {len(body)} bytes")
    cumulative_tsn, _, gaps, duplicates = struct.unpack_from("!LLHH", body)
    if len(body) != 12 + 4 * (gaps + duplicates):
        raise MalformedPacket(f"an SCTP SACK of {len(body)} bytes for {gaps} gaps and {duplicates} duplicates")
    outstanding = (sent_tsn - cumulative_tsn) % 2**32
    if outstanding >= 2**31:
        raise MalformedPacket("an SCTP SACK for what was never sent")
    reached = 0
    for n in range(gaps):
        start, end = struct.unpack_from("!HH", body, 12 + 4 * n)
        # aiortc counts through each block, so blocks may neither overlap nor reach beyond what is under way.
        if not reached < start <= end <= outstanding:
            raise MalformedPacket("an SCTP SACK whose gap blocks are none of ours")
        reached = end


class Allowance:
    """A token bucket: how often something may happen.

    Args:
        per_s: How often in the long run.
        burst: How often at once.
        clock: Monotonic clock, s.
    """

    def __init__(self, per_s: float, burst: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._burst = float(burst)
        self._clock = clock
        self._left = float(burst)
        self._at = clock()
        self.refused = 0

    def take(self, count: int = 1) -> bool:
        """Whether it may happen now, ``count`` times over; it is counted if so."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._at) * self._per_s)
        self._at = now
        if self._left < count:
            self.refused += 1
            return False
        self._left -= count
        return True


class Complaints:
    """Writes down what is wrong with packets: at most one line a second at debug level, however many they are.

    Args:
        log: Where to.
        clock: Monotonic clock, s.
    """

    def __init__(self, log: logging.Logger, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._lines = Allowance(1, 1, clock=clock)
        self._unsaid = 0
        self.count = 0

    def note(self, problem: object) -> None:
        """Count a packet that was dropped."""
        self.count += 1
        if self._lines.take():
            self._log.debug("dropped %s%s", problem, f", and {self._unsaid} packets before it" if self._unsaid else "")
            self._unsaid = 0
        else:
            self._unsaid += 1
