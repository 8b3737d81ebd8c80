"""Simultaneous Canary against simulstream's CanaryStreamAtt (Papi et al. 2024), the same model, set and scorer.

    pip install simulstream==1.0.0 --no-deps && pip install pycountry websockets librosa
    python -m tests.bench.simulstream

The demonstration sentences of the phrasebook are joined, ``--gap`` seconds between them; both get the same steps of
audio, and OmniSTEval judges both through `tolmach eval`'s own alignment. "with computing" adds the wall time that each
step took, one behind the other; run it on an idle machine. Neither ever takes a word back.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.bench.accuracy import ROOT
from tests.bench.while_they_speak import trimmed
from tests.unit.test_whisper import RATE, read
from tolmach.pipelines.cli.evaluation.alignment import Piece, Span, Stream, align
from tolmach.pipelines.cli.evaluation.quality import corpus_scores
from tolmach.pipelines.frames import Samples

MODEL = ROOT / "processors" / "phrasebook" / "phrasebook.nemo"

OURS: dict[str, tuple[str, ...]] = {
    "utterance mode": ("ast.mode=utterance",),
    "simultaneous": ("ast.mode=simultaneous",),
    "simultaneous, word by word": ("ast.mode=simultaneous", "ast.max_clause_ms=0"),
}

THEIRS = (2, 4, 8)
"""Frames of 80 ms at the end of the audio that a stable word may not look at (``cutoff_frame_num``); theirs is 2."""


def join(folder: Path, source: str, gap_s: float, repeat: int) -> tuple[Path, list[Span]]:
    """A recording of all sentences in one language, with its manifest and references."""
    target = {"en": "ru", "ru": "en"}[source]
    listing = ROOT / "config" / "demo" / f"phrasebook-{source}.json"
    rows = json.loads(listing.read_text(encoding="utf-8"))
    audio = read(listing.with_suffix(".flac"), rows[-1]["end_s"] + 5)
    parts: list[Samples] = []
    segments, spans, at = [], [], 0
    for row in rows * repeat:
        sound = trimmed(audio[round(row["start_s"] * RATE) : round(row["end_s"] * RATE)])
        start_s, end_s = at / RATE, (at + len(sound)) / RATE
        segments.append({"start_s": start_s, "end_s": end_s, "transcript": row[source], "translation": row[target]})
        spans.append(Span(start_s, end_s, row[target]))
        parts += [sound, np.zeros(round(gap_s * RATE), np.float32)]
        at += len(sound) + round(gap_s * RATE)
    folder.mkdir(parents=True, exist_ok=True)
    with wave.open(str(folder / "talk.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((np.concatenate(parts) * 32767).astype("<i2").tobytes())
    manifest = folder / "manifest.jsonl"
    row = {"file": "talk.wav", "source_lang": source, "target_lang": target, "segments": segments}
    manifest.write_text(json.dumps(row, ensure_ascii=False), encoding="utf-8")
    return manifest, spans


def load_theirs(beams: int) -> Any:
    """Their processor, with a model from a file where they ask a hub."""
    import torch
    from nemo.collections.asr.models import ASRModel
    from nemo.collections.asr.parts.submodules.multitask_decoding import MultiTaskDecodingConfig
    from simulstream.server.speech_processors.canary_streamatt import CanaryStreamAtt

    class FromFile(CanaryStreamAtt):  # type: ignore[misc]  # it has no types
        @classmethod
        def load_model(cls, config: SimpleNamespace) -> None:
            if getattr(cls, "model", None) is None:
                cls.model = ASRModel.restore_from(str(MODEL), map_location="cpu")
                decoding = MultiTaskDecodingConfig()
                decoding.strategy, decoding.return_xattn_scores, decoding.beam.beam_size = "beam", True, beams
                cls.model.change_decoding_strategy(decoding)
                cls.device = torch.device("cpu")

    return FromFile


def run_theirs(kind: Any, source: str, audio: Samples, step_s: float, cutoff: int, layer: int) -> Iterator[Piece]:
    """What it says, with when: media time of the step, and that behind the computing of all before it."""
    history = SimpleNamespace(
        type="simulstream.server.speech_processors.base_streamatt.PunctuationTextHistory", history_words=20
    )
    config = SimpleNamespace(
        type="", speech_chunk_size=step_s, text_history=history, audio_subsampling_factor=8, mel_hop_samples=160,
        use_raw_audio_history=True, cutoff_frame_num=cutoff, cross_attention_layer=layer,
    )  # fmt: skip
    kind.load_model(config)
    processor = kind(config)
    processor.set_source_language(source)
    processor.set_target_language({"en": "ru", "ru": "en"}[source])
    free_s, step = 0.0, round(step_s * RATE)
    for at in range(0, len(audio) + step, step):
        heard_s = min(at + step, len(audio)) / RATE
        began_s = time.perf_counter()
        output = processor.process_chunk(audio[at : at + step]) if at < len(audio) else processor.end_of_stream()
        free_s = max(free_s, heard_s) + time.perf_counter() - began_s
        if output.new_string.strip():
            yield Piece(output.new_string, 0.0, 0.0, heard_s, free_s)


def score(pieces: tuple[Piece, ...], spans: list[Span], target: str, folder: Path) -> Mapping[str, Any]:
    aligned = align([Stream(pieces, tuple(spans))], target, folder)
    found = corpus_scores(aligned.outputs[0], [span.reference for span in spans], target)
    return {**{name: each.score for name, each in found.items()}, "latency": aligned.latency}


def ours(manifest: Path, output: Path, settings: tuple[str, ...]) -> Mapping[str, Any]:
    command = [sys.executable, "-m", "tolmach", "eval", str(manifest), "phrasebook", "-o", str(output), "-q"]
    settings = (*settings, "ast.batch_utterances=1")
    subprocess.run([*command, *(word for setting in settings for word in ("--set", setting))], check=True)
    [scores] = json.loads((output / "eval.json").read_text(encoding="utf-8"))["scores"]
    return dict(scores)


def row(name: str, scores: Mapping[str, Any]) -> str:
    latency = scores["latency"] or {}
    unaware, aware = latency.get("long_yaal_ms"), latency.get("long_yaal_aware_ms")
    times = ["–" if ms is None else f"{ms:.0f}" for ms in (unaware, aware)]
    times.append("–" if unaware is None or aware is None else f"{aware - unaware:.0f}")
    return f"| {name} | {scores['bleu']:.1f} | {scores['chrf']:.1f} | {' | '.join(times)} |"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.simulstream", description=__doc__)
    parser.add_argument("--gap", type=float, default=0.1)
    parser.add_argument("--step", type=float, default=1.0)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--beams", type=int, default=1)
    parser.add_argument("--layer", type=int, default=-1, help="decoder layer whose attention they look at")
    parser.add_argument("--cutoffs", nargs="*", type=int, default=THEIRS)
    parser.add_argument("--languages", nargs="*", default=["en", "ru"])
    parser.add_argument("-o", "--output", type=Path, help="keep the evaluations here")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        for source in args.languages:
            folder = (args.output or Path(temporary)) / source
            manifest, spans = join(folder, source, args.gap, args.repeat)
            print(f"\n{source} →, {spans[-1].end_s:.0f} s, gaps of {args.gap} s, steps of {args.step} s\n")
            print(
                "| | BLEU | chrF | LongYAAL, ms | with computing, ms | computing, ms |\n|---|---:|---:|---:|---:|---:|"
            )
            for name, settings in OURS.items():
                step = f"ast.step_ms={round(args.step * 1000)}"
                print(row(name, ours(manifest, folder / name.replace(" ", "-"), (*settings, step))), flush=True)
            kind, audio = load_theirs(args.beams), read(folder / "talk.wav", spans[-1].end_s + 5)
            target = {"en": "ru", "ru": "en"}[source]
            for cutoff in args.cutoffs:
                pieces = tuple(run_theirs(kind, source, audio, args.step, cutoff, args.layer))
                found = score(pieces, spans, target, folder / f"theirs-{cutoff}")
                print(row(f"simulstream, cutoff {cutoff}", found), flush=True)


if __name__ == "__main__":
    main()
