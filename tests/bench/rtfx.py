"""Speed of ``tolmach run`` against a plain script with NeMo and espeak over the same files.

The plain script is what somebody would write in an afternoon: read the file, cut it with the Silero VAD, ``transcribe``
all segments in batches, speak each text, write one WAV. Both have their models loaded and warm before the clock starts,
run in one process, and use the same voice engine; they alternate and the best of three rounds counts.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.bench.accuracy import GRAPH, OTHER, ROOT
from tolmach.pipelines.language.check import load_graph
from tolmach.pipelines.runtime.runner import GraphRunner

RATE_HZ = 16000
MINUTES = 5.0
ROUNDS = 3


def make_recording(folder: Path, lang: str) -> Path:
    """The clips of one language with a second of silence between, repeated to five minutes."""
    import soundfile

    clips_dir = ROOT / "config" / "demo" / "clips"
    rows = [json.loads(line) for line in (clips_dir / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < MINUTES * 60 * RATE_HZ:
        for row in rows:
            if row["source_lang"] == lang:
                parts += [soundfile.read(clips_dir / row["file"], dtype="float32")[0], np.zeros(RATE_HZ, np.float32)]
    path = folder / f"{lang}.flac"
    soundfile.write(path, np.concatenate(parts)[: int(MINUTES * 60 * RATE_HZ)], RATE_HZ)
    return path


class PlainScript:
    """The baseline, as a class so that its models stay loaded between rounds."""

    def __init__(self) -> None:
        import torch
        from nemo.collections.asr.models import ASRModel
        from nemo.utils import logging
        from silero_vad import load_silero_vad

        # What canary_ast uses for a model this small; two threads lose on a busy machine.
        torch.set_num_threads(1)
        logging.setLevel(logging.ERROR)
        model = ROOT / "processors" / "phrasebook" / "phrasebook.nemo"
        self.model = ASRModel.restore_from(str(model), map_location="cpu").eval()
        self.vad = load_silero_vad(onnx=True)

    def run(self, path: Path, lang: str, output: Path) -> int:
        """Dub one file; returns the number of segments."""
        import soundfile
        import torch
        from silero_vad import get_speech_timestamps

        audio, rate = soundfile.read(path, dtype="float32")
        spans = get_speech_timestamps(
            torch.from_numpy(audio), self.vad, sampling_rate=rate, min_silence_duration_ms=500, speech_pad_ms=200
        )
        segments = [audio[span["start"] : span["end"]] for span in spans]
        texts = self.model.transcribe(segments, batch_size=8, source_lang=lang, target_lang=OTHER[lang], verbose=False)
        with soundfile.SoundFile(output, "w", 22050, 1) as out:
            for hypothesis in texts:
                out.write(asyncio.run(_speak(hypothesis.text, OTHER[lang])))
        return len(segments)


async def _speak(text: str, lang: str) -> np.ndarray:
    from tolmach.processors.espeak.element import Request, speak

    voice = {"en": "en-us", "ru": "ru"}[lang]
    request = Request(text=text, voice=voice, rate_wpm=160, pitch=50, volume=100, end_pause=False)
    blocks = [block async for block in speak(request)]
    return np.concatenate(blocks) if blocks else np.zeros(1, np.float32)


def tolmach(path: Path, lang: str, folder: Path, settings: dict[str, object]) -> float:
    """Run the shipped graph once; returns the wall time while frames flowed, s."""
    params = {"input": str(path), "output": str(folder), "source_lang": lang, "target_lang": OTHER[lang]}
    result = asyncio.run(GraphRunner(load_graph(GRAPH, params=params, overrides=settings, require_params=True)).run())
    if not result.ok:
        raise RuntimeError(str(result.error or result.errors))
    return result.playing_s


def main() -> None:
    print("## Speed: `tolmach run` against a plain script with NeMo and espeak\n")
    print("| recording | Tolmach RTFx | plain script RTFx | ratio |")
    print("|---|---:|---:|---:|")
    plain = PlainScript()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for lang in ("en", "ru"):
            path = make_recording(folder, lang)
            best = {"tolmach": float("inf"), "plain": float("inf")}
            for _ in range(ROUNDS):
                best["tolmach"] = min(best["tolmach"], tolmach(path, lang, folder / "out", {}))
                started = time.perf_counter()
                plain.run(path, lang, folder / "plain.wav")
                best["plain"] = min(best["plain"], time.perf_counter() - started)
            rtfx = {k: MINUTES * 60 / v for k, v in best.items()}
            print(
                f"| {MINUTES:g} min, {lang} → {OTHER[lang]} | {rtfx['tolmach']:.0f} | {rtfx['plain']:.0f} | "
                f"{rtfx['tolmach'] / rtfx['plain']:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
