"""What is said over the data channel and what an offer may hold."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.bus import Message
from transports.webrtc.messages import MAX_INCOMING, MessageError, decode, encode, event
from transports.webrtc.sdp import SignallingError, is_mdns, prepare_offer


def test_what_people_should_read_becomes_an_event() -> None:
    text = event(Message("warning", "ast", "g", 5_000_000_000, "сбой", {"utterance": 3}))
    assert text is not None
    assert "сбой" in text, "as text, not as escapes: messages are read in logs"
    assert json.loads(text) == {
        "v": 1,
        "type": "event",
        "kind": "warning",
        "element": "ast",
        "text": "сбой",
        "pts_ms": 5000,
        "data": {"utterance": 3},
    }
    assert event(Message("progress", "in", "g")) is None


def test_what_we_encode_we_decode() -> None:
    assert decode(encode("ping", number=3)) == {"v": 1, "type": "ping", "number": 3}


@pytest.mark.parametrize(
    "text",
    [
        b"{}",
        "",
        "[]",
        "1",
        '{"type":"ping"}',
        '{"v":2,"type":"ping"}',
        '{"v":1}',
        '{"v":1,"type":5}',
        "[" * 10_000,
        '{"v":1,"type":"x","pad":"' + "x" * MAX_INCOMING + '"}',
    ],
)
def test_what_is_no_message_is_refused(text: str | bytes) -> None:
    with pytest.raises(MessageError):
        decode(text)


@given(st.text(max_size=200))
def test_no_text_breaks_the_reader(text: str) -> None:
    with contextlib.suppress(MessageError):
        decode(text)


OFFER = """\
v=0
m=audio 9 UDP/TLS/RTP/SAVPF 111
a=candidate:1 1 udp 2122 0a1b2c3d-1111.local 50000 typ host
a=candidate:2 1 udp 2122 192.0.2.7 50001 typ host
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
""".replace("\n", "\r\n")


def test_hidden_addresses_are_left_out_of_an_offer() -> None:
    prepared = prepare_offer(OFFER)
    assert ".local" not in prepared
    assert "192.0.2.7" in prepared
    assert prepared == OFFER.replace("a=candidate:1 1 udp 2122 0a1b2c3d-1111.local 50000 typ host\r\n", "")
    assert is_mdns("1 1 udp 2122 0A.LOCAL 5 typ host")
    assert not is_mdns("1 1 udp")


@pytest.mark.parametrize(
    ("offer", "words"),
    [
        ("v=0", "no media"),
        (OFFER + OFFER, "audio, application, audio, application"),
        (OFFER + "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n", "video"),
        (OFFER + "a=" * 40_000, "characters"),
        (OFFER + "a=candidate:2 1 udp 2122 192.0.2.7 50001 typ host\r\n" * 100, "100 candidates"),
    ],
)
def test_an_offer_for_something_else_is_refused(offer: str, words: str) -> None:
    with pytest.raises(SignallingError, match=words):
        prepare_offer(offer)
