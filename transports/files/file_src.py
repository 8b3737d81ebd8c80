"""``file_src``: a recording as a stream of audio frames."""

from __future__ import annotations

import asyncio
import contextlib
import itertools

from pipelines.element import Context, SourceElement
from pipelines.errors import MediaError
from pipelines.frames import NS_PER_S, AudioFrame, Samples, samples_to_ns
from transports.files.atomic import is_being_written, resolve
from transports.files.decode import Decoder
from transports.files.specs import FileSrcSettings

__all__ = ["FileSrc"]

_BLOCK_MS = 1000  # decoded per thread hop: the hop costs some 100 µs, a second of 8-channel 48 kHz audio 1.5 MB


class FileSrc(SourceElement):
    """Decodes a recording in a thread, a second at a time, and pushes it in frames of ``chunk_ms``."""

    settings: FileSrcSettings

    def __init__(self, settings: FileSrcSettings, context: Context) -> None:
        super().__init__(settings, context)
        self._decoder: Decoder | None = None
        self._finishing = asyncio.Event()

    async def start(self) -> None:
        """Open the recording.

        Raises:
            MediaError: If there is nothing to decode: no such file, a folder, no audio, or not a recording; or if an
                output would replace it.
        """
        await self.stop()
        self._finishing.clear()
        settings = self.settings
        path = resolve(self.context.base_dir, settings.path)
        if is_being_written(path):  # sinks start first
            said = f"{settings.path}: is this recording and an output too; write the output elsewhere"
            raise MediaError(said, path=settings.path)
        self._decoder = Decoder(
            path,
            settings.path,
            channel=settings.channel,
            start_ms=settings.start_ms,
            duration_ms=settings.duration_ms or 0,
        )
        await asyncio.to_thread(self._decoder.open)

    async def produce(self) -> None:
        """Push the recording; a broken one up to where it breaks, and then says so on the bus.

        Cancelled by: cancel of the graph; the thread that decodes ends by :meth:`stop`.

        Raises:
            MediaError: If the element was not started.
        """
        decoder = self._decoder
        if decoder is None:
            raise MediaError(f"{self.settings.path}: is not open", path=self.settings.path)
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        first_chunk, done, reported_s = 0, 0, 0
        chunks = max(1, _BLOCK_MS // self.settings.chunk_ms)
        while not self._finishing.is_set():
            edges = [self._edge(first_chunk + i, decoder.rate_hz) for i in range(chunks + 1)]
            block = await asyncio.to_thread(decoder.read, edges[-1] - edges[0])
            for start, end in itertools.pairwise(edges):
                part = block[start - edges[0] : end - edges[0]]
                if not len(part) or self._finishing.is_set():
                    break
                if self.settings.pace == "realtime":
                    # A live source hands a frame over when its last sample has been heard.
                    await self._wait_until(began_s + (done + len(part)) / decoder.rate_hz)
                await self._push(decoder, part, done)
                done += len(part)
                if done // decoder.rate_hz > reported_s:
                    reported_s = done // decoder.rate_hz
                    self._post_progress(decoder, done)
            if len(block) < edges[-1] - edges[0]:
                break
            first_chunk += chunks
        self._post_progress(decoder, done)
        self._post_findings(decoder)

    def finish(self) -> None:
        """End after the frame in hand."""
        self._finishing.set()

    async def stop(self) -> None:
        """Release the recording."""
        decoder, self._decoder = self._decoder, None
        if decoder is not None:
            await asyncio.to_thread(decoder.close)

    def _edge(self, chunk: int, rate_hz: int) -> int:
        """Samples before chunk number ``chunk``: 37 ms at 44.1 kHz is no whole number of them."""
        return chunk * self.settings.chunk_ms * rate_hz // 1000

    async def _wait_until(self, time_s: float) -> None:
        delay_s = time_s - asyncio.get_running_loop().time()
        if delay_s > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._finishing.wait(), delay_s)

    async def _push(self, decoder: Decoder, samples: Samples, done: int) -> None:
        pts_ns = samples_to_ns(decoder.start_samples + done, decoder.rate_hz)
        await self.context.push(AudioFrame(samples, decoder.rate_hz, pts_ns))

    def _post_progress(self, decoder: Decoder, done: int) -> None:
        total = decoder.expected
        self.context.post(
            "progress",
            pts_ns=samples_to_ns(decoder.start_samples + done, decoder.rate_hz),
            data={
                "position_ns": samples_to_ns(done, decoder.rate_hz),
                "duration_ns": None if total is None else samples_to_ns(max(total, done), decoder.rate_hz),
            },
        )

    def _post_findings(self, decoder: Decoder) -> None:
        path = self.settings.path
        if (pauses := decoder.pauses) is not None:
            more = f" (and {pauses.places - 1} more pauses)" if pauses.places > 1 else ""
            self.context.post(
                "warning",
                f"{path}: {pauses.what} at {pauses.at_ns / NS_PER_S:.3f} s{more}; silence is put there.",
                pts_ns=pauses.at_ns,
                data={"path": path, "at_ns": pauses.at_ns, "places": pauses.places},
            )
        if (damage := decoder.damage) is not None:
            more = f" ({damage.places} damaged places in all)" if damage.places > 1 else ""
            self.context.post(
                "error",
                f"{path}: broken at {damage.at_ns / NS_PER_S:.3f} s: {damage.what}{more}. "
                "What could be decoded was used.",
                pts_ns=damage.at_ns,
                data={"path": path, "at_ns": damage.at_ns, "fatal": False},
            )
