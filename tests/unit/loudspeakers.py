"""Scripted calls for the gate against our own voice: real sentences, simulated rooms, and a server's two clocks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import fftconvolve, resample_poly

from tolmach.pipelines.frames import NS_PER_MS, Samples
from tolmach.transports.webrtc.echo.gate import PlaybackGate
from tolmach.transports.webrtc.opus import FRAME_SAMPLES, RTP_RATE_HZ, OpusDecoder, OpusEncoder, rtp_ns

MS = RTP_RATE_HZ // 1000
HOP = 10 * MS
START_NS = 86_400_123_456_789
"""The monotonic clock of a machine that has been up for a day."""
LATE_NS = 40 * NS_PER_MS
"""A packet of the microphone is read so much later than its first sample counts as captured: its length and 20 ms in
the jitter buffer."""
CODEC_DELAY = 312
"""Look-ahead of libopus at 48 kHz, samples (RFC 7845, 4.2: the pre-skip)."""

TTS = ("en-03", "ru-06", "en-08", "ru-16", "en-13", "ru-18", "en-23", "ru-12")
"""Sentences that stand for translations, from 1.1 to 3.2 s long."""
PERSON = ("ru-20", "en-12", "ru-10", "en-16", "ru-08", "en-21", "ru-22", "en-14", "ru-02", "en-10", "ru-14", "en-18")
"""Other sentences, for whoever sits in front of the microphone; some in the very voices of the translations."""

_CLIPS = Path(__file__).parents[2] / "config" / "demo" / "clips"


@cache
def clip(name: str) -> Samples:
    """A sentence of the project's demo, float32[n], 48 kHz, RMS -20 dBFS."""
    samples, rate_hz = soundfile.read(_CLIPS / f"{name}.flac", dtype="float32")
    samples = resample_poly(samples, RTP_RATE_HZ // rate_hz, 1)
    return np.clip(0.1 / np.sqrt(np.mean(samples**2)) * samples, -1, 1).astype(np.float32)


def speech(names: Sequence[str], *, pause_s: float, before_s: float = 0.5, level_db: float = -20) -> Samples:
    """Sentences with digital silence between them, float32[n], whole packets."""
    pause = np.zeros(round(pause_s * RTP_RATE_HZ), np.float32)
    parts = [np.zeros(round(before_s * RTP_RATE_HZ), np.float32)]
    for name in names:
        parts += [gain(clip(name), level_db + 20), pause]
    whole = np.concatenate(parts)
    return np.pad(whole, (0, -len(whole) % FRAME_SAMPLES))


def gain(samples: Samples, db: float) -> Samples:
    """Louder by ``db``."""
    return samples * np.float32(10 ** (db / 20))


def fitted(samples: Samples, count: int) -> Samples:
    """Cut or padded to ``count`` samples."""
    return np.pad(samples[:count], (0, max(0, count - len(samples))))


def delayed(samples: Samples, ms: float) -> Samples:
    """As long as before, ``ms`` later."""
    return fitted(np.concatenate((np.zeros(round(ms * MS), np.float32), samples)), len(samples))


def noise(count: int, db: float, seed: int = 0) -> Samples:
    """White noise of this RMS level, dBFS."""
    return gain(np.random.default_rng(seed).standard_normal(count).astype(np.float32), db)


@cache
def impulse_response(rt60_s: float, direct_db: float | None, seed: int) -> Samples:
    """A room: noise that falls by 60 dB in ``rt60_s``, with a direct path this much over it or none; energy 1."""
    count = round(rt60_s * RTP_RATE_HZ)
    response = np.random.default_rng(seed).standard_normal(count) * 10 ** (-3 * np.arange(count) / count)
    response /= np.linalg.norm(response)
    if direct_db is not None:
        response *= 10 ** (-direct_db / 20)
        response[0] += 1
    return (response / np.linalg.norm(response)).astype(np.float32)


def drifting(samples: Samples, ppm: float) -> Samples:
    """Played by a clock that runs ``ppm`` slow."""
    at = np.arange(len(samples)) * (1 - ppm * 1e-6)
    return np.interp(at, np.arange(len(samples)), samples).astype(np.float32)


def breathing(samples: Samples, db: float = 6) -> Samples:
    """Under a gain control that goes up and down by ``db``, once in 4 s."""
    at_s = np.arange(len(samples)) / RTP_RATE_HZ
    return (samples * 10 ** (db / 20 * np.sin(2 * np.pi * at_s / 4))).astype(np.float32)


_packets: dict[bytes, list[bytes]] = {}


def packets(samples: Samples) -> list[bytes]:
    """What whole frames of 20 ms are encoded to."""
    key = hashlib.sha256(samples.tobytes()).digest()
    if key not in _packets:
        encoder = OpusEncoder()
        starts = range(0, len(samples) - FRAME_SAMPLES + 1, FRAME_SAMPLES)
        _packets[key] = [encoder.encode(samples[at : at + FRAME_SAMPLES]) for at in starts]
    return _packets[key]


def decoded(payloads: Sequence[bytes]) -> Samples:
    """What the peer makes of them, :data:`CODEC_DELAY` late."""
    decoder = OpusDecoder()
    parts = [decoder.decode(payload) for payload in payloads]
    return np.concatenate([part for part in parts if part is not None])


def coded(samples: Samples) -> Samples:
    """Through Opus, in time."""
    return fitted(decoded(packets(samples))[CODEC_DELAY:], len(samples))


def echo(
    playback: Samples,
    *,
    delay_ms: float,
    level_db: float,
    rt60_s: float = 0.3,
    direct_db: float | None = 0,
    seed: int = 1,
) -> Samples:
    """What the loudspeaker sends back to the microphone: our playback as the peer decodes it, in a room."""
    heard = fftconvolve(coded(playback), impulse_response(rt60_s, direct_db, seed))[: len(playback)]
    return delayed(gain(heard.astype(np.float32), level_db), delay_ms)


def microphone(*sounds: Samples, noise_db: float = -55) -> Samples:
    """What arrives when these sound together in a room that is never quite quiet."""
    whole = np.sum(sounds, axis=0) + noise(len(sounds[0]), noise_db, seed=2)
    return coded(np.clip(whole, -1, 1).astype(np.float32))


def call(
    gate: PlaybackGate, playback: Samples, heard: Samples, *, piece: int = FRAME_SAMPLES, start_ns: int = START_NS
) -> Samples:
    """Play and listen at the times of a live server; what the gate let through, as far as it was read by the end."""
    out = []
    at = 0
    for sent, payload in zip(range(0, len(playback), FRAME_SAMPLES), packets(playback), strict=False):
        packet = playback[sent : sent + FRAME_SAMPLES]
        if packet.any():
            gate.played(packet, start_ns + rtp_ns(sent), payload)
        while at + piece <= len(heard) and rtp_ns(at) + LATE_NS <= rtp_ns(sent):
            out.append(gate.heard(heard[at : at + piece], start_ns + rtp_ns(at)))
            at += piece
    out.append(gate.flush(is_open=False))
    return np.concatenate(out)


def levels_db(samples: Samples) -> Samples:
    """RMS of each 10 ms, dBFS."""
    hops = samples[: len(samples) // HOP * HOP].reshape(-1, HOP)
    return 10 * np.log10(np.mean(hops**2, axis=1) + 1e-12)


def opened(passed: Samples) -> np.ndarray:
    """For each 10 ms, whether anything passed; a microphone's noise is never 0."""
    return passed[: len(passed) // HOP * HOP].reshape(-1, HOP).any(axis=1)


def leaked_ms(passed: Samples, echoed: Samples, *, from_s: float = 0, to_s: float = 1e9) -> int:
    """How long an echo of more than -55 dBFS passed, louder than -45 dBFS, from where it may be taken for speech."""
    level_db = levels_db(passed)
    count = min(len(level_db), len(echoed) // HOP)
    leaks = (level_db[:count] > -45) & (levels_db(echoed)[:count] > -55)
    return 10 * int(np.count_nonzero(leaks[round(from_s * 100) : round(min(to_s * 100, count))]))
