"""Runs the echo filter on a live microphone: finds its place, teaches it the past, and sees when it has lost the way.

The delay that was found says which samples of ours go with which of the microphone; from then on both are counted, for
one clock plays and captures them. What was heard while the echo was looked for is learned first, some blocks at a time,
so that the filter knows the room a few tenths of a second after the echo was found.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from tolmach.pipelines.frames import Samples
from tolmach.transports.webrtc.echo.canceller import HOP, LEAD, PARTITIONS, EchoFilter
from tolmach.transports.webrtc.echo.reference import FACTOR
from tolmach.transports.webrtc.echo.sent import Playback, SentAudio

_HISTORY = 150
"""Hops of the microphone that are learned at once: 1.5 s, in which nearly all echoes are found."""
_CATCH_UP = 4
"""Hops of the past that are learned in 10 ms: about 0.7 ms of computing, and caught up with after half a second."""
_AHEAD = HOP
"""An echo may come sooner after sending than the filter can look back; what we have not sent it cannot know."""
_FADE = 0.8
"""Of the energies that are compared, a hop: over 50 ms, for a talker is believed after as long."""
_WORSE, _NOTABLE = 1.1, 0.3
"""The rest is so much louder than the microphone, and what was taken out is so much of it: the filter has lost the way.
What somebody says is unrelated to the echo, and leaves the rest quieter than the microphone."""
_DISTRUST = 60
"""Hops for which a filter that had lost the way is not asked: until then it has learned, or was begun anew."""
_NOTHING = 1e-12
_PATIENCE = 30
"""Hops between two fresh starts, and after the first one."""
_MOVED = 20 * HOP // 10
"""By how much the delay has moved when another one is to be learned, samples: 20 ms, as far as it is known."""


class Cancellation:
    """The microphone without the echo, while there is one.

    Args:
        sent: What was sent to the peer.
    """

    def __init__(self, sent: SentAudio) -> None:
        self._sent = sent
        self._history: deque[Samples] = deque(maxlen=_HISTORY)
        self.stop()

    def stop(self) -> None:
        """There is no echo, or nothing is known of it any more."""
        self._filter: EchoFilter | None = None
        self._playback: Playback | None = None
        self._base = 0  # number of the sample of ours that goes with the microphone's first one
        self._behind = 0  # hops of the history still to be learned
        self._lag = 0  # by which the filter was placed, 48 kHz
        self._age = 0  # hops since then
        self._silent = 0  # hops for which nothing was played
        self._echo: Samples | None = None
        self._heard = self._rest = self._taken = 0.0  # energies: of the microphone, without the echo, of the echo
        self._shared = 0.0  # product of the latter two
        self._distrusted = 0  # hops for which it is not asked

    def forget(self) -> None:
        """The microphone was not listened to for a while, or is another one."""
        self._history.clear()
        self.stop()

    @property
    def running(self) -> bool:
        """Whether a filter has been placed and has learned the past."""
        return self._filter is not None and self._behind == 0

    def follow(self, lag: int, end: int, number: int) -> bool:
        """Place the filter, or place it anew if the echo has moved.

        Args:
            lag: From sending to arrival, samples at 8 kHz.
            end: Number of the sample behind the last hop that was heard, 8 kHz.
            number: How many hops there have been.

        Returns:
            Whether it was.
        """
        lag *= FACTOR
        if self._filter is not None and abs(lag - self._lag) <= _MOVED and not self._astray():
            return False
        if self._filter is not None and self._age < _PATIENCE:
            return False
        self.stop()
        self._filter = EchoFilter()
        self._lag, self._behind = lag, len(self._history)
        self._base = end * FACTOR - number * HOP + min(LEAD - lag, _AHEAD)
        self._playback = Playback(self._sent, self._base + (number - self._behind) * HOP)
        return True

    def shift(self, lag: int) -> None:
        """The delay is another one by the clock, and the same between the samples; ``lag`` at 8 kHz."""
        self._lag += lag * FACTOR

    def pause(self) -> None:
        """Nothing is played any more, and the microphone will not be listened to for a while."""
        self._history.clear()
        if self._behind:
            self.stop()

    def predict(self, number: int) -> Samples | None:
        """The echo in the hop that begins, float32[HOP], 48 kHz; None while that is not known.

        Args:
            number: How many hops there have been before it.
        """
        self._echo = None
        if self._filter is not None and self._playback is not None and self._behind == 0:
            if self._playback.seek(self._base + number * HOP):
                self._filter.silence()
            self._echo = self._predicted(self._filter, self._playback)
        return self._echo

    def learn(self, heard: Samples) -> Samples | None:
        """Take in the hop that has ended.

        Args:
            heard: float32[HOP], mono, 48 kHz.

        Returns:
            float32[HOP]: it without the echo; None where :meth:`predict` gave nothing.
        """
        self._history.append(heard)
        if self._filter is None or self._playback is None:
            return None
        self._age += 1
        if self._echo is None:
            self._behind += 1
            for _ in range(min(_CATCH_UP, self._behind)):
                past = self._history[-self._behind] if self._behind <= len(self._history) else np.zeros_like(heard)
                self._predicted(self._filter, self._playback)
                self._learned(self._filter, past)
                self._behind -= 1
            return None
        rest = self._learned(self._filter, heard)
        self._heard = _FADE * self._heard + float(np.dot(heard, heard))
        self._rest = _FADE * self._rest + float(np.dot(rest, rest))
        self._taken = _FADE * self._taken + float(np.dot(self._echo, self._echo))
        self._shared = _FADE * self._shared + float(np.dot(self._echo, rest))
        self._distrusted = _DISTRUST if self._astray() else max(0, self._distrusted - 1)
        return rest

    @property
    def unrelated(self) -> float:
        """The part of what is left that is not more or less of the echo, as a gain control makes it, 0 … 1."""
        return 1 - self._shared**2 / (self._rest * self._taken + _NOTHING)

    @property
    def helps(self) -> bool:
        """Whether what is left is an echo less what was heard, and has been for a while."""
        return self.running and not self._distrusted

    def _astray(self) -> bool:
        return self.running and self._rest > _WORSE * self._heard and self._taken > _NOTABLE * self._heard

    def _predicted(self, echo_filter: EchoFilter, playback: Playback) -> Samples:
        played = playback.read(HOP)
        self._silent = 0 if played.any() else self._silent + 1
        if self._silent > PARTITIONS:
            return np.zeros(HOP, np.float32)
        return echo_filter.predict(played)

    def _learned(self, echo_filter: EchoFilter, heard: Samples) -> Samples:
        return echo_filter.learn(heard) if self._silent <= PARTITIONS else heard
