"""``POST /v1/audio/speech``: a text in, the voice of a graph out.

The voice is the element that the graph speaks with in sessions, with its model, which is shared. A ``voice`` of
OpenAI's stands for the graph's own; others that may be asked for are the speakers of its model, and voices that come
with a package: nothing is loaded because a client names it.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import math
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from fastapi import FastAPI, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from tolmach.pipelines.cli.commands.speak import pieces
from tolmach.pipelines.embed import open as open_graph
from tolmach.pipelines.errors import GraphError, TolmachError
from tolmach.pipelines.frames import AudioFrame, Samples, TranslationFrame
from tolmach.pipelines.graph import Graph, Node
from tolmach.pipelines.language.builder import GraphBuilder
from tolmach.pipelines.registry import Registry
from tolmach.pipelines.speech import is_setting, known_voices
from tolmach.pipelines.tempo import TempoChanger
from tolmach.processors.languages import letters_of, primary_language, script_of
from tolmach.processors.resample.stream import StreamResampler, kernel
from tolmach.transports.files.encode import Encoder, to_int16
from tolmach.web.doors.openai.answers import event
from tolmach.web.doors.openai.asked import IGNORED
from tolmach.web.doors.openai.errors import OpenAiError, OpenAiErrorAnswer, error_fields
from tolmach.web.doors.openai.files import Released, nobody
from tolmach.web.doors.openai.jobs import ClientGone, Jobs, stopping
from tolmach.web.doors.openai.models import require_models
from tolmach.web.doors.openai.names import SPEECH_ALIASES, graph_named
from tolmach.web.errors import without_paths
from tolmach.web.openapi import described
from tolmach.web.security import client_address
from tolmach.web.service import Service

__all__ = ["OPENAI_VOICES", "add_speech", "spoken_language"]

log = logging.getLogger(__name__)

OPENAI_VOICES = frozenset(
    {"alloy", "ash", "ballad", "coral", "echo", "fable", "onyx", "nova", "sage", "shimmer", "verse", "marin", "cedar"}
)
"""Names that every client knows; here they are the voice that the graph has."""
MAX_INPUT = 4096
"""Longest text, characters: OpenAI's own bound."""
AT_ONCE, WAITING = 2, 14
MOST_S = 120.0
"""How long a text may take to be spoken, and its sound to be taken, s: five minutes of speech."""
PCM_HZ = 24_000
"""Rate of ``pcm``, as OpenAI's: 16 bits, little end first, mono."""
_WHOLE_TEMPO = 2.0
_FORMATS: Mapping[str, tuple[str, str]] = {
    "mp3": (".mp3", "audio/mpeg"),
    "opus": (".opus", "audio/ogg"),
    "aac": (".aac", "audio/aac"),
    "flac": (".flac", "audio/flac"),
    "wav": (".wav", "audio/wav"),
    "pcm": ("", "audio/pcm"),
}
_VARIANT = re.compile(r"[A-Za-z0-9_+-]{1,64}")
"""A name that can be no path and no address."""


class VoiceName(BaseModel):
    """A voice by its id."""

    model_config = ConfigDict(extra="forbid")
    id: str = Field(max_length=64)


class SpeechWanted(BaseModel):
    """A text to be spoken."""

    model_config = ConfigDict(extra="forbid", title="SpeechWanted")

    input: str = Field(min_length=1, max_length=MAX_INPUT, description="The text.")
    model: str = Field(max_length=200, description="Name of a graph, whose voice speaks.")
    voice: str | VoiceName = Field("default", description="One of OpenAI's names, `default`, a speaker or a voice.")
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] = "mp3"
    speed: float = Field(1.0, ge=0.25, le=4.0)
    stream_format: Literal["audio", "sse"] = "audio"
    instructions: str | None = Field(None, max_length=MAX_INPUT, description="Has no effect.")
    language: str | None = Field(
        None, pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$", description="Ours: language of the text, BCP-47."
    )

    @property
    def voice_name(self) -> str:
        """The voice, however it was given."""
        return self.voice if isinstance(self.voice, str) else self.voice.id


def add_speech(app: FastAPI, service: Service) -> Jobs:
    """Add the route; returns its places."""
    jobs = Jobs("texts", AT_ONCE, WAITING)
    answers = described("audio/mpeg", 404, 429, summary="Say a text", errors=OpenAiErrorAnswer)
    sound: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
    media: dict[str, Any] = {kind: sound for _, kind in _FORMATS.values()}
    answers["responses"][200]["content"] = media | {"text/event-stream": {"schema": {"type": "string"}}}

    @app.post("/v1/audio/speech", **answers)
    async def speech(wanted: SpeechWanted, request: Request) -> Response:
        """Say a text."""
        place = jobs.enter(client_address(request.scope))
        try:
            live = graph_named(service, wanted.model, SPEECH_ALIASES)
            assert live.graph is not None  # noqa: S101 -- graph_named's
            speaking = await asyncio.to_thread(_speech_graph, live.graph, wanted)
            await require_models(live.name, speaking.graph)
            work = _Work(jobs, wanted, speaking)
            started = place.begin(work.run(), "speech")
            await place.wait(request, work.begun(started))
            streamed = wanted.stream_format == "sse"
            kind = "text/event-stream" if streamed else _FORMATS[wanted.response_format][1]
            headers = {IGNORED: "instructions"} if wanted.instructions else {}
            response = Released(
                work.events(started) if streamed else work.sound(started), place, media_type=kind, headers=headers
            )
            place = None  # type: ignore[assignment]  # the answer's, from here on
            return response
        except ClientGone:
            return nobody()
        finally:
            if place is not None:
                await place.leave()

    return jobs


@dataclass(frozen=True, slots=True)
class _Speaking:
    graph: Graph
    lang: str


def spoken_language(text: str, langs: tuple[str, ...]) -> str:
    """Which of a voice's languages a text is in, by the script of most of its letters; of equals the first.

    >>> spoken_language("Где вокзал?", ("en", "ru")), spoken_language("12", ("en", "ru"))
    ('ru', 'en')
    """
    letters = [letter for letter in text if letter.isalpha()]

    def fits(lang: str) -> int:
        belongs = letters_of(script_of(lang))
        return sum(map(belongs, letters)) if belongs is not None else 0

    return max(langs, key=fits)


def _speech_graph(graph: Graph, wanted: SpeechWanted) -> _Speaking:
    """The graph that says a text with the voice of another one. Blocks. Raises OpenAiError if it cannot."""
    nodes: dict[str, Node] = {}
    for each in graph.nodes.values():
        for spoken in _langs(graph, each):
            nodes.setdefault(spoken, each)
    if not nodes:
        raise OpenAiError(400, f"{graph.name} has no voice", param="model")
    lang = _language(wanted, tuple(nodes))
    node = nodes[lang]
    settings = _voice(graph, node, lang, wanted.voice_name)
    try:
        validated = node.spec.settings(**settings)
        caps = str(next(pad.caps for pad in node.spec.pads_for(validated) if pad.direction == "sink"))
        builder = GraphBuilder("speech", commercial=graph.commercial)
        builder.add("in", "app_src", caps=caps)
        builder.add("voice", node.spec.type, on_error="fail", **settings)
        builder.add("out", "app_sink")
        builder.link("in", "voice", "out")
        return _Speaking(builder.build(), lang)
    except (GraphError, ValueError) as error:
        said = without_paths(str(error).splitlines()[0])
        raise OpenAiError(400, f"{graph.name} cannot say that: {said}", param="voice") from error


def _langs(graph: Graph, node: Node) -> tuple[str, ...]:
    return tuple(node.spec.speaks(graph.settled(node.name))) if node.spec.speaks is not None else ()


def _language(wanted: SpeechWanted, langs: tuple[str, ...]) -> str:
    if wanted.language is None:
        return spoken_language(wanted.input, langs)
    for lang in langs:
        if primary_language(lang) == primary_language(wanted.language):
            return lang
    raise OpenAiError(400, f"{wanted.model} speaks {', '.join(langs)}, not {wanted.language!r}", param="language")


def _voice(graph: Graph, node: Node, lang: str, name: str) -> dict[str, Any]:
    """The voice's settings in the graph, or those with which it speaks as somebody else.

    Raises:
        OpenAiError: If nobody is called so whom a client may ask for.
    """
    settings = {key: getattr(node.settings, key) for key in node.settings.model_fields_set}
    if name in OPENAI_VOICES or name == "default":
        return settings
    speakers = node.settings.choices_of("speaker")
    if name in map(str, speakers):
        return {**settings, "speaker": name}
    spec = node.spec
    known = [
        voice.voice.name
        for voice in known_voices(Registry.default(), lang)
        if voice.spec.type == spec.type and voice.place == "package"
    ]
    listed = name in known or (bool(known) and _VARIANT.fullmatch(name) is not None and is_setting(spec, lang, name))
    if spec.voice_settings is not None and listed:
        chosen = dict(spec.voice_settings(lang, name))
        others = {"voices", "speaker", "lang", "voice", "model"} - set(chosen)
        return {key: value for key, value in settings.items() if key not in others} | chosen
    there = ", ".join([*map(str, speakers), *known]) or "no other"
    raise OpenAiError(400, f"{graph.name} has no voice {name[:64]!r}; in {lang} it has {there}", param="voice")


class _Buffer:
    """Where the encoder writes; it cannot be sought in, so nothing is held back."""

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, data: bytes, /) -> int:
        self._data += data
        return len(data)

    def seekable(self) -> bool:
        return False

    def take(self) -> bytes:
        """What was written since the last time."""
        taken, self._data = bytes(self._data), bytearray()
        return taken


class _Sound:
    """Samples in, bytes of a format out; blocks."""

    def __init__(self, wanted: SpeechWanted, rate_hz: int) -> None:
        self._suffix = _FORMATS[wanted.response_format][0]
        self._buffer = _Buffer()
        # Beyond twice the speed whole sounds are lost between two windows; two steps lose fewer.
        steps = 1 if 1 / _WHOLE_TEMPO <= wanted.speed <= _WHOLE_TEMPO else 2
        tempo = wanted.speed if steps == 1 else math.sqrt(wanted.speed)
        self._tempo = [TempoChanger(rate_hz, tempo) for _ in range(steps)] if wanted.speed != 1.0 else []
        raw = not self._suffix
        self._encoder = None if raw else Encoder(self._buffer, self._suffix, rate_hz, 1)
        self._resampler = StreamResampler(kernel(rate_hz, PCM_HZ), 1) if raw and rate_hz != PCM_HZ else None

    def add(self, samples: Samples) -> bytes:
        """Take float32[n, 1]."""
        for changer in self._tempo:
            samples = changer.process(samples.ravel())
        return self._encode(samples.reshape(-1, 1))

    def finish(self) -> bytes:
        """The end."""
        rest: Samples = np.zeros(0, np.float32)
        for changer in self._tempo:
            rest = np.concatenate((changer.process(rest), changer.flush()))
        data = self._encode(rest.reshape(-1, 1))
        if self._encoder is not None:
            self._encoder.close()
            return data + self._buffer.take()
        return data + (to_int16(self._resampler.flush())[0].tobytes() if self._resampler is not None else b"")

    def abort(self) -> None:
        """Give libav's memory back. Safe twice."""
        if self._encoder is not None:
            self._encoder.abort()

    def _encode(self, samples: Samples) -> bytes:
        if self._encoder is not None:
            self._encoder.write([samples])
            return self._buffer.take()
        if self._resampler is not None:
            samples = self._resampler.push(samples)
        return to_int16(samples)[0].tobytes()


class _Work:
    """A text that is spoken, and its sound so far."""

    def __init__(self, jobs: Jobs, wanted: SpeechWanted, speaking: _Speaking) -> None:
        self._jobs = jobs
        self._wanted = wanted
        self._speaking = speaking
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue(64)
        self._come = asyncio.Event()

    async def run(self) -> None:
        """Wait for a turn and speak. Cancelled by: leaving the place.

        Raises:
            OpenAiError: If there is nothing to say, or the voice fails.
        """
        try:
            async with self._jobs.turn(), asyncio.timeout(MOST_S):
                await self._speak()
        except TimeoutError as error:
            raise OpenAiError(500, f"the text took longer than {MOST_S:g} s", type="server_error") from error
        except TolmachError as error:
            log.warning("a text could not be spoken: %s", error)
            raise OpenAiError(500, without_paths(str(error).splitlines()[0]), type="server_error") from error
        finally:
            self._come.set()

    async def _speak(self) -> None:
        sound: _Sound | None = None
        try:
            async with open_graph(self._speaking.graph) as playing:
                saying = asyncio.create_task(self._say(playing.input("in")), name="say")
                try:
                    async for frame in playing.output("out"):
                        if isinstance(frame, AudioFrame):
                            sound = sound or _Sound(self._wanted, frame.rate_hz)
                            await self._put(await asyncio.to_thread(sound.add, frame.samples[:, :1]))
                    await saying
                finally:
                    saying.cancel()
                    await asyncio.wait({saying})
            if sound is None:
                raise OpenAiError(400, f"the voice can say nothing of that in {self._speaking.lang}", param="input")
            await self._put(await asyncio.to_thread(sound.finish))
        finally:
            if sound is not None:
                sound.abort()

    async def _say(self, into: Any) -> None:
        for number, piece in enumerate(pieces(self._wanted.input), start=1):
            await into.push_frame(TranslationFrame(number, 0, 0, "", self._speaking.lang, piece))
        await into.end()

    async def _put(self, data: bytes) -> None:
        if data:
            await self._pieces.put(data)
            self._come.set()

    async def begun(self, started: asyncio.Task[None]) -> None:
        """Wait for the first sound. Raises what went wrong before it."""
        await self._come.wait()
        if self._pieces.empty():
            await asyncio.wait({started})
            if started.cancelled():
                raise stopping()
            started.result()

    async def sound(self, started: asyncio.Task[None]) -> AsyncIterator[bytes]:
        """The pieces. Raises what goes wrong, which ends the connection: half an answer is out."""
        getting: asyncio.Task[bytes | None] | None = None
        try:
            # A piece that was taken out already counts, too.
            while not started.done() or not self._pieces.empty() or (getting is not None and getting.done()):
                getting = getting or asyncio.create_task(self._pieces.get())
                await asyncio.wait({getting, started}, return_when=asyncio.FIRST_COMPLETED)
                if getting.done():
                    piece, getting = getting.result(), None
                    yield piece or b""
        finally:
            if getting is not None:
                getting.cancel()
        if started.cancelled():
            raise stopping()
        started.result()

    async def events(self, started: asyncio.Task[None]) -> AsyncIterator[bytes]:
        """The same as server-sent events."""
        try:
            async for piece in self.sound(started):
                yield event({"type": "speech.audio.delta", "audio": base64.b64encode(piece).decode("ascii")})
        except OpenAiError as error:
            yield event({"type": "error", "error": error_fields(error)})
            return
        usage = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
        yield event({"type": "speech.audio.done", "usage": usage})
