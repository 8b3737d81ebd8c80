"""What Tolmach relies on inside aiortc and aioice; a failure here means that the WebRTC transport must be adapted."""

from __future__ import annotations

import asyncio
import inspect
import re
import threading
from importlib.metadata import version
from typing import Any

import aioice.ice
import aiortc.rtcicetransport
import aiortc.rtcpeerconnection
import pytest
from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCDtlsTransport,
    RTCIceTransport,
    RTCPeerConnection,
    RTCRtpReceiver,
)
from aiortc.codecs.opus import OpusEncoder as AiortcOpusEncoder
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtp import RtpPacket

from tolmach.transports.webrtc.aiortc_hooks import (
    JITTER_BUFFER,
    PacedTrack,
    PacketTap,
    preload_libraries,
    tap_receiver,
    use_ice,
)
from tolmach.transports.webrtc.opus import SILENCE, TIME_BASE
from tolmach.transports.webrtc.outgoing.sender import Sender
from tolmach.transports.webrtc.signalling.ice import RestartableIce
from tolmach.transports.webrtc.signalling.ice_agent import IceAgent, IceSettings


async def receiver() -> tuple[RTCPeerConnection, RTCRtpReceiver]:
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    return pc, pc.addTransceiver("audio").receiver


@pytest.mark.parametrize(
    ("library", "read", "files"),
    [
        (
            "aiortc",
            (1, 16),
            "rtcrtpreceiver.py, rtcrtpsender.py, codecs/opus.py, rtcicetransport.py, rtcpeerconnection.py",
        ),
        ("aioice", (0, 13), "ice.py"),
    ],
)
def test_this_version_was_read(library: str, read: tuple[int, int], files: str) -> None:
    assert tuple(int(n) for n in version(library).split(".")[:2]) <= read, f"read {files}, then raise the number here"


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


# ICE ------------------------------------------------------------------------------------------------------------------


def test_all_that_aiortc_asks_of_its_aioice_connection_is_there() -> None:
    source = inspect.getsource(aiortc.rtcicetransport) + inspect.getsource(aiortc.rtcpeerconnection)
    asked = set(re.findall(r"_connection\.(\w+)", source))
    assert {"recv", "send", "connect", "gather_candidates"} <= asked
    assert asked <= set(dir(RestartableIce)), "RestartableIce lacks what this aiortc asks for"


async def test_a_transport_runs_over_what_it_is_given() -> None:
    pc, audio = await receiver()
    transport = audio.transport.transport
    ice = RestartableIce(IceSettings(), restart_timeout_s=5)
    use_ice(transport, ice)
    await transport.iceGatherer.gather()
    described = transport.iceGatherer.getLocalParameters()
    assert (described.usernameFragment, described.password) == (ice.local_username, ice.local_password)
    assert len(transport.iceGatherer.getLocalCandidates()) == len(ice.local_candidates) > 0
    assert (transport._recv, transport._send) == (ice.recv, ice.send)
    await pc.close()
    assert ice._over.is_set(), "closed with the transport"


def test_packets_go_through_what_a_transport_was_given() -> None:
    source = inspect.getsource(RTCDtlsTransport)
    assert source.count("self.transport._recv()") == 2, "looked up for every packet"
    assert source.count("self.transport._send(data)") == 2
    source = inspect.getsource(RTCIceTransport)
    assert "self._recv = self._connection.recv" in source
    assert "self._send = self._connection.send" in source


async def test_an_aiortc_that_keeps_its_aioice_elsewhere_is_refused_in_words() -> None:
    pc, audio = await receiver()
    transport = audio.transport.transport
    kept = transport._connection
    del transport._connection
    with pytest.raises(RuntimeError, match="install aiortc"):
        use_ice(transport, RestartableIce(IceSettings(), restart_timeout_s=5))
    transport._connection = kept
    await pc.close()


async def test_a_second_media_section_makes_no_second_transport() -> None:
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
    audio = pc.addTransceiver("audio")
    pc.createDataChannel("tolmach")
    assert pc.sctp is not None
    assert pc.sctp.transport is audio.receiver.transport
    await pc.close()


async def test_aioice_calls_what_the_agent_does_itself() -> None:
    source = inspect.getsource(aioice.ice)
    assert "self.get_component_candidates(component=component, addresses=addresses)" in source
    assert "self.receiver.data_received(data, self.local_candidate.component)" in source
    assert "self.receiver.protocol_lost(self)" in source
    assert source.count("get_host_addresses(") == 2, "defined, and used by gather_candidates() alone"
    agent = IceAgent(IceSettings(), print, controlling=False)
    for name in ("_nominated", "_protocols", "_query_consent_task"):
        assert hasattr(agent, name), f"aioice keeps no {name} any more"
    assert agent._components == {1}
    await agent.close()


async def test_what_the_first_connection_would_load_can_be_loaded_before() -> None:
    await preload_libraries()
