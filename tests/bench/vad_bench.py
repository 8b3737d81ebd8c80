"""Missed and false seconds of both voice activity detectors over a folder of recordings.

Run from the repository root::

    python -m tests.bench.vad_bench [FOLDER]

``FOLDER`` (default ``../shared/speech``) holds speech clips in any sub-folders and clips without speech in ``noise/``.

There is no hand-made segmentation, only transcripts, so the reference is made from energy, which is fair on read speech
without music and depends on neither detector. A clip's quiet frames (5th percentile of the level in dB over 10 ms) are
its noise, its loud ones (95th) its vowels; a frame is speech when its level lies over 40 % of the way from noise to
vowels, which every word's vowel does and breath and room noise do not, however quiet the recording. Pauses under 200 ms
count as speech (closures of plosives), stretches under 60 ms do not (clicks). In ``noise/`` nothing is speech.

- **missed**: reference speech outside every utterance. A lost word costs at least a vowel, a tenth of a second.
  (The one longer miss in ``../shared/speech``, the first 0.6 s of ``riva-ru-RU.wav``, is breath: unvoiced, 20 dB below
  the words.)
- **false**: audio of utterances farther than pre-roll and post-roll from any reference speech.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from tolmach.pipelines.channels import mix
from tolmach.pipelines.element import ElementSpec
from tolmach.pipelines.frames import AudioFrame, Samples, UtteranceEnd, ns_to_samples
from tolmach.pipelines.testing import Harness, chop
from tolmach.processors.resample.stream import resample
from tolmach.processors.vad.spec import RATE_HZ, SILERO, WEBRTC

REPOSITORY = Path(__file__).resolve().parents[2]
SUFFIXES = {".wav", ".flac", ".ogg", ".mp3", ".opus"}
HOP = RATE_HZ // 100
Mask = npt.NDArray[np.bool_]


@dataclass
class Score:
    """Seconds, and how many utterances."""

    audio_s: float = 0.0
    missed_s: float = 0.0
    false_s: float = 0.0
    utterances: int = 0
    cpu_s: float = 0.0

    def __iadd__(self, other: Score) -> Score:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)
        return self

    def row(self, *cells: str) -> str:
        """A line of a Markdown table."""
        numbers = f"{self.audio_s:.1f} | {self.utterances} | {self.missed_s:.2f} | {self.false_s:.2f}"
        return f"| {' | '.join(cells)} | {numbers} | {self.audio_s / self.cpu_s:.0f} |"


def load(path: Path) -> Samples:
    """Decode to float32[n, 1] at 16 kHz."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        planar = av.AudioResampler(format="fltp", layout=stream.layout, rate=stream.rate)
        blocks = [out.to_ndarray() for frame in container.decode(stream) for out in planar.resample(frame)]
        rate_hz = stream.rate
    samples = np.ascontiguousarray(np.concatenate(blocks, axis=1).T)
    return resample(mix(samples, 1), rate_hz, RATE_HZ)


def reference(samples: Samples) -> Mask:
    """Which 10 ms frames are speech, by energy."""
    frames = samples[: len(samples) // HOP * HOP, 0].reshape(-1, HOP).astype(np.float64)
    level_db = 10 * np.log10(np.square(frames).mean(axis=1) + 1e-10)
    noise_db, vowels_db = np.percentile(level_db, (5, 95))
    speech = level_db > noise_db + 0.4 * (vowels_db - noise_db)
    speech = ~_drop_runs(~speech, 20)
    return _drop_runs(speech, 6)


def _drop_runs(mask: Mask, shortest: int) -> Mask:
    kept = mask.copy()
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False]))))
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if end - start < shortest:
            kept[start:end] = False
    return kept


async def score(spec: ElementSpec, samples: Samples, speech: Mask, **settings: Any) -> Score:
    """Run one detector over one clip."""
    async with Harness(spec, **settings) as h:
        before = time.process_time()
        await h.push(*chop(AudioFrame(samples, RATE_HZ, 0), RATE_HZ // 10))
        await h.eos()
        cpu_s = time.process_time() - before
        utterances = [f for f in h.output() if isinstance(f, UtteranceEnd)]
    found = np.zeros(len(samples), bool)
    for u in utterances:
        found[ns_to_samples(u.pts_ns, RATE_HZ) : ns_to_samples(u.end_ns, RATE_HZ)] = True
    wanted = np.zeros(len(samples), bool)
    wanted[: len(speech) * HOP] = np.repeat(speech, HOP)
    defaults = spec.settings(**settings)
    near = _dilate(wanted, *(getattr(defaults, name) * RATE_HZ // 1000 for name in ("pre_roll_ms", "post_roll_ms")))
    return Score(
        len(samples) / RATE_HZ,
        float((wanted & ~found).sum()) / RATE_HZ,
        float((found & ~near).sum()) / RATE_HZ,
        len(utterances),
        cpu_s,
    )


def _dilate(mask: Mask, before: int, after: int) -> Mask:
    wide = mask.copy()
    for edge in np.flatnonzero(np.diff(mask.astype(np.int8), prepend=0) == 1):
        wide[max(0, edge - before) : edge] = True
    for edge in np.flatnonzero(np.diff(mask.astype(np.int8), append=0) == -1):
        wide[edge + 1 : edge + 1 + after] = True
    return wide


async def main(folder: Path, clips: list[Path], every_clip: bool) -> None:
    """Print the table: the totals, and with ``every_clip`` a line for each recording."""
    detectors: list[tuple[str, ElementSpec, dict[str, Any]]] = [
        ("silero_vad", SILERO, {}),
        *((f"webrtc_vad mode={mode}", WEBRTC, {"mode": mode}) for mode in range(4)),
    ]
    print("## Voice activity: speech missed, noise taken for speech\n")
    print("| detector | clip | audio s | utterances | missed s | false s | RTFx |")
    print("|---|---|---:|---:|---:|---:|---:|")
    totals: list[str] = []
    for name, spec, settings in detectors:
        sums = {"speech": Score(), "noise": Score()}
        for clip in clips:
            samples = load(clip)
            is_noise = "noise" in clip.relative_to(folder).parts[:-1]
            speech = np.zeros(len(samples) // HOP, bool) if is_noise else reference(samples)
            result = await score(spec, samples, speech, **settings)
            if every_clip:
                print(result.row(name, str(clip.relative_to(folder))))
            sums["noise" if is_noise else "speech"] += result
        totals += [total.row(name, f"all {kind}") for kind, total in sums.items() if total.audio_s]
    print("\n".join(totals))


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folder", type=Path, nargs="?", default=REPOSITORY.parent / "shared" / "speech")
    options.add_argument("--clips", action="store_true", help="a line for each recording too")
    given = options.parse_args()
    found = sorted(p for p in given.folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    if not found:
        sys.exit(f"{given.folder}: no recordings here; give a folder with speech clips and noise/")
    asyncio.run(main(given.folder, found, given.clips))
