"""What the graph needs to know about ``resample`` without importing its arithmetic."""

from __future__ import annotations

from tolmach.pipelines.element import ElementSpec, Field, Pad, Settings

MIN_RATE_HZ = 4000
MAX_RATE_HZ = 384_000
MAX_CHANNELS = 8


class ResampleSettings(Settings):
    """Settings of ``resample``."""

    rate_hz: int | None = Field(
        None,
        ge=MIN_RATE_HZ,
        le=MAX_RATE_HZ,
        description="Sample rate to convert to, Hz; empty for whatever the linked elements agree on.",
    )
    channels: int | None = Field(
        None,
        ge=1,
        le=MAX_CHANNELS,
        description="Channels to mix to; empty for whatever the linked elements agree on.",
    )


def pads(settings: ResampleSettings) -> tuple[Pad, ...]:
    """One sink, one src: the src repeats the sink's caps except for rate and channels."""
    rate = f"[{MIN_RATE_HZ}, {MAX_RATE_HZ}]" if settings.rate_hz is None else str(settings.rate_hz)
    channels = f"[1, {MAX_CHANNELS}]" if settings.channels is None else str(settings.channels)
    return (
        Pad.sink(f"audio/raw, rate=[{MIN_RATE_HZ}, {MAX_RATE_HZ}], channels=[1, {MAX_CHANNELS}]"),
        Pad.src(f"audio/raw, rate={rate}, channels={channels}", like="sink"),
    )


SPEC = ElementSpec(
    type="resample",
    summary="Convert the sample rate and mix channels of a stream.",
    settings=ResampleSettings,
    pads=pads,
    build="tolmach.processors.resample.element:Resample",
    doc="""\
A streaming polyphase FIR: Kaiser-windowed sinc, flat to 90 % of the lower of the two Nyquist frequencies, more than
100 dB down from that frequency on, any rational ratio.

- **The output does not depend on how the input is cut.** The filter is evaluated in exact integer arithmetic, so every
  sample has the same bits whether the audio arrived in one piece or sample by sample.
- **Time is kept.** The filter's delay is compensated: output sample `m` belongs to the time `m / rate_hz` after the
  first input sample, and `n` input samples give `ceil(n * rate_out / rate_in)` output samples.
- An utterance is a stream of its own: the filter is flushed before its end passes, so nothing of it is lost or leaks
  into the next one. A gap in time stamps, or another rate or channel count, starts afresh as well.
- Channels: fewer are mixed with the weights of ITU-R BS.775 (centre 0 dB against left and right at -3 dB, surrounds
  -6 dB, LFE left out), scaled so that nothing can clip. The layout is the file's, else the usual one of the number of
  channels (6: 5.1). More outputs than inputs: output `j` is a copy of input `j mod N`.
- **Opposite phase**: where left and right would cancel each other in a mono mix, the right one is turned round, and a
  `warning` says so once.
- When nothing has to change, frames pass as they are.
""",
    example="{type: resample, rate_hz: 16000, channels: 1}",
)
