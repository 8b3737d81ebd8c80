"""A room in which the microphone hears the loudspeaker: what the page says is not translated again."""

from __future__ import annotations

import pytest

from tests.browser.conftest import OpenPage

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.models]

STATION = 5

# The browser's own echo canceller never sees this path: it is left to the server to notice.
ROOM = """
const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = async (constraints) => {
  window.treatment = constraints.audio.echoCancellation.exact;
  const context = new AudioContext();
  const microphone = context.createMediaStreamDestination();
  context.createMediaStreamSource(await open(constraints)).connect(microphone);
  window.echo = (stream) => context
    .createMediaStreamSource(stream)
    .connect(new DelayNode(context, { delayTime: 0.06 }))
    .connect(new GainNode(context, { gain: 0.5 }))
    .connect(microphone);
  return microphone.stream;
};
"""


def test_the_page_does_not_translate_itself(open_page: OpenPage, address: str):
    tolmach = open_page(address, say=("en", [STATION]), before=lambda context: context.add_init_script(ROOM))
    tolmach.start()
    assert tolmach.say("treatment") is False, "the browser is not asked to cancel an echo before there is one"
    tolmach.page.evaluate("() => echo(tolmach.remote)")
    tolmach.listen()

    tolmach.wait_for_captions(1)
    tolmach.until("heard.some((h) => h.rms > 0.01)")
    tolmach.until("heard.length > 40 && heard.slice(-40).every((h) => h.rms < 0.003)", 30)
    # What came back would be an utterance by now: the detector waits half a second, the model answers in another.
    tolmach.page.wait_for_timeout(3000)

    assert tolmach.say("tolmach.echo") in ("found", "cancelled")
    assert tolmach.page.locator("#echo-found").inner_text().startswith("The microphone hears the loudspeaker")
    captions = tolmach.say("tolmach.captions")
    assert [c["text"] for c in captions] == ["Где находится вокзал?"]
    assert not any(tolmach.heard()[-60:]), "and nothing more was said"
    assert tolmach.complaints == []
