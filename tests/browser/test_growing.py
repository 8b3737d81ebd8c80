"""Captions that grow while somebody speaks, with what was understood and the direction that was found."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import growing_plugin
from tests.browser.conftest import OpenPage
from tests.browser.served import served

pytestmark = [pytest.mark.browser, pytest.mark.slow]

FOUR = ("en", [5, 6, 7, 5])
"""Sentences that the detector finds; what is told of them is settled beforehand."""


@pytest.fixture(scope="module")
def growing(chromium: str, root: Path, tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Iterator[str]:
    """Address of a server whose translator tells parts."""
    folder = tmp_path_factory.mktemp("growing")
    growing_plugin.install(folder / "site")
    (folder / "graphs").mkdir()
    (folder / "graphs" / "growing.yaml").write_text(growing_plugin.GRAPH)
    path = os.pathsep.join([str(folder / "site"), str(root)])
    with served(folder / "graphs", pictures / "growing.log", python_path=path) as address:
        yield address


@pytest.mark.parametrize(("width", "scheme"), [(1360, "light"), (360, "dark")])
def test_captions_grow(open_page: OpenPage, growing: str, width: int, scheme: str):
    view = {"viewport": {"width": width, "height": 850}, "color_scheme": scheme, "reduced_motion": "reduce"}
    tolmach = open_page(growing, say=FOUR, **view)
    page = tolmach.page
    page.evaluate("""() => { for (const [list, id] of [["announced", "said"], ["paces", "pace"]]) {
        window[list] = []; new MutationObserver(() => window[list].push(document.getElementById(id).textContent))
        .observe(document.getElementById(id), { childList: true, characterData: true, subtree: true }); } }""")
    tolmach.start()
    first = page.locator(".caption").first
    tolmach.until("document.querySelector('.caption .text')?.textContent === 'Мы приехали вечером'")
    assert first.locator(".coming").all_inner_texts() == ["вечером"], "what may still change is grey"
    assert first.locator(".source").inner_text() == "We came to town"
    tolmach.until("document.querySelector('.caption .text')?.textContent === 'Мы приехали поздно вечером.'")
    assert first.locator(".coming").count() == 0
    assert first.locator(".source").inner_text() == "We came to town late in the evening."

    # The second utterance was English at first.
    tolmach.until("tolmach.captions.filter((c) => c.final).length === 4", 60)
    texts = page.locator(".caption .text").all_inner_texts()
    assert texts[:3] == ["Мы приехали поздно вечером.", "Turn left behind the bridge.", "Well."]
    directions = [mark.inner_text() for mark in page.locator(".found [aria-hidden]").all()]
    assert directions[:3] == ["EN → RU", "RU → EN", "RU → EN"]
    assert page.locator(".unsure").all_inner_texts() == ["language not clear, taken for Russian as before"]

    assert tolmach.say("paces")[0] == "voice 4 s behind, 1.15× as fast"
    assert page.locator(".unspoken").all_inner_texts() == ["not spoken: the voice was too far behind"]
    assert [c["unspoken"] for c in tolmach.say("tolmach.captions")][:4] == [False, False, False, True]

    # The last one stays unfinished.
    tolmach.until("document.querySelectorAll('.caption').length === 4 && document.querySelector('.coming')", 60)
    last = page.locator(".caption").last
    assert last.locator(".text").inner_text() == "Когда все магазины закрыты, нам придётся"
    assert last.locator(".coming").all_inner_texts() == ["нам придётся", "we shall have"]
    tolmach.picture(f"growing-{width}-{scheme}")
    assert tolmach.violations() == []
    assert tolmach.say("document.documentElement.scrollWidth <= innerWidth")
    assert tolmach.say("announced") == [
        "Мы приехали", "поздно вечером.", "Turn left behind the bridge.", "Well.", "Когда все магазины закрыты,",
    ], "what may still change is not spoken to who cannot see that it is grey"  # fmt: skip

    # Files, as the server and as the page make them, and the page after a reload.
    page.keyboard.press("s")
    tolmach.until("tolmach.state === 'ended'")
    assert "<i>" not in tolmach.download("SRT").decode()
    page.get_by_label("What subtitles show").select_option("both")
    assert tolmach.violations() == []
    both = {name: tolmach.download(name) for name in ("SRT", "VTT")}
    assert "\nTurn left behind the bridge.\n<i>Поверните за мостом налево.</i>\n" in both["SRT"].decode()
    assert "\nпоздно вечером.\n<i>late in the evening.</i>\n" in both["VTT"].decode()
    assert "придётся" not in both["SRT"].decode()
    kept = json.loads(tolmach.download("JSON"))["captions"]
    assert [(c["utterance"], c["part"], c["final"]) for c in kept] == [
        (1, 0, True), (1, 1, True), (2, 0, True), (3, 0, True), (4, 0, True), (4, 1, False),
    ]  # fmt: skip
    page.context.set_offline(True)
    page.get_by_text("The server does not answer. Check that it runs").first.wait_for(timeout=15_000)
    assert {name: tolmach.download(name) for name in both} == both
    page.context.set_offline(False)
    tolmach.until("!document.getElementById('notices').innerText.includes('does not answer')", 15)
    shown = page.locator(".caption .text").all_inner_texts()
    page.reload()
    tolmach.until("document.querySelectorAll('.caption.earlier').length === 4")
    assert page.locator(".caption .text").all_inner_texts() == shown
    assert page.get_by_label("What subtitles show").input_value() == "both", "the choice is remembered"


def test_the_language_is_found_unless_somebody_chooses(open_page: OpenPage, growing: str):
    tolmach = open_page(growing)
    page = tolmach.page
    tolmach.until("!document.getElementById('start').disabled")
    speak, hear, swap = (
        page.get_by_label("Speak", exact=True),
        page.get_by_label("Hear"),
        page.get_by_label("Swap languages"),
    )
    assert speak.locator("option").all_inner_texts() == ["Automatic", "English", "Russian"]
    assert speak.input_value() == hear.input_value() == "auto"
    assert hear.locator("option:checked").inner_text() == "The other"
    assert hear.is_disabled(), "it follows"
    assert swap.is_disabled(), "it turns by itself"
    assert "Which language is spoken is found by itself." in page.locator("#empty").inner_text()
    tolmach.picture("direction-auto")
    assert tolmach.violations() == []

    speak.select_option("en")
    assert (hear.input_value(), hear.is_enabled(), swap.is_enabled()) == ("auto", True, True)
    swap.click()
    assert (speak.input_value(), hear.input_value()) == ("ru", "auto")
    hear.select_option("ru")
    assert (speak.input_value(), hear.input_value()) == ("en", "auto"), "choosing the spoken one turns round"
    hear.select_option("ru")
    swap.click()
    assert (speak.input_value(), hear.input_value()) == ("ru", "en")
    speak.select_option("auto")
    assert (speak.input_value(), hear.input_value()) == ("auto", "auto")
    assert tolmach.complaints == []
