"""The gate that keeps our own voice from being translated again.

With loudspeakers on, what we say comes back through the microphone. The gate knows what was sent and when, looks for it
in what is heard, and, where it finds it, takes it out (:mod:`~tolmach.transports.webrtc.echo.cancellation`) and lets
nothing but a talker through::

    unknown ── an echo was found ─────────► closed: while our echo is due, the microphone is silent
       │  ▲                                  │   ▲  unless somebody speaks over it
       │  └ the microphone's clock jumped    │   └ an echo was found
       └─── an echo would have been found ──►open◄── none was found for 3 s

What cannot be decided yet is held. While unknown, that is all that may be an echo: about the first second in which the
microphone has sound while we play; it passes whole if there turns out to be none, and not at all if there is one. While
closed, it is the last 0.15 s, so that a word has its first sound when a talker is noticed. Held audio keeps its time,
and comes in a burst; while open, nothing is held and the microphone passes bit for bit.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

import numpy as np

from tolmach.pipelines.frames import NS_PER_MS, NS_PER_S, Samples
from tolmach.transports.webrtc.echo.cancellation import Cancellation
from tolmach.transports.webrtc.echo.canceller import HOP
from tolmach.transports.webrtc.echo.echo_level import EchoLevel
from tolmach.transports.webrtc.echo.echo_path import FIRST_LAG, EchoPath
from tolmach.transports.webrtc.echo.reference import (
    AUDIBLE,
    FACTOR,
    NARROW_HZ,
    SLOT,
    Decimator,
    Reference,
    narrow_index,
)
from tolmach.transports.webrtc.echo.sent import SentAudio
from tolmach.transports.webrtc.echo.suppressor import Suppressor
from tolmach.transports.webrtc.opus import RTP_RATE_HZ, rtp_ns

_MS = NARROW_HZ // 1000
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
_REST_EXCESS = 10**1.2
_LEAST_REDUCTION_DB = 6.0
"""From here on what the filter leaves is listened to instead of the microphone."""
_KEPT_MS = 2000
"""How long packets are kept besides the longest delay: what the filter learns of the past."""
_LOOK_BACK = 15
"""Hops held while closed: a talker is noticed after 5 to 9, and soft consonants come before."""
_UNDECIDED = 250
"""Hops held while unknown: most decisions fall within 1.6 s of sound, and the last after 2.1."""
_GIVEN_UP = 800
"""Hops with an echo in which the filter has not helped, after which it is said that it does not: 8 s."""
_NOTHING: Samples = np.zeros(0, np.float32)
_TALK = 10**-5.5
"""Mean square of the quietest talker, -55 dB after pre-emphasis."""
_TALK_HOPS, _TALK_LOUD = 6, 5
"""A talker exceeds it in five hops of six. With six of six the slowest tenth of words waits 60 ms more."""
_HOLD_START, _HOLD_STEP, _HOLD_MOST = 5, 3, 40
"""Hops that the gate stays open after a talker's last loud one: few after a single syllable, which may have been an
error, up to 0.4 s in running speech, for the stops and weak vowels between."""


EchoState = Literal["unknown", "none", "found", "cancelled", "gated"]
"""``found``: it is being learned how it comes back; ``cancelled``: it is taken out, and who speaks over it is heard;
``gated``: it cannot be taken out, so nothing is heard while it is due but loud talkers."""


class PlaybackGate:
    """Silences the microphone while it hears what we play.

    No event loop and no clock of its own; not for several threads. Decisions are made each 10 ms and depend on the
    times given, not on how the audio is cut.

    Attributes:
        gated_samples: Samples of the microphone that were silenced, 48 kHz.
    """

    def __init__(self, *, cancel: bool = True) -> None:
        self.gated_samples = 0
        self._reference = Reference(MAX_DELAY + 2 * NARROW_HZ)
        self._path = EchoPath(self._reference, MAX_DELAY)
        self._sent = SentAudio((MAX_DELAY // _MS + _KEPT_MS) * RTP_RATE_HZ // 1000)
        self._cancellation = Cancellation(self._sent) if cancel else None
        self._suppressor = Suppressor()
        self._rest_level = EchoLevel(self._reference)
        self._rest_decimator = Decimator()
        self._hop: Samples = np.zeros(HOP, np.float32)
        self._echo: Samples | None = None  # in the hop under way, to be taken out
        self._decimator = Decimator()
        self._heard = 0  # samples in all
        self._next_ns: int | None = None  # when the next sample will have been captured
        self._listening = False
        self._narrow: Samples = np.zeros(0, np.float32)  # of the hop under way and of what follows in this piece
        self._open = True  # for the hop under way
        self._held: deque[Samples] = deque()  # parts of hops that are not decided
        self._settled: list[Samples] = []
        self._changed = False  # whether this piece goes on as something else than it came
        self._passes = True  # whether what was settled last did
        self._faded = _FADE  # samples since then
        self._loud: deque[bool] = deque(maxlen=_TALK_HOPS)
        self._in_vain = 1  # hops with an echo since the filter has helped
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
        return self._path.level.gain_db if self._path.known == "present" else None

    @property
    def reduction_db(self) -> float | None:
        """By how much the echo is quieter once it is cancelled, dB; None while it is not."""
        if self._path.known != "present" or self._cancellation is None or not self._cancellation.running:
            return None
        return self._path.level.gain_db - self._rest_level.gain_db

    @property
    def echo(self) -> EchoState:
        """What is known of the echo, and what comes of it."""
        if self._path.known != "present":
            return "none" if self._path.known == "absent" else "unknown"
        if self._in_vain == 0:
            return "cancelled"
        return "gated" if self._in_vain >= _GIVEN_UP or self._cancellation is None else "found"

    def played(self, samples: Samples, sent_ns: int, payload: bytes = b"") -> None:
        """Take note of a packet with sound.

        Args:
            samples: float32[960], mono, 48 kHz.
            sent_ns: When it was sent (better: when it was due), monotonic clock, ns.
            payload: What it was encoded to; without it nothing can be cancelled.
        """
        self._reference.played(samples, sent_ns)
        if payload and self._cancellation is not None:
            self._sent.sent(payload, sent_ns)

    def heard(self, samples: Samples, captured_ns: int) -> Samples:
        """The microphone without our own voice, as far as that is decided.

        Args:
            samples: float32[n], mono, 48 kHz; follows the piece before.
            captured_ns: When its first sample arrived from an undisturbed network, on the clock of :meth:`played`, ns.

        Returns:
            float32[m], what follows what was returned before: of the pieces given, sample for sample, up to where it is
            decided. The array given when nothing is held nor changed.
        """
        captured_ns = self._on_time(captured_ns)
        self._next_ns = captured_ns + rtp_ns(len(samples))
        self._changed = bool(self._held)
        start = narrow_index(captured_ns)
        if start >= self._reference.last_active + _REACH + 2 * SLOT:
            self._rest()
            self._heard += len(samples)
            self._settled.append(samples)
            return self._taken(samples)
        skipped = 0 if self._listening else min(-self._heard % HOP, len(samples))
        self._listening = True
        self._narrow = np.concatenate((self._narrow, self._decimator.push(samples[skipped:])))
        self._heard += skipped
        if skipped:
            self._settled.append(samples[:skipped])
        at = skipped
        while at < len(samples):
            if self._heard % HOP == 0:
                self._decide(start + at // FACTOR)
            inside = self._heard % HOP
            count = min(HOP - inside, len(samples) - at)
            part = samples[at : at + count]
            self._hop[inside : inside + count] = part
            if self._echo is not None:
                part = self._suppressor.apply(part - self._echo[inside : inside + count], inside)
                self._changed = True
            if self._open:
                self._settle(part, is_open=True)
            else:
                self._held.append(part.copy())
            at += count
            self._heard += count
            if self._heard % HOP == 0:
                self._listen(start + at // FACTOR)
        return self._taken(samples)

    def flush(self, *, is_open: bool) -> Samples:
        """What is held, float32[m], as heard or as silence: nothing will follow, or the gate is not wanted any more."""
        self._settle_held(is_open=is_open)
        return self._taken(_NOTHING)

    def _taken(self, samples: Samples) -> Samples:
        settled, self._settled = self._settled, []
        if not self._changed and not self._held:
            return samples
        return np.concatenate(settled) if settled else _NOTHING

    def _settle_held(self, *, is_open: bool) -> None:
        held, self._held = self._held, deque()
        for part in held:
            self._settle(part, is_open=is_open)

    def _settle(self, part: Samples, *, is_open: bool) -> None:
        """Give a part of a hop on, faded where the gate has just moved, and silent where it is closed."""
        if is_open != self._passes:
            self._passes, self._faded = is_open, 0
        if not is_open or self._faded < _FADE:
            self._changed = True
            part = part.copy()
            fading = min(_FADE - self._faded, len(part))
            ramp = np.arange(self._faded + 1, self._faded + fading + 1, dtype=np.float32) / np.float32(_FADE)
            part[:fading] *= ramp if is_open else 1 - ramp
            self._faded += fading
            if not is_open:
                part[fading:] = 0
                self.gated_samples += len(part)
        self._settled.append(part)

    def _on_time(self, captured_ns: int) -> int:
        """The time of a piece on a clock that runs evenly, unless the one given was set."""
        if self._next_ns is None:
            return captured_ns
        moved_ns = captured_ns - self._next_ns
        if abs(moved_ns) > _JUMP_NS:
            self._rest()
            self._path.restart()
            if self._cancellation is not None:
                self._cancellation.forget()
            return captured_ns
        lags = round(moved_ns * NARROW_HZ / NS_PER_S)
        if lags == 0:
            return self._next_ns
        # The transit of packets is known better now. The echo has not moved against the samples around it.
        self._path.shift(lags)
        if self._cancellation is not None:
            self._cancellation.shift(lags)
        return captured_ns

    def _rest(self) -> None:
        if not self._listening:
            return
        self._listening = False
        self._settle_held(is_open=False)
        self._path.pause()
        self._rest_level.pause()
        self._suppressor.pause()
        self._rest_decimator.restart()
        self._decimator.restart()
        self._narrow = self._narrow[:0]
        self._echo = None
        self._open = self._passes = True
        self._faded = _FADE
        self._loud.clear()
        self._hold = 0
        if self._cancellation is not None:
            self._cancellation.pause()

    def _decide(self, now: int) -> None:
        """Open or close for the hop that begins, and settle what of those before it is decided by now."""
        reference, path = self._reference, self._path
        longest = 0
        if path.known == "absent" or self._hold:
            self._open = True
            self._settle_held(is_open=True)
        elif path.known == "unknown":
            self._open = not reference.active_slots(now - _REACH, now + SLOT - FIRST_LAG)
            if self._open and path.unlikely:
                self._settle_held(is_open=True)
            longest = 0 if self._open else _UNDECIDED * HOP
        else:
            due = reference.active_slots(now - path.lag - _TAIL, now + SLOT - path.lag + _GUARD)
            self._open = not due and path.level.expected < AUDIBLE
            longest = 0 if self._open else _LOOK_BACK * HOP
        held = sum(map(len, self._held))
        while held > longest:
            part = self._held.popleft()
            self._settle(part, is_open=False)
            held -= len(part)
        self._echo = None
        if path.known == "present" and self._cancellation is not None:
            echo = self._cancellation.predict(self._heard // HOP)
            if echo is not None:
                self._suppressor.design(echo)
            self._echo = echo if self._cancels else None

    @property
    def _cancels(self) -> bool:
        """Whether the filter has shown that it takes out more of the echo than of what is said."""
        return (
            self._cancellation is not None
            and self._cancellation.helps
            and (self.reduction_db or 0.0) >= _LEAST_REDUCTION_DB
        )

    def _listen(self, end: int) -> None:
        """Learn from the hop that has ended."""
        hop, self._narrow = self._narrow[:SLOT], self._narrow[SLOT:]
        path = self._path
        energy = path.hear(hop, end, self._heard // HOP)
        rest = self._take_out(end)
        if path.known != "present":
            self._loud.clear()  # nobody speaks over what is not known
            self._hold = 0
            self._in_vain = 1
            return
        if self._cancels:
            self._in_vain = 0
        elif not self._open:
            self._in_vain += 1
        level, excess = path.level, _EXCESS
        if rest is not None and self._cancels:
            energy, level, excess = rest, self._rest_level, _REST_EXCESS
        self._loud.append(energy > max(excess * level.expected, _EXCESS * level.noise, _TALK))
        if sum(self._loud) >= _TALK_LOUD:
            self._spell = self._spell + 1 if self._hold else 1
            self._hold = min(_HOLD_START + _HOLD_STEP * self._spell, _HOLD_MOST)
        elif self._hold:
            self._hold -= 1

    def _take_out(self, end: int) -> float | None:
        """Let the filter learn from the hop that has ended; the mean square of what is left."""
        cancellation, path, level = self._cancellation, self._path, self._rest_level
        if cancellation is None:
            return None
        rest = cancellation.learn(self._hop.copy())
        if path.known != "present":
            cancellation.stop()
            return None
        if rest is not None:
            self._suppressor.learn(rest)
            narrow = self._rest_decimator.push(rest)
            energy = float(np.dot(narrow, narrow)) / SLOT * cancellation.unrelated
            level.hear(energy, end, path.lags)
            if self._heard // HOP % 10 == 0:
                level.measure(end, path.lag)
        if cancellation.follow(path.lag, end, self._heard // HOP):
            level.restart()
            level.pause()
            self._suppressor.restart()
            self._rest_decimator.restart()
        return energy if rest is not None else None
