"""What the Whisper model is asked about one utterance; element and model both know it."""

from __future__ import annotations

from dataclasses import dataclass

from tolmach.pipelines.frames import Samples
from tolmach.processors.ast.direction import Direction

__all__ = ["WhisperRequest"]


@dataclass(frozen=True, slots=True)
class WhisperRequest:
    """One utterance to translate.

    Attributes:
        samples: float32[n], mono, 16 kHz, [-1, 1].
        source_lang: Language that is spoken.
        transcribe: Write it down in its own language instead of translating into English.
        beam_size: Hypotheses kept in the search.
        no_speech_threshold: Probability of no speech above which an improbable text is none.
        directions: Languages one of which is spoken, with the target of each; empty where ``source_lang`` is.
        transcript: Whether what was understood is wanted too.
        segments: Whether each sentence is wanted with its span.
        words: Say which word is made from which audio; at most 30 s of it then.
        padding: Silence behind the samples where ``words`` are wanted, samples; Whisper's own window of 30 s at most.
        prefix: Tokens that the text begins with; what is wanted is what follows them.
        context: Tokens of what was said before.
        continues: What the text begins with, as it was given out already; the answer is what follows. Of audio of 30 s
            at most.
    """

    samples: Samples
    source_lang: str
    transcribe: bool
    beam_size: int
    no_speech_threshold: float
    directions: tuple[Direction, ...] = ()
    transcript: bool = False
    segments: bool = False
    words: bool = False
    padding: int = 30 * 16000
    prefix: tuple[int, ...] = ()
    context: tuple[int, ...] = ()
    continues: str = ""
