"""What the page says when it may not or cannot begin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

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
    first.start()
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
