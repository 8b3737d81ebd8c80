"""Recordings that are sent to workers and results that are fetched, where no folder is shared: ``--ray-ship``.

A recording goes through Ray's object store whole, so it is bounded. Results come back in pieces and appear whole.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tolmach.pipelines.cli.batch.jobs import Job
from tolmach.pipelines.cli.batch.playing import Played
from tolmach.pipelines.cli.batch.records import Record, write_whole
from tolmach.pipelines.element import output_paths
from tolmach.pipelines.errors import GraphError, MediaError, OutputError
from tolmach.pipelines.graph import Graph

__all__ = ["MAX_SENT_BYTES", "Shipment", "Shipping"]

MAX_SENT_BYTES = 100 << 20
"""Largest recording that is sent. It lies in memory here and there; this is an hour of 16-bit mono at 16 kHz, or seven
of compressed sound."""

PIECE_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Shipment:
    """One recording on its way.

    Attributes:
        graph: The graph, with the worker's paths.
        sent: The recording; empty for a graph without one.
        folder: Of this recording at the worker, absolute.
        input: Where the recording is put there; "" without one.
        output: Where results are written there.
        mine: What stands here for what there; for messages.
    """

    graph: Graph
    sent: bytes
    folder: str
    input: str
    output: str
    mine: tuple[tuple[str, str], ...]

    def told_here(self, text: str) -> str:
        """A message of the worker's with our paths in it."""
        for there, here in self.mine:
            text = text.replace(there, here)
        return text


class Shipping:
    """Sends and fetches; its methods block.

    Args:
        load: Makes the graph of a job.
    """

    def __init__(self, load: Callable[[Job], Graph]) -> None:
        self._load = load

    def pack(self, job: Job, graph: Graph, spool: str, *, overwrite: bool) -> Shipment:
        """Make a recording ready for a worker.

        Args:
            job: Which.
            graph: Its graph, as it would play here.
            spool: The worker's folder.
            overwrite: Whether results may be replaced.

        Raises:
            GraphError: If the graph writes where nothing is fetched from.
            MediaError: If the recording is too large to be sent.
            OutputError: If a result is there already and may not be replaced.
            OSError: If the recording cannot be read.
        """
        for target in check_outputs(job, graph):
            if not overwrite and target.exists():
                raise OutputError(f"{target}: exists already; choose another name or allow overwriting (--overwrite)")
        folder = f"{spool}/{secrets.token_hex(8)}"
        there = replace(job, output=Path(folder, "results"))
        sent, mine = b"", [(str(there.output), str(job.output))]
        if job.input is not None:
            sent = _read(job.input)
            there = replace(there, input=Path(folder, "recording", job.input.name))
            mine.append((str(there.input), str(job.input)))
        where = str(there.input) if there.input is not None else ""
        return Shipment(self._load(there), sent, folder, where, str(there.output), tuple(mine))

    def unpack(
        self, ray: Any, actor: Any, shipment: Shipment, played: Played, record: Record, *, overwrite: bool
    ) -> Played:
        """Fetch the results.

        Returns:
            What became of the recording, with our paths.

        Raises:
            OutputError: If one is there meanwhile, or cannot be written.
            ray.exceptions.RayError: If the worker died.
        """

        def pieces(path: str) -> Iterator[bytes]:
            offset = 0
            while data := ray.get(actor.piece.remote(path, offset, PIECE_BYTES)):
                offset += len(data)
                yield data

        for name in played.record.outputs:
            target = Path(record.output, name)
            if not overwrite and target.exists() and ".partial." not in name:
                raise OutputError(f"{target}: exists already; choose another name or allow overwriting (--overwrite)")
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                write_whole(target, pieces(f"{shipment.output}/{name}"))
            except OSError as error:
                raise OutputError(f"{target}: cannot be written: {error.strerror or error}") from error
        actor.forget.remote(shipment.folder)
        errors, warnings = (
            tuple(map(shipment.told_here, texts)) for texts in (played.record.errors, played.record.warnings)
        )
        return replace(played, record=replace(played.record, output=record.output, errors=errors, warnings=warnings))


def check_outputs(job: Job, graph: Graph) -> list[Path]:
    """The files that a graph writes, all in its job's folder.

    Raises:
        GraphError: If one is not.
    """
    found, root = [], os.path.abspath(job.output)  # noqa: PTH100 -- no links resolved
    for node in graph.nodes.values():
        for path in output_paths(node.settings).values():
            target = os.path.abspath(Path(path).expanduser())  # noqa: PTH100
            if not target.startswith(root + os.sep):
                raise GraphError(f"--ray-ship fetches what lies in {job.output}, and {node.name} writes {path}")
            found.append(Path(target))
    return found


def _read(path: Path) -> bytes:
    size = path.stat().st_size
    if size > MAX_SENT_BYTES:
        raise MediaError(
            f"{path}: has {size >> 20} MiB, and --ray-ship sends {MAX_SENT_BYTES >> 20} at most; put it where all "
            "machines see it",
            path=str(path),
        )
    return path.read_bytes()
