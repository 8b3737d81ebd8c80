"""What clients that are slow, broken or mean cost the others: ``python -m tests.bench.live company``.

A few well-behaved echo calls go on all the time. Beside them come, one kind after the other, clients that misbehave at
each door; before, between and after them nobody does. For each stretch: how late the calls' echo was, what was lost of
it, how late the server's event loop was, and how much it worked. What must not move is the latency of the others.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import httpx
import numpy as np
import websockets

from tests.bench.live.capacity import SERVER_CORE, Load
from tests.bench.live.latency import Summary
from tests.bench.live.machine import come_first, noise_noted
from tests.bench.live.servers import Server, serve

CALLS = 4
ILL = 8
"""Clients that misbehave at a time, unless told otherwise."""
GRAPH = "echo"
SECOND_24K = base64.b64encode(np.zeros(24_000, np.int16).tobytes()).decode()
SECOND_48K = np.zeros(48_000, np.int16).tobytes()

Ill = Callable[[Server, random.Random], Awaitable[None]]


def _socket(server: Server, path: str) -> str:
    return f"ws://{urlsplit(server.url).netloc}{path}"


async def read_nothing_openai(server: Server, dice: random.Random) -> None:
    """Speak to the realtime door, never read what it says."""
    path = f"/v1/realtime/translations?model={GRAPH}"
    async with websockets.connect(_socket(server, path), max_queue=1, compression=None) as socket:
        while True:
            await socket.send(json.dumps({"type": "session.input_audio_buffer.append", "audio": SECOND_24K}))
            await asyncio.sleep(0.5)  # twice as fast as anybody speaks


async def read_nothing_websocket(server: Server, dice: random.Random) -> None:
    """Speak to the seed's door as fast as it goes, never read what it says."""
    async with websockets.connect(_socket(server, "/ws/translate"), max_queue=1, compression=None) as socket:
        await socket.send(json.dumps({"mode": "auto", "graph": GRAPH}))
        while True:
            await socket.send(SECOND_48K)


async def nonsense_on_sockets(server: Server, dice: random.Random) -> None:
    """Send what is no message, as fast as it goes, and come again when thrown out."""
    paths = (f"/v1/realtime/translations?model={GRAPH}", "/ws/translate", "/ws/nothing")
    while True:
        with suppress(OSError, websockets.WebSocketException):
            async with websockets.connect(_socket(server, dice.choice(paths)), compression=None) as socket:
                for _ in range(200):
                    await socket.send(dice.choice((dice.randbytes(1000), "[" * 1000, "{}", '{"type": 7}', "\x00")))
        await asyncio.sleep(0.05)


async def upload_slowly(server: Server, dice: random.Random) -> None:
    """Send a file of a megabyte a byte at a time."""

    async def body() -> AsyncIterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\necho\r\n--x\r\n'
        while True:
            yield b"x"
            await asyncio.sleep(0.2)

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    async with httpx.AsyncClient(base_url=server.url, timeout=300) as http:
        while True:
            with suppress(httpx.HTTPError):
                await http.post("/v1/audio/translations", headers=headers, content=body())
            await asyncio.sleep(0.1)


async def upload_nonsense(server: Server, dice: random.Random) -> None:
    """Send files that are none, one after the other."""
    async with httpx.AsyncClient(base_url=server.url, timeout=300) as http:
        while True:
            with suppress(httpx.HTTPError):
                await http.post(
                    "/v1/audio/translations",
                    data={"model": dice.choice(("phrasebook-live", "nothing"))},
                    files={"file": ("a.wav", dice.randbytes(200_000), "audio/wav")},
                )


async def offer_nonsense(server: Server, dice: random.Random) -> None:
    """Post offers that cannot be used, to all doors that take them."""
    headers = {"Content-Type": "application/sdp"}
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as http:
        while True:
            sdp = dice.choice(("v=0", "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n", "x" * 60_000))
            with suppress(httpx.HTTPError):
                await http.post("/api/sessions", json={"graph": GRAPH, "sdp": sdp})
                await http.post(f"/v1/realtime/translations/calls?model={GRAPH}", headers=headers, content=sdp)
                await http.post(f"/whip/{GRAPH}", headers=headers, content=sdp)


KINDS: dict[str, Ill | None] = {
    "nobody": None,
    "reads nothing (OpenAI realtime)": read_nothing_openai,
    "nobody ": None,
    "reads nothing (/ws/translate)": read_nothing_websocket,
    "nonsense on WebSockets": nonsense_on_sockets,
    "nobody  ": None,
    "uploads a byte now and then": upload_slowly,
    "uploads nonsense": upload_nonsense,
    "offers nonsense": offer_nonsense,
    "nobody   ": None,
}


@asynccontextmanager
async def company(server: Server, ill: Ill | None, clients: int) -> AsyncIterator[None]:
    """So many of a kind, until the block ends."""

    async def one(number: int) -> None:
        dice = random.Random(number)
        while True:
            with suppress(OSError, websockets.WebSocketException):
                assert ill is not None
                await ill(server, dice)
            await asyncio.sleep(0.2)

    tasks = [asyncio.create_task(one(number)) for number in range(clients if ill is not None else 0)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _lag_ms(server: Server) -> float:
    async with httpx.AsyncClient(base_url=server.url) as http:
        lines = (await http.get("/metrics")).text.splitlines()
    return 1000 * max(float(line.split()[-1]) for line in lines if line.startswith("tolmach_loop_lag_max_seconds"))


async def _main(clients: int) -> None:
    options = ("--max-sessions", str(CALLS + 2 * clients), "--offers-per-minute", "600")
    with serve("tolmach", core=SERVER_CORE, options=options) as server:
        come_first()
        load = Load(server)
        print(f"{CALLS} echo calls, and {clients} of a kind beside them; the server has a core to itself.\n")
        print("| beside them | echo p50 ms | p95 | highest | not heard | loop lag ms | CPU | foreign |")
        print("|---|---:|---:|---:|---:|---:|---:|---:|")
        first: Summary | None = None
        for name, ill in KINDS.items():
            async with company(server, ill, clients):
                step = await load.step(CALLS)
                lag_ms = await _lag_ms(server)
            found = step.latency
            first = first or found
            print(
                f"| {name.strip()} | {found.p50:.0f} | {found.p95:.0f} | {found.highest:.0f} | {found.lost:.1%} "
                f"| {lag_ms:.0f} | {step.cpu:.2f} | {step.foreign:.2f} |",
                flush=True,
            )
        await load.end()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.live.company", description=__doc__)
    parser.add_argument("--clients", type=int, default=ILL, help="that misbehave at a time")
    args = parser.parse_args()
    os.sched_setaffinity(0, {1})
    with noise_noted():
        asyncio.run(_main(args.clients))


if __name__ == "__main__":
    main()
