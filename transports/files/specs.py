"""What the graph tools need to know about the file elements; imports no codec."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Annotated, Literal

from pydantic import AfterValidator, ValidationInfo, model_validator

from tolmach.pipelines.element import ElementSpec, Field, Output, Pad, Settings
from tolmach.pipelines.stdio import STDIO

__all__ = [
    "AUDIO_SUFFIXES",
    "FILE_SINK",
    "FILE_SRC",
    "JSONL_SINK",
    "MAX_CHANNELS",
    "MAX_RATE_HZ",
    "MIN_RATE_HZ",
    "SUBTITLE_SINK",
    "SUBTITLE_SUFFIXES",
    "FileSinkSettings",
    "FileSrcSettings",
    "JsonlSinkSettings",
    "Show",
    "SubtitleSinkSettings",
]

MIN_RATE_HZ = 4000
"""Below telephone quality; speech models hear nothing in it."""
MAX_RATE_HZ = 384_000
"""The highest rate studio interfaces record at; a header that says more is broken."""
MAX_CHANNELS = 8
"""7.1 surround; recordings with more channels need ``channel: mix`` or an index."""

AUDIO_SUFFIXES = (".wav", ".flac", ".opus", ".ogg")
SUBTITLE_SUFFIXES = (".srt", ".vtt")

_MAX_TIME_MS = 1_000_000_000  # eleven days: longer than any recording, small enough for ns in 64 bits


def _path(value: str) -> str:
    if "\0" in value:
        raise ValueError("a path cannot hold a NUL character")
    if re.match(r"[A-Za-z]:[^/]*[\a\b\t\n\v\f\r]", value):  # "C:\talk\new.wav" in double quotes has two of them
        raise ValueError("a backslash in double quotes begins an escape; write the path in single quotes")
    return value


def _audio_path(value: str, info: ValidationInfo) -> str:
    known = value == STDIO or info.data.get("format") is not None
    return value if known else _suffix(value, AUDIO_SUFFIXES)


def _suffix(value: str, allowed: tuple[str, ...]) -> str:
    suffix = PurePath(value).suffix.lower()
    if suffix not in allowed:
        said = f"{suffix!r}" if suffix else "no suffix"
        raise ValueError(f"the file's suffix chooses its format: {', '.join(allowed)}; {value!r} has {said}")
    return value


LanguageTag = Annotated[str, Field(pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{1,8})*$")]
FilePath = Annotated[str, Field(min_length=1), AfterValidator(_path)]
SubtitlePath = Annotated[FilePath, AfterValidator(lambda value: _suffix(value, SUBTITLE_SUFFIXES))]


class FileSrcSettings(Settings):
    """Settings of ``file_src``."""

    path: FilePath = Field(
        description="The recording; any container and codec that PyAV (FFmpeg) decodes. `-`: standard input."
    )
    track: Annotated[int, Field(ge=0, le=63)] | Literal["auto"] | LanguageTag = Field(
        "auto",
        description="Which audio track: its number, from 0, or its language; `auto`: the one in the language that the "
        "graph translates from (`source_lang`), else the default one.",
    )
    channel: Literal["mix", "all"] | Annotated[int, Field(ge=0, le=63)] = Field(
        "all", description="`all` channels, their `mix` as one, or the index of one channel, from 0."
    )
    pace: Literal["asap", "realtime"] = Field(
        "asap", description="As fast as the graph takes it, or at the pace of a live source."
    )
    start_ms: int = Field(0, ge=0, le=_MAX_TIME_MS, description="Where to begin, ms from the start, exact to a sample.")
    duration_ms: int | None = Field(
        None, ge=0, le=_MAX_TIME_MS, description="How much to read, ms; 0 or null: to the end."
    )
    chunk_ms: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        None, description="Length of the frames pushed, ms; null: 20 at the pace of a live source, else 160."
    )

    @property
    def fitting_chunk_ms(self) -> int:
        """Length of the frames, ms.

        Every frame costs the event loop the same, however short: the shipped graph runs 1.25 times as fast with 160 ms
        as with 20. Longer ones no longer overlap the detector with the translation.
        """
        return self.chunk_ms or (20 if self.pace == "realtime" else 160)


FILE_SRC = ElementSpec(
    type="file_src",
    summary="Read a recording.",
    settings=FileSrcSettings,
    pads=(
        Pad.src(
            f"audio/raw, rate=[{MIN_RATE_HZ}, {MAX_RATE_HZ}], channels=[1, {MAX_CHANNELS}], segmented=false",
            dynamic=True,
        ),
    ),
    build="tolmach.transports.files.file_src:FileSrc",
    doc="""\
Decodes wav, flac, mp3, ogg, opus, m4a, mp4, mkv and whatever else FFmpeg knows, at the file's own rate. Put
`resample` behind it.

`pts_ns` is the time in the recording: with `start_ms: 5000` the first frame says 5 s. It counts decoded samples; gaps
of more than 50 ms in the container's timestamps are filled with silence, so that subtitles still fit the film. One
wrong timestamp moves nothing; a clock that drifts is followed by stretching the audio, and a drift of more than 100 ms
in all is told (docs/adr/0012). MP3 and AAC encoder delay is cut where the file declares it (LAME tag, MP4 edit list)
and stays where it does not.

A recording whose sample rate or channels change on the way (a pre-roll, joined files, a broadcast) comes out whole, in
the format it began with. `mix` has the weights of `resample`, and mends channels in opposite phase as it does. Of
several audio tracks `auto` takes the one in the language that the graph's translation expects (`source_lang`), else the
default one; which others there are goes on the bus. Tracks of transport streams are numbered by their PIDs.

A file that is cut off or damaged gives everything that can be decoded, then one `error` message (`fatal: false`)
which says where it broke. A file with nothing to decode fails at start. `start_ms` decodes and discards what comes
before, because seeking in compressed audio gives neither the same samples nor their exact place.

`path: -` reads standard input, as much of it as the graph takes: `ffmpeg -i URL -f wav - | tolmach launch 'file_src
path=- ! …'`. An mp4 whose index stands at its end cannot be read from a pipe; whether a stream is whole is known where
its header says how long it is.""",
    example="{type: file_src, path: talk.mp3, channel: mix}",
)


class FileSinkSettings(Settings):
    """Settings of ``file_sink``."""

    format: Literal["wav", "flac", "opus", "ogg"] | None = Field(
        None, description="What to write, whatever the file is called; null: by its suffix, on standard output wav."
    )
    path: Annotated[Output[FilePath], AfterValidator(_audio_path)] = Field(
        description="The file to write; .wav, .flac, .opus or .ogg (Opus) chooses the format. `-`: standard output."
    )
    timeline: Literal["aligned", "compact"] = Field(
        "aligned",
        description="`aligned`: each utterance no earlier than its source; `compact`: one after the other.",
    )
    gap_ms: int = Field(200, ge=0, le=60_000, description="Silence between utterances in a `compact` file, ms.")
    fit: Literal["none", "slot"] = Field(
        "none",
        description="`slot`: speech that would reach beyond the start of the next source becomes faster, pitch kept.",
    )
    max_tempo: float = Field(1.3, ge=1.0, le=2.0, description="How much faster it may become with `fit: slot`.")
    length: Literal["recording", "exact", "speech"] = Field(
        "recording",
        description="How long an `aligned` file is. `recording`: as long as the recording, and longer where the last "
        "speech reaches beyond it; `exact`: that is cut; `speech`: up to the last sound.",
    )

    @model_validator(mode="after")
    def _has_slots(self) -> FileSinkSettings:
        if self.fit == "slot" and self.timeline == "compact":
            raise ValueError("fit: slot wants timeline: aligned; in a compact file speech has no slots")
        return self

    @property
    def suffix(self) -> str:
        """The suffix that says what is written."""
        if self.format is not None:
            return f".{self.format}"
        return ".wav" if self.path == STDIO else PurePath(self.path).suffix.lower()


FILE_SINK = ElementSpec(
    type="file_sink",
    summary="Write audio to a wav, flac or opus file.",
    settings=FileSinkSettings,
    pads=(Pad.sink("audio/raw, rate=[8000, 48000], channels=[1, 2]"),),
    build="tolmach.transports.files.file_sink:FileSink",
    doc="""\
Writes 16-bit samples under a temporary name in the same folder and renames the file when it is whole: a cancelled or
failed run leaves nothing behind. The bytes depend on the audio alone.

`aligned` puts each utterance at its source's start, or right behind the previous one where that is still speaking;
how late that is goes on the bus as `latency` with `utterance`, `source_start_ns`, `placed_ns`, `lag_ns` and `tempo`.
Audio that is not cut into utterances is written as it comes, with silence for gaps in its timestamps. Opus knows 8, 12,
16, 24 and 48 kHz; other rates are converted to 48 kHz. An input without any audio gives a file of 20 ms of silence.

The file is as long as the recording, which the detector in front says (`length`). With `fit: slot` an utterance has the
room up to where the source of the next one begins, the last one up to the end of the recording. Speech that needs
more loses the silence at its end, then becomes faster, up to `max_tempo`, its pitch kept. What is still too long is
neither cut nor laid over the next one: that begins right behind it, a warning says so, and the delay is caught up where
there is room again. It takes speech of one channel.
`path: -` writes standard output as it comes, wav unless `format` says otherwise. Headers then say that the length is
unknown, which ffmpeg, sox and browsers read; nothing is taken back when the run fails.""",
    timed=True,
    example="{type: file_sink, path: out/dub.wav}",
)


Show = Literal["translation", "source", "both"]
"""What stands in subtitles: the translation, the text that was understood, or the latter below the former."""


class SubtitleSinkSettings(Settings):
    """Settings of ``subtitle_sink``."""

    path: Output[SubtitlePath] = Field(description="The file to write; .srt or .vtt chooses the format.")
    show: Show = Field(
        "translation",
        description="`translation`; `source`: what was understood, in the language that was spoken; `both`: that in "
        "italics below the translation. The latter two want a translator with `transcript: true`.",
    )
    max_chars_per_line: int = Field(42, ge=10, le=200, description="Longest line, characters.")
    max_lines: int = Field(2, ge=1, le=4, description="Most lines on screen at once, in each language.")
    max_chars_per_s: int = Field(
        17, ge=5, le=100, description="Reading speed; a cue stays longer for it where there is room, characters/s."
    )


SUBTITLE_SINK = ElementSpec(
    type="subtitle_sink",
    summary="Write translations, what was understood, or both as subtitles (SubRip or WebVTT).",
    settings=SubtitleSinkSettings,
    pads=(Pad.sink("text/x-translation"),),
    build="tolmach.transports.files.subtitles:SubtitleSink",
    doc="""\
One cue per translated utterance, or per part of one that is translated while it is spoken, in balanced lines broken
after punctuation where possible; a text too long for one cue becomes several that share its time in proportion to their
length. A cue that is too short to read stays into the following silence but not over the next one. Cues of people who
speak at the same time overlap, each at its own time, and players show one above the other. Partial and rejected
translations are left out. With `show: both` a text that needs several cues is cut so that each shows the same of both
languages.

Until the stream has ended the file is called `subtitles.partial.srt`; a run that is interrupted leaves that.""",
    timed=True,
    example="{type: subtitle_sink, path: out/subtitles.srt}",
)


class JsonlSinkSettings(Settings):
    """Settings of ``jsonl_sink``."""

    path: Output[FilePath] = Field(description="The file to write, one JSON object a line. `-`: standard output.")


JSONL_SINK = ElementSpec(
    type="jsonl_sink",
    summary="Write what passes as JSON lines.",
    timed=True,
    settings=JsonlSinkSettings,
    pads=(Pad.sink("ANY"),),
    build="tolmach.transports.files.jsonl_sink:JsonlSink",
    doc="""\
One line per utterance (start, end, why it ended, what audio it has) and per translation, in order, with media times
in ns. The schema is in docs/EVENTS.md and stays compatible within `"v": 1`. The bytes depend on the frames alone.

Lines are on the disk as they come, in `events.partial.jsonl` until the stream has ended.""",
    example="{type: jsonl_sink, path: out/events.jsonl}",
)
