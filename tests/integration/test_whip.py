"""WHIP in, WHEP out: what a publisher says is heard by every listener, whatever client either of them is."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
from aioice import Candidate
from aiortc import RTCSessionDescription
from scipy.signal import resample_poly

from tests.integration.served_peer import Client, server
from tests.integration.test_serve_process import serving
from tests.integration.test_webrtc_ice import cut
from tests.integration.webrtc_peer import babble
from tests.integration.whip_clients import FRAGMENT, SDP, Endpoint, Listener, Publisher
from tests.until import until
from tolmach.transports.webrtc.aiortc_hooks import use_ice
from tolmach.transports.webrtc.connection import Connection
from tolmach.transports.webrtc.signalling.ice import IceCredentials, RestartableIce
from tolmach.transports.webrtc.signalling.ice_agent import IceSettings
from tolmach.transports.webrtc.signalling.sdpfrag import parse_fragment

VIDEO = (
    "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=sendonly\r\na=rtcp-mux\r\n"
    "a=rtpmap:96 H264/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n"
)


@pytest.fixture
def graphs(tmp_path: Path, root: Path) -> Path:
    folder = tmp_path / "graphs"
    folder.mkdir()
    shutil.copy(root / "config" / "echo.yaml", folder)
    return folder


@asynccontextmanager
async def clients(client: Client) -> AsyncIterator[list[Endpoint]]:
    """Those that are put in are closed in the end."""
    made: list[Endpoint] = []
    try:
        yield made
    finally:
        await asyncio.gather(*(each.pc.close() for each in made))


async def test_every_listener_hears_the_publisher_and_a_late_one_from_where_it_came_in(graphs: Path) -> None:
    async with server(graphs) as client, clients(client) as made:
        publisher = Publisher(client.http, babble(60))
        first, second, late = (Listener(client.http) for _ in range(3))
        made += [publisher, first, second, late]
        answered = await publisher.begin("/whip/echo?stream=talk")
        assert answered.headers["Content-Type"] == SDP
        assert answered.headers["ETag"].startswith('"')
        assert answered.headers["Accept-Patch"] == FRAGMENT
        assert "a=recvonly" in answered.text
        assert "a=setup:passive" in answered.text
        heard = await first.begin("/whep/talk")
        assert "a=sendonly" in heard.text
        await second.begin(answered.headers["Link"].split(">")[0].removeprefix("<"))  # by the id, too
        await until(lambda: min(first.loud, second.loud) > 50)
        assert client.service.seats.taken == 2
        await late.begin("/whep/talk")
        await until(lambda: late.loud > 25)
        assert late.packets[0][0] > first.packets[50][0]
        assert (await client.http.delete(first.resource)).status_code == 200
        await first.until_over()
        assert client.service.seats.taken == 2
        assert (await client.http.delete(publisher.resource)).status_code == 200
        for listener in (second, late):
            await listener.until_over()
        assert client.service.seats.taken == 0
        await until(lambda: not len(client.service.pool))
        gone = await Listener(client.http).post("/whep/talk")
        assert (gone.status_code, gone.headers["Retry-After"]) == (404, "5")


async def test_speech_is_recorded_and_written_down_with_no_listener_at_all(graphs: Path) -> None:
    async with server(graphs) as client, clients(client) as made:
        publisher = Publisher(client.http, babble(30))
        made.append(publisher)
        await publisher.begin("/whip/echo")
        session = next(iter(client.service.pool))
        await until(lambda: session.dub.duration_ns > 10**9)
        assert session.line.sender.stats()["depth_ms"] < 1000, "it does not pile up"


async def test_a_publisher_that_sends_video_is_heard_and_its_video_declined(graphs: Path) -> None:
    async with server(graphs) as client, clients(client) as made:
        publisher, listener = Publisher(client.http, babble(30)), Listener(client.http)
        made += [publisher, listener]
        offer = await publisher.offer()
        both = offer.replace("a=group:BUNDLE 0", "a=group:BUNDLE 0 1") + VIDEO
        answered = publisher.answered = await publisher.post("/whip/echo?stream=obs", both)
        assert answered.status_code == 201, answered.text
        video = answered.text.partition("m=video")[2].splitlines()
        assert video[0] == " 0 UDP/TLS/RTP/SAVPF 96 97"
        assert "a=inactive" in video
        assert "a=mid:1" in video
        assert "a=group:BUNDLE 0\r\n" in answered.text
        of_audio = answered.text.partition("m=video")[0]  # aiortc knows nothing of the video that was added
        await publisher.pc.setRemoteDescription(RTCSessionDescription(of_audio, "answer"))
        await listener.begin("/whep/obs")
        await until(lambda: listener.loud > 20)


async def test_a_listener_with_a_data_channel_reads_along(graphs: Path) -> None:
    async with server(graphs) as client, clients(client) as made:
        publisher, listener = Publisher(client.http, babble(30)), Listener(client.http, channel=True)
        made += [publisher, listener]
        await publisher.begin("/whip/echo?stream=talk")
        await listener.begin("/whep/talk")
        session = next(iter(client.service.pool))
        await until(lambda: listener.loud > 10)
        session._narrator.send("caption", text="hello", final=True)
        session._narrator.send("session", session=session.id)
        await until(lambda: bool(listener.said("caption")))
        assert listener.said("caption")[0]["text"] == "hello"
        await session.end("the speaker has left")
        await until(lambda: bool(listener.said("bye")))
        assert listener.said("bye")[0]["reason"] == "the speaker has left"
        assert not listener.said("session"), "the session's id is the publisher's"


# The publisher's connection -------------------------------------------------------------------------------------------


async def test_a_publisher_that_was_lost_comes_back_under_its_name_and_its_listeners_stay(graphs: Path) -> None:
    async with server(graphs) as client, clients(client) as made:
        publisher, again, listener = (
            Publisher(client.http, babble(60)),
            Publisher(client.http, babble(60)),
            Listener(client.http),
        )
        made += [publisher, again, listener]
        await publisher.begin("/whip/echo?stream=talk")
        await listener.begin("/whep/talk")
        taken = await Publisher(client.http, babble(1)).post("/whip/echo?stream=talk")
        assert taken.status_code == 409
        assert "publishing 'talk' already" in taken.json()["detail"]
        session = next(iter(client.service.pool))
        assert session.connection is not None
        session.connection.hang_up("the wire was cut")
        assert session.state == "away"
        assert (await client.http.delete("/whip/sessions/nothing")).status_code == 404
        await again.begin("/whip/echo?stream=talk")
        assert again.resource == publisher.resource
        heard = listener.loud
        await until(lambda: listener.loud > heard + 20)
        assert len(client.service.pool) == 1


async def test_one_without_a_name_is_not_waited_for(graphs: Path) -> None:
    async with server(graphs) as client, clients(client) as made:
        publisher, listener = Publisher(client.http, babble(60)), Listener(client.http)
        made += [publisher, listener]
        answered = await publisher.begin("/whip/echo")
        await listener.begin(answered.headers["Link"].split(">")[0].removeprefix("<"))
        await publisher.pc.close()
        await listener.until_over()
        await until(lambda: not len(client.service.pool))


async def test_an_offer_nobody_followed_up_does_not_keep_the_name(graphs: Path) -> None:
    async with server(graphs) as client, clients(client) as made:
        dead, publisher = Publisher(client.http, babble(1)), Publisher(client.http, babble(10))
        made += [dead, publisher]
        assert (await dead.post("/whip/echo?stream=talk")).status_code == 201
        await publisher.begin("/whip/echo?stream=talk")
        assert len(client.service.pool) == 1


async def test_candidates_trickle_in_and_ice_restarts_by_fragments(graphs: Path) -> None:
    async with server(graphs) as client, clients(client) as made:
        publisher = Publisher(client.http, babble(60))
        made.append(publisher)
        answered = await publisher.begin("/whip/echo?stream=talk")
        tag = answered.headers["ETag"]
        offer = publisher.pc.localDescription.sdp.splitlines()
        credentials = "".join(f"{s}\r\n" for s in offer if s.startswith(("a=ice-ufrag", "a=ice-pwd")))
        candidate = "a=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host\r\n"
        fragment = f"{credentials}m=audio 9 RTP/AVP 0\r\na=mid:0\r\n{candidate}a=end-of-candidates\r\n"
        assert (await publisher.patch(fragment)).status_code == 428
        assert (await publisher.patch(fragment, **{"If-Match": '"other"'})).status_code == 412
        trickled = await publisher.patch(fragment, **{"If-Match": tag})
        assert (trickled.status_code, trickled.content, "ETag" in trickled.headers) == (204, b"", False)
        malformed = await publisher.patch("nothing", **{"If-Match": tag})
        assert (malformed.status_code, malformed.json()["status"]) == (400, 400)
        assert (await publisher.patch(candidate.replace("udp", "tcp"), **{"If-Match": tag})).status_code == 204
        wrong = await client.http.patch(publisher.resource, content=fragment, headers={"If-Match": tag})
        assert (wrong.status_code, wrong.headers["Accept-Patch"]) == (415, FRAGMENT)
        fresh = "a=ice-ufrag:ysXw\r\na=ice-pwd:vw5LmwG4y/e6dPP/zAP9Gp5k\r\n"
        restarted = await publisher.patch(fresh, **{"If-Match": "*"})
        assert (restarted.status_code, restarted.headers["Content-Type"]) == (200, FRAGMENT)
        assert restarted.headers["ETag"] != tag
        assert restarted.text.startswith("a=ice-ufrag:")
        assert "a=candidate:" in restarted.text
        assert not set(restarted.text.splitlines()[:2]) & set(answered.text.splitlines()), "other credentials"
        assert (await publisher.patch(fragment, **{"If-Match": tag})).status_code == 412, "of the ICE session before"
        assert publisher.pc.connectionState == "connected", "the old path stands until another one is found"


async def test_a_restart_brings_a_publisher_back_whose_network_went_away(graphs: Path) -> None:
    async with server(graphs) as client, clients(client) as made:
        publisher, listener = Publisher(client.http, babble(60)), Listener(client.http)
        made += [publisher, listener]
        transport = publisher.pc.getTransceivers()[0].receiver.transport.transport
        ice = RestartableIce(IceSettings(), restart_timeout_s=10)
        use_ice(transport, ice)
        await publisher.begin("/whip/echo?stream=talk")
        await listener.begin("/whep/talk")
        await until(lambda: listener.loud > 10)
        connection = next(iter(client.service.pool)).connection
        assert isinstance(connection, Connection)
        received = connection.receiver.stats()["received"]
        for end in (connection._ice, ice):
            cut(end)
        await ice.gather_anew()
        lines = [
            f"a=ice-ufrag:{ice.local_username}",
            f"a=ice-pwd:{ice.local_password}",
            "m=audio 9 RTP/AVP 0",
            "a=mid:0",
        ]
        lines += [f"a=candidate:{candidate.to_sdp()}" for candidate in ice.local_candidates]
        answered = await publisher.patch("\r\n".join(lines) + "\r\n", **{"If-Match": "*"})
        assert answered.status_code == 200, answered.text
        ours = parse_fragment(answered.text)
        for text, _ in ours.candidates:
            await ice.add_remote_candidate(Candidate.from_sdp(text))
        await ice.add_remote_candidate(None)
        await ice.check_anew(IceCredentials(ours.username, ours.password))
        await until(lambda: connection.receiver.stats()["received"] > received + 25)
        heard = listener.loud
        await until(lambda: listener.loud > heard + 10)


# What HTTP says -------------------------------------------------------------------------------------------------------


async def test_an_offer_that_cannot_be_used_is_refused_as_the_rfc_says(graphs: Path) -> None:
    async with server(graphs) as client, clients(client) as made:
        publisher = Publisher(client.http, babble(1))
        made.append(publisher)
        sdp = await publisher.offer()
        for offer, status in (
            ("nothing", 400),
            ("", 400),
            (sdp.replace("a=fingerprint", "a=nothing"), 400),
            (sdp.replace("opus/48000/2", "speex/48000"), 406),
            (sdp.replace("m=audio", "m=video"), 406),
            (sdp + sdp[sdp.index("m=audio") :].replace("a=mid:0", "a=mid:1"), 406),
            (sdp.replace("a=sendonly", "a=recvonly"), 422),
            (sdp.replace("a=sendonly", "a=inactive"), 422),
            ("v=0\r\n" * 20_000, 400),
        ):
            refused = await publisher.post("/whip/echo", offer)
            assert refused.status_code == status, refused.text
            assert refused.headers["Content-Type"] == "application/problem+json"
            assert refused.json()["status"] == status
            assert not len(client.service.pool)


async def test_statuses_headers_and_limits(graphs: Path) -> None:
    settings = {
        "ice_urls": ("stun:192.0.2.1", "turn:192.0.2.1"),
        "turn_username": 'me"',
        "turn_credential": "secret",
        "max_sessions": 1,
        "max_listeners": 1,
        "offers_per_minute": 1000,
    }
    async with server(graphs) as client:
        for path in ("/whip/echo", "/whep/echo"):
            other = await client.http.post(path, content="v=0", headers={"Content-Type": "text/plain"})
            assert (other.status_code, other.headers["Accept-Post"]) == (415, SDP)
            for method in ("PUT", "PATCH", "DELETE"):
                assert (await client.http.request(method, path)).status_code == 405
            assert (await client.http.get(path)).status_code == 204
            options = await client.http.options(path)
            assert (options.status_code, options.headers["Accept-Post"]) == (200, SDP)
        unknown = await Publisher(client.http, babble(1)).post("/whip/ecko")
        assert (unknown.status_code, "did you mean 'echo'" in unknown.json()["detail"]) == (404, True)
        param = await Publisher(client.http, babble(1)).post("/whip/echo?nothing=1")
        assert param.status_code == 422
        assert (await Publisher(client.http, babble(1)).post("/whip/echo?stream=a%20b")).status_code == 400
        assert (await Listener(client.http).post("/whep/nobody")).status_code == 404
        mine = await client.call(babble(5))  # a session of the page's own is none of this door's
        for method, path in (("DELETE", mine.session), ("PATCH", mine.session)):
            headers = {"Content-Type": FRAGMENT, "If-Match": "*"}
            refused = await client.http.request(method, f"/whip/sessions/{path}", headers=headers)
            assert refused.status_code == 404
    async with server(graphs, **settings) as client, clients(client) as made:
        publisher, listener = Publisher(client.http, babble(30)), Listener(client.http)
        made += [publisher, listener]
        answered = await publisher.begin("/whip/echo?stream=talk")
        links = answered.headers.get_list("Link")
        assert '<stun:192.0.2.1>; rel="ice-server"' in links
        assert (
            '<turn:192.0.2.1>; rel="ice-server"; username="me\\""; credential="secret"; credential-type="password"'
            in links
        )
        full = await Publisher(client.http, babble(1)).post("/whip/echo")
        assert (full.status_code, full.headers["Retry-After"]) == (503, "15")
        await listener.begin("/whep/talk")
        await until(lambda: client.service.seats.taken == 1)
        full = await Listener(client.http).post("/whep/talk")
        assert (full.status_code, full.json()["code"]) == (503, "busy")


async def test_a_token_is_asked_for_and_a_door_can_be_left_out(graphs: Path) -> None:
    async with server(graphs, **{"token": "long-enough"}) as client, clients(client) as made:
        publisher = Publisher(client.http, babble(1))
        made.append(publisher)
        refused = await publisher.post("/whip/echo")
        assert (refused.status_code, refused.headers["Content-Type"]) == (401, "application/problem+json")
        assert (await publisher.post("/whip/echo", Authorization="Bearer long-enough")).status_code == 201
    async with server(graphs, without=("whip",)) as client:
        assert (await Publisher(client.http, babble(1)).post("/whip/echo")).status_code == 404


async def test_a_browser_of_an_allowed_origin_may_read_what_it_needs(graphs: Path) -> None:
    async with server(graphs, allowed_origins=("https://example.org",)) as client:
        asked = {
            "Origin": "https://example.org",
            "Access-Control-Request-Method": "PATCH",
            "Access-Control-Request-Headers": "content-type, if-match",
        }
        preflight = await client.http.options("/whip/sessions/some", headers=asked)
        assert "if-match" in preflight.headers["Access-Control-Allow-Headers"]
        answer = await client.http.get("/whip/echo", headers={"Origin": "https://example.org"})
        exposed: httpx.Headers = answer.headers
        for name in ("Location", "ETag", "Link", "Accept-Patch"):
            assert name in exposed["Access-Control-Expose-Headers"]


# Translation ----------------------------------------------------------------------------------------------------------


@pytest.mark.models
async def test_the_translation_is_heard_by_all_and_to_its_end_when_the_publisher_has_finished(
    graphs: Path, root: Path
) -> None:
    shutil.copy(root / "config" / "phrasebook-live.yaml", graphs)
    recording, rate_hz = soundfile.read(root / "config" / "demo" / "phrasebook-en.flac", dtype="float32")
    said = np.zeros(rate_hz * 9, np.float32)
    said[: 2 * rate_hz] = recording[: 2 * rate_hz]  # "Good morning."
    question = recording[int(2.5 * rate_hz) : int(4.1 * rate_hz)]  # "Do you speak English?"
    said[6 * rate_hz : 6 * rate_hz + len(question)] = question
    async with server(graphs, default_graph="phrasebook-live", warm=True) as client, clients(client) as made:
        publisher = Publisher(client.http, resample_poly(said, 48_000 // rate_hz, 1).astype(np.float32))
        first, late = Listener(client.http, channel=True), Listener(client.http, channel=True)
        made += [publisher, first, late]
        await publisher.begin("/whip/phrasebook-live?stream=talk&voice=m3")
        await first.begin("/whep/talk")
        await until(lambda: finals(first) == ["Доброе утро."] and first.loud > 20, within_s=40)
        await until(lambda: not any(np.abs(samples).max() > 0.02 for _, _, samples in first.packets[-25:]))
        heard = first.loud
        await late.begin("/whep/talk")
        await until(lambda: finals(late) == ["Доброе утро."])
        assert late.said("caption")[-1]["replayed"]
        assert late.loud == 0, "what was spoken before is not heard again"
        await until(lambda: finals(late) == ["Доброе утро.", "Вы говорите по-английски?"], within_s=40)
        session = next(iter(client.service.pool))
        assert (await client.http.delete(publisher.resource)).status_code == 200
        for listener in (first, late):
            await listener.until_over(40)
            assert listener.said("bye")[0]["reason"] == "the publisher has finished"
        assert late.loud > 30
        assert abs(first.loud - heard - late.loud) < 5, "both have heard the second sentence"
        assert first.loud * 20 == pytest.approx(session.dub.duration_ns / 1e6, abs=600), "to its end"
        texts = (await client.http.get(f"/api/sessions/{session.id}/subtitles.srt")).text
        assert "Вы говорите по-английски?" in texts


def finals(listener: Listener) -> list[str]:
    """What it has read, of what is final."""
    return list(dict.fromkeys(message["text"] for message in listener.said("caption") if message["final"]))


# Other people's clients -----------------------------------------------------------------------------------------------


def _has_gstreamer() -> bool:
    """Whether the system's Python has GStreamer's webrtcbin; the tests' own environment has no PyGObject."""
    wanted = (
        "import gi; gi.require_version('GstWebRTC', '1.0'); from gi.repository import Gst, GstWebRTC; Gst.init(None)"
    )
    made = "[Gst.ElementFactory.make(name) or exit(1) for name in ('webrtcbin', 'opusenc', 'vp8enc', 'nicesink')]"
    if shutil.which(SYSTEM_PYTHON) is None:
        return False
    tried = subprocess.run([SYSTEM_PYTHON, "-c", f"{wanted}; {made}"], env=CLEAN, capture_output=True, timeout=60)
    return tried.returncode == 0


SYSTEM_PYTHON = "/usr/bin/python3"
CLEAN = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


async def test_gstreamer_publishes_with_a_video_and_gstreamer_listens(root: Path, tmp_path: Path) -> None:
    if not await asyncio.to_thread(_has_gstreamer):
        pytest.skip(
            "no GStreamer with webrtcbin for the system's Python (gir1.2-gst-plugins-bad-1.0, gstreamer1.0-nice)"
        )
    script = str(Path(__file__).with_name("gstreamer_whip.py"))

    async def run(mode: str, path: str, seconds: int) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(SYSTEM_PYTHON, script, mode, f"{url}{path}", str(seconds)), env=CLEAN, stdout=PIPE, stderr=PIPE
        )

    log = tmp_path / "log"
    with serving(root, log, "echo") as (_, url):
        publisher = await run("publish", "whip/echo?stream=gst", 7)
        async with httpx.AsyncClient(base_url=url) as http, asyncio.timeout(60):
            while (await http.get("/metrics")).text.count("\ntolmach_sessions 0.0\n"):  # noqa: ASYNC110 -- another process
                await asyncio.sleep(0.2)
            listener = await run("listen", "whep/gst", 3)
            heard, problems = await listener.communicate()
            said, more = await publisher.communicate()
            figures = (await http.get("/metrics")).text
    assert (publisher.returncode, said) == (0, b"ended 200\n"), more.decode() + log.read_text()
    assert listener.returncode == 0, problems.decode() + log.read_text()
    level, ended = heard.decode().splitlines()
    assert float(level.removeprefix("loudest ")) > -10, "the ticks of the publisher"
    assert ended == "ended 200"
    assert "tolmach_receiver_received_total 0.0" not in figures
