"""A recording's words as clients want them: JSON, plain text, SubRip, WebVTT, events."""

from __future__ import annotations

import json
import math
import zlib
from typing import Any

from pydantic import BaseModel, Field
from starlette.responses import PlainTextResponse, Response

from tolmach.processors.languages import language_name
from tolmach.transports.files.subtitles import Layout, SubtitleWriter
from tolmach.web.doors.openai.asked import Asked
from tolmach.web.doors.openai.recording import Heard, Segment, seconds
from tolmach.web.errors import AsciiJson

__all__ = ["VerboseWords", "Words", "answer", "delta_event", "done_event", "event"]


class Words(BaseModel):
    """The words of a recording."""

    text: str
    usage: dict[str, Any] | None = Field(None, description="Its length: type `duration`, `seconds`.")


class VerboseWords(Words):
    """The same with what is known of them (``response_format`` verbose_json)."""

    task: str
    language: str = Field(description="English name of the language, in lower case.")
    duration: float = Field(description="Length of the recording, s.")
    segments: list[dict[str, Any]]
    rejected: list[dict[str, Any]] = Field(description="Ours: what was heard and has no words, and why.")


def answer(asked: Asked, heard: Heard) -> Response:
    """The answer to a request that waits for all of it."""
    match asked.format:
        case "json":
            return AsciiJson({"text": heard.text, "usage": _usage(heard)}, headers=asked.headers)
        case "verbose_json":
            return AsciiJson(_verbose(asked, heard), headers=asked.headers)
        case "text":
            return PlainTextResponse(heard.text + "\n", headers=asked.headers)
        case "srt" | "vtt":
            return PlainTextResponse(_subtitles(heard, vtt=asked.format == "vtt"), headers=asked.headers)


def event(fields: dict[str, Any]) -> bytes:
    """A server-sent event, called as its ``type`` says."""
    text = json.dumps(fields, separators=(",", ":"))
    return f"event: {fields['type']}\ndata: {text}\n\n".encode("ascii")


def delta_event(text: str) -> bytes:
    """Words that have come, as they go behind those before."""
    return event({"type": "transcript.text.delta", "delta": text})


def done_event(heard: Heard) -> bytes:
    """All of them."""
    languages = [{"code": heard.language}] if heard.language else []
    return event({"type": "transcript.text.done", "text": heard.text, "languages": languages})


def _usage(heard: Heard) -> dict[str, Any]:
    return {"type": "duration", "seconds": math.ceil(heard.duration_s)}


def _verbose(asked: Asked, heard: Heard) -> dict[str, Any]:
    # OpenAI's names of languages are English words in lower case; of a translation it is that of the output.
    tag = asked.wish.target_lang if asked.wish.task == "translate" else heard.language
    return {
        "task": asked.wish.task,
        "language": language_name(tag).lower() if tag else "",
        "duration": round(heard.duration_s, 3),
        "text": heard.text,
        "segments": [_segment(number, segment) for number, segment in enumerate(heard.segments)],
        "usage": _usage(heard),
        # Ours: what was heard and has no words.
        "rejected": [{"start": seconds(a), "end": seconds(b), "reason": why} for a, b, why in heard.rejected],
    }


def _segment(number: int, segment: Segment) -> dict[str, Any]:
    data = segment.text.encode()
    return {
        "id": number,
        "seek": 0,
        "start": seconds(segment.start_ns),
        "end": seconds(segment.end_ns),
        "text": segment.text,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": segment.logprob if segment.logprob is not None else 0.0,
        # As Whisper computes it (whisper.utils.compression_ratio).
        "compression_ratio": round(len(data) / len(zlib.compress(data)), 3),
        "no_speech_prob": 0.0,
        "language": segment.language,  # ours
    }


def _subtitles(heard: Heard, *, vtt: bool) -> str:
    writer = SubtitleWriter(Layout(), vtt=vtt)
    parts = [writer.head]
    for number, segment in enumerate(heard.segments):
        parts.append(writer.add(number, segment.start_ns, segment.end_ns, segment.text))
    return "".join([*parts, writer.finish()])
