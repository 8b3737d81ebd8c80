"""From packets to audio: what a listener behind the receiver hears."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from tolmach.pipelines.frames import NS_PER_MS, AudioFrame, Samples, samples_to_ns
from tolmach.transports.webrtc.incoming.jitter import JitterSettings
from tolmach.transports.webrtc.incoming.receiver import Receiver
from tolmach.transports.webrtc.opus import FRAME_NS, FRAME_SAMPLES, OpusEncoder

RATE = 48_000


def tone(frames: int, hz: float = 300.0) -> Samples:
    return np.asarray(0.3 * np.sin(2 * np.pi * hz * np.arange(frames * FRAME_SAMPLES) / RATE), np.float32)


def packets(signal: Samples) -> list[bytes]:
    encoder = OpusEncoder()
    return [encoder.encode(signal[i : i + FRAME_SAMPLES]) for i in range(0, len(signal), FRAME_SAMPLES)]


class HandClock:
    """A monotonic clock set by hand."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


async def listen(payloads: list[bytes | None]) -> tuple[Receiver, list[AudioFrame]]:
    """Packets sent every 20 ms, None for a lost one; everything up to the last, each read when it is due."""
    clock = HandClock()
    receiver = Receiver(JitterSettings(min_target_ms=20, start_target_ms=20), clock=clock)
    heard = []
    for n, payload in enumerate(payloads):
        clock.now_ns = n * FRAME_NS
        if payload is not None:
            receiver.add((65_530 + n) & 0xFFFF, (2**32 - 9600 + n * FRAME_SAMPLES) & 0xFFFFFFFF, payload)
        clock.now_ns += NS_PER_MS
        if n:  # what was sent 20 ms ago is due
            async with asyncio.timeout(5):
                frame = await receiver.read()
            assert frame is not None
            heard.append(frame)
    return receiver, heard


async def test_a_tone_comes_through_with_capture_times() -> None:
    receiver, heard = await listen([*packets(tone(60))])
    assert [f.pts_ns for f in heard] == [samples_to_ns(n * FRAME_SAMPLES, RATE) for n in range(59)]
    assert {(f.rate_hz, f.channels, f.utterance, f.samples.dtype.name) for f in heard} == {(RATE, 1, None, "float32")}
    audio = np.concatenate([f.samples[:, 0] for f in heard])[4800:]
    level = np.abs(np.fft.rfft(audio[:48_000]))
    assert np.argmax(level) == 300
    assert np.sqrt(np.mean(audio**2)) == pytest.approx(0.3 / np.sqrt(2), rel=0.05)
    assert receiver.stats()["lost"] == 0


async def test_a_lost_packet_is_hardly_heard() -> None:
    sent: list[bytes | None] = [*packets(tone(60))]
    sent[30] = None
    receiver, heard = await listen(sent)
    assert receiver.stats()["lost"] == 1
    audio = np.concatenate([f.samples[:, 0] for f in heard])[9600:]
    assert np.abs(np.diff(audio)).max() < 1.5 * np.abs(np.diff(tone(60))).max(), "no click"
    quiet = [float(np.sqrt(np.mean(audio[i : i + 480] ** 2))) for i in range(0, len(audio) - 480, 480)]
    assert min(quiet) > 0.12, "no hole"


async def test_damaged_packets_are_concealed_and_counted() -> None:
    sent: list[bytes | None] = [*packets(tone(40))]
    sent[20] = b"\xfb\x41\xff"  # one frame of 20 ms, and padding that is longer than the packet
    receiver, heard = await listen(sent)
    assert receiver.stats()["damaged"] == 1
    assert sum(len(f.samples) for f in heard) >= 39 * FRAME_SAMPLES
    sent[20] = b"\xfb\x00"  # no frames at all
    receiver, _ = await listen(sent)
    assert receiver.stats()["damaged"] == 1
    assert receiver.stats()["lost"] == 1


async def test_after_a_stall_of_our_own_what_lies_in_the_socket_is_read_before_anything_is_concealed() -> None:
    clock = HandClock()
    receiver = Receiver(JitterSettings(min_target_ms=20, start_target_ms=20), clock=clock)
    sent = packets(tone(4))
    receiver.add(0, 0, sent[0])
    clock.now_ns = 20 * NS_PER_MS
    assert await receiver.read() is not None
    clock.now_ns = 100 * NS_PER_MS  # the second was due at 40 ms and came in time; nobody has looked yet
    loop = asyncio.get_running_loop()
    loop.call_soon(loop.call_soon, loop.call_soon, receiver.add, 1, FRAME_SAMPLES, sent[1])
    assert await receiver.read() is not None
    stats = receiver.stats()
    assert (stats["media_samples"], stats["concealed_samples"], stats["late"]) == (2 * FRAME_SAMPLES, 0, 0)


async def test_a_burst_leaves_turns_of_the_loop_to_others() -> None:
    clock = HandClock()
    receiver = Receiver(JitterSettings(min_target_ms=20, start_target_ms=20), clock=clock)
    for n, payload in enumerate(packets(tone(80))):
        receiver.add(n, n * FRAME_SAMPLES, payload)
    clock.now_ns = 2_000 * NS_PER_MS
    turns = 0

    def turn() -> None:
        nonlocal turns
        turns += 1
        asyncio.get_running_loop().call_soon(turn)

    turn()
    for _ in range(80):
        assert await receiver.read() is not None
    assert turns >= 15, "without them the others wait for 80 pieces to be decoded"


async def test_padding_is_no_packet() -> None:
    receiver = Receiver()
    receiver.add(1, 2, b"")
    assert receiver.stats()["received"] == 0
    assert receiver.last_arrival_ns is not None, "but a sign of life"


async def test_closing_and_interrupting_free_the_reader() -> None:
    receiver = Receiver()
    reading = asyncio.create_task(receiver.read())
    await asyncio.sleep(0)
    receiver.interrupt()
    assert await asyncio.wait_for(reading, 5) is None
    reading = asyncio.create_task(receiver.read())
    await asyncio.sleep(0)
    receiver.close()
    assert await asyncio.wait_for(reading, 5) is None
    assert await receiver.read() is None
