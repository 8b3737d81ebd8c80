"""What is heard while somebody still speaks; and a pause in the middle of a sentence makes nothing be said twice."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile

from tests.browser.conftest import OpenPage
from tests.browser.served import served
from tests.browser.sound import SPEECH_HZ, audible_s, microphone, phrase, reference, silence, voiced

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.models]

EDGE = round(0.15 * SPEECH_HZ)
"""What of silence around a phrase is left out where nobody is to hear a pause."""


@pytest.fixture(scope="module")
def simultaneous(chromium: str, root: Path, tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Iterator[str]:
    """Address of a server whose phrasebook translates while somebody speaks."""
    folder = tmp_path_factory.mktemp("simultaneous")
    text = (root / "config" / "phrasebook-live.yaml").read_text()
    text = text.replace("name: phrasebook-live", "name: while-speaking", 1)
    assert text.count("    type: canary_ast\n") == 1
    (folder / "while-speaking.yaml").write_text(
        text.replace("    type: canary_ast\n", "    type: canary_ast\n    mode: simultaneous\n")
    )
    with served(folder, pictures / "simultaneous.log") as address:
        yield address


def test_a_long_sentence_is_heard_before_it_ends(open_page: OpenPage, simultaneous: str, root: Path, tmp_path: Path):
    said = reference(root, "ru")[6]["en"]
    unbroken = [phrase(root, "ru", number)[EDGE:-EDGE] for number in (6, 3, 7)]
    tolmach = open_page(simultaneous, say=microphone(tmp_path / "unbroken.wav", [*unbroken, silence(6)]))
    tolmach.page.get_by_label("I wear headphones").check()  # the voice speaks into what is said
    tolmach.start()
    tolmach.listen()

    # Its first part is there, and heard, while the rest is still being spoken.
    tolmach.until("document.querySelector('.caption.growing') && heard.some((h) => h.rms > 0.01)", 30)
    assert tolmach.page.locator("#pending").inner_text().startswith("Listening")
    tolmach.picture("while-speaking")
    assert tolmach.violations() == []
    finals: dict[int, str] = {}
    until = time.monotonic() + 60
    while not tolmach.say("tolmach.timeline.some((t) => t.heard_ms !== null)") or tolmach.say(
        "Boolean(document.querySelector('.caption.growing'))"
    ):
        assert time.monotonic() < until
        for caption in tolmach.captions():
            known = finals.setdefault(caption["part"], caption["text"])
            assert known == caption["text"], "what was shown as final stays"
        tolmach.page.wait_for_timeout(100)

    (timing,) = tolmach.say("tolmach.timeline")
    assert timing["heard_ms"] < 0
    texts = [caption["text"] for caption in tolmach.captions() if caption["text"]]
    assert len(texts) > 1, "it came in parts"
    assert texts[0] == said, "the phrasebook knows sentences by themselves; of the first one it has heard no more"
    assert tolmach.page.locator(".caption .text").all_inner_texts() == [" ".join(texts)]
    assert "before the end" in tolmach.page.locator(".caption .meta").inner_text()
    tolmach.page.get_by_role("tab", name="Timing").click()
    tolmach.picture("while-speaking-timing")
    assert tolmach.violations() == []
    assert tolmach.complaints == []


BUS, LEAVES_S = 7, 0.97
"""The bus leaves, at nine o'clock: the phrase, and from its beginning to between the two, s."""
PAUSE_S = 0.35
"""Longer than it takes until a pause is told and a translation begun, shorter than what ends an utterance."""


def test_a_pause_in_the_middle_makes_nothing_be_said_twice(
    open_page: OpenPage, address: str, root: Path, tmp_path: Path
):
    whole = phrase(root, "en", BUS)
    at = round(LEAVES_S * SPEECH_HZ)
    say = microphone(tmp_path / "pause.wav", [whole[:at], silence(PAUSE_S), whole[at:], silence(6)])
    tolmach = open_page(address, say=say)
    tolmach.start()
    tolmach.listen()
    tolmach.wait_for_captions(1)
    tolmach.until("heard.some((h) => h.rms > 0.01)", 20)  # else the silence before it would be taken for that behind it
    tolmach.until("heard.length > 50 && heard.slice(-50).every((h) => h.rms < 0.003)", 30)

    guesses = tolmach.say("tolmach.health.server.speculations")
    assert guesses["ast"]["miss"] >= 1, "a translation was begun in the pause, and thrown away"
    text = reference(root, "en")[BUS]["ru"]
    assert [caption["text"] for caption in tolmach.captions()] == [text]
    assert tolmach.page.locator(".caption .text").all_inner_texts() == [text]
    made, rate_hz = voiced(text, "ru")
    once = io.BytesIO()
    soundfile.write(once, made, rate_hz, format="WAV")
    once_s, dub_s, heard_s = audible_s(once.getvalue()), audible_s(tolmach.download("WAV")), 0.04 * sum(tolmach.heard())
    assert dub_s == pytest.approx(once_s, rel=0.2)
    assert heard_s == pytest.approx(once_s, rel=0.2)
    assert tolmach.complaints == []
