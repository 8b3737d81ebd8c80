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
    source, headphones = tolmach.page.locator("#source"), tolmach.page.get_by_label("I wear headphones")
    of_computer = source.locator("optgroup").nth(1).locator("option").all_inner_texts()

    assert source.locator("optgroup").first.locator("option").all_inner_texts() == [
        "Default microphone",
        "Headset (USB)",
    ]
    assert len([label for label in of_computer if label.endswith("(loopback)")]) == 6

    hint = tolmach.page.locator("#headphones-hint")
    assert not headphones.is_checked()
    source.select_option(label="BlackHole 2ch (loopback)")
    assert headphones.is_disabled()
    assert "Echo cancellation is off" in hint.inner_text()
    source.select_option(label="Headset (USB)")
    assert headphones.is_enabled()
    assert "Off: the server finds out whether the microphone hears the loudspeaker" in hint.inner_text()


def test_headphones_are_put_on_and_taken_off_during_a_call(open_page: OpenPage, address: str):
    tolmach = open_page(address)
    treatment = "tolmach.source.getSettings().echoCancellation"
    headphones = tolmach.page.get_by_label("I wear headphones")
    tolmach.start()
    assert tolmach.say("tolmach.current.settings") == {}
    assert tolmach.say(treatment) is False, "it would take every second sentence spoken over a translation"

    headphones.check()
    tolmach.until("tolmach.current.settings['in.gate_playback'] === false")
    assert tolmach.say(treatment) is False

    # The file of this graph has opened the gate itself.
    tolmach.page.get_by_role("combobox", name="Graph").select_option("echo")
    tolmach.until("tolmach.current.graph === 'echo'")
    assert tolmach.say("tolmach.current.settings") == {}
    tolmach.page.get_by_role("combobox", name="Graph").select_option("phrasebook-live")
    tolmach.until("tolmach.current.graph === 'phrasebook-live'")
    assert tolmach.say("tolmach.current.settings") == {"in.gate_playback": False}

    headphones.uncheck()
    tolmach.until("!('in.gate_playback' in tolmach.current.settings)")
    assert tolmach.say(treatment) is False
    assert tolmach.complaints == []


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
    assert tolmach.page.get_by_label("I wear headphones").is_disabled()
    tolmach.start()
    assert tolmach.say("tolmach.current.settings") == {"in.gate_playback": False}

    film.evaluate("() => { document.querySelector('audio').play(); }")

    assert [c["text"] for c in tolmach.wait_for_captions(1)] == ["Где находится вокзал?"]
    assert tolmach.say("tolmach.pc.getSenders().map((s) => s.track.kind)") == ["audio"], "no picture is sent"
    # Chrome looks at the camera's policy, too, whenever something is shared.
    assert [c for c in tolmach.complaints if "camera is not allowed" not in c] == []
