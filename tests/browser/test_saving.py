"""What was said is not lost: by a reload, by a new session, by a server that is gone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.browser.conftest import OpenPage
from tolmach.transports.files.subtitles import Layout, SubtitleWriter

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.models]

STATION = 5
TEXT = "Где находится вокзал?"
NS_PER_MS = 1_000_000

OWN = """async (captions) => {
  const { toSrt, toVtt, toJson } = await import("/static/subtitles.js");
  return { srt: toSrt(captions), vtt: toVtt(captions), json: toJson(captions) };
}"""


def caption(utterance: int, start_ms: int, end_ms: int, text: str, **other: Any) -> dict[str, Any]:
    plain = {"v": 1, "type": "caption", "replayed": False, "source_lang": "en", "target_lang": "ru", "final": True}
    return {**plain, "utterance": utterance, "start_ms": start_ms, "end_ms": end_ms, "text": text, **other}


def test_conversation_survives(open_page: OpenPage, address: str):
    tolmach = open_page(address, say=("en", [STATION]))
    page, keys = tolmach.page, tolmach.page.keyboard
    skip = page.get_by_role("button", name="Skip speech")
    asked: list[str] = []
    page.on(
        "dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss() if len(asked) == 1 else dialog.accept())
    )
    tolmach.start()
    assert skip.is_disabled(), "nothing plays yet"
    tolmach.wait_for_captions(1)
    tolmach.until("!document.getElementById('skip').disabled", 5)
    tolmach.until("document.getElementById('skip').disabled", 10)

    # A reload asks, and goes no further when the answer is no.
    page.evaluate("() => setTimeout(() => location.reload())")
    for _ in range(50):
        if asked:
            break
        page.wait_for_timeout(100)
    assert asked == ["beforeunload"]
    assert tolmach.say("tolmach.state") == "live"

    # A new session keeps the one before, with its files.
    keys.press("s")
    tolmach.until("tolmach.state === 'ended'")
    names = ("SRT", "VTT", "JSON")
    first = {name: tolmach.download(name) for name in names}
    assert TEXT in first["SRT"].decode()
    tolmach.start()
    earlier = "[aria-label^='Save the session of']"
    assert page.locator(".caption.earlier .text").all_inner_texts() == [TEXT]
    assert {name: tolmach.download(name, earlier) for name in names} == first
    tolmach.wait_for_captions(1)
    keys.press("s")
    tolmach.until("tolmach.state === 'ended'")
    assert tolmach.violations() == []
    tolmach.picture("two-conversations")

    # The server is gone: the page says so, and gives what it holds, which is the same.
    page.context.set_offline(True)
    told = page.get_by_text("The server does not answer. Check that it runs")
    told.first.wait_for(timeout=15_000)
    own = {name: tolmach.download(name, earlier) for name in names}
    assert (own["SRT"], own["VTT"]) == (first["SRT"], first["VTT"])
    assert json.loads(own["JSON"]) == json.loads(first["JSON"])
    page.locator("#downloads").get_by_role("button", name="WAV").click()
    page.get_by_text("Only the server has the sound").wait_for()
    tolmach.picture("server-gone")
    assert tolmach.violations() == []
    page.context.set_offline(False)
    tolmach.until("!document.getElementById('notices').innerText.includes('does not answer')", 15)

    # Ended and on the server: nobody has to be asked, and both conversations come back.
    page.reload()
    tolmach.until("document.querySelectorAll('.caption.earlier').length === 2")
    assert len(asked) == 1
    assert page.locator(earlier).count() == 2
    assert tolmach.download("SRT", f":nth-match({earlier}, 1)") == first["SRT"]


def test_files_made_by_the_page(open_page: OpenPage, address: str):
    tolmach = open_page(address)
    said = [
        caption(2, 5000, 6000, "Короткий."),
        caption(1, 1000, 2500, "Fish & chips <b>now</b> --> later"),
        caption(3, 7000, 7300, "Дольше, чем звучит, и потому остаётся"),
        caption(4, 20_000, 21_000, "nothing", rejected="low confidence"),
        caption(5, 22_000, 23_000, "begun", final=False),
        caption(6, 24_000, 25_000, " two\n\nlines\u0000 "),
    ]

    own = tolmach.page.evaluate(OWN, said)

    for kind, vtt in (("srt", False), ("vtt", True)):
        writer = SubtitleWriter(Layout(), vtt=vtt)
        parts = [writer.head]
        for each in (said[1], said[0], said[2], said[5]):
            start_ns, end_ns = each["start_ms"] * NS_PER_MS, each["end_ms"] * NS_PER_MS
            parts.append(writer.add(each["utterance"], start_ns, end_ns, each["text"]))
        assert own[kind] == "".join([*parts, writer.finish()]), "short texts are written as the server writes them"
    assert [c["utterance"] for c in json.loads(own["json"])["captions"]] == [2, 1, 3, 4, 5, 6]
    assert set(json.loads(own["json"])["captions"][0]) == set(said[0]) - {"v", "type", "replayed"}

    long = tolmach.page.evaluate(OWN, [caption(1, 0, 2000, f"{'слово ' * 60}{'я' * 200}"), caption(2, 2500, 3000, "!")])
    cues = [cue.split("\n") for cue in long["srt"].strip().split("\n\n")]
    assert all(len(lines) <= 4 and all(len(line) <= 42 for line in lines[2:]) for lines in cues)
    assert "".join("".join(lines[2:]) for lines in cues).replace(" ", "") == f"{'слово' * 60}{'я' * 200}!"
    times = [time for lines in cues for time in lines[1].split(" --> ")]
    assert times == sorted(times), "no two cues are seen at once"
    assert tolmach.complaints == []
