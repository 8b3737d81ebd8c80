"""``resample``: exact lengths and times, bits independent of chunking, and the filter's quality."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tolmach.pipelines.bus import WarningMessage
from tolmach.pipelines.caps import Caps
from tolmach.pipelines.channels import ChannelMixer, layout_for, mix, mixing_matrix
from tolmach.pipelines.errors import ElementError
from tolmach.pipelines.frames import AudioFrame, Samples, TranslationFrame, UtteranceEnd, UtteranceStart, samples_to_ns
from tolmach.pipelines.testing import Harness, chop, tone
from tolmach.processors.resample.spec import SPEC, ResampleSettings
from tolmach.processors.resample.stream import INPUT_BITS, INPUT_PEAK, Kernel, StreamResampler, kernel, resample

RATIOS = [
    (48000, 16000),
    (44100, 16000),
    (8000, 48000),
    (11025, 16000),
    (22050, 16000),
    (16000, 44100),
    (24000, 48000),
    (4001, 4003),  # neighbouring primes: tiles of one period each
    (16001, 15991),  # too many phases for a table
    (96000, 4001),
]


def noise(samples: int, channels: int = 1, seed: int = 0) -> Samples:
    return (np.random.default_rng(seed).standard_normal((samples, channels)) * 0.2).astype(np.float32)


def pushed(samples: Samples, rate_in_hz: int, rate_out_hz: int, sizes: Sequence[int]) -> Samples:
    """Resample in chunks of the given sizes, over and over."""
    stream = StreamResampler(kernel(rate_in_hz, rate_out_hz), samples.shape[1])
    blocks, at = [], 0
    for size in itertools.cycle(sizes):
        if at >= len(samples):
            break
        blocks.append(stream.push(samples[at : at + size]))
        at += size
    return np.concatenate([*blocks, stream.flush()])


def sines(samples: int, rate_hz: int, freqs_hz: Sequence[float]) -> np.ndarray:
    t = np.arange(samples) / rate_hz
    return sum(np.sin(2 * np.pi * f * t + i) for i, f in enumerate(freqs_hz)) / len(freqs_hz)


def db(ratio: float) -> float:
    return 20 * np.log10(max(ratio, 1e-12))


@pytest.mark.parametrize(("rate_in_hz", "rate_out_hz"), RATIOS)
@pytest.mark.parametrize("chunk_ms", [10, 20, 37, 100])
def test_usual_chunks_give_the_same_bits(rate_in_hz, rate_out_hz, chunk_ms):
    samples = noise(min(rate_in_hz // 3, 40_000))
    whole = resample(samples, rate_in_hz, rate_out_hz)
    assert np.array_equal(pushed(samples, rate_in_hz, rate_out_hz, [rate_in_hz * chunk_ms // 1000]), whole)


@settings(max_examples=40, deadline=None)
@given(
    ratio=st.one_of(st.sampled_from(RATIOS[:-1]), st.tuples(st.integers(4000, 50_000), st.integers(4000, 50_000))),
    samples=st.integers(0, 3000),
    sizes=st.lists(st.integers(1, 700), min_size=1, max_size=6),
    channels=st.integers(1, 3),
)
def test_any_chunking_of_any_ratio_gives_the_same_bits_and_the_exact_length(ratio, samples, sizes, channels):
    signal = noise(samples, channels)
    assume(ratio[0] != ratio[1])
    whole = resample(signal, *ratio)
    assert whole.shape == (-(-samples * ratio[1] // ratio[0]), channels)
    assert whole.dtype == np.float32
    assert np.array_equal(pushed(signal, *ratio, sizes), whole)


@pytest.mark.parametrize(("rate_in_hz", "rate_out_hz"), [(48000, 16000), (11025, 16000), (16000, 44100)])
def test_sample_by_sample_gives_the_same_bits(rate_in_hz, rate_out_hz):
    samples = noise(1500)
    assert np.array_equal(pushed(samples, rate_in_hz, rate_out_hz, [1]), resample(samples, rate_in_hz, rate_out_hz))


@pytest.mark.parametrize(("rate_in_hz", "rate_out_hz"), RATIOS)
def test_band_limited_signal_is_what_sampling_it_at_the_new_rate_gives(rate_in_hz, rate_out_hz):
    """Amplitude, phase and alignment at once: the same sines, evaluated at the output's instants."""
    duration_s = 0.25
    nyquist_hz = min(rate_in_hz, rate_out_hz) / 2
    freqs_hz = [nyquist_hz * part for part in (0.01, 0.13, 0.37, 0.61, 0.89)]
    n = int(duration_s * rate_in_hz)
    out = resample(sines(n, rate_in_hz, freqs_hz)[:, None].astype(np.float32), rate_in_hz, rate_out_hz)[:, 0]
    expected = sines(len(out), rate_out_hz, freqs_hz)
    edge = int(0.02 * rate_out_hz) + 80  # the filter's reach: beyond the signal there is silence
    assert db(np.abs(out - expected)[edge:-edge].max()) < -95


@pytest.mark.parametrize(("rate_in_hz", "rate_out_hz"), [(48000, 16000), (44100, 16000), (16001, 15991)])
def test_frequencies_above_the_new_nyquist_are_gone(rate_in_hz, rate_out_hz):
    for part in (1.001, 1.05, 1.3):
        freq_hz = rate_out_hz / 2 * part
        if freq_hz >= rate_in_hz / 2:
            continue
        n = rate_in_hz // 4
        out = resample(sines(n, rate_in_hz, [freq_hz])[:, None].astype(np.float32), rate_in_hz, rate_out_hz)
        edge = rate_out_hz // 40
        assert db(float(np.abs(out[edge:-edge]).max())) < -100


def test_no_images_when_upsampling():
    out = resample(sines(8000, 8000, [3100.0])[:, None].astype(np.float32), 8000, 48000)[:, 0]
    middle = out[4800:-4800].astype(np.float64)
    spectrum = np.abs(np.fft.rfft(middle * np.blackman(len(middle))))
    freqs = np.fft.rfftfreq(len(middle), 1 / 48000)
    assert db(spectrum[freqs > 4000].max() / spectrum.max()) < -100


@pytest.mark.parametrize(("rate_in_hz", "rate_out_hz"), RATIOS)
def test_sums_stay_exact_in_float64(rate_in_hz, rate_out_hz):
    filters = kernel(rate_in_hz, rate_out_hz)
    rows = filters.rows(np.arange(0, filters.up, max(1, filters.up // 500)))
    assert np.array_equal(rows, np.rint(rows))
    assert np.abs(rows).sum(axis=1).max() * INPUT_PEAK * 2**INPUT_BITS < 2**53
    assert filters.coefficient_bits >= 23


def test_state_stays_small_in_a_long_stream():
    stream = StreamResampler(kernel(48000, 16000), 1)
    block = np.zeros((480, 1), np.float32)
    sizes = set()
    for _ in range(3000):
        stream.push(block)
        sizes.add(stream._held.shape[1])
    assert max(sizes) < 1000


def test_loud_input_is_clipped_not_wrapped():
    loud = np.full((4800, 1), 100.0, np.float32)
    out = resample(loud, 48000, 16000)[400:-400]
    assert np.allclose(out, INPUT_PEAK, rtol=1e-4)


@pytest.mark.parametrize(("inputs", "outputs"), itertools.product(range(1, 9), range(1, 9)))
def test_mixing_keeps_what_all_channels_share(inputs, outputs):
    matrix = mixing_matrix(layout_for(inputs), outputs)
    assert matrix.shape == (outputs, inputs)
    fed = matrix.any(axis=1)
    assert np.allclose(matrix.sum(axis=1), fed)
    silent = {layout_for(outputs)[i] for i in np.flatnonzero(~fed)}
    assert silent <= {"LFE", "BC"}, "a loudspeaker that nothing feeds"
    assert matrix.any(axis=0).all() or inputs > outputs
    same = np.repeat(noise(50), inputs, axis=1)
    assert np.allclose(mix(same, outputs), np.repeat(same[:, :1], outputs, axis=1) * fed, atol=1e-7)


def test_mixing_examples():
    left_right = np.array([[0.5, -0.25]], np.float32)
    assert mix(left_right, 1).tolist() == [[0.125]]
    assert mix(left_right, 3).tolist() == [[0.5, -0.25, 0.5]]
    assert mix(left_right, 2) is left_right


BS775_MONO = {  # ITU-R BS.775-3, table 2: inputs L, R, C, Ls, Rs to 1/0
    ("FL", "FR", "FC", "LFE", "SL", "SR"): [0.7071, 0.7071, 1.0, 0, 0.5, 0.5],
    ("FL", "FR", "FC"): [0.7071, 0.7071, 1.0],
    ("FL", "FR", "FC", "BC"): [0.7071, 0.7071, 1.0, 0.7071],
    ("FL", "FR", "LFE"): [0.7071, 0.7071, 0],
}


@pytest.mark.parametrize("layout", BS775_MONO)
def test_mono_has_the_weights_of_bs_775(layout):
    want = np.array(BS775_MONO[layout])
    assert np.allclose(mixing_matrix(layout, 1)[0], want / want.sum(), atol=1e-4)


def test_stereo_has_the_weights_of_bs_775():
    left = np.array([1.0, 0, 0.7071, 0, 0.7071, 0])
    matrix = mixing_matrix(layout_for(6), 2)
    assert np.allclose(matrix[0], left / left.sum(), atol=1e-4)
    assert np.allclose(matrix[1][[1, 0, 2, 3, 5, 4]], matrix[0])


@pytest.mark.parametrize("layout", [("LFE", "LFE2"), ("", "", ""), ("AMBI0", "AMBI1", "AMBI2", "AMBI3")])
def test_channels_without_a_place_are_alike(layout):
    assert np.allclose(mixing_matrix(layout, 1), 1 / len(layout))


# --- channels in opposite phase ---


def wired(seconds: float = 4.0) -> Samples:
    """Noise in bursts, as speech comes, with silence at the start."""
    bursts = np.repeat(np.random.default_rng(3).integers(0, 2, round(seconds * 5)), 3200)
    bursts[:3200] = 0
    return (noise(len(bursts)) * bursts[:, None] * 0.5).astype(np.float32)


@pytest.mark.parametrize("balance", [1.0, 0.5])
def test_a_channel_that_was_wired_the_wrong_way_round_is_turned(balance):
    left = wired()
    mixer = ChannelMixer(("FL", "FR"), 1, 16000)
    mixed = mixer.push(np.concatenate((left, -np.float32(balance) * left), axis=1))
    loud = np.flatnonzero(left[:, 0])
    late = loud[loud > loud[0] + 800]  # 50 ms after the first sound
    assert np.allclose(mixed[late, 0], left[late, 0] * (1 + balance) / 2, atol=1e-6)
    assert mixer.opposed_at is not None


def test_ordinary_stereo_is_the_plain_mean():
    rng = np.random.default_rng(5)
    middle, side = rng.normal(0, 0.1, (64000, 1)), rng.normal(0, 0.08, (64000, 1))
    for stereo in (
        np.concatenate((middle + side, middle - side), axis=1),
        rng.normal(0, 0.1, (64000, 2)),  # unrelated
        np.concatenate((middle, 0.1 * -middle), axis=1),  # a weak crosstalk of opposite sign harms nothing
    ):
        samples = stereo.astype(np.float32)
        mixer = ChannelMixer(("FL", "FR"), 1, 16000)
        assert np.array_equal(mixer.push(samples), mix(samples, 1))
        assert mixer.opposed_at is None


def test_phase_that_changes_is_followed_both_ways():
    left = noise(48000)
    right = left.copy()
    right[16000:32000] *= -1
    mixed = ChannelMixer(("FL", "FR"), 1, 16000).push(np.concatenate((left, right), axis=1))
    for first, last in ((0, 16000), (28000, 32000), (44000, 48000)):
        assert np.allclose(np.abs(mixed[first:last]), np.abs(left[first:last]), atol=1e-6)


@given(cuts=st.lists(st.integers(1, 63999), max_size=40), channels=st.sampled_from([2, 6, 8]))
@settings(max_examples=25, deadline=None)
def test_the_mix_does_not_depend_on_how_the_stream_is_cut(cuts, channels):
    samples = np.repeat(wired(), channels, axis=1)
    samples[:, 1::2] *= -1
    samples[30000:50000, 1] *= -1
    whole = ChannelMixer(layout_for(channels), 1, 16000)
    expected = whole.push(samples)
    mixer = ChannelMixer(layout_for(channels), 1, 16000)
    edges = [0, *sorted(set(cuts)), len(samples)]
    got = np.concatenate([mixer.push(samples[a:b]) for a, b in itertools.pairwise(edges)])
    assert np.array_equal(got, expected)
    assert mixer.opposed_at == whole.opposed_at


@pytest.mark.parametrize("rate_hz", [16000, 8000])
async def test_the_element_mends_opposite_phase_and_says_so_once(rate_hz):
    left = wired()
    frame = AudioFrame(np.concatenate((left, -left), axis=1), 16000, 0)
    async with Harness(SPEC, rate_hz=rate_hz, channels=1) as h:
        await h.push(*chop(frame, 320))
        await h.eos()
        audio = h.audio()
    want = resample(left, 16000, rate_hz)
    assert np.sqrt(np.mean(audio**2)) == pytest.approx(np.sqrt(np.mean(want**2)), rel=0.05)
    (told,) = h.messages
    assert isinstance(told, WarningMessage)
    assert "opposite phase" in told.text


async def test_the_element_takes_the_layout_from_the_frame():
    centre = np.zeros((1600, 3), np.float32)
    centre[:, 2] = 0.5
    async with Harness(SPEC, channels=1) as h:
        await h.push(AudioFrame(centre, 16000, 0), AudioFrame(centre, 16000, 100_000_000, layout=("FL", "FR", "FC")))
        first, second = [f for f in h.output() if isinstance(f, AudioFrame)]
    assert not first.samples.any(), "2.1: what only the LFE channel has is left out"
    assert second.samples[0, 0] == pytest.approx(0.5 / 2.4142, abs=1e-4)


# --- the element ---


async def test_element_equals_one_shot_and_keeps_time():
    signal = tone(1.0, rate_hz=44100, channels=2, pts_ns=5_000_000_123)
    async with Harness(SPEC, rate_hz=16000, channels=1) as h:
        await h.push(*chop(signal, 441))
        await h.eos()
        frames = [f for f in h.output() if isinstance(f, AudioFrame)]
        assert np.array_equal(h.audio(), resample(mix(signal.samples, 1), 44100, 16000))
        assert h.element.latency_ns == samples_to_ns(Kernel(44100, 16000).reach, 44100)
    done = 0
    for frame in frames:
        assert (frame.rate_hz, frame.channels) == (16000, 1)
        assert frame.pts_ns == signal.pts_ns + samples_to_ns(done, 16000)
        done += len(frame.samples)


async def test_a_large_frame_equals_small_ones():
    signal = AudioFrame(noise(48000 * 5, 2), 48000, 0)
    outputs = []
    for chunk in (len(signal.samples), 960):
        async with Harness(SPEC, rate_hz=16000) as h:
            await h.push(*chop(signal, chunk))
            await h.eos()
            outputs.append(h.audio())
    assert np.array_equal(*outputs)
    assert outputs[0].shape == (80_000, 2)


async def test_nothing_to_do_passes_the_frame_itself():
    frame = tone(0.1, rate_hz=16000)
    async with Harness(SPEC, rate_hz=16000, channels=1) as h:
        await h.push(frame)
        assert h.output() == [frame]
        assert h.output()[0] is frame
        assert h.element.latency_ns == 0


async def test_channels_alone_change_nothing_else():
    frame = tone(0.1, rate_hz=44100, channels=2, pts_ns=77)
    async with Harness(SPEC, channels=1) as h:
        await h.push(frame)
        (out,) = h.output()
    assert isinstance(out, AudioFrame)
    assert (out.rate_hz, out.channels, out.pts_ns) == (44100, 1, 77)
    assert np.allclose(out.samples[:, 0], frame.samples[:, 0])


async def test_negotiated_caps_fill_in_for_settings():
    caps = {"sink": "audio/raw, rate=48000, channels=1", "src": "audio/raw, rate=24000, channels=2"}
    async with Harness(SPEC, caps=caps) as h:
        assert h.element.latency_ns > 0
        await h.push(tone(0.5, rate_hz=48000))
        await h.eos()
        assert h.audio().shape == (12_000, 2)


def utterance(number: int, signal: AudioFrame, chunk: int) -> list:
    frames = [AudioFrame(f.samples, f.rate_hz, f.pts_ns, number) for f in chop(signal, chunk)]
    return [
        UtteranceStart(number, signal.pts_ns),
        *frames,
        UtteranceEnd(number, signal.pts_ns, signal.end_ns),
    ]


async def test_utterances_are_complete_and_apart():
    one = tone(0.3, rate_hz=24000, freq_hz=300, pts_ns=1_000_000_000)
    two = tone(0.2, rate_hz=24000, freq_hz=500, pts_ns=1_300_000_000)  # follows without a gap
    async with Harness(SPEC, rate_hz=48000) as h:
        await h.push(*utterance(7, one, 500), *utterance(8, two, 500))
        await h.eos()
        output = h.output()
    kinds = [type(f).__name__ for f in output if not isinstance(f, AudioFrame)]
    assert kinds == ["UtteranceStart", "UtteranceEnd"] * 2
    for number, signal in ((7, one), (8, two)):
        inside = [f for f in output if f.utterance == number]
        assert isinstance(inside[0], UtteranceStart)
        assert isinstance(inside[-1], UtteranceEnd)
        audio = [f for f in inside if isinstance(f, AudioFrame)]
        assert audio[0].pts_ns == signal.pts_ns
        assert np.array_equal(np.concatenate([f.samples for f in audio]), resample(signal.samples, 24000, 48000))


async def test_a_gap_starts_afresh():
    one, two = tone(0.2, rate_hz=48000), tone(0.2, rate_hz=48000, pts_ns=900_000_000)
    async with Harness(SPEC, rate_hz=16000) as h:
        await h.push(*chop(one, 999), *chop(two, 999))
        await h.eos()
        frames = [f for f in h.output() if isinstance(f, AudioFrame)]
    before = [f for f in frames if f.pts_ns < 900_000_000]
    after = [f for f in frames if f.pts_ns >= 900_000_000]
    assert after[0].pts_ns == 900_000_000
    expected = resample(one.samples, 48000, 16000)
    for part in (before, after):
        assert np.array_equal(np.concatenate([f.samples for f in part]), expected)


async def test_rounded_time_stamps_are_no_gap():
    signal = tone(1.0, rate_hz=44100)
    frames = [AudioFrame(f.samples, f.rate_hz, f.pts_ns // 1000 * 1000) for f in chop(signal, 333)]
    async with Harness(SPEC, rate_hz=16000) as h:
        await h.push(*frames)
        await h.eos()
        assert np.array_equal(h.audio(), resample(signal.samples, 44100, 16000))


async def test_the_input_rate_may_change():
    first = tone(0.1, rate_hz=8000)
    second = tone(0.1, rate_hz=44100, pts_ns=100_000_000)
    third = tone(0.1, rate_hz=16000, pts_ns=200_000_000)
    async with Harness(SPEC, rate_hz=16000) as h:
        await h.push(first, second, third)
        await h.eos()
        frames = [f for f in h.output() if isinstance(f, AudioFrame)]
    assert {f.rate_hz for f in frames} == {16000}
    assert sum(len(f.samples) for f in frames) == 3 * 1600
    assert all(a.end_ns == b.pts_ns for a, b in itertools.pairwise(frames))


async def test_other_frames_keep_their_place_and_do_not_disturb_the_audio():
    signal = tone(0.2, rate_hz=48000)
    text = TranslationFrame(1, 0, 1, "en", "ru", "Привет")
    half = len(signal.samples) // 2
    async with Harness(SPEC, rate_hz=16000) as h:
        first, second = chop(signal, half)
        await h.push(first, text, second)
        await h.eos()
        assert h.output()[1] is text
        assert np.array_equal(h.audio(), resample(signal.samples, 48000, 16000))


async def test_not_a_number_becomes_silence_and_is_reported_once():
    signal = tone(0.3, rate_hz=48000)
    broken = signal.samples.copy()
    broken[5000:5010] = np.nan
    broken[9000] = np.inf
    async with Harness(SPEC, rate_hz=16000) as h:
        await h.push(*chop(AudioFrame(broken, 48000, 0), 960))
        await h.eos()
        assert np.isfinite(h.audio()).all()
        assert len(h.audio()) == 4800
        assert [type(m) for m in h.messages] == [WarningMessage]


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (AudioFrame(np.zeros((10, 9), np.float32), 16000, 5), "1 to 8 channels"),
        (AudioFrame(np.zeros((10, 1), np.float32), 500_000, 5), "500000 Hz"),
        (AudioFrame(np.zeros((10, 1), np.float32), 0, 5), "0 Hz"),
    ],
)
async def test_audio_outside_the_caps_is_refused(frame, said):
    async with Harness(SPEC, rate_hz=16000) as h:
        with pytest.raises(ElementError, match=said) as caught:
            await h.push(frame)
    assert caught.value.element == "resample"
    assert caught.value.pts_ns == 5


async def test_reset_and_stop_forget_the_tail():
    async with Harness(SPEC, rate_hz=16000) as h:
        await h.push(tone(0.1, rate_hz=48000))
        h.element.reset(None)
        before = len(h.audio())
        await h.eos()
        assert len(h.audio()) == before
        await h.stop()
        await h.stop()


def test_pads_follow_the_settings():
    sink, src = SPEC.pads_for(ResampleSettings(rate_hz=16000, channels=1))
    assert src.caps == Caps.parse("audio/raw, rate=16000, channels=1")
    assert src.like == "sink"
    assert Caps.parse("audio/raw, rate=44100, channels=2").is_subset(sink.caps)
    _, free = SPEC.pads_for(ResampleSettings())
    assert free.caps == Caps.parse("audio/raw, rate=[4000, 384000], channels=[1, 8]")
