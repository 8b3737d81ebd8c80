"""``tolmach bench endpoints``: the command behind the name, and what it tells."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from tolmach.pipelines.errors import GraphError, OutputError
from tolmach.processors.vad.bench.recordings import LEAST_PAUSE_MS, read_recordings
from tolmach.processors.vad.bench.sweep import CUT_BUDGETS, LATENCY_BUDGETS_MS, Report, Score, Translate, measure
from tolmach.processors.vad.bench.translator import Translator
from tolmach.processors.vad.spec import SileroVadSettings

PINNED: Mapping[str, Mapping[str, Any]] = {f"hangover_ms: {ms}": {"hangover_ms": ms} for ms in (300, 500, 700)}
"""What is measured beside the sweep: the hangovers that people know."""


def bench_endpoints(
    path: Path,
    *,
    hesitations: int,
    vad: Mapping[str, Any],
    translator: str | None,
    ast: Mapping[str, Any],
    json_file: Path | None,
    say: Callable[[str], None],
) -> int:
    """Measure the recordings at ``path`` and print the tables.

    Args:
        path: A recording, a folder, or a manifest.
        hesitations: How many hesitant recordings are made of each.
        vad: Settings of ``silero_vad`` that are measured besides.
        translator: Type of a translator that is heard too, or None.
        ast: Its settings; languages follow the recordings.
        json_file: Where everything is written, too.
        say: Told what is under way.

    Returns:
        The exit status.

    Raises:
        GraphError: If a setting is wrong.
        MediaError: If a recording cannot be read.
        OutputError: If the JSON cannot be written.
    """
    pinned = dict(PINNED)
    if vad:
        try:
            SileroVadSettings(**vad)
        except ValidationError as error:
            problem = error.errors()[0]
            raise GraphError(f"silero_vad: {'.'.join(map(str, problem['loc']))}: {problem['msg']}") from None
        pinned[", ".join(f"{name}: {value}" for name, value in vad.items())] = dict(vad)

    def translate(language: str) -> Translate:
        target = "en" if language != "en" or translator == "whisper_ast" else "ru"
        return Translator(str(translator), {"source_lang": language, "target_lang": target, **ast})

    reports = measure(
        read_recordings(path),
        hesitations=hesitations,
        pinned=pinned,
        translator=translate if translator is not None else None,
        say=say,
    )
    print(as_text(reports))
    if json_file is not None:
        try:
            json_file.write_text(as_json(reports), encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{json_file}: cannot be written: {error.strerror or error}") from None
    return 0


def as_text(reports: Sequence[Report]) -> str:
    """Tables for people."""
    lines = []
    heads = [f"cuts at {ms} ms" for ms in LATENCY_BUDGETS_MS] + [
        f"latency at {share:.0%} cuts" for share in CUT_BUDGETS
    ]
    for report in reports:
        lines.append(
            f"{report.language}, {report.kind}: {report.turns} turns ({report.whole} end a sentence), "
            f"{report.pauses} pauses of {LEAST_PAUSE_MS} ms or more"
        )
        lines.append(f"  {'':16}" + "".join(f"{head:>21}" for head in heads))
        for way in report.ways:
            cells = [f"{s.false_cuts:.1%}" if s is not None else "-" for s in way.cuts_within.values()]
            cells += [f"{s.mean_latency_ms:.0f} ms" if s is not None else "-" for s in way.latency_within.values()]
            lines.append(f"  {way.name:16}" + "".join(f"{cell:>21}" for cell in cells))
        for name, score in report.pinned.items():
            lines.append(f"  {name}: {told(score)}")
        lines.append("")
    return "\n".join(lines)


def told(score: Score) -> str:
    """One setting's figures, for people."""
    latencies = sorted(score.latency_ms)
    sounds = score.after_sound_ms
    middle, most, sound = (
        float(np.percentile(values, q)) if values else float("nan")
        for values, q in ((latencies, 50), (latencies, 95), (sounds, 50))
    )
    return (
        f"{score.cuts} of {score.pauses} pauses cut ({score.false_cuts:.1%}), latency mean "
        f"{score.mean_latency_ms:.0f}, p50 {middle:.0f}, p95 {most:.0f} ms ({sound:.0f} ms after the last sound), "
        f"{score.fragments_a_sentence:.2f} fragments a sentence"
    )


def as_json(reports: Sequence[Report]) -> str:
    """All of it, every setting that was tried included."""

    def plain(score: Score | None) -> dict[str, Any] | None:
        if score is None:
            return None
        figures = {
            "false_cuts": score.false_cuts,
            "mean_latency_ms": score.mean_latency_ms if score.latency_ms else None,
            "fragments_a_sentence": score.fragments_a_sentence,
        }
        return {**asdict(score), **figures}

    return json.dumps(
        [
            {
                "language": report.language,
                "kind": report.kind,
                "turns": report.turns,
                "whole": report.whole,
                "pauses": report.pauses,
                "pinned": {name: plain(score) for name, score in report.pinned.items()},
                "ways": {
                    way.name: {
                        "cuts_within_ms": {str(ms): plain(score) for ms, score in way.cuts_within.items()},
                        "latency_within": {str(share): plain(score) for share, score in way.latency_within.items()},
                        "scores": [plain(score) for score in way.scores],
                    }
                    for way in report.ways
                },
            }
            for report in reports
        ],
        ensure_ascii=False,
        indent=1,
    )
