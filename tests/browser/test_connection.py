"""The call goes on through a lost connection and an ICE restart."""

from __future__ import annotations

import pytest

from tests.browser.conftest import OpenPage

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.models]

STATION, CAFE = 5, 6
TEXTS = ["Где находится вокзал?", "Я бы хотел чашку кофе и хлеб."]


def test_reconnection_keeps_session_and_captions(open_page: OpenPage, address: str):
    # Not what the graph begins with, which must not come back with the connection. All fits into the pause.
    texts = ["Where is the train station?", "I would like a cup of coffee and some bread."]
    tolmach = open_page(address, say=("ru", [STATION, CAFE], 6.0))
    tolmach.until("!document.getElementById('start').disabled")
    tolmach.page.get_by_label("Speak", exact=True).select_option("ru")
    tolmach.start()
    tolmach.wait_for_captions(1)
    session = tolmach.say("tolmach.session")

    tolmach.page.evaluate("() => { window.former = tolmach.pc; tolmach.pc.close(); }")

    tolmach.until("tolmach.state === 'reconnecting'")
    assert "Trying again" in tolmach.page.get_by_role("status").first.inner_text()
    assert tolmach.page.get_by_text(texts[0]).count() >= 1, "captions stay while there is no connection"
    tolmach.until("tolmach.state === 'live' && tolmach.pc !== former")
    tolmach.listen()
    captions = tolmach.wait_for_captions(2)
    assert [c["text"] for c in captions] == texts
    assert [c["language_confidence"] for c in captions] == [None, None], "it was given"
    assert tolmach.page.locator(".caption .text").all_inner_texts() == texts, "what was sent again is not shown twice"
    assert tolmach.say("tolmach.session") == session
    tolmach.until("heard.some((h) => h.rms > 0.01)")
    assert tolmach.complaints == []


def test_ice_restart_keeps_the_call(open_page: OpenPage, address: str):
    tolmach = open_page(address, say=("en", [STATION, CAFE]))
    tolmach.start()
    tolmach.wait_for_captions(1)
    fragment = "tolmach.pc.localDescription.sdp.match(/ice-ufrag:(\\S+)/)[1]"
    tolmach.page.evaluate("() => { window.former = tolmach.pc; }")
    before = tolmach.say(fragment)

    tolmach.page.evaluate("() => tolmach.pc.restartIce()")

    tolmach.until(f"{fragment} !== '{before}' && tolmach.pc.signalingState === 'stable'")
    captions = tolmach.wait_for_captions(2)
    assert [c["text"] for c in captions] == TEXTS
    assert tolmach.say("tolmach.pc === former && tolmach.pc.connectionState") == "connected"
    assert tolmach.complaints == []
