"""What the receiver needs to know of RTP (RFC 3550) and Opus packets (RFC 6716, RFC 7587)."""

from __future__ import annotations

from dataclasses import dataclass

from tolmach.pipelines.frames import NS_PER_S

RTP_RATE_HZ = 48_000
"""RTP clock of Opus, whatever rate it codes (RFC 7587, 4.1)."""
FRAME_SAMPLES = 960
"""20 ms, the ptime every WebRTC endpoint sends by default."""
FRAME_NS = 20_000_000

MAX_OPUS_SAMPLES = 5760
"""An Opus packet holds at most 120 ms (RFC 6716, 3.2.5)."""
DTX_BYTES = 2
"""An Opus packet of at most two bytes is discontinuous transmission: the sender is silent (RFC 7587, 3.1.3)."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One RTP packet of an Opus stream.

    Attributes:
        sequence: RTP sequence number, 16 bit as on the wire.
        timestamp: RTP timestamp, 32 bit as on the wire, 48 kHz.
        payload: The Opus packet.
        arrival_ns: When it arrived, ns on the receiver's monotonic clock.
        duration: Samples it decodes to, at 48 kHz.
    """

    sequence: int
    timestamp: int
    payload: bytes
    arrival_ns: int
    duration: int = FRAME_SAMPLES


def rtp_ns(samples: int) -> int:
    """``samples`` of the 48 kHz RTP clock in ns, rounded down; negative counts are allowed."""
    return samples * NS_PER_S // RTP_RATE_HZ


def unwrap(value: int, near: int, bits: int) -> int:
    """The number that is ``value`` modulo 2**bits and nearest to ``near``."""
    modulus = 1 << bits
    delta = (value - near) % modulus
    return near + delta - (modulus if delta >= modulus >> 1 else 0)


def opus_duration(payload: bytes) -> int:
    """Samples at 48 kHz that an Opus packet decodes to, from its table-of-contents byte (RFC 6716, 3.1 and 3.2).

    Raises:
        ValueError: If it is empty or longer than Opus allows.
    """
    if not payload:
        raise ValueError("an Opus packet has at least one byte")
    config = payload[0] >> 3
    if config < 12:  # SILK
        frame = (480, 960, 1920, 2880)[config & 3]
    elif config < 16:  # hybrid
        frame = (480, 960)[config & 1]
    else:  # CELT
        frame = (120, 240, 480, 960)[config & 3]
    code = payload[0] & 3
    if code == 3 and len(payload) < 2:
        raise ValueError("an Opus packet of code 3 has a second byte, its number of frames")
    frames = payload[1] & 0x3F if code == 3 else 1 if code == 0 else 2
    if not 0 < frames * frame <= MAX_OPUS_SAMPLES:
        raise ValueError(f"an Opus packet of {frames} frames of {frame} samples is not allowed")
    return frames * frame
