"""Sessions in rough weather: offers nobody follows up, clients that come back at the end, a server that stops."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.integration.served_peer import server
from tests.integration.test_server import LISTEN, spoken
from tests.integration.webrtc_peer import babble
from tests.until import until
from tolmach.pipelines.language.check import load_graph
from tolmach.transports.webrtc.session_line import RESOURCE, Line
from tolmach.web import service
from tolmach.web.metrics import Metrics
from tolmach.web.sessions import dub as dub_module
from tolmach.web.sessions import pool as pool_module
from tolmach.web.sessions.run import Choice, Run
from tolmach.web.sessions.transcript import Caption, Numbers

HALF_CHARACTER = r'"\ud800"'


@pytest.fixture
def graphs(tmp_path: Path, root: Path) -> Path:
    folder = tmp_path / "graphs"
    folder.mkdir()
    shutil.copy(root / "config" / "echo.yaml", folder)
    (folder / "listen.yaml").write_text(LISTEN)
    return folder


# Places ---------------------------------------------------------------------------------------------------------------


async def test_offers_that_nobody_follows_up_keep_nobody_out(graphs: Path) -> None:
    async with server(graphs, max_sessions=2, offers_per_minute=1000) as client:
        dead = client.peer(babble(1))
        for _ in range(12):
            assert (await dead.offer({"graph": "echo"})).status_code == 201
        assert len(client.service.pool) <= 5
        talkers = [await client.call(babble(30)) for _ in range(2)]
        for _ in range(12):
            await dead.offer({"graph": "echo"})
        for talker in talkers:
            await talker.hear(25)
        busy = await client.error("POST", "/api/sessions", 503, json={"graph": "echo", "sdp": "v=0"})
        assert "all 2 places are taken" in busy["message"]
        assert client.service.pool.as_json() == {"sessions": 2, "max_sessions": 2}


async def test_offers_of_one_address_do_not_hurry_the_others(graphs: Path) -> None:
    async with server(graphs, max_sessions=2, offers_per_minute=1000) as client:
        patient = client.peer(babble(30))
        answer = await patient.offer({"graph": "echo"})
        crowd = httpx.ASGITransport(client.app, client=("192.0.2.7", 5))
        async with httpx.AsyncClient(transport=crowd, base_url="http://127.0.0.1:8000") as http:
            for _ in range(12):
                offer = {"graph": "echo", "sdp": patient.pc.localDescription.sdp}
                assert (await http.post("/api/sessions", json=offer)).status_code == 201
        await patient.connect(answer)
        await patient.hear(25)


async def test_who_connects_when_the_last_place_is_taken_is_told_so(graphs: Path) -> None:
    async with server(graphs, max_sessions=1) as client:
        first, second = client.peer(babble(30)), client.peer(babble(30))
        answers = [await first.offer({"graph": "echo"}), await second.offer({"graph": "echo"})]
        await first.connect(answers[0])
        await first.hear(10)
        await second.connect(answers[1])
        assert "all 1 places are taken" in (await second.until("bye"))["reason"]
        await first.hear(25)
        assert len(client.service.pool) == 1


# Coming back ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spoilt", ["v=0", "opus", "fingerprint"])
async def test_an_offer_that_cannot_be_used_leaves_the_connection_that_works(graphs: Path, spoilt: str) -> None:
    async with server(graphs) as client:
        peer = await client.call(babble(30))
        await peer.hear(10)
        other = client.peer(babble(1))
        await other.pc.setLocalDescription(await other.pc.createOffer())
        sdp = other.pc.localDescription.sdp
        sdp = {
            "v=0": "v=0",
            "fingerprint": sdp.replace("a=fingerprint:", "a=nothing:"),
            "opus": sdp.replace("opus/48000", "nothing/48000").replace("PCM", "nothing").replace("G722", "nothing"),
        }[spoilt]
        await client.error("POST", "/api/sessions", 400, json={"sdp": sdp, "resume": peer.session})
        await peer.hear(50)
        assert not [m for m in peer.told if m["type"] == "bye"]
        assert client.service.pool.find(peer.session).state == "live"


@pytest.mark.parametrize("turns", [0, 3, 30, 100])
async def test_coming_back_while_the_session_ends_leaves_nothing_behind(graphs: Path, turns: int) -> None:
    async with server(graphs) as client:  # which looks for tasks of connections that nobody counts
        peer = await client.call(babble(10))
        await peer.hear(5)
        again = client.peer(babble(10))
        resuming = asyncio.create_task(again.offer({"graph": "", "resume": peer.session}))
        for _ in range(turns):
            await asyncio.sleep(0)
        assert (await client.http.delete(peer.url)).status_code == 204
        answer = await resuming
        assert answer.status_code in (201, 409), answer.text
        if answer.status_code == 409:
            assert "the client has ended it" in answer.json()["error"]["message"]
        assert not len(client.service.pool)
        shown = (await client.http.get(peer.url)).json()
        assert (shown["state"], shown["end_reason"]) == ("ended", "the client has ended it")
        put = await client.http.put(f"{peer.url}/graph", json={"graph": "echo"})
        assert put.status_code == 409


async def test_a_client_that_comes_back_as_its_time_runs_out_is_back_or_is_told(graphs: Path) -> None:
    for delay_s in (0.25, 0.295, 0.305):
        async with server(graphs, resume_s=0.3) as client:
            peer = await client.call(babble(10))
            await peer.hear(5)
            session = client.service.pool.find(peer.session)
            assert session.connection is not None
            session.connection.hang_up("the wire was cut")
            await asyncio.sleep(delay_s)
            again = client.peer(babble(10))
            answer = await again.offer({"graph": "", "resume": peer.session})
            if answer.status_code == 201:
                await again.connect(answer)
                await again.hear(10)
                assert session.state == "live"
            else:
                assert answer.status_code == 409
                assert session.state == "ended"


async def test_another_graph_may_be_chosen_before_the_client_hears_that_its_first_has_failed(graphs: Path) -> None:
    text = LISTEN.replace("{type: fake_sink}", "{type: file_sink, path: /proc/nowhere/a.wav}")
    (graphs / "broken.yaml").write_text(text)
    async with server(graphs) as client:
        peer = client.peer(babble(30))
        answer = await peer.offer({"graph": "broken"})
        session = client.service.pool.find(answer.json()["session"])
        await until(lambda: not session._runs)
        put = await client.http.put(f"/api/sessions/{session.id}/graph", json={"graph": "echo"})
        assert put.status_code == 202
        await peer.connect(answer)
        await peer.until("graph", lambda m: m["state"] == "current")
        await peer.hear(25)


async def test_a_client_that_comes_back_hears_all_of_a_long_session_to_its_newest_caption(graphs: Path) -> None:
    async with server(graphs) as client:
        peer = await client.call(babble(60))
        transcript = client.service.pool.find(peer.session).transcript
        for n in range(1, 2501):
            text = f"{n}: " + "слово за словом " * 15
            transcript.add(
                Caption(
                    n,
                    1000 * n,
                    1000 * n + 900,
                    "en",
                    "ru",
                    text,
                    n < 2500,
                    None,
                    -0.1,
                    "test",
                    0,
                    False,
                    False,
                    None,
                    None,
                    False,
                )
            )
        again = await client.call(babble(60), "", resume=peer.session)
        first = await again.until("caption")
        assert (first["utterance"], first["replayed"]) == (1, True)
        # What is final meanwhile is not told as it was before.
        transcript.add(
            Caption(
                2500,
                2_500_000,
                2_500_900,
                "en",
                "ru",
                "the last",
                True,
                None,
                -0.1,
                "test",
                0,
                False,
                False,
                None,
                None,
                False,
            )
        )
        last = await again.until("caption", lambda m: m["utterance"] == 2500)
        captions = [m for m in again.told if m["type"] == "caption"]
        assert [c["utterance"] for c in captions] == list(range(1, 2501))
        assert (last["text"], last["final"]) == ("the last", True)
        await again.hear(25)


# The end --------------------------------------------------------------------------------------------------------------


async def drained_in_mid_sentence(graphs: Path, tmp_path: Path, signal: np.ndarray, **settings: float) -> str:
    """How the utterance ended that was under way when the server was asked to stop."""
    written = tmp_path / "events.jsonl"
    (graphs / "written.yaml").write_text(
        LISTEN.replace("{type: fake_sink}", f"{{type: jsonl_sink, path: {written}}}").replace("listen", "written")
    )
    async with server(graphs, **settings) as client:
        peer = await client.call(signal, "written")
        await peer.until("speech", lambda m: m["active"])
        await asyncio.wait_for(client.service.drain(), 20)
        assert (await peer.until("bye"))["reason"] == "the server is stopping"
    events = [json.loads(line) for line in written.read_text().splitlines()]
    return str([e["reason"] for e in events if e["event"] == "utterance"][-1])


async def test_a_server_that_stops_lets_a_sentence_be_finished(graphs: Path, root: Path, tmp_path: Path) -> None:
    assert await drained_in_mid_sentence(graphs, tmp_path, spoken(root, "phrasebook-en.flac", 12)) == "silence"


async def test_but_not_a_sentence_without_an_end(graphs: Path, tmp_path: Path) -> None:
    endless = babble(30)
    endless = np.where(endless == 0, np.roll(endless, 24_000), endless)
    assert await drained_in_mid_sentence(graphs, tmp_path, endless, drain_s=2) == "eos"


# What is kept and told ------------------------------------------------------------------------------------------------


async def test_time_stamps_that_jump_do_not_make_a_long_recording(graphs: Path) -> None:
    async with server(graphs) as client:
        peer = await client.call(babble(30))
        await peer.hear(25)
        session = client.service.pool.find(peer.session)
        assert session.connection is not None
        receiver = session.connection.receiver
        for n in range(200):
            receiver.add(n, (n * 240_000) % 2**32, b"\xf8\xff\xfe")  # five seconds a packet
            await asyncio.sleep(0)
        await peer.hear(25)
        wav = (await client.http.get(f"{peer.url}/dub.wav")).content
        lasted_s = session._lasted_ns() / 1e9
    assert len(wav) / 96_000 <= lasted_s + 1


async def test_a_recording_that_is_full_is_told_and_ends_there(graphs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dub_module, "MAX_PACKETS", 50)
    async with server(graphs) as client:
        peer = await client.call(babble(30))
        told = await peer.until("event", lambda m: "recorded_until_ms" in m["data"])
        assert "recording of this session is full" in told["text"]
        await peer.hear(50)
        shown = (await client.http.get(peer.url)).json()
        assert shown["recorded_until_ms"] == told["data"]["recorded_until_ms"] > 900
        wav = await client.http.get(f"{peer.url}/dub.wav")
        assert (len(wav.content) - 44) // 96 == pytest.approx(shown["recorded_until_ms"], abs=1)
        assert 'filename="dub-until-minute-0.wav"' in wav.headers["content-disposition"]
        again = await client.call(babble(5), "", resume=peer.session)
        assert (await again.until("event"))["data"] == told["data"], "who comes back is told, too"


async def test_what_ended_sessions_keep_is_bounded_together(graphs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "MAX_KEPT_BYTES", 2_500_000)
    async with server(graphs) as client:
        peers = []
        for _ in range(3):
            peer = await client.call(babble(5))
            transcript = client.service.pool.find(peer.session).transcript
            transcript.add(
                Caption(
                    1, 0, 900, "en", "ru", "я" * 500_000, True, None, None, "test", 0, False, False, None, None, False
                )
            )
            assert (await client.http.delete(peer.url)).status_code == 204
            peers.append(peer)
        found = [(await client.http.get(f"{peer.url}/subtitles.srt")).status_code for peer in peers]
    assert found == [404, 200, 200], "the oldest has gone"


async def test_a_switch_is_logged_whether_it_succeeds_or_not(graphs: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = LISTEN.replace("{type: fake_sink}", "{type: file_sink, path: /proc/nowhere/a.wav}")
    (graphs / "broken.yaml").write_text(text)
    words = babble(40)
    words[np.arange(len(words)) % (2 * 48_000) > 48_000] = 0
    with caplog.at_level(logging.INFO, "tolmach.web"):
        async with server(graphs) as client:
            peer = await client.call(words)
            await peer.hear(10)
            await client.http.put(f"{peer.url}/graph", json={"graph": "broken"})
            await peer.until("graph", lambda m: m["state"] == "failed")
            await client.http.put(f"{peer.url}/graph", json={"graph": "listen"})
            await peer.until("graph", lambda m: m["graph"] == "listen" and m["state"] == "current")
            await client.error("PUT", f"{peer.url}/graph", 422, json={"graph": "listen", "params": {"quiet": 9}})
    said = [r.getMessage() for r in caplog.records if r.name in ("tolmach.web.sessions.session", "tolmach.web.service")]
    short = peer.session[:6]
    assert f"session {short}: graph echo runs" in said
    assert any(s.startswith(f"session {short}: graph broken has failed: ") for s in said)
    assert f"session {short}: graph listen runs" in said
    assert f"session {short}: a switch is refused (GraphError)" in said


async def test_what_the_queues_of_an_ended_run_have_dropped_stays_counted() -> None:
    graph = load_graph(
        "a.yaml",
        text="""\
version: 1
elements:
  in:   {type: test_src, duration_ms: 1000}
  wait: {type: queue, max_frames: 1, leaky: upstream}
  out:  {type: fake_sink}
links: [in -> wait -> out]
""",
    )
    ended: list[Run] = []
    metrics = Metrics(list)
    seen: list[float] = []

    def changed(run: Run) -> None:
        if run.state == "waiting":
            assert run.snapshot().queues["wait"]["dropped"] == 0
        if run.over:
            metrics.retire(run.snapshot())
            ended.append(run)

    for _ in range(2):
        run = Run(
            Choice("a", {}, {}), graph, {RESOURCE: Line()}, Numbers().of_run(), lambda run, message: None, changed
        )
        run.start()
        await run.ended()
        text = metrics.render()[0].decode()
        (line,) = [s for s in text.splitlines() if s.startswith("tolmach_queue_dropped_frames_total{")]
        seen.append(float(line.split()[-1]))
    assert not any(run.error for run in ended)
    assert 0 < seen[0] < seen[1]
    assert run.snapshot().queues["wait"]["frames"] == 0


async def test_what_can_be_got_can_be_asked_for(graphs: Path) -> None:
    async with server(graphs, token="a-long-token") as client:  # noqa: S106 -- of nothing
        for path in ("/", "/healthz", "/readyz", "/static/app.js", "/favicon.ico"):
            got, head = await client.http.get(path), await client.http.head(path)
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["content-length"] == str(len(got.content))
        assert (await client.http.head("/api/graphs")).status_code == 401
        assert (await client.http.head("/static/no-such-file")).status_code == 404
        assert (await client.http.post("/healthz")).status_code == 405


def bodies(session: str) -> list[tuple[str, str, str]]:
    half, offer = HALF_CHARACTER, '"graph": "echo", "sdp": "v=0"'
    return [
        ("POST", "/api/sessions", f'{{"graph": {half}, "sdp": "v=0"}}'),
        ("POST", "/api/sessions", f'{{"graph": "echo", "sdp": {half}}}'),
        ("POST", "/api/sessions", f'{{"graph": "echo", "sdp": "v=0", "resume": {half}}}'),
        ("POST", "/api/sessions", f"{{{offer}, {half}: 1}}"),
        ("POST", "/api/sessions", f'{{{offer}, "params": {{{half}: 1}}}}'),
        ("POST", "/api/sessions", f'{{{offer}, "settings": {{"tts.greeting": {half}, {half}: {half}}}}}'),
        ("POST", "/api/sessions", f'{{{offer}, "params": {{"quiet": NaN}}}}'),
        ("POST", "/api/sessions", f'{{{offer}, "params": {{"quiet": 1e999}}}}'),
        ("PUT", f"{session}/graph", f'{{"graph": {half}}}'),
        ("PUT", f"{session}/graph", f'{{"graph": "words", "params": {{"word": {half}}}}}'),
        ("PUT", f"{session}/graph", f'{{"graph": "words", "settings": {{"vad.hangover_ms": {half}}}}}'),
        ("PATCH", session, f'{{"sdp": {half}}}'),
        ("PATCH", session, f'{{"candidates": [{{"candidate": {half}, "sdpMid": {half}}}]}}'),
        ("GET", "/api/sessions/%ed%a0%80", ""),
        ("DELETE", "/api/sessions/%ff", ""),
        ("GET", "/api/graphs/%ff/drawing.svg?%ff=%ed%a0%80", ""),
    ]


async def test_whatever_text_a_client_sends_the_answer_is_json_in_utf_8(graphs: Path) -> None:
    (graphs / "words.yaml").write_text(
        LISTEN.replace("name: listen", "name: words").replace("params:", "params:\n  word: {default: a}")
    )
    async with server(graphs, trust_params=True, offers_per_minute=1000) as client:
        peer = await client.call(babble(20), "listen")
        for method, path, body in bodies(peer.url):
            answer = await client.http.request(method, path, content=body, headers={"Content-Type": "application/json"})
            assert 400 <= answer.status_code < 500, (body, answer.text)
            assert json.loads(answer.content.decode())["error"]["message"]
        for number in (HALF_CHARACTER, "NaN", "1e999", "[" * 5000, "{}"):
            peer.channel.send(f'{{"v": 1, "type": "ping", "number": {number}}}')
        peer.channel.send(f'{{"v": 1, "type": {HALF_CHARACTER}, {HALF_CHARACTER}: 1}}')
        await peer.hear(50)
        assert (await client.http.get(peer.url)).json()["state"] == "live"


@pytest.mark.parametrize("by_itself", [False, True])
async def test_what_could_not_be_loaded_is_forgotten_when_it_can(
    graphs: Path, tmp_path: Path, by_itself: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "RETRY_S", 0.05 if by_itself else 1000.0)
    blocker = tmp_path / "blocker"
    blocker.write_text("a file where a folder should be")
    text = LISTEN.replace("{type: fake_sink}", f"{{type: file_sink, path: {blocker}/a.wav}}")
    (graphs / "blocked.yaml").write_text(text)
    async with server(graphs, ready=False, warm=True, default_graph="blocked", token="a-long-token") as client:  # noqa: S106
        await until(lambda: client.service.readiness()["status"] == "failed")
        answer = await client.http.get("/readyz")
        state = answer.json()
        assert answer.status_code == 503
        assert (state["ready"], state["draining"]) == (False, False)
        assert state["failed"] == [state["detail"]]
        assert "blocked: " in state["detail"]
        assert str(tmp_path) not in answer.text
        blocker.unlink()
        if not by_itself:
            client.http.headers["Authorization"] = "Bearer a-long-token"
            await (await client.call(babble(5), "blocked")).hear(5)
        await until(lambda: client.service.readiness()["status"] == "ready")
        answer = await client.http.get("/readyz")
        assert (answer.status_code, answer.json()["failed"], answer.json()["detail"]) == (200, [], "")
