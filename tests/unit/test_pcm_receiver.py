"""PCM from a socket as frames: media time is the count of samples, and nothing is lost or held for ever."""

from __future__ import annotations

import asyncio
import itertools

import numpy as np
import pytest

from tolmach.pipelines.frames import NS_PER_MS, NS_PER_S, AudioFrame
from tolmach.transports.websocket.pcm_receiver import PcmReceiver


class HandClock:
    """A monotonic clock set by hand."""

    def __init__(self) -> None:
        self.now_ns = 10**12

    def __call__(self) -> int:
        return self.now_ns

    def advance(self, ms: int) -> None:
        self.now_ns += ms * NS_PER_MS


async def read_all(receiver: PcmReceiver) -> list[AudioFrame]:
    frames = []
    async with asyncio.timeout(5):
        while (frame := await receiver.read()) is not None:
            frames.append(frame)
    return frames


def heard(frames: list[AudioFrame]) -> np.ndarray:
    return np.concatenate([frame.samples[:, 0] for frame in frames])


@pytest.mark.parametrize("piece", [1, 7, 480, 960, 1024, 4096, 48_000])
async def test_frames_do_not_depend_on_the_pieces_that_came(piece: int) -> None:
    pcm = np.random.default_rng(1).integers(-32768, 32767, 10_007 if piece < 100 else 100_003, dtype=np.int16)
    receiver = PcmReceiver()

    async def speak() -> None:
        for start in range(0, len(pcm), piece):
            await receiver.write(pcm[start : start + piece].tobytes())
        receiver.end()

    frames, _ = await asyncio.gather(read_all(receiver), speak())
    np.testing.assert_array_equal(heard(frames), pcm / np.float32(32768))
    assert {len(frame.samples) for frame in frames[:-1]} == {960}
    assert all(after.pts_ns == before.end_ns for before, after in itertools.pairwise(frames))
    assert frames[0].pts_ns == 0
    assert receiver.ended


async def test_two_channels_are_heard_as_their_mean_and_other_rates_at_48_khz() -> None:
    receiver = PcmReceiver()
    stereo = np.stack([np.full(4800, 8192), np.full(4800, -16384)], axis=1).astype("<i2")
    await receiver.write(stereo.tobytes(), 48_000, 2)
    t = np.arange(24_000) / 24_000
    await receiver.write((np.sin(2 * np.pi * 440 * t) * 16_384).astype(np.int16), 24_000)
    receiver.end()
    signal = heard(await read_all(receiver))
    np.testing.assert_allclose(signal[:4800], -4096 / 32768)
    tone = signal[4800:]
    assert len(tone) == pytest.approx(48_000, abs=2)
    spectrum = np.abs(np.fft.rfft(tone[:48_000], 48_000))
    assert int(spectrum.argmax()) == 440
    assert float(np.sqrt(np.mean(tone**2))) == pytest.approx(0.5 / np.sqrt(2), rel=0.01)


async def test_who_writes_waits_while_nobody_reads() -> None:
    receiver = PcmReceiver()
    taken = 0

    async def speak() -> None:
        nonlocal taken
        for _ in range(100):
            await receiver.write(np.zeros(4800, np.int16))
            taken += 1
        receiver.end()

    speaking = asyncio.create_task(speak())
    await asyncio.sleep(0.05)
    assert taken < 25, "two seconds at most wait here"
    assert receiver.full
    frames = await read_all(receiver)
    await speaking
    assert len(heard(frames)) == 480_000


async def test_media_time_stands_still_while_the_client_pauses() -> None:
    clock = HandClock()
    receiver = PcmReceiver(clock=clock)
    assert receiver.media_now_ns() == 0
    for _ in range(10):
        clock.advance(100)
        await receiver.write(np.zeros(4800, np.int16))
    assert receiver.media_now_ns() == NS_PER_S
    clock.advance(150)
    assert receiver.media_now_ns() == NS_PER_S + 150 * NS_PER_MS
    before_ns = receiver.transit_ns
    clock.advance(60_000)
    assert receiver.media_now_ns() == NS_PER_S + 250 * NS_PER_MS, "no further ahead than what a network may hold up"
    await receiver.write(np.zeros(4800, np.int16))
    assert receiver.media_now_ns() == NS_PER_S + 100 * NS_PER_MS
    assert receiver.transit_ns - before_ns == 60_050 * NS_PER_MS, "arrival is reckoned anew"
    receiver.end()
    frames = await read_all(receiver)
    assert frames[-1].end_ns == NS_PER_S + 100 * NS_PER_MS, "and the stream has no gap"


async def test_a_burst_after_a_stall_is_no_pause() -> None:
    clock = HandClock()
    receiver = PcmReceiver(clock=clock)
    for _ in range(10):
        clock.advance(100)
        await receiver.write(np.zeros(4800, np.int16))
    transit_ns = receiver.transit_ns
    clock.advance(1500)
    reading = asyncio.create_task(read_all(receiver))
    for _ in range(15):
        await receiver.write(np.zeros(4800, np.int16))
    assert receiver.transit_ns == transit_ns
    receiver.end()
    await reading


async def test_a_flush_is_silence_in_media_time_and_comes_once() -> None:
    receiver = PcmReceiver()
    await receiver.flush()
    await receiver.write(np.full(1000, 16_384, np.int16))
    reading = asyncio.create_task(read_all(receiver))
    await receiver.flush(300)
    await receiver.flush(300)
    await receiver.write(np.full(500, 16_384, np.int16))
    receiver.end()
    signal = heard(await reading)
    assert len(signal) == 1000 + 300 * 48 + 500
    assert np.count_nonzero(signal) == 1500
    assert not signal[1000 : 1000 + 300 * 48].any()
    assert receiver.stats()["silence_samples"] == 300 * 48
    assert receiver.stats()["media_samples"] == 1500


async def test_a_read_is_interrupted_and_loses_nothing() -> None:
    receiver = PcmReceiver()
    reading = asyncio.create_task(receiver.read())
    await asyncio.sleep(0)
    receiver.interrupt()
    assert await reading is None
    assert not receiver.ended
    await receiver.write(np.ones(960, np.int16))
    frame = await receiver.read()
    assert frame is not None
    assert len(frame.samples) == 960


@pytest.mark.parametrize(
    ("pcm", "rate_hz", "channels", "said"),
    [
        (b"abc", 48_000, 1, "3 bytes are no whole samples"),
        (b"abcdef", 48_000, 2, "multiples of 4"),
        (b"abcd", 7_999, 1, "8000 to 192000 Hz"),
        (b"abcd", 48_000, 3, "1 to 2 channels"),
        (np.zeros(3, np.int16), 48_000, 2, "no whole ones"),
    ],
)
async def test_what_is_no_audio_is_refused_in_words(pcm: bytes, rate_hz: int, channels: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        await PcmReceiver().write(pcm, rate_hz, channels)


async def test_a_closed_one_gives_nothing_and_lets_the_writer_go() -> None:
    receiver = PcmReceiver()
    writing = asyncio.create_task(receiver.write(np.zeros(480_000, np.int16)))
    await asyncio.sleep(0.01)
    assert not writing.done()
    receiver.close()
    async with asyncio.timeout(1):
        await writing
        assert await receiver.read() is None
