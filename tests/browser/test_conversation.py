"""The demonstration spoken in Chrome comes back as text and as speech."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.conftest import OpenPage
from tests.browser.sound import audible_s, reference

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.models]


@pytest.mark.parametrize(("source", "target"), [("en", "ru"), ("ru", "en")])
def test_demonstration_comes_back(open_page: OpenPage, address: str, root: Path, source: str, target: str):
    said = reference(root, source)
    tolmach = open_page(address, say=(source, None))
    tolmach.until("!document.getElementById('start').disabled")
    # The demonstration's pauses are short, so phrases are spoken while a translation is heard. Of such speech Chrome's
    # echo canceller takes away a part, and the server's gate the first second.
    tolmach.page.get_by_label("I wear headphones").check()
    if source == "ru":
        tolmach.page.get_by_role("button", name="Swap languages").click()
    tolmach.start()
    tolmach.listen()
    assert tolmach.say("tolmach.current.graph") == "phrasebook-live"
    assert tolmach.say("tolmach.current.settings") == {"in.gate_playback": False}
    assert tolmach.say("tolmach.source.getSettings().echoCancellation") is False

    captions = tolmach.wait_for_captions(len(said), 60)

    assert [c["text"] for c in captions] == [phrase[target] for phrase in said]
    assert {(c["source_lang"], c["target_lang"], c["rejected"]) for c in captions} == {(source, target, None)}
    shown = tolmach.page.locator(".caption:not(.partial) .text").all_inner_texts()
    assert shown == [phrase[target] for phrase in said]

    # Everything is spoken, and what the server has sent is what was heard.
    tolmach.until(f"tolmach.timeline.filter((t) => t.heard_ms !== null).length === {len(said)}", 30)
    tolmach.until("heard.length > 30 && heard.slice(-30).every((h) => h.rms < 0.003)", 30)
    heard_s, dub_s = 0.04 * sum(tolmach.heard()), audible_s(tolmach.download("WAV"))
    assert dub_s > 0.5 * len(said), "each phrase is half a second of speech at least"
    assert heard_s == pytest.approx(dub_s, rel=0.15)

    tolmach.page.get_by_role("tab", name="Timing").click()
    assert tolmach.page.locator("#timeline li").count() >= len(said)
    assert "from the end of speech to the first sound" in tolmach.page.locator("#timing-summary").inner_text()
    tolmach.picture(f"conversation-{source}-{target}")
    assert tolmach.complaints == []
