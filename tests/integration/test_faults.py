"""Recordings that go wrong, each after a public report, where they lie beside the checkout (../shared/faults)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tolmach.pipelines.bus import Message, NoticeMessage, TranslationMessage
from tolmach.pipelines.language.check import load_graph
from tolmach.pipelines.runtime.runner import GraphRunner, RunResult

ROOT = Path(__file__).resolve().parents[2]
FAULTS = ROOT.parent / "shared" / "faults"
CLIPS = ROOT / "config" / "demo" / "clips"

SHORT = (("en-00", 1.0), ("en-05", 6.0), ("en-08", 11.0))
LONG = (*SHORT, ("en-09", 16.0), ("en-12", 21.0), ("en-04", 27.0))

pytestmark = pytest.mark.skipif(
    not FAULTS.is_dir(), reason="no faulty recordings beside the checkout (../shared/faults)"
)


async def run(graph_name: str, name: str, output: Path) -> tuple[RunResult, list[Message]]:
    graph = load_graph(
        ROOT / "config" / f"{graph_name}.yaml",
        params={"input": str(FAULTS / name), "output": str(output)},
        require_params=True,
    )
    heard: list[Message] = []
    runner = GraphRunner(graph)
    runner.bus.subscribe(heard.append)
    return await runner.run(), heard


def notices(heard: list[Message], *kinds: str) -> list[NoticeMessage]:
    return [m for m in heard if isinstance(m, NoticeMessage) and m.kind in kinds]


def phrases(heard: list[Message]) -> list[tuple[str, float]]:
    """What was understood, and when its speech began."""
    return [(m.frame.text, m.frame.pts_ns / 1e9) for m in heard if isinstance(m, TranslationMessage) and m.frame.text]


def reference() -> dict[str, str]:
    lines = (CLIPS / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    return {Path(row["file"]).stem: row["ru"] for row in map(json.loads, lines)}


@pytest.mark.models
@pytest.mark.parametrize(
    ("name", "expected", "told"),
    [
        ("base14.flac", SHORT, None),
        ("1-preroll-mono-then-stereo.mp3", (("en-03", 0.0), *((c, s + 2.12) for c, s in SHORT)), "info"),
        ("1-tv-stereo-then-51.ts", (("en-03", 0.0), *((c, s + 1.09) for c, s in SHORT)), "info"),
        ("2-one-block-2s-ahead.mkv", LONG, None),
        ("2-one-pes-5s-ahead.ts", LONG, None),
        ("3-audio-2pc-fast.mkv", tuple((c, s * 0.98) for c, s in LONG), "warning"),
        ("4-antiphase.flac", LONG, "warning"),
        ("6-two-tracks-rus-eng.mkv", LONG, "info"),
        ("7-film51-music-18dB.flac", SHORT, None),
    ],
)
async def test_every_phrase_is_heard_at_its_time(
    tmp_path: Path, name: str, expected: tuple[tuple[str, float], ...], told: str | None
) -> None:
    result, heard = await run("phrasebook", name, tmp_path)
    assert result.ok, result.errors
    texts = reference()
    found = phrases(heard)
    assert [text for text, _ in found] == [texts[clip] for clip, _ in expected]
    late = [found_s - expected_s for (_, found_s), (_, expected_s) in zip(found, expected, strict=True)]
    assert max(map(abs, late)) <= 0.1, late
    said = [m.kind for m in notices(heard, "warning", "info") if m.element in ("in", "to_16k")]
    assert said == [told] * (told is not None)


async def test_a_damaged_stream_gives_what_can_be_decoded_and_says_where_it_broke(tmp_path: Path) -> None:
    result, heard = await run("vad", "media_index_error.ts", tmp_path)
    assert result.status == "done"
    assert not result.ok, "tolmach run ends with 1"
    (error,) = notices(heard, "error")
    assert "broken at 0.070 s" in error.text
    assert (tmp_path / "segments.jsonl").is_file()
    assert result.media_ns > 1_500_000_000


async def test_a_stream_that_appears_late_is_named(tmp_path: Path) -> None:
    result, heard = await run("vad", "late_stream.ts", tmp_path)
    assert result.ok
    (warning,) = [m for m in notices(heard, "warning") if m.element == "in"]
    assert "audio track 0 of unknown language is read; there is also 1 of unknown language" in warning.text
