"""Audio augmentation: pure functions of float32[n] audio (16 kHz mono) and a numpy generator.

Phrasebook speech is heard by the model cut by a voice activity detector, over microphones and codecs it has never
met, so the edges, the level, the band and the room vary here. Nothing keeps state: the same generator state gives the
same audio.
"""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.signal import butter, lfilter, sosfilt

from .voices import SAMPLE_RATE_HZ, Audio

_FRAME = 480  # 30 ms, about three periods of a low voice: the shortest that overlap-add keeps smooth


def speed(audio: Audio, factor: float) -> Audio:
    """Plays faster (``factor`` > 1) or slower; pitch and formants move along, as with another speaker."""
    positions = np.arange(0, len(audio) - 1, factor)
    return np.asarray(np.interp(positions, np.arange(len(audio)), audio), dtype=np.float32)


def tempo(audio: Audio, factor: float) -> Audio:
    """Changes the pace but not the pitch by synchronised overlap-add (WSOLA, Verhelst & Roelands 1993).

    Args:
        audio: float32[n].
        factor: Above 1 is faster.

    Returns:
        float32[about n / factor]; the input itself if it is shorter than a few frames.
    """
    hop, search = _FRAME // 2, 120
    count = int((len(audio) - _FRAME - 2 * search) / (hop * factor))
    if count < 3:
        return audio
    window = np.hanning(_FRAME + 1)[:-1].astype(np.float32)
    out = np.zeros(hop * (count + 1), dtype=np.float32)
    place = search
    for k in range(count):
        out[k * hop : k * hop + _FRAME] += window * audio[place : place + _FRAME]
        follow = audio[place + hop : place + hop + _FRAME]
        target = int(search + (k + 1) * hop * factor)
        region = audio[target - search : target + search + _FRAME]
        if len(follow) < _FRAME or len(region) < _FRAME + 1:
            break
        place = target - search + int(np.argmax(np.correlate(region[::2], follow[::2], mode="valid"))) * 2
    return out


def equalise(audio: Audio, rng: Generator) -> Audio:
    """Tilts the spectrum and moves one resonance: another microphone."""
    tilt = rng.uniform(-0.5, 0.5)
    shaped = lfilter([1.0, tilt], [1.0], audio)
    centre, radius = rng.uniform(200, 5000), rng.uniform(0.3, 0.85)
    cosine = np.cos(2 * np.pi * centre / SAMPLE_RATE_HZ)
    weaker = rng.uniform(0.3, 0.95) * radius
    peak, dip = [1.0, -2 * radius * cosine, radius**2], [1.0, -2 * weaker * cosine, weaker**2]
    shaped = lfilter(dip, peak, shaped) if rng.random() < 0.5 else lfilter(peak, dip, shaped)
    return np.asarray(shaped, dtype=np.float32)


def narrow(audio: Audio, rng: Generator) -> Audio:
    """Cuts the band to somewhere between a telephone's and a cheap headset's."""
    low, high = rng.uniform(60, 320), rng.uniform(3200, 7200)
    sections = butter(2, [low, high], btype="bandpass", fs=SAMPLE_RATE_HZ, output="sos")
    return np.asarray(sosfilt(sections, audio), dtype=np.float32)


def companded(audio: Audio, rng: Generator) -> Audio:
    """Quantises to mu-law (ITU-T G.711), from 8 bits down to 5: the grain of a codec."""
    scale = max(1e-3, float(np.abs(audio).max()))
    levels = 2.0 ** rng.integers(5, 9)
    squeezed = np.sign(audio) * np.log1p(255 * np.abs(audio) / scale) / np.log(256)
    squeezed = np.round(squeezed * levels / 2) / (levels / 2)
    return np.asarray(np.sign(squeezed) * np.expm1(np.abs(squeezed) * np.log(256)) / 255 * scale, dtype=np.float32)


def reverberate(audio: Audio, rng: Generator) -> Audio:
    """Adds a small room: exponentially falling noise of 50 to 300 ms after the direct sound."""
    length = int(SAMPLE_RATE_HZ * rng.uniform(0.05, 0.30))
    impulse = rng.standard_normal(length) * np.exp(-np.arange(length) / length * 6) * rng.uniform(0.1, 0.35)
    impulse[0] = 1.0
    size = 1 << int(np.ceil(np.log2(len(audio) + length)))
    wet = np.fft.irfft(np.fft.rfft(audio, size) * np.fft.rfft(impulse, size), size)[: len(audio)]
    return np.asarray(wet, dtype=np.float32)


def coloured_noise(length: int, rng: Generator) -> Audio:
    """Makes float32[length] noise of unit variance, white to rumbling, at times pulsing."""
    noise = rng.standard_normal(length)
    if rng.random() < 0.65:
        noise = lfilter([1.0], [1.0, -rng.uniform(0.6, 0.98)], noise)
    if rng.random() < 0.2:
        noise *= 1 + 0.9 * np.sin(2 * np.pi * rng.uniform(0.5, 8) * np.arange(length) / SAMPLE_RATE_HZ)
    return np.asarray(noise / (noise.std() + 1e-6), dtype=np.float32)


def tones(length: int, rng: Generator) -> Audio:
    """Makes float32[length] chords, sweeps, whistles or beeps with unit peak: sound with pitch that is no speech."""
    time_s = np.arange(length) / SAMPLE_RATE_HZ
    out = np.zeros(length)
    place = 0
    while place < length:
        stop = min(length, place + int(SAMPLE_RATE_HZ * rng.uniform(0.08, 0.9)))
        span = time_s[: stop - place]
        root = 110 * 2 ** rng.uniform(0, 4.5)
        sweep = rng.uniform(-1, 1) if rng.random() < 0.3 else 0.0
        for ratio in rng.choice([1.0, 1.25, 1.5, 2.0, 3.0, 1.189], size=rng.integers(1, 5), replace=False):
            phase = 2 * np.pi * root * ratio * (span + sweep * span**2 / 2)
            harmonics = sum(np.sin(phase * n) * rng.uniform(0.2, 0.9) ** n for n in range(1, rng.integers(2, 7)))
            out[place:stop] += harmonics * np.exp(-span * rng.uniform(0, 6))
        place = stop + (int(SAMPLE_RATE_HZ * rng.uniform(0, 0.4)) if rng.random() < 0.3 else 0)
    return np.asarray(out / (np.abs(out).max() + 1e-6), dtype=np.float32)


def edges(audio: Audio, rng: Generator, strength: float) -> Audio:
    """Sets the clip into a cut like a voice activity detector's.

    Either a natural amount of silence around it, or tight: 0 to 300 ms of pre-roll and up to 500 ms of hangover, with
    the very first or last 30 ms of speech at times lost.

    Args:
        audio: float32[n] with its own silence already trimmed.
        rng: Source of chance.
        strength: 0 adds next to nothing, 1 up to a second.
    """
    if rng.random() < 0.4:
        lost = (rng.integers(0, 480), rng.integers(0, 480)) if rng.random() < 0.4 else (0, 0)
        audio = audio[lost[0] : len(audio) - lost[1]]
        before_s, after_s = rng.uniform(0, 0.3), rng.uniform(0, 0.5)
    else:
        before_s = min(1.0, abs(rng.normal(0, 0.02 + 0.18 * strength)))
        after_s = min(1.2, abs(rng.normal(0, 0.02 + 0.25 * strength)))
    pad = (int(before_s * SAMPLE_RATE_HZ), int(after_s * SAMPLE_RATE_HZ))
    return np.pad(audio, pad)


def disturb(audio: Audio, rng: Generator, strength: float, babble: Audio | None = None) -> Audio:
    """Passes audio through a channel: equaliser, band, codec, room, level and noise, each only sometimes.

    Args:
        audio: float32[n].
        rng: Source of chance.
        strength: 0 to 1; scales how often and how hard.
        babble: Other speech, float32[m], to use as noise at times.

    Returns:
        float32[n], at most 1 in amplitude.
    """
    if rng.random() < 0.45 * strength:
        audio = equalise(audio, rng)
    if rng.random() < 0.15 * strength:
        audio = narrow(audio, rng)
    if rng.random() < 0.08 * strength:
        audio = companded(audio, rng)
    if rng.random() < 0.18 * strength:
        audio = reverberate(audio, rng)
    peak = float(np.abs(audio).max(initial=0.0))
    audio = audio * (10 ** rng.uniform(-1.25, -0.02) / max(peak, 1e-4))
    if rng.random() < 0.2 + 0.4 * strength:
        noise = coloured_noise(len(audio), rng)
        if babble is not None and len(babble) and rng.random() < 0.25:
            voice = np.resize(babble, len(audio))
            noise = np.asarray(voice / (voice.std() + 1e-5) + 0.05 * noise, dtype=np.float32)
        snr_db = rng.uniform(30 - 20 * strength, 45)
        level = float(np.sqrt(np.mean(audio**2))) * 10 ** (-snr_db / 20)
        audio = audio + noise / (float(noise.std()) + 1e-6) * level
    return np.clip(audio, -1, 1).astype(np.float32)


def mask_bands(length: int, rng: Generator, spans: int, width: int) -> NDArray[np.bool_]:
    """Draws spans to mask on one axis of a spectrogram (SpecAugment, Park et al. 2019).

    Returns:
        bool[length], True where masked.
    """
    mask = np.zeros(length, dtype=bool)
    for _ in range(spans):
        size = int(rng.integers(0, width + 1))
        start = int(rng.integers(0, max(1, length - size)))
        mask[start : start + size] = True
    return mask
