"""A translation that grows while somebody speaks: what the engine is asked next, and what of its answers goes out.

Everything here is a pure state machine on sample counts; it knows no frames, event loops or models.
:mod:`tolmach.processors.ast.simultaneous` runs it in a graph.
"""

from __future__ import annotations

from dataclasses import dataclass

from tolmach.pipelines.frames import Samples

__all__ = ["GrowingRequest"]


@dataclass(frozen=True, slots=True)
class GrowingRequest:
    """What an engine is asked about audio that still grows.

    The answer is a :class:`tolmach.processors.ast.hypothesis.Hypothesis` with ``words``: the text behind the prefix.

    Attributes:
        samples: float32[n], mono, 16 kHz, [-1, 1]: the audio that is kept.
        prefix: Tokens of what was committed as the translation of the front of ``samples`` (:attr:`Word.tokens`,
            joined): the decoder is forced to begin with them.
        context: Tokens of what was committed before ``samples`` begin; for an engine that can be shown earlier text
            without being made to repeat it. Bounded.
        complete: No audio follows: the speaker has finished, or the audio was cut here.
    """

    samples: Samples
    prefix: tuple[int, ...] = ()
    context: tuple[int, ...] = ()
    complete: bool = False
