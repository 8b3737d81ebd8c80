"""Renders the corpus to disk: parts of shards, each written once, so that a stopped run goes on where it was.

A part is a list of jobs that depends on the settings alone. A shard is a fixed slice of it: ``PART/0003.i16`` holds the
audio (int16, 16 kHz, mono, clips end to end) and ``PART/0003.jsonl`` a line for each clip. The lines are written
last, so a shard with lines is complete.
"""

import hashlib
import itertools
import json
import logging
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import ood, voices
from .companions import companions
from .config import CorpusSettings, seeded
from .sentences import FIXED_TEMPLATE, LANGUAGES, Language, Sentence, split
from .unknown_text import generate, load_prose
from .voices import Line

logger = logging.getLogger(__name__)
UNKNOWN = "unknown"
_NOTHING = Sentence("", "", UNKNOWN)


@dataclass(frozen=True, slots=True)
class Clip:
    """One clip of the corpus.

    Attributes:
        start: First sample in the file of its shard.
        samples: Length, 16 kHz.
        en: English reference, empty for speech outside the phrasebook.
        ru: Russian reference, likewise.
        language: Spoken language, ``en``, ``ru`` or empty.
        voice: Name of the voice or of the source of the recording.
        template: Template of the sentence, ``"fixed"``, or ``"unknown"``.
        text: What was spoken, empty for recordings.
    """

    start: int
    samples: int
    en: str
    ru: str
    language: str
    voice: str
    template: str
    text: str


@dataclass(frozen=True, slots=True)
class Job:
    """A line to speak and what it means; both texts of an unknown sentence are empty."""

    line: Line
    language: str
    meaning: Sentence


def _speak(sentence: Sentence, language: Language, voice: str, key: object, *, steady: bool = False) -> Job:
    """Draws pace and pitch for one clip from its name, so that a clip does not depend on those before it."""
    rng = seeded("clip", key, sentence.en, language, voice)
    rate = (
        1.0 if steady else round(rng.uniform(0.82, 1.28) if voice.startswith("espeak") else rng.uniform(0.85, 1.22), 3)
    )
    pitch = rng.randint(25, 80)
    line = Line(sentence.text(language), voice, rate=rate, pitch=pitch, noise=round(rng.uniform(0.5, 0.9), 3))
    return Job(line, language, sentence)


def _phrases(settings: CorpusSettings, group: str, language: Language, pool: tuple[str, ...], count: int) -> list[Job]:
    """Jobs for ``count`` clips of each training sentence, fixed phrases more often."""
    jobs = []
    for sentence in split()[0]:
        rng = seeded(settings.seed, group, language, sentence.en)
        times = count * (settings.fixed_factor if sentence.template == FIXED_TEMPLATE else 1)
        # Draw without repeats first: a flite voice at another pace is worth less than another voice.
        drawn = list(itertools.islice(itertools.cycle(rng.sample(pool, len(pool))), times))
        jobs += [_speak(sentence, language, voice, (settings.seed, i)) for i, voice in enumerate(drawn)]
    return jobs


def _companions(settings: CorpusSettings, language: Language, pools: Sequence[tuple[str, ...]]) -> list[Job]:
    """Jobs for a clip of each companion sentence from each pool of voices."""
    jobs = []
    for sentence in companions():
        rng = seeded(settings.seed, "companion", language, sentence.en)
        jobs += [_speak(sentence, language, rng.choice(pool), (settings.seed, i)) for i, pool in enumerate(pools)]
    return jobs


def _unknown(settings: CorpusSettings, group: str, language: Language, pool: tuple[str, ...], count: int) -> list[Job]:
    """Jobs for sentences outside the phrasebook."""
    rng = seeded(settings.seed, "unknown", group, language)
    texts = generate(rng, language, count, load_prose(language))
    jobs = []
    for i, text in enumerate(texts):
        spoken = Sentence(text, text, UNKNOWN)
        job = _speak(spoken, language, rng.choice(pool), (settings.seed, group, i))
        jobs.append(Job(job.line, language, _NOTHING))
    return jobs


def _foreign(settings: CorpusSettings) -> list[Job]:
    """Jobs for speech in neither language: other espeak-ng languages reading English or Russian letters."""
    latin = ("de", "fr-fr", "es", "it", "pt", "pl", "nl", "sv", "tr", "fi", "cs", "hu")
    pool = [(language, "en") for language in latin] + [(language, "ru") for language in ("uk", "bg", "kk", "sr")]
    jobs = []
    for (code, script), share in zip(pool, itertools.repeat(settings.unknown_foreign // len(pool)), strict=False):
        names = voices.espeak_voices(code)
        source: Language = "en" if script == "en" else "ru"
        made = _unknown(settings, f"foreign-{code}", source, names, share)
        jobs += [Job(job.line, "", _NOTHING) for job in made]
    return jobs


def _test(settings: CorpusSettings, name: str) -> list[Job]:
    """Lists a test set: A has held-out text and seen voices, B neither seen, C seen text and held-out voices."""
    train, held = split()
    sentences = held if name in "AB" else tuple(seeded(settings.seed, "C").sample(train, settings.test_seen_sentences))
    jobs = []
    for sentence in sentences:
        rng = seeded(settings.seed, "test", name, sentence.en)
        for language in LANGUAGES:
            voice = rng.choice(voices.espeak_voices(language, held_out=name != "A"))
            jobs.append(_speak(sentence, language, voice, name))
        if name == "A":
            english: tuple[str, ...] = ("flite:slt", voices.FESTIVAL_EN[0], voices.PIPER)
            jobs.append(_speak(sentence, "ru", voices.FESTIVAL_RU, name, steady=True))
        else:
            english = (*voices.FLITE_HELD_OUT, *voices.FESTIVAL_HELD_OUT)
        jobs += [_speak(sentence, "en", voice, name, steady=True) for voice in english]
    return jobs


def _dev_unknown(settings: CorpusSettings) -> list[Job]:
    """Jobs for unknown sentences in held-out voices, to choose the gate with."""
    jobs = []
    for language in LANGUAGES:
        pool = voices.espeak_voices(language, held_out=True)[:5]
        pool += (*voices.FLITE_HELD_OUT, *voices.FESTIVAL_HELD_OUT) if language == "en" else ()
        jobs += _unknown(settings, "dev", language, pool, settings.dev_unknown)
    return jobs


def parts(settings: CorpusSettings) -> dict[str, Callable[[], list[Job]]]:
    """Names the synthetic parts, in the order they are rendered, with the functions that list their jobs."""
    s = settings
    espeak_en, espeak_ru = voices.espeak_voices("en"), voices.espeak_voices("ru")
    russian = (voices.FESTIVAL_RU,)
    piper = (voices.PIPER,)
    return {
        "phrase-piper": lambda: _phrases(s, "piper", "en", piper, s.piper_per_sentence),
        "phrase-festival-ru": lambda: _phrases(s, "festival", "ru", russian, s.festival_per_sentence),
        "phrase-festival-en": lambda: _phrases(s, "festival", "en", voices.FESTIVAL_EN, 2 * s.festival_per_sentence),
        "phrase-espeak-en": lambda: _phrases(s, "espeak", "en", espeak_en, s.espeak_per_sentence),
        "phrase-espeak-ru": lambda: _phrases(s, "espeak", "ru", espeak_ru, s.espeak_per_sentence),
        "phrase-flite": lambda: _phrases(s, "flite", "en", voices.FLITE_TRAIN, s.flite_per_sentence),
        "phrase-companion-ru": lambda: _companions(s, "ru", (espeak_ru, russian)),
        "phrase-companion-en": lambda: _companions(s, "en", (espeak_en, voices.FLITE_TRAIN, voices.FESTIVAL_EN)),
        "unknown-espeak-en": lambda: _unknown(s, "espeak", "en", espeak_en, s.unknown_espeak),
        "unknown-espeak-ru": lambda: _unknown(s, "espeak", "ru", espeak_ru, s.unknown_espeak),
        "unknown-flite": lambda: _unknown(s, "flite", "en", voices.FLITE_TRAIN, s.unknown_flite),
        "unknown-festival-ru": lambda: _unknown(s, "festival", "ru", russian, s.unknown_festival),
        "unknown-festival-en": lambda: _unknown(s, "festival", "en", voices.FESTIVAL_EN, s.unknown_festival),
        "unknown-piper": lambda: _unknown(s, "piper", "en", piper, s.unknown_piper),
        "unknown-foreign": lambda: _foreign(s),
        "test-A": lambda: _test(s, "A"),
        "test-B": lambda: _test(s, "B"),
        "test-C": lambda: _test(s, "C"),
        "dev-unknown": lambda: _dev_unknown(s),
    }


def write_shard(folder: Path, index: int, clips: Iterable[tuple[NDArray[np.float32], dict[str, str]]]) -> int:
    """Writes clips and their lines; the lines appear only when the audio is complete.

    Args:
        folder: Folder of the part.
        index: Number of the shard.
        clips: float32[n] audio at 16 kHz in [-1, 1], and the fields of :class:`Clip` but the first two.

    Returns:
        Number of clips written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows, start = [], 0
    with Path(folder, f"{index:04d}.i16").open("wb") as out:
        for audio, fields in clips:
            out.write((np.clip(audio, -1, 1) * 32767).astype(np.int16).tobytes())
            rows.append(asdict(Clip(start=start, samples=len(audio), **fields)))
            start += len(audio)
    partial = folder / f"{index:04d}.part"
    partial.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    partial.replace(folder / f"{index:04d}.jsonl")
    return len(rows)


def read_part(folder: Path) -> Iterator[tuple[Clip, NDArray[np.int16]]]:
    """Reads the clips of a part; each comes with a view, int16[samples], on the mapped file of its shard."""
    for lines in sorted(folder.glob("*.jsonl")):
        audio = lines.with_suffix(".i16")
        if audio.stat().st_size == 0:
            continue
        samples = np.memmap(audio, dtype=np.int16, mode="r")
        for line in lines.read_text(encoding="utf-8").splitlines():
            clip = Clip(**json.loads(line))
            yield clip, samples[clip.start : clip.start + clip.samples]


def _render_shard(task: tuple[Path, int, list[Job]]) -> int:
    folder, index, jobs = task
    audio: list[voices.Audio | None] = [None] * len(jobs)
    order = sorted(range(len(jobs)), key=lambda i: jobs[i].line.voice)
    for _, group in itertools.groupby(order, key=lambda i: jobs[i].line.voice):
        places = list(group)
        for i, clip in zip(places, voices.speak_lines([jobs[i].line for i in places]), strict=True):
            audio[i] = clip
    ready = (
        (clip, _fields(job.meaning, job.language, job.line.voice, job.line.text))
        for job, clip in zip(jobs, audio, strict=True)
        if clip is not None
    )
    return write_shard(folder, index, ready)


def _fields(meaning: Sentence, language: str, voice: str, text: str) -> dict[str, str]:
    return {
        "en": meaning.en,
        "ru": meaning.ru,
        "language": language,
        "voice": voice,
        "template": meaning.template,
        "text": text,
    }


def _read_source(task: tuple[Path, ood.Source]) -> int:
    folder, source = task
    clips = ((audio, _fields(_NOTHING, source.language, source.name, "")) for _, audio in ood.read_recordings(source))
    return write_shard(folder, 0, clips)


def _fresh(folder: Path, jobs: list[Job]) -> bool:
    """Tells whether a folder holds shards of these very jobs; shards of other settings are removed."""
    digest = hashlib.sha256(repr(jobs).encode()).hexdigest()
    mark = folder / "plan.sha256"
    if mark.exists() and mark.read_text(encoding="utf-8") == digest:
        return True
    folder.mkdir(parents=True, exist_ok=True)
    for shard in (*folder.glob("*.jsonl"), *folder.glob("*.i16")):
        shard.unlink()
    mark.write_text(digest, encoding="utf-8")
    return False


def render_corpus(work: Path, settings: CorpusSettings, only: str = "") -> None:
    """Renders what is missing of the corpus into ``work/corpus``.

    Args:
        work: Working folder.
        settings: What to render and with how many processes.
        only: Prefix of the parts to render; all of them if empty.

    Blocks until done; an interrupt leaves complete shards only.
    """
    root = work / "corpus"
    tasks: list[tuple[Path, int, list[Job]]] = []
    for name, plan in parts(settings).items():
        if not name.startswith(only):
            continue
        jobs = plan()
        if jobs and not voices.available(jobs[0].line.voice):
            logger.warning("part %s skipped: %s is not installed", name, jobs[0].line.voice)
            continue
        _fresh(root / name, jobs)
        shards = [jobs[i : i + settings.shard_clips] for i in range(0, len(jobs), settings.shard_clips)]
        missing = [i for i in range(len(shards)) if not (root / name / f"{i:04d}.jsonl").exists()]
        tasks += [(root / name, i, shards[i]) for i in missing]
    sources = [
        (root / f"{'dev' if source.dev else 'human'}-{source.name}", source)
        for source in ood.SOURCES
        if "human".startswith(only)
    ]
    sources = [(folder, source) for folder, source in sources if not (folder / "0000.jsonl").exists()]
    with multiprocessing.get_context("spawn").Pool(settings.workers) as pool:
        human = pool.imap(_read_source, sources)
        for done, count in enumerate(pool.imap_unordered(_render_shard, tasks), 1):
            logger.info("shard %d of %d: %d clips", done, len(tasks), count)
        for (folder, _), count in zip(sources, human, strict=True):
            logger.info("%s: %d clips", folder.name, count)
