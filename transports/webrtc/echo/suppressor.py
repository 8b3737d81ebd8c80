"""What a linear filter leaves of an echo, made quieter where it is louder than the talker; it delays nothing.

A spectral gain as in Speex's preprocessor: of each band of what is left, so much is taken for residual echo as its
power follows that of the echo taken out (Valin, "On adjusting the learning rate in frequency domain echo cancellation
with double-talk", IEEE Trans. Audio, Speech and Language Processing 15, 2007, eq. 13-16: a regression of the one's
fluctuations on the other's, which a talker does not bias). The gain is applied as a filter of minimum phase (from the
cepstrum; Oppenheim & Schafer, 12.3), designed before the hop it is for: the echo of that hop is known by then.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tolmach.pipelines.frames import Samples
from tolmach.transports.webrtc.echo.canceller import HOP
from tolmach.transports.webrtc.opus import RTP_RATE_HZ

Bands = npt.NDArray[np.float64]

_TAPS = 256
"""5 ms of filter: bands of 200 Hz and more."""
_BAND_COUNT = 24
_FADE = 0.98
"""Of the regression, a hop: half a second of echo."""
_MEAN = 0.95
"""Of the means that fluctuations are taken from."""
_TAIL = 0.75
"""Of the echo's power in the next hop: reverberation behind what the filter knows, 1.2 dB in 10 ms."""
_MORE = 2.0
"""By how much the estimate is exceeded now and then; 1.5 to 3 do as well."""
_LEAST = 0.1
"""Gain: 20 dB. Less would sound as if the line were cut."""
_LEAK_LEAST, _LEAK_MOST, _LEAK_START = 0.001, 1.0, 0.1
_FLOOR = 1e-9


def _borders() -> npt.NDArray[np.intp]:
    """First bins of the bands, equally wide on the mel scale up to 8 kHz; what is above is the last band."""
    mel = np.linspace(0, 2595 * np.log10(1 + 8000 / 700), _BAND_COUNT)
    bins = np.round((700 * (10 ** (mel / 2595) - 1)) * 2 * HOP / RTP_RATE_HZ).astype(np.intp)
    return np.maximum.accumulate(np.maximum(bins, np.arange(_BAND_COUNT)))


_FIRST = _borders()
_WIDTH = np.diff(np.append(_FIRST, HOP + 1))
_CENTRES = _FIRST + (_WIDTH - 1) / 2
_BINS = np.arange(HOP + 1)
_WINDOW = np.hanning(2 * HOP).astype(np.float32)


class Suppressor:
    """Called for each hop that is cancelled: :meth:`design`, :meth:`apply` for its parts, :meth:`learn`."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """What comes next follows silence; nothing is known of the echo."""
        self._leak: Bands = np.full(_BAND_COUNT, _LEAK_START)
        self._both: Bands = np.full(_BAND_COUNT, 0.0)
        self._echoes: Bands = np.full(_BAND_COUNT, 0.0)
        self._mean_rest: Bands = np.zeros(_BAND_COUNT)
        self._mean_echo: Bands = np.zeros(_BAND_COUNT)
        self._rest: Bands = np.zeros(_BAND_COUNT)
        self._echo: Bands = np.zeros(_BAND_COUNT)
        self._gain: Bands = np.ones(_BAND_COUNT)
        self.pause()

    def pause(self) -> None:
        """What comes next follows something else."""
        self._heard: Samples = np.zeros(2 * HOP, np.float32)
        self._taken: Samples = np.zeros(2 * HOP, np.float32)
        self._past: Samples = np.zeros(_TAPS - 1, np.float32)
        self._former: Samples = _IDENTITY
        self._filter: Samples = _IDENTITY

    def design(self, echo: Samples) -> None:
        """Prepare for the hop that begins, from which ``echo``, float32[HOP], will be taken out."""
        self._taken[:HOP] = self._taken[HOP:]
        self._taken[HOP:] = echo
        self._echo = np.maximum(_powers(self._taken), _TAIL * self._echo)
        residual = _MORE * self._leak * self._echo
        wanted = np.clip(1 - residual / np.maximum(self._rest, _FLOOR), _LEAST, 1.0)
        self._gain = np.maximum(wanted, 0.5 * (self._gain + wanted))  # opens at once, closes in some hops
        self._former, self._filter = self._filter, minimum_phase(np.interp(_BINS, _CENTRES, self._gain))

    def apply(self, part: Samples, inside: int) -> Samples:
        """A part of the hop, from which the echo was taken out: float32[n], beginning ``inside`` samples in it."""
        whole = np.concatenate((self._past, part))
        self._past = whole[len(whole) - (_TAPS - 1) :]
        if self._former is self._filter:
            return part
        new = np.arange(inside + 1, inside + 1 + len(part), dtype=np.float32) / np.float32(HOP)
        before, after = np.convolve(whole, self._former, "valid"), np.convolve(whole, self._filter, "valid")
        return (before + new * (after - before)).astype(np.float32)

    def learn(self, rest: Samples) -> None:
        """Take in the hop that has ended, without its echo and before :meth:`apply`, float32[HOP]."""
        self._heard[:HOP] = self._heard[HOP:]
        self._heard[HOP:] = rest
        self._rest = _powers(self._heard)
        echo = _powers(self._taken)
        off_rest, off_echo = self._rest - self._mean_rest, echo - self._mean_echo
        self._mean_rest += (1 - _MEAN) * off_rest
        self._mean_echo += (1 - _MEAN) * off_echo
        weight = 1 / ((self._rest + _FLOOR) * (echo + _FLOOR))  # a shout weighs no more than a word
        self._both = _FADE * self._both + weight * off_rest * off_echo
        self._echoes = _FADE * self._echoes + weight * off_echo**2
        self._leak = np.clip(self._both / np.maximum(self._echoes, _FLOOR), _LEAK_LEAST, _LEAK_MOST)


def _powers(samples: Samples) -> Bands:
    """Mean power in each band, of 2 HOP samples."""
    spectrum = np.fft.rfft(samples * _WINDOW)
    power = spectrum.real.astype(np.float64) ** 2 + spectrum.imag.astype(np.float64) ** 2
    out: Bands = np.add.reduceat(power, _FIRST) / _WIDTH
    return out


def minimum_phase(gain: Bands) -> Samples:
    """The shortest delay with these gains at the bins, float32[_TAPS]."""
    cepstrum = np.fft.irfft(np.log(gain))
    cepstrum[1:HOP] *= 2
    cepstrum[HOP + 1 :] = 0
    taps: Samples = np.fft.irfft(np.exp(np.fft.rfft(cepstrum)))[:_TAPS].astype(np.float32)
    return taps


_IDENTITY: Samples = np.eye(1, _TAPS, dtype=np.float32)[0]
