"""Russian recordings through config/whisper.yaml: the translations beside their references, and the dub heard again.

chrF (sacrebleu) compares translation and reference. The dub is judged by a recogniser that did not make it: Whisper
*transcribing* the English speech of espeak-ng, word error rate against the text that was to be spoken. (It is the same
Whisper base that translated the Russian, but it knows nothing of the text; it is the only recogniser that installs from
the package registry.)
"""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from pathlib import Path

from tests.bench.accuracy import ROOT
from tolmach.pipelines.bus import Message, TranslationMessage
from tolmach.pipelines.cli.evaluation.quality import edit_distance
from tolmach.pipelines.language.check import load_graph
from tolmach.pipelines.runtime.runner import GraphRunner

GRAPH = ROOT / "config" / "whisper.yaml"


def recordings() -> list[dict[str, str]]:
    """Russian recordings with a reference: real ones where they exist, else the shipped demo."""
    rows: list[dict[str, str]] = []
    manifest = ROOT.parent / "shared" / "speech" / "manifest.jsonl"
    if manifest.is_file():
        for line in manifest.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if row["language"] == "ru":
                rows.append({"path": str(manifest.parent / row["file"]), "reference": row["translation"] or ""})
    demo = ROOT / "config" / "demo" / "whisper-ru.json"
    if demo.is_file():
        reference = " ".join(item["en"] for item in json.loads(demo.read_text(encoding="utf-8")))
        rows.append({"path": str(demo.with_suffix(".flac")), "reference": reference})
    return rows


async def translate(path: Path, output: Path) -> str:
    """All texts of one recording, joined."""
    texts: list[str] = []
    graph = load_graph(GRAPH, params={"input": str(path), "output": str(output)}, require_params=True)
    runner = GraphRunner(graph)

    def take(message: Message) -> None:
        if isinstance(message, TranslationMessage) and message.frame.text:
            texts.append(message.frame.text)

    runner.bus.subscribe(take)
    result = await runner.run()
    if not result.ok:
        raise RuntimeError(f"{path}: {result.error or result.errors}")
    return " ".join(texts)


def word_errors(reference: str, heard: str) -> tuple[int, int]:
    """Levenshtein distance in words, and the words of the reference."""
    a, b = (re.findall(r"[a-z0-9']+", text.lower()) for text in (reference, heard))
    return edit_distance(a, b), len(a)


def main() -> None:
    import sacrebleu
    from faster_whisper import WhisperModel

    from tolmach.processors.whisper.weights import joined_model

    judge = WhisperModel(str(joined_model()), device="cpu", compute_type="int8")
    print("## Russian → English with Whisper base\n")
    print("| recording | translation | reference | chrF | words of the dub misheard |")
    print("|---|---|---|---:|---:|")
    texts, references = [], []
    errors = words = 0
    with tempfile.TemporaryDirectory() as folder:
        for at, row in enumerate(recordings()):
            path = Path(row["path"])
            output = Path(folder) / str(at)
            text = asyncio.run(translate(path, output))
            segments, _ = judge.transcribe(str(output / "dub.wav"), language="en", vad_filter=True)
            wrong, total = word_errors(text, " ".join(s.text for s in segments))
            errors, words = errors + wrong, words + total
            chrf = sacrebleu.sentence_chrf(text, [row["reference"]]).score
            texts.append(text)
            references.append(row["reference"])
            print(f"| {path.name} | {text} | {row['reference']} | {chrf:.1f} | {wrong} of {total} |", flush=True)
    overall = sacrebleu.corpus_chrf(texts, [references]).score
    print(f"\nAll: chrF {overall:.1f}; {errors} of {words} words of the dub misheard.")


if __name__ == "__main__":
    main()
