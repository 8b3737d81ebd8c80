"""Opus over RTP (RFC 3550, RFC 6716, RFC 7587): packets, their clock and their length, decoder and encoder.

The codec is libopus in PyAV: mono, 48 kHz, one packet a call. About 0.1 ms to decode and 0.5 ms to encode 20 ms.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np

from tolmach.pipelines.frames import NS_PER_S, Samples

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


TIME_BASE = Fraction(1, RTP_RATE_HZ)
BIT_RATE = 40_000
"""Above 32 kb/s fullband mono speech is transparent (RFC 6716, 2.1.1; RFC 7587, 3.1.1 recommends 28-40 kb/s)."""
EXPECTED_LOSS = 5
"""Percent; makes the encoder repeat each packet's speech in the next one (in-band FEC), which browsers use."""
SILENCE = b"\xf8\xff\xfe"
"""20 ms of digital silence: a CELT frame (fullband, mono, one frame) whose range coder says "silence" (RFC 6716, 4.3).
No encoder need run for it."""


class OpusDecoder:
    """Decodes the packets of one stream, in order."""

    def __init__(self) -> None:
        self._codec = av.CodecContext.create("libopus", "r")
        assert isinstance(self._codec, av.AudioCodecContext)  # noqa: S101 -- an audio codec by name; for the type checker
        self._codec.sample_rate = RTP_RATE_HZ
        self._codec.layout = "mono"  # libopus mixes stereo packets down

    def decode(self, payload: bytes) -> Samples | None:
        """The packet's audio, float32[n]; None when it is damaged."""
        try:
            frames = self._codec.decode(av.Packet(payload))
        except av.FFmpegError:
            return None
        if not frames:
            return None
        parts = [np.asarray(frame.to_ndarray()) for frame in frames]
        samples = np.concatenate([part.reshape(-1) for part in parts])
        if samples.dtype == np.int16:
            return samples.astype(np.float32) / np.float32(32768)
        return samples.astype(np.float32)


class OpusEncoder:
    """Encodes frames of 20 ms for one stream, in order."""

    def __init__(self) -> None:
        codec = av.CodecContext.create("libopus", "w")
        assert isinstance(codec, av.AudioCodecContext)  # noqa: S101 -- see above
        codec.format = av.AudioFormat("flt")
        codec.layout = "mono"
        codec.sample_rate = RTP_RATE_HZ
        codec.time_base = TIME_BASE
        codec.bit_rate = BIT_RATE
        codec.options = {
            "application": "voip",
            "frame_duration": "20",
            "fec": "1",
            "packet_loss": str(EXPECTED_LOSS),
        }
        self._codec = codec
        self._at = 0

    def encode(self, samples: Samples) -> bytes:
        """One packet.

        Args:
            samples: float32[960], mono, 48 kHz; what lies beyond [-1, 1] is clipped, what is not a number is silent.
        """
        # Not a number would stay in the encoder's filters for good.
        clipped = np.clip(np.nan_to_num(samples), -1.0, 1.0).astype(np.float32).reshape(1, FRAME_SAMPLES)
        frame = av.AudioFrame.from_ndarray(clipped, format="flt", layout="mono")
        frame.sample_rate = RTP_RATE_HZ
        frame.time_base = TIME_BASE
        frame.pts = self._at
        self._at += FRAME_SAMPLES
        return b"".join(bytes(packet) for packet in self._codec.encode(frame))
