"""What the graph needs to know about ``mix`` without importing its arithmetic."""

from __future__ import annotations

from typing import Literal

from tolmach.pipelines.element import ElementSpec, Field, Live, Pad, Settings

__all__ = ["SPEC", "MixSettings", "pads"]


class MixSettings(Settings):
    """Settings of ``mix``."""

    rate_hz: int = Field(48_000, ge=8000, le=48_000, description="Sample rate of both inputs and of the mix, Hz.")
    channels: int = Field(2, ge=1, le=2, description="Channels of the bed and of the mix.")
    voice_gain_db: Live[float] = Field(0.0, ge=-60, le=24, description="How much louder the voice becomes, dB.")
    bed_gain_db: Live[float] = Field(
        0.0, ge=-80, le=24, description="How much louder the bed becomes while nobody speaks, dB."
    )
    # 20 dB below the speech: WCAG 2.2, success criterion 1.4.7 (Low or No Background Audio), where both are as loud.
    duck_gain_db: Live[float] = Field(-20.0, ge=-80, le=24, description="The same while the voice speaks, dB.")
    attack_ms: int = Field(
        150, ge=5, le=2000, description="How long the bed takes to go down, ms; it is down when the voice begins."
    )
    hold_ms: int = Field(
        500, ge=50, le=10_000, description="Pauses of the voice up to this long do not bring the bed back, ms."
    )
    release_ms: int = Field(600, ge=5, le=10_000, description="How long the bed takes to come back after that, ms.")
    threshold_db: float = Field(-50.0, ge=-90, le=0, description="What of the voice counts as speech, dB full scale.")
    # -1 dBTP: EBU R 128 (2023), the most a programme may reach, so that codecs have room.
    ceiling_db: float = Field(-1.0, ge=-24, le=-0.1, description="What no sample of the mix exceeds, dB full scale.")
    fit: Literal["none", "slot"] = Field(
        "none",
        description="`slot`: speech that would reach beyond the start of the next source becomes faster, pitch kept.",
    )
    max_tempo: float = Field(1.3, ge=1.0, le=2.0, description="How much faster it may become with `fit: slot`.")
    length: Literal["recording", "exact"] = Field(
        "recording",
        description="`recording`: as long as the bed, and longer where the last speech reaches beyond it; `exact`: "
        "that is cut.",
    )
    max_bytes: int = Field(
        67_108_864, ge=65_536, le=2**31, description="What of each input is kept in memory while it waits, bytes."
    )


def pads(settings: MixSettings) -> tuple[Pad, ...]:
    """A voice and a bed in one format in, the mix of that format out, in the language of the voice."""
    rate, channels = settings.rate_hz, settings.channels
    return (
        Pad.sink(f"audio/raw, rate={rate}, channels=1", name="voice"),
        Pad.sink(f"audio/raw, rate={rate}, channels={channels}, segmented=false", name="bed"),
        Pad.src(f"audio/raw, rate={rate}, channels={channels}, segmented=false", like="voice"),
    )


SPEC = ElementSpec(
    type="mix",
    summary="Lay the original low under its translation.",
    settings=MixSettings,
    pads=pads,
    build="tolmach.processors.mix.element:Mix",
    doc="""\
`voice` is the translation, `bed` the original. Each utterance of the voice begins where a `file_sink` would put it: at
the start of its source, or right behind the one before; `fit`, `max_tempo` and `length` mean what they mean there. Put
`{type: resample}` without settings before each pad: it takes the rate and channels that `mix` wants.

**Ducking.** While the voice is louder than `threshold_db` the bed has `duck_gain_db`, otherwise `bed_gain_db`. The mix
knows what comes: the bed begins to go down `attack_ms` before the voice and is down when it begins, stays down over
pauses of up to `hold_ms`, and comes back within `release_ms`. The gain moves by equal steps of dB from sample to
sample, so that there is no click.

**No clipping.** A look-ahead limiter (5 ms) keeps every sample below `ceiling_db`. It is at work only where voice and
bed together would exceed that; elsewhere the bed outside speech leaves as it came, sample for sample.

**Waiting.** A recording is mixed as far as both inputs have come; the voice says that also where it is silent. What is
ahead waits: in memory up to `max_bytes`, beyond that the input waits for room if it has a source of its own, else
(both hang on one `file_src` through a `tee`) on disk, in a file without a name that goes with the run. Bytes depend on
the inputs alone, however they are cut.

**Live** nobody waits: the bed goes on at once, an utterance begins when it comes, and the bed goes down with it instead
of before it. Behind a mix a `webrtc_sink` no longer sees utterances, so the page cannot tell when each was heard.""",
    example="{type: mix, duck_gain_db: -18, attack_ms: 200}",
)
