"""Short pieces of recordings and dubs as data URIs, cut and encoded by graphs of our own: Opus, 16 kHz mono."""

from __future__ import annotations

import asyncio
import base64
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tolmach.pipelines.errors import TolmachError
from tolmach.pipelines.language.builder import GraphBuilder

RATE_HZ = 16000
MARGIN_S = 0.25
"""Heard before and behind a sentence, s: references are cut close."""
MAX_CLIP_S = 30.0
MAX_TOTAL_BYTES = 12 << 20
"""Of all sound in a page, encoded: about an hour at Opus' rate for speech."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a file.

    Attributes:
        path: The file.
        start_s: Where it begins, s.
        end_s: Where it ends, s.
    """

    path: Path
    start_s: float
    end_s: float


async def data_uris(pieces: Sequence[Piece | None], *, margin_s: float = MARGIN_S) -> list[str | None]:
    """Each piece as ``data:audio/ogg;base64,…``, longest :data:`MAX_CLIP_S`; None for what cannot be had.

    Cancelled by: the caller.
    """
    uris: list[str | None] = []
    total = 0
    with tempfile.TemporaryDirectory(prefix="tolmach-eval-") as folder:
        for number, piece in enumerate(pieces):
            data = b""
            if piece is not None and total < MAX_TOTAL_BYTES:
                data = await _encoded(piece, Path(folder) / f"{number}.opus", margin_s)
            total += len(data)
            fits = bool(data) and total <= MAX_TOTAL_BYTES
            uris.append(f"data:audio/ogg;base64,{base64.b64encode(data).decode()}" if fits else None)
    return uris


async def _encoded(piece: Piece, target: Path, margin_s: float) -> bytes:
    from tolmach.pipelines.runtime.runner import GraphRunner  # pipecat, which a wrong command need not wait for

    start_s = max(0.0, piece.start_s - margin_s)
    length_s = min(MAX_CLIP_S, piece.end_s + margin_s - start_s)
    if length_s <= 0:
        return b""
    builder = GraphBuilder("clip")
    builder.add(
        "in",
        "file_src",
        path=str(piece.path),
        start_ms=round(start_s * 1000),
        duration_ms=max(1, round(length_s * 1000)),
    )
    builder.add("rate", "resample", rate_hz=RATE_HZ, channels=1)
    builder.add("out", "file_sink", path=str(target), timeline="compact")
    builder.link("in", "rate", "out")
    try:
        await GraphRunner(builder.build()).run()
        return await asyncio.to_thread(target.read_bytes)
    except (TolmachError, OSError):  # a damaged recording has no clip; the figures stand
        return b""
