"""The page itself: keyboard, small screens, contrast, downloads, and that it asks nobody else for anything."""

from __future__ import annotations

import pytest

from tests.browser.conftest import OpenPage

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.models]

STATION = 5

UNNAMED = """() => [...document.querySelectorAll("button, input, select, [role=tab], [tabindex='0']")]
  .filter((e) => e.checkVisibility())
  .filter((e) => !(e.labels?.length || e.getAttribute("aria-label") || e.textContent.trim()))
  .map((e) => e.outerHTML)"""

# Contrast as WCAG 2.2 defines it, of every text that is shown, against the first opaque ground behind it.
FAINT = """() => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = (colour) => {
    const [r, g, b] = channels(colour).slice(0, 3).map((c) => c / 255)
      .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if ((channels(colour)[3] ?? 1) > 0.99) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  return [...document.querySelectorAll("body *")]
    .filter((e) => e.checkVisibility() && !e.closest(":disabled, option, .unseen"))
    .filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
    .map((e) => {
      const [a, b] = [luminance(getComputedStyle(e).color), luminance(ground(e))].sort((x, y) => y - x);
      return { text: e.textContent.trim().slice(0, 40), ratio: (a + 0.05) / (b + 0.05) };
    })
    .filter(({ ratio }) => ratio < 4.5);
}"""


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


@pytest.mark.parametrize(
    ("width", "height", "scheme"),
    [
        (360, 740, "light"),
        (360, 740, "dark"),
        (820, 1180, "light"),
        (1360, 850, "light"),
        (1360, 850, "dark"),
        (1920, 1080, "dark"),
    ],
)
def test_every_screen(open_page: OpenPage, address: str, width: int, height: int, scheme: str):
    said = ("en", [STATION]) if width == 360 or (width == 1360 and scheme == "dark") else None
    size = {"width": width, "height": height}
    tolmach = open_page(address, say=said, color_scheme=scheme, viewport=size, reduced_motion="reduce")
    tolmach.until("!document.getElementById('start').disabled")
    hosts: set[str] = set()
    tolmach.page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    tolmach.picture(f"{width}-{scheme}-empty")
    assert tolmach.page.get_by_text("Where is the train station?").is_visible(), "the page says what to say"
    if said:
        tolmach.start()
        tolmach.wait_for_captions(1)
        tolmach.picture(f"{width}-{scheme}-live")
    for tab in ("Timing", "Connection", "Graph", "Setup"):
        tolmach.page.get_by_role("tab", name=tab).click()
        assert tolmach.say("document.documentElement.scrollWidth <= innerWidth"), f"{tab} fits the width"
        assert tolmach.page.evaluate(UNNAMED) == []
        assert tolmach.page.evaluate(FAINT) == []
        if said:
            tolmach.page.wait_for_timeout(300)
            tolmach.picture(f"{width}-{scheme}-{tab.lower()}", full=width == 360)
    for text in ("CC BY 4.0", "nothing is sent elsewhere"):
        assert tolmach.page.get_by_text(text).first.is_visible()
    assert hosts <= {address.split("/")[2]}, "nobody else is asked for anything"
    assert tolmach.complaints == []
