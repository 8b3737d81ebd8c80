"""How often the embedded phrasebook model is exactly right, both ways, and what it says to speech it does not know.

Sets: the project's own clips (config/demo/clips), and, where they lie beside the checkout, the demo clips and the real
recordings of ../shared. Clips are decoded whole (``bare``) and through the shipped graph (``graph``).
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tolmach.pipelines.bus import Message, TranslationMessage
from tolmach.pipelines.language.check import load_graph
from tolmach.pipelines.runtime.runner import GraphRunner

ROOT = Path(__file__).resolve().parents[2]
GRAPH = ROOT / "config" / "phrasebook.yaml"
OTHER = {"en": "ru", "ru": "en"}


@dataclass(frozen=True)
class Clip:
    """A recording and what is said in it; ``texts`` is empty when nothing must be recognised."""

    path: Path
    source_lang: str
    texts: dict[str, str]


@dataclass(frozen=True)
class Heard:
    """What the graph made of a clip: the texts of its utterances and the rejections."""

    text: str
    rejected: tuple[str, ...]


def clip_sets() -> dict[str, list[Clip]]:
    """The sets that exist on this machine, by name."""
    sets = {"own clips": _manifest(ROOT / "config" / "demo" / "clips" / "manifest.jsonl")}
    shared = ROOT.parent / "shared"
    if (demo := shared / "models" / "demo" / "manifest.jsonl").is_file():
        sets["shared demo clips"] = _manifest(demo)
    return sets


def _manifest(path: Path) -> list[Clip]:
    clips = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        clips.append(Clip(path.parent / row["file"], row["source_lang"], {"en": row["en"], "ru": row["ru"]}))
    return clips


def unknown_recordings() -> list[Clip]:
    """Real recordings outside the phrasebook, each with its own language (noise with both)."""
    manifest = ROOT.parent / "shared" / "speech" / "manifest.jsonl"
    if not manifest.is_file():
        return []
    clips = []
    for line in manifest.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        languages = [row["language"]] if row["language"] in OTHER else ["en", "ru"]
        clips += [Clip(manifest.parent / row["file"], lang, {}) for lang in languages]
    return clips


async def through_graph(clips: Sequence[Clip], jobs: int = 4) -> list[Heard]:
    """Run the shipped graph over each clip."""
    room = asyncio.Semaphore(jobs)

    async def one(clip: Clip, folder: Path) -> Heard:
        params = {
            "input": str(clip.path),
            "output": str(folder),
            "source_lang": clip.source_lang,
            "target_lang": OTHER[clip.source_lang],
        }
        texts: list[str] = []
        rejected: list[str] = []

        def take(message: Message) -> None:
            if isinstance(message, TranslationMessage):
                frame = message.frame
                (rejected if frame.rejected else texts).append(frame.rejected or frame.text)

        async with room:
            runner = GraphRunner(load_graph(GRAPH, params=params, require_params=True))
            runner.bus.subscribe(take)
            result = await runner.run()
        if not result.ok:
            raise RuntimeError(f"{clip.path}: {result.error or result.errors}")
        return Heard(" ".join(texts), tuple(rejected))

    with tempfile.TemporaryDirectory() as folder:
        return await asyncio.gather(*(one(clip, Path(folder) / str(i)) for i, clip in enumerate(clips)))


def exact(clips: Iterable[Clip], heard: Iterable[str]) -> tuple[int, int]:
    """How many texts equal their reference, and of how many."""
    pairs = [(clip.texts[OTHER[clip.source_lang]], text) for clip, text in zip(clips, heard, strict=True)]
    return sum(a == b for a, b in pairs), len(pairs)


def main() -> None:
    import sacrebleu

    print("## Phrasebook accuracy\n")
    print("| set | direction | exact through the graph | chrF |")
    print("|---|---|---:|---:|")
    misses: list[str] = []
    for name, clips in clip_sets().items():
        for lang in ("en", "ru"):
            part = [c for c in clips if c.source_lang == lang]
            heard = asyncio.run(through_graph(part))
            right, total = exact(part, [h.text for h in heard])
            references = [c.texts[OTHER[lang]] for c in part]
            chrf = sacrebleu.corpus_chrf([h.text for h in heard], [references]).score
            print(
                f"| {name} | {lang} → {OTHER[lang]} | {right} of {total} ({100 * right / total:.0f} %) | {chrf:.1f} |"
            )
            misses += [
                f"{c.path.name}: {c.texts[OTHER[lang]]!r} came out as {h.text!r} {h.rejected or ''}"
                for c, h in zip(part, heard, strict=True)
                if h.text != c.texts[OTHER[lang]]
            ]
    for miss in misses:
        print(f"- {miss}")
    unknown = unknown_recordings()
    if unknown:
        heard = asyncio.run(through_graph(unknown))
        loud = [(c, h) for c, h in zip(unknown, heard, strict=True) if h.text]
        print(f"\nReal recordings it does not know: {len(loud)} of {len(unknown)} gave any text.")
        for clip, said in loud:
            print(f"- {clip.path.name} ({clip.source_lang}): {said.text!r}")


if __name__ == "__main__":
    main()
