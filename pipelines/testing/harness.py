"""Public harness for element authors, in the spirit of GstHarness: one element alone, fed and read by hand.

async with Harness(SPEC, hangover_ms=300) as h:
await h.push(tone(1.0))
await h.eos()
assert [type(f).__name__ for f in h.output()] == [...]
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from tolmach.pipelines.bus import Message
from tolmach.pipelines.caps import Caps, FieldValue, Scalar, Structure
from tolmach.pipelines.element import Context, ElementSpec, Settings, SourceElement
from tolmach.pipelines.frames import (
    NS_PER_MS,
    AudioFrame,
    Frame,
    Samples,
    TranslationFrame,
    UtteranceEnd,
    UtterancePause,
    UtteranceStart,
    ns_to_samples,
    samples_to_ns,
)
from tolmach.pipelines.registry import load_runtime


class Harness:
    """Runs one element without a graph.

    Args:
        spec: The element's spec.
        caps: Negotiated caps by pad name, as the graph would give them; written form or :class:`Caps`.
        base_dir: Folder that relative paths start from.
        languages_behind: What the elements behind it expect to hear.
        resources: What it finds by name, as :class:`tolmach.pipelines.runtime.runner.GraphRunner` would be handed it.
        live: Whether it stands behind a source that keeps the pace of the world.
        **settings: Settings of the element.
    """

    def __init__(
        self,
        spec: ElementSpec,
        *,
        caps: Mapping[str, Caps | str] | None = None,
        base_dir: Path | None = None,
        languages_behind: tuple[str, ...] = (),
        resources: Mapping[str, object] | None = None,
        live: bool = False,
        **settings: Any,
    ) -> None:
        self.spec = spec
        self.settings = self._validated(settings)
        self.messages: list[Message] = []
        self.failures: list[BaseException] = []
        self._output: dict[str, list[Frame]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.context = Context(
            name=spec.type,
            graph="harness",
            push=self._take,
            post=self._post,
            spawn=self._spawn,
            caps={k: Caps.parse(v) if isinstance(v, str) else v for k, v in (caps or {}).items()},
            base_dir=base_dir or Path.cwd(),
            languages=languages_behind,
            resources=resources or {},
            live=live,
        )
        self.element = load_runtime(spec)(self.settings, self.context)

    def _validated(self, settings: Mapping[str, Any]) -> Settings:
        return self.spec.settings(**settings)

    async def __aenter__(self) -> Harness:
        await self.element.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def push(self, *frames: Frame, pad: str = "sink") -> None:
        """Feed frames to a sink pad, in order."""
        for frame in frames:
            await self.element.process(frame, pad)

    async def run(self) -> None:
        """Let a source produce until its end."""
        if not isinstance(self.element, SourceElement):
            raise TypeError(f"{self.spec.type} is not a source")
        await self.element.produce()

    async def eos(self) -> None:
        """End of stream on all sink pads: the element drains. Raises what a spawned task failed with."""
        await self.element.drain()
        await asyncio.sleep(0)  # a task that failed just now is recorded by its callback, one turn later
        if self.failures:
            raise self.failures[0]

    async def stop(self) -> None:
        """Stop the element and cancel the tasks it spawned."""
        await self.element.stop()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def output(self, pad: str = "src") -> list[Frame]:
        """What came out of a src pad so far, in order."""
        return list(self._output.get(pad, ()))

    def audio(self, pad: str = "src") -> Samples:
        """All audio of a src pad in one array, float32[n, channels]."""
        blocks = [f.samples for f in self.output(pad) if isinstance(f, AudioFrame)]
        return np.concatenate(blocks) if blocks else np.zeros((0, 1), np.float32)

    async def _take(self, frame: Frame, pad: str = "src") -> None:
        self._output.setdefault(pad, []).append(frame)

    def _post(self, message: Message) -> None:
        self.messages.append(replace(message, element=self.spec.type, graph="harness"))

    def _spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self.failures.append(error)


def tone(
    duration_s: float, *, rate_hz: int = 16000, channels: int = 1, freq_hz: float = 440.0, pts_ns: int = 0
) -> AudioFrame:
    """A sine of amplitude 0.5, the same in all channels."""
    t = np.arange(round(duration_s * rate_hz)) / rate_hz
    mono = (0.5 * np.sin(2 * np.pi * freq_hz * t)).astype(np.float32)
    return AudioFrame(np.repeat(mono[:, None], channels, axis=1), rate_hz, pts_ns)


def chop(frame: AudioFrame, chunk: int) -> list[AudioFrame]:
    """Cut a frame into frames of ``chunk`` samples (the last one shorter), with exact ``pts_ns``."""
    return [
        AudioFrame(
            frame.samples[at : at + chunk],
            frame.rate_hz,
            frame.pts_ns + samples_to_ns(at, frame.rate_hz),
            frame.utterance,
            frame.layout,
        )
        for at in range(0, len(frame.samples), chunk)
    ]


DEFAULT_RATE_HZ = 16000  # taken where caps leave the rate open
_SPEECH_MS, _PAUSE_MS = 700, 400  # two utterances of this length with pauses around them: 1.8 s + lead-in
_TEXTS: Mapping[str, tuple[str, ...]] = {
    "cyrl": ("Доброе утро!", "Рейс 42 задерживается на 15 минут. Спасибо за терпение."),
    "latn": ("Good morning!", "Flight 42 is delayed by 15 minutes. Thank you for your patience."),
}

_OPEN_FIELDS: Mapping[str, Mapping[str, FieldValue]] = {
    "audio/raw": {
        "rate": frozenset({DEFAULT_RATE_HZ}),
        "channels": frozenset({1}),
        "segmented": frozenset({False}),
    },
    "text/x-translation": {"lang": frozenset({"en"})},
}
"""Media that frames can be made for, and what is taken for fields the caps leave open."""


def scenarios(caps: Caps) -> list[Caps]:
    """Fixed caps to feed a sink pad with: one for each alternative and, for audio, for each value of ``segmented``.

    Raises:
        AssertionError: If a media type is none that frames can be made for.
    """
    if caps.is_any:
        caps = Caps.parse("audio/raw, segmented={false, true}")
    found: list[Caps] = []
    wanted: dict[str, Scalar] = {"rate": DEFAULT_RATE_HZ, "channels": 1, "lang": "en"}
    for structure in caps:
        if structure.media not in _OPEN_FIELDS:
            raise AssertionError(f"check_element cannot make {structure.media} frames; pass frames= and caps=")
        missing = {k: v for k, v in _OPEN_FIELDS[structure.media].items() if structure.get(k) is None}
        full = structure.with_fields(missing)
        segmented = full.get("segmented")
        for value in sorted(segmented, key=str) if isinstance(segmented, frozenset) else [None]:
            one = full if value is None else full.with_fields({"segmented": frozenset({value})})
            fixed = Caps.of([one]).fixate(wanted)
            if fixed not in found:
                found.append(fixed)
    return found


def make_frames(caps: Caps) -> list[Frame]:
    """A short stream that these fixed caps allow: audio (in utterances if segmented), or translations."""
    structure = next(iter(caps))
    if structure.media == "text/x-translation":
        return _translations(str(caps.value("lang") or "en"), caps.value("script"))
    rate_hz, channels = _int(caps.value("rate"), DEFAULT_RATE_HZ), _int(caps.value("channels"), 1)
    signal = speech_like(rate_hz, channels)
    if caps.value("segmented") is not True:
        return list(chop(AudioFrame(signal, rate_hz, 0), max(1, rate_hz // 10)))
    frames: list[Frame] = []
    for number in (1, 2):
        start = ns_to_samples((_PAUSE_MS + (number - 1) * (_SPEECH_MS + _PAUSE_MS)) * NS_PER_MS, rate_hz)
        end = start + ns_to_samples(_SPEECH_MS * NS_PER_MS, rate_hz)
        start_ns, end_ns = samples_to_ns(start, rate_hz), samples_to_ns(end, rate_hz)
        frames.append(UtteranceStart(number, start_ns))
        frames.extend(chop(AudioFrame(signal[start:end], rate_hz, start_ns, number), max(1, rate_hz // 10)))
        frames.append(UtteranceEnd(number, start_ns, end_ns))
    return frames


def speech_like(rate_hz: int, channels: int) -> Samples:
    """Two bursts of a harmonic tone at syllable rate between silences, float32[n, channels] in [-1, 1]."""
    total_ms = 3 * _PAUSE_MS + 2 * _SPEECH_MS
    t = np.arange(rate_hz * total_ms // 1000) / rate_hz
    tone = sum(np.sin(2 * np.pi * 140.0 * k * t) / k for k in (1, 2, 3, 4))
    syllables = 0.5 - 0.5 * np.cos(2 * np.pi * 4.0 * t)
    at_ms = t * 1000 % (_SPEECH_MS + _PAUSE_MS)
    mono = (0.25 * tone * syllables * (at_ms >= _PAUSE_MS)).astype(np.float32)
    # Each channel a little quieter than the one before: a swapped or dropped channel shows.
    gains = (0.9 ** np.arange(channels)).astype(np.float32)
    return np.ascontiguousarray(mono[:, None] * gains)


def rechunk(frames: Iterable[Frame], chunk_ms: int) -> list[Frame]:
    """The same stream with every audio frame cut into frames of at most ``chunk_ms``."""
    out: list[Frame] = []
    for frame in frames:
        if isinstance(frame, AudioFrame):
            out.extend(chop(frame, max(1, frame.rate_hz * chunk_ms // 1000)))
        else:
            out.append(frame)
    return out


def with_guesses(frames: Iterable[Frame]) -> list[Frame]:
    """The same stream with what may turn out otherwise: pauses, refuted and confirmed, and speculative texts."""
    out: list[Frame] = []
    start: UtteranceStart | None = None
    for frame in frames:
        if isinstance(frame, TranslationFrame) and frame.final and frame.text:
            guess = dataclasses.replace(frame, final=False, speculative=True)
            out += [dataclasses.replace(guess, text=frame.text.split()[0]), guess]
        out.append(frame)
        if isinstance(frame, UtteranceStart):
            start = frame
        elif isinstance(frame, AudioFrame) and start is not None and frame.utterance == start.utterance:
            out.append(UtterancePause(start.utterance, start.pts_ns, frame.end_ns, frame.end_ns))
    return out


def is_guess(frame: Frame) -> bool:
    """Whether it says only what may be (:func:`with_guesses`)."""
    return isinstance(frame, UtterancePause) or (isinstance(frame, TranslationFrame) and frame.speculative)


def private_copy(frames: Sequence[Frame]) -> list[Frame]:
    """Frames whose samples nobody else holds, so that a write into them can be told."""
    return [dataclasses.replace(f, samples=f.samples.copy()) if isinstance(f, AudioFrame) else f for f in frames]


def same_frames(a: Sequence[Frame], b: Sequence[Frame]) -> bool:
    """Whether two lists hold equal frames; samples are compared to the bit."""
    return len(a) == len(b) and all(_parts(x) == _parts(y) for x, y in zip(a, b, strict=True))


def without_chunking(frames: Iterable[Frame]) -> list[tuple[Any, ...]]:
    """A stream with its chunking taken away: neighbouring audio of one utterance becomes one item."""
    items: list[tuple[Any, ...]] = []
    blocks: list[AudioFrame] = []

    def flush() -> None:
        if blocks:
            first = blocks[0]
            samples = np.concatenate([b.samples for b in blocks])
            items.append(("AudioFrame", first.rate_hz, first.utterance, first.pts_ns, samples.shape, samples.tobytes()))
            blocks.clear()

    for frame in frames:
        if isinstance(frame, AudioFrame):
            if blocks and (blocks[0].utterance, blocks[0].rate_hz) != (frame.utterance, frame.rate_hz):
                flush()
            blocks.append(frame)
        else:
            flush()
            items.append(_parts(frame))
    flush()
    return items


def renumbered(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Outputs (of :func:`without_chunking`, by pad), utterances numbered from 0 in the order in which they appear."""
    numbers: dict[int | None, int | None] = {None: None}

    def number(item: tuple[Any, ...]) -> tuple[Any, ...]:
        kind, rate_or_number, *rest = item
        if kind == "AudioFrame":
            rest[0] = numbers.setdefault(rest[0], len(numbers) - 1)
        else:
            rate_or_number = numbers.setdefault(rate_or_number, len(numbers) - 1)
        return (kind, rate_or_number, *rest)

    return {name: [number(i) for i in v] if isinstance(v, list) else v for name, v in outputs.items()}


@dataclass(slots=True)
class StreamRules:
    """What a stream out of one src pad must keep to; :meth:`see` each frame, then :meth:`end`.

    Attributes:
        where: Element and pad, for the messages.
        caps: What the pad promises.
        ordered: Whether media time may not run backwards (not where several inputs are merged).
    """

    where: str
    caps: Caps
    ordered: bool = True
    _open: int | None = None
    _audio_ns: int = -1
    _start_ns: int = -1
    _text_ns: int = -1

    def see(self, frame: Frame) -> None:
        """Check the next frame. Raises AssertionError."""
        if isinstance(frame, AudioFrame):
            self._see_audio(frame)
        elif isinstance(frame, TranslationFrame):
            self._fits("text/x-translation", {"lang": frame.target_lang}, frame)
            self._require(frame.end_ns >= frame.pts_ns, f"a translation ends before it begins: {frame}")
            self._require(
                not self.ordered or frame.pts_ns >= self._text_ns, f"pts_ns runs backwards to {frame.pts_ns} ns"
            )
            self._text_ns = frame.pts_ns
        elif isinstance(frame, UtteranceStart):
            self._segmented(frame)
            self._require(
                self._open is None, f"utterance {frame.utterance} starts while {self._open} is open; end that one first"
            )
            self._require(
                not self.ordered or frame.pts_ns >= self._start_ns,
                f"UtteranceStart runs backwards to {frame.pts_ns} ns",
            )
            self._open, self._start_ns, self._audio_ns = frame.utterance, frame.pts_ns, -1
        elif isinstance(frame, UtterancePause):
            self._segmented(frame)
            self._require(
                self._open == frame.utterance, f"utterance {frame.utterance} pauses, but {self._open} is the open one"
            )
        elif isinstance(frame, UtteranceEnd):
            self._segmented(frame)
            self._require(
                self._open == frame.utterance, f"utterance {frame.utterance} ends, but {self._open} is the open one"
            )
            self._require(frame.end_ns >= frame.pts_ns, f"an utterance ends before it begins: {frame}")
            self._open = None
        else:
            raise AssertionError(
                f"{self.where}: pushed a {type(frame).__name__}, which is no frame of tolmach.pipelines.frames"
            )

    def end(self) -> None:
        """The stream has ended. Raises AssertionError if an utterance is still open."""
        self._require(
            self._open is None, f"utterance {self._open} is still open after drain(): push its UtteranceEnd there"
        )

    def _see_audio(self, frame: AudioFrame) -> None:
        samples = frame.samples
        self._require(
            isinstance(samples, np.ndarray) and samples.dtype == np.float32 and samples.ndim == 2,
            f"samples must be float32[n, channels], not {getattr(samples, 'dtype', type(samples))}"
            f"{list(getattr(samples, 'shape', []))}",
        )
        self._require(len(samples) > 0, "pushed an audio frame without samples; push nothing instead")
        self._require(bool(np.isfinite(samples).all()), "samples hold NaN or infinity")
        fields: dict[str, Scalar] = {
            "rate": frame.rate_hz,
            "channels": frame.channels,
            "segmented": frame.utterance is not None,
        }
        self._fits("audio/raw", fields, frame)
        self._require(
            frame.utterance == self._open,
            f"audio carries utterance={frame.utterance} while {self._open} is the open one",
        )
        self._require(
            not self.ordered or frame.pts_ns > self._audio_ns,
            f"pts_ns must grow: {frame.pts_ns} ns follows {self._audio_ns} ns; derive it from a running sample count",
        )
        self._audio_ns = frame.pts_ns

    def _fits(self, media: str, fields: Mapping[str, Scalar], frame: Frame) -> None:
        actual = Structure.of(media, {k: frozenset({v}) for k, v in fields.items()})
        self._require(
            Caps.of([actual]).can_intersect(self.caps),
            f"pushed {type(frame).__name__} that is {actual}, but the pad promises {self.caps}",
        )

    def _segmented(self, frame: Frame) -> None:
        allowed = Caps.parse("audio/raw, segmented=true ; text/x-translation")
        self._require(
            self.caps.can_intersect(allowed),
            f"pushed {type(frame).__name__} on a pad that promises {self.caps}: utterances belong to segmented streams",
        )

    def _require(self, condition: bool, text: str) -> None:
        if not condition:
            raise AssertionError(f"{self.where}: {text}")


def _translations(lang: str, script: Scalar | None) -> list[Frame]:
    texts = _TEXTS.get(str(script or ("cyrl" if lang in ("ru", "uk", "bg", "be", "sr", "kk") else "latn")), ())
    if not texts:
        texts = _TEXTS["latn"]
    source = "ru" if lang == "en" else "en"
    frames: list[Frame] = []
    for number, text in enumerate(texts, start=1):
        start_ns, end_ns = number * 2_000 * NS_PER_MS, (number * 2_000 + 1_500) * NS_PER_MS
        partial = TranslationFrame(number, start_ns, end_ns, source, lang, text.split()[0], final=False)
        frames += [partial, dataclasses.replace(partial, text=text, logprob=-0.1, final=True)]
    last = len(texts) + 1
    frames.append(
        TranslationFrame(
            last, last * 2_000 * NS_PER_MS, (last * 2_000 + 500) * NS_PER_MS, source, lang, "", rejected="no speech"
        )
    )
    return frames


def _parts(frame: Frame) -> tuple[Any, ...]:
    values = (getattr(frame, f.name) for f in dataclasses.fields(frame))
    plain = ((v.shape, v.tobytes()) if isinstance(v, np.ndarray) else v for v in values)
    return (type(frame).__name__, *plain)


def _int(value: Scalar | None, default: int) -> int:
    return int(value) if isinstance(value, int) else default
