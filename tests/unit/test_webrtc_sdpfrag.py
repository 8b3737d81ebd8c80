"""Fragments of SDP for ICE, offers of which part is declined, and seeded mutations of both."""

from __future__ import annotations

import random

import pytest

from tests.unit.sdp_mutations import mutated
from tests.unit.test_webrtc_sdp import OFFER
from tolmach.transports.webrtc.connection import Connection
from tolmach.transports.webrtc.signalling.sdp import NotAcceptable, SignallingError, prepare_offer
from tolmach.transports.webrtc.signalling.sdpfrag import MAX_FRAGMENT, answer_fragment, parse_fragment

FRAGMENT = """\
a=ice-ufrag:EsAw
a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1
m=audio 9 RTP/AVP 0
a=mid:0
a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw network-id 1
a=candidate:473322822 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active generation 0 ufrag EsAw network-id 1
a=end-of-candidates
""".replace("\n", "\r\n")
"""As in RFC 9725, 4.3.2."""
VIDEO = "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=mid:2\r\na=rtpmap:96 H264/90000\r\na=sendonly\r\n"


def test_a_fragment_says_credentials_and_candidates_with_their_sections() -> None:
    fragment = parse_fragment(FRAGMENT)
    assert (fragment.username, fragment.password) == ("EsAw", "P2uYro0UCOQ4zxjKXaWCBui1")
    assert [mid for _, mid in fragment.candidates] == ["0", "0"]
    assert fragment.candidates[0][0].startswith("1387637174 1 udp")
    assert parse_fragment(FRAGMENT.replace("\r\n", "\n")) == fragment
    alone = parse_fragment("a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n")
    assert (alone.username, alone.candidates) == ("", (("1 1 udp 1 192.0.2.1 9 typ host", None),))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is not written"),
        ("nothing", "is not written"),
        (FRAGMENT.replace("a=ice-pwd", "a=x"), "without the other"),
        (FRAGMENT + "m=audio 9 RTP/AVP 0\r\na=ice-ufrag:other\r\n", "several ICE credentials"),
        ("a=mid:0\r\n", "belongs to a media section"),
        ("m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=mid:1\r\n", "belongs to a media section"),
        ("a=x\r\n" * 300, "300 lines"),
        ("a=" + "x" * MAX_FRAGMENT, "characters"),
        ("a=x\0\r\n", "is not written"),
    ],
)
def test_what_is_no_fragment_is_refused(text: str, why: str) -> None:
    with pytest.raises(SignallingError, match=why):
        parse_fragment(text)


def test_what_an_answer_says_of_ice_is_a_fragment() -> None:
    answer = (
        "v=0\r\na=group:BUNDLE 0\r\nm=video 0 UDP/TLS/RTP/SAVPF 96\r\na=inactive\r\n"
        "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=rtcp-mux\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n"
        "a=end-of-candidates\r\na=ice-ufrag:abcd\r\na=ice-pwd:of+the/session/of+the/session\r\na=setup:passive\r\n"
    )
    text = answer_fragment(answer)
    assert text == (
        "a=ice-ufrag:abcd\r\na=ice-pwd:of+the/session/of+the/session\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n"
        "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\na=end-of-candidates\r\n"
    )
    assert parse_fragment(text).candidates == (("1 1 udp 1 192.0.2.1 9 typ host", "0"),)


def test_a_restarted_offer_has_other_credentials_and_candidates_and_all_else_as_it_was() -> None:
    offer = prepare_offer(OFFER)
    again = offer.restarted(
        "ysXw", "vw5LmwG4y/e6dPP/zAP9Gp5k", ["1 1 udp 1 192.0.2.9 9 typ host", "1 1 tcp 1 192.0.2.9 9 typ host"]
    )
    assert (again.username, again.password) == ("ysXw", "vw5LmwG4y/e6dPP/zAP9Gp5k")
    assert again.sdp.count("a=ice-ufrag:ysXw\r\n") == again.sdp.count("192.0.2.9 9 typ host") == 2
    assert "192.0.2.7" not in again.sdp
    same = [s for s in offer.sdp.splitlines() if not s.startswith(("a=ice-", "a=candidate"))]
    assert same == [s for s in again.sdp.splitlines() if not s.startswith(("a=ice-", "a=candidate"))]
    for username, password in (("x", "vw5LmwG4y/e6dPP/zAP9Gp5k"), ("ysXw", "short"), ("ys\r\nXw", "v" * 22)):
        with pytest.raises(SignallingError):
            offer.restarted(username, password, [])


def test_what_is_declined_is_answered_in_its_place() -> None:
    session, audio, data = OFFER.replace("BUNDLE 0 1", "BUNDLE 2 0 1").replace("m=", "\0m=").split("\0")
    tagged = VIDEO + audio[audio.index("a=ice-ufrag") : audio.index("a=mid:0")]
    offer = prepare_offer(session + tagged + audio + data, decline=True)
    assert "video" not in offer.sdp
    assert "a=group:BUNDLE 0 1\r\n" in offer.sdp
    assert (offer.mid, offer.line, offer.username) == ("2", 0, "w2KA"), "its transport is still that of all"
    answer = offer.answered(
        "v=0\r\nm=audio 1\r\na=mid:0\r\na=ice-ufrag:abcd\r\na=candidate:1\r\nm=application 2\r\na=mid:1\r\n"
    )
    kinds = [s.split()[0] for s in answer.splitlines() if s.startswith("m=")]
    assert kinds == ["m=video", "m=audio", "m=application"]
    video = answer[answer.index("m=video") : answer.index("m=audio")].splitlines()
    assert video[:4] == ["m=video 0 UDP/TLS/RTP/SAVPF 96 97", "c=IN IP4 0.0.0.0", "a=inactive", "a=mid:2"]
    assert "a=ice-ufrag:abcd" in video
    assert "a=candidate:1" not in video


def test_a_transport_of_its_own_that_is_declined_is_not_the_audio_s() -> None:
    session, audio, _ = OFFER.replace("a=group:BUNDLE 0 1\r\n", "").replace("m=", "\0m=").split("\0")
    other = VIDEO + audio[audio.index("a=ice-ufrag") : audio.index("a=mid:0")].replace("w2KA", "other")
    offer = prepare_offer(session + other + audio, decline=True)
    assert (offer.mid, offer.line, offer.username) == ("0", 1, "w2KA")


OBS = """\
v=0
o=rtc 3767197920 0 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1
a=group:LS 0 1
a=msid-semantic:WMS *
a=setup:actpass
a=ice-ufrag:2ZQJ
a=ice-pwd:iAtsqYmIrM/6O+ab/iUPtycW
a=ice-options:ice2,trickle
a=fingerprint:sha-256 FINGERPRINT
m=audio 9 UDP/TLS/RTP/SAVPF 111
c=IN IP4 0.0.0.0
a=mid:0
a=sendonly
a=ssrc:1 cname:abc
a=ssrc:1 msid:obs obs-audio
a=msid:obs obs-audio
a=rtcp-mux
a=rtpmap:111 opus/48000/2
a=fmtp:111 minptime=10;maxaveragebitrate=96000;stereo=1;sprop-stereo=1;useinbandfec=1
m=video 9 UDP/TLS/RTP/SAVPF 96
c=IN IP4 0.0.0.0
a=mid:1
a=sendonly
a=ssrc:2 cname:abc
a=msid:obs obs-video
a=rtcp-mux
a=rtpmap:96 H264/90000
a=rtcp-fb:96 nack
a=rtcp-fb:96 nack pli
a=fmtp:96 profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1
""".replace("\n", "\r\n").replace("FINGERPRINT", ":".join(["A1"] * 32))
"""As libdatachannel writes it, which is in OBS: the transport stands above the sections, no candidates, stereo."""


async def test_an_offer_like_that_of_obs_is_answered_with_its_audio() -> None:
    connection = Connection(direction="recvonly", standard=True)
    answer = await connection.answer(OBS)
    await connection.close()
    _, audio, video = answer.replace("m=", "\0m=").split("\0")
    assert not audio.startswith("m=audio 0 ")
    for line in ("a=recvonly", "a=rtpmap:111 opus/48000/2", "a=setup:passive", "a=mid:0", "a=rtcp-mux"):
        assert f"{line}\r\n" in audio
    assert video.startswith("m=video 0 UDP/TLS/RTP/SAVPF 96\r\n")
    assert "a=inactive\r\n" in video


@pytest.mark.parametrize("sdp", [OFFER + VIDEO, OFFER.replace("m=audio", "m=video"), "v=0\r\n" + VIDEO])
def test_without_leave_to_decline_it_cannot_be_met(sdp: str) -> None:
    with pytest.raises(NotAcceptable):
        prepare_offer(sdp)


@pytest.mark.parametrize(
    "line", ["m=video", "m=video 9", "m=VIDEO 9 x 1", "m=video 9 UDP 96\x0196", "m=video 9 UDP" + " 9" * 99]
)
def test_what_cannot_be_declined_in_its_own_words_is_refused(line: str) -> None:
    with pytest.raises(SignallingError, match="RFC 8866"):
        prepare_offer(OFFER + line + "\r\na=mid:2\r\n", decline=True)


def test_thousands_of_broken_offers_and_fragments_raise_nothing_else() -> None:
    rng, taken = random.Random(47), 0
    for _ in range(3000):
        text = mutated(rng, OFFER + VIDEO)
        try:
            offer = prepare_offer(text, decline=True)
            assert offer.direction in ("sendrecv", "sendonly", "recvonly", "inactive")
            answered = offer.answered(offer.sdp)
            assert sum(s.startswith("m=") for s in answered.splitlines()) == sum(
                s.startswith("m=") for s in text.splitlines()
            )
            assert "\0" not in offer.restarted("ysXw", "v" * 22, []).username
            taken += 1
        except SignallingError:
            continue
    assert 500 < taken < 2500, "both happen"
    for _ in range(3000):
        try:
            parse_fragment(mutated(rng, FRAGMENT))
        except SignallingError:
            continue
