"""The demonstration spoken in Chrome comes back as text and as speech."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import correlate, resample_poly

from tests.browser.conftest import OpenPage
from tests.browser.sound import audible_s, in_turn, reference, voiced
from tolmach.pipelines.frames import Samples

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.models]


@pytest.mark.parametrize(("source", "target"), [("en", "ru"), ("ru", "en")])
def test_demonstration_comes_back(open_page: OpenPage, address: str, root: Path, source: str, target: str):
    said = reference(root, source)
    tolmach = open_page(address, say=(source, None))
    tolmach.until("!document.getElementById('start').disabled")
    # The demonstration's pauses are short, so phrases are spoken while a translation is heard.
    tolmach.start()
    tolmach.listen()
    assert tolmach.say("tolmach.current.graph") == "phrasebook-live"
    assert tolmach.say("tolmach.current.settings") == {}, "the server looks for an echo"
    assert tolmach.say("tolmach.source.getSettings().echoCancellation") is False

    captions = tolmach.wait_for_captions(len(said), 60)

    assert [c["text"] for c in captions] == [phrase[target] for phrase in said]
    assert {(c["source_lang"], c["target_lang"], c["rejected"]) for c in captions} == {(source, target, None)}
    assert tolmach.say("tolmach.echo") == "none"
    assert "all you say arrives" in tolmach.page.locator("#echo-found").inner_text()
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


TURNS = [("en", 5), ("ru", 6), ("ru", 3), ("en", 7)]
OTHER = {"en": "ru", "ru": "en"}
HEAD_S = 0.5
"""So much of what is spoken tells one voice from another; farther on, silence may have been left out."""


def test_a_conversation_in_two_languages_needs_no_switch(open_page: OpenPage, address: str, root: Path, tmp_path: Path):
    tolmach = open_page(address, say=in_turn(root, tmp_path, TURNS))
    tolmach.start()
    assert tolmach.say("tolmach.current.params") == {}, "nothing was chosen"

    captions = tolmach.wait_for_captions(len(TURNS), 60)
    tolmach.until(f"tolmach.timeline.filter((t) => t.heard_ms !== null).length === {len(TURNS)}", 30)

    assert [(c["source_lang"], c["target_lang"]) for c in captions] == [(lang, OTHER[lang]) for lang, _ in TURNS]
    wanted = [reference(root, lang)[number] for lang, number in TURNS]
    assert [c["text"] for c in captions] == [said[OTHER[lang]] for said, (lang, _) in zip(wanted, TURNS, strict=True)]
    page = tolmach.page
    # What was understood is there as well, so that a mishearing is no bad translation.
    understood = [said[lang] for said, (lang, _) in zip(wanted, TURNS, strict=True)]
    assert page.locator(".caption .source").all_inner_texts() == understood
    marks = page.locator(".caption .found [aria-hidden]").all_inner_texts()
    assert marks == [f"{lang} → {OTHER[lang]}".upper() for lang, _ in TURNS]
    tolmach.picture("two-languages")
    assert tolmach.violations() == []
    page.wait_for_timeout(3000)  # the last one is spoken to its end

    # Each is spoken by the voice of its language: the recording has what that voice makes of it, and not the other's.
    dub, rate_hz = soundfile.read(io.BytesIO(tolmach.download("WAV")), dtype="float32")
    for caption in captions:
        started = next(t for t in tolmach.say("tolmach.timeline") if t["utterance"] == caption["utterance"])
        at_s = (started["end_ms"] + started["heard_ms"]) / 1000
        heard = dub[max(0, round((at_s - 0.3) * rate_hz)) : round((at_s + HEAD_S + 0.5) * rate_hz)]
        right, wrong = (voice_head(caption["text"], caption[side], rate_hz) for side in ("target_lang", "source_lang"))
        assert likeness(heard, right) > 0.7, caption["text"]
        # The Russian voice reads English as English, too, and not as well.
        assert likeness(heard, right) > likeness(heard, wrong), caption["text"]
    assert tolmach.complaints == []


def voice_head(text: str, lang: str, rate_hz: int) -> Samples:
    """What the voice of a language makes of the beginning of a text, float32[n]."""
    made, own_hz = voiced(text, lang)
    return np.asarray(resample_poly(made[: round(HEAD_S * own_hz)], rate_hz, own_hz), np.float32)


def likeness(heard: Samples, made: Samples) -> float:
    """Greatest normalised correlation of ``made`` with any place in ``heard``, 0 … 1."""
    products = np.abs(correlate(heard, made, "valid", "fft"))
    total = np.concatenate(([0.0], np.cumsum(np.square(heard, dtype=np.float64))))
    energy = np.sqrt((total[len(made) :] - total[: -len(made)]) * float(np.square(made).sum()))
    return float(np.max(products / np.maximum(energy, 1e-3)))
