"""What the sinks that write text have in common."""

from __future__ import annotations

import asyncio
from typing import Any

from pipelines.element import Context, Element
from pipelines.errors import ElementError
from transports.files.atomic import AtomicFile, resolve

__all__ = ["TextSink"]

_FLUSH_CHARS = 1 << 16  # small enough to hold, large enough that a thread hop per flush does not count


class TextSink(Element):
    """Writes UTF-8 text to ``settings.path``; the file appears when the stream has ended."""

    def __init__(self, settings: Any, context: Context) -> None:
        super().__init__(settings, context)
        self._output: AtomicFile | None = None
        self._pending: list[str] = []
        self._pending_chars = 0

    async def start(self) -> None:
        """Open the file under its temporary name.

        Raises:
            OutputError: If it cannot be written, or exists and may not be replaced.
        """
        await self.stop()
        target = resolve(self.context.base_dir, self.settings.path)
        self._output = AtomicFile(target, overwrite=self.context.overwrite)
        await asyncio.to_thread(self._output.open)

    async def write(self, text: str) -> None:
        """Append ``text``; it reaches the disk in a thread, in batches.

        Raises:
            ElementError: If the disk refuses it.
        """
        self._pending.append(text)
        self._pending_chars += len(text)
        if self._pending_chars >= _FLUSH_CHARS:
            await self._flush()

    async def drain(self) -> None:
        """Write the rest and give the file its name.

        Raises:
            ElementError: If the disk refuses it.
            OutputError: If the name was taken meanwhile and may not be replaced.
        """
        await self._flush()
        if self._output is not None:
            await self._in_thread(self._output.commit)

    async def stop(self) -> None:
        """Remove what was not finished."""
        output, self._output = self._output, None
        self._pending, self._pending_chars = [], 0
        if output is not None:
            await asyncio.to_thread(output.discard)

    async def _flush(self) -> None:
        # Text from a model may hold a lone surrogate, which no file can.
        data = "".join(self._pending).encode(errors="replace")
        self._pending, self._pending_chars = [], 0
        if self._output is not None and data:
            await self._in_thread(self._output.write, data)

    async def _in_thread(self, function: Any, *arguments: Any) -> None:
        try:
            await asyncio.to_thread(function, *arguments)
        except OSError as error:
            raise ElementError(
                f"{self.settings.path}: cannot be written: {error.strerror or error}",
                element=self.context.name,
                graph=self.context.graph,
            ) from error
