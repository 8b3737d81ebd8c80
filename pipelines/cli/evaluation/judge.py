"""How well the dub is understood: what a voice said is written down by Whisper and compared with what it was given.

The judge is a graph as well: the sound of the voice, a detector, ``whisper_ast`` from a language into itself. It hears
each recording's voice alone, a second of silence between utterances. Whisper base mishears about 6 % of clean English
and 3 % of clean Russian itself, so the figure is for comparing voices, not for a prize.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tolmach.pipelines.bus import Message, TranslationMessage
from tolmach.pipelines.cli.evaluation.alignment import Span, belongs_to
from tolmach.pipelines.cli.evaluation.quality import word_errors
from tolmach.pipelines.errors import GraphError, TolmachError
from tolmach.pipelines.frames import NS_PER_S, TranslationFrame
from tolmach.pipelines.graph import Graph
from tolmach.pipelines.language.builder import GraphBuilder
from tolmach.pipelines.models.caches import missing_in, missing_text

MODEL = "package:base"
"""What judges unless another model is named: weights from the package registry (the extra whisper-offline)."""

MAX_MISHEARD = 50
"""Utterances that are told apart, the most misheard ones."""


@dataclass(frozen=True, slots=True)
class Misheard:
    """An utterance of the dub and what the judge heard.

    Attributes:
        recording: Its recording.
        lang: Language of the dub.
        utterance: Its number.
        said: What the voice was given.
        heard: What the judge heard.
        errors: Words that differ.
        words: Words that were given.
    """

    recording: str
    lang: str
    utterance: int
    said: str
    heard: str
    errors: int
    words: int


def judge_graph(sound: Path, lang: str, model: str = MODEL) -> Graph:
    """The graph that listens to a voice.

    Raises:
        GraphError: If Whisper does not know the language.
    """
    builder = GraphBuilder("judge")
    builder.add("in", "file_src", path=str(sound))
    builder.add("to_16k", "resample", rate_hz=16000, channels=1)
    builder.add("vad", "silero_vad")
    # Whatever it hears counts: a gate would turn mishearing into silence.
    builder.add("ast", "whisper_ast", model=model, source_lang=lang, target_lang=lang, min_logprob=-100)
    builder.add("out", "fake_sink")
    builder.link("in", "to_16k", "vad", "ast", "out")
    return builder.build()


def require_judge(model: str = MODEL) -> None:
    """Say at once what is missing, before hours are spent.

    Raises:
        GraphError: If the model is not there, with what to do.
    """
    missing = missing_in(judge_graph(Path("voice.wav"), "en", model))
    if missing:
        raise GraphError(f"--judge: {missing_text('whisper', missing)}")


async def judge(results: dict[str, Any], folder: Path, model: str = MODEL) -> None:
    """Listen to every voice and put ``judge`` into the results.

    Args:
        results: The contents of ``eval.json``, to which it is added.
        folder: Of the evaluation.
        model: The Whisper model.

    Raises:
        ModelError: If the model cannot be loaded.

    Cancelled by: the caller.
    """
    found: list[Misheard] = []
    for row in results["recordings"]:
        voices = [v for v in row.get("voice", ()) if v["file"] and v["text"].strip()]
        for file in dict.fromkeys(v["file"] for v in voices):
            mine = [v for v in voices if v["file"] == file]
            try:
                heard = await _listen(folder / row["folder"] / file, row["target_lang"], model)
            except GraphError as error:  # a language that Whisper does not know
                results["notes"].append(f"The dub of {row['name']} was not judged: {str(error).splitlines()[0]}.")
                continue
            found += _compared(row, mine, heard)
    worst = sorted((m for m in found if m.errors), key=lambda m: (-m.errors / max(1, m.words), m.recording))
    results["judge"] = {
        "model": model,
        **_rate(found),
        "by_language": {lang: _rate([m for m in found if m.lang == lang]) for lang in sorted({m.lang for m in found})},
        "misheard": [
            {
                "recording": m.recording,
                "lang": m.lang,
                "utterance": m.utterance,
                "said": m.said,
                "heard": m.heard,
                "errors": m.errors,
            }
            for m in worst[:MAX_MISHEARD]
        ],
    }


def _rate(found: Sequence[Misheard]) -> dict[str, Any]:
    words, errors = sum(m.words for m in found), sum(m.errors for m in found)
    rate = round(errors / words, 4) if words else None
    return {"utterances": len(found), "words": words, "errors": errors, "word_error_rate": rate}


async def _listen(sound: Path, lang: str, model: str) -> list[TranslationFrame]:
    from tolmach.pipelines.runtime.runner import GraphRunner  # pipecat, which a wrong command need not wait for

    texts: list[TranslationFrame] = []

    def take(message: Message) -> None:
        if isinstance(message, TranslationMessage) and message.frame.final:
            texts.append(message.frame)

    runner = GraphRunner(judge_graph(sound, lang, model))
    runner.bus.subscribe(take)
    result = await runner.run()
    if isinstance(result.error, TolmachError):
        raise result.error
    return texts


def _compared(
    row: dict[str, Any], voices: Sequence[dict[str, Any]], heard: Sequence[TranslationFrame]
) -> list[Misheard]:
    spans = [Span(v["offset_s"], v["offset_s"] + v["duration_s"], "") for v in voices]
    texts: list[list[str]] = [[] for _ in voices]
    for frame in heard:
        at = belongs_to(frame.pts_ns / NS_PER_S, frame.end_ns / NS_PER_S, spans)
        if at is not None and frame.text:
            texts[at].append(frame.text)
    found, lang = [], row["target_lang"]
    for voice, each in zip(voices, texts, strict=True):
        wrong = word_errors(" ".join(each), voice["text"], lang)
        found.append(
            Misheard(row["name"], lang, voice["utterance"], voice["text"], " ".join(each), wrong.errors, wrong.words)
        )
    return found
