"""Offers: what is refused, and what aiortc is given instead of what a browser wrote."""

from __future__ import annotations

import pytest

from tolmach.transports.webrtc.signalling.sdp import SignallingError, prepare_offer

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


def test_the_fingerprint_may_stand_above_the_sections_as_in_firefox() -> None:
    lines = [s for s in OFFER.split("\r\n") if not s.startswith(("a=fingerprint", "a=setup"))]
    digest = "a=fingerprint:sha-256 " + ":".join(["b2"] * 32)
    above = "\r\n".join([lines[0], digest, "a=setup:actpass", *lines[1:]])
    assert prepare_offer(above).sdp.count(digest.replace("b2", "B2")) == 2, "once in each section, nowhere else"


def test_the_tagged_section_s_transport_is_that_of_all() -> None:
    session, audio, data = OFFER.replace("m=", "\0m=").split("\0")
    offer = prepare_offer(session + audio + data.replace("w2KA", "other").replace("A1:", "B2:"))
    assert offer.sdp.count("a=ice-ufrag:w2KA") == 2
    assert "other" not in offer.sdp
    assert "B2:" not in offer.sdp
    tagged = prepare_offer(session.replace("BUNDLE 0 1", "BUNDLE 1 0") + audio.replace("w2KA", "other") + data)
    assert tagged.sdp.count("a=ice-ufrag:w2KA") == 2


def test_a_direction_that_is_not_said_is_said() -> None:
    assert prepare_offer(OFFER.replace("a=sendrecv\r\n", "")).sdp.count("a=sendrecv") == 1
    assert "a=sendrecv" not in prepare_offer(OFFER.replace("a=sendrecv", "a=sendonly")).sdp


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
        (OFFER.replace("a=mid:1\r\n", "a=mid:0\r\n"), "must bundle"),
        (OFFER.replace("a=mid:0\r\n", "a=mid:0\r\na=mid:5\r\n"), "a=mid twice"),
        (OFFER.replace("a=mid:0\r\n", "a=mid:0\r\na=x\x0ba=mid:5\r\n"), "a=mid twice"),
        (OFFER.replace("a=fingerprint:sha-256", "a=fingerprint:sha-1"), "fingerprint"),
        (OFFER.replace("A1:", "", 1), "not 32 bytes"),
        (OFFER.replace("a=setup", "a=fingerprint:sha-256 " + ":".join(["B2"] * 32) + "\r\na=setup"), "one fingerprint"),
        (OFFER.replace("actpass", "holdconn"), "a=setup"),
        (OFFER.replace("a=setup:actpass\r\n", ""), "a=setup"),
        (OFFER.replace("a=ice-ufrag", "a=ice-other"), "ICE credentials"),
        (OFFER.replace("a=ice-ufrag:w2KA", "a=ice-ufrag:w"), "ICE credentials"),
        (OFFER.replace("iAtsqYmIrM/6O+ab/iUPtycW", "short"), "ICE credentials"),
        (OFFER.replace("a=rtcp-mux\r\n", ""), "rtcp-mux"),
        (OFFER.replace("opus/48000/2", "PCMU/8000"), "Opus"),
        (OFFER.replace("rtpmap:111", "rtpmap:300"), "Opus"),
        (OFFER.replace("a=extmap:1 ", "a=extmap:0 "), "extmap"),
        (OFFER.replace("m=audio 50001", "m=audio 0"), "switched off"),
        (OFFER.replace("a=sctp-port:5000\r\n", ""), "SCTP port"),
        (OFFER.replace("a=sctp-port:5000", "a=sctp-port:" + "9" * 5_000), "SCTP port"),
        (OFFER.replace("UDP/DTLS/SCTP", "RTP/AVP"), "DTLS/SCTP"),
        (OFFER.replace("a=rtpmap:111", "a=rtpmap:x\r\na=rtpmap:111"), "cannot be used"),
        (OFFER + "a=x\r\n" * 600, "lines"),
    ],
)
def test_an_offer_for_something_else_is_refused(offer: str, words: str) -> None:
    with pytest.raises(SignallingError, match=words):
        prepare_offer(offer)
