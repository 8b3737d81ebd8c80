"""Opus by libopus in PyAV: mono, 48 kHz, one packet a call. About 0.1 ms to decode and 0.5 ms to encode 20 ms."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np

from tolmach.pipelines.frames import Samples
from tolmach.transports.webrtc.rtp import FRAME_SAMPLES, RTP_RATE_HZ

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
