"""The page itself: keyboard, small screens, contrast, downloads, and that it asks nobody else for anything."""

from __future__ import annotations

import pytest

from tests.browser.conftest import OpenPage

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.models]

STATION = 5

BUS = 7
"""Its Russian is too long for a line of the Timing list on a phone."""

OUTSIDE = """(selector) => [...document.querySelectorAll(selector)].filter((element) => {
  const { left, top, right, bottom } = element.getBoundingClientRect();
  return left < 0 || top < 0 || right > innerWidth || bottom > innerHeight;
}).map((element) => element.outerHTML)"""


def test_conversation_by_keyboard_alone(open_page: OpenPage, address: str):
    tolmach = open_page(address, say=("en", [STATION]))
    tolmach.until("!document.getElementById('start').disabled")
    keys = tolmach.page.keyboard
    for _ in range(20):
        keys.press("Tab")
        if tolmach.say("document.activeElement.id") == "start":
            break
    keys.press("Enter")
    tolmach.until("tolmach.state === 'live'", 30)
    keys.press("m")
    assert tolmach.say("tolmach.source.enabled") is False
    assert "Muted" in tolmach.page.locator("#level-note").inner_text()
    keys.press("m")
    assert tolmach.say("tolmach.source.enabled") is True
    assert [c["text"] for c in tolmach.wait_for_captions(1)] == ["Где находится вокзал?"]

    tolmach.page.get_by_role("tab", name="Setup").focus()
    keys.press("End")
    tolmach.until("document.activeElement.id === 'tab-graph' && !document.getElementById('panel-graph').hidden")
    tolmach.page.get_by_label("Volume of the translation").focus()
    keys.press("Home")
    assert tolmach.say("document.getElementById('voice').volume") == 0
    keys.press("s")
    tolmach.until("tolmach.state === 'ended'")

    # Afterwards everything can still be saved.
    for label, begins in (("SRT", b"1\r\n"), ("VTT", b"WEBVTT"), ("WAV", b"RIFF"), ("JSON", b"{")):
        content = tolmach.download(label)
        assert content.startswith(begins) or content.replace(b"\n", b"\r\n").startswith(begins), label
        if label in ("SRT", "VTT"):
            assert "Где находится вокзал?" in content.decode()
    assert tolmach.complaints == []


def test_voices(open_page: OpenPage, address: str):
    tolmach = open_page(address)
    page = tolmach.page
    page.get_by_text("Voices en+f2, ru+f2").click()
    listed = page.locator("#voice-list > li")
    assert listed.locator(".mark").count() == 2
    russian = page.locator(".voice-item", has_text="as ru+f2")
    assert "GPL-3.0-or-later" in russian.inner_text()
    russian.get_by_role("button", name="Play a sample of ru, Russian").click()
    tolmach.until("document.querySelector('[aria-label=\"Stop a sample of ru, Russian\"]:not([aria-busy])')", 60)
    tolmach.until("!document.querySelector('[aria-label^=Stop]')")
    absent = page.locator(".voice-item", has_text="v5_5_ru")
    assert "not for commercial use" in absent.inner_text()
    assert absent.get_by_role("button").count() == 0, "nothing is downloaded by a click"

    page.locator("#voices").get_by_label("Language").select_option("pl")
    assert [name.inner_text() for name in listed.locator(".name").all()] == ["pl"]
    page.locator("#voices").get_by_label("Language").select_option("")
    for width, scheme in ((1360, "light"), (390, "dark")):
        page.set_viewport_size({"width": width, "height": 850})
        page.emulate_media(color_scheme=scheme)
        page.locator("#voices").scroll_into_view_if_needed()
        tolmach.picture(f"voices-{width}-{scheme}")
        assert tolmach.violations() == []
        assert tolmach.say("document.documentElement.scrollWidth <= innerWidth")
    assert tolmach.complaints == []


@pytest.mark.parametrize(
    ("width", "height", "scheme", "live"),
    [
        (360, 740, "light", True),
        (360, 740, "dark", False),
        (844, 390, "light", True),  # a phone on its side
        (680, 384, "dark", False),  # 1360 x 768 at 200 %
        (320, 256, "light", False),  # 1280 x 1024 at 400 %, WCAG 1.4.10
        (820, 1180, "light", False),
        (1360, 768, "light", False),
        (1360, 850, "dark", True),
        (1920, 1080, "dark", False),
    ],
)
def test_every_screen(open_page: OpenPage, address: str, width: int, height: int, scheme: str, live: bool):
    size = {"width": width, "height": height}
    say = ("en", [BUS]) if live else None
    tolmach = open_page(address, say=say, color_scheme=scheme, viewport=size, reduced_motion="reduce")
    tolmach.until("!document.getElementById('start').disabled")
    hosts: set[str] = set()
    tolmach.page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    name = f"{width}x{height}-{scheme}"
    tolmach.picture(f"{name}-empty")
    if height > 256:
        assert tolmach.page.evaluate(OUTSIDE, "#start, #mute, #empty .lead") == [], (
            "what one needs is on the first screen"
        )
    assert tolmach.say("document.getElementById('captions').scrollTop") == 0, "and is read from its beginning"
    assert tolmach.page.get_by_text("Where is the train station?").is_visible(), "the page says what to say"
    assert tolmach.violations() == []
    if live:
        tolmach.start()
        tolmach.wait_for_captions(1)
        tolmach.picture(f"{name}-live")
        assert tolmach.page.evaluate(OUTSIDE, "#start, #captions, .caption .text, #downloads button") == []
    for tab in ("Timing", "Connection", "Graph", "Setup"):
        tolmach.page.get_by_role("tab", name=tab).click()
        assert tolmach.say("document.documentElement.scrollWidth <= innerWidth"), f"{tab} fits the width"
        assert tolmach.violations() == []
        if live:
            tolmach.page.wait_for_timeout(300)
            tolmach.picture(f"{name}-{tab.lower()}", full=width == 360)
            ends = tolmach.say(
                "[...document.querySelectorAll('#timeline strong')].map((e) => e.getBoundingClientRect())"
            )
            assert all(end["right"] <= width for end in ends), "the figures are in sight"
    if live:
        tolmach.page.keyboard.press("s")
        tolmach.until("tolmach.state === 'ended'")
        assert tolmach.violations() == []
    for text in ("CC BY 4.0", "nothing is sent elsewhere"):
        assert tolmach.page.get_by_text(text).first.is_visible()
    assert hosts <= {address.split("/")[2]}, "nobody else is asked for anything"
    assert tolmach.complaints == []


def test_forced_colours_leave_the_switch(open_page: OpenPage, address: str):
    tolmach = open_page(address, forced_colors="active", reduced_motion="reduce")
    tolmach.until("!document.getElementById('start').disabled")
    headphones = tolmach.page.locator("#headphones")
    tolmach.picture("forced-colours")

    def looks() -> tuple[str, str, str]:
        knob, box = "getComputedStyle(e, '::after').backgroundColor", "getComputedStyle(e)"
        return tuple(headphones.evaluate(f"(e) => [{knob}, {box}.backgroundColor, {box}.borderColor]"))

    off = looks()
    headphones.check()
    on = looks()
    for knob, ground, _ in (off, on):
        assert knob != ground, "the knob is seen"
    assert off[1] != on[1]
    assert off[2] != off[1], "and so is the switch"
