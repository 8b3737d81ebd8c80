"""The demonstration spoken in Chrome comes back as text and as speech."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.conftest import OpenPage
from tests.browser.sound import reference

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.models]


@pytest.mark.parametrize(("source", "target"), [("en", "ru"), ("ru", "en")])
def test_demonstration_comes_back(open_page: OpenPage, address: str, root: Path, source: str, target: str):
    said = reference(root, source)
    tolmach = open_page(address, say=(source, None))
    if source == "ru":
        tolmach.until("!document.getElementById('start').disabled")
        tolmach.page.get_by_role("button", name="Swap languages").click()
    # As with headphones: the demonstration's pauses are short, so phrases are spoken while a translation is heard, and
    # Chrome's echo canceller takes away a part of such speech.
    tolmach.page.get_by_label("Echo cancellation").uncheck()
    tolmach.start()
    tolmach.listen()

    captions = tolmach.wait_for_captions(len(said), 60)

    assert [c["text"] for c in captions] == [phrase[target] for phrase in said]
    assert {(c["source_lang"], c["target_lang"], c["rejected"]) for c in captions} == {(source, target, None)}
    shown = tolmach.page.locator(".caption:not(.partial) .text").all_inner_texts()
    assert shown == [phrase[target] for phrase in said]

    # Everything is spoken: the last phrase has been heard, and quiet lies between the phrases.
    tolmach.until(f"tolmach.timeline.filter((t) => t.heard_ms !== null).length === {len(said)}", 30)
    tolmach.page.wait_for_timeout(1500)
    loud = tolmach.heard()
    begins = sum(now and not any(loud[max(0, i - 8) : i]) for i, now in enumerate(loud))
    assert begins >= len(said), "each phrase is heard by itself"
    assert 0.5 * len(said) < 0.04 * sum(loud) < 0.04 * len(loud) / 2, "speech, and not more of it than silence"

    tolmach.page.get_by_role("tab", name="Timing").click()
    assert tolmach.page.locator("#timeline li").count() >= len(said)
    assert "from the end of speech to the first sound" in tolmach.page.locator("#timing-summary").inner_text()
    tolmach.picture(f"conversation-{source}-{target}")
    assert tolmach.complaints == []
