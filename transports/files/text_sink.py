"""What the sinks that write text have in common."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from tolmach.pipelines.element import Context, Element
from tolmach.pipelines.errors import ElementError
from tolmach.transports.files.atomic import AtomicFile, resolve

__all__ = ["TextSink"]


class TextSink(Element):
    """Writes UTF-8 text to ``settings.path``; the file gets that name when the stream has ended.

    Until then the text stands in a partial file beside it (``events.partial.jsonl``), on the disk as it comes, and
    stays there when the run is interrupted or fails.
    """

    def __init__(self, settings: Any, context: Context) -> None:
        super().__init__(settings, context)
        self._output: AtomicFile | None = None
        self._head = ""
        self._begun = False

    async def start(self, head: str = "") -> None:
        """Open the file under its partial name.

        Args:
            head: What the file begins with, whether or not anything follows.

        Raises:
            OutputError: If it cannot be written, or exists and may not be replaced.
        """
        await self.stop()
        target = resolve(self.context.base_dir, self.settings.path)
        self._output = AtomicFile(target, overwrite=self.context.overwrite, partial=True)
        self._head = head
        self._begun = False
        await asyncio.to_thread(self._output.open)

    async def write(self, text: str) -> None:
        """Append ``text``; it is on the disk, written there in a thread, when this returns.

        Raises:
            ElementError: If the disk refuses it.
        """
        if text and self._output is not None:
            text, self._head, self._begun = self._head + text, "", True
            await self._in_thread(self._output.write, _encoded(text))

    async def drain(self) -> None:
        """Give the file its name.

        Raises:
            ElementError: If the disk refuses it.
            OutputError: If the name was taken meanwhile and may not be replaced.
        """
        if self._output is not None:
            head, self._head = self._head, ""
            await self._in_thread(self._output.write, _encoded(head))
            await self._in_thread(self._output.commit)
            self._output = None

    def unwritten(self) -> str:
        """The rest of the text, were the stream to end here; asked for once, when it was interrupted."""
        return ""

    async def stop(self) -> None:
        """Keep what is there of a file that was not finished, if there is anything, under its partial name."""
        output, self._output = self._output, None
        if output is None:
            return
        rest = self.unwritten()
        text = _encoded(self._head + rest) if rest else b""
        await asyncio.to_thread(_break_off, output, text, keep=self._begun or bool(rest))

    async def _in_thread(self, function: Any, *arguments: Any) -> None:
        try:
            await asyncio.to_thread(function, *arguments)
        except OSError as error:
            raise ElementError(
                f"{self.settings.path}: cannot be written: {error.strerror or error}",
                element=self.context.name,
                graph=self.context.graph,
            ) from error


def _encoded(text: str) -> bytes:
    # Text from a model may hold a lone surrogate, which no file can.
    return text.encode(errors="replace")


def _break_off(output: AtomicFile, rest: bytes, *, keep: bool) -> None:
    if rest:
        with contextlib.suppress(OSError):  # the disk is full: then without it
            output.write(rest)
    output.discard(keep=keep)
