"""Calls from headless Chromium with a file for its microphone; what it said and what it heard, on one clock."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from playwright.async_api import Page, Route, async_playwright

from tests.bench.live.machine import come_first
from tests.bench.live.servers import Server
from tolmach.pipelines.frames import Samples

CHROMIUM = "/usr/bin/chromium"
RATE_HZ = 48_000
_BLOCK = 8192
"""Samples of each input in one message of recorder.js."""
_HERE = Path(__file__).parent
_FLAGS = (
    "--no-sandbox",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--no-first-run",
    "--disable-domain-reliability",
    "--metrics-recording-only",
    "--no-pings",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-features=MediaRouter,OptimizationHints,Translate,WebRtcHideLocalIpsWithMdns",
)


@dataclass(frozen=True)
class Recording:
    """A call from its beginning.

    Attributes:
        said: What the microphone gave, float32[n], mono, 48 kHz.
        heard: What the remote track gave, on the same clock.
        messages: What came over the data channel; ``at_s`` is when, s on that clock.
    """

    said: Samples
    heard: Samples
    messages: Sequence[Mapping[str, Any]]


class Call:
    """A call in progress."""

    def __init__(self, page: Page) -> None:
        self._page = page

    async def now_s(self) -> float:
        """Where the recording is, s."""
        return float(await self._page.evaluate("bench.now()"))

    async def told(self, within_s: float, **fields: object) -> None:
        """Wait for a message with these fields. Raises TimeoutError if none comes."""
        async with asyncio.timeout(within_s):
            await self._page.evaluate("fields => bench.told(fields)", fields)

    async def end(self) -> Recording:
        """Hang up, and take what was recorded; silence where a starved browser left something out of both."""
        taken = await self._page.evaluate("bench.take()")
        blocks = np.frombuffer(base64.b64decode(taken["audio"]), np.int16).reshape(-1, 2, _BLOCK)
        starts = np.asarray(taken["frames"]) - taken["frames"][0]
        both = np.zeros((2, starts[-1] + _BLOCK), np.float32)
        for start, block in zip(starts, blocks, strict=True):
            both[:, start : start + _BLOCK] = block.astype(np.float32) / 32768
        return Recording(both[0], both[1], taken["messages"])


@contextlib.asynccontextmanager
async def call(server: Server, microphone: Path, how: str, *arguments: object) -> AsyncIterator[Call]:
    """A call to ``server`` by a browser of its own.

    Args:
        server: Whom to call; its own origin serves the page, so that nothing is cross-origin.
        microphone: A WAV file, spoken once, then silence.
        how: The function of page.html: ``tolmach``, ``pipecat`` or ``alone``.
        arguments: Its arguments.
    """
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[*_FLAGS, f"--use-file-for-fake-audio-capture={microphone}%noloop"],
            ignore_default_args=["--disable-features", "--mute-audio"],
        )
        try:
            page = await browser.new_page()
            come_first()

            async def serve_file(route: Route) -> None:
                await route.fulfill(path=_HERE / route.request.url.rsplit("/", 1)[1])

            await page.route("**/bench/*", serve_file)
            await page.goto(f"{server.url}/bench/page.html")
            async with asyncio.timeout(30):
                await page.evaluate("([how, ...rest]) => bench[how](...rest)", [how, *arguments])
            yield Call(page)
        finally:
            await browser.close()


def write_wav(path: Path, samples: Samples) -> Path:
    """A microphone file, 16 bit, 48 kHz."""
    soundfile.write(path, samples, RATE_HZ, subtype="PCM_16")
    return path
