"""The media frames that travel in a graph.

Frames are plain immutable values that import nothing heavy; :mod:`tolmach.pipelines.runtime.processor` puts them in an
envelope that pipecat can carry. All of them are *ordered data*: what leaves a pad first arrives first, whatever its
kind.

Time is media time: ``pts_ns`` counts nanoseconds from the start of the recording (or of the session, for live sources)
and is always derived from sample counts, never from a clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000

Samples: TypeAlias = npt.NDArray[np.float32]


def samples_to_ns(samples: int, rate_hz: int) -> int:
    """Duration of ``samples`` sample periods at ``rate_hz``, ns, rounded to nearest.

    Always call it on a running total, not on a chunk: the rounding then never accumulates.
    """
    return (samples * NS_PER_S + rate_hz // 2) // rate_hz


def ns_to_samples(duration_ns: int, rate_hz: int) -> int:
    """Sample periods in ``duration_ns`` at ``rate_hz``, rounded to nearest; inverse of :func:`samples_to_ns`."""
    return (duration_ns * rate_hz + NS_PER_S // 2) // NS_PER_S


@dataclass(frozen=True, slots=True)
class AudioFrame:
    """A run of consecutive samples.

    Attributes:
        samples: float32[n, channels], C order, nominal range [-1, 1]. Treat it as read-only: a tee hands the same
            array to every branch.
        rate_hz: Sample rate, Hz.
        pts_ns: Media time of the first sample, ns.
        utterance: The utterance this audio belongs to, or None in an unsegmented stream.
        layout: The loudspeaker each channel is for, in FFmpeg's short names (``FL``, ``FR``, ``FC``, ``LFE``, …); empty
            for the usual layout of their number (:data:`tolmach.pipelines.channels.DEFAULT_LAYOUTS`).
    """

    samples: Samples
    rate_hz: int
    pts_ns: int
    utterance: int | None = None
    layout: tuple[str, ...] = ()

    @property
    def channels(self) -> int:
        """Number of channels."""
        return int(self.samples.shape[1])

    @property
    def duration_ns(self) -> int:
        """Length of the frame, ns."""
        return samples_to_ns(len(self.samples), self.rate_hz)

    @property
    def end_ns(self) -> int:
        """Media time just after the last sample, ns."""
        return self.pts_ns + self.duration_ns


@dataclass(frozen=True, slots=True)
class UtteranceStart:
    """Opens an utterance; its audio follows.

    Attributes:
        utterance: Number of the utterance, counted from 1 by the element that cut it.
        pts_ns: Media time of its first sample (pre-roll included), ns. After a TTS this is still the *source* time.
        source_end_ns: Media time at which the source utterance ended, ns; None while it is still being spoken (a VAD
            does not know it yet, a TTS does).
    """

    utterance: int
    pts_ns: int
    source_end_ns: int | None = None


@dataclass(frozen=True, slots=True)
class TranslationEvidence:
    """What a translation of the audio so far says about whether the sentence is finished.

    Attributes:
        ends_sentence: Whether the text ends like a sentence (a full stop, a question mark, …).
        end_logprob: Log-probability (natural) of the end of the text behind its last token; None where the engine does
            not say.
        rejected: Whether the text was not trusted: words of half a sentence often are not.
    """

    ends_sentence: bool
    end_logprob: float | None = None
    rejected: bool = False


class PauseAnswer:
    """A mailbox in which a detector that told of a pause finds what a translator makes of the audio so far.

    What is in it depends on timing, so it may decide nothing where the same media must give the same output. Of several
    translators the first answer stays. Used on one event loop.
    """

    __slots__ = ("_evidence", "_given")

    def __init__(self) -> None:
        self._given = False
        self._evidence: TranslationEvidence | None = None

    def give(self, evidence: TranslationEvidence | None) -> None:
        """Put an answer in: what was found, or None when there will be none."""
        if not self._given:
            self._given, self._evidence = True, evidence

    @property
    def given(self) -> bool:
        """Whether somebody has answered."""
        return self._given

    @property
    def evidence(self) -> TranslationEvidence | None:
        """What was found, so far."""
        return self._evidence


@dataclass(frozen=True, slots=True)
class UtterancePause:
    """The speaker pauses and may have finished; what would belong to the utterance if it ended here has passed.

    What follows of the utterance says what came of it: an :class:`UtteranceEnd` with the same ``end_ns`` confirms it,
    audio refutes it. Only a detector that was asked to tells of pauses; whoever has no use for them skips them.

    Attributes:
        utterance: Number of the utterance.
        pts_ns: Media time of its first sample, ns.
        end_ns: Media time just after its last sample if it ends here, ns.
        speech_end_ns: Media time at which its last speech so far ended, ns.
        answer: Where a translator may say what it makes of the audio so far; None where nobody asks.
    """

    utterance: int
    pts_ns: int
    end_ns: int
    speech_end_ns: int
    answer: PauseAnswer | None = field(default=None, compare=False, repr=False)


EndReason = Literal["silence", "maximum", "eos", "error"]

CutBy = Literal["pause", "turn", "own_pauses", "translation"]
"""What found that a silence was the end: its length alone (the hangover), a turn detector, what was learnt of the
speaker's own pauses, or a translation that was whole."""


@dataclass(frozen=True, slots=True)
class UtteranceEnd:
    """Closes an utterance; all its audio has passed.

    Attributes:
        utterance: Number of the utterance.
        pts_ns: Media time of its first sample, ns.
        end_ns: Media time just after its last sample, ns.
        reason: ``silence`` (hangover elapsed), ``maximum`` (cut at the longest allowed length), ``eos``, or
            ``error`` (an element failed and skipped the rest).
        speech_end_ns: Media time at which its last speech ended, before any post-roll, ns; None where nobody knows.
        decided_ns: Media time up to which audio had been heard when this was decided, the silence that decided it
            included, ns; None where nobody knows. What a live listener waits for before any computing.
        cut_by: What found that the silence was the end; None for other reasons, and where nobody knows.
        cut: The same for people, with its numbers ("finished (0.93), 224 ms of silence"); may be empty.
    """

    utterance: int
    pts_ns: int
    end_ns: int
    reason: EndReason = "silence"
    speech_end_ns: int | None = None
    decided_ns: int | None = None
    cut_by: CutBy | None = None
    cut: str = ""


@dataclass(frozen=True, slots=True)
class TranslationFrame:
    """The text of an utterance in the target language.

    Attributes:
        utterance: Number of the utterance.
        pts_ns: Start of the source span, ns.
        end_ns: End of the source span, ns.
        source_lang: BCP-47 tag of what was spoken.
        target_lang: BCP-47 tag of ``text``.
        text: The translation; empty when the utterance was rejected.
        logprob: Mean log-probability of the generated tokens (natural log), or None when the engine has none.
        final: False for a partial hypothesis that a later frame of the same utterance and part replaces.
        rejected: Why there is no text ("not in the phrasebook", "no speech", …); None when there is.
        engine: Which model spoke, as people should read it ("canary-1b-v2", "demonstration phrasebook").
        part: Which piece of the utterance's text this is, from 0; an utterance that is translated while it is spoken,
            or by segments, has several, each with its own span.
        more: Whether further parts of the utterance follow. The last part may be empty when ``part`` is not 0.
        speculative: Of a partial hypothesis: it is the whole text if the speaker has finished, and a voice may
            prepare it; nobody may speak it.
        source_text: What was understood, in the language that was spoken; None where nobody asked.
        language_confidence: Probability that ``source_lang`` was spoken, 0 … 1; None where it was given, not found.
        language_kept: Whether that was too little to go by, and ``source_lang`` is what was spoken before.
        decided_ns: Media time up to which audio had been heard when this text was settled, ns: that of the utterance's
            end, or of the step that committed the part; None where nobody knows. It is what latency is measured by
            where computing does not count, so it is never read off a clock.
        retries: Why the engine was asked again, once for each time ("empty", "wrong script"), whichever answer this is.
    """

    utterance: int
    pts_ns: int
    end_ns: int
    source_lang: str
    target_lang: str
    text: str
    logprob: float | None = None
    final: bool = True
    rejected: str | None = None
    engine: str = ""
    part: int = 0
    more: bool = False
    speculative: bool = False
    source_text: str | None = None
    language_confidence: float | None = None
    language_kept: bool = False
    decided_ns: int | None = None
    retries: tuple[str, ...] = ()


Frame: TypeAlias = AudioFrame | UtteranceStart | UtterancePause | UtteranceEnd | TranslationFrame
