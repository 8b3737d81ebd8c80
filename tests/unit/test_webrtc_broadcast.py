"""One sender heard by many: everybody hears the same from where they came in, and nobody waits for anybody."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from tests.until import no_task_left, until
from tolmach.pipelines.frames import Samples
from tolmach.transports.audience import Audience, AudienceFull, Seats
from tolmach.transports.peer import OnPeer
from tolmach.transports.webrtc.opus import FRAME_NS, FRAME_SAMPLES, SILENCE, OpusDecoder
from tolmach.transports.webrtc.outgoing.broadcast import MAX_WAITING, UNHEARD, Broadcast, BroadcastStream
from tolmach.transports.webrtc.outgoing.sender import OutgoingPacket, PacketReader, PacketSource, Sender, SenderClosed


class HandClock:
    """A monotonic clock set by hand, and a broadcast that keeps up with it."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns

    async def pass_packets(self, sender: Sender, count: int = 1) -> None:
        """Let so many packets become due, one after the other, and be taken."""
        for _ in range(count):
            self.now_ns += FRAME_NS
            sent = sender.sent
            async with asyncio.timeout(5):
                while sender.sent == sent:  # noqa: ASYNC110 -- the broadcast's timer runs on the real clock
                    await asyncio.sleep(0.002)
        for _ in range(5):  # whoever reads has its turn
            await asyncio.sleep(0)


def tone(frames: int) -> Samples:
    return np.asarray(0.3 * np.sin(np.arange(frames * FRAME_SAMPLES) / 20), np.float32)


def collect(stream: PacketReader, into: list[OutgoingPacket]) -> asyncio.Task[None]:
    """Read a stream to its end."""

    async def read() -> None:
        try:
            while True:
                into.append(await stream.next_packet())
        except SenderClosed:
            pass

    return asyncio.create_task(read())


async def test_everybody_hears_the_same_packets_from_where_they_came_in() -> None:
    async with no_task_left():
        clock = HandClock()
        sender = Sender(cushion_ms=0, clock=clock)
        broadcast = Broadcast(sender)
        broadcast.start()
        early: list[OutgoingPacket] = []
        late: list[OutgoingPacket] = []
        tasks = [collect(broadcast.stream(), early)]
        await sender.write_utterance(tone(40))
        sender.end_utterance()
        await clock.pass_packets(sender, 10)
        tasks.append(collect(broadcast.stream(), late))
        await asyncio.sleep(0)
        begun = len(early)
        await clock.pass_packets(sender, 10)
        broadcast.close()
        await asyncio.gather(*tasks)
        await broadcast.ended()
        assert len(late) == 10, "the past is not caught up with"
        assert [p.payload for p in late] == [p.payload for p in early[begun:]], "encoded once"
        assert [p.timestamp for p in late] == [n * FRAME_SAMPLES for n in range(10)], "its own RTP time"
        assert early[begun].timestamp == begun * FRAME_SAMPLES
        decoder = OpusDecoder()
        heard = [decoder.decode(p.payload) for p in late]
        assert all(part is not None for part in heard)
        assert np.abs(np.concatenate([part for part in heard[3:] if part is not None])).max() > 0.2
        sender.close()


async def test_speech_is_played_and_told_as_heard_without_any_listener() -> None:
    clock = HandClock()
    sender = Sender(cushion_ms=0, clock=clock)
    recorded: list[bytes] = []
    heard: list[int] = []
    sender.listeners.append(lambda _, payload, __: recorded.append(payload))
    broadcast = Broadcast(sender)
    broadcast.start()
    sender.when_played(heard.append)
    await sender.write_utterance(tone(3))
    sender.end_utterance()
    drained = asyncio.create_task(sender.drained(sender.written))
    await clock.pass_packets(sender, 6)
    await asyncio.wait_for(drained, 5)
    assert len(recorded) == 3
    assert heard
    broadcast.close()
    await broadcast.ended()
    sender.close()


async def test_a_listener_that_takes_nothing_delays_nobody_and_comes_back_to_the_present() -> None:
    clock = HandClock()
    sender = Sender(cushion_ms=0, clock=clock)
    broadcast = Broadcast(sender)
    broadcast.start()
    stuck, well = broadcast.stream(), broadcast.stream()
    taken: list[OutgoingPacket] = []
    first = asyncio.create_task(stuck.next_packet())
    task = collect(well, taken)
    await asyncio.sleep(0)
    await clock.pass_packets(sender)
    assert (await first).timestamp == 0
    await clock.pass_packets(sender, MAX_WAITING + 5)
    assert len(taken) >= MAX_WAITING + 5
    assert stuck.dropped == MAX_WAITING
    assert broadcast.stats() == {"listening": 2, "dropped": MAX_WAITING}
    resumed = await stuck.next_packet()
    assert resumed.timestamp == (MAX_WAITING + 1) * FRAME_SAMPLES, "time has passed for it too"
    broadcast.end_stream(stuck)
    assert broadcast.stats() == {"listening": 1, "dropped": MAX_WAITING}
    sender.close()  # which ends the broadcast, and with it every stream
    await broadcast.ended()
    await asyncio.wait_for(task, 5)
    with pytest.raises(SenderClosed):
        await broadcast.stream().next_packet()


async def test_a_reader_that_is_cancelled_loses_nothing() -> None:
    stream = BroadcastStream(Broadcast(Sender()))
    reading = asyncio.create_task(stream.next_packet())
    await asyncio.sleep(0)
    reading.cancel()
    stream.take(OutgoingPacket(SILENCE, 960))
    assert (await stream.next_packet()).payload == SILENCE
    stream.close()


async def test_what_is_unheard_ends_when_its_connection_does() -> None:
    stream = UNHEARD.stream()
    waiting = asyncio.create_task(stream.next_packet())
    await asyncio.sleep(0)
    assert not waiting.done()
    UNHEARD.end_stream(stream)
    with pytest.raises(SenderClosed):
        await asyncio.wait_for(waiting, 5)


# Audiences ------------------------------------------------------------------------------------------------------------


class Listener:
    """A peer of no protocol: it only does what a peer promises."""

    def __init__(self) -> None:
        self.connected, self.opened, self.closed = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.close_reason, self.said_goodbye = "", False
        self.told: list[tuple[str, Mapping[str, Any]]] = []
        self.source: PacketSource | None = None
        self._on_open: OnPeer | None = None
        self._on_close: OnPeer | None = None

    def seated(self, sender: PacketSource, on_open: OnPeer | None, on_close: OnPeer | None) -> None:
        self.source, self._on_open, self._on_close = sender, on_open, on_close

    def arrive(self) -> None:
        self.connected.set()
        self.opened.set()
        if self._on_open is not None:
            self._on_open(self)  # type: ignore[arg-type]

    def tell(self, kind: str, fields: Mapping[str, Any], *, ephemeral: bool = False) -> bool:
        self.told.append((kind, fields))
        return True

    def hang_up(self, reason: str) -> None:
        if not self.closed.is_set():
            self.close_reason = reason
            self.closed.set()
            if self._on_close is not None:
                self._on_close(self)  # type: ignore[arg-type]

    async def close(self, reason: str = "closed by the server") -> None:
        self.hang_up(reason)


def seat(audience: Audience, address: str = "", *, arrives: bool = False) -> Listener:
    listener = Listener()
    audience.seat(listener, address)  # type: ignore[arg-type]
    if arrives:
        listener.arrive()
    return listener


async def test_all_who_are_there_are_told_and_all_are_sent_away_in_the_end() -> None:
    async with no_task_left():
        sender = Sender()
        audience = Audience(sender)
        greeted: list[object] = []
        audience.on_open = greeted.append
        here, gone, waiting = seat(audience, arrives=True), seat(audience, arrives=True), seat(audience)
        gone.hang_up("it has left")
        audience.tell("caption", {"text": "hello"})
        assert here.told == [("caption", {"text": "hello"})]
        assert not gone.told
        assert not waiting.told
        assert greeted == [here, gone]
        assert audience.listening == 1
        await audience.close("the speaker has left")
        assert (here.close_reason, waiting.close_reason) == ("the speaker has left",) * 2
        assert gone.close_reason == "it has left"
        with pytest.raises(AudienceFull, match="ended"):
            seat(audience)
        sender.close()


async def test_seats_belong_to_those_who_are_connected_and_are_shared_by_audiences() -> None:
    seats = Seats(2)
    senders = Sender(), Sender()
    one, other = (Audience(sender, seats) for sender in senders)
    first, second, third = seat(one), seat(other), seat(one)
    first.arrive()
    second.arrive()
    third.arrive()  # others have taken the last seat meanwhile
    async with asyncio.timeout(5):
        await third.closed.wait()
    assert "all 2 places for listeners are taken" in third.close_reason
    with pytest.raises(AudienceFull, match="all 2 places"):
        seat(other)
    first.hang_up("it has left")
    seat(other, arrives=True)
    await until(lambda: seats.taken == 2)
    assert (one.listening, other.listening) == (0, 2)
    for audience in (one, other):
        await audience.close()
    assert seats.taken == 0


async def test_those_who_never_connect_make_room_for_others_and_most_of_all_their_own() -> None:
    seats = Seats(4)
    audience = Audience(Sender(), seats)
    patient = seat(audience, "192.0.2.1")
    crowd = [seat(audience, "192.0.2.7") for _ in range(20)]
    assert not patient.closed.is_set()
    assert sum(not listener.closed.is_set() for listener in crowd) == 5
    patient.arrive()
    assert audience.listening == 1
    await audience.close()
