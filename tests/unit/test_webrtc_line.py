"""A line between connections and graphs: one clock, no word lost, nobody talks over anybody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from tests.unit.webrtc_lines import a_line
from tolmach.pipelines.bus import Bus, Message, StateMessage, UtteranceEndMessage
from tolmach.pipelines.frames import NS_PER_MS, NS_PER_S, AudioFrame, Samples, UtteranceEnd
from tolmach.pipelines.language.check import load_graph
from tolmach.pipelines.listener import Listener
from tolmach.pipelines.runtime.runner import GraphRunner
from tolmach.transports.webrtc.connection import Connection
from tolmach.transports.webrtc.incoming import jitter
from tolmach.transports.webrtc.incoming.jitter import JitterSettings
from tolmach.transports.webrtc.opus import FRAME_NS, FRAME_SAMPLES, OpusEncoder
from tolmach.transports.webrtc.outgoing.sender import PacketStream
from tolmach.transports.webrtc.session_line import RESOURCE, Epoch, Line

SEGMENTS = """\
version: 1
name: segments
elements:
  in:  {type: webrtc_src, min_target_ms: 0}
  vad: {type: webrtc_vad, mode: 3, hangover_ms: 300, max_gain_db: 0}
  to:  {type: resample, rate_hz: 16000}
  out: {type: fake_sink}
links:
  - in -> to -> vad -> out
"""


class HandClock:
    """A monotonic clock set by hand."""

    def __init__(self) -> None:
        self.now_ns = 10**12

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    async with a_line() as made:
        yield made


def vowel(ms: int) -> Samples:
    """A voice's harmonics: what the WebRTC detector takes for speech."""
    t = np.arange(ms * 48) / 48_000
    return np.asarray(sum(0.15 / k * np.sin(2 * np.pi * 140 * k * t) for k in range(1, 20)), np.float32)


class Mouth:
    """Speaks into a connection, packet by packet, as fast as it is asked to."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._encoder = OpusEncoder()
        self._number = 0

    async def say(self, signal: Samples) -> None:
        for start in range(0, len(signal) - FRAME_SAMPLES + 1, FRAME_SAMPLES):
            payload = self._encoder.encode(signal[start : start + FRAME_SAMPLES])
            self._connection.receiver.add(self._number, self._number * FRAME_SAMPLES, payload)
            self._number += 1
            await asyncio.sleep(0.001)


async def read(line: Line, count: int) -> list[AudioFrame]:
    microphone = line.microphone(JitterSettings(min_target_ms=0, start_target_ms=0), gated=False)
    frames = []
    async with asyncio.timeout(5):
        while len(frames) < count and (frame := await microphone.read()) is not None:
            frames.append(frame)
    microphone.release()
    return frames


async def test_media_time_runs_on_from_one_connection_to_the_next(line: Line) -> None:
    first = line.connect()
    clock = first.receiver.clock = HandClock()
    for n in range(5):
        first.receiver.add(n, n * FRAME_SAMPLES, OpusEncoder().encode(np.zeros(FRAME_SAMPLES, np.float32)))
    clock.now_ns += FRAME_NS * 5
    before = await read(line, 5)
    await first.close()
    assert line.connection is None
    second = line.connect()
    second.receiver.clock = clock
    clock.now_ns += 7 * NS_PER_S
    for n in range(5):
        second.receiver.add(900 + n, 123_456 + n * FRAME_SAMPLES, OpusEncoder().encode(np.zeros(960, np.float32)))
    clock.now_ns += FRAME_NS * 5
    after = await read(line, 5)
    assert [f.pts_ns for f in before] == [n * FRAME_NS for n in range(5)]
    away_ns = after[0].pts_ns - before[-1].end_ns
    assert away_ns == pytest.approx(7 * NS_PER_S, abs=FRAME_NS), "the time away is a gap"
    assert np.diff([f.pts_ns for f in after]).tolist() == [FRAME_NS] * 4
    await second.close()


@pytest.mark.parametrize("ending", ["it is decided", "the connection closes", "the gate is not wanted any more"])
async def test_what_the_gate_holds_keeps_its_time_and_comes(ending: str) -> None:
    clock = HandClock()
    line = Line(clock=clock)
    connection = line.connect()
    connection.receiver.clock = clock
    microphone = line.microphone(JitterSettings(min_target_ms=0, start_target_ms=0, paced=False), gated=True)
    chance = np.random.default_rng(1)
    ours, theirs = (chance.standard_normal(150 * FRAME_SAMPLES).astype(np.float32) * 0.1 for _ in range(2))
    mouth = Mouth(connection)
    frames: list[AudioFrame] = []

    async def listen() -> None:
        while (frame := await microphone.read()) is not None:
            frames.append(frame)

    listening = asyncio.create_task(listen())
    until = 150 if ending == "it is decided" else 30
    for start in range(0, until * FRAME_SAMPLES, FRAME_SAMPLES):
        line.gate.played(ours[start : start + FRAME_SAMPLES], clock.now_ns)
        clock.now_ns += FRAME_NS
        await mouth.say(theirs[start : start + FRAME_SAMPLES])
    if ending == "it is decided":
        assert line.gate.state == "open"
    else:
        assert not frames, "it is held"
    if ending == "the gate is not wanted any more":
        microphone.gated = False
        await mouth.say(theirs[:FRAME_SAMPLES])
        until += 1
    await connection.close()
    await asyncio.wait_for(listening, 5)

    assert [frame.pts_ns for frame in frames] == [
        sum(f.samples.shape[0] for f in frames[:n]) * 10**9 // 48_000 for n in range(len(frames))
    ]
    heard = np.concatenate([frame.samples[:, 0] for frame in frames])
    assert len(heard) == until * FRAME_SAMPLES
    loud = np.sqrt(np.mean(heard[: 25 * FRAME_SAMPLES] ** 2)) > 0.03
    assert loud == (ending != "the connection closes"), "and what was never decided is silence"
    await line.close()


async def test_a_connection_that_is_gone_ends_the_reading_and_is_told() -> None:
    lost: list[Connection] = []
    line = Line(on_lost=lost.append)
    connection = line.connect()
    microphone = line.microphone(JitterSettings(), gated=False)
    reading = asyncio.create_task(microphone.read())
    await asyncio.sleep(0)
    connection.hang_up("the network is down")
    assert await asyncio.wait_for(reading, 5) is None
    assert lost == [connection]
    replaced = line.connect()
    line.connect()
    assert replaced.close_reason == "another connection has taken its place"
    assert lost == [connection], "one that was replaced is not lost"
    await line.close()
    for each in (connection, replaced):
        await each.close()


async def test_a_seat_of_a_room_waits_for_whoever_comes_next_and_closes_what_was_begun() -> None:
    line = Line(stays=True)
    found: list[tuple[str, UtteranceEnd]] = []
    first = line.connect()
    run, _ = await run_segments(line, "room", found)
    await Mouth(first).say(np.concatenate([np.zeros(48_000, np.float32), vowel(600)]))
    assert not found, "somebody is in the middle of a sentence"
    await first.close()
    async with asyncio.timeout(10):
        while not found:  # noqa: ASYNC110 -- the bus has told it to nobody we could wait for
            await asyncio.sleep(0.01)
    assert found[0][1].reason == "silence"
    at_ns = line.position_ns
    await asyncio.sleep(0.2)
    assert line.position_ns == at_ns, "then it waits, and makes nothing up"
    assert not run.done()
    second = line.connect()
    await Mouth(second).say(np.concatenate([vowel(600), np.zeros(48_000, np.float32)]))
    async with asyncio.timeout(10):
        while len(found) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert found[1][1].end_ns > at_ns + 600 * NS_PER_MS, "media time has gone on"
    await line.close()
    await asyncio.wait_for(run, 10)
    await second.close()


async def test_lines_of_one_epoch_have_one_clock() -> None:
    epoch, clock = Epoch(), HandClock()
    lines = [Line(epoch=epoch, clock=clock) for _ in range(3)]
    assert lines[2].now_ns() == 0, "nothing was said yet"
    read_ns = []
    for line in lines[:2]:
        connection = line.connect()
        connection.receiver.clock = clock
        for n in range(5):
            connection.receiver.add(n, n * FRAME_SAMPLES, OpusEncoder().encode(np.zeros(FRAME_SAMPLES, np.float32)))
        clock.now_ns += 5 * FRAME_NS
        read_ns.append((await read(line, 5))[0].pts_ns)
        clock.now_ns += 5 * NS_PER_S - 5 * FRAME_NS
    assert read_ns == pytest.approx([0, 5 * NS_PER_S], abs=5 * FRAME_NS)
    assert lines[2].now_ns() == pytest.approx(10 * NS_PER_S, abs=5 * FRAME_NS), "also where nobody speaks"
    for line in lines:
        connection = line.connection
        await line.close()
        if connection is not None:
            await connection.close()


async def run_segments(
    line: Line, name: str, found: list[tuple[str, UtteranceEnd]]
) -> tuple[asyncio.Task[object], asyncio.Event]:
    bus, playing = Bus(), asyncio.Event()

    def note(message: Message) -> None:
        if isinstance(message, UtteranceEndMessage):
            found.append((name, message.frame))
        elif isinstance(message, StateMessage) and message.state == "playing":
            playing.set()

    bus.subscribe(note)
    graph = load_graph("segments.yaml", text=SEGMENTS)
    run = asyncio.create_task(GraphRunner(graph, bus=bus, resources={RESOURCE: line}).run())
    async with asyncio.timeout(10):
        await playing.wait()
    return run, playing


@pytest.mark.parametrize("asked_after_ms", [0, 100, 260, 600, 740, 900])
async def test_graphs_change_between_words_and_no_word_is_lost_or_heard_twice(
    line: Line, asked_after_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jitter, "MAX_AHEAD_NS", 60 * NS_PER_S)  # the mouth speaks twenty times as fast as people do
    mouth = Mouth(line.connect())
    words = np.concatenate([np.concatenate((vowel(300), np.zeros(500 * 48, np.float32))) for _ in range(4)])
    found: list[tuple[str, UtteranceEnd]] = []
    first, _ = await run_segments(line, "first", found)
    await mouth.say(np.zeros(400 * 48, np.float32))
    at = asked_after_ms * 48 // FRAME_SAMPLES * FRAME_SAMPLES
    await mouth.say(words[:at])
    second, _ = await run_segments(line, "second", found)
    await mouth.say(np.concatenate((words[at:], np.zeros(600 * 48, np.float32))))
    async with asyncio.timeout(10):
        await first
    await line.close()
    await asyncio.wait_for(second, 10)  # it drains: the last word is in
    starts_ms = [end.pts_ns / NS_PER_MS for _, end in found]
    ends_ms = [(end.speech_end_ns or 0) / NS_PER_MS for _, end in found]
    wanted = [400 + 800 * n for n in range(4)]
    assert len(found) == 4
    for start, end, word in zip(starts_ms, ends_ms, wanted, strict=True):
        assert word - 310 <= start <= word, "with its pre-roll, on the one clock"
        assert word + 270 <= end <= word + 460, "this detector is slow to believe in silence"
    names = [name for name, _ in found]
    assert names == sorted(names), "first the one graph, then the other"
    assert names[-1] == "second"
    assert {end.reason for _, end in found} == {"silence"}


async def pull(stream: PacketStream, packets: int, clock: HandClock) -> None:
    for _ in range(packets):
        await stream.next_packet()
        clock.now_ns += FRAME_NS
        await asyncio.sleep(0)


async def test_the_next_graph_speaks_when_the_one_before_has_finished() -> None:
    clock = HandClock()
    line = Line(clock=clock)
    heard: list[float] = []
    line.sender.listeners.append(lambda samples, *_: heard.append(round(float(samples[0]), 2)))
    stream = line.sender.stream()
    old, new = line.speaker(cushion_ms=0), line.speaker(cushion_ms=0)
    await old.write_utterance(np.full(FRAME_SAMPLES * 2, 0.1, np.float32))
    waiting = asyncio.create_task(new.write_utterance(np.full(FRAME_SAMPLES, 0.3, np.float32)))
    new.write_live(np.full(FRAME_SAMPLES, 0.9, np.float32))  # out of turn: belongs to a moment that is not its own
    await asyncio.sleep(0)
    assert not waiting.done()
    await old.write_utterance(np.full(FRAME_SAMPLES, 0.2, np.float32))
    draining = asyncio.create_task(old.drain())
    await asyncio.wait_for(waiting, 5)
    line.sender.end_utterance()
    await pull(stream, 3, clock)
    await asyncio.wait_for(draining, 5)
    old.hang_up()
    await pull(stream, 2, clock)
    assert heard == [0.1, 0.1, 0.2, 0.3]
    await line.close()


async def test_a_graph_that_is_cancelled_takes_its_words_with_it() -> None:
    line = Line()
    line.sender.stream()
    old, new = line.speaker(cushion_ms=0), line.speaker(cushion_ms=0)
    await old.write_utterance(np.full(48_000, 0.1, np.float32))
    old.hang_up()
    assert line.sender.depth_ms == 0
    await asyncio.wait_for(new.write_utterance(np.full(4800, 0.1, np.float32)), 5)
    assert line.sender.depth_ms == 100
    await line.close()


async def test_a_line_tells_voices_when_its_listener_will_hear_what_they_say_next() -> None:
    async with a_line() as line:
        assert isinstance(line, Listener)
        assert (line.now_ns(), line.waiting_ns()) == (0, 0)
        speaker = line.speaker(cushion_ms=0)
        await speaker.write_utterance(np.full(48_000, 0.1, np.float32))
        assert line.waiting_ns() == NS_PER_S
        line.sender.clear()  # he skips it
        assert line.waiting_ns() == 0


async def test_what_was_not_heard_waits_for_the_next_connection() -> None:
    line = Line()
    speaker = line.speaker(cushion_ms=0)
    first = line.connect()
    await speaker.write_utterance(np.full(48_000, 0.1, np.float32))
    await first.close()
    await asyncio.wait_for(speaker.drain(), 5)  # nobody is there: the graph may end
    speaker.hang_up()
    assert line.sender.depth_ms == 1000
    stream = line.connect()._packets
    await stream.next_packet()
    assert line.sender.depth_ms == 980
    connection = line.connection
    await line.close()
    assert connection is not None
    await connection.close()
