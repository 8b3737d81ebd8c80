"""Where no UDP gets through, the pages go over a WebSocket by themselves, say so, and all is the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Route

from tests.browser.conftest import OpenPage
from tests.browser.rooms import link_of, offered, open_room
from tests.browser.sound import audible_s, microphone, phrase, silence

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.models]

NO_UDP = "--webrtc-ip-handling-policy=disable_non_proxied_udp"
STATION, CAFE = 5, 6
TEXTS = ["Где находится вокзал?", "Я бы хотел чашку кофе и хлеб."]


def test_a_call_without_udp_is_captioned_heard_resumed_and_kept(
    open_page: OpenPage, address: str, root: Path, tmp_path: Path
):
    said = [silence(7), phrase(root, "en", STATION), silence(7), phrase(root, "en", CAFE), silence(4)]
    # A token with what a subprotocol may not have; this server asks for none, and its handshake goes through.
    there = f"{address}#token=letters(%2F%3D%2B)%22"
    tolmach = open_page(there, say=microphone(tmp_path / "said.wav", said), arguments=[NO_UDP])
    tolmach.until("!document.getElementById('start').disabled")
    tolmach.page.get_by_role("button", name="Start").click()
    tolmach.until("tolmach.state === 'live' && tolmach.socket", 30)
    tolmach.until("tolmach.lit.length > 0")
    assert "goes over a WebSocket" in tolmach.page.locator("#notices").inner_text()
    tolmach.listen()
    assert [c["text"] for c in tolmach.wait_for_captions(1)] == TEXTS[:1]
    tolmach.until("heard.some((h) => h.rms > 0.01)")
    assert tolmach.say("tolmach.health.server.round_trip_ms !== null")
    session = tolmach.say("tolmach.session")

    tolmach.page.evaluate("() => { window.former = tolmach.socket; tolmach.socket.close(); }")
    tolmach.until("tolmach.state === 'live' && tolmach.socket !== former")
    assert [c["text"] for c in tolmach.wait_for_captions(2)] == TEXTS
    assert tolmach.page.locator(".caption .text").all_inner_texts() == TEXTS, "what was sent again is not shown twice"
    assert tolmach.say("tolmach.session") == session
    tolmach.until("tolmach.timeline.some((t) => t.utterance === 2 && t.heard_ms !== null)")

    tolmach.page.get_by_role("button", name="Stop").click()
    tolmach.until("tolmach.state === 'ended'")
    assert TEXTS[1] in tolmach.download("SRT").decode()
    assert audible_s(tolmach.download("WAV")) > 1
    assert tolmach.complaints == []


def test_without_that_door_the_page_says_what_is_in_the_way(open_page: OpenPage, address: str):
    def hide(context: BrowserContext) -> None:
        def answer(route: Route) -> None:
            response = route.fetch()
            route.fulfill(response=response, json={**response.json(), "doors": []})

        context.route("**/api/config", answer)

    tolmach = open_page(address, arguments=[NO_UDP], before=hide)
    tolmach.until("!document.getElementById('start').disabled")
    tolmach.page.get_by_role("button", name="Start").click()
    tolmach.until("document.getElementById('notices').innerText.includes('may block UDP')", 30)
    assert tolmach.say("tolmach.state") == "idle"


def test_a_room_without_udp_is_spoken_in_heard_read_and_come_back_to(
    open_page: OpenPage, address: str, graphs: Path, root: Path
):
    with offered(graphs, root, "phrasebook-lecture"):
        host = open_page(address, say=("en", [STATION] * 4), arguments=[NO_UDP])
        open_room(host, "phrasebook-lecture")
        phone = open_page(link_of(host, "ru"), allowed=False, arguments=[NO_UDP])
        for person, name in ((phone, "Listen"), (host, "Speak")):
            person.until("!document.getElementById('start').disabled")
            person.page.get_by_role("button", name=name, exact=True).click()
            person.until("tolmach.state === 'live' && tolmach.socket", 30)
            assert "goes over a WebSocket" in person.page.locator("#notices").inner_text()
        phone.listen()
        assert phone.say("tolmach.source") is None
        assert phone.wait_for_captions(1, 60)[0]["text"] == TEXTS[0]
        phone.until("heard.some((h) => h.rms > 0.01)", 30)
        host.until("document.querySelector('#seats li[data-seat=\"ru\"] .people').innerText === '1 listener'")
        phone.picture("room-byway")

        for person in (phone, host):
            person.page.evaluate("() => { window.former = tolmach.socket; tolmach.socket.close(); }")
            person.until("tolmach.state === 'live' && tolmach.socket !== former", 30)
        before = len(phone.captions())
        phone.wait_for_captions(before + 1, 60)

        host.page.on("dialog", lambda dialog: dialog.accept())
        host.page.get_by_role("button", name="End the room for everybody").click()
        phone.until("document.getElementById('status').innerText === 'The room has ended'")
        assert host.complaints == phone.complaints == []
