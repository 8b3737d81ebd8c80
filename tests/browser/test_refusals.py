"""What the page says when it may not or cannot begin."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import OpenPage
from tests.browser.served import served

pytestmark = [pytest.mark.browser, pytest.mark.slow]

TOKEN = "open-sesame"  # noqa: S105 -- of this test alone


@pytest.fixture(scope="module")
def guarded(chromium: str, pictures: Path) -> Iterator[str]:
    """A server with a token and room for one session; its graph needs no model."""
    with served("echo", pictures / "guarded.log", "--max-sessions", "1", "--token", TOKEN) as address:
        yield address


def test_token_is_asked_for(open_page: OpenPage, guarded: str):
    tolmach = open_page(guarded)
    dialog = tolmach.page.get_by_role("dialog")
    dialog.wait_for()
    tolmach.picture("token")
    assert tolmach.violations() == []
    dialog.get_by_label("Token").fill("wrong")
    dialog.get_by_role("button", name="Continue").click()
    dialog.get_by_text("That token was not accepted.").wait_for()
    dialog.get_by_label("Token").fill(TOKEN)
    dialog.get_by_label("Token").press("Enter")
    tolmach.until("document.getElementById('graph').options.length === 1")
    tolmach.page.reload()
    tolmach.until("document.getElementById('graph').options.length === 1")
    assert not dialog.is_visible(), "the tab remembers it"


def test_full_server_says_so_and_lets_in_later(open_page: OpenPage, guarded: str):
    first = open_page(f"{guarded}#token={TOKEN}")
    assert first.say("location.hash") == "", "the token does not stay in the address"
    assert first.page.locator("#empty .lead").inner_text() == "Press Start, then speak."
    first.start()
    assert first.page.locator("#empty .lead").inner_text() == "Speak now.", "an echo never has captions"
    second = open_page(f"{guarded}#token={TOKEN}")
    second.until("!document.getElementById('start').disabled")

    second.page.keyboard.press("s")

    second.page.get_by_text("All places on the server are taken. Asking again in").wait_for()
    second.picture("busy")
    first.page.get_by_role("button", name="Stop").click()
    second.until("tolmach.state === 'live'", 30)


def test_refused_microphone_is_explained(open_page: OpenPage, guarded: str):
    tolmach = open_page(f"{guarded}#token={TOKEN}", allowed=False, permissions=[])
    tolmach.until("!document.getElementById('start').disabled")
    tolmach.page.get_by_role("button", name="Start").click()
    alert = tolmach.page.get_by_role("alert").filter(has_text="does not let this page use the microphone")
    alert.wait_for()
    assert tolmach.page.get_by_role("button", name="Start").is_enabled(), "it can be tried again"
    assert tolmach.violations() == []

    # Sharing that fails is not the microphone's fault, whatever the reason; no headless browser asks, so it is told.
    tolmach.page.locator("#source").select_option(label="A tab, a window or the whole system")
    for reason in ("NotReadableError", "NotFoundError", "AbortError", "InvalidStateError", "UnknownError"):
        tolmach.page.evaluate(
            "(name) => { navigator.mediaDevices.getDisplayMedia = async () => { throw new DOMException('', name); }; }",
            reason,
        )
        tolmach.page.get_by_role("button", name="Start").click()
        tolmach.until("document.querySelector('[role=alert] p')", 5)
        told = tolmach.page.get_by_role("alert").inner_text()
        assert "the microphone cannot" not in told.lower(), reason
        assert re.search("[Ss]har", told), reason
        tolmach.page.get_by_role("button", name="Dismiss").click()


def test_what_could_not_be_loaded_is_told(open_page: OpenPage, guarded: str):
    # The server's answer with another state: to fail at loading it would need a model.
    state: dict[str, Any] = {"ready": False, "loading": ["loading canary phrasebook"], "failed": []}

    def answer(route: Any) -> None:
        response = route.fetch()
        route.fulfill(response=response, json={**response.json(), **state})

    tolmach = open_page(f"{guarded}#token={TOKEN}", before=lambda context: context.route("**/api/config", answer))
    status = tolmach.page.locator("#status")
    tolmach.until("document.getElementById('status').innerText === 'The server is loading canary phrasebook'")

    state |= {"loading": [], "failed": [f"interpreter: no model; run `tolmach fetch interpreter` {'x' * 9000}"]}
    alert = tolmach.page.get_by_role("alert").filter(has_text="could not load")
    alert.wait_for()
    told = alert.inner_text()
    assert "run `tolmach fetch interpreter`" in told
    assert "press Start" in told
    assert len(told) < 1000
    assert status.inner_text().strip() == "Not everything is loaded"
    tolmach.picture("not-loaded")
    assert tolmach.violations() == []

    state |= {"ready": True, "failed": []}
    alert.wait_for(state="detached", timeout=15_000)
    assert status.inner_text().strip() == "Ready"
