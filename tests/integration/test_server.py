"""The server as its clients see it: sessions over HTTP, graphs over WebRTC, everything in one process."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.integration.served_peer import server
from tests.integration.webrtc_peer import babble
from tests.until import until
from tolmach.pipelines.builtin.pass_through import Identity
from tolmach.pipelines.errors import ModelError
from tolmach.pipelines.frames import Samples

LISTEN = """\
version: 1
name: listen
params:
  quiet: {default: 0, choices: [0, 1], description: "Nothing."}
elements:
  in:     {type: webrtc_src}
  to_16k: {type: resample, rate_hz: 16000}
  vad:    {type: webrtc_vad, mode: 3, hangover_ms: 300}
  out:    {type: fake_sink}
  fork:   {type: tee}
  mute:   {type: fake_sink}
  loud:   {type: webrtc_sink}
links:
  - in -> fork
  - fork -> to_16k -> vad -> out
  - fork -> loud
"""
LISTEN = LISTEN.replace("  mute:   {type: fake_sink}\n", "")


@pytest.fixture
def graphs(tmp_path: Path, root: Path) -> Path:
    shutil.copy(root / "config" / "echo.yaml", tmp_path)
    (tmp_path / "listen.yaml").write_text(LISTEN)
    return tmp_path


def spoken(root: Path, name: str, seconds: float, start_s: float = 0) -> Samples:
    from scipy.signal import resample_poly

    recording, rate_hz = soundfile.read(root / "config" / "demo" / name, dtype="float32")
    part = recording[round(start_s * rate_hz) : round((start_s + seconds) * rate_hz)]
    return np.asarray(resample_poly(part, 48_000 // rate_hz, 1), np.float32)


async def test_a_session_from_offer_to_goodbye(graphs: Path) -> None:
    async with server(graphs) as client:
        peer = await client.call(babble(30))
        await peer.hear(50)
        stats = await peer.until("stats")
        flow = await peer.until("flow")
        shown = (await client.http.get(peer.url)).json()
        peer.channel.send('{"v":1,"type":"bye"}')
        await until(lambda: not len(client.service.pool), within_s=20)
        ended = (await client.http.get(peer.url)).json()
    assert stats["receiver"]["received"] > 20
    assert stats["sender"]["sent"] > 20
    assert flow["elements"] == ["in", "out"]
    assert (shown["state"], shown["graph"]) == ("live", "echo")
    assert (ended["state"], ended["end_reason"]) == ("ended", "the peer said goodbye")


async def test_a_session_can_be_deleted_and_is_then_unknown_to_patches(graphs: Path) -> None:
    async with server(graphs) as client:
        peer = await client.call(babble(30))
        await peer.hear(10)
        assert (await client.http.delete(peer.url)).status_code == 204
        assert (await peer.until("bye"))["reason"] == "the client has ended it"
        assert (await client.error("DELETE", peer.url, 409))["code"] == "conflict"
        assert (await client.error("PATCH", peer.url, 409, json={"sdp": "x"}))["code"] == "conflict"


async def test_another_graph_takes_over_without_a_new_offer(graphs: Path) -> None:
    async with server(graphs) as client:
        words = babble(40)
        words[np.arange(len(words)) % (2 * 48_000) > 48_000] = 0  # a second of silence in two
        peer = await client.call(words)
        await peer.until("graph", lambda m: m["state"] == "current")
        put = await client.http.put(f"{peer.url}/graph", json={"graph": "listen"})
        assert put.status_code == 202
        states = []
        while not states or states[-1] != "current":
            message = await peer.until("graph")
            assert message["graph"] == "listen"
            states.append(message["state"])
        assert states[0] == "loading"
        await peer.until("speech", lambda m: m["active"])
        settings = {"graph": "listen", "settings": {"vad.hangover_ms": 900}}
        assert (await client.http.put(f"{peer.url}/graph", json=settings)).status_code == 202
        current = await peer.until("graph", lambda m: m["state"] == "current" and m["settings"])
        assert current["settings"] == {"vad.hangover_ms": 900}
        await peer.hear(25)
        assert (await client.http.get(peer.url)).json()["graph"] == "listen"


async def test_a_graph_that_cannot_start_leaves_the_one_that_runs(graphs: Path) -> None:
    text = LISTEN.replace("{type: fake_sink}", "{type: file_sink, path: /proc/nowhere/a.wav}")
    (graphs / "broken.yaml").write_text(text)
    async with server(graphs) as client:
        peer = await client.call(babble(40))
        await client.http.put(f"{peer.url}/graph", json={"graph": "broken"})
        failed = await peer.until("graph", lambda m: m["state"] == "failed")
        assert failed["text"] == "…/a.wav: cannot be written: No such file or directory", "no path of the server"
        await peer.hear(50)
        assert (await client.http.get(peer.url)).json()["graph"] == "echo"
        # The first graph of a session has nothing to fall back on.
        other = await client.call(babble(5), "broken")
        assert (await other.until("bye"))["reason"].startswith("…/a.wav: cannot be written")
        await peer.hear(25)


async def test_a_client_that_vanished_comes_back_to_its_session(graphs: Path) -> None:
    async with server(graphs, resume_s=20) as client:
        peer = await client.call(babble(30), "listen")
        await peer.hear(50)
        await peer.vanish()
        await until(lambda: client.service.pool.find(peer.session).state == "away", within_s=20)
        position_ms = (await client.http.get(peer.url)).json()["position_ms"]
        again = await client.call(babble(30), "", resume=peer.session)
        assert again.session == peer.session
        assert await again.until("speech"), "its graph listens again"
        await again.until("stats", lambda m: m["receiver"]["received"] > 60)
        shown = (await client.http.get(peer.url)).json()
        assert shown["state"] == "live"
        assert shown["position_ms"] > position_ms + 500, "one clock"
        assert len(client.service.pool) == 1


async def test_a_client_that_does_not_come_back_is_given_up(graphs: Path) -> None:
    async with server(graphs, resume_s=0.2) as client:
        peer = await client.call(babble(30))
        await peer.hear(10)
        await peer.vanish()
        await until(lambda: not len(client.service.pool), within_s=20)
        shown = (await client.http.get(peer.url)).json()
        assert shown["end_reason"] == "the client did not come back within 0.2 s"
        error = await client.error("POST", "/api/sessions", 409, json={"sdp": "v=0", "resume": peer.session})
        assert "did not come back" in error["message"]


async def test_limits_are_kept_and_refusals_say_why(graphs: Path) -> None:
    async with server(graphs, max_sessions=2, max_sessions_per_address=2, offers_per_minute=8) as client:
        first, second = await client.call(babble(30)), await client.call(babble(30))
        offer = {"graph": "echo", "sdp": second.pc.localDescription.sdp}
        busy = await client.error("POST", "/api/sessions", 503, json=offer)
        assert (busy["code"], busy["retry_after_s"]) == ("busy", 15)
        assert "all 2 places are taken" in busy["message"]
        await client.http.delete(first.url)
        assert (await client.error("POST", "/api/sessions", 404, json={**offer, "graph": "nothing"}))[
            "code"
        ] == "not-found"
        wrong = {**offer, "graph": "listen", "params": {"quiet": 7}}
        assert (await client.error("POST", "/api/sessions", 422, json=wrong))["code"] == "bad-graph"
        locked = {**offer, "settings": {"in.session": "x"}}
        assert (await client.error("POST", "/api/sessions", 422, json=locked))["code"] == "bad-graph"
        bad = await client.error("POST", "/api/sessions", 400, json={**offer, "sdp": "v=0"})
        assert "no media" in bad["message"]
        assert (await client.error("POST", "/api/sessions", 413, json={**offer, "sdp": "v" * 200_000}))[
            "code"
        ] == "too-large"
        assert len(client.service.pool) == 1, "what was refused leaves nothing behind"
        codes = set()
        for _ in range(6):
            codes.add((await client.http.post("/api/sessions", json=offer | {"graph": "nothing"})).status_code)
        assert codes == {404, 429}
        await second.hear(25)


async def test_poison_harms_nobody_else(graphs: Path) -> None:
    random = np.random.default_rng(5)
    async with server(graphs) as client:
        healthy, poisoned = await client.call(babble(40)), await client.call(babble(40), "listen")
        await healthy.hear(25)
        connection = client.service.pool.find(poisoned.session).connection
        assert connection is not None
        for n in range(500):
            connection.receiver.add(int(random.integers(2**16)), int(random.integers(2**32)), random.bytes(n % 200))
        poisoned.channel.send("{" * 1000)
        poisoned.channel.send('{"v":1,"type":"' + "x" * 10_000 + '"}')
        poisoned.channel.send('{"v":1,"type":"clear"}')
        await healthy.hear(100)
        await poisoned.hear(25)
        stats = client.service.pool.find(healthy.session).line.receiver_stats()
        assert stats["overflowed"] == 0


async def test_time_runs_out_for_those_who_say_nothing(graphs: Path) -> None:
    async with server(graphs, idle_s=1) as client:
        silent = await client.call(np.zeros(48_000, np.float32), "listen")
        assert (await silent.until("bye"))["reason"] == "nobody has spoken for 0.0166667 minutes"
    async with server(graphs, max_session_s=1) as client:
        talker = await client.call(babble(30))
        assert "at most" in (await talker.until("bye"))["reason"]


async def test_health_config_and_metrics(graphs: Path) -> None:
    async with server(graphs, token="a-long-token") as client:  # noqa: S106 -- of nothing
        assert (await client.http.get("/healthz")).json() == {"status": "ok"}
        for path in ("/", "/favicon.ico", "/static/app.js"):
            assert (await client.http.get(path)).status_code == 200
        assert (await client.error("GET", "/api/graphs", 401))["code"] == "unauthorised"
        client.http.headers["Authorization"] = "Bearer a-long-token"
        names = [g["name"] for g in (await client.http.get("/api/graphs")).json()["graphs"]]
        drawing = (await client.http.get("/api/graphs/listen/drawing.svg")).text
        assert (await client.http.get("/readyz")).json()["ready"]
        peer = await client.call(babble(30), "listen")
        await peer.hear(50)
        config = (await client.http.get("/api/config")).json()
        while_live = (await client.http.get("/metrics")).text
        await client.http.delete(peer.url)
        after = (await client.http.get("/metrics")).text
    assert names == ["echo", "listen"]
    assert 'data-element="vad"' in drawing
    assert config["limits"]["sessions"] == 1
    assert value(while_live, "tolmach_sessions") == 1
    assert value(while_live, "tolmach_receiver_received_total") > 25
    assert value(after, "tolmach_sessions") == 0
    assert value(after, "tolmach_receiver_received_total") >= value(while_live, "tolmach_receiver_received_total")


async def test_ready_means_that_every_element_of_the_default_graph_has_run_once(
    graphs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (graphs / "echo.yaml").write_text(
        "version: 1\nname: echo\nelements:\n  in: {type: webrtc_src}\n  it: {type: identity}\n"
        "  out: {type: webrtc_sink}\nlinks: [in -> it -> out]\n"
    )
    warming, go_on = asyncio.Event(), asyncio.Event()

    async def warm(self: Identity) -> None:
        warming.set()
        await go_on.wait()

    monkeypatch.setattr(Identity, "warm", warm)
    async with server(graphs, default_graph="echo") as client:
        warmer = client.service._warmer
        warmer.done.clear()
        again = asyncio.create_task(warmer.run(["echo"]))
        await asyncio.wait_for(warming.wait(), 30)
        assert (await client.http.get("/readyz")).status_code == 503
        go_on.set()
        await again
        assert (await client.http.get("/readyz")).status_code == 200

        async def broken(self: Identity) -> None:
            raise ModelError("it does not answer")

        monkeypatch.setattr(Identity, "warm", broken)
        trying = asyncio.create_task(warmer.run(["echo"]))  # and again, later
        await until(lambda: bool(warmer.failed))
        answer = await client.http.get("/readyz")
        assert (answer.status_code, answer.json()["failed"]) == (503, ["echo: it does not answer"])
        trying.cancel()


def value(metrics: str, name: str) -> float:
    (line,) = [line for line in metrics.splitlines() if line.startswith(f"{name} ")]
    return float(line.split()[1])


async def test_a_server_that_stops_lets_people_finish(graphs: Path) -> None:
    async with server(graphs) as client:
        peer = await client.call(babble(30))
        await peer.hear(25)
        draining = asyncio.create_task(client.service.drain())
        await asyncio.sleep(0)
        offer = {"graph": "echo", "sdp": peer.pc.localDescription.sdp}
        assert (await client.error("POST", "/api/sessions", 503, json=offer))["code"] == "draining"
        assert (await client.http.get("/readyz")).status_code == 503
        assert (await peer.until("bye"))["reason"] == "the server is stopping"
        await asyncio.wait_for(draining, 10)


@pytest.mark.models
async def test_what_is_said_is_captioned_spoken_and_kept(root: Path, tmp_path: Path) -> None:
    shutil.copy(root / "config" / "phrasebook-live.yaml", tmp_path)
    reference = json.loads((root / "config" / "demo" / "phrasebook-en.json").read_text("utf-8"))
    async with server(tmp_path, warm=True) as client:
        # With headphones: the second phrase is spoken while the first is heard.
        settings = {"in.gate_playback": False}
        peer = await client.call(spoken(root, "phrasebook-en.flac", 8.5), "phrasebook-live", settings=settings)
        # A translation begins in the pause that may be the end: its text is grey until it is.
        captions = [await peer.until("caption", lambda m: m["final"]) for _ in range(2)]
        heard = await peer.until("timeline", lambda m: m["utterance"] == 2 and m["heard_ms"] is not None)
        await peer.vanish()
        await until(lambda: client.service.pool.find(peer.session).state == "away", within_s=20)
        again = await client.call(spoken(root, "phrasebook-en.flac", 6, start_s=8), "", resume=peer.session)
        replayed = [await again.until("caption") for _ in range(2)]
        more = await again.until("caption", lambda m: not m["replayed"] and m["final"])
        await again.until("timeline", lambda m: m["heard_ms"] is not None)
        await again.hear(50)
        srt = (await client.http.get(f"{peer.url}/subtitles.srt")).text
        vtt = (await client.http.get(f"{peer.url}/subtitles.vtt")).text
        wav = (await client.http.get(f"{peer.url}/dub.wav")).content
        kept = (await client.http.get(f"{peer.url}/transcript.json")).json()
    wanted = [phrase["ru"] for phrase in reference]
    assert [c["text"] for c in captions] == wanted[:2]
    assert [(c["utterance"], c["text"], c["replayed"]) for c in replayed] == [
        (1, wanted[0], True),
        (2, wanted[1], True),
    ]
    assert more["utterance"] >= 3, "numbered through"
    assert more["start_ms"] > captions[1]["end_ms"]
    assert heard["vad_ms"] >= 200 - 40, "the shortest pause that ends an utterance"
    assert heard["vad_ms"] <= heard["ast_ms"] <= heard["tts_ms"] <= heard["heard_ms"]
    assert wanted[0] in srt
    assert vtt.startswith("WEBVTT\n\n")
    assert [c["text"] for c in kept["captions"]][:2] == wanted[:2]
    dub, rate_hz = soundfile.read(io.BytesIO(wav), dtype="float32")
    assert rate_hz == 48_000
    assert np.abs(dub[: round(captions[0]["end_ms"] * 48)]).max() < 1e-3, "nobody is translated before having spoken"
    assert np.sqrt(np.mean(dub[round(captions[0]["end_ms"] * 48) :] ** 2)) > 0.01


async def test_a_client_may_come_back_before_it_was_missed(graphs: Path) -> None:
    async with server(graphs) as client:
        peer = await client.call(babble(30), "listen")
        await peer.until("speech")
        await peer.vanish()
        again = await client.call(babble(30), "", resume=peer.session)
        assert again.opening["resumed"]
        await again.until("speech")
        await again.hear(50)
        assert client.service.pool.find(peer.session).state == "live"
        third = await client.call(babble(30), "echo", resume=peer.session)
        await again.until("bye")
        assert (await third.until("graph", lambda m: m["state"] == "current"))["graph"] == "echo"
        await third.hear(50)
