"""What is said over the data channel."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tolmach.pipelines.bus import ErrorMessage, WarningMessage
from tolmach.transports.webrtc.signalling.messages import MAX_INCOMING, MessageError, decode, encode, event


def test_what_people_should_read_becomes_an_event() -> None:
    fields = event(WarningMessage("сбой", {"utterance": 3}, element="ast", graph="g", pts_ns=5_000_000_000))
    text = encode("event", **fields)
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


def test_an_error_says_what_is_done_about_it() -> None:
    message = ErrorMessage("сбой", {"path": "a.wav"}, error="MediaError", policy="skip")
    assert event(message)["data"] == {
        "path": "a.wav",
        "error": "MediaError",
        "policy": "skip",
        "fatal": False,
    }


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
