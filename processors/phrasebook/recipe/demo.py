"""Renders the demonstration recordings that are shipped: conversations with pauses, and a small test set of clips."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .config import seeded
from .sentences import FIXED_TEMPLATE, LANGUAGES, Language, Sentence, split
from .voices import FESTIVAL_EN, FESTIVAL_RU, PIPER, SAMPLE_RATE_HZ, Audio, Line, available, espeak_voices, speak_lines

_SEED = "demo"
_CLIPS = 24
_CONVERSATION = (
    "Good morning.",
    "Do you speak English?",
    "I have a reservation.",
    "I need a room for three nights.",
    "How much does it cost?",
    "Where is the train station?",
    "I would like a cup of coffee and some bread.",
    "The bus leaves at nine o'clock.",
    "Thank you very much.",
    "Goodbye.",
)
# Outside the phrasebook; for the cascade that uses Whisper.
_OPEN_DOMAIN = (
    ("Yesterday we walked along the river for a long time.", "Вчера мы долго гуляли вдоль реки."),
    ("My grandfather worked at the factory for thirty years.", "Мой дедушка тридцать лет работал на заводе."),
    (
        "In winter the lake freezes and children skate on it.",
        "Зимой озеро замерзает, и дети катаются по нему на коньках.",
    ),
    ("Scientists have discovered a new planet beyond the sun.", "Учёные открыли новую планету далеко за солнцем."),
)


def write_flac(path: Path, audio: Audio) -> None:
    """Writes float32[n] audio in [-1, 1] as a 16 kHz mono 16-bit FLAC file."""
    import av

    samples = (np.clip(audio, -1, 1) * 32767).astype(np.int16)[None]
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="flac") as container:
        stream = container.add_stream("flac", rate=SAMPLE_RATE_HZ, layout="mono", format="s16")
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE_HZ
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _speak(text: str, voice: str) -> Audio:
    (audio,) = speak_lines([Line(text, voice)])
    if audio is None:
        message = f"{voice} gave nothing for {text!r}"
        raise RuntimeError(message)
    return audio


def conversation(pairs: Sequence[tuple[str, str]], language: Language, voice: str, out: Path) -> None:
    """Writes phrases one after another with pauses, and where each of them is.

    Args:
        pairs: English and Russian texts.
        language: Which of them is spoken.
        voice: Who speaks.
        out: FLAC file; a ``.json`` file goes beside it: ``[{"en", "ru", "start_s", "end_s"}, ...]``.
    """
    rng = seeded(_SEED, out.stem)
    pieces: list[Audio] = [np.zeros(SAMPLE_RATE_HZ // 2, dtype=np.float32)]
    rows = []
    for en, ru in pairs:
        speech = _speak(en if language == "en" else ru, voice)
        start = sum(map(len, pieces)) / SAMPLE_RATE_HZ
        rows.append(
            {"en": en, "ru": ru, "start_s": round(start, 3), "end_s": round(start + len(speech) / SAMPLE_RATE_HZ, 3)}
        )
        # 0.8 s is longer than any end-pointing hangover, so every phrase is an utterance of its own.
        pieces += [speech, np.zeros(int(SAMPLE_RATE_HZ * rng.uniform(0.8, 1.5)), dtype=np.float32)]
    write_flac(out, np.concatenate(pieces))
    out.with_suffix(".json").write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _choose() -> list[tuple[Sentence, bool]]:
    """Chooses the sentences of the clips: a third fixed, a third other training ones, a third held out."""
    rng = seeded(_SEED, "clips")
    train, held = split()
    fixed = [item for item in train if item.template == FIXED_TEMPLATE]
    others = [item for item in train if item.template != FIXED_TEMPLATE]
    third = _CLIPS // 3
    seen = rng.sample(fixed, third) + rng.sample(others, third)
    return [(item, False) for item in seen] + [(item, True) for item in rng.sample(held, third)]


def clips(folder: Path) -> None:
    """Writes the test clips and ``manifest.jsonl``; voices that are not installed are replaced by espeak-ng's."""
    voices: dict[Language, tuple[str, ...]] = {
        "en": (PIPER, "flite:slt", FESTIVAL_EN[0], espeak_voices("en")[9]),
        "ru": (FESTIVAL_RU, espeak_voices("ru")[20], FESTIVAL_RU, espeak_voices("ru")[44]),
    }
    rows = []
    for language in LANGUAGES:
        for i, (sentence, held_out) in enumerate(_choose()):
            wanted = voices[language][i % len(voices[language])]
            voice = wanted if available(wanted) else espeak_voices(language)[i]
            file = f"{language}-{i:02d}.flac"
            speech = np.pad(_speak(sentence.text(language), voice), SAMPLE_RATE_HZ // 5)
            write_flac(folder / file, speech)
            rows.append(
                {
                    "file": file,
                    "source_lang": language,
                    "target_lang": "ru" if language == "en" else "en",
                    "en": sentence.en,
                    "ru": sentence.ru,
                    "voice": voice,
                    "held_out": held_out,
                }
            )
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "manifest.jsonl").write_text(lines, encoding="utf-8")


def write_demo(folder: Path) -> None:
    """Writes everything into a folder.

    Raises:
        RuntimeError: A voice renders nothing.
        FileNotFoundError: A speech program is not installed.
    """
    known = {item.en: item for half in split() for item in half}
    pairs = [(known[text].en, known[text].ru) for text in _CONVERSATION]
    conversation(pairs, "en", "flite:slt", folder / "phrasebook-en.flac")
    conversation(pairs, "ru", FESTIVAL_RU, folder / "phrasebook-ru.flac")
    conversation(_OPEN_DOMAIN, "ru", FESTIVAL_RU, folder / "whisper-ru.flac")
    clips(folder / "clips")
