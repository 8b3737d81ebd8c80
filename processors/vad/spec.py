"""What the graph needs to know about ``silero_vad`` and ``webrtc_vad`` without importing their detectors."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from tolmach.pipelines.element import ElementSpec, Field, Live, Pad, Settings

RATE_HZ = 16000


class VadSettings(Settings):
    """What all detectors share: where an utterance begins and ends, see :mod:`tolmach.processors.vad.endpointing`."""

    onset_ms: Live[int] = Field(
        64,
        ge=0,
        le=2000,
        title="Speech that begins an utterance",
        description="Unbroken speech that may begin an utterance, ms.",
    )
    min_utterance_ms: Live[int] = Field(
        96,
        ge=0,
        le=5000,
        title="Shortest utterance",
        description="Speech an utterance must hold to be passed on; less is taken for noise, ms.",
    )
    hangover_ms: Live[int] = Field(
        700,
        ge=50,
        le=10_000,
        title="Pause that ends an utterance",
        description="Silence that closes an utterance; shorter pauses stay inside it, unless something else finds that "
        "it was the end, ms.",
    )
    min_hangover_ms: Live[int] = Field(
        200,
        ge=30,
        le=10_000,
        title="Shortest pause that ends an utterance",
        description="Least silence that closes an utterance, whatever else finds that it was the end, ms.",
    )
    turn: Literal["off", "smart_turn"] = Field(
        "off",
        description="What listens whether the speaker has finished, at pause_ms of silence: smart_turn costs 10 to 50 "
        "ms of one core at each pause.",
    )
    turn_threshold: Live[float] = Field(
        0.97,  # the first of the sweep with no more fragments than 700 ms of hangover (docs/BENCHMARKS.md)
        gt=0,
        le=1,
        title="Certainty that a sentence is finished",
        description="Probability from which the turn detector ends an utterance at min_hangover_ms.",
    )
    unfinished_threshold: Live[float] = Field(
        0.1,
        ge=0,
        lt=1,
        title="Certainty that a sentence goes on",
        description="Probability below which the turn detector keeps an utterance open until hangover_ms, whatever "
        "else finds that it was the end.",
    )
    adaptive: Live[bool] = Field(
        False,
        title="Learn how long a speaker pauses",
        description="Close an utterance at a silence clearly longer than the speaker's own pauses so far, between "
        "min_hangover_ms and hangover_ms.",
    )
    translation: bool = Field(
        False,
        description="Let the translator say at pause_ms of silence whether what was said so far is a whole sentence: "
        "then it ends at min_hangover_ms, else at hangover_ms. In live graphs only, for it depends on timing.",
    )
    pre_roll_ms: Live[int] = Field(
        300,
        ge=0,
        le=5000,
        title="Kept before the speech",
        description="Audio before the detected onset that is passed on too, ms.",
    )
    post_roll_ms: Live[int] = Field(
        300,
        ge=0,
        le=10_000,
        title="Kept after the speech",
        description="Audio after the last speech that is passed on too (at most hangover_ms, and pause_ms if pauses "
        "are told), ms.",
    )
    pauses: bool = Field(
        False,
        description="Tell those behind of the first short pause in each silence (pause_ms), so that they can begin "
        "with what they would do if the utterance ended there.",
    )
    pause_ms: Live[int] = Field(
        200,
        ge=30,
        le=5000,
        title="Short pause that may be an end",
        description="Silence at which a pause is told, and the turn detector asked, ms.",
    )
    max_utterance_ms: Live[int] = Field(
        20_000,
        ge=2000,
        le=120_000,
        title="Longest utterance",
        description="Longest utterance; a longer one is cut at its quietest point, ms.",
    )
    cut_search_ms: Live[int] = Field(
        5000,
        ge=500,
        le=60_000,
        title="Where a long utterance may be cut",
        description="How far before max_utterance_ms the quietest point is looked for (at most half of it), ms.",
    )
    max_gain_db: Live[int] = Field(
        20,
        ge=0,
        le=60,
        title="Amplification of quiet speech",
        description="Most that quiet audio is amplified for the detector; what passes stays as it is, dB.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        # Only what was written can contradict: a default gives way to it (`fitting_…`).
        written = self.model_fields_set
        if "post_roll_ms" in written and self.post_roll_ms > self.hangover_ms:
            raise ValueError(f"post_roll_ms ({self.post_roll_ms}) must not exceed hangover_ms ({self.hangover_ms})")
        if "min_hangover_ms" in written and self.min_hangover_ms > self.hangover_ms:
            raise ValueError(
                f"min_hangover_ms ({self.min_hangover_ms}) must not exceed hangover_ms ({self.hangover_ms})"
            )
        if self.unfinished_threshold > self.turn_threshold:
            raise ValueError(
                f"unfinished_threshold ({self.unfinished_threshold}) must not exceed turn_threshold "
                f"({self.turn_threshold})"
            )
        if self.tells_pauses and {"post_roll_ms", "pause_ms"} <= written and self.post_roll_ms > self.pause_ms:
            raise ValueError(f"post_roll_ms ({self.post_roll_ms}) must not exceed pause_ms ({self.pause_ms})")
        if "cut_search_ms" in written and self.cut_search_ms * 2 > self.max_utterance_ms:
            raise ValueError(
                f"cut_search_ms ({self.cut_search_ms}) must not exceed half of max_utterance_ms "
                f"({self.max_utterance_ms})"
            )
        return self

    @property
    def fitting_post_roll_ms(self) -> int:
        """The post-roll that holds: a default is no longer than the hangover, nor than a pause that is told, ms."""
        bounds = [self.hangover_ms]
        if self.tells_pauses and "post_roll_ms" not in self.model_fields_set:
            bounds.append(self.pause_ms)
        return min(self.post_roll_ms, *bounds)

    @property
    def tells_pauses(self) -> bool:
        """Whether pauses are told: asked for, or needed by a translator that decides."""
        return self.pauses or self.translation

    @property
    def finds_ends(self) -> bool:
        """Whether anything but its length may find that a silence was the end."""
        return self.turn != "off" or self.adaptive or self.translation

    @property
    def fitting_min_hangover_ms(self) -> int:
        """The least hangover that holds: a default is no longer than the hangover, ms."""
        return min(self.min_hangover_ms, self.hangover_ms)

    @property
    def fitting_pause_ms(self) -> int:
        """The pause that is told: a default is no shorter than the post-roll, which has passed by then, ms."""
        return max(self.pause_ms, self.fitting_post_roll_ms)

    @property
    def fitting_cut_search_ms(self) -> int:
        """The search that holds: a default is no longer than half of the longest utterance, ms."""
        return min(self.cut_search_ms, self.max_utterance_ms // 2)


class SileroVadSettings(VadSettings):
    """Settings of ``silero_vad``."""

    threshold: Live[float] = Field(
        0.5,
        gt=0,
        lt=1,
        title="Certainty that begins an utterance",
        description="Speech probability that begins an utterance.",
    )
    confident_threshold: Live[float] = Field(
        0.98,
        gt=0,
        le=1,
        title="Certainty that leaves no doubt",
        description="Speech probability that onset_ms must reach at its best moment.",
    )
    doubtful_onset_ms: Live[int] = Field(
        256,
        ge=0,
        le=2000,
        title="Doubtful speech that begins an utterance",
        description="Unbroken speech that may begin an utterance without reaching it, ms.",
    )
    offset_threshold: Live[float | None] = Field(
        None,
        gt=0,
        lt=1,
        title="Certainty below which it is silent",
        description="Speech probability below which an open utterance falls silent; empty for 0.15 under threshold.",
    )

    @model_validator(mode="after")
    def _hysteresis(self) -> Self:
        if self.offset_threshold is not None and self.offset_threshold > self.threshold:
            raise ValueError(f"offset_threshold ({self.offset_threshold}) must not exceed threshold ({self.threshold})")
        return self


class WebrtcVadSettings(VadSettings):
    """Settings of ``webrtc_vad``."""

    mode: Live[Literal[0, 1, 2, 3]] = Field(
        2, title="Strictness", description="Aggressiveness, from 0 (keeps most) to 3 (drops most)."
    )
    frame_ms: Literal[10, 20, 30] = Field(30, description="Audio per decision, ms.")
    onset_ms: Live[int] = Field(
        60,
        ge=0,
        le=2000,
        title="Speech that begins an utterance",
        description="Unbroken speech that may begin an utterance, ms.",
    )
    min_utterance_ms: Live[int] = Field(
        150,
        ge=0,
        le=5000,
        title="Shortest utterance",
        description="Speech an utterance must hold to be passed on; less is taken for noise, ms.",
    )


_PADS = (
    Pad.sink(f"audio/raw, rate={RATE_HZ}, channels=1, segmented=false"),
    Pad.src(f"audio/raw, rate={RATE_HZ}, channels=1, segmented=true", like="sink"),
)

_ENDPOINTING_DOC = """
Only the audio of utterances passes, between `UtteranceStart` and `UtteranceEnd` frames, as it comes once an utterance
is open. All times are counted in samples, so the same recording gives the same utterances at any speed and however it
is cut into frames. With `turn`, `adaptive` or `translation` the hangover becomes the most that is waited for, and each
end says what found it. An utterance still open at the end of the stream is closed with reason `eos`, one that reaches
`max_utterance_ms` with reason `maximum` at the quietest point of its last `cut_search_ms`; its rest goes on as the next
utterance and no sample is lost. A gap in time stamps closes an utterance like silence. Each utterance is posted on the
bus when it ends. With `pauses` an `UtterancePause` frame follows the audio when it has been silent for `pause_ms`, once
in each silence: the end of the utterance with the same `end_ns` confirms it, more audio refutes it.
"""

SILERO = ElementSpec(
    type="silero_vad",
    summary="Cut a stream into utterances with the Silero voice activity detector.",
    settings=SileroVadSettings,
    pads=_PADS,
    build="tolmach.processors.vad.silero:SileroVad",
    doc="A neural detector that tells speech from noise and music. It decides every 32 ms, which costs about 0.15 ms "
    "of one core, and needs nothing but onnxruntime.\n" + _ENDPOINTING_DOC,
    licence="MIT (Silero VAD, in the distribution pipecat-ai)",
    example="{type: silero_vad, hangover_ms: 700}",
)

WEBRTC = ElementSpec(
    type="webrtc_vad",
    summary="Cut a stream into utterances with the WebRTC voice activity detector.",
    settings=WebrtcVadSettings,
    pads=_PADS,
    build="tolmach.processors.vad.webrtc:WebrtcVad",
    doc="A Gaussian mixture over six frequency bands: almost free (3 µs a decision), but it takes most noise and music "
    "for speech. Prefer `silero_vad` unless the audio is clean.\n" + _ENDPOINTING_DOC,
    licence="BSD-3-Clause (WebRTC), MIT (py-webrtcvad)",
    example="{type: webrtc_vad, mode: 3}",
)
