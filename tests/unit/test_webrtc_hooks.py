"""What Tolmach relies on inside aiortc; a failure here means an aiortc that the WebRTC transport must be adapted to."""

from __future__ import annotations

import asyncio
import inspect
import threading
from importlib.metadata import version
from typing import Any

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpReceiver
from aiortc.codecs.opus import OpusEncoder as AiortcOpusEncoder
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtp import RtpPacket

from transports.webrtc.aiortc_hooks import JITTER_BUFFER, PacedTrack, PacketTap, tap_receiver
from transports.webrtc.opus import SILENCE, TIME_BASE
from transports.webrtc.sender import Sender


async def receiver() -> tuple[RTCPeerConnection, RTCRtpReceiver]:
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    return pc, pc.addTransceiver("audio").receiver


def test_this_aiortc_was_read() -> None:
    assert tuple(int(n) for n in version("aiortc").split(".")[:2]) <= (1, 16), (
        "read rtcrtpreceiver.py, rtcrtpsender.py and codecs/opus.py of this version, then raise the number here"
    )


async def test_the_jitter_buffer_is_where_we_replace_it() -> None:
    pc, audio = await receiver()
    assert type(getattr(audio, JITTER_BUFFER)).__name__ == "JitterBuffer"
    source = inspect.getsource(RTCRtpReceiver)
    assert source.count("self.__jitter_buffer.add(packet)") == 1
    assert "pli_flag, encoded_frame = self.__jitter_buffer.add(packet)" in source
    await pc.close()


async def test_a_packet_reaches_the_tap_and_no_decoder() -> None:
    pc, audio = await receiver()
    heard: list[tuple[int, int, bytes]] = []
    tap_receiver(audio, lambda *packet: heard.append(packet))
    codec = RTCRtpCodecParameters(mimeType="audio/opus", clockRate=48000, channels=2, payloadType=96)
    # What receive() does, without its thread and task: the codec is known.
    audio._RTCRtpReceiver__codecs[96] = codec  # type: ignore[attr-defined]
    before = threading.active_count()
    for n in (3, 2, 2, 9):
        packet = RtpPacket(payload_type=96, sequence_number=n, timestamp=n * 960, ssrc=5, payload=SILENCE)
        await audio._handle_rtp_packet(packet, arrival_time_ms=0)
    assert heard == [(n, n * 960, SILENCE) for n in (3, 2, 2, 9)], "unsorted, unfiltered, at once"
    assert threading.active_count() == before
    report: dict[str, Any] = await audio.getStats()
    (inbound,) = [entry for entry in report.values() if entry.type == "inbound-rtp"]
    assert inbound.packetsReceived == 4, "RTCP statistics stay aiortc's"
    await pc.close()


async def test_an_aiortc_without_that_attribute_is_refused_in_words() -> None:
    pc, audio = await receiver()
    delattr(audio, JITTER_BUFFER)
    with pytest.raises(RuntimeError, match="install aiortc"):
        tap_receiver(audio, print)
    await pc.close()


def test_the_tap_gives_aiortc_nothing_to_decode() -> None:
    assert PacketTap(lambda *_: None).add(RtpPacket()) == (False, None)


async def test_aiortc_sends_encoded_packets_as_they_are() -> None:
    sender = Sender()
    track = PacedTrack(sender.stream())
    packet = await track.recv()
    assert (packet.pts, packet.time_base) == (0, TIME_BASE)
    assert AiortcOpusEncoder().pack(packet) == ([SILENCE], 0)
    waiting = asyncio.create_task(track.recv())
    await asyncio.sleep(0)
    sender.close()
    with pytest.raises(MediaStreamError):
        await asyncio.wait_for(waiting, 5)
    assert track.readyState == "ended"
