"""Recordings whose sentence ends are known: read, aligned by energy, and made hesitant.

A recording with its transcript is one turn: its only true end is its last speech, what is silent before is a pause.
Speech is found by energy alone, not by the detector that is judged: frames of 10 ms, smoothed over three, are speech
from 30 dB below the loud ones (95th percentile), or from 10 dB above the quiet ones (5th percentile) where that is
more, but at least within 15 dB of the loud ones; gaps below 100 ms belong to the speech, speech below 80 ms is a click.
Pauses of 200 ms to 5 s count, as in LiveKit's eot-bench. The transcript says how many sentences there are. One that has
punctuation but no full stop at its end is a piece of a text: its pauses count, its end does not.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from tolmach.pipelines.errors import MediaError
from tolmach.pipelines.recordings import MEDIA_SUFFIXES, read_set
from tolmach.processors.resample.stream import resample
from tolmach.processors.vad.element import Leveller
from tolmach.processors.vad.endpointing import Mono
from tolmach.processors.vad.silero import WINDOW, SileroDetector
from tolmach.processors.vad.spec import RATE_HZ, SileroVadSettings

MAX_RECORDING_S = 600

FRAME = RATE_HZ // 100
LEAST_GAP, LEAST_SPEECH = 10, 8  # frames
LEAST_PAUSE_MS, MOST_PAUSE_MS = 200, 5000

TRAIL_MS = 4000
"""Silence after a recording: more than the longest hangover of the sweep."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One turn.

    Attributes:
        name: Of the file.
        language: BCP-47 tag, ``und`` where nobody says.
        samples: float32[n], mono, 16 kHz, [-1, 1].
        transcript: What is said, or None.
    """

    name: str
    language: str
    samples: Mono
    transcript: str | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """A recording with its reference and the silence after it.

    Attributes:
        name: Of the recording.
        samples: Of the recording, and :data:`TRAIL_MS` more.
        pauses: First and last sample of each pause inside it.
        end: Where its last speech ends, sample.
        whole: Whether that is the end of a sentence.
        sentences: How many it has.
        decisions: Silero's probabilities, a window each.
    """

    name: str
    samples: Mono
    pauses: tuple[tuple[int, int], ...]
    end: int
    whole: bool
    sentences: int
    decisions: tuple[float, ...]


def read_recordings(path: Path) -> list[Recording]:
    """The recordings of a file, a folder, or a manifest (or a folder with one).

    A manifest is that of `tolmach eval` (:func:`tolmach.pipelines.recordings.read_set`); lines whose
    ``kind`` is noise or music are left out.

    Raises:
        MediaError: If there are none, or one cannot be read.
        GraphError: If a manifest is not as it should be; says where.
    """
    manifest = path / "manifest.jsonl" if path.is_dir() else path
    if manifest.suffix == ".jsonl" and manifest.is_file():
        found = list(_listed(manifest))
    elif path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.suffix.lower() in MEDIA_SUFFIXES)
        found = [Recording(str(file.relative_to(path)), "und", load(file), _beside(file)) for file in files]
    elif path.is_file():
        found = [Recording(path.name, "und", load(path), _beside(path))]
    else:
        raise MediaError(f"{path}: no such file or folder; give recordings, a folder of them, or a manifest.jsonl")
    if not found:
        raise MediaError(f"{path}: no recordings in it and no manifest.jsonl")
    return found


def _listed(manifest: Path) -> Iterator[Recording]:
    for each in read_set(manifest):
        if each.kind not in ("noise", "music"):
            transcript = " ".join(sentence.transcript for sentence in each.sentences).strip()
            yield Recording(each.name, each.source_lang or "und", load(each.path), transcript or None)


def _beside(file: Path) -> str | None:
    text = file.with_suffix(".txt")
    return text.read_text(encoding="utf-8").strip() if text.is_file() else None


def load(path: Path) -> Mono:
    """A recording as float32[n], mono, 16 kHz.

    Raises:
        MediaError: If it cannot be read, has no sound, or is longer than ten minutes.
    """
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise MediaError(f"{path}: no sound in it")
            mono = av.AudioResampler(format="fltp", layout="mono")
            blocks: list[Mono] = []
            for frame in container.decode(audio=0):
                blocks += [out.to_ndarray()[0] for out in mono.resample(frame)]
                if len(blocks) * 960 > MAX_RECORDING_S * 192_000:
                    raise MediaError(f"{path}: longer than {MAX_RECORDING_S} s; a recording here is one turn")
            rate_hz = int(container.streams.audio[0].rate)
    except (av.error.FFmpegError, OSError) as error:
        raise MediaError(f"{path}: cannot be read: {error.strerror or error}") from None
    if not blocks:
        raise MediaError(f"{path}: no sound in it")
    return np.ascontiguousarray(resample(np.concatenate(blocks)[:, None], rate_hz, RATE_HZ)[:, 0], np.float32)


@dataclass(frozen=True, slots=True)
class Spans:
    """Where somebody speaks, by energy.

    Attributes:
        spans: First frame and the one after the last, of each stretch of speech; frames of 10 ms.
        levels: Level of each frame, dBFS, smoothed over three.
        floor_db: Level of the silence, dBFS.
    """

    spans: tuple[tuple[int, int], ...]
    levels: npt.NDArray[np.float64]
    floor_db: float


def speech_spans(samples: Mono) -> Spans:
    """Find speech by energy, as the module says."""
    count = len(samples) // FRAME
    if count < LEAST_SPEECH:
        return Spans((), np.zeros(count), -80.0)
    power = np.square(samples[: count * FRAME], dtype=np.float64).reshape(count, FRAME).mean(axis=1)
    levels = 10 * np.log10(np.maximum(np.convolve(power, np.ones(3) / 3, "same"), 1e-12))
    loud, quiet = (float(np.percentile(levels, q)) for q in (95, 5))
    threshold = max(loud - 30, min(quiet + 10, loud - 15))
    edges = np.flatnonzero(np.diff(np.concatenate(([False], levels > threshold, [False])).astype(np.int8)))
    joined: list[tuple[int, int]] = []
    for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if joined and start - joined[-1][1] < LEAST_GAP:
            joined[-1] = (joined[-1][0], stop)
        else:
            joined.append((start, stop))
    spans = tuple((start, stop) for start, stop in joined if stop - start >= LEAST_SPEECH)
    return Spans(spans, levels, max(quiet, -80.0))


def sentences_of(transcript: str | None) -> tuple[int, bool]:
    """How many sentences a transcript has, and whether it ends with the end of one."""
    text = (transcript or "").strip()
    ends = len(re.findall(r"[.!?…]+(?=[\s\"»”')\]]|$)", text))
    punctuated = bool(re.search(r"[.,;:!?…]", text))
    whole = not punctuated or bool(re.search(r"[.!?…][\"»”')\]]*$", text))
    return max(1, ends + (not whole and bool(ends))), whole


def make_turn(recording: Recording, detector: SileroDetector) -> Turn | None:
    """The reference of a recording and what the detector makes of it; None if nobody speaks in it."""
    found = speech_spans(recording.samples)
    if not found.spans:
        return None
    sentences, whole = sentences_of(recording.transcript)
    room = _room(TRAIL_MS * RATE_HZ // 1000, found.floor_db)
    samples = np.concatenate([recording.samples, room])
    samples = samples[: len(samples) // WINDOW * WINDOW]
    pauses = tuple((a[1] * FRAME, b[0] * FRAME) for a, b in itertools.pairwise(found.spans))
    least, most = (ms * RATE_HZ // 1000 for ms in (LEAST_PAUSE_MS, MOST_PAUSE_MS))
    counted = tuple(pause for pause in pauses if least <= pause[1] - pause[0] <= most)
    detector.restart()
    levelled = Leveller(SileroVadSettings().max_gain_db, WINDOW / RATE_HZ).level(samples.reshape(-1, WINDOW))
    decisions = tuple(detector.probability(window) for window in levelled)
    return Turn(recording.name, samples, counted, found.spans[-1][1] * FRAME, whole, sentences, decisions)


def hesitant(recording: Recording, seed: int = 0) -> Recording:
    """The same, hesitating: 300 to 900 ms of silence every second and a half or so, where it is quietest.

    Real hesitations sound different: words before them are drawn out. This is harder for what listens to intonation.
    """
    rng = np.random.default_rng(seed)
    found = speech_spans(recording.samples)
    if not found.spans:
        return recording
    first, last = found.spans[0][0] + 40, found.spans[-1][1] - 40
    smooth = np.convolve(10 ** (found.levels / 10), np.ones(7) / 7, "same")
    lows = [i for i in range(first, last) if smooth[i] == smooth[max(0, i - 15) : i + 16].min()]
    wanted = max(1, (last - first) // 150)
    places: list[int] = []
    for place in sorted(lows, key=lambda i: smooth[i]):
        if all(abs(place - other) >= 60 for other in places) and len(places) < 2 * wanted:
            places.append(place)
    chosen = sorted(rng.permutation(places)[:wanted].tolist())
    fade = np.linspace(0, 1, 80, dtype=np.float32)
    parts: list[Mono] = []
    for start, stop in itertools.pairwise([0, *(place * FRAME for place in chosen), len(recording.samples)]):
        part = recording.samples[start:stop].copy()
        if start:
            part[:80] *= fade[: len(part)]
            parts.append(_room(int(rng.integers(300, 901)) * RATE_HZ // 1000, found.floor_db, seed + start))
        if stop < len(recording.samples):
            part[-80:] *= fade[::-1][-len(part) :]
        parts.append(part)
    return replace(recording, name=f"{recording.name} (hesitant {seed})", samples=np.concatenate(parts))


def _room(samples: int, level_db: float, seed: int = 0) -> Mono:
    noise = np.random.default_rng(seed).normal(0, 10 ** (level_db / 20), samples)
    return noise.astype(np.float32)
