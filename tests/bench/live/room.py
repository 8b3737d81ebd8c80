"""A lecture with up to fifty listeners: what each one costs, and how far apart they hear the same moment.

The shipped ``phrasebook-lecture``: one speaks the demonstration in a loop, half of the listeners hear the original and
half the Russian translation. The server has one core, the callers the other. Packets are made once for all listeners of
a seat, so each can be recognised by its bytes; the spread of a packet is from its first arrival to its last.

``python -m tests.bench.live.room --listeners 0 5 --seconds 5`` tries it in half a minute; all of it takes three.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import soundfile
from aiortc import RTCSessionDescription
from scipy.signal import resample_poly

from tests.bench.live.light_peer import LightPeer, Pacer, encode
from tests.bench.live.machine import come_first, noise_noted
from tests.bench.live.servers import ROOT, Server, serve
from tolmach.pipelines.frames import Samples
from tolmach.transports.webrtc.opus import FRAME_SAMPLES
from tolmach.transports.webrtc.signalling import messages

GRAPH = "phrasebook-lecture"
LISTENERS = (0, 1, 10, 25, 50)
SERVER_CORE, CALLER_CORE = 0, 1
SETTLE_S, MEASURE_S = 3.0, 20.0
TALK = ROOT / "config" / "demo" / "phrasebook-en.flac"


class Visitor(LightPeer):
    """A caller at a seat of a room; with nothing to say it only listens."""

    async def come(self, server: Server, room: Mapping[str, Any], seat: str) -> None:
        """Come to the seat, and wait until connected."""
        if not self._packets[0]:
            self._transceiver.direction = "recvonly"
        channel = self._pc.createDataChannel(messages.LABEL)
        channel.on("message", lambda text: self._answer(channel, text))
        await self._pc.setLocalDescription(await self._pc.createOffer())
        code = next(each["code"] for each in room["seats"] if each["seat"] == seat)
        async with httpx.AsyncClient(timeout=60) as http:
            answer = await http.post(
                f"{server.url}/api/rooms/{room['room']}/peers",
                json={"sdp": self._pc.localDescription.sdp},
                headers={"Authorization": f"Bearer {code}"},
            )
        answer.raise_for_status()
        connected = asyncio.Event()
        self._pc.on("connectionstatechange", lambda: self._pc.connectionState == "connected" and connected.set())
        await self._pc.setRemoteDescription(RTCSessionDescription(sdp=answer.json()["sdp"], type="answer"))
        async with asyncio.timeout(60):
            await connected.wait()
        self._take_over()


@dataclass(frozen=True)
class Step:
    """Some listeners for some seconds.

    Attributes:
        listeners: How many.
        cpu: Cores the server used.
        rss_mib: What it holds, MiB.
        spreads_ms: Of each packet of the original, from its first arrival to its last.
        missed: Share of packets that did not reach all of them.
    """

    listeners: int
    cpu: float
    rss_mib: float
    spreads_ms: Sequence[float]
    missed: float


def talk() -> Samples:
    """The demonstration, whole frames of float32 at 48 kHz."""
    recording, rate_hz = soundfile.read(TALK, dtype="float32")
    samples = np.asarray(resample_poly(recording, 48_000 // rate_hz, 1), np.float32)
    return samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES]


async def measure(server: Server, counts: Sequence[int], seconds: float) -> list[Step]:
    """The steps, one after the other, in one room."""
    async with httpx.AsyncClient(timeout=60) as http:
        answer = await http.post(f"{server.url}/api/rooms", json={"graph": GRAPH})
    answer.raise_for_status()
    room = answer.json()
    pacer = Pacer()
    pacing = asyncio.create_task(pacer.run())
    speaker = Visitor(encode(talk()), 0)
    listeners: list[Visitor] = []
    try:
        await speaker.come(server, room, "speaker")
        pacer.peers.append(speaker)
        await asyncio.sleep(3 * SETTLE_S)  # the graph begins
        steps = []
        for count in counts:
            while len(listeners) < count:
                listener = Visitor([b""], len(listeners) + 1)
                await listener.come(server, room, "en" if len(listeners) % 2 == 0 else "ru")
                listeners.append(listener)
            await asyncio.sleep(SETTLE_S)
            steps.append(await _step(server, listeners, seconds))
        return steps
    finally:
        pacing.cancel()
        await asyncio.gather(speaker.leave(), *(listener.leave() for listener in listeners))


async def _step(server: Server, listeners: Sequence[Visitor], seconds: float) -> Step:
    for listener in listeners:
        listener.recording = True
    async with asyncio.timeout(60):
        while not all(listener.arrivals for listener in listeners):  # noqa: ASYNC110 -- the sockets tell nobody
            await asyncio.sleep(0.1)
    for listener in listeners:
        listener.arrivals.clear()
    cpu_s = server.cpu_s()
    await asyncio.sleep(seconds)
    cpu_s = server.cpu_s() - cpu_s
    rss = server.process.memory_info().rss / 2**20
    for listener in listeners:
        listener.recording = False
    heard: list[dict[bytes, int]] = [{} for _ in listeners[::2]]
    for arrivals, listener in zip(heard, listeners[::2], strict=True):
        packets = listener.take()
        often = Counter(packet.payload for packet in packets)
        arrivals.update({p.payload: p.at_ns for p in packets if often[p.payload] == 1})
    everywhere = set.intersection(*(set(each) for each in heard)) if heard else set()
    spreads = [(max(each[p] for each in heard) - min(each[p] for each in heard)) / 1e6 for p in everywhere]
    anywhere = set().union(*heard)
    missed = 1 - len(everywhere) / len(anywhere) if anywhere else 0.0
    return Step(len(listeners), cpu_s / seconds, rss, spreads, missed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--listeners", type=int, nargs="*", default=list(LISTENERS))
    parser.add_argument("--seconds", type=float, default=MEASURE_S)
    args = parser.parse_args()
    come_first()
    options = ("--max-listeners", str(max([*args.listeners, 1])), "--default-graph", "phrasebook-live")
    os.sched_setaffinity(0, {CALLER_CORE})
    with noise_noted(), serve("tolmach", core=SERVER_CORE, options=options) as server:
        steps = asyncio.run(measure(server, args.listeners, args.seconds))
    print("## A lecture: one speaker, many listeners, half of them with the original and half with the translation\n")
    print("| listeners | server, cores | memory | same packet, first to last listener: p50, p95, worst | not at all |")
    print("|---:|---:|---:|---:|---:|")
    for step in steps:
        spreads = sorted(step.spreads_ms)
        spread = "–"
        if step.listeners > 2 and len(spreads) > 1:
            p95 = statistics.quantiles(spreads, n=20)[-1]
            spread = f"{statistics.median(spreads):.1f}, {p95:.1f}, {spreads[-1]:.1f} ms"
        missed = f"{step.missed:.1%}" if step.listeners > 2 else "–"
        print(f"| {step.listeners} | {step.cpu:.2f} | {step.rss_mib:.0f} MiB | {spread} | {missed} |")
    if len(steps) > 1 and steps[-1].listeners > steps[0].listeners:
        first, last = steps[0], steps[-1]
        more = last.listeners - first.listeners
        each = (last.cpu - first.cpu) / more, (last.rss_mib - first.rss_mib) / more
        print(f"\nA listener costs {each[0] * 1000:.1f} thousandths of a core and {each[1]:.2f} MiB.")


if __name__ == "__main__":
    main()
