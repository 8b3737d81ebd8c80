"""The runtime of ``mix``: two lanes on one time line, mixed as far as both are known."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from tolmach.pipelines.bus import WarningMessage
from tolmach.pipelines.element import END_NS, Context, Element
from tolmach.pipelines.frames import NS_PER_S, AudioFrame, Frame, samples_to_ns
from tolmach.pipelines.placing import Placement, Placer
from tolmach.processors.mix.ducking import Ducker
from tolmach.processors.mix.limiter import Limiter
from tolmach.processors.mix.spec import MixSettings
from tolmach.processors.mix.spool import Spool

__all__ = ["Mix"]

T = TypeVar("T")

VOICE, BED = "voice", "bed"

_BLOCK_MS, _LIVE_BLOCK_MS = 100, 20
"""Length of what is mixed at a time, ms: short where somebody listens, long where it costs less a second."""

_FADE_MS = 10
"""Over which speech that is cut at the end of the recording fades, so that it does not click."""


class _Lane:
    """One input: where its frames lie, and what of them waits."""

    def __init__(self, placer: Placer, spool: Spool) -> None:
        self.placer = placer
        self.spool = spool
        self.sounding = 0
        """Up to which sample there is something of it."""
        self.ended = False

    def settled(self, rate_hz: int) -> int:
        """Up to which sample it is known."""
        return END_NS if self.ended else self.placer.settled(rate_hz)


class Mix(Element):
    """Mixes in blocks on a grid that begins with the bed, so that nothing depends on how the inputs were cut."""

    settings: MixSettings
    wants_progress = True

    def __init__(self, settings: MixSettings, context: Context) -> None:
        super().__init__(settings, context)
        self._forget()

    def _forget(self) -> None:
        chosen, rate_hz = self.settings, self.settings.rate_hz
        self._rate_hz = rate_hz
        self._block = rate_hz * (_LIVE_BLOCK_MS if self.context.live else _BLOCK_MS) // 1000
        attack, hold, release = (
            max(1, rate_hz * ms // 1000) for ms in (chosen.attack_ms, chosen.hold_ms, chosen.release_ms)
        )
        # Live a voice cannot be waited for without being heard later.
        self._look_ahead = 0 if self.context.live else attack
        self._fade = rate_hz * _FADE_MS // 1000
        self._voice = _Lane(Placer("aligned", fit=chosen.fit, max_tempo=chosen.max_tempo), Spool(1, chosen.max_bytes))
        self._bed = _Lane(Placer("aligned"), Spool(chosen.channels, chosen.max_bytes))
        self._ducker = Ducker(attack, hold, release, self._look_ahead)
        self._limiter = Limiter(rate_hz, chosen.channels, chosen.ceiling_db)
        self._threshold = np.float32(10 ** (chosen.threshold_db / 20))
        self._voice_gain = _factor(chosen.voice_gain_db)
        self._ahead = np.zeros((0, 1), np.float32)  # of the voice: what is looked at and not mixed yet
        self._start: int | None = None  # sample of the time line at which the mix begins
        self._mixed = 0  # up to which sample it has come
        self._pushed = 0  # up to which it has left
        self._cut: int | None = None  # where the voice ends, whatever it has to say
        self._turn = asyncio.Lock()
        self._room = asyncio.Event()
        sources = self.context.sources
        voice, bed = (sources.get(pad, frozenset[str]()) for pad in (VOICE, BED))
        self._may_wait = bool(voice and bed) and not voice & bed and not self.context.live

    async def start(self) -> None:
        """Begin anew."""
        await self.stop()

    async def process(self, frame: Frame, pad: str) -> None:
        """Take a frame of either input; waits while too much of this one is ahead of the other.

        Raises:
            ElementError: If the audio has another format than the settings say, timestamps jump by days, speech that is
                to be fitted has several channels, or the disk takes nothing more.
        """
        if isinstance(frame, AudioFrame):
            self._check_format(frame, pad)
        lane = self._voice if pad == VOICE else self._bed
        while lane.spool.full and self._may_wait:
            self._room.clear()
            await self._room.wait()
        async with self._turn:
            try:
                placements = lane.placer.take(frame)
            except ValueError as error:
                raise self.context.error(f"{self.context.name}: {pad}: {error}", frame.pts_ns) from error
            await self._append(lane, placements)
            await self._release()

    async def progress(self, time_ns: int, pad: str) -> None:
        """An input has come this far, or to its end. Nothing is passed on: what leaves here tells the time itself."""
        lane = self._voice if pad == VOICE else self._bed
        async with self._turn:
            await self._append(lane, lane.placer.reach(time_ns))
            lane.ended = lane.ended or time_ns >= END_NS
            await self._release()

    async def drain(self) -> None:
        """Mix the rest: to the end of the bed, and of the last speech unless that is to be cut.

        Raises:
            ElementError: If the disk does not give back what it took.
        """
        async with self._turn:
            voice, bed = self._voice, self._bed
            await self._append(voice, voice.placer.finish())
            voice.ended = bed.ended = True
            end = bed.sounding if self._start is not None else voice.sounding
            over = voice.sounding - end
            if self.settings.length == "exact":
                self._cut = end
            await self._release(max(end, voice.sounding) if self._cut is None else end)
            await self._push(self._limiter.flush())
        self._tell(over)
        await self.stop()

    async def stop(self) -> None:
        """Throw away what waits."""
        for lane in (self._voice, self._bed):
            await asyncio.to_thread(lane.spool.close)
        self._forget()

    @property
    def latency_ns(self) -> int:
        """A block, what the limiter looks at, and what the ducking looks ahead where it does."""
        return samples_to_ns(self._block + self._limiter.latency + self._look_ahead, self._rate_hz)

    def _check_format(self, frame: AudioFrame, pad: str) -> None:
        wanted = (self._rate_hz, 1 if pad == VOICE else self.settings.channels)
        if (frame.rate_hz, frame.channels) != wanted:
            text = (
                f"{self.context.name}: {pad} gets {frame.rate_hz} Hz, {frame.channels} channels and takes {wanted[0]} "
                f"Hz, {wanted[1]}; put {{type: resample}} before it"
            )
            raise self.context.error(text, frame.pts_ns)

    async def _append(self, lane: _Lane, placements: list[Placement]) -> None:
        for placement in placements:
            samples = placement.samples
            if placement.tempo != 1.0:
                samples = await asyncio.to_thread(placement.render)
            if placement.placed is not None:
                self.context.post(placement.placed.message)
            if lane is self._bed and self._start is None:
                # It begins with the bed, wherever on the time line that is.
                self._start = self._mixed = self._pushed = placement.silence
            else:
                lane.spool.append_silence(placement.silence)
            await self._on_disk(lane.spool, lambda: lane.spool.append(samples), writes=True)  # noqa: B023 -- awaited
            lane.sounding = lane.placer.position

    async def _on_disk(self, spool: Spool, work: Callable[[], T], *, writes: bool = False) -> T:
        """Do something with a spool, in a thread where it takes the disk."""
        if not (spool.on_disk or (writes and spool.full)):
            return work()
        try:
            return await asyncio.to_thread(work)
        except OSError as error:
            text = f"{self.context.name}: what waits cannot be kept on disk: {error.strerror or error}"
            raise self.context.error(text) from error

    async def _release(self, end: int | None = None) -> None:
        """Mix as far as both inputs have come, or to the end."""
        if self._start is None:
            if end is None:
                return
            self._start = 0
        while end is None or self._mixed < end:
            until = self._mixed + self._block if end is None else min(self._mixed + self._block, end)
            if end is None and not self._known(until):
                return
            await self._mix(until)
            self._room.set()

    def _known(self, until: int) -> bool:
        """Whether everything is there that the mix up to a sample is made from."""
        margin = self._fade if self.settings.length == "exact" else 0
        bed = self._bed.placer.position  # what of it is to come lies behind, whatever its progress
        if bed < until + margin:
            return False
        return self.context.live or self._voice.settled(self._rate_hz) >= until + self._look_ahead

    async def _mix(self, until: int) -> None:
        voice, bed, count = self._voice, self._bed, until - self._mixed
        # Nothing of the voice will lie before what is mixed now.
        voice.spool.append_silence(voice.placer.silence(until + self._look_ahead))
        if self._mixed == self._start:
            await self._on_disk(voice.spool, lambda: voice.spool.skip(self._mixed))
            self._ahead = await self._on_disk(voice.spool, lambda: voice.spool.take(self._look_ahead))
            self._ducker.begin(np.abs(self._ahead[:, 0]) > self._threshold)
        coming = await self._on_disk(voice.spool, lambda: voice.spool.take(count))
        heard = np.concatenate((self._ahead, coming))
        spoken, self._ahead = heard[:count], heard[count:]
        low = await self._on_disk(bed.spool, lambda: bed.spool.take(count))
        chosen = self.settings
        gain_db = self._ducker.gains_db(np.abs(coming[:, 0]) > self._threshold, chosen.bed_gain_db, chosen.duck_gain_db)
        gains = gain_db if isinstance(gain_db, float) else gain_db[:, None]
        mixed: npt.NDArray[np.float64] = low.astype(np.float64) * 10 ** (gains / 20)
        mixed += spoken * self._voice_gains(until)
        if not np.isfinite(mixed).all():
            mixed = np.nan_to_num(mixed, nan=0.0, posinf=0.0, neginf=0.0)
        self._mixed = until
        await self._push(self._limiter.process(mixed))

    def _voice_gains(self, until: int) -> npt.NDArray[np.float64] | float:
        """The gain of the voice in this block, float64[n, 1] where it moves."""
        before, after = self._voice_gain, _factor(self.settings.voice_gain_db)
        count = until - self._mixed
        gains: npt.NDArray[np.float64] | float = after
        if before != after:  # changed while it plays: over a block, so that it does not click
            self._voice_gain = after
            gains = np.linspace(before, after, count)[:, None]
        if self._cut is not None and until > self._cut - self._fade:
            left = (self._cut - np.arange(self._mixed, until)) / self._fade
            gains = gains * np.clip(left, 0.0, 1.0)[:, None]
        return gains

    async def _push(self, samples: npt.NDArray[np.float64]) -> None:
        if len(samples):
            pts_ns = samples_to_ns(self._pushed, self._rate_hz)
            self._pushed += len(samples)
            await self.context.push(AudioFrame(samples.astype(np.float32), self._rate_hz, pts_ns))

    def _tell(self, over: int) -> None:
        placer, name = self._voice.placer, self.context.name
        if placer.late:
            text = (
                f"{name}: {placer.late} utterances do not fit their slots even {self.settings.max_tempo:g} times as "
                f"fast; what follows begins up to {placer.latest_ns / NS_PER_S:.1f} s late"
            )
            self.context.post(WarningMessage(text, {"late": placer.late}))
        if over > self._fade and self._bed.sounding:
            cut = "is cut there" if self._cut is not None else "is kept (length: exact cuts it)"
            seconds = over / self._rate_hz
            text = f"{name}: the last speech reaches {seconds:.2f} s beyond the end of the recording and {cut}"
            self.context.post(WarningMessage(text, {"over_ns": samples_to_ns(over, self._rate_hz)}))


def _factor(gain_db: float) -> float:
    return float(10 ** (gain_db / 20))
