"""What one hears of a mix: how low the original is under its translation, its edges, its peaks, measured.

    python -m tests.bench.mix_levels

The Russian voice of espeak speaks ten sentences over the shipped English recording (speech) and over pink noise at -12
dBFS RMS. A mix is linear where its limiter rests, so what is left of it without the voice is the bed, and the ratio of
that to what went in is the gain it had. An edge is heard by what it adds far from a tone: the bed is then a tone of 503
Hz, and everything from 3 kHz on is measured, beside the same with a gain that jumps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import av
import numpy as np
import numpy.typing as npt

from tolmach.pipelines.frames import NS_PER_S, AudioFrame, Frame, Samples, TranslationFrame
from tolmach.pipelines.shipped import shipped_file
from tolmach.pipelines.testing import Harness, chop
from tolmach.processors.espeak.spec import SPEC as ESPEAK
from tolmach.processors.mix.spec import SPEC as MIX
from tolmach.processors.resample.spec import SPEC as RESAMPLE

RATE_HZ = 48_000
TEXTS = ("Доброе утро.", "Вы говорите по-английски?", "У меня забронирован номер.", "Мне нужен номер на три ночи.")
QUIET_DB = -12.0
"""At which the limiter rests whatever the voice says."""
STARTS_S = (0.6, 3.0, 9.0, 15.0)


async def spoken() -> list[Frame]:
    """The voice: sentences that follow closely, and some with pauses between them."""
    async with Harness(ESPEAK, lang="ru") as voice:
        for number, (start_s, text) in enumerate(zip(STARTS_S, TEXTS, strict=True), 1):
            at_ns = round(start_s * NS_PER_S)
            await voice.push(TranslationFrame(number, at_ns, at_ns + NS_PER_S, "en", "ru", text))
        await voice.eos()
    async with Harness(RESAMPLE, rate_hz=RATE_HZ, channels=1) as resample:
        await resample.push(*voice.output())
        await resample.eos()
    return resample.output()


async def mixed(voice: Sequence[Frame], low: Samples, **chosen: float) -> Samples:
    """The mix of a voice and a bed, float32[n, 1]."""
    async with Harness(MIX, rate_hz=RATE_HZ, channels=1, **chosen) as mix:
        await mix.push(*voice, pad="voice")
        await mix.push(*chop(AudioFrame(low, RATE_HZ, 0), 4800), pad="bed")
        await mix.eos()
    return mix.audio()


def recording() -> Samples:
    """The shipped English recording, float32[n, 1] at :data:`RATE_HZ`."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE_HZ)
    with av.open(str(shipped_file("demo/phrasebook-en.flac"))) as container:
        blocks = [out.to_ndarray()[0] for f in container.decode(audio=0) for out in resampler.resample(f)]
    return np.concatenate(blocks).astype(np.float32)[: 20 * RATE_HZ, None]


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table in Markdown."""
    print("\n| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")


def pink(seconds: float, level_db: float) -> Samples:
    """Pink noise, float32[n, 1]."""
    count = round(seconds * RATE_HZ)
    spectrum = np.fft.rfft(np.random.default_rng(1).standard_normal(count))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    noise = np.fft.irfft(spectrum, count)
    return (noise / noise.std() * 10 ** (level_db / 20)).astype(np.float32)[:, None]


def splash_db(samples: npt.NDArray[np.floating]) -> float:
    """The loudest that is heard from 3 kHz on in any 21 ms, dB full scale."""
    window = np.blackman(1024)
    frames = np.lib.stride_tricks.sliding_window_view(samples, 1024)[::256] * window
    spectrum = np.abs(np.fft.rfft(frames, axis=1)) / window.sum() * 2
    return float(20 * np.log10(spectrum[:, 3000 * 1024 // RATE_HZ :].max() + 1e-12))


async def measure() -> None:
    """Measure and print."""
    print("## The original under its translation")
    voice = await spoken()
    silence = np.zeros((20 * RATE_HZ, 1), np.float32)
    alone = await mixed(voice, silence, voice_gain_db=QUIET_DB)
    speaks = np.abs(alone[:, 0]) > 10 ** ((-50 + QUIET_DB) / 20)
    rows = []
    for name, low in (("speech", recording()), ("pink noise", pink(20, -12))):
        got = await mixed(voice, low, voice_gain_db=QUIET_DB)
        as_usual = await mixed(voice, low)
        heard = np.abs(low[:, 0]) > 10 ** (-40 / 20)
        gains = 20 * np.log10(np.abs((got - alone)[heard, 0]) / np.abs(low[heard, 0]) + 1e-9)
        under, idle = gains[speaks[heard]], gains[np.abs(gains) < 0.01]
        peak = 20 * np.log10(np.abs(as_usual).max())
        row = [name, f"{np.median(under):.2f}", f"{np.percentile(under, 0.1):.2f} … {np.percentile(under, 99.9):.2f}"]
        rows.append([*row, f"{len(idle) / len(gains):.0%}", f"{peak:.2f}"])
    loud = await mixed(voice, pink(20, -3), duck_gain_db=0.0, voice_gain_db=6.0)
    rows.append(["pink noise, -3 dBFS, not ducked", "", "", "", f"{20 * np.log10(np.abs(loud).max()):.2f}"])
    print_table(["bed", "under speech, dB", "of 99.8 % of it", "of it as it came", "peak, dBFS"], rows)

    t = np.arange(20 * RATE_HZ) / RATE_HZ
    tone = (0.5 * np.sin(2 * np.pi * 503.3 * t)).astype(np.float32)[:, None]
    edges = []
    for name, chosen in (("as it is", {}), ("attack 20 ms, release 50 ms", {"attack_ms": 20, "release_ms": 50})):
        bed = (await mixed(voice, tone, voice_gain_db=QUIET_DB, **chosen))[:, 0] - alone[:, 0]
        edges.append([name, f"{splash_db(bed):.0f}"])
    edges.append(["a gain that jumps", f"{splash_db(tone[:, 0] * np.where(speaks, 0.1, 1.0)):.0f}"])
    edges.append(["the tone alone", f"{splash_db(tone[:, 0]):.0f}"])
    print_table(["edge", "loudest from 3 kHz on, dBFS"], edges)


if __name__ == "__main__":
    asyncio.run(measure())
