"""A recording's way through a graph: decoded by a process of its own, translated beside the live sessions.

The bytes that a stranger sent are read by :mod:`tolmach.web.decoding`, at low priority and within bounds. What comes
out is pushed into the graph in this process, whose model is the one that sessions use: it is loaded once, and its host
gives every caller a step in turn. Between two pieces the loop is left to others. While somebody talks in a session, a
recording is worked on one utterance at a time, and rests for three times as long as the model took for each
(:class:`Manners`); docs/adr/0046 says what was measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tolmach.pipelines.bus import Bus, Message, TranslationMessage, UtteranceEndMessage
from tolmach.pipelines.embed import RunningGraph
from tolmach.pipelines.embed import open as open_graph
from tolmach.pipelines.errors import TolmachError
from tolmach.pipelines.frames import NS_PER_S, TranslationFrame
from tolmach.web.decoding import NOTHING_TO_DECODE, RATE_HZ, TOO_LONG
from tolmach.web.doors.openai.errors import OpenAiError
from tolmach.web.doors.openai.headless import INPUT, OUTPUT, FileGraph
from tolmach.web.errors import without_paths

__all__ = ["Heard", "Segment", "hear"]

log = logging.getLogger(__name__)

PIECE_MS = 100
"""What is pushed at once, ms: the loop is busy with it for some ms."""
BREATH_S = 0.003
"""How long the loop is left to others between two pieces at the least, s; so a recording is worked on at most some
thirty times as fast as it was spoken."""
BESIDE_BREATH_S = 0.01
"""The same while somebody talks in a session."""
REST = 3.0
"""How many times as long as the model took for an utterance it is left to sessions then: recordings have a quarter of
it at most."""
_LONGEST_WAIT_S = 10.0
"""How long an utterance's text is waited for: an engine may leave one without."""
_FIRST_S = 60.0
"""How long the decoder may take until its first sound, s: Python and its imports on a busy machine take five."""
_WORDS_OF_ERRORS = 2000
_KEPT = frozenset(
    {"PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "PYTHONUTF8"}
    | {"PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "SYSTEMROOT", "VIRTUAL_ENV"}
)


@dataclass(frozen=True, slots=True)
class Segment:
    """Some words and their time.

    Attributes:
        start_ns: Media time of their beginning, ns.
        end_ns: And of their end, ns.
        text: The words.
        language: What was spoken, a BCP-47 tag.
        logprob: Mean log-probability of a token (natural log), or None where the engine says none.
    """

    start_ns: int
    end_ns: int
    text: str
    language: str
    logprob: float | None


@dataclass(slots=True)
class Heard:
    """What a graph made of a recording.

    Attributes:
        segments: Its words, in the order of time.
        rejected: What has no words: start and end (ns) and why ("not in the phrasebook").
        duration_s: How long it is, s.
    """

    segments: list[Segment] = field(default_factory=list)
    rejected: list[tuple[int, int, str]] = field(default_factory=list)
    duration_s: float = 0.0

    @property
    def text(self) -> str:
        """All words."""
        return " ".join(segment.text for segment in self.segments)

    @property
    def language(self) -> str:
        """What was spoken most of the time; "" if nothing was understood."""
        spoken: dict[str, int] = {}
        for each in self.segments:
            spoken[each.language] = spoken.get(each.language, 0) + each.end_ns - each.start_ns
        return max(spoken, key=lambda lang: spoken[lang], default="")


class Manners:
    """How fast a recording may be worked on.

    Args:
        company: Whether somebody talks in a session now.
    """

    def __init__(self, company: Callable[[], bool]) -> None:
        self._company = company
        self._asked: dict[int, float] = {}  # utterances without a text yet, and when they ended
        self._answered = asyncio.Event()
        self._owed_s = 0.0

    def note(self, message: Message) -> None:
        """Take in what the graph's bus tells."""
        now_s = time.monotonic()
        if isinstance(message, UtteranceEndMessage):
            self._asked[message.frame.utterance] = now_s
        elif isinstance(message, TranslationMessage) and message.frame.final and not message.frame.more:
            asked_s = self._asked.pop(message.frame.utterance, now_s)
            self._owed_s = REST * (now_s - asked_s)
            self._answered.set()

    async def breathe(self) -> None:
        """Leave the loop, and in company the model, to others before the next piece."""
        if not self._company():
            self._owed_s = 0.0
            await asyncio.sleep(BREATH_S)
            return
        if self._asked:
            self._answered.clear()
            try:
                async with asyncio.timeout(_LONGEST_WAIT_S):
                    await self._answered.wait()
            except TimeoutError:
                self._asked.clear()
        owed_s, self._owed_s = self._owed_s, 0.0
        await asyncio.sleep(max(BESIDE_BREATH_S, owed_s))


def _nobody() -> bool:
    return False


async def hear(
    made: FileGraph,
    recording: int,
    *,
    max_s: float,
    company: Callable[[], bool] = _nobody,
    on_segment: Callable[[Segment], None] | None = None,
) -> Heard:
    """Let a graph hear a recording.

    Args:
        made: The graph.
        recording: Descriptor of the file, which can be sought in.
        max_s: The longest there may be, s.
        company: Whether somebody talks in a session now, for whom the machine is there first.
        on_segment: Takes each segment when it is known.

    Raises:
        OpenAiError: If it cannot be decoded or is too long, or the graph fails.

    Cancelled by: the caller; the process and the graph have ended when it returns.
    """
    heard = Heard()
    decoder = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tolmach.web.decoding",
        str(max_s),
        stdin=recording,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=_environment(),
    )
    feeding: asyncio.Task[None] | None = None
    try:
        # Before anything is loaded for it.
        first = await _first(decoder)
        manners, bus = Manners(company), Bus()
        bus.subscribe(manners.note)
        playing = open_graph(made.graph, bus=bus)
        async with playing:
            feeding = asyncio.create_task(_feed(playing, decoder, first, heard, manners), name="recording")
            async for frame in playing.output(OUTPUT):
                if isinstance(frame, TranslationFrame) and frame.final:
                    _note(made, frame, heard, on_segment)
            await feeding
            await playing.wait()
    except TolmachError as error:
        if feeding is not None and feeding.done() and not feeding.cancelled():
            failed = feeding.exception()
            if isinstance(failed, OpenAiError):
                raise failed from None
        log.warning("a recording could not be worked on: %s", error)
        raise OpenAiError(500, without_paths(str(error).splitlines()[0]), type="server_error") from error
    finally:
        if feeding is not None:
            feeding.cancel()
            await asyncio.wait({feeding})
            if not feeding.cancelled():
                feeding.exception()
        await _end(decoder)
    return heard


def _environment() -> dict[str, str]:
    """What the decoder needs to run; the server's own holds its token."""
    kept = {name: value for name, value in os.environ.items() if name in _KEPT}
    return {**kept, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


async def _first(decoder: asyncio.subprocess.Process) -> bytes:
    """The first piece. Raises OpenAiError if there is none."""
    try:
        async with asyncio.timeout(_FIRST_S):
            piece = await _piece(decoder)
            if not piece:
                await _refuse(decoder)
            return piece
    except TimeoutError:
        raise OpenAiError(500, "the file could not be opened in time", type="server_error", param="file") from None


async def _feed(
    playing: RunningGraph, decoder: asyncio.subprocess.Process, piece: bytes, heard: Heard, manners: Manners
) -> None:
    """Push what the decoder gives; a recording that turns out to be refused stops the graph."""
    end = playing.input(INPUT)
    samples = 0
    try:
        while piece:
            await end.push(np.frombuffer(piece, np.int16), RATE_HZ)
            samples += len(piece) // 2
            await manners.breathe()
            piece = await _piece(decoder)
        heard.duration_s = samples / RATE_HZ
        await _refuse(decoder)
        await end.end()
    except OpenAiError:
        playing.cancel()
        raise


async def _piece(decoder: asyncio.subprocess.Process) -> bytes:
    assert decoder.stdout is not None  # noqa: S101 -- it is a pipe
    try:
        return await decoder.stdout.readexactly(RATE_HZ * 2 * PIECE_MS // 1000)
    except asyncio.IncompleteReadError as error:
        return error.partial


async def _refuse(decoder: asyncio.subprocess.Process) -> None:
    """Raise what a decoder that has ended says is wrong with its recording, if anything is."""
    assert decoder.stderr is not None  # noqa: S101 -- it is a pipe
    said = (await decoder.stderr.read(_WORDS_OF_ERRORS)).decode(errors="replace").strip()
    status = await decoder.wait()
    if status == 0:
        return
    last = without_paths(said.splitlines()[-1]) if said else ""
    if status == NOTHING_TO_DECODE:
        raise OpenAiError(400, last, param="file", code="invalid_file")
    if status == TOO_LONG:
        raise OpenAiError(413, last, param="file", code="file_too_long")
    log.warning("a decoder ended with status %s: %s", status, last)
    raise OpenAiError(400, "the file cannot be decoded", param="file", code="invalid_file")


async def _end(decoder: asyncio.subprocess.Process) -> None:
    if decoder.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            decoder.kill()
    if decoder.stdout is not None:
        while await decoder.stdout.read(1 << 16):  # a full pipe would keep its end open
            pass
    await decoder.wait()


def _note(made: FileGraph, frame: TranslationFrame, heard: Heard, on_segment: Callable[[Segment], None] | None) -> None:
    words = made.words_of(frame).strip()
    if words:
        segment = Segment(frame.pts_ns, frame.end_ns, words, frame.source_lang, frame.logprob)
        heard.segments.append(segment)
        if on_segment is not None:
            on_segment(segment)
    elif frame.rejected:
        heard.rejected.append((frame.pts_ns, frame.end_ns, frame.rejected))


def seconds(time_ns: int) -> float:
    """Media time in s, to the millisecond."""
    return round(time_ns / NS_PER_S, 3)
