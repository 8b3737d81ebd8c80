"""Offers: what is refused, and what aiortc is given instead of what a browser wrote."""

from __future__ import annotations

import pytest

from transports.webrtc.sdp import SignallingError, prepare_offer

OFFER = """\
v=0
o=- 6583598975822134774 2 IN IP4 127.0.0.1
a=group:BUNDLE 0 1
m=audio 50001 UDP/TLS/RTP/SAVPF 111
a=rtcp-mux
a=rtpmap:111 opus/48000/2
a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
a=sendrecv
a=candidate:1 1 udp 2122 0a1b2c3d-1111.local 50000 typ host
a=candidate:2 1 udp 2122 192.0.2.7 50001 typ host
a=end-of-candidates
a=ice-ufrag:w2KA
a=ice-pwd:iAtsqYmIrM/6O+ab/iUPtycW
a=fingerprint:sha-256 FINGERPRINT
a=setup:actpass
a=mid:0
m=application 50002 UDP/DTLS/SCTP webrtc-datachannel
a=candidate:2 1 udp 2122 192.0.2.7 50002 typ host
a=ice-ufrag:w2KA
a=ice-pwd:iAtsqYmIrM/6O+ab/iUPtycW
a=fingerprint:sha-256 FINGERPRINT
a=setup:actpass
a=mid:1
a=sctp-port:5000
a=max-message-size:262144
""".replace("\n", "\r\n").replace("FINGERPRINT", ":".join(["A1"] * 32))
"""Written like Chrome's: two sections with ports of their own, of which the first's are used once they are bundled."""


def test_hidden_addresses_are_left_out_and_the_end_with_them() -> None:
    sdp = prepare_offer(OFFER).sdp
    assert ".local" not in sdp
    assert "192.0.2.7 50001" in sdp
    assert "end-of-candidates" not in sdp, "aioice would give up before the hidden address was heard of"


def test_both_sections_have_the_candidates_of_the_transport_they_share() -> None:
    offer = prepare_offer(OFFER)
    assert offer.sdp.count("192.0.2.7 50001") == 2
    assert "192.0.2.7 50002" not in offer.sdp, "the browser closes that port on our answer"
    assert (offer.mid, offer.line, offer.username, offer.password) == ("0", 0, "w2KA", "iAtsqYmIrM/6O+ab/iUPtycW")


def test_the_data_channel_may_carry_the_audio() -> None:
    session, audio, data = OFFER.replace("BUNDLE 0 1", "BUNDLE 1 0").replace("m=", "\0m=").split("\0")
    for sections in ((audio, data), (data, audio)):
        offer = prepare_offer(session + "".join(sections))
        assert (offer.mid, offer.line) == ("1", sections.index(data))
        assert offer.sdp.count("192.0.2.7 50002") == 2
        assert "a=group:BUNDLE 0 1\r\n" in offer.sdp, "aiortc takes the first one's transport, and has made the audio's"


def test_credentials_may_stand_above_the_sections() -> None:
    lines = [s for s in OFFER.split("\r\n") if "ice-" not in s]
    password = "of+the/session" * 2
    offer = prepare_offer("\r\n".join([lines[0], "a=ice-ufrag:abcd", f"a=ice-pwd:{password}", *lines[1:]]))
    assert (offer.username, offer.password) == ("abcd", password)


def test_one_section_needs_no_bundle() -> None:
    sdp = OFFER[: OFFER.index("m=application")].replace("a=group:BUNDLE 0 1\r\n", "")
    assert (prepare_offer(sdp).mid, prepare_offer(sdp).line) == ("0", 0)


@pytest.mark.parametrize(
    ("candidate", "mid", "line", "taken"),
    [
        ("1 1 udp 2122 192.0.2.7 50001 typ host", "0", None, True),
        ("1 1 udp 2122 192.0.2.7 50001 typ host", None, 0, True),
        ("1 1 udp 2122 192.0.2.7 50001 typ host generation 0 ufrag w2KA network-id 1", "0", 0, True),
        ("1 1 udp 2122 192.0.2.7 50001 typ host ufrag OLD1", "0", 0, False),
        ("1 1 udp 2122 192.0.2.7 50001 typ host ufrag", "0", 0, True),
        ("1 1 udp 2122 192.0.2.7 50002 typ host ufrag w2KA", "1", 1, False),
        ("1 1 udp 2122 192.0.2.7 50002 typ host ufrag w2KA", None, 1, False),
        ("1 1 udp 2122 192.0.2.7 50002 typ host", None, None, False),
    ],
)
def test_trickled_candidates_of_another_transport_or_offer_are_told_apart(
    candidate: str, mid: str | None, line: int | None, taken: bool
) -> None:
    assert prepare_offer(OFFER).describes(candidate, mid=mid, line=line) is taken


@pytest.mark.parametrize(
    ("offer", "words"),
    [
        ("", "no media"),
        ("v=0", "no media"),
        (OFFER + OFFER, "audio, application, audio, application"),
        (OFFER + "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n", "video"),
        (OFFER + "m=\r\n", "it has"),
        (OFFER + "a=" * 40_000, "characters"),
        (OFFER + "a=candidate:2 1 udp 2122 192.0.2.7 50001 typ host\r\n" * 100, "100 candidates"),
        (OFFER.replace("BUNDLE 0 1", "BUNDLE 0"), "must bundle"),
        (OFFER.replace("a=group:BUNDLE 0 1\r\n", ""), "must bundle"),
        (OFFER.replace("a=mid:1\r\n", ""), "must bundle"),
    ],
)
def test_an_offer_for_something_else_is_refused(offer: str, words: str) -> None:
    with pytest.raises(SignallingError, match=words):
        prepare_offer(offer)
