"""What listeners cost: one publisher (WHIP, the echo graph), and 0 to 64 that hear it (WHEP), on one core.

The server has one core to itself, publisher and listeners the other. Per step: CPU of the server, what each listener
adds to it, how many packets the worst listener got, and how much later than the one before it a packet came.
"""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.rtp import is_rtcp

from tests.bench.live.light_peer import LightPeer, Pacer, encode
from tests.bench.live.machine import come_first, noise_noted
from tests.bench.live.servers import Server, serve
from tests.integration.webrtc_peer import babble

SERVER_CORE = 0
STEPS = (0, 1, 10, 50)
SETTLE_S, MEASURE_S = 2.0, 10.0
LOOP_S = 20


async def post(server: Server, path: str, pc: RTCPeerConnection) -> None:
    """Offer, take the answer, wait until connected."""
    await pc.setLocalDescription(await pc.createOffer())
    connected = asyncio.Event()
    pc.on("connectionstatechange", lambda: pc.connectionState == "connected" and connected.set())
    async with httpx.AsyncClient(timeout=30) as http:
        headers = {"Content-Type": "application/sdp"}
        answer = await http.post(server.url + path, content=pc.localDescription.sdp, headers=headers)
    answer.raise_for_status()
    await pc.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
    async with asyncio.timeout(30):
        await connected.wait()


class LightPublisher(LightPeer):
    """Sends what was encoded beforehand."""

    async def join(self, server: Server, graph: str = "echo") -> None:
        """Publish, and wait until connected."""
        await post(server, f"/whip/{graph}?stream=bench", self._pc)
        self._take_over()


class LightListener:
    """Counts the packets that come, and looks into none."""

    def __init__(self) -> None:
        self.arrivals: list[int] = []  # ns
        self._pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._transceiver = self._pc.addTransceiver("audio", direction="recvonly")

    async def join(self, server: Server) -> None:
        """Listen, and wait until connected."""
        await post(server, "/whep/bench", self._pc)
        protocol = self._transceiver.receiver.transport.transport._connection._nominated[1].protocol
        others = protocol.datagram_received

        def receive(data: bytes, source: tuple[Any, ...]) -> None:
            if 127 < data[0] < 192 and not is_rtcp(data):
                self.arrivals.append(time.monotonic_ns())
            else:
                others(data, source)

        protocol.datagram_received = receive

    async def leave(self) -> None:
        """Hang up."""
        await self._pc.close()


@dataclass(frozen=True)
class Step:
    """So many listeners, for some seconds.

    Attributes:
        listeners: How many.
        cpu: Cores the server used.
        packets_s: Packets a second of the listener that got fewest.
        gap_ms: Between two packets of one listener, 99th percentile, ms; 20 when all is well.
        caller_late_ms: How late the publisher sent, 99th percentile, ms: says how busy the callers' core is.
    """

    listeners: int
    cpu: float
    packets_s: float
    gap_ms: float
    caller_late_ms: float


async def measure(server: Server, steps: tuple[int, ...], seconds: float) -> list[Step]:
    """All steps, with listeners added from one to the next."""
    pacer = Pacer()
    publisher = LightPublisher(encode(babble(LOOP_S)), 0)
    pacing = asyncio.create_task(pacer.run())
    listeners: list[LightListener] = []
    found: list[Step] = []
    try:
        await publisher.join(server)
        pacer.peers.append(publisher)
        for count in steps:
            while len(listeners) < count:
                listeners.append(LightListener())
                await listeners[-1].join(server)
            await asyncio.sleep(SETTLE_S)
            for listener in listeners:
                listener.arrivals.clear()
            pacer.late_ms.clear()
            cpu_s, from_s = server.cpu_s(), time.monotonic()
            await asyncio.sleep(seconds)
            took_s, cpu_s = time.monotonic() - from_s, server.cpu_s() - cpu_s
            gaps = [np.diff(listener.arrivals) / 1e6 for listener in listeners if len(listener.arrivals) > 1]
            found.append(
                Step(
                    listeners=count,
                    cpu=cpu_s / took_s,
                    packets_s=min((len(listener.arrivals) for listener in listeners), default=0) / took_s,
                    gap_ms=float(np.percentile(np.concatenate(gaps), 99)) if gaps else 0.0,
                    caller_late_ms=float(np.percentile(pacer.late_ms, 99)),
                )
            )
    finally:
        pacing.cancel()
        await asyncio.gather(publisher.leave(), *(listener.leave() for listener in listeners), return_exceptions=True)
    return found


def main(steps: tuple[int, ...] = STEPS, seconds: float = MEASURE_S) -> None:
    options = ("--max-listeners", str(max(1, *steps)), "--offers-per-minute", "10000")
    with noise_noted(), serve("tolmach", core=SERVER_CORE, options=options) as server:
        come_first()
        found = asyncio.run(measure(server, steps, seconds))
    alone = found[0].cpu
    print("| listeners | cores of the server | of one core, a listener | packets/s, worst listener | gap p99, ms |")
    print("|---:|---:|---:|---:|---:|")
    for step in found:
        each = f"{100 * (step.cpu - alone) / step.listeners:.2f} %" if step.listeners else ""
        heard = f"{step.packets_s:.1f} | {step.gap_ms:.0f}" if step.listeners else " | "
        print(f"| {step.listeners} | {step.cpu:.3f} | {each} | {heard} |")
    print(f"\nThe publisher sent at most {max(step.caller_late_ms for step in found):.1f} ms late (99th percentile).")


if __name__ == "__main__":
    main(tuple(map(int, sys.argv[1:])) or STEPS)
