"""What a program pushes into a running graph and takes out of it: the runtime of app_src and app_sink.

A program holds an :class:`AppInput` or :class:`AppOutput`, the graph an :class:`AppSrc` or :class:`AppSink`. They find
each other by the name of the element: ``GraphRunner(graph, resources={"in": AppInput()})``; ``tolmach.open`` does that.
Both belong to one event loop; a callback of another thread says ``loop.call_soon_threadsafe(input.try_push, block)``.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from tolmach.pipelines.builtin.app import AppSinkSettings, AppSrcSettings
from tolmach.pipelines.bus import PositionMessage
from tolmach.pipelines.caps import Caps, Structure
from tolmach.pipelines.element import Element, SourceElement
from tolmach.pipelines.errors import Cancelled, Ended, TolmachError
from tolmach.pipelines.frames import NS_PER_MS, NS_PER_S, AudioFrame, Frame, Samples, samples_to_ns

__all__ = ["AppInput", "AppOutput", "AppSink", "AppSrc"]

PIECE_MS = 100
"""Longest frame made of what is pushed at once, ms: a push of an hour waits for room piece by piece."""


def _nobody() -> None:
    """Nobody wants to know."""


class _Room:
    """Frames that wait, bounded by media time and number; whoever takes makes room."""

    def __init__(self) -> None:
        self.frames: deque[Frame] = deque()
        self.ns = 0
        self.max_ns = 0
        self.max_frames = 0
        self.boundless = False

    def takes(self, frames: int, ns: int) -> bool:
        """Whether so much fits; an empty one takes any frame, as a queue does."""
        if self.boundless or not self.frames:
            return True
        return len(self.frames) + frames <= self.max_frames and self.ns + ns <= self.max_ns

    def put(self, frame: Frame) -> None:
        self.frames.append(frame)
        self.ns += _duration_ns(frame)

    def take(self) -> Frame:
        frame = self.frames.popleft()
        self.ns -= _duration_ns(frame)
        return frame


class _End:
    """What both ends share: waiting, and the word about how it ended.

    Args:
        name: Name of the element, for messages.

    Attributes:
        on_failure: Called when somebody is raised what ended the graph.
    """

    def __init__(self, name: str = "") -> None:
        self._name = name
        self._owner: object | None = None
        self._room = _Room()
        self._waiting: list[asyncio.Future[None]] = []
        self._ended = False
        self._failure: TolmachError | None = None
        self.on_failure: Callable[[], None] = _nobody

    @property
    def waiting_ms(self) -> float:
        """Audio that waits to be taken, ms."""
        return self._room.ns / NS_PER_MS

    @property
    def ended(self) -> bool:
        """Whether the stream has ended, or the graph."""
        return self._ended or self._failure is not None

    def _check_failure(self) -> None:
        if self._failure is not None:
            self.on_failure()
            raise self._failure

    async def _wait(self) -> None:
        """Until anything has changed. Cancelled by: the caller."""
        changed = asyncio.get_running_loop().create_future()
        self._waiting.append(changed)
        try:
            await changed
        finally:
            if changed in self._waiting:
                self._waiting.remove(changed)

    def _tell(self) -> None:
        # Not an asyncio.Event, which the first to wake would clear before the second has looked; nor a new one each
        # time: frames pass thousands of times a second, and mostly nobody waits.
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for changed in waiting:
                if not changed.done():
                    changed.set_result(None)

    def _attach(self, element: Element, max_ms: int, max_frames: int) -> None:
        if self._owner not in (None, element):
            raise element.context.error(
                f"element {element.context.name!r}: its {type(self).__name__} has been used by another run; make a new "
                "one for each (tolmach.open does)"
            )
        self._owner, self._name = element, element.context.name
        self._room.max_ns, self._room.max_frames = max_ms * NS_PER_MS, max_frames
        self._failure = None
        self._tell()

    def _detach(self, failure: TolmachError | None) -> None:
        if failure is None and not self._ended:
            failure = Cancelled(f"{self._name}: the graph was stopped before its end")
        self._failure = failure
        self._tell()


class AppInput(_End):
    """What a program pushes into an ``app_src``.

    Attributes:
        end_ns: Media time just after the last sample that was pushed, ns.
    """

    def __init__(self, name: str = "") -> None:
        super().__init__(name)
        self._caps = Caps.any()
        self._allowed: tuple[int, int, bool] | None = None
        self._taken_from = False  # whether the element takes: what is pushed to one that never will would be lost
        self._turn = asyncio.Lock()
        self._anchor_ns = 0  # media time from which samples are counted
        self._counted = 0
        self._rate_hz = 0
        self.end_ns = 0

    async def push(self, samples: npt.ArrayLike, rate_hz: int | None = None, *, pts_ns: int | None = None) -> None:
        """Push samples; waits while the graph has enough to do.

        A long push goes piece by piece: it returns when the last piece was taken, and the array must stay as it is
        until then.

        Args:
            samples: float32 or int16, [n] or [n, channels]; floats in [-1, 1].
            rate_hz: Sample rate, Hz; may be left out where the caps of the element say it.
            pts_ns: Media time of the first sample, ns, where it does not follow the last push: what lies between was
                not heard. It cannot go back.

        Raises:
            TypeError: If the samples are of another type.
            ValueError: If shape, rate or time do not fit; says what to do.
            Ended: If the stream or the graph has ended.
            TolmachError: What failed the graph.

        Cancelled by: the caller; what was taken by then stays.
        """
        async with self._turn:  # two that push at once must not get into each other's samples
            await self._attached()
            array, rate_hz = self._checked(samples, rate_hz)
            self._place(rate_hz, pts_ns, len(array))
            for at, count in _pieces(len(array), rate_hz):
                await self._room_for(samples_to_ns(count, rate_hz))
                self._put_audio(array[at : at + count], rate_hz)

    def try_push(self, samples: npt.ArrayLike, rate_hz: int | None = None, *, pts_ns: int | None = None) -> bool:
        """Push samples if there is room for all of them; arguments and errors as for :meth:`push`.

        Returns:
            False when there is no room, when somebody else waits for some, or before the graph has started: nothing
            was taken then.

        Raises:
            ValueError: Also if there are more samples than ever fit (``max_ms``).
        """
        self._check_open()
        if not self._taken_from or self._turn.locked():
            return False
        array, rate_hz = self._checked(samples, rate_hz)
        pieces = list(_pieces(len(array), rate_hz))
        length_ns, room = samples_to_ns(len(array), rate_hz), self._room
        if length_ns > room.max_ns or len(pieces) > room.max_frames:
            raise ValueError(
                f"{self._name}: {length_ns / NS_PER_MS:.0f} ms at once never fit into "
                f"max_ms={room.max_ns // NS_PER_MS} and max_frames={room.max_frames}; push less at once, or give the "
                "element more room"
            )
        if len(room.frames) + len(pieces) > room.max_frames or room.ns + length_ns > room.max_ns:
            return False
        self._place(rate_hz, pts_ns, len(array))
        for at, count in pieces:
            self._put_audio(array[at : at + count], rate_hz)
        return True

    async def push_frame(self, frame: Frame) -> None:
        """Push a frame as it is: a text for a voice, audio that is cut into utterances.

        Raises:
            ValueError: If the caps of the element do not allow it.
            Ended: If the stream or the graph has ended.
            TolmachError: What failed the graph.

        Cancelled by: the caller.
        """
        async with self._turn:
            await self._attached()
            if isinstance(frame, AudioFrame):
                self._check_caps(frame.rate_hz, frame.channels, segmented=frame.utterance is not None)
                self.end_ns, self._rate_hz = frame.end_ns, 0  # samples pushed next are counted from here
            await self._room_for(_duration_ns(frame))
            self._put(frame)

    async def end(self) -> None:
        """End the stream behind what was pushed; does not wait for it to be worked through. Safe twice.

        Raises:
            TolmachError: What failed the graph.
        """
        async with self._turn:
            self._check_failure()
            self._end()

    # The element's side -------------------------------------------------------------------------------------------

    async def _take(self) -> Frame | None:
        """The next frame, or None at the end of the stream."""
        if not self._taken_from:
            self._taken_from = True
            self._tell()
        while not self._room.frames:
            if self._ended:
                return None
            await self._wait()
        frame = self._room.take()
        self._tell()
        return frame

    def _end(self) -> None:
        self._ended = True
        self._tell()

    # Checks -------------------------------------------------------------------------------------------------------

    async def _attached(self) -> None:
        self._check_open()
        while not self._taken_from:
            await self._wait()
            self._check_open()

    def _check_open(self) -> None:
        self._check_failure()
        if self._ended:
            raise Ended(f"{self._name}: the stream has ended and takes nothing more")

    def _checked(self, samples: npt.ArrayLike, rate_hz: int | None) -> tuple[npt.NDArray[Any], int]:
        array = np.asarray(samples)
        if array.dtype != np.int16 and array.dtype.kind != "f":
            raise TypeError(f"{self._name}: samples of {array.dtype} are not taken; give float32 in [-1, 1] or int16")
        if array.ndim == 1:
            array = array[:, None]
        if array.ndim != 2 or not array.shape[1]:
            raise ValueError(f"{self._name}: samples must be [n] or [n, channels], got the shape {array.shape}")
        if rate_hz is None:
            known = self._caps.value("rate")
            if not isinstance(known, int):
                raise ValueError(f"{self._name}: say at which rate: push(samples, rate_hz=48000)")
            rate_hz = known
        self._check_caps(int(rate_hz), array.shape[1], segmented=False)
        return array, int(rate_hz)

    def _check_caps(self, rate_hz: int, channels: int, *, segmented: bool) -> None:
        if (rate_hz, channels, segmented) == self._allowed:  # as the last time
            return
        fields = {"rate": rate_hz, "channels": channels, "segmented": segmented}
        pushed = Structure.of("audio/raw", {name: frozenset({value}) for name, value in fields.items()})
        if self._caps.can_intersect(Caps.of([pushed])):
            self._allowed = rate_hz, channels, segmented
            return
        hint = "set its caps to what you push, and put {type: resample} behind it where the graph wants something else"
        if channels > 64:
            hint = "samples are [n, channels]: transpose them"
        raise ValueError(f"{self._name} takes {self._caps}, and this is {pushed}; {hint}")

    # Time ---------------------------------------------------------------------------------------------------------

    def _place(self, rate_hz: int, pts_ns: int | None, count: int) -> None:
        """Settle where the samples begin that are pushed now."""
        if not count:
            return
        slack_ns = samples_to_ns(1, rate_hz)  # times that are computed from sample counts are rounded
        if pts_ns is not None and pts_ns < self.end_ns - slack_ns:
            raise ValueError(
                f"{self._name}: pts_ns={pts_ns} goes back; samples up to {self.end_ns} were pushed already (end_ns)"
            )
        jumps = pts_ns is not None and pts_ns > self.end_ns + slack_ns
        if jumps or rate_hz != self._rate_hz:
            self._anchor_ns = pts_ns if jumps and pts_ns is not None else self.end_ns
            self._counted, self._rate_hz = 0, rate_hz

    def _put_audio(self, piece: npt.NDArray[Any], rate_hz: int) -> None:
        pts_ns = self._anchor_ns + samples_to_ns(self._counted, rate_hz)
        self._counted += len(piece)
        self.end_ns = self._anchor_ns + samples_to_ns(self._counted, rate_hz)
        self._put(AudioFrame(_as_float(piece), rate_hz, pts_ns))

    async def _room_for(self, ns: int) -> None:
        while not self._room.takes(1, ns):
            await self._wait()
            self._check_open()
        self._check_open()

    def _put(self, frame: Frame) -> None:
        self._room.put(frame)
        self._tell()


class AppOutput(_End):
    """The frames that reach an ``app_sink``: ``async for frame in graph["out"]``.

    Iteration gives each frame once, in order, ends with the stream, and raises what failed the graph after the frames
    that came before. It may be broken off and gone on with.
    """

    def __aiter__(self) -> AppOutput:
        return self

    async def __anext__(self) -> Frame:
        """The next frame.

        Raises:
            StopAsyncIteration: At the end of the stream.
            TolmachError: What failed the graph.

        Cancelled by: the caller; no frame is lost.
        """
        while (frame := self.try_next()) is None:
            self._check_failure()
            if self._ended:
                raise StopAsyncIteration
            await self._wait()
        return frame

    def try_next(self) -> Frame | None:
        """The next frame if there is one now."""
        if not self._room.frames:
            return None
        frame = self._room.take()
        self._tell()
        return frame

    def release(self) -> None:
        """Let the graph wait for the program no longer: whatever still comes is kept until it is taken.

        For the end of a graph, whose sources have stopped: what is left in it is bounded.
        """
        self._room.boundless = True
        self._tell()

    # The element's side -------------------------------------------------------------------------------------------

    async def _put(self, frame: Frame) -> None:
        while not self._room.takes(1, _duration_ns(frame)):
            await self._wait()
        self._room.put(frame)
        self._tell()

    def _end(self) -> None:
        self._ended = True
        self._tell()


class AppSrc(SourceElement):
    """Pushes what the program pushes."""

    settings: AppSrcSettings
    _input: AppInput | None = None

    async def start(self) -> None:
        """Find the program's end. Raises ElementError if no program has one."""
        found = self.context.resource(self.context.name, AppInput)
        if found is None:
            raise self.context.error(
                f"element {self.context.name!r} takes what a program pushes, and no program has opened this graph: "
                "open it with tolmach.open() in Python, or put a file_src in its place"
            )
        found._caps = self.context.caps.get("src", self.settings.pushed)
        found._attach(self, self.settings.max_ms, self.settings.max_frames)
        self._input = found

    async def produce(self) -> None:
        """Push until the program ends the stream. Cancelled by: cancel of the graph."""
        if self._input is None:
            raise self.context.error(f"element {self.context.name!r} was not started")
        reported_ns = -NS_PER_S
        while (frame := await self._input._take()) is not None:
            await self.context.push(frame)
            if isinstance(frame, AudioFrame) and frame.end_ns - reported_ns >= NS_PER_S:
                reported_ns = frame.end_ns
                self.context.post(PositionMessage(frame.end_ns, pts_ns=frame.end_ns))
        end_ns = self._input.end_ns
        if end_ns > reported_ns:
            self.context.post(PositionMessage(end_ns, pts_ns=end_ns))

    def finish(self) -> None:
        """End behind what was pushed so far."""
        if self._input is None:
            return
        if (failure := self.context.failure()) is not None:
            self._input._detach(failure)  # whoever waits to push shall hear that, and not that the stream has ended
        else:
            self._input._end()

    async def stop(self) -> None:
        """Tell the program; its end belongs to it."""
        if self._input is not None:
            self._input._detach(self.context.failure())
            self._input = None


class AppSink(Element):
    """Hands frames to the program."""

    settings: AppSinkSettings
    _output: AppOutput | None = None

    async def start(self) -> None:
        """Find the program's end. Raises ElementError if no program has one."""
        found = self.context.resource(self.context.name, AppOutput)
        if found is None:
            raise self.context.error(
                f"element {self.context.name!r} gives frames to a program, and no program has opened this graph: open "
                "it with tolmach.open() in Python, or put a file_sink, subtitle_sink or jsonl_sink in its place"
            )
        found._attach(self, self.settings.max_ms, self.settings.max_frames)
        self._output = found

    async def process(self, frame: Frame, pad: str) -> None:
        """Hand it on; waits while enough waits for the program. Cancelled by: cancel of the graph."""
        if self._output is not None:
            await self._output._put(frame)

    async def drain(self) -> None:
        """Tell the program that this is all; what waits for it stays there."""
        if self._output is not None:
            self._output._end()

    async def stop(self) -> None:
        """Tell the program; its end belongs to it."""
        if self._output is not None:
            self._output._detach(self.context.failure())
            self._output = None


def _as_float(piece: npt.NDArray[Any]) -> Samples:
    """A private copy, float32[n, channels] in C order; int16 becomes [-1, 1)."""
    copied = np.array(piece, np.float32, order="C")
    return copied / np.float32(32768) if piece.dtype == np.int16 else copied


def _pieces(count: int, rate_hz: int) -> list[tuple[int, int]]:
    """Where the pieces of ``count`` samples begin, and how long they are."""
    most = max(1, rate_hz * PIECE_MS // 1000)
    return [(at, min(most, count - at)) for at in range(0, count, most)]


def _duration_ns(frame: Frame) -> int:
    return frame.duration_ns if isinstance(frame, AudioFrame) else 0
