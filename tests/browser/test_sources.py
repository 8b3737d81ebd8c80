"""Sources other than a microphone: loopback devices, and the sound of another tab."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.conftest import OpenPage
from tests.browser.sound import spoken

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.models]

STATION = 5

# Names as Windows, macOS and Linux give them; no machine has all of these.
DEVICES = """navigator.mediaDevices.enumerateDevices = async () => [
  "Default", "Headset (USB)", "Stereo Mix (Realtek)", "Стерео микшер (Realtek)", "BlackHole 2ch",
  "CABLE Output (VB-Audio Virtual Cable)", "Monitor of Built-in Audio Analog Stereo", "Loopback Audio",
].map((label, i) => ({ kind: "audioinput", deviceId: i ? `device-${i}` : "default", groupId: "", label }));"""


def test_loopback_devices_are_marked(open_page: OpenPage, address: str):
    tolmach = open_page(address, before=lambda context: context.add_init_script(DEVICES))
    tolmach.until("document.getElementById('source').options.length > 2")
    source, echo = tolmach.page.locator("#source"), tolmach.page.get_by_label("Echo cancellation")
    of_computer = source.locator("optgroup").nth(1).locator("option").all_inner_texts()

    assert source.locator("optgroup").first.locator("option").all_inner_texts() == [
        "Default microphone",
        "Headset (USB)",
    ]
    assert len([label for label in of_computer if label.endswith("(loopback)")]) == 6

    assert echo.is_checked()
    source.select_option(label="BlackHole 2ch (loopback)")
    assert not echo.is_checked()
    assert echo.is_disabled()
    source.select_option(label="Headset (USB)")
    assert echo.is_checked()
    assert echo.is_enabled()


def test_sound_of_a_tab_is_translated(open_page: OpenPage, address: str, root: Path, tmp_path: Path):
    tolmach = open_page(address, allowed=False, arguments=["--auto-select-tab-capture-source-by-title=The cinema"])
    film = tolmach.page.context.new_page()
    recording = spoken(root, tmp_path, "en", [STATION])
    film.route("**/film.wav", lambda route: route.fulfill(path=recording, content_type="audio/wav"))
    screen = "<title>The cinema</title><audio src=film.wav></audio>"
    film.route("**/cinema", lambda route: route.fulfill(body=screen, content_type="text/html"))
    film.goto(f"{address}cinema")
    tolmach.page.bring_to_front()
    tolmach.page.locator("#source").select_option(label="A tab, a window or the whole system")
    assert tolmach.page.get_by_label("Echo cancellation").is_disabled()
    tolmach.start()

    film.evaluate("() => { document.querySelector('audio').play(); }")

    assert [c["text"] for c in tolmach.wait_for_captions(1)] == ["Где находится вокзал?"]
    assert tolmach.say("tolmach.pc.getSenders().map((s) => s.track.kind)") == ["audio"], "no picture is sent"
    # Chrome looks at the camera's policy, too, whenever something is shared.
    assert [c for c in tolmach.complaints if "camera is not allowed" not in c] == []
