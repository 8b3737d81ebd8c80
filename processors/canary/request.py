"""What travels to the host of a Canary model."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.frames import Samples


@dataclass(frozen=True, slots=True)
class CanaryRequest:
    """One utterance to translate.

    Attributes:
        samples: float32[n], mono, 16 kHz, [-1, 1].
        source_lang: Language that is spoken.
        target_lang: Language of the text; the same as ``source_lang`` transcribes.
        max_tokens: Most tokens of the text, or None for the model's own bound.
    """

    samples: Samples
    source_lang: str
    target_lang: str
    max_tokens: int | None = None
