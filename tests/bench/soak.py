"""Half an hour of people coming and going: ``python -m tests.bench.soak --minutes 30``.

Ten clients at a time come to the real server (a process of its own) by all its doors (docs/DOORS.md). They talk, lose
packets, hang up, vanish without a word, come back, also while their session ends or with an offer that is of no use,
change graphs, send nonsense, post offers that they do not follow up, upload recordings, and hold connections open
without a word. Meanwhile the server's memory, file descriptors, threads and tasks are read every ten seconds. In the
end, with everybody gone, nothing may be left of them: the exit status is 1 if memory has grown, if a descriptor, task
or session stays, or if anything unforeseen stands in the log of the server.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import re
import statistics
import sys
import time
import traceback
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import soundfile
from aiortc.exceptions import InvalidStateError
from scipy.signal import resample_poly
from websockets import WebSocketException

from tests.bench.live.servers import Server, serve
from tests.bench.soak_doors import Doors, RefusedError
from tests.integration.served_peer import ServedPeer
from tests.integration.webrtc_peer import babble
from tolmach.pipelines.frames import Samples

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = 10
SAMPLE_S = 10.0
SETTLE_S = 90.0
"""After the last client: half a minute for those who may come back, a minute for rooms that nobody speaks in any more,
and some time for what closes slowly."""
GROWTH = 1.05
"""Most that the last quarter may need more memory than the second, which is the first that has seen everything."""
FAILURES = (TimeoutError, AssertionError, httpx.HTTPError, InvalidStateError, WebSocketException, OSError)
CONTEXT = 40
"""Lines shown of the log from one that is unforeseen: a traceback."""
UNFORESEEN = re.compile(r"Traceback|never retrieved|was destroyed|Unhandled|CRITICAL| ERROR ")


@dataclass(frozen=True)
class Sample:
    """What the server needed at a moment."""

    at_s: float
    rss_mib: float
    descriptors: int
    threads: int
    tasks: int
    sessions: int


class Crowd:
    """The clients, and what became of their calls."""

    def __init__(self, http: httpx.AsyncClient, seed: int) -> None:
        self.http = http
        self.told: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._babble = babble(90)
        self._peers: set[ServedPeer] = set()
        self._speech = {"en": _speech("phrasebook-en.flac"), "ru": _speech("phrasebook-ru.flac")}
        self._parts = (
            self._talk,
            self._speak,
            self._lose_packets,
            self._vanish,
            self._come_back,
            self._change_graphs,
            self._send_nonsense,
            self._delete,
            self._come_back_at_the_end,
            self._come_back_in_vain,
            self._offer_and_leave,
            self._say_nothing,
            *Doors(http, self._speech, self.told, self._random).parts,
        )

    async def live(self, until: float) -> None:
        """One client after the other, until the time is up."""
        while time.monotonic() < until:
            part = self._random.choice(self._parts)
            name = part.__name__.removeprefix("_")
            try:
                async with asyncio.timeout(120):
                    await part()
                self.told[name] += 1
            except RefusedError as refused:
                self.told[f"refused: {refused}"] += 1
                await asyncio.sleep(self._random.uniform(3, 8))
            except (
                TimeoutError,
                AssertionError,
                httpx.HTTPError,
                InvalidStateError,
                WebSocketException,
                OSError,
            ) as error:
                at = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if "soak" in frame.filename]
                self.told[f"{name} failed (line {at[-1]}): {type(error).__name__} {error}"[:120]] += 1
            await asyncio.sleep(self._random.uniform(2, 6))

    async def _join(self, signal: Samples, graph: str = "echo", **body: Any) -> ServedPeer:
        peer = ServedPeer(signal, self)
        self._peers.add(peer)
        try:
            await peer.join({"graph": graph, **body})
        except AssertionError as error:
            if "too-many-requests" in str(error) or "busy" in str(error):
                raise RefusedError(str(error).split('"code": "')[-1].split('"')[0]) from error
            raise
        return peer

    async def disperse(self) -> None:
        """Close what a part that failed has left open."""
        for peer in self._peers:
            await peer.close()

    async def _close(self, peer: ServedPeer) -> None:
        self._peers.discard(peer)
        await peer.close()

    async def _end(self, peer: ServedPeer) -> None:
        peer.channel.send('{"v":1,"type":"bye"}')
        await asyncio.sleep(0.2)
        await self._close(peer)

    def _while(self, low_s: float, high_s: float) -> float:
        return self._random.uniform(low_s, high_s)

    async def _talk(self) -> None:
        peer = await self._join(self._babble)
        await peer.hear(round(50 * self._while(5, 25)))
        await self._end(peer)

    async def _speak(self) -> None:
        lang, other = self._random.choice((("en", "ru"), ("ru", "en")))
        params = {"source_lang": lang, "target_lang": other}
        peer = await self._join(self._speech[lang], "phrasebook-live", params=params)
        await peer.until("caption", lambda m: bool(m["text"]))
        await asyncio.sleep(self._while(2, 15))
        self.told["captions"] += sum(m["type"] == "caption" for m in peer.told)
        await self._end(peer)

    async def _lose_packets(self) -> None:
        peer = await self._join(self._babble)
        for _ in range(self._random.randrange(5, 20)):
            peer.lose(*(n for n in range(50) if self._random.random() < 0.1))
            await asyncio.sleep(1)
        await self._end(peer)

    async def _vanish(self) -> None:
        peer = await self._join(self._speech["en"], self._random.choice(("echo", "phrasebook-live")))
        await asyncio.sleep(self._while(2, 10))
        await peer.vanish()
        await self._close(peer)

    async def _come_back(self) -> None:
        peer = await self._join(self._speech["en"], "phrasebook-live")
        await asyncio.sleep(self._while(4, 10))
        await peer.vanish()
        await self._close(peer)
        await asyncio.sleep(self._while(0, 15))
        again = await self._join(self._speech["en"], "", resume=peer.session)
        await asyncio.sleep(self._while(4, 10))
        await self._end(again)

    async def _change_graphs(self) -> None:
        peer = await self._join(self._speech["en"])
        for choice in (
            {"graph": "phrasebook-live", "params": {"source_lang": "en", "target_lang": "ru"}},
            {"graph": "phrasebook-live", "settings": {"vad.hangover_ms": 300}},
            {"graph": "echo"},
        ):
            await self.http.put(f"{peer.url}/graph", json=choice)
            await asyncio.sleep(self._while(3, 6))
        await self._end(peer)

    async def _send_nonsense(self) -> None:
        for sdp in ("", "v=0", "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n", "x" * 60_000):
            await self.http.post("/api/sessions", json={"graph": "echo", "sdp": sdp})
        await self.http.post("/api/sessions", content=b"\xff" * 1000)
        await self.http.post("/api/sessions", content=b"[" * 200_000)
        peer = await self._join(self._babble)
        for _ in range(50):
            peer.channel.send("".join(chr(self._random.randrange(32, 0x2FF)) for _ in range(200)))
        peer.channel.send("x" * 60_000)
        await self.http.patch(peer.url, json={"candidates": [{"candidate": "candidate:nonsense", "sdpMid": "0"}]})
        await self.http.patch(peer.url, json={"sdp": "v=0"})
        await peer.hear(50)
        await self._end(peer)

    async def _delete(self) -> None:
        peer = await self._join(self._babble)
        await asyncio.sleep(self._while(0, 5))
        await self.http.get(f"{peer.url}/dub.wav")
        await self.http.delete(peer.url)
        await self._close(peer)

    async def _come_back_at_the_end(self) -> None:
        """Resume while the session is deleted, or says goodbye: one of the two is first, and nothing may be left."""
        peer = await self._join(self._speech["en"], self._random.choice(("echo", "phrasebook-live")))
        await asyncio.sleep(self._while(0, 4))
        again = ServedPeer(self._babble, self)  # type: ignore[arg-type]  # which asks for its http alone
        self._peers.add(again)
        resuming = asyncio.create_task(again.offer({"graph": "", "resume": peer.session}))
        await asyncio.sleep(self._while(0, 0.15))
        if self._random.random() < 0.5:
            await self.http.delete(peer.url)
        else:
            with contextlib.suppress(InvalidStateError):  # who comes back was first, and has ended this connection
                peer.channel.send('{"v":1,"type":"bye"}')
        answer = await resuming
        _refused_or(answer, 201, 409)
        if answer.status_code == 201 and self._random.random() < 0.5:
            await again.connect(answer)
            await asyncio.sleep(self._while(0, 3))
        await self.http.delete(peer.url)
        await self._close(again)
        await self._close(peer)

    async def _come_back_in_vain(self) -> None:
        """An offer that cannot be used must leave the connection that works."""
        peer = await self._join(self._babble)
        for sdp in ("v=0", peer.pc.localDescription.sdp.replace("a=fingerprint:", "a=nothing:")):
            _refused_or(await self.http.post("/api/sessions", json={"sdp": sdp, "resume": peer.session}), 400)
        await peer.hear(50)
        await self._end(peer)

    async def _offer_and_leave(self) -> None:
        peer = ServedPeer(self._babble, self)  # type: ignore[arg-type]  # as above
        self._peers.add(peer)
        for _ in range(self._random.randrange(1, 4)):
            _refused_or(await peer.offer({"graph": self._random.choice(("echo", "phrasebook-live"))}), 201)
        await self._close(peer)

    async def _say_nothing(self) -> None:
        opened = [await asyncio.open_connection(self.http.base_url.host, self.http.base_url.port) for _ in range(40)]
        for n, (_, writer) in enumerate(opened):
            writer.write(
                ("", "GET / HTTP/1.1\r\nHost: ", "POST /api/sessions HTTP/1.1\r\nContent-Length: 9\r\n\r\n{")[
                    n % 3
                ].encode()
            )
        await asyncio.sleep(self._while(0, 20))
        assert (await self.http.get("/healthz")).status_code == 200
        for _, writer in opened:
            writer.transport.abort()


def _refused_or(answer: httpx.Response, *expected: int) -> None:
    if answer.status_code in (429, 503):
        raise RefusedError(answer.json()["error"]["code"])
    assert answer.status_code in expected, answer.text


def _speech(name: str) -> Samples:
    recording, rate_hz = soundfile.read(ROOT / "config" / "demo" / name, dtype="float32")
    return np.asarray(resample_poly(recording, 48_000 // rate_hz, 1), np.float32)


async def _sample(server: Server, http: httpx.AsyncClient, started: float) -> Sample:
    text = (await http.get("/metrics")).text
    figures = dict(line.split(" ", 1) for line in text.splitlines() if re.match(r"tolmach_(tasks|sessions) ", line))
    process = server.process
    return Sample(
        time.monotonic() - started,
        process.memory_info().rss / 2**20,
        process.num_fds(),
        process.num_threads(),
        int(float(figures["tolmach_tasks"])),
        int(float(figures["tolmach_sessions"])),
    )


async def _soak(server: Server, minutes: float, seed: int) -> bool:
    # A client that vanishes closes its sockets under its own aioice, which complains; the server's log is what counts.
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as http:
        crowd = Crowd(http, seed)
        await crowd._delete()  # the first call of all loads what stays loaded
        await crowd._speak()
        await asyncio.sleep(5)
        started = time.monotonic()
        before = await _sample(server, http, started)
        until = started + minutes * 60
        clients = [asyncio.create_task(crowd.live(until)) for _ in range(CLIENTS)]
        samples: list[Sample] = []
        print("| minute | RSS MiB | descriptors | threads | tasks | sessions |\n|---:|---:|---:|---:|---:|---:|")
        while time.monotonic() < until:
            await asyncio.sleep(SAMPLE_S)
            samples.append(await _sample(server, http, started))
            if len(samples) % max(1, round(minutes * 60 / SAMPLE_S / 15)) == 0:
                _print(samples[-1])
        await asyncio.gather(*clients)
        await crowd.disperse()
        await asyncio.sleep(SETTLE_S)
        after = await _sample(server, http, started)
        _print(after)
    return _judge(server, crowd, before, samples, after)


def _judge(server: Server, crowd: Crowd, before: Sample, samples: list[Sample], after: Sample) -> bool:
    quarter = len(samples) // 4
    second, last = samples[quarter : 2 * quarter], samples[-quarter:]
    grown = statistics.median(s.rss_mib for s in last) / statistics.median(s.rss_mib for s in second)
    written = server.log.read_text(errors="replace").splitlines()
    log = [number for number, line in enumerate(written) if UNFORESEEN.search(line)]
    print("\nCalls: " + ", ".join(f"{name} {count}" for name, count in sorted(crowd.told.items())))
    checks = {
        f"memory of the last quarter is {grown:.3f} of the second (at most {GROWTH})": grown <= GROWTH,
        # Executors make their threads, and these their event descriptors, when they are first all busy.
        f"descriptors {before.descriptors} before, {after.descriptors} after": after.descriptors
        <= before.descriptors + 2,
        f"tasks {before.tasks} before, {after.tasks} after": after.tasks <= before.tasks,
        f"threads {before.threads} before, {after.threads} after": after.threads <= before.threads + 8,
        f"sessions {after.sessions} after": after.sessions == 0,
        f"{len(log)} unforeseen lines in the log": not log,
        "every kind of call went through": all(crowd.told[p.__name__.removeprefix("_")] for p in crowd._parts),
        "no call failed": not any("failed" in name for name in crowd.told),
    }
    for text, holds in checks.items():
        print(f"- {'yes' if holds else 'NO '} {text}")
    for number in log[:10]:
        print("\n".join(f"  {line}" for line in written[number : number + CONTEXT]))
    return all(checks.values())


def _print(s: Sample) -> None:
    cells = (f"{s.at_s / 60:.1f}", f"{s.rss_mib:.0f}", s.descriptors, s.threads, s.tasks, s.sessions)
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    # Several clients leave at once and are waited for: twice as many places as there are clients.
    options = ["--max-sessions", str(3 * CLIENTS), "--offers-per-minute", "600", "--idle-minutes", "1"]
    with serve("tolmach", options=options) as server:
        return 0 if asyncio.run(_soak(server, args.minutes, args.seed)) else 1


if __name__ == "__main__":
    sys.exit(main())
