"""The sending end on a scripted clock: what is sent when, and how latency is lost again."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tolmach.pipelines.frames import NS_PER_MS, Samples
from tolmach.transports.webrtc.opus import FRAME_NS, FRAME_SAMPLES, SILENCE, OpusDecoder, OpusEncoder
from tolmach.transports.webrtc.outgoing.playout import Playout
from tolmach.transports.webrtc.outgoing.sender import UTTERANCE_BOUND_S, Schedule, Sender, SenderClosed

RATE = 48_000
MS = 48


def count_up(start: int, count: int) -> Samples:
    """Samples that say their own number, as loud as speech."""
    return (0.1 + np.arange(start, start + count, dtype=np.float64) / 1e7).astype(np.float32)


def noise(ms: int, seed: int = 1) -> Samples:
    return np.asarray(np.random.default_rng(seed).normal(0, 0.1, ms * MS), np.float32)


def voice(ms: int) -> Samples:
    t = np.arange(ms * MS) / RATE
    return np.asarray(sum(0.1 / k * np.sin(2 * np.pi * 125 * k * t) for k in range(1, 9)), np.float32)


def silence(ms: int) -> Samples:
    return np.zeros(ms * MS, np.float32)


def run(playout: Playout, audio: Samples, *, at: int = 0) -> list[Samples]:
    """Write 20 ms, read 20 ms, and so on."""
    frames = []
    for start in range(at, len(audio), FRAME_SAMPLES):
        playout.write(audio[start : start + FRAME_SAMPLES], live=True)
        if (frame := playout.read()) is not None:
            frames.append(frame)
    return frames


def test_live_audio_comes_out_whole_behind_its_cushion() -> None:
    playout = Playout(cushion_ms=20)
    audio = count_up(0, RATE)
    out = np.concatenate(run(playout, audio))
    np.testing.assert_array_equal(out, audio[: len(out)])
    assert playout.depth == 20 * MS
    assert playout.stats.underruns == playout.stats.shed_samples == playout.stats.dropped_samples == 0


@pytest.mark.parametrize("burst_ms", [100, 300, 900])
def test_what_a_stall_left_is_shed_in_silence(burst_ms: int) -> None:
    playout = Playout(cushion_ms=20)
    run(playout, noise(1000))
    playout.write(noise(burst_ms, 2), live=True)  # the stall is over
    run(playout, silence(2000))
    run(playout, noise(1000, 3))
    assert playout.depth < 30 * MS
    lost = playout.stats.shed_samples + playout.stats.shortened_samples
    assert lost == pytest.approx(burst_ms * MS, abs=10 * MS)
    assert playout.stats.shed_samples > 0.9 * lost


def test_a_silence_is_shed_and_the_speech_around_it_is_not() -> None:
    playout = Playout(cushion_ms=20)
    before, after = noise(1000, 4), noise(1000, 5)
    frames = run(playout, before)
    playout.write(silence(200), live=True)
    out = np.concatenate(frames + run(playout, np.concatenate((silence(400), after))))
    sound = out[out != 0]
    np.testing.assert_array_equal(sound, np.concatenate((before, after))[: len(sound)])
    assert len(sound) >= 1900 * MS
    assert playout.stats.shed_samples >= 190 * MS


def test_in_a_voice_that_never_pauses_whole_periods_are_left_out() -> None:
    playout = Playout(cushion_ms=20)
    audio = voice(8000)
    run(playout, audio[: 1000 * MS])
    playout.write(audio[1000 * MS : 1300 * MS], live=True)
    out = np.concatenate(run(playout, audio, at=1300 * MS))
    assert playout.depth < 20 * MS + 60 * MS
    assert playout.stats.shortened_samples > 200 * MS
    assert np.abs(np.diff(out)).max() < 1.2 * np.abs(np.diff(audio)).max(), "no click"


def test_in_noise_a_large_excess_is_lost_too() -> None:
    playout = Playout(cushion_ms=20)
    run(playout, noise(1000))
    playout.write(noise(800, 2), live=True)
    run(playout, noise(10_000, 3))
    assert playout.depth < 160 * MS


def test_too_much_live_audio_is_dropped_from_the_old_end() -> None:
    playout = Playout(live_bound_ms=500)
    playout.write(count_up(0, 3 * RATE), live=True)
    assert playout.depth == 500 * MS
    assert playout.stats.dropped_samples == 3 * RATE - 500 * MS
    frame = playout.read()
    assert frame is not None
    assert frame[0] == count_up(3 * RATE - 500 * MS, 1)[0]


def test_an_utterance_is_never_shortened() -> None:
    playout = Playout(cushion_ms=20)
    speech = np.concatenate((voice(700), silence(700), voice(700)))
    playout.write(speech, live=False)
    playout.end()
    out = []
    while (frame := playout.read()) is not None:
        out.append(frame)
    np.testing.assert_array_equal(np.concatenate(out)[: len(speech)], speech)
    assert playout.stats.underruns == 0


def test_running_dry_is_counted_and_faded() -> None:
    playout = Playout(cushion_ms=0)
    playout.write(np.full(1500, 0.5, np.float32), live=True)
    first, second = playout.read(), playout.read()
    assert first is not None
    assert second is not None
    assert second[0] == 0.5
    assert abs(second[539]) < 0.01
    assert not second[540:].any()
    assert playout.stats.underruns == 1
    assert playout.read() is None
    playout.write(np.full(4000, 0.5, np.float32), live=True)
    again = playout.read()
    assert again is not None
    assert again[0] == 0
    assert again[-1] == 0.5


def test_a_live_scrap_is_played_though_nothing_follows() -> None:
    playout = Playout(cushion_ms=40)
    playout.write(noise(10), live=True)
    frames = [playout.read() for _ in range(6)]
    assert sum(f is not None for f in frames) == 1


@given(
    writes=st.lists(st.integers(0, 3000), max_size=60),
    cushion_ms=st.integers(0, 100),
)
def test_order_is_kept_and_depth_is_bounded(writes: list[int], cushion_ms: int) -> None:
    playout = Playout(cushion_ms=cushion_ms, live_bound_ms=200)
    written = 0
    out = []
    for count in writes:
        playout.write(count_up(written, count), live=True)
        written += count
        assert playout.depth <= 200 * MS
        if (frame := playout.read()) is not None:
            out.append(frame)
    stats = playout.stats
    assert stats.played_samples + stats.dropped_samples + playout.depth == written
    if out and not stats.underruns:
        assert (np.diff(np.concatenate(out)) >= 0).all()


# The schedule ---------------------------------------------------------------------------------------------------------


def test_packets_are_due_every_20_ms_whenever_the_one_before_went_out() -> None:
    schedule = Schedule()
    now_ns, sent = 5 * NS_PER_MS, []
    for late_ms in (0, 7, 0, 19, 3):
        now_ns += max(0, schedule.wait_ns(now_ns)) + late_ms * NS_PER_MS
        sent.append(((now_ns - late_ms * NS_PER_MS - 5 * NS_PER_MS) // FRAME_NS, schedule.take()))
    assert sent == [(n, n * FRAME_SAMPLES) for n in range(5)]


def test_what_a_stall_passed_is_skipped_and_the_clocks_agree_again() -> None:
    schedule = Schedule()
    assert schedule.wait_ns(0) == 0
    assert schedule.take() == 0
    assert schedule.skip_overdue(130 * NS_PER_MS) == 5
    assert schedule.take() == 6 * FRAME_SAMPLES  # due at 120 ms
    assert schedule.wait_ns(130 * NS_PER_MS) == 10 * NS_PER_MS


class HandClock:
    """A monotonic clock set by hand; real time passes while something waits for it."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


async def test_after_a_stall_the_audio_that_waits_goes_out_at_once() -> None:
    clock = HandClock()
    sender = Sender(cushion_ms=20, clock=clock)
    stream = sender.stream()
    sender.write_live(noise(200))
    await stream.next_packet()
    clock.now_ns = 100 * NS_PER_MS
    stamps = [(await stream.next_packet()).timestamp for _ in range(5)]
    assert stamps == [n * FRAME_SAMPLES for n in range(1, 6)]
    assert sender.stats()["skipped"] == 0
    sender.close()


async def test_with_nothing_to_say_silence_is_sent_and_a_stall_is_skipped() -> None:
    clock = HandClock()
    sender = Sender(clock=clock)
    stream = sender.stream()
    assert (await stream.next_packet()).payload == SILENCE
    clock.now_ns = 1000 * NS_PER_MS
    packet = await stream.next_packet()
    assert (packet.payload, packet.timestamp) == (SILENCE, 50 * FRAME_SAMPLES)
    assert sender.stats()["skipped"] == 49
    sender.close()


async def test_what_is_written_is_what_a_peer_decodes() -> None:
    clock = HandClock()
    sender = Sender(cushion_ms=0, clock=clock)
    stream = sender.stream()
    tone = np.asarray(0.3 * np.sin(2 * np.pi * 440 * np.arange(RATE // 2) / RATE), np.float32)
    await sender.write_utterance(tone)
    sender.end_utterance()
    decoder = OpusDecoder()
    heard = []
    for n in range(27):
        clock.now_ns = n * FRAME_NS
        decoded = decoder.decode((await stream.next_packet()).payload)
        assert decoded is not None
        heard.append(decoded)
    sender.close()
    audio = np.concatenate(heard)
    level = np.abs(np.fft.rfft(audio[4800:24000]))
    assert np.argmax(level) * RATE / 19200 == pytest.approx(440, abs=3)
    assert np.sqrt(np.mean(audio[4800:19200] ** 2)) == pytest.approx(0.3 / np.sqrt(2), rel=0.05)
    assert np.abs(audio[-480:]).max() < 0.01


async def test_speech_far_ahead_waits_for_room_and_drained_waits_for_the_end() -> None:
    clock = HandClock()
    sender = Sender(clock=clock)
    stream = sender.stream()
    await sender.write_utterance(np.zeros(UTTERANCE_BOUND_S * RATE + 1, np.float32))
    waiting = asyncio.create_task(sender.write_utterance(np.zeros(960, np.float32)))
    await asyncio.sleep(0)
    assert not waiting.done()
    await stream.next_packet()
    await waiting
    drained = asyncio.create_task(sender.drained(sender.written))
    await asyncio.sleep(0)
    assert not drained.done()
    clock.now_ns = 2 * UTTERANCE_BOUND_S * 10**9
    while sender.depth_ms:
        await stream.next_packet()
    await asyncio.wait_for(drained, 5)
    sender.close()


async def test_closing_frees_everybody_who_waits() -> None:
    sender = Sender(clock=HandClock())
    stream = sender.stream()
    await sender.write_utterance(np.zeros(UTTERANCE_BOUND_S * RATE + 1, np.float32))
    await stream.next_packet()
    waiting = [
        asyncio.create_task(sender.write_utterance(np.zeros(960, np.float32))),
        asyncio.create_task(sender.drained(sender.written)),
    ]
    sending = asyncio.create_task(stream.next_packet())
    await asyncio.sleep(0)
    sender.close()
    await asyncio.wait_for(asyncio.gather(*waiting), 5)
    with pytest.raises(SenderClosed):
        await asyncio.wait_for(sending, 5)
    sender.write_live(np.zeros(960, np.float32))
    assert sender.depth_ms == 0


async def test_another_connection_hears_the_rest_and_the_one_before_nothing_more() -> None:
    clock = HandClock()
    sender = Sender(cushion_ms=0, clock=clock)
    first = sender.stream()
    await sender.write_utterance(voice(400))
    sender.end_utterance()
    for n in range(5):
        clock.now_ns = n * FRAME_NS
        await first.next_packet()
    waiting = asyncio.create_task(first.next_packet())
    await asyncio.sleep(0)
    sender.end_stream(first)
    with pytest.raises(SenderClosed):
        await waiting
    await asyncio.wait_for(sender.drained(sender.written), 5)  # nobody is there to hear it
    assert sender.depth_ms == 300, "it waits"
    clock.now_ns += 7 * 10**9
    second = sender.stream()
    assert [(await second.next_packet()).timestamp for _ in range(1)] == [0], "no burst for the time nobody listened"
    sender.end_stream(first)  # long gone: the second goes on
    clock.now_ns += FRAME_NS
    assert (await second.next_packet()).timestamp == FRAME_SAMPLES
    assert sender.depth_ms == 260
    sender.close()


async def test_the_moment_something_is_heard_is_told() -> None:
    clock = HandClock()
    sender = Sender(cushion_ms=0, clock=clock)
    stream = sender.stream()
    sent: list[tuple[int, float]] = []
    sender.listeners.append(lambda samples, _, at_ns: sent.append((at_ns, float(samples[0]))))
    heard: list[int] = []
    await sender.write_utterance(np.full(2 * FRAME_SAMPLES, 0.25, np.float32))
    sender.when_played(heard.append)
    await sender.write_utterance(np.full(FRAME_SAMPLES, 0.5, np.float32))
    sender.end_utterance()
    for n in range(4):
        clock.now_ns = n * FRAME_NS
        assert bool(heard) == (n > 2)
        await stream.next_packet()
    assert heard == [2 * FRAME_NS]
    assert sent == [(0, 0.25), (FRAME_NS, 0.25), (2 * FRAME_NS, 0.5)], "silence is not reported"
    sender.close()


async def test_silence_between_two_sounds_costs_no_encoder_and_leaves_the_second_whole() -> None:
    clock = HandClock()
    sender = Sender(cushion_ms=0, clock=clock)
    stream = sender.stream()
    decoder = OpusDecoder()
    payloads, heard = [], []
    for n in range(120):
        clock.now_ns = n * FRAME_NS
        if n in (0, 60):
            await sender.write_utterance(voice(400))
            sender.end_utterance()
        payloads.append((await stream.next_packet()).payload)
        decoded = decoder.decode(payloads[-1])
        assert decoded is not None
        heard.append(decoded)
    sender.close()
    assert payloads[31:60] == [SILENCE] * 29
    audio = np.concatenate(heard)
    first, second = audio[: 400 * MS], audio[1200 * MS : 1600 * MS]
    assert not audio[700 * MS : 1190 * MS].any()
    np.testing.assert_allclose(second[20 * MS :], first[20 * MS :], atol=0.02)


def test_poison_does_not_stay_in_the_encoder() -> None:
    encoder, decoder = OpusEncoder(), OpusDecoder()
    poison = np.full(FRAME_SAMPLES, np.nan, np.float32)
    poison[::2] = np.inf
    encoder.encode(poison)
    for start in range(0, 400 * MS, FRAME_SAMPLES):
        decoded = decoder.decode(encoder.encode(voice(400)[start : start + FRAME_SAMPLES]))
        assert decoded is not None
    assert np.sqrt(np.mean(decoded**2)) == pytest.approx(np.sqrt(np.mean(voice(400) ** 2)), rel=0.1)


def test_the_silence_packet_is_20_ms_of_silence() -> None:
    decoded = OpusDecoder().decode(SILENCE)
    assert decoded is not None
    assert len(decoded) == FRAME_SAMPLES
    assert not decoded.any()


async def test_a_stream_that_is_not_paced_gives_speech_at_once_and_says_where_an_utterance_ends() -> None:
    sender = Sender()
    heard: list[Samples] = []
    sender.listeners.append(lambda samples, payload, due_ns: heard.append(samples))
    stream = sender.stream(paced=False)
    first = asyncio.create_task(stream.next_packet())
    await asyncio.sleep(0)
    assert not first.done(), "there are no packets of silence"
    await sender.write_utterance(count_up(0, 50 * FRAME_SAMPLES + 100))
    sender.end_utterance()
    packets = [await first]
    async with asyncio.timeout(1):  # a second of speech: paced, it would take as long
        while not packets[-1].ends:
            packets.append(await stream.next_packet())
    spoken = np.concatenate([packet.samples for packet in packets if packet.samples is not None])
    np.testing.assert_array_equal(spoken[: 50 * FRAME_SAMPLES + 100], count_up(0, 50 * FRAME_SAMPLES + 100))
    assert len(heard) == len(packets) == 51

    await sender.write_utterance(count_up(0, 2 * FRAME_SAMPLES))
    assert [(await stream.next_packet()).ends for _ in range(2)] == [False, False]
    last = asyncio.create_task(stream.next_packet())
    await asyncio.sleep(0)
    sender.end_utterance()  # when all of it was read
    assert (await last).ends
    assert (await last).samples is None

    waiting = asyncio.create_task(stream.next_packet())
    await asyncio.sleep(0)
    sender.end_stream(stream)
    with pytest.raises(SenderClosed):
        await waiting


async def test_a_paced_stream_says_where_an_utterance_ends() -> None:
    sender = Sender()
    stream = sender.stream()
    await sender.write_utterance(count_up(0, 2 * FRAME_SAMPLES))
    sender.end_utterance()
    packets = [await stream.next_packet() for _ in range(4)]
    assert [packet.ends for packet in packets] == [False, True, False, False]
