"""Speech made faster or slower with its pitch kept: time-scale modification by WSOLA, streamed or whole.

WSOLA (waveform-similarity overlap-add): W. Verhelst and M. Roelands, "An overlap-add technique based on waveform
similarity (WSOLA) for high quality time-scale modification of speech", ICASSP 1993, pp. 554-557. The output is a row
of overlapping windows cut from the input. Window *k* is taken near ``tempo * k * hop``, a little earlier or later:
where the input resembles most what would have followed the window before it. So periods meet periods, whatever the
pitch, and no pitch has to be found.

Pure and deterministic: positions are counted from the first sample, so the output does not depend on how the input is
cut into blocks, byte for byte.
"""

from __future__ import annotations

from math import floor

import numpy as np

from tolmach.pipelines.frames import Samples

__all__ = ["MAX_TEMPO", "MIN_TEMPO", "TempoChanger", "change_tempo", "changed_length"]

MIN_TEMPO = 0.5
MAX_TEMPO = 2.0
"""Beyond it whole sounds fall between two windows."""

_HOP_MS = 12
"""Half a window; Verhelst and Roelands take windows of 20 ms. 24 ms hold a period of most voices twice."""

_SEARCH_MS = 8
"""How much earlier or later a window may be taken: together a period of 62 Hz, the deepest voice there is."""

_LEAST_RATE_HZ = 1000

_SILENT = 1e-10
"""Mean square (-100 dB full scale) below which there is nothing to resemble."""


def changed_length(samples: int, tempo: float) -> int:
    """How many samples are left of ``samples`` at a tempo."""
    return floor(samples / tempo + 0.5)


def change_tempo(samples: Samples, rate_hz: int, tempo: float) -> Samples:
    """Speech at another tempo, whole.

    Args:
        samples: float32[n], mono, [-1, 1].
        rate_hz: Sample rate, Hz.
        tempo: How much faster, :data:`MIN_TEMPO` to :data:`MAX_TEMPO`; 1.0 changes nothing.

    Returns:
        float32[m], ``m = changed_length(n, tempo)``.

    Raises:
        ValueError: If the tempo or the rate is out of range.
    """
    changer = TempoChanger(rate_hz, tempo)
    return np.concatenate((changer.process(samples), changer.flush()))


class TempoChanger:
    """The same for a stream: blocks in, blocks out, :attr:`latency` samples of the input behind.

    Args:
        rate_hz: Sample rate, Hz; at least 1000.
        tempo: How much faster, :data:`MIN_TEMPO` to :data:`MAX_TEMPO`; at 1.0 samples pass as they are, at once.

    Raises:
        ValueError: If either is out of range.
    """

    def __init__(self, rate_hz: int, tempo: float) -> None:
        if not MIN_TEMPO <= tempo <= MAX_TEMPO:
            raise ValueError(f"tempo must be {MIN_TEMPO} to {MAX_TEMPO}, got {tempo}")
        if rate_hz < _LEAST_RATE_HZ:
            raise ValueError(f"rate_hz must be at least {_LEAST_RATE_HZ}, got {rate_hz}")
        self.tempo = tempo
        self._hop = rate_hz * _HOP_MS // 1000
        self._search = rate_hz * _SEARCH_MS // 1000
        # The rising half of a Hann window; with the falling half of the one before it the sum is 1.
        self._rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(self._hop) + 0.5) / self._hop)
        self._fft_size = 1 << (2 * self._hop + 2 * self._search - 1).bit_length()
        self._held = np.zeros(0, np.float32)
        self._held_from = 0  # samples of the input before it that are no longer needed
        self._taken = 0
        self._given = 0
        self._windows = 0
        self._last = 0  # where the last window was taken

    @property
    def latency(self) -> int:
        """Samples of the input that the output may be behind."""
        return 0 if self.tempo == 1.0 else 4 * self._hop + 2 * self._search

    def process(self, samples: Samples) -> Samples:
        """Take float32[n]; returns what is finished, float32[m], perhaps empty."""
        self._taken += len(samples)
        if self.tempo == 1.0:
            return samples
        self._held = np.concatenate((self._held, samples))
        return self._windows_up_to(self._taken, None)

    def flush(self) -> Samples:
        """Nothing follows; returns the rest, float32[m]. The changer is new again."""
        length = changed_length(self._taken, self.tempo)
        rest = np.zeros(0, np.float32)
        if self.tempo != 1.0:
            room = np.zeros(self.latency + round(self._hop * self.tempo), np.float32)
            self._held = np.concatenate((self._held, room))
            rest = self._windows_up_to(self._taken + len(room), length)
        self._held, self._held_from = np.zeros(0, np.float32), 0
        self._taken = self._given = self._windows = self._last = 0
        return rest

    def _windows_up_to(self, end: int, length: int | None) -> Samples:
        """All windows that need no input beyond ``end``, as output; of ``length`` samples together at the most."""
        hop = self._hop
        blocks: list[Samples] = []
        while length is None or self._given < length:
            nominal = round(self._windows * hop * self.tempo)
            following = self._last + hop if self._windows else 0
            if max(nominal + self._search, following) + 2 * hop > end:
                break
            if self._windows:
                at = self._most_like(following, nominal)
                faded = self._from(following, hop) * (1 - self._rise) + self._from(at, hop) * self._rise
                block = faded.astype(np.float32)
            else:
                at, block = 0, self._from(0, hop).copy()
            self._windows += 1
            self._last = at
            blocks.append(block if length is None else block[: length - self._given])
            self._given += len(blocks[-1])
        self._forget()
        return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)

    def _most_like(self, following: int, nominal: int) -> int:
        """Where near ``nominal`` a window resembles most the one at ``following`` (normalised cross-correlation)."""
        window = 2 * self._hop
        wanted = self._from(following, window).astype(np.float64)
        first = max(0, nominal - self._search)
        found = self._from(first, nominal + self._search - first + window).astype(np.float64)
        energy = np.concatenate(((0.0,), np.cumsum(found * found)))
        energy = energy[window:] - energy[:-window]
        if np.dot(wanted, wanted) < _SILENT * window or energy.max() < _SILENT * window:
            return nominal
        spectrum = np.fft.rfft(found, self._fft_size) * np.conj(np.fft.rfft(wanted, self._fft_size))
        likeness = np.fft.irfft(spectrum, self._fft_size)[: len(energy)]
        return first + int(np.argmax(likeness / np.sqrt(energy + _SILENT * window)))

    def _from(self, at: int, count: int) -> Samples:
        return self._held[at - self._held_from : at - self._held_from + count]

    def _forget(self) -> None:
        """Drop the input before what the next window may need."""
        needed = min(self._last + self._hop, round(self._windows * self._hop * self.tempo) - self._search)
        drop = needed - self._held_from
        if drop > 0:
            self._held = self._held[drop:].copy()
            self._held_from = needed
