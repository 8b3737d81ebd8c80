"""Somebody speaks for minutes without a pause: utterance mode against `mode: simultaneous`, with Whisper base.

The Russian recordings at hand are joined with 0.1 s between them, so that no detector finds an end, and judged by
`tolmach eval` against their references: quality, LongYAAL (OmniSTEval; pip install 'tolmach[eval]'), words taken back.
``--minutes`` repeats them; ``--pace`` plays them at their own pace, for latencies with computing (as long as they are,
for each mode). A mode is eight minutes of two CPU cores for the default 2.5 minutes with windows of 30 s, two with 5 s.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import wave
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.accuracy import ROOT
from tests.unit.test_whisper import RATE, read
from tolmach.pipelines.frames import Samples

MODES: dict[str, tuple[str, ...]] = {
    "utterance": ("ast.mode=utterance",),
    "utterance, beam 1": ("ast.mode=utterance", "ast.beam_size=1"),
    "simultaneous": ("ast.mode=simultaneous",),
    "simultaneous, quick": ("ast.mode=simultaneous", "ast.padding_ms=5000"),
    "simultaneous, quick, 800 ms": ("ast.mode=simultaneous", "ast.padding_ms=5000", "ast.align_threshold_ms=800"),
    "simultaneous, word by word": ("ast.mode=simultaneous", "ast.max_clause_ms=0"),
    "simultaneous, local agreement": ("ast.mode=simultaneous", "ast.policy=local_agreement"),
}

GAP_S = 0.1

LATENCIES = {
    "long_yaal_ms": "LongYAAL, ms",
    "stream_laal_ms": "StreamLAAL, ms",
    "long_yaal_aware_ms": "LongYAAL with computing, ms",
    "stream_laal_aware_ms": "StreamLAAL with computing, ms",
}
"""LongYAAL leaves out words that come after the last reference sentence: beside it, what does not."""


def sentences() -> list[tuple[Samples, str, str]]:
    """Audio without silence at its ends, transcript, translation."""
    found: list[tuple[Samples, str, str]] = []
    manifest = ROOT.parent / "shared" / "speech" / "manifest.jsonl"
    if manifest.is_file():
        for line in manifest.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if row["language"] == "ru" and row["translation"]:
                found.append((read(manifest.parent / row["file"]), row["transcript"], row["translation"]))
    demo = ROOT / "config" / "demo" / "whisper-ru.json"
    audio = read(demo.with_suffix(".flac"), 60.0)
    rows = json.loads(demo.read_text(encoding="utf-8"))
    found += [(audio[round(r["start_s"] * RATE) : round(r["end_s"] * RATE)], r["ru"], r["en"]) for r in rows]
    return [(trimmed(samples), transcript, translation) for samples, transcript, translation in found]


def trimmed(samples: Samples) -> Samples:
    """Without what is 40 dB below its peak at both ends; as loud as the others."""
    loud = np.flatnonzero(np.abs(samples) > np.abs(samples).max() / 100)
    return (samples[loud[0] : loud[-1] + 1] * (0.5 / np.abs(samples).max())).astype(np.float32)


def join(folder: Path, minutes: float) -> Path:
    """A recording of at least so many minutes and its manifest."""
    parts, rows, at = [], [], 0.0
    while at < 60 * minutes:
        for samples, transcript, translation in sentences():
            length = len(samples) / RATE
            rows.append({"start_s": at, "end_s": at + length, "transcript": transcript, "translation": translation})
            parts += [samples, np.zeros(round(GAP_S * RATE), np.float32)]
            at += length + GAP_S
    with wave.open(str(folder / "talk.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((np.concatenate(parts) * 32767).astype("<i2").tobytes())
    manifest = folder / "manifest.jsonl"
    manifest.write_text(json.dumps({"file": "talk.wav", "language": "ru", "segments": rows}, ensure_ascii=False))
    return manifest


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.while_they_speak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.5)
    parser.add_argument("--pace", action="store_true")
    parser.add_argument("--modes", nargs="*", default=list(MODES), choices=list(MODES))
    parser.add_argument("-o", "--output", type=Path, help="keep the evaluations here")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.output or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        manifest = join(folder, args.minutes)
        print(f"| mode | BLEU | chrF | {' | '.join(LATENCIES.values())} |")
        print("|---|" + "---:|" * (2 + len(LATENCIES)), flush=True)
        for mode in args.modes:
            output = folder / mode.replace(",", "").replace(" ", "-")
            command = [sys.executable, "-m", "tolmach", "eval", str(manifest), "whisper", "-o", str(output), "-q"]
            command += [word for setting in MODES[mode] for word in ("--set", setting)]
            subprocess.run([*command, *["--pace"] * args.pace], check=True)
            [score] = json.loads((output / "eval.json").read_text(encoding="utf-8"))["scores"]
            print(f"| {mode} | {row(score)} |", flush=True)


def row(score: Mapping[str, Any]) -> str:
    latency = score["latency"]
    values = [f"{latency[name]:.0f}" if name in latency else "–" for name in LATENCIES]
    return " | ".join([f"{score['bleu']:.1f}", f"{score['chrf']:.1f}", *values])


if __name__ == "__main__":
    main()
