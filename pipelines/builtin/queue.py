"""queue: a task boundary with bounded room, the only place in a graph where frames wait."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Literal

from pydantic import model_validator

from tolmach.pipelines.bus import DroppedMessage, WarningMessage
from tolmach.pipelines.element import Element, ElementSpec, Field, Pad, Settings
from tolmach.pipelines.frames import NS_PER_MS, AudioFrame, Frame, TranslationFrame

_SMALL_FRAME_BYTES = 256  # what a text or marker frame is taken to weigh; audio dominates by far
_MS_PER_MARK = 50
"""Speech per text or mark at the least: an utterance has two marks and a text, and lasts longer than 150 ms."""


class QueueSettings(Settings):
    """Settings of queue. A limit of 0 is no limit; at least one must be set.

    A limit that was not written never undercuts one that was: who asks for a minute of audio gets it, however many
    frames and bytes that is.
    """

    max_ms: int = Field(1000, ge=0, le=3_600_000, description="Audio that may wait, ms of media time; 0 for no limit.")
    max_frames: int = Field(500, ge=0, le=1_000_000, description="Frames that may wait; 0 for no limit.")
    max_bytes: int = Field(10_485_760, ge=0, le=2**31, description="Bytes that may wait; 0 for no limit.")
    leaky: Literal["no", "upstream", "downstream"] = Field(
        "no",
        description="What to do when full: `no` makes the element in front wait, `upstream` drops what arrives, "
        "`downstream` drops what has waited longest. Utterance marks are never dropped.",
    )

    @model_validator(mode="after")
    def _bounded(self) -> QueueSettings:
        if not (self.max_ms or self.max_frames or self.max_bytes):
            raise ValueError("max_ms, max_frames and max_bytes must not all be 0: the queue would have no limit")
        return self

    @property
    def limits(self) -> tuple[int, int, int, int]:
        """What holds: ms of audio, frames, bytes, and frames that have no duration (texts, marks); 0 for no limit.

        Texts and marks are not measured in ms, so with that limit alone they have one of their own, of as many as can
        belong to so much speech.
        """
        written = {name for name in ("max_ms", "max_frames", "max_bytes") if name in self.model_fields_set}
        asked = {name for name in written if getattr(self, name)}
        if not asked:
            return self.max_ms, self.max_frames, self.max_bytes, 0
        ms, frames, size = (getattr(self, n) if n in asked else 0 for n in ("max_ms", "max_frames", "max_bytes"))
        return ms, frames, size, 0 if frames or size else max(500, ms // _MS_PER_MARK)


class Queue(Element):
    """Separates the task in front of it from the task behind it.

    Attributes:
        dropped: Frames dropped so far (leaky queues).
        dropped_ns: Their media time, ns.
        peak_frames: Most frames that ever waited.
    """

    dropped = 0
    dropped_ns = 0
    peak_frames = 0
    _uncut = 0

    async def start(self) -> None:
        """Start the task that pushes."""
        self._waiting: deque[Frame] = deque()
        self._taken = 0  # frames ever taken in, dropped ones not counted
        self._progress: deque[tuple[int, int]] = deque()  # how many frames go before it, and what to say
        self._ns = 0
        self._bytes = 0
        self._marks = 0  # frames without a duration
        self._limits = self.settings.limits
        self._uncut = 0  # audio frames that belong to no utterance
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.context.spawn(self._pump(), "pump")

    async def process(self, frame: Frame, pad: str) -> None:
        """Take a frame in; waits for room, or drops, as ``leaky`` says."""
        while self._full(frame):
            if self.settings.leaky == "no":
                self._room.clear()
                await self._room.wait()
            elif self.settings.leaky == "upstream":
                if _droppable(frame):
                    self._count_drop(frame)
                    return
                break
            elif not self._drop_oldest():
                break
        self._idle.clear()
        self._waiting.append(frame)
        self._taken += 1
        self._account(frame, 1)
        self.peak_frames = max(self.peak_frames, len(self._waiting))
        self._arrived.set()

    async def progress(self, time_ns: int, pad: str) -> None:
        """Keep it behind the frames that wait."""
        if self._progress and self._progress[-1][0] == self._taken:
            self._progress.pop()  # no frame between the two: the later says it all
        self._progress.append((self._taken, time_ns))
        self._idle.clear()
        self._arrived.set()

    async def drain(self) -> None:
        """Wait until everything has been pushed."""
        await self._idle.wait()
        if self.dropped:
            text = f"dropped {self.dropped} frames, {self.dropped_ns / NS_PER_MS:.0f} ms of media"
            self.context.post(DroppedMessage(text, {"frames": self.dropped, "media_ns": self.dropped_ns}))

    def reset(self, utterance: int | None) -> None:
        """Nothing to forget: the frames that wait are not this queue's to judge."""

    @property
    def mid_utterance(self) -> bool:
        """Whether audio waits that no VAD has seen yet."""
        return self._uncut > 0

    @property
    def depth(self) -> tuple[int, int, int]:
        """What waits now: frames, ns of audio, bytes."""
        return len(self._waiting), self._ns, self._bytes

    async def _pump(self) -> None:
        while True:
            while self._waiting or self._progress:
                while self._progress and self._progress[0][0] <= self._taken - len(self._waiting):
                    await self.context.progress(self._progress.popleft()[1], "sink")
                if self._waiting:
                    frame = self._waiting.popleft()
                    self._account(frame, -1)
                    self._room.set()
                    await self.context.push(frame)
            self._idle.set()
            self._arrived.clear()
            await self._arrived.wait()

    def _full(self, frame: Frame) -> bool:
        # An empty queue takes any frame: one that is larger than the limit must still pass.
        if not self._waiting:
            return False
        max_ms, max_frames, max_bytes, max_marks = self._limits
        return bool(
            (max_frames and len(self._waiting) >= max_frames)
            or (max_ms and self._ns + _duration_ns(frame) > max_ms * NS_PER_MS)
            or (max_bytes and self._bytes + _size(frame) > max_bytes)
            or (max_marks and self._marks >= max_marks and not isinstance(frame, AudioFrame))
        )

    def _account(self, frame: Frame, sign: int) -> None:
        self._ns += sign * _duration_ns(frame)
        self._bytes += sign * _size(frame)
        self._marks += sign * (not isinstance(frame, AudioFrame))
        self._uncut += sign * (isinstance(frame, AudioFrame) and frame.utterance is None)

    def _drop_oldest(self) -> bool:
        for at, frame in enumerate(self._waiting):
            if _droppable(frame):
                place = self._taken - len(self._waiting) + at
                self._progress = deque((before - (before > place), time_ns) for before, time_ns in self._progress)
                self._taken -= 1
                del self._waiting[at]
                self._account(frame, -1)
                self._count_drop(frame)
                return True
        return False

    def _count_drop(self, frame: Frame) -> None:
        if not self.dropped:
            self.context.post(WarningMessage("is full and drops frames", pts_ns=frame.pts_ns))
        self.dropped += 1
        self.dropped_ns += _duration_ns(frame)


def _droppable(frame: Frame) -> bool:
    return isinstance(frame, AudioFrame | TranslationFrame)


def _duration_ns(frame: Frame) -> int:
    return frame.duration_ns if isinstance(frame, AudioFrame) else 0


def _size(frame: Frame) -> int:
    return int(frame.samples.nbytes) if isinstance(frame, AudioFrame) else _SMALL_FRAME_BYTES


SPEC = ElementSpec(
    type="queue",
    summary="Let the elements before and behind run as separate tasks, with bounded room between.",
    doc="The defaults (1 s, 500 frames, 10 MiB) are about those of GStreamer's queue. All limits that are written hold "
    "at once; those that are not written hold only when none is. Counts of dropped frames are posted on the bus.",
    settings=QueueSettings,
    pads=(Pad.sink(), Pad.src(like="sink")),
    passthrough=True,
    build="tolmach.pipelines.builtin.queue:Queue",
    example="{type: queue, max_ms: 2000, leaky: downstream}",
)
