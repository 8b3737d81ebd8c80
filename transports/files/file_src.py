"""``file_src``: a recording as a stream of audio frames."""

from __future__ import annotations

import asyncio
import contextlib
import itertools

from tolmach.pipelines.bus import ErrorMessage, InfoMessage, NoticeMessage, PositionMessage, WarningMessage
from tolmach.pipelines.channels import OPPOSED_PHASE
from tolmach.pipelines.element import Context, SourceElement
from tolmach.pipelines.errors import MediaError
from tolmach.pipelines.frames import NS_PER_S, AudioFrame, Samples, samples_to_ns
from tolmach.pipelines.stdio import STDIO
from tolmach.transports.files.atomic import is_being_written, resolve_path
from tolmach.transports.files.decode import Decoder
from tolmach.transports.files.specs import FileSrcSettings
from tolmach.transports.files.streams import StandardInput

__all__ = ["FileSrc"]

_SAID_DRIFT_MS = 100  # a drift that moved the end of a recording by less is nobody's concern
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
        stream = StandardInput() if settings.path == STDIO else None
        path = resolve_path(self.context.base_dir, settings.path)
        if stream is None and is_being_written(path):  # sinks start first
            said = f"{settings.path}: is this recording and an output too; write the output elsewhere"
            raise MediaError(said, path=settings.path)
        self._decoder = Decoder(
            stream or path,
            settings.path,
            track=settings.track,
            languages=self.context.languages,
            channel=settings.channel,
            start_ms=settings.start_ms,
            duration_ms=settings.duration_ms or 0,
        )
        await asyncio.to_thread(self._decoder.open)
        self._post_choice(self._decoder)

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
        # What comes through a pipe may be spoken right now: nothing waits for the rest of a second.
        chunks = 1 if self.settings.path == STDIO else max(1, _BLOCK_MS // self.settings.fitting_chunk_ms)
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
        return chunk * self.settings.fitting_chunk_ms * rate_hz // 1000

    async def _wait_until(self, time_s: float) -> None:
        delay_s = time_s - asyncio.get_running_loop().time()
        if delay_s > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._finishing.wait(), delay_s)

    async def _push(self, decoder: Decoder, samples: Samples, done: int) -> None:
        pts_ns = samples_to_ns(decoder.start_samples + done, decoder.rate_hz)
        await self.context.push(AudioFrame(samples, decoder.rate_hz, pts_ns, layout=decoder.layout))

    def _post_progress(self, decoder: Decoder, done: int) -> None:
        total, rate_hz, choice = decoder.expected, decoder.rate_hz, decoder.findings.choice
        self.context.post(
            PositionMessage(
                samples_to_ns(done, rate_hz),
                None if total is None else samples_to_ns(max(total, done), rate_hz),
                samples_to_ns(decoder.loud_samples, rate_hz),
                len(choice.others) if choice is not None else 0,
                pts_ns=samples_to_ns(decoder.start_samples + done, rate_hz),
            )
        )

    def _post_choice(self, decoder: Decoder) -> None:
        choice = decoder.findings.choice
        if choice is None or not choice.others:
            return
        others = ", ".join(str(track) for track in choice.others)
        name = self.context.name
        text = f"audio track {choice.track} is read; there is also {others}. Choose with --set {name}.track=NUMBER"
        kind = InfoMessage if choice.certain else WarningMessage
        self._tell(kind, text, None, {"track": choice.track.number, "tracks": 1 + len(choice.others)})

    def _post_findings(self, decoder: Decoder) -> None:
        findings = decoder.findings
        if (changes := findings.changes) is not None:
            more = f" (and {changes.places - 1} more times)" if changes.places > 1 else ""
            text = f"{changes.what} at {_seconds(changes.at_ns)}{more}; all of it comes out as it began."
            self._tell(InfoMessage, text, changes.at_ns, {"places": changes.places})
        if (pauses := findings.pauses) is not None:
            more = f" (and {pauses.places - 1} more pauses)" if pauses.places > 1 else ""
            text = f"{pauses.what} at {_seconds(pauses.at_ns)}{more}; silence is put there."
            self._tell(WarningMessage, text, pauses.at_ns, {"places": pauses.places})
        moved = findings.inserted - findings.removed
        if abs(moved) > decoder.rate_hz * _SAID_DRIFT_MS // 1000:
            kind, seconds = ("slower", moved) if moved > 0 else ("faster", -moved)
            text = (
                f"its audio runs {kind} than its timestamps, by {seconds / decoder.rate_hz:.3f} s in all; "
                f"it was {'length' if moved > 0 else 'short'}ened to fit them."
            )
            self._tell(WarningMessage, text, None, {"inserted": findings.inserted, "removed": findings.removed})
        if (opposed_ns := findings.opposed_at_ns) is not None:
            text = f"{OPPOSED_PHASE} (from {_seconds(opposed_ns)} on)."
            self._tell(WarningMessage, text, opposed_ns, {})
        if (damage := decoder.damage) is not None:
            more = f" ({damage.places} damaged places in all)" if damage.places > 1 else ""
            text = f"broken at {_seconds(damage.at_ns)}: {damage.what}{more}. What could be decoded was used."
            self._tell(ErrorMessage, text, damage.at_ns, {})

    def _tell(self, kind: type[NoticeMessage], text: str, at_ns: int | None, data: dict[str, int]) -> None:
        path = self.settings.path
        place = {} if at_ns is None else {"at_ns": at_ns}
        self.context.post(kind(f"{path}: {text}", {"path": path, **place, **data}, pts_ns=at_ns))


def _seconds(time_ns: int) -> str:
    return f"{time_ns / NS_PER_S:.3f} s"
