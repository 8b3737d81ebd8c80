"""Graphs on the page: swapped during a call, and edited, added and broken in the watched folder."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.browser.conftest import OpenPage

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.models]

CAFE = 6  # "I would like a cup of coffee and some bread."
STATION = 5  # "Where is the train station?"


def test_swap_during_a_call(open_page: OpenPage, address: str, graphs: Path):
    other = graphs / "another-voice.yaml"
    text = (graphs / "phrasebook-live.yaml").read_text()
    other.write_text(text.replace("name: phrasebook-live", "name: another-voice").replace("default: f2", "default: m1"))
    tolmach = open_page(address, say=("en", [STATION, CAFE]))
    tolmach.start()
    session = tolmach.say("tolmach.session")
    tolmach.wait_for_captions(1)

    tolmach.page.get_by_role("combobox", name="Graph").select_option("another-voice")

    tolmach.until("document.getElementById('switch').textContent === 'Now using another-voice'")
    captions = tolmach.wait_for_captions(2)
    assert [c["text"] for c in captions] == ["Где находится вокзал?", "Я бы хотел чашку кофе и хлеб."]
    assert len({c["utterance"] for c in captions}) == 2, "utterances are numbered through"
    assert captions[0]["end_ms"] < captions[1]["start_ms"], "on one clock"
    assert tolmach.say("tolmach.session") == session
    assert tolmach.say("tolmach.current.graph") == "another-voice"

    # A setting is a switch, too; one that is out of its range never leaves the page.
    tolmach.page.get_by_text("Advanced").click()
    tolmach.page.locator("details[data-element=vad] > summary").click()
    fields = tolmach.page.locator("#fields")
    assert not re.search(r"[a-z]_[a-z]", fields.inner_text()), "settings are named in words"
    hangover = fields.get_by_label("Pause that ends an utterance", exact=True)
    about = tolmach.page.locator(f"#{hangover.get_attribute('aria-describedby')}").inner_text()
    assert about.startswith("Silence that closes an utterance; shorter pauses stay inside it, unless ")
    assert about.endswith(". From 50 to 10000 ms."), "the unit is said once"
    assert "playback" not in fields.inner_text(), "it goes with the headphones"
    assert tolmach.page.get_by_label("Voice").locator("option:checked").inner_text() == "Man 1 (m1)"
    hangover.fill("5")
    hangover.press("Enter")
    assert hangover.evaluate("input => input.validity.rangeUnderflow")
    hangover.fill("900")
    hangover.press("Enter")
    tolmach.until("tolmach.current.settings['vad.hangover_ms'] === 900")
    tolmach.picture("switched")

    # Its file changes under the session, which goes on with what it has.
    other.write_text(f"{other.read_text()}# edited\n")
    edited = tolmach.page.get_by_text("The file of another-voice has changed. This session still uses the earlier")
    edited.wait_for()
    tolmach.page.get_by_role("button", name="Use the new one").click()
    tolmach.until("document.getElementById('switch').textContent === 'Now using another-voice'")
    assert not edited.is_visible()
    other.unlink()
    gone = tolmach.page.get_by_role("alert").filter(has_text="another-voice is not on the server any more")
    gone.wait_for()
    assert "This session goes on with it." in gone.inner_text()
    assert tolmach.say("tolmach.state") == "live"
    assert tolmach.complaints == []


def test_edited_added_and_broken_files_show(open_page: OpenPage, address: str, graphs: Path):
    tolmach = open_page(address)
    tolmach.until("!document.getElementById('start').disabled")
    good = (graphs / "echo.yaml").read_text()
    added = graphs / "added.yaml"
    try:
        added.write_text(good.replace("name: echo", "name: added").replace("Hear yourself", "Hear an addition"))
        tolmach.until("[...document.getElementById('graph').options].some((o) => o.value === 'added')")

        tolmach.page.get_by_role("combobox", name="Graph").select_option("added")
        assert "Hear an addition" in tolmach.page.locator("#graph-about").inner_text()
        added.write_text(added.read_text().replace("Hear an addition", "Hear an edit"))
        tolmach.until("document.getElementById('graph-about').textContent.includes('Hear an edit')")

        added.write_text(added.read_text().replace("webrtc_sink", "webrtc_snik"))
        problem = tolmach.page.locator('#problems article[data-graph="added"]')
        problem.wait_for(timeout=20_000)
        told = problem.inner_text()
        assert "The last good version stays in use." in told
        assert re.search(r"added\.yaml.*webrtc_snik", told, re.DOTALL)
        assert "webrtc_sink" in told, "it says what was meant"
        assert tolmach.page.get_by_role("button", name="Start").is_enabled()
        tolmach.picture("broken-graph")

        added.write_text(good.replace("name: echo", "name: added"))
        tolmach.until("document.getElementById('problems').hidden")
        # What it needs and the server has not is said before anybody presses Start.
        added.write_text(
            (graphs / "phrasebook-live.yaml").read_text().replace("embedded:phrasebook", "nobody/knows-this")
        )
        lead = tolmach.page.locator("#empty .lead")
        tolmach.until("document.querySelector('#empty .lead').textContent.includes('not on the server yet')", 10)
        assert "nobody/knows-this" in tolmach.page.locator("#empty").inner_text()
        assert "tolmach fetch added" in tolmach.page.locator("#missing").inner_text()
        assert tolmach.page.locator("#graph option:checked").inner_text() == "added (models missing)"
        assert tolmach.violations() == []
        added.write_text(good.replace("name: echo", "name: added"))
        tolmach.until("document.getElementById('missing').hidden", 10)
        assert lead.inner_text() == "Press Start, then speak."

        # A file that is gone is not silently another graph; when it comes back, all is as it was.
        added.unlink()
        gone = tolmach.page.get_by_role("alert").filter(has_text="added is not on the server any more")
        gone.wait_for()
        start, picker = tolmach.page.locator("#start"), tolmach.page.get_by_role("combobox", name="Graph")
        assert (picker.input_value(), start.is_disabled()) == ("added", True)
        assert picker.locator("option:checked").inner_text() == "added (no longer there)"
        assert tolmach.violations() == []
        added.write_text(good.replace("name: echo", "name: added"))
        gone.wait_for(state="detached")
        assert (picker.input_value(), start.is_enabled()) == ("added", True)
        added.unlink()
        gone.wait_for()
        picker.select_option("echo")
        assert start.is_enabled()
        assert gone.count() == 0
        tolmach.until("![...document.getElementById('graph').options].some((o) => o.value === 'added')")
    finally:
        added.unlink(missing_ok=True)
    assert tolmach.complaints == []


def test_params_are_known_by_their_roles(open_page: OpenPage, address: str, graphs: Path):
    renamed = graphs / "renamed.yaml"
    text = (graphs / "phrasebook-live.yaml").read_text().replace("name: phrasebook-live", "name: renamed")
    for name, param in (("from", "source_lang"), ("to", "target_lang"), ("who", "voice")):
        text = text.replace(f"  {param}: {{default", f"  {name}: {{role: {param}, default")
        text = text.replace(f"${{param:{param}}}", f"${{param:{name}}}")
    renamed.write_text(text)
    tolmach = open_page(address, say=("ru", [STATION]))
    page = tolmach.page
    speak, hear = page.get_by_label("Speak", exact=True), page.get_by_label("Hear", exact=True)
    try:
        tolmach.until("[...document.getElementById('graph').options].some((o) => o.value === 'renamed')")
        picker = page.get_by_role("combobox", name="Graph")
        picker.select_option("renamed")
        assert (speak.input_value(), hear.input_value()) == ("auto", "auto")
        speak.select_option("en")
        page.locator("#swap").click()
        hear.select_option("en")
        assert (speak.input_value(), hear.input_value()) == ("ru", "en")
        page.get_by_label("Voice").select_option("m1")
        page.get_by_text("Advanced").click()
        assert page.locator("#fields > .field").count() == 0, "languages and voice have places of their own"
        tolmach.start()
        tolmach.until("tolmach.current?.params?.from === 'ru'")
        assert tolmach.say("tolmach.current.params") == {"from": "ru", "to": "en", "who": "m1"}
        assert [c["text"] for c in tolmach.wait_for_captions(1)] == ["Where is the train station?"]
        # The direction goes along to a graph that calls it otherwise.
        picker.select_option("phrasebook-live")
        tolmach.until("tolmach.current.graph === 'phrasebook-live'")
        assert tolmach.say("tolmach.current.params") == {"source_lang": "ru", "target_lang": "en"}
        assert (speak.input_value(), hear.input_value()) == ("ru", "en")
    finally:
        renamed.unlink()
    assert tolmach.complaints == []


def test_texts_of_a_graph_stay_texts(open_page: OpenPage, address: str, graphs: Path):
    markup = "<img src=x onerror=window.hurt=1><script>window.hurt=1<" + "script>"
    hostile = graphs / f"{markup.replace('/', '')}{'w' * 100}\u202egnihton.yaml"
    text = (graphs / "echo.yaml").read_text().replace("name: echo", f"name: {json.dumps(markup + 'W' * 300)}")
    hostile.write_text(text.replace("description: >-", f"description: >-\n  {markup} {'long' * 2000}", 1))
    tolmach = open_page(address, viewport={"width": 390, "height": 844})
    try:
        tolmach.until(
            f"[...document.getElementById('graph').options].some((o) => o.value === {json.dumps(hostile.stem)})"
        )
        picker = tolmach.page.get_by_role("combobox", name="Graph")
        picker.select_option(hostile.stem)
        assert markup in tolmach.page.locator("#graph-about").inner_text()
        for tab in ("Timing", "Connection", "Graph", "Setup"):
            tolmach.page.get_by_role("tab", name=tab).click()
            tolmach.page.wait_for_timeout(200)
            tolmach.picture(f"hostile-{tab.lower()}", full=True)
            assert tolmach.say("document.documentElement.scrollWidth <= innerWidth"), f"{tab} fits the width"
        hostile.write_text(f"{text}elements: {markup}")
        tolmach.page.locator("#problems article").wait_for(timeout=20_000)
        hostile.unlink()
        tolmach.page.get_by_role("alert").filter(has_text="is not on the server any more").wait_for()
        tolmach.picture("hostile-gone")
        assert tolmach.say("document.documentElement.scrollWidth <= innerWidth")
        assert tolmach.say("document.querySelectorAll('img[src=x]').length + (window.hurt ?? 0)") == 0
    finally:
        hostile.unlink(missing_ok=True)
    assert tolmach.complaints == []
