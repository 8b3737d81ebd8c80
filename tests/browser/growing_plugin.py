"""A translator for the page's tests: it knows what is said, and tells it in parts while it is being said.

An element like any other, in a distribution of its own (:func:`install`); only what it says is settled beforehand, so
that each state of a caption stands on the page for as long as the test wants to look at it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tolmach.pipelines.bus import UnspokenMessage, VoicePaceMessage
from tolmach.pipelines.element import Context, Element, ElementSpec, Heard, Pad, Settings
from tolmach.pipelines.frames import NS_PER_MS, AudioFrame, Frame, TranslationFrame, UtteranceEnd, UtteranceStart

GRAPH = """\
version: 1
name: growing
description: Tells in parts what it knows.
params:
  source_lang: {default: auto, choices: [en, ru, auto], description: "What is spoken."}
  target_lang: {default: auto, choices: [en, ru, auto], description: "What is heard."}
elements:
  in:     {type: webrtc_src, gate_playback: false}
  fork:   {type: tee}
  back:   {type: webrtc_sink}
  to_16k: {type: resample, rate_hz: 16000}
  vad:    {type: silero_vad, hangover_ms: 600}
  ast:    {type: telling_ast, source_lang: "${param:source_lang}", target_lang: "${param:target_lang}"}
  out:    {type: fake_sink}
links:
  - in -> fork -> to_16k -> vad -> ast -> out
  - fork -> back
"""


@dataclass(frozen=True, slots=True)
class Step:
    """What is said of an utterance once so much of it was heard, ms; None at its end."""

    after_ms: int | None
    frame: dict[str, Any]
    voice: dict[str, Any] = field(default_factory=dict)
    """What a voice would tell of it: how far it is behind, whether it hurries, whether it leaves the text out."""


ENGLISH = {"source_lang": "en", "target_lang": "ru", "language_confidence": 0.98}
RUSSIAN = {"source_lang": "ru", "target_lang": "en", "language_confidence": 0.97}

SAID: tuple[tuple[Step, ...], ...] = (
    (
        Step(300, {**ENGLISH, "text": "Мы при", "final": False, "source_text": "We came"}),
        Step(
            600,
            {**ENGLISH, "text": "Мы приехали", "more": True, "source_text": "We came to town"},
            {"lag_ns": 4_200 * NS_PER_MS, "tempo": 1.15},
        ),
        Step(600, {**ENGLISH, "part": 1, "text": "вечером", "final": False, "speculative": True}),
        Step(None, {**ENGLISH, "part": 1, "text": "поздно вечером.", "source_text": "late in the evening."}),
    ),
    (
        Step(300, {**ENGLISH, "text": "Поверни", "final": False}),
        Step(None, {**RUSSIAN, "text": "Turn left behind the bridge.", "source_text": "Поверните за мостом налево."}),
    ),
    (
        Step(
            None,
            {**RUSSIAN, "text": "Well.", "source_text": "Ну.", "language_confidence": 0.55, "language_kept": True},
            {"lag_ns": 12_000 * NS_PER_MS},
        ),
    ),
    (
        Step(
            300, {**ENGLISH, "text": "Когда все магазины закрыты,", "more": True, "source_text": "When all is closed,"}
        ),
        Step(300, {**ENGLISH, "part": 1, "text": "нам придётся", "final": False, "source_text": "we shall have"}),
    ),
)
"""The utterances of a session, in order; the last one stays as it is, for people do not stop for a photograph."""


class TellingSettings(Settings):
    """Settings of ``telling_ast``."""

    source_lang: Heard[str] = "auto"
    target_lang: str = "auto"


class Telling(Element):
    """Says of each utterance what :data:`SAID` has for it."""

    def __init__(self, settings: TellingSettings, context: Context) -> None:
        super().__init__(settings, context)
        self._start_ns = self._at_ns = 0
        self._told = 0

    async def process(self, frame: Frame, pad: str) -> None:
        """Tell what is due."""
        if isinstance(frame, UtteranceStart):
            self._start_ns = self._at_ns = frame.pts_ns
            self._told = 0
        elif isinstance(frame, AudioFrame | UtteranceEnd):
            await self._tell(frame.utterance or 0, frame.end_ns, over=isinstance(frame, UtteranceEnd))

    async def _tell(self, utterance: int, heard_ns: int, *, over: bool) -> None:
        steps = SAID[utterance - 1] if utterance <= len(SAID) else ()
        for step in steps[self._told :]:
            due = over if step.after_ms is None else heard_ns >= self._start_ns + step.after_ms * NS_PER_MS
            if not due:
                return
            self._told += 1
            frame = TranslationFrame(
                **{"utterance": utterance, "pts_ns": self._at_ns, "end_ns": heard_ns, **step.frame}
            )
            if frame.final:
                self._at_ns = heard_ns  # where the next part begins
            await self.context.push(frame)
            if "tempo" in step.voice:
                self.context.post(VoicePaceMessage(utterance, frame.part, **step.voice))
            elif step.voice:
                self.context.post(UnspokenMessage(utterance, frame.part, **step.voice))


SPEC = ElementSpec(
    type="telling_ast",
    summary="Tell what was known beforehand.",
    settings=TellingSettings,
    pads=(Pad.sink("audio/raw, rate=16000, channels=1, segmented=true"), Pad.src("text/x-translation")),
    build="tests.browser.growing_plugin:Telling",
)


def install(folder: Path) -> None:
    """Make a distribution of it in ``folder``, which is then to stand on the path of Python."""
    about = folder / "telling-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: telling\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[tolmach.elements]\ntelling = {__name__}:SPEC\n")
