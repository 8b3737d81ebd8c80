"""An adaptive filter that learns the way from loudspeaker to microphone and subtracts what came along it.

The partitioned-block frequency-domain Kalman filter: Enzner & Vary, "Frequency-domain adaptive Kalman filter for
acoustic echo control in hands-free telephones", Signal Processing 86 (2006); in partitions: Kuech, Mabande & Enzner,
"State-space architecture of the partitioned-block-based acoustic echo controller", ICASSP 2014. Each coefficient has an
uncertainty of its own, which falls as it is learned, and each frequency a step that becomes small where more is heard
than can be explained: it goes on learning while somebody speaks, and does not learn the speaker.

Compared on the rooms of tests/bench/echo.py; the figures below are echo return loss enhancement (ERLE) after 3 and 6 s.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tolmach.pipelines.frames import Samples
from tolmach.transports.webrtc.opus import RTP_RATE_HZ

Spectra = npt.NDArray[np.complex64]

HOP = RTP_RATE_HZ // 100
"""Blocks of 10 ms learn 4 to 9 dB more in the first second than blocks of 20 ms, at 1.3 times their cost."""
LEAD = 30 * RTP_RATE_HZ // 1000
"""How much earlier than expected an echo may begin: the delay is known to 20 ms, and Opus looks ahead for 6.5 ms."""
PARTITIONS = 26
"""260 ms, so 230 ms of room: reverberation that falls by 60 dB in 0.5 s is 28 dB down then."""
_BINS = HOP + 1
_KEPT = np.float32(0.999)
"""What is left of a coefficient in the next block as far as the room may have changed. 0.9995 gains 0.7 dB in a room
that stands still, and loses 1 dB with clocks 200 ppm apart."""
_START = 0.05
"""Uncertainty of the coefficients at first; 0.03 to 0.1 do as well."""
_FALL_DB = 1.0
"""By which it falls a partition behind the expected delay: a reverberation time of 0.6 s; 1 to 2 do as well."""
_SMOOTH = np.float32(0.7)
"""Of the spectrum of what cannot be explained, a block; 0.6 to 0.9 do as well."""
_CONSTRAINED = 3
"""Partitions a block whose second half is set to zero again, in turn, as in Speex's filter: all in each would cost as
much as everything else, and give 0.3 dB."""
_FLOOR = np.float32(1e-6)


class EchoFilter:
    """From what was played to what of it is heard, 10 ms at a time; no clock and no event loop.

    It begins knowing nothing and says silence. :meth:`predict` and :meth:`learn` are called in turn.
    """

    def __init__(self) -> None:
        self._played: Samples = np.zeros(2 * HOP, np.float32)
        self._spectra: Spectra = np.zeros((PARTITIONS, _BINS), np.complex64)  # of the latest blocks, newest first
        self._power: Samples = np.zeros((PARTITIONS, _BINS), np.float32)
        self._weights: Spectra = np.zeros((PARTITIONS, _BINS), np.complex64)
        behind = np.maximum(0, np.arange(PARTITIONS) - LEAD // HOP)
        start = _START * 10 ** (-_FALL_DB / 10 * behind)
        self._uncertainty: Samples = np.repeat(start.astype(np.float32)[:, None], _BINS, axis=1)
        self._unexplained: Samples = np.zeros(_BINS, np.float32)
        self._next = 0  # partition to be constrained
        self._echo: Samples = np.zeros(HOP, np.float32)

    def silence(self) -> None:
        """Nothing was played for longer than the filter is."""
        self._played[:] = 0
        self._spectra[:] = 0
        self._power[:] = 0

    def predict(self, played: Samples) -> Samples:
        """The echo that the next 10 ms of the microphone should hold.

        Args:
            played: float32[HOP], mono, 48 kHz; follows what was given before.

        Returns:
            float32[HOP].
        """
        self._played[:HOP] = self._played[HOP:]
        self._played[HOP:] = played
        self._spectra[1:] = self._spectra[:-1].copy()
        self._power[1:] = self._power[:-1].copy()
        newest = np.fft.rfft(self._played)
        self._spectra[0] = newest
        self._power[0] = newest.real**2 + newest.imag**2
        # Overlap-save: the second half is the linear convolution.
        self._echo = np.fft.irfft((self._spectra * self._weights).sum(axis=0))[HOP:].astype(np.float32)
        return self._echo

    def learn(self, heard: Samples) -> Samples:
        """Adapt to what was heard.

        Args:
            heard: float32[HOP], the microphone for which :meth:`predict` was asked last.

        Returns:
            float32[HOP]: it without the echo.
        """
        rest = heard - self._echo
        error = np.fft.rfft(np.concatenate((np.zeros(HOP, np.float32), rest))).astype(np.complex64)
        self._unexplained *= _SMOOTH
        self._unexplained += (1 - _SMOOTH) * (error.real**2 + error.imag**2)
        # A block of HOP samples in a transform of twice that length: half of the energy (Kuech et al., eq. 17).
        expected = np.float32(0.5) * np.einsum("pb,pb->b", self._power, self._uncertainty)
        step = self._uncertainty / (expected + self._unexplained + _FLOOR)
        self._weights += step * np.conj(self._spectra) * error
        step *= self._power
        self._uncertainty *= _KEPT**2 * (1 - np.float32(0.5) * step)
        self._uncertainty += (1 - _KEPT**2) * (self._weights.real**2 + self._weights.imag**2)
        for _ in range(_CONSTRAINED):
            response = np.fft.irfft(self._weights[self._next])
            response[HOP:] = 0
            self._weights[self._next] = np.fft.rfft(response)
            self._next = (self._next + 1) % PARTITIONS
        return rest
