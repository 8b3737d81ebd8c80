"""What the graph tools need to know about the WebRTC elements; imports neither aiortc nor a codec."""

from __future__ import annotations

from pydantic import model_validator

from tolmach.pipelines.element import ElementSpec, Field, Live, Pad, Settings

__all__ = [
    "CAPTION_SINK",
    "WEBRTC_SINK",
    "WEBRTC_SRC",
    "CaptionSinkSettings",
    "WebrtcSinkSettings",
    "WebrtcSrcSettings",
]

_SEAT = r"^([A-Za-z0-9][A-Za-z0-9-]{0,34})?$"
"""A word, or a language tag (BCP-47: 35 characters hold any that is in use)."""


class WebrtcSrcSettings(Settings):
    """Settings of ``webrtc_src``."""

    min_target_ms: int = Field(
        20, ge=0, le=500, description="Smallest delay given to packets that come late or out of order, ms."
    )
    max_target_ms: int = Field(
        200, ge=0, le=1000, description="Largest such delay, ms; what is later than that is concealed."
    )
    paced: bool = Field(
        True,
        description="Give everything on evenly, after that delay, as audio that is played as it comes needs; off: only "
        "what is missing is waited for, which a recogniser has sooner.",
    )
    seat: str = Field(
        "",
        pattern=_SEAT,
        description="Who of a room speaks here, a word or their language (`en`); empty: the client of a session.",
    )
    hold_ms: int = Field(
        1000,
        ge=0,
        le=10_000,
        description="How long to wait for packets once they have stopped before going on in silence, ms.",
    )
    gate_playback: Live[bool] = Field(
        True, description="Keep what the session's loudspeaker says out of the microphone; off to hear an echo."
    )

    @model_validator(mode="after")
    def _order(self) -> WebrtcSrcSettings:
        if self.min_target_ms > self.max_target_ms:
            raise ValueError("min_target_ms must not exceed max_target_ms")
        return self


WEBRTC_SRC = ElementSpec(
    type="webrtc_src",
    summary="Take the microphone of a live session.",
    settings=WebrtcSrcSettings,
    pads=(Pad.src("audio/raw, rate=48000, channels=1, segmented=false"),),
    build="tolmach.transports.webrtc.elements:WebrtcSrc",
    live=True,
    role="microphone",
    doc="""\
The audio of the session's peer as its clock counts it: `pts_ns` is the capture time by RTP timestamps, 0 at the first
packet. A jitter buffer of our own puts packets in order and waits for late ones as long as the network has shown to
be worth waiting, between `min_target_ms` and `max_target_ms`. What is missing then is concealed (ITU-T G.711
Appendix I) and time goes on: a lost packet costs no latency. In a graph that cuts the audio into utterances nothing is
played as it comes: with `paced: false` packets in order do not wait, and translations are there 20 to 200 ms sooner.

When packets stop, 60 ms are concealed, then the stream waits `hold_ms` for words that may be on their way and goes on
in silence, so that an open utterance ends. The stream ends with the connection, or between two utterances when another
graph of the session is ready to take over. At a `seat` of a room it waits for whoever sits there next.

With `gate_playback` what comes back of the session's own speech (loudspeakers instead of headphones) is taken out, and
is silence unless somebody speaks over it; what was played is known, and compared with what is heard. Until it is known
whether any of it comes back, and for 0.15 s while it does, frames are held and then come at once, with their times.""",
    example="{type: webrtc_src, paced: false}",
)


class WebrtcSinkSettings(Settings):
    """Settings of ``webrtc_sink``."""

    cushion_ms: int = Field(
        20, ge=0, le=500, description="Audio kept in reserve so that a busy moment here is not heard, ms."
    )
    seat: str = Field(
        "",
        pattern=_SEAT,
        description="Who of a room hears this, a word or the language they hear (`ru`): one person, if they also speak "
        "(`webrtc_src`), else as many as come; empty: the client of a session.",
    )


WEBRTC_SINK = ElementSpec(
    type="webrtc_sink",
    summary="Play audio to the peer of a live session.",
    settings=WebrtcSinkSettings,
    pads=(Pad.sink("audio/raw, rate=[8000, 48000], channels=[1, 2]"),),
    build="tolmach.transports.webrtc.elements:WebrtcSink",
    doc="""\
Sends the audio on the connection it came from, as Opus, mono, 20 ms a packet, on a monotonic clock. Speech in
utterances waits for its turn and is never shortened; when each one is heard goes on the bus as `latency` with
`utterance`, `source_start_ns`, `placed_ns` and `lag_ns` (from the end of the source where it is known, else from its
start). Audio that is not cut into utterances belongs to the moment: what has piled up is left out again in silences,
then by single pitch periods, at worst dropped, so that latency returns to `cushion_ms`.""",
    example="{type: webrtc_sink}",
)


class CaptionSinkSettings(Settings):
    """Settings of ``caption_sink``."""

    seat: str = Field("", pattern=_SEAT, description="Who of a room reads these texts; empty: the client of a session.")


CAPTION_SINK = ElementSpec(
    type="caption_sink",
    summary="Show texts to those at a seat of a room.",
    settings=CaptionSinkSettings,
    pads=(Pad.sink("text/x-translation"),),
    build="tolmach.transports.webrtc.elements:CaptionSink",
    doc="""\
Those at a seat read the texts that become what they hear. This is for the others: captions of what was said, for
those who hear it as it was said, or who hear nothing. Texts are told as they flow; there is nothing to wait for, and
without a live server they go nowhere.""",
    example="{type: caption_sink, seat: en}",
)
