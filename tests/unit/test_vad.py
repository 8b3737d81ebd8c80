"""``silero_vad`` and ``webrtc_vad``: utterances out of audio, whatever the chunks, and nothing heavy imported."""

from __future__ import annotations

import itertools
import subprocess
import sys
from functools import cache
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.signal import lfilter

from tolmach.pipelines.bus import WarningMessage
from tolmach.pipelines.channels import mix
from tolmach.pipelines.element import ElementSpec
from tolmach.pipelines.errors import ElementError, ModelMissingError
from tolmach.pipelines.frames import (
    AudioFrame,
    Frame,
    Samples,
    TranslationFrame,
    UtteranceEnd,
    UtterancePause,
    UtteranceStart,
    ns_to_samples,
    samples_to_ns,
)
from tolmach.pipelines.testing import Harness, chop, tone
from tolmach.processors.resample.stream import resample
from tolmach.processors.vad import silero
from tolmach.processors.vad.element import TARGET_PEAK, Leveller
from tolmach.processors.vad.spec import RATE_HZ, SILERO, WEBRTC, SileroVadSettings

SPECS = pytest.mark.parametrize("spec", [SILERO, WEBRTC], ids=lambda s: s.type)

FORMANTS_HZ = [(730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410)]
"""Vowels of Peterson & Barney (1952), men: a, i, u, e, o."""


def silence(duration_s: float, seed: int = 0) -> Samples:
    """A quiet room, -60 dBFS."""
    noise = np.random.default_rng(seed).standard_normal((round(duration_s * RATE_HZ), 1))
    return (noise * 1e-3).astype(np.float32)


@cache
def vowels(duration_s: float, seed: int = 0) -> Samples:
    """Speech-like: glottal pulses of 120 Hz through the formants of changing vowels, four syllables a second."""
    n = round(duration_s * RATE_HZ)
    t = np.arange(n) / RATE_HZ
    pitch_hz = 120 * (1 + 0.1 * np.sin(2 * np.pi * 0.7 * t) + 0.02 * np.sin(2 * np.pi * 5 * t))
    pulses = np.diff(np.floor(np.cumsum(pitch_hz / RATE_HZ)), prepend=0.0)
    breath = 0.01 * np.random.default_rng(seed).standard_normal(n)
    source = lfilter([1], [1, -0.95], pulses) + breath
    out = np.zeros(n)
    syllable = RATE_HZ // 4
    for at, formants in zip(range(0, n, syllable), itertools.cycle(FORMANTS_HZ), strict=False):
        part = source[at : at + syllable]
        for freq_hz, bandwidth_hz in zip(formants, (80, 100, 150), strict=True):
            r = np.exp(-np.pi * bandwidth_hz / RATE_HZ)
            part = lfilter([1 - r], [1, -2 * r * np.cos(2 * np.pi * freq_hz / RATE_HZ), r * r], part)
        out[at : at + syllable] = part * np.sqrt(np.hanning(len(part)))
    return (0.3 * out / np.abs(out).max()).astype(np.float32)[:, None]


@cache
def talk() -> AudioFrame:
    """Two stretches of speech in a quiet room, the second one cut off by the end; starts at 7.000000123 s."""
    parts = (silence(1.0), vowels(1.5), silence(1.5, 1), vowels(1.9, 1))
    return AudioFrame(np.concatenate(parts), RATE_HZ, 7_000_000_123)


SPEECH_S = [(1.0, 2.5), (4.0, 5.9)]
"""Where :func:`talk` speaks, seconds from its start."""


async def run(spec: ElementSpec, *frames: Frame, **options: object) -> list[Frame]:
    async with Harness(spec, **options) as h:
        await h.push(*frames)
        await h.eos()
        return h.output()


def spans(frames: list[Frame]) -> list[tuple[int, int, str]]:
    return [(f.pts_ns, f.end_ns, f.reason) for f in frames if isinstance(f, UtteranceEnd)]


def check_utterances(frames: list[Frame], source: AudioFrame) -> None:
    """Every utterance is bracketed, continuous, and exactly the source's samples of its span."""
    position = source.pts_ns
    for number, group in itertools.groupby(frames, key=lambda f: f.utterance):
        start, *audio, end = group
        assert isinstance(start, UtteranceStart)
        assert isinstance(end, UtteranceEnd)
        assert start.utterance == end.utterance == number
        assert start.pts_ns == end.pts_ns >= position
        first = ns_to_samples(start.pts_ns - source.pts_ns, RATE_HZ)
        done = first
        for frame in audio:
            assert isinstance(frame, AudioFrame)
            assert frame.pts_ns == source.pts_ns + samples_to_ns(done, RATE_HZ)
            done += len(frame.samples)
        assert end.end_ns == source.pts_ns + samples_to_ns(done, RATE_HZ)
        assert np.array_equal(np.concatenate([f.samples for f in audio]), source.samples[first:done])
        position = end.end_ns


@SPECS
async def test_speech_becomes_utterances_and_silence_does_not(spec):
    source = talk()
    frames = await run(spec, *chop(source, 320))
    check_utterances(frames, source)
    found = spans(frames)
    assert [reason for *_, reason in found] == ["silence", "eos"]
    for (start_ns, end_ns, _), (begin_s, stop_s) in zip(found, SPEECH_S, strict=True):
        assert start_ns <= source.pts_ns + begin_s * 1e9 + 1e8
        assert end_ns >= source.pts_ns + stop_s * 1e9 - 1e8
        assert end_ns - start_ns < (stop_s - begin_s + 1.2) * 1e9


@SPECS
async def test_frames_do_not_depend_on_chunks(spec):
    whole = await run(spec, talk())
    assert len(spans(whole)) == 2
    for chunk in (160, 320, 592, 1600, 4801):
        same_frames(await run(spec, *chop(talk(), chunk)), whole)


@SPECS
async def test_pauses_are_told_when_asked_for_and_change_nothing_else(spec):
    source = AudioFrame(np.concatenate([vowels(1.5), silence(0.4), vowels(1.0, 1), silence(1.5, 1)]), RATE_HZ, 123)
    plain = await run(spec, source, post_roll_ms=200)
    told = await run(spec, source, post_roll_ms=200, pauses=True)
    found = [f for f in told if isinstance(f, UtterancePause)]
    assert found
    assert not any(isinstance(f, UtterancePause) for f in plain)
    same_frames([f for f in told if not isinstance(f, UtterancePause)], plain)
    (end,) = (f for f in told if isinstance(f, UtteranceEnd))
    # The last one is confirmed, the others were hesitations.
    assert (found[-1].pts_ns, found[-1].end_ns, found[-1].speech_end_ns) == (end.pts_ns, end.end_ns, end.speech_end_ns)
    assert all(isinstance(told[told.index(f) + 1], AudioFrame) for f in found[:-1])
    for chunk in (160, 592, 4801):
        same_frames(await run(spec, *chop(source, chunk), post_roll_ms=200, pauses=True), told)


def test_what_was_written_of_pauses_must_fit_and_defaults_give_way():
    assert SileroVadSettings(pauses=True).fitting_post_roll_ms == 200
    assert SileroVadSettings(pauses=True, post_roll_ms=300).fitting_pause_ms == 300
    assert SileroVadSettings(pause_ms=100).fitting_post_roll_ms == 300
    with pytest.raises(ValidationError, match=r"post_roll_ms \(300\) must not exceed pause_ms \(200\)"):
        SileroVadSettings(pauses=True, post_roll_ms=300, pause_ms=200)


def same_frames(some: list[Frame], others: list[Frame]) -> None:
    assert len(some) == len(others)
    for a, b in zip(some, others, strict=True):
        if isinstance(a, AudioFrame):
            assert isinstance(b, AudioFrame)
            assert (a.pts_ns, a.utterance) == (b.pts_ns, b.utterance)
            assert np.array_equal(a.samples, b.samples)
        else:
            assert a == b


@settings(max_examples=10, deadline=None)
@given(sizes=st.lists(st.integers(1, 5000), min_size=1, max_size=8))
async def test_random_chunks_give_the_same_frames(sizes):
    source = talk()
    chunks, at = [], 0
    for size in itertools.cycle(sizes):
        if at >= len(source.samples):
            break
        pts_ns = source.pts_ns + samples_to_ns(at, RATE_HZ)
        chunks.append(AudioFrame(source.samples[at : at + size], RATE_HZ, pts_ns))
        at += size
    same_frames(await run(WEBRTC, *chunks), await run(WEBRTC, source))


async def test_a_long_utterance_is_cut_in_a_pause_and_continues():
    phrases = [part for i in range(4) for part in (vowels(1.5), silence(0.3, i))]
    source = AudioFrame(np.concatenate((silence(0.5), *phrases, silence(1.5))), RATE_HZ, 0)
    limits = {"max_utterance_ms": 3000, "cut_search_ms": 1500}
    frames = await run(WEBRTC, *chop(source, 1600), **limits)
    check_utterances(frames, source)
    found = spans(frames)
    assert [reason for *_, reason in found[:2]] == ["maximum", "maximum"]
    assert found[-1][2] == "silence"
    assert all(a[1] == b[0] for a, b in itertools.pairwise(found))
    assert all(end - start <= 3_000_000_000 for start, end, _ in found)
    for _, cut_ns, _ in found[:2]:  # in a pause between phrases
        assert min(abs(cut_ns / 1e9 - (0.5 + 1.8 * i - 0.15)) for i in range(1, 5)) < 0.25


@SPECS
async def test_the_end_says_when_speech_ended(spec):
    async with Harness(spec) as h:
        await h.push(*chop(talk(), 1600))
        await h.eos()
        ends = [f for f in h.output() if isinstance(f, UtteranceEnd)]
    assert ends
    for end in ends:
        post_roll_ms = (end.end_ns - end.speech_end_ns) / 1e6
        assert post_roll_ms == 300 if end.reason == "silence" else 0 <= post_roll_ms <= 300
    assert h.messages == []


@SPECS
@pytest.mark.parametrize("chunk", [137, 16000])
async def test_the_end_says_how_much_had_been_heard_when_it_was_decided(spec, chunk):
    """A live listener waits for the hangover too, whatever the frames the audio came in."""
    async with Harness(spec) as h:
        await h.push(*chop(talk(), chunk))
        await h.eos()
        ends = [f for f in h.output() if isinstance(f, UtteranceEnd)]
        hangover_ms = h.element.settings.hangover_ms
    first, last = ends
    assert hangover_ms <= (first.decided_ns - first.speech_end_ns) / 1e6 < hangover_ms + 33  # a window more
    assert abs(last.decided_ns - talk().end_ns) <= 1


@SPECS
async def test_it_says_whether_somebody_may_be_speaking(spec):
    """What a live source asks before it is handed to another graph."""
    async with Harness(spec) as h:
        assert not h.element.mid_utterance
        await h.push(*chop(AudioFrame(np.concatenate((silence(1.0), vowels(0.2))), RATE_HZ, 0), 320))
        assert h.element.mid_utterance, "a word may have begun"
        await h.push(AudioFrame(silence(2.0), RATE_HZ, 1_200_000_000))
        assert not h.element.mid_utterance


async def test_utterances_pass_while_they_are_spoken():
    async with Harness(SILERO) as h:
        await h.push(*chop(AudioFrame(np.concatenate((silence(1.0), vowels(1.5))), RATE_HZ, 0), 320))
        seen = h.output()
        assert isinstance(seen[0], UtteranceStart)
        assert not spans(seen)
        last = seen[-1]
        assert isinstance(last, AudioFrame)
        # The last syllable fades, so its end may be the beginning of a pause and is held back.
        assert last.end_ns > 2_500_000_000 - 5 * h.element.latency_ns


@SPECS
async def test_a_gap_closes_the_utterance_and_time_goes_on_behind_it(spec):
    one = AudioFrame(np.concatenate((silence(0.5), vowels(1.0))), RATE_HZ, 0)
    two = AudioFrame(np.concatenate((silence(0.5), vowels(1.0))), RATE_HZ, 60_000_000_000)
    frames = await run(spec, one, two)
    (first, second) = spans(frames)
    assert first[2] == "silence"
    assert first[1] == 1_500_000_000
    assert 60_000_000_000 <= second[0] <= 60_500_000_000
    assert second[1] == 61_500_000_000
    assert [f.utterance for f in frames if isinstance(f, UtteranceStart)] == [1, 2]


async def test_both_parts_of_a_gap_are_judged_alike():
    """The detector starts afresh, so the past leaves no trace in what follows."""
    piece = np.concatenate((silence(0.5), vowels(1.0), silence(1.5)))
    frames = await run(SILERO, AudioFrame(piece, RATE_HZ, 0), AudioFrame(piece, RATE_HZ, 60_000_000_000))
    (first, second) = spans(frames)
    assert second[0] - first[0] == second[1] - first[1] == 60_000_000_000


@SPECS
@pytest.mark.parametrize(
    "samples",
    [
        np.zeros((RATE_HZ * 5, 1), np.float32),
        silence(5.0),
        np.zeros((0, 1), np.float32),
    ],
    ids=["zeros", "room", "empty"],
)
async def test_no_speech_no_utterance(spec, samples):
    assert await run(spec, AudioFrame(samples, RATE_HZ, 0)) == []


async def test_clicks_hum_and_noise_do_not_open_silero():
    rng = np.random.default_rng(5)
    clicks = silence(10.0)
    clicks[rng.integers(0, len(clicks), 20)] = 0.8
    loud = (rng.standard_normal((RATE_HZ * 10, 1)) * 0.1).astype(np.float32)
    for samples in (clicks, loud, tone(5.0, freq_hz=50).samples):
        assert await run(SILERO, AudioFrame(samples, RATE_HZ, 0)) == []


@SPECS
async def test_a_very_quiet_recording_gives_the_same_utterances(spec):
    """As quiet as some recordings are: peaks at -44 dBFS."""
    quiet = AudioFrame(talk().samples * np.float32(0.02), RATE_HZ, talk().pts_ns)
    frames = await run(spec, quiet)
    check_utterances(frames, quiet)
    assert [reason for *_, reason in spans(frames)] == ["silence", "eos"]


@SPECS
async def test_not_a_number_does_not_deafen_it(spec):
    samples = talk().samples.copy()
    samples[1000:1010] = np.nan
    async with Harness(spec) as h:
        await h.push(*chop(AudioFrame(samples, RATE_HZ, talk().pts_ns), 320))
        await h.eos()
        assert len(spans(h.output())) == 2
        assert [type(m) for m in h.messages] == [WarningMessage]


@SPECS
@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (AudioFrame(np.zeros((480, 1), np.float32), 48000, 9), "48000 Hz.*resample"),
        (AudioFrame(np.zeros((320, 2), np.float32), RATE_HZ, 9), r"\(320, 2\).*resample"),
        (UtteranceStart(1, 9), "UtteranceStart"),
        (TranslationFrame(1, 9, 10, "en", "ru", "Привет"), "TranslationFrame"),
    ],
)
async def test_frames_outside_the_caps_are_refused(spec, frame, said):
    async with Harness(spec) as h:
        with pytest.raises(ElementError, match=said) as caught:
            await h.push(frame)
    assert (caught.value.element, caught.value.pts_ns) == (spec.type, 9)


@SPECS
async def test_reset_drops_the_utterance_and_never_its_number_again(spec):
    async with Harness(spec) as h:
        await h.push(AudioFrame(np.concatenate((silence(0.5), vowels(1.0))), RATE_HZ, 0))
        assert isinstance(h.output()[0], UtteranceStart)
        h.element.reset(1)
        await h.push(AudioFrame(np.concatenate((silence(0.5), vowels(1.0))), RATE_HZ, 90_000_000_000))
        await h.eos()
        assert [f.utterance for f in h.output() if isinstance(f, UtteranceStart)] == [1, 2]
        assert [f.utterance for f in h.output() if isinstance(f, UtteranceEnd)] == [2]


@SPECS
async def test_start_and_stop_in_any_order(spec):
    h = Harness(spec)
    await h.stop()
    async with h:
        await h.element.start()
        await h.push(talk())
        await h.stop()
        await h.stop()


@pytest.mark.parametrize(
    ("settings_", "said"),
    [
        ({"post_roll_ms": 800, "hangover_ms": 700}, "must not exceed hangover_ms"),
        ({"cut_search_ms": 5000, "max_utterance_ms": 8000}, "half of max_utterance_ms"),
        ({"threshold": 0.4, "offset_threshold": 0.5}, "must not exceed threshold"),
        ({"threshold": 1.0}, "less than 1"),
        ({"hangover": 300}, "Extra inputs"),
    ],
)
def test_settings_that_contradict_each_other(settings_, said):
    with pytest.raises(ValidationError, match=said):
        SileroVadSettings(**settings_)


def test_a_default_gives_way_to_what_was_written():
    assert SileroVadSettings(hangover_ms=200).fitting_post_roll_ms == 200
    assert SileroVadSettings(max_utterance_ms=4000).fitting_cut_search_ms == 2000
    assert SileroVadSettings().fitting_post_roll_ms == SileroVadSettings().post_roll_ms
    assert SileroVadSettings().fitting_cut_search_ms == SileroVadSettings().cut_search_ms


def test_a_missing_model_says_what_to_install(monkeypatch):
    monkeypatch.setattr(silero, "_HOMES", (("silero-vad", "silero_vad/none.onnx"), ("no-such-distribution", "x")))
    with pytest.raises(ModelMissingError, match=r"pip install.*silero-vad"):
        silero.model_path()


def test_the_level_of_quiet_audio_is_raised_and_loud_audio_is_left_alone():
    loud = np.full((3, 512), 0.5, np.float32)
    assert np.array_equal(Leveller(20, 0.032).level(loud), loud)
    quiet = np.full((3, 512), 0.02, np.float32)
    assert np.allclose(Leveller(20, 0.032).level(quiet), TARGET_PEAK)
    assert np.allclose(Leveller(6, 0.032).level(quiet), 0.02 * 10 ** (6 / 20))
    assert np.array_equal(Leveller(0, 0.032).level(quiet), quiet)


def gains(leveller: Leveller, peaks: list[float]) -> list[float]:
    """Gains for windows of 32 ms whose peak is ten times their RMS, as that of speech is at most."""
    windows = np.zeros((len(peaks), 512), np.float32)
    windows[:, ::100] = np.array(peaks, np.float32)[:, None]
    return (leveller.level(windows)[:, 0] / np.array(peaks, np.float32)).tolist()


def test_a_loud_moment_counts_for_a_second_and_is_forgotten_in_another():
    leveller = Leveller(40, 0.032)
    found = gains(leveller, [0.5] * 32 + [0.001] * 64)
    assert found[32 + 30] == pytest.approx(1.0)
    assert found[32 + 31 + 32] > 9.0  # a second later
    assert max(found) <= 100.0
    leveller.restart()
    assert gains(leveller, [0.001])[0] == pytest.approx(100.0)


def test_pauses_inside_a_sentence_are_not_raised():
    found = gains(Leveller(40, 0.032), ([0.05] * 10 + [0.0005] * 20) * 10)
    assert max(found) == pytest.approx(2.0)


def test_noise_is_not_raised_above_the_floor():
    noise = np.random.default_rng(1).normal(0, 10 ** (-50 / 20), (400, 512)).astype(np.float32)
    levelled = Leveller(40, 0.032).level(noise)
    assert np.array_equal(levelled[40:], noise[40:])  # above it from the beginning
    soft = Leveller(40, 0.032).level(noise * np.float32(10 ** (-30 / 20)))
    assert 20 * np.log10(np.sqrt(np.square(soft[40:]).mean())) == pytest.approx(-60, abs=1.5)


@pytest.mark.parametrize(
    ("code", "banned"),
    [
        (
            "import tolmach.processors.vad.spec, tolmach.processors.resample.spec",
            "scipy onnxruntime torch webrtcvad pipecat av",
        ),
        (
            "from tolmach.processors.vad.silero import SileroDetector, model_path; SileroDetector(model_path())",
            "torch pipecat silero_vad",
        ),
    ],
    ids=["specs", "silero"],
)
def test_imports_stay_light(code, banned):
    check = f"import sys; {code}; print([m for m in {banned.split()!r} if m in sys.modules])"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", check], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- real recordings, where they lie beside the checkout ---


def load(path: Path) -> AudioFrame:
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        planar = av.AudioResampler(format="fltp", layout=stream.layout, rate=stream.rate)
        blocks = [out.to_ndarray() for frame in container.decode(stream) for out in planar.resample(frame)]
        rate_hz = stream.rate
    samples = np.ascontiguousarray(np.concatenate(blocks, axis=1).T)
    return AudioFrame(resample(mix(samples, 1), rate_hz, RATE_HZ), RATE_HZ, 0)


def clips(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix in {".wav", ".flac", ".ogg"})


async def test_recorded_noise_and_music_open_at_most_one_utterance_in_all(speech_dir):
    recordings = clips(speech_dir / "noise")
    assert recordings
    assert sum([len(spans(await run(SILERO, load(p)))) for p in recordings]) <= 1


async def test_recorded_speech_is_found_and_not_chopped_up(speech_dir):
    for path in [*clips(speech_dir / "en"), *clips(speech_dir / "ru")]:
        source = load(path)
        frames = await run(SILERO, source)
        check_utterances(frames, source)
        assert 1 <= len(spans(frames)) <= 3, path.name
        # Every loud tenth of a second is inside: no word is lost.
        covered = np.zeros(len(source.samples), bool)
        for start_ns, end_ns, _ in spans(frames):
            covered[ns_to_samples(start_ns, RATE_HZ) : ns_to_samples(end_ns, RATE_HZ)] = True
        whole = len(covered) // 1600 * 1600
        level = np.square(source.samples[:whole, 0].reshape(-1, 1600), dtype=np.float64).mean(axis=1)
        loud = level > np.percentile(level, 95) / 30  # within 15 dB of the vowels
        assert covered[:whole].reshape(-1, 1600)[loud].all(), path.name


@pytest.mark.parametrize("path", ["en/jfk.flac", "ru/riva-ru-RU.wav", "en/LJ001-0002.wav"])
async def test_a_speaker_30_db_below_the_other_is_found(speech_dir, path):
    loud = load(speech_dir / "en" / "LJ001-0001.flac").samples[: 4 * RATE_HZ]
    soft = load(speech_dir / path).samples[: 8 * RATE_HZ]
    loud, soft = loud * (0.7 / np.abs(loud).max()), soft * (0.7 * 10 ** (-30 / 20) / np.abs(soft).max())
    alone = spans(await run(SILERO, AudioFrame(soft * np.float32(10), RATE_HZ, 0)))
    noise = np.random.default_rng(0).normal(0, 10 ** (-75 / 20), (3 * RATE_HZ // 2, 1))
    both = np.concatenate([loud, noise, soft]).astype(np.float32)
    found = spans(await run(SILERO, AudioFrame(both, RATE_HZ, 0)))
    begin_ns = round(5.5e9)
    heard = sum(
        min(end, e + begin_ns) - max(start, s + begin_ns)
        for start, end, _ in found
        for s, e, _ in alone
        if start < e + begin_ns and end > s + begin_ns
    )
    assert heard >= 0.85 * sum(e - s for s, e, _ in alone)


@pytest.mark.parametrize("spec", [SILERO, WEBRTC])
async def test_words_behind_a_bang_are_found(speech_dir, spec):
    words = load(speech_dir / "en" / "jfk.flac").samples[: 8 * RATE_HZ]
    words = words * (0.02 / np.abs(words).max())
    rng = np.random.default_rng(0)
    quiet = rng.normal(0, 10 ** (-75 / 20), (RATE_HZ, 1))
    bang = np.clip(rng.normal(0, 0.6, (RATE_HZ * 6 // 100, 1)), -1, 1)
    both = np.concatenate([quiet, bang, quiet[: RATE_HZ // 2], words]).astype(np.float32)
    alone = spans(await run(spec, AudioFrame(words.astype(np.float32), RATE_HZ, 0)))
    found = spans(await run(spec, AudioFrame(both, RATE_HZ, 0)))
    begin_ns = round(1.56e9)
    assert any(start <= alone[0][0] + begin_ns + 300_000_000 <= end for start, end, _ in found)


async def test_a_long_recording_is_cut_without_a_loss(speech_dir):
    source = load(speech_dir / "en" / "LJ001-0001.flac")
    whole = spans(await run(SILERO, source))
    frames = await run(SILERO, source, max_utterance_ms=4000, cut_search_ms=2000)
    check_utterances(frames, source)
    parts = spans(frames)
    assert [reason for *_, reason in parts[:-1]] == ["maximum"] * (len(parts) - 1)
    assert len(parts) >= 3
    assert all(a[1] == b[0] for a, b in itertools.pairwise(parts))
    assert (parts[0][0], parts[-1][1]) == (whole[0][0], whole[-1][1])
