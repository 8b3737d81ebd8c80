"""A page of fifty lines that speaks the simple WebSocket protocol, as such pages are written, in Chromium."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.conftest import OpenPage
from tests.browser.sound import in_turn

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.models]

PAGE = """\
<select id="mode"><option>auto<option>en->ru<option>ru->en</select>
<button id="go">Go</button><button id="stop">Stop</button><ul id="texts"></ul>
"""
APP = """\
window.texts = document.getElementById("texts");
window.played = [];
window.errors = [];
const queue = [];
let context, node, stream;

function playNext() {
  if (!queue.length || window.playing) return;
  const audio = new Audio(URL.createObjectURL(queue.shift()));
  window.playing = true;
  audio.onended = () => { window.played.push(audio.duration); window.playing = false; playNext(); };
  audio.onerror = () => { window.errors.push("a blob that is no sound"); window.playing = false; };
  audio.play();
}

document.getElementById("go").onclick = async () => {
  stream = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: true } });
  window.socket = new WebSocket(`ws://${location.host}/ws/translate`);
  socket.onopen = () => socket.send(JSON.stringify({ mode: document.getElementById("mode").value }));
  socket.onmessage = ({ data }) => {
    if (typeof data === "string") {
      const { src, tgt, text, error } = JSON.parse(data);
      if (error) return window.errors.push(error);
      texts.append(Object.assign(document.createElement("li"), { textContent: `${src} ${tgt} ${text}` }));
    } else {
      queue.push(data); // a Blob
      playNext();
    }
  };
  context = new AudioContext({ sampleRate: 48000 });
  node = context.createScriptProcessor(4096, 1, 1);
  node.onaudioprocess = ({ inputBuffer }) => {
    if (socket.readyState !== 1) return;
    const samples = inputBuffer.getChannelData(0);
    const pcm = new Int16Array(samples.length);
    for (let n = 0; n < samples.length; n++) pcm[n] = Math.max(-1, Math.min(1, samples[n])) * 32767;
    socket.send(pcm.buffer);
  };
  context.createMediaStreamSource(stream).connect(node);
  node.connect(context.destination);
};
document.getElementById("stop").onclick = () => {
  node.disconnect();
  stream.getTracks().forEach((track) => track.stop());
  socket.send("__flush__");
};
"""


def test_a_small_page_speaks_and_hears(open_page: OpenPage, address: str, root: Path, tmp_path: Path):
    said = in_turn(root, tmp_path, [("en", 0), ("ru", 5)], 2.5)
    page = open_page(f"{address}healthz", say=said)  # an empty page of the server's own origin
    page.page.evaluate(f"() => {{ document.body.innerHTML = `{PAGE}`; }}")
    page.page.evaluate(f"() => {{ {APP} }}")
    page.page.get_by_role("button", name="Go").click()
    page.until("texts.children.length >= 2 && played.length >= 2", 40)
    assert page.page.locator("li").all_inner_texts() == ["en ru Доброе утро.", "ru en Where is the train station?"]
    assert all(seconds > 0.3 for seconds in page.say("played"))
    page.page.get_by_role("button", name="Stop").click()
    page.page.wait_for_timeout(500)
    assert page.say("socket.readyState") == 1, "a flush is no end"
    assert page.say("errors") == []
    assert page.complaints == []
