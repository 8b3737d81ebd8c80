"""The page of a room: a host who speaks, and somebody with a telephone who listens; two browsers, one server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.conftest import OpenPage
from tests.browser.rooms import link_of, offered, open_room

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.models]

STATION = 5
PHONE = {"width": 390, "height": 760}


@pytest.fixture(params=["phrasebook-lecture"])
def graph(request: pytest.FixtureRequest, graphs: Path, root: Path) -> Iterator[str]:
    """A graph for a room, while the test runs; the server notices."""
    with offered(graphs, root, request.param):
        yield request.param


def test_one_speaks_and_a_telephone_listens(open_page: OpenPage, address: str, graph: str):
    host = open_page(address, say=("en", [0, 5, 0, 5]))
    open_room(host, graph)
    host.until("document.querySelectorAll('#seats li').length === 3 && tolmach.seat === 'speaker'")
    host.until("[...document.querySelectorAll('#seats .code img')].every((i) => i.naturalWidth > 0)")
    assert host.violations() == []
    host.picture("room-host", full=True)

    phone = open_page(link_of(host, "ru"), viewport=PHONE, allowed=False, has_touch=True)
    phone.until("!document.getElementById('start').disabled")
    assert phone.page.locator("#seat-name").inner_text() == "You hear: Russian"
    assert phone.page.locator("#host").is_hidden()
    assert "code" not in str(phone.say("tolmach.room.speakers")), "a listener is not told how to speak"
    phone.page.get_by_role("button", name="Listen").tap()
    phone.until("tolmach.state === 'live'")
    assert phone.say("tolmach.source") is None, "nobody was asked for a microphone"
    assert phone.page.locator("#presence").inner_text() == "Speaker (English) is not here yet."
    phone.listen()

    host.page.get_by_role("button", name="Speak", exact=True).click()
    host.until("tolmach.state === 'live'")
    host.until("document.getElementById('meter').getAttribute('aria-valuenow') !== '0'")
    phone.until("document.getElementById('presence').innerText === 'Speaker (English) is here.'")
    host.until("document.querySelector('#seats li[data-seat=\"ru\"] .people').innerText === '1 listener'")
    read = phone.wait_for_captions(1, 60)
    assert (read[0]["target_lang"], read[0]["speaker"]) == ("ru", "speaker")
    phone.until("heard.some((h) => h.rms > 0.01)", 30)
    assert phone.violations() == []
    assert phone.say("document.documentElement.scrollWidth") <= PHONE["width"]
    phone.picture("room-phone")
    host.wait_for_captions(1)
    assert {caption["target_lang"] for caption in host.captions()} == {"en"}, "the speaker reads what was understood"
    subtitles = phone.download("SRT").decode()
    assert read[0]["text"].split()[0] in subtitles

    host.page.on("dialog", lambda dialog: dialog.accept())
    host.page.get_by_role("button", name="End the room for everybody").click()
    phone.until("document.getElementById('status').innerText === 'The room has ended'")
    assert phone.say("document.getElementById('start').disabled")
    assert host.complaints == phone.complaints == []


@pytest.mark.parametrize("graph", ["phrasebook-conversation"], indirect=True)
def test_two_people_hear_each_other_in_their_own_language(open_page: OpenPage, address: str, graph: str):
    anna = open_page(address, say=("en", [STATION, STATION, STATION]))
    open_room(anna, graph)
    assert anna.page.locator("#my-seat").input_value() == "en"
    boris = open_page(link_of(anna, "ru"), say=("ru", [STATION, STATION, STATION]))
    boris.until("tolmach.seat === 'ru'")
    for person in (anna, boris):
        person.page.get_by_role("button", name="Speak", exact=True).click()
        person.until("tolmach.state === 'live'")
        person.listen()
    for person, wanted in ((anna, ("ru", "en")), (boris, ("en", "ru"))):
        other, own = wanted
        person.until(
            f"tolmach.captions.some((c) => c.final && c.speaker === '{other}' && c.target_lang === '{own}')", 60
        )
        person.until("heard.some((h) => h.rms > 0.01)", 30)
        texts = {(c["speaker"], c["target_lang"]): c["text"] for c in person.captions()}
        assert texts[wanted] == {"en": "Where is the train station?", "ru": "Где находится вокзал?"}[own]
    assert anna.complaints == boris.complaints == []


def test_a_link_that_is_wrong_says_so(open_page: OpenPage, address: str):
    page = open_page(f"{address}room")
    assert "This page needs a link to a room" in page.page.locator("#notices").inner_text()
    assert page.violations() == []
    other = open_page(f"{address}room#{'x' * 22}~{'y' * 22}")
    other.until("document.getElementById('notices').innerText.includes('There is no such room any more.')")
