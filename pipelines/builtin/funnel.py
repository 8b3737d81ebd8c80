"""funnel: several streams into one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from tolmach.pipelines.bus import WarningMessage
from tolmach.pipelines.element import END_NS, Context, Element, ElementSpec, Field, Pad, Settings
from tolmach.pipelines.frames import (
    NS_PER_MS,
    AudioFrame,
    Frame,
    UtteranceEnd,
    UtteranceStart,
    ns_to_samples,
    samples_to_ns,
)

_SMALL_FRAME_BYTES = 256  # what a text or mark is taken to weigh, as in queue
_REMEMBERED = 1024  # utterances of an input whose new number is kept: partial texts come again under the old one
_TURN_NS = 100 * NS_PER_MS
"""Sound outside utterances takes turns of this length, on a grid of media time: how it was cut must not matter."""


class FunnelSettings(Settings):
    """Settings of funnel."""

    order: Literal["media", "arrival"] = Field(
        "media",
        description="`media`: by media time, the same in every run; `arrival`: as frames come, by chance.",
    )
    max_wait_ms: int = Field(
        3000,
        ge=0,
        le=3_600_000,
        description="Live: how far the others may get ahead of an input that says nothing before they go on without "
        "it, ms of media time. Recordings wait for every input.",
    )
    max_frames: int = Field(10_000, ge=1, le=1_000_000, description="Frames of one input that may wait.")
    max_bytes: int = Field(67_108_864, ge=1, le=2**31, description="Bytes of one input that may wait.")


class Funnel(Element):
    """A k-way merge by media time.

    Each input is a lane. The earliest frame that waits goes on as soon as no other lane can bring an earlier one: a
    lane shows its next frame, or has said how far it has come (:meth:`Element.progress`), or has ended. Equal times go
    in the order of the pads. An utterance stays whole: from its start to its end no other lane gets a word in. What
    comes out therefore depends on what comes in on each lane and not on when.
    """

    settings: FunnelSettings
    wants_progress = True

    def __init__(self, settings: FunnelSettings, context: Context) -> None:
        super().__init__(settings, context)
        self._forget()

    async def start(self) -> None:
        """Learn which inputs are linked."""
        self._forget()

    async def process(self, frame: Frame, pad: str) -> None:
        """Take a frame in; waits for room when this input is far ahead of the others."""
        lane = self._lanes.setdefault(pad, _Lane(pad))
        if self.settings.order == "arrival" or len(self._lanes) == 1:
            async with self._turn:  # the element behind must never see two pushes at a time
                await self.context.push(self._numbered(lane, frame))
            return
        while lane.waiting and (
            len(lane.waiting) >= self.settings.max_frames or lane.bytes + _size(frame) > self.settings.max_bytes
        ):
            if self._may_never_have_room(lane):
                await self._release(overfull=True)
                continue
            self._room.clear()
            await self._room.wait()
        lane.append(frame)
        await self._release()

    async def progress(self, time_ns: int, pad: str) -> None:
        """An input has come this far, or to its end (:data:`END_NS`)."""
        lane = self._lanes.setdefault(pad, _Lane(pad))
        lane.reached_ns = max(lane.reached_ns, time_ns)
        if self.settings.order == "arrival" or len(self._lanes) == 1:
            await self.context.progress(time_ns, pad)
        else:
            await self._release()

    async def drain(self) -> None:
        """Everybody has ended: push what waits."""
        for lane in self._lanes.values():
            lane.reached_ns = END_NS
        await self._release()

    async def stop(self) -> None:
        """Throw away what waits."""
        self._forget()

    def reset(self, utterance: int | None) -> None:
        """Nothing to forget: the frames that wait are not this element's to judge."""

    @property
    def waiting(self) -> int:
        """Frames that wait for another input now."""
        return sum(len(lane.waiting) for lane in self._lanes.values())

    def _forget(self) -> None:
        pads = sorted((name for name in self.context.caps if name != "src"), key=_number)
        self._lanes = {name: _Lane(name) for name in pads}
        self._turn = asyncio.Lock()
        self._room = asyncio.Event()
        self._whole: _Lane | None = None  # whose utterance has begun and not ended
        self._numbers = 0
        self._warned = False
        groups = _groups([self.context.sources.get(name, frozenset({name})) for name in pads])
        self._group = dict(zip(pads, groups, strict=True))
        self._renumber: dict[int, dict[int, int]] = {group: {} for group in groups}

    async def _release(self, *, overfull: bool = False) -> None:
        """Push what may go, one frame at a time; ``overfull`` lets one go that should have waited."""
        async with self._turn:
            while (lane := self._next(overfull)) is not None:
                overfull = False
                frame = lane.popleft()
                self._room.set()
                if isinstance(frame, UtteranceStart):
                    self._whole = lane
                elif isinstance(frame, UtteranceEnd):
                    self._whole = None
                await self.context.push(self._numbered(lane, frame))
            frontier_ns = min(lane.frontier_ns for lane in self._lanes.values())
            if frontier_ns < END_NS:
                await self.context.progress(frontier_ns)

    def _next(self, overfull: bool) -> _Lane | None:
        """The lane whose first frame may go, if any."""
        whole = self._whole
        if whole is not None and not overfull and (whole.waiting or whole.reached_ns < END_NS):
            return whole if whole.waiting else None
        self._whole = None
        lanes = list(self._lanes.values())
        heads = [lane for lane in lanes if lane.waiting]
        if not heads:
            return None
        first = min(heads, key=lambda lane: lane.frontier_ns)  # of equal ones the first pad
        if overfull:
            self._warn(first)
            return first
        if self.context.live:
            ahead_ns = max(lane.ahead_ns for lane in lanes)
            if ahead_ns - first.frontier_ns > self.settings.max_wait_ms * NS_PER_MS:
                return first
        at = lanes.index(first)
        for number, other in enumerate(lanes):
            # A frame at exactly the time a silent lane has reached may still come, and goes first if its pad does.
            if not other.waiting and other.reached_ns < first.frontier_ns + (number < at):
                return None
        return first

    def _may_never_have_room(self, lane: _Lane) -> bool:
        """Whether to wait for room could be for ever: a lane that keeps it back hangs on a source of this one."""
        if self.context.live:
            return True
        silent = [other for other in self._lanes.values() if not other.waiting and other.reached_ns < END_NS]
        return any(
            self._group.get(other.name) == self._group.get(lane.name) for other in (*silent, self._whole) if other
        )

    def _warn(self, first: _Lane) -> None:
        if not self._warned:
            self._warned = True
            silent = ", ".join(name for name, lane in self._lanes.items() if not lane.waiting)
            text = f"too much waits for {silent}: frames go on out of the order of media time"
            self.context.post(WarningMessage(text, pts_ns=first.frontier_ns))

    def _numbered(self, lane: _Lane, frame: Frame) -> Frame:
        """The frame with its utterance counted anew where inputs count apart, each from 1."""
        if len(self._renumber) < 2 or frame.utterance is None:
            return frame
        numbers = self._renumber[self._group[lane.name]]
        if frame.utterance not in numbers:
            self._numbers += 1
            numbers[frame.utterance] = self._numbers
            if len(numbers) > _REMEMBERED:
                del numbers[next(iter(numbers))]
        return replace(frame, utterance=numbers[frame.utterance])


class _Lane:
    """What waits of one input, and how far that input has come."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.waiting: deque[tuple[int, Frame]] = deque()
        self.reached_ns = -END_NS
        self.bytes = 0
        self._last_ns = -END_NS

    @property
    def frontier_ns(self) -> int:
        """The time of its first frame, or what it has reached; nothing earlier comes from it."""
        return self.waiting[0][0] if self.waiting else self.reached_ns

    @property
    def ahead_ns(self) -> int:
        """How far it is known to have come, before its end."""
        return self._last_ns if self.reached_ns == END_NS else max(self._last_ns, self.reached_ns)

    def append(self, frame: Frame) -> None:
        uncut = isinstance(frame, AudioFrame) and frame.utterance is None
        for part in _turns(frame) if isinstance(frame, AudioFrame) and uncut else (frame,):
            # A lane keeps its own order, so a frame that steps back counts as what went before it.
            self._last_ns = max(self._last_ns, part.pts_ns // _TURN_NS * _TURN_NS if uncut else part.pts_ns)
            self.waiting.append((self._last_ns, part))
            self.bytes += _size(part)

    def popleft(self) -> Frame:
        _, frame = self.waiting.popleft()
        self.bytes -= _size(frame)
        return frame


def _turns(frame: AudioFrame) -> Iterator[AudioFrame]:
    """The frame, cut where turns end."""
    while True:
        room = max(1, ns_to_samples(_TURN_NS - frame.pts_ns % _TURN_NS, frame.rate_hz))
        if room >= len(frame.samples):
            yield frame
            return
        yield replace(frame, samples=frame.samples[:room])
        frame = replace(frame, samples=frame.samples[room:], pts_ns=frame.pts_ns + samples_to_ns(room, frame.rate_hz))


def _size(frame: Frame) -> int:
    return int(frame.samples.nbytes) if isinstance(frame, AudioFrame) else _SMALL_FRAME_BYTES


def _number(pad: str) -> int:
    return int(pad.rpartition("_")[2])


def _groups(sources: list[frozenset[str]]) -> list[int]:
    """For each set the place of the first one it is connected with through common members."""
    found = list(range(len(sources)))
    for i, mine in enumerate(sources):
        for j in range(i):
            if mine & sources[j] and found[i] != found[j]:
                low, high = sorted((found[i], found[j]))
                found = [low if group == high else group for group in found]
    return found


SPEC = ElementSpec(
    type="funnel",
    summary="Merge several streams into one, in the order of media time.",
    doc="""\
A frame goes on when no other input can bring an earlier one: inputs behind a VAD say how far they have come also while
nobody speaks, and an input that has ended is not waited for. So several speakers, each on a branch of his own, come out
as they spoke, the same in every run. Utterances stay whole, and where the inputs have no source in common they are
counted anew, because each branch counts from 1. Live, an input that falls behind is waited for `max_wait_ms`. An input
far ahead of the others waits (`max_frames`, `max_bytes`); where that could be for ever, as both hang on one source,
frames go on out of order, with a warning.

`order: arrival` passes frames on as they come: behind queues the order of frames from different inputs then depends on
timing. Frames of one input keep their order either way. End of stream follows when every input has ended.""",
    settings=FunnelSettings,
    pads=(Pad.sink(name="sink_%u", request=True), Pad.src(like="sink_%u")),
    build="tolmach.pipelines.builtin.funnel:Funnel",
    example="{type: funnel}",
)
