"""WHIP and WHEP under fire: broken offers and fragments, odd names, everything at once; slow and stuck listeners."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import shutil
from pathlib import Path

import httpx
import pytest

from tests.integration.served_peer import server
from tests.integration.test_webrtc_hostile import OPEN, descriptors
from tests.integration.test_whip import VIDEO, clients
from tests.integration.webrtc_peer import babble
from tests.integration.whip_clients import FRAGMENT, SDP, Listener, Publisher
from tests.unit.sdp_mutations import mutated
from tests.until import until
from tolmach.transports.webrtc import connection as connection_module

REQUESTS = int(os.environ.get("TOLMACH_FUZZ", "240"))
"""10 000 were tried when this was written."""
EXPECTED = {200, 201, 204, 400, 404, 405, 406, 409, 412, 413, 415, 422, 428, 429, 503}
NAMES = (
    "talk",
    "other",
    "",
    "..",
    "%00",
    "a%20b",
    "sessions",
    "a" * 300,
    "%F0%9F%98%80",
    "%ff",
    "echo",
    "nothing.here",
)
QUERIES = (
    "",
    "?stream=talk",
    "?stream=",
    "?stream=%00",
    "?x=1",
    "?stream=a&stream=b",
    "?a.b=1",
    "?" + "x=1&" * 60,
    "?%ff=1",
)
TAGS = ("*", '"x"', "", 'W/"x"', '"a", "b"', "\x7f")
TYPES = (SDP, FRAGMENT, "application/sdp; charset=utf-8", "text/plain", "", "application/json")


@pytest.fixture
def graphs(tmp_path: Path, root: Path) -> Path:
    folder = tmp_path / "graphs"
    folder.mkdir()
    shutil.copy(root / "config" / "echo.yaml", folder)
    return folder


class Fuzz:
    """Sends one odd request after the other, to what the ones before have made as well."""

    def __init__(self, http: httpx.AsyncClient, offers: list[str], fragment: str) -> None:
        self.http, self.offers, self.fragment = http, offers, fragment
        self.rng = random.Random(13)
        self.places: list[tuple[str, str]] = [("/whip/sessions/none", '"x"'), ("/whep/sessions/none", '"x"')]
        self.statuses: list[int] = []

    def request(self) -> httpx.Request:
        """The next one."""
        rng = self.rng
        kind = rng.randrange(10)
        if kind < 5:
            offer = rng.choice(self.offers)
            text = mutated(rng, offer) if rng.random() < 0.8 else offer
            door = rng.choice(("/whip/echo", "/whip/echo", "/whep/talk"))
            path = door + (rng.choice(QUERIES) if rng.random() < 0.7 else "")
            return self._built("POST", path, text, SDP if rng.random() < 0.9 else rng.choice(TYPES))
        place, tag = rng.choice(self.places[-8:])
        if kind < 8:
            text = mutated(rng, self.fragment) if rng.random() < 0.8 else self.fragment
            headers = {"If-Match": tag if rng.random() < 0.7 else rng.choice(TAGS)} if rng.random() < 0.9 else {}
            return self._built("PATCH", place, text, FRAGMENT if rng.random() < 0.9 else rng.choice(TYPES), **headers)
        if kind == 8:
            method = rng.choice(("DELETE", "GET", "OPTIONS", "PUT", "POST", "HEAD"))
            return self._built(method, place, "", rng.choice(TYPES))
        path = f"/{rng.choice(('whip', 'whep'))}/{rng.choice(NAMES)}{rng.choice(QUERIES)}"
        return self._built(rng.choice(("POST", "GET", "PATCH", "DELETE")), path, rng.choice(self.offers), SDP)

    def _built(self, method: str, path: str, text: str, media_type: str, **headers: str) -> httpx.Request:
        content = text.encode("utf-8", "surrogatepass")
        return self.http.build_request(method, path, content=content, headers={"Content-Type": media_type, **headers})

    async def send(self) -> None:
        """Send it; what it has made can be the target of later ones."""
        request = self.request()
        answer = await self.http.send(request)
        assert answer.status_code in EXPECTED, f"{request.method} {request.url}: {answer.status_code} {answer.text}"
        self.statuses.append(answer.status_code)
        if answer.status_code == 201:
            self.places.append((answer.headers["Location"], answer.headers["ETag"]))


@pytest.mark.skipif(not OPEN.is_dir(), reason="counts descriptors in /proc")
async def test_hundreds_of_odd_requests_are_answered_and_leave_nothing(
    graphs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gc.collect()
    before = descriptors()
    settings = {"offers_per_minute": 1_000_000, "max_sessions": 4, "max_listeners": 4}
    async with server(graphs, **settings) as client, clients(client) as made:
        steady, ear = Publisher(client.http, babble(120)), Listener(client.http)
        spare, other = Publisher(client.http, babble(1)), Listener(client.http, channel=True)
        made += [steady, ear, spare, other]
        await steady.begin("/whip/echo?stream=talk")
        await ear.begin("/whep/talk")
        offer = await spare.offer()
        fragment = "".join(
            f"{s}\r\n" for s in offer.splitlines() if s.startswith(("m=", "a=ice-", "a=mid", "a=candidate"))
        )
        offers = [offer, offer.replace("BUNDLE 0", "BUNDLE 0 1") + VIDEO, await other.offer()]
        fuzz = Fuzz(client.http, offers, fragment)
        while len(fuzz.statuses) < REQUESTS:
            await asyncio.gather(*(fuzz.send() for _ in range(8)))
            assert len(client.service.pool) <= 4 + 4 + 2
        assert {200, 201, 204, 400, 404, 412, 422} <= set(fuzz.statuses)
        heard = ear.loud
        await until(lambda: ear.loud > heard + 20)
    gc.collect()
    await until(lambda: descriptors() == before)
    serious = [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]
    assert not serious, serious


async def test_a_listener_that_reads_nothing_is_hung_up_on_and_the_others_hear_all(
    graphs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "MAX_UNSENT_TO_LISTENER", 100_000)
    async with server(graphs) as client, clients(client) as made:
        publisher = Publisher(client.http, babble(60))
        stuck, well = Listener(client.http, channel=True), Listener(client.http, channel=True)
        made += [publisher, stuck, well]
        await publisher.begin("/whip/echo?stream=talk")
        for listener in (stuck, well):
            await listener.begin("/whep/talk")
        session = next(iter(client.service.pool))
        session._narrator.send("caption", text="first", final=True)
        await until(lambda: bool(stuck.said("caption") and well.said("caption")))

        async def ignore(data: bytes) -> None:
            return

        assert stuck.pc.sctp is not None
        stuck.pc.sctp._handle_data = ignore  # type: ignore[method-assign]  # it acknowledges nothing any more
        heard = well.loud
        for number in range(60):
            session._narrator.send("caption", text=f"{number} " + "x" * 5000, final=True)
            await asyncio.sleep(0.01)
        assert session.line.audience is not None
        await until(lambda: client.service.seats.taken == 1)
        await until(lambda: len(well.said("caption")) == 61 and well.loud > heard + 20)


async def test_one_that_vanishes_gives_its_seat_back(graphs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with server(graphs) as client, clients(client) as made:
        client.service.connection = connection_module.ConnectionSettings(consent_s=1.0)
        publisher, listener = Publisher(client.http, babble(60)), Listener(client.http)
        made += [publisher, listener]
        await publisher.begin("/whip/echo?stream=talk")
        await listener.begin("/whep/talk")
        await until(lambda: listener.loud > 5)
        assert client.service.seats.taken == 1
        for each in (listener, publisher):  # like a laptop whose lid is closed
            transport = each.pc.getTransceivers()[0].receiver.transport.transport
            for protocol in transport._connection._protocols:
                protocol.transport.close()
            if each is listener:
                await until(lambda: client.service.seats.taken == 0)
                assert next(iter(client.service.pool)).state == "live"
        await until(lambda: next(iter(client.service.pool)).state == "away")
        assert (await Listener(client.http).post("/whep/talk")).status_code == 201, "its publisher is waited for"
