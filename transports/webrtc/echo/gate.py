"""The gate that keeps our own voice from being translated again.

With loudspeakers on, what we say comes back through the microphone. The browser's echo canceller is the first to take
it out; the gate is the second. It knows what was sent and when, and looks for it in what is heard::

    unknown ── an echo was found ─────────► closed: while our echo is due, the microphone is silent
       │  ▲                                  │   ▲  unless somebody speaks over it
       │  └ the microphone's clock jumped    │   └ an echo was found
       └─── an echo would have been found ──►open◄── none was found for 3 s

While unknown, whatever may be an echo is silenced: about the first second in which the microphone has sound while we
play. There is no look-back, for the gate adds no latency: a talker is let through 50 to 60 ms late.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

import numpy as np

from tolmach.pipelines.frames import NS_PER_MS, NS_PER_S, Samples
from tolmach.transports.webrtc.echo.echo_path import (
    AUDIBLE,
    FACTOR,
    FIRST_LAG,
    NARROW_HZ,
    SLOT,
    Decimator,
    EchoPath,
    Reference,
    narrow_index,
)
from tolmach.transports.webrtc.opus import RTP_RATE_HZ, rtp_ns

_MS = NARROW_HZ // 1000
_HOP = SLOT * FACTOR
MAX_DELAY = 1000 * _MS
"""Longest delay of an echo: network, the browser's buffers, Bluetooth, the room, and the way back."""
_GUARD = 40 * _MS
"""How much earlier than expected an echo may come: twice what the delay may be off before it counts as moved."""
_TAIL = 200 * _MS
"""How long the gate stays closed at least: reverberation that falls by 60 dB in 0.5 s is 24 dB down then."""
_REACH = MAX_DELAY + _TAIL
_FADE = 5 * RTP_RATE_HZ // 1000
"""As in concealment: too short to be missed, too long to click."""
_JUMP_NS = 200 * NS_PER_MS
"""A step of the microphone's clock that no change of route explains: another connection, another timeline."""

_EXCESS = 10**0.95
"""9.5 dB over the expected echo, and over the noise, is a talker. An echo alone exceeds its own envelope so far in none
of 4000 hops, in a bare room in 3 of 1000; a talker as loud as our voice does in 84, 63 and 41 % of the loud hops with
an echo of -20, -12 and -6 dB."""
_TALK = 10**-5.5
"""Mean square of the quietest talker, -55 dB after pre-emphasis."""
_TALK_HOPS, _TALK_LOUD = 6, 5
"""A talker exceeds it in five hops of six. With six of six the slowest tenth of words waits 60 ms more."""
_HOLD_START, _HOLD_STEP, _HOLD_MOST = 5, 3, 40
"""Hops that the gate stays open after a talker's last loud one: few after a single syllable, which may have been an
error, up to 0.4 s in running speech, for the stops and weak vowels between."""


class PlaybackGate:
    """Silences the microphone while it hears what we play.

    No event loop and no clock of its own; not for several threads. Decisions are made each 10 ms and depend on the
    times given, not on how the audio is cut.

    Attributes:
        gated_samples: Samples of the microphone that were silenced, 48 kHz.
    """

    def __init__(self) -> None:
        self.gated_samples = 0
        self._reference = Reference(MAX_DELAY + 2 * NARROW_HZ)
        self._path = EchoPath(self._reference, MAX_DELAY)
        self._decimator = Decimator()
        self._heard = 0  # samples in all
        self._next_ns: int | None = None  # when the next sample will have been captured
        self._listening = False
        self._narrow: Samples = np.zeros(0, np.float32)  # of the hop under way and of what follows in this piece
        self._open = True
        self._faded = _FADE  # samples since the gate moved
        self._loud: deque[bool] = deque(maxlen=_TALK_HOPS)
        self._spell = self._hold = 0  # hops for which somebody has been talking, and will have the word

    @property
    def state(self) -> Literal["open", "unknown", "closed"]:
        """``closed`` if there is an echo (the gate moves with what we play), ``open`` if there is none."""
        return {"absent": "open", "present": "closed"}.get(self._path.known, "unknown")  # type: ignore[return-value]

    @property
    def delay_ms(self) -> float | None:
        """From sending to arrival of the echo, ms; None while no echo is known."""
        return self._path.lag / _MS if self._path.known == "present" else None

    @property
    def gain_db(self) -> float | None:
        """Level of the echo against what was sent, dB; None while no echo is known."""
        return self._path.gain_db if self._path.known == "present" else None

    def played(self, samples: Samples, sent_ns: int) -> None:
        """Take note of a packet with sound.

        Args:
            samples: float32[960], mono, 48 kHz.
            sent_ns: When it was sent (better: when it was due), monotonic clock, ns.
        """
        self._reference.played(samples, sent_ns)

    def heard(self, samples: Samples, captured_ns: int) -> Samples:
        """The microphone without our own voice.

        Args:
            samples: float32[n], mono, 48 kHz; follows the piece before.
            captured_ns: When its first sample arrived from an undisturbed network, on the clock of :meth:`played`, ns.

        Returns:
            float32[n]; the same array when nothing is silenced.
        """
        captured_ns = self._on_time(captured_ns)
        self._next_ns = captured_ns + rtp_ns(len(samples))
        start = narrow_index(captured_ns)
        if start >= self._reference.last_active + _REACH + 2 * SLOT:
            self._rest()
            self._heard += len(samples)
            return samples
        skipped = 0 if self._listening else min(-self._heard % _HOP, len(samples))
        self._listening = True
        self._narrow = np.concatenate((self._narrow, self._decimator.push(samples[skipped:])))
        self._heard += skipped
        out, at = samples, skipped
        while at < len(samples):
            if self._heard % _HOP == 0:
                self._decide(start + at // FACTOR)
            count = min(_HOP - self._heard % _HOP, len(samples) - at)
            if not self._open or self._faded < _FADE:
                out = samples.copy() if out is samples else out
                self._silence(out[at : at + count])
            at += count
            self._heard += count
            if self._heard % _HOP == 0:
                self._listen(start + at // FACTOR)
        return out

    def _on_time(self, captured_ns: int) -> int:
        """The time of a piece on a clock that runs evenly, unless the one given was set."""
        if self._next_ns is None:
            return captured_ns
        moved_ns = captured_ns - self._next_ns
        if abs(moved_ns) > _JUMP_NS:
            self._rest()
            self._path.restart()
            return captured_ns
        lags = round(moved_ns * NARROW_HZ / NS_PER_S)
        if lags == 0:
            return self._next_ns
        # The transit of packets is known better now. The echo has not moved against the samples around it.
        self._path.shift(lags)
        return captured_ns

    def _rest(self) -> None:
        if self._listening:
            self._listening = False
            self._path.pause()
            self._decimator.restart()
            self._narrow = self._narrow[:0]
            self._open, self._faded = True, _FADE
            self._loud.clear()
            self._hold = 0

    def _decide(self, now: int) -> None:
        """Open or close for the hop that begins."""
        reference, path = self._reference, self._path
        if path.known == "unknown":
            gate_open = not reference.active_slots(now - _REACH, now + SLOT - FIRST_LAG)
        elif path.known == "absent" or self._hold:
            gate_open = True
        else:
            due = reference.active_slots(now - path.lag - _TAIL, now + SLOT - path.lag + _GUARD)
            gate_open = not due and path.expected < AUDIBLE
        if gate_open != self._open:
            self._open, self._faded = gate_open, 0

    def _silence(self, part: Samples) -> None:
        """Apply the gate to a part of a hop, in place."""
        fading = min(_FADE - self._faded, len(part))
        if fading:
            ramp = np.arange(self._faded + 1, self._faded + fading + 1, dtype=np.float32) / np.float32(_FADE)
            part[:fading] *= ramp if self._open else 1 - ramp
            self._faded += fading
        if not self._open:
            part[fading:] = 0
            self.gated_samples += len(part)

    def _listen(self, end: int) -> None:
        """Learn from the hop that has ended."""
        hop, self._narrow = self._narrow[:SLOT], self._narrow[SLOT:]
        path = self._path
        energy = path.hear(hop, end, self._heard // _HOP)
        if path.known != "present":
            self._loud.clear()  # nobody speaks over what is not known
            self._hold = 0
            return
        self._loud.append(energy > max(_EXCESS * path.expected, _EXCESS * path.noise, _TALK))
        if sum(self._loud) >= _TALK_LOUD:
            self._spell = self._spell + 1 if self._hold else 1
            self._hold = min(_HOLD_START + _HOLD_STEP * self._spell, _HOLD_MOST)
        elif self._hold:
            self._hold -= 1
