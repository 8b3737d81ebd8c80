"""Any rate and one or two channels to what the sender takes: mono, 48 kHz."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np

from pipelines.frames import Samples
from transports.webrtc.rtp import RTP_RATE_HZ


class MonoConverter:
    """Mixes down (mean of the channels) and resamples (FFmpeg's swresample) one stream.

    Args:
        rate_hz: Rate of the input, Hz.
    """

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self._at = 0
        self._resampler = (
            None if rate_hz == RTP_RATE_HZ else av.AudioResampler(format="flt", layout="mono", rate=RTP_RATE_HZ)
        )

    def convert(self, samples: Samples) -> Samples:
        """float32[n, channels] at the input rate to float32[m] at 48 kHz; the resampler keeps under 1 ms back."""
        mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1, dtype=np.float32)
        if self._resampler is None or not len(mono):
            return mono
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(mono)[None, :], format="flt", layout="mono")
        frame.sample_rate = self.rate_hz
        frame.time_base = Fraction(1, self.rate_hz)
        frame.pts = self._at
        self._at += len(mono)
        return self._joined(self._resampler.resample(frame))

    def flush(self) -> Samples:
        """What the resampler still holds, float32[m]; the stream is over."""
        if self._resampler is None or not self._at:
            return self.nothing()
        return self._joined(self._resampler.resample(None))

    @staticmethod
    def nothing() -> Samples:
        """No samples."""
        return np.zeros(0, np.float32)

    @classmethod
    def _joined(cls, frames: list[av.AudioFrame]) -> Samples:
        parts = [np.asarray(frame.to_ndarray(), np.float32).reshape(-1) for frame in frames]
        return np.concatenate(parts) if parts else cls.nothing()
