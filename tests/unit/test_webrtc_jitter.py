"""The jitter buffer under scripted networks."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.webrtc_traces import (
    SPEECH,
    TRANSIT_NS,
    Played,
    assert_unbroken,
    jittered,
    late,
    media,
    paused,
    play,
    settled_latency_ms,
    stream,
)
from tolmach.pipelines.frames import NS_PER_MS, NS_PER_S
from tolmach.transports.webrtc.incoming.jitter import MAX_AHEAD_NS, RESTART_AFTER, JitterBuffer, JitterSettings
from tolmach.transports.webrtc.opus import FRAME_NS, FRAME_SAMPLES, Packet, opus_duration, unwrap

MIN_MS = JitterSettings().min_target_ms
QUIET_MS = TRANSIT_NS / NS_PER_MS + MIN_MS  # latency of an undisturbed stream
LISTENING = JitterSettings(paced=False)


def test_a_calm_stream_comes_out_whole_in_order_at_the_smallest_target() -> None:
    packets = stream(200)
    buffer, played = play(packets, tail_ms=MIN_MS)
    assert_unbroken(played)
    assert media(played) == [p.sequence for p in packets]
    assert settled_latency_ms(played) == pytest.approx(QUIET_MS, abs=0.1)
    assert (buffer.stats.lost, buffer.stats.late, buffer.stats.concealed_samples) == (0, 0, 0)


def test_one_lost_packet_leaves_the_latency_where_it_was() -> None:
    packets = stream(400)
    _, calm = play(packets)
    buffer, played = play(packets[:200] + packets[201:])
    assert_unbroken(played)
    assert buffer.stats.lost == 1
    assert buffer.stats.concealed_samples == FRAME_SAMPLES
    after = {p.release.position: p.at_ns for p in played if p.release.position > 200 * FRAME_SAMPLES}
    assert after == {p.release.position: p.at_ns for p in calm if p.release.position in after}


@pytest.mark.parametrize("burst", [2, 5, 20, 100])
def test_a_burst_loss_is_filled_to_the_sample_and_leaves_the_latency(burst: int) -> None:
    packets = stream(600)
    buffer, played = play(packets[:200] + packets[200 + burst :])
    assert_unbroken(played)
    assert buffer.stats.lost == burst
    assert buffer.stats.concealed_samples + buffer.stats.silence_samples == burst * FRAME_SAMPLES
    assert settled_latency_ms(played) == pytest.approx(QUIET_MS, abs=0.1)


def test_random_loss_of_2_percent_leaves_the_latency() -> None:
    packets = stream(3000)
    kept = [p for i, p in enumerate(packets) if i % 50 != 7]
    buffer, played = play(kept)
    assert_unbroken(played)
    assert buffer.stats.lost == buffer.stats.concealed_samples // FRAME_SAMPLES == 60
    assert max(p.latency_ms for p in played[100:]) == pytest.approx(QUIET_MS, abs=0.1)


def test_reordering_within_the_target_costs_nothing() -> None:
    packets = stream(300)
    swapped = [late(p, 21) if i % 10 == 3 else p for i, p in enumerate(packets)]
    buffer, played = play(swapped, settings=JitterSettings(min_target_ms=40), tail_ms=50)
    assert media(played) == [p.sequence for p in packets]
    assert buffer.stats.reordered == 30
    assert buffer.stats.concealed_samples == 0


def test_without_a_pace_what_is_in_order_is_given_as_it_arrives() -> None:
    packets = jittered(stream(400), 80, seed=3)
    _, even = play(packets, settings=JitterSettings(min_target_ms=80), tail_ms=200)
    _, played = play(packets, settings=JitterSettings(min_target_ms=80, paced=False), tail_ms=200)
    assert_unbroken(played)
    arrived = {p.sequence: p.arrival_ns for p in packets}
    before = -1
    for p in played[100:300]:
        assert p.release.packet is not None
        assert p.at_ns == max(arrived[p.release.packet.sequence], before)  # those after a late one wait for it
        before = p.at_ns
    assert media(played) == media(even)
    assert {p.release.position: p.release.kind for p in played} == {p.release.position: p.release.kind for p in even}


def test_without_a_pace_what_is_missing_is_waited_for_as_long() -> None:
    packets = stream(400)
    packets[200] = late(packets[200], MIN_MS - 1)
    del packets[300]
    buffer, played = play(packets, settings=LISTENING)
    assert_unbroken(played)
    assert (buffer.stats.lost, buffer.stats.late) == (1, 0)
    concealed = next(p for p in played if p.release.kind == "conceal")
    assert concealed.release.position == 300 * FRAME_SAMPLES
    assert concealed.latency_ms == pytest.approx(QUIET_MS, abs=0.1)
    assert settled_latency_ms(played) == pytest.approx(TRANSIT_NS / NS_PER_MS, abs=0.1)


def test_without_a_pace_speech_after_announced_silence_does_not_wait() -> None:
    buffer, played = play(paused(stream(400)), settings=LISTENING)
    assert_unbroken(played)
    assert buffer.stats.silence_samples == 95 * FRAME_SAMPLES
    speech = next(p for p in played if p.release.position == 200 * FRAME_SAMPLES)
    assert speech.latency_ms == pytest.approx(TRANSIT_NS / NS_PER_MS, abs=0.1)


def test_the_target_learns_to_wait_for_what_is_regularly_late() -> None:
    packets = [late(p, 55) if i % 10 == 3 else p for i, p in enumerate(stream(800))]
    buffer, played = play(packets)
    assert_unbroken(played)
    assert 55 <= buffer.delay.target_ns / NS_PER_MS < 60
    assert all(p.release.kind == "media" for p in played[200:])


def test_the_target_forgets() -> None:
    packets = stream(1600)
    packets = jittered(packets[:500], 80, seed=1) + packets[500:]
    buffer, played = play(packets)
    assert max(p.latency_ms for p in played[300:500]) > 80
    assert buffer.delay.target_ns == MIN_MS * NS_PER_MS
    assert settled_latency_ms(played) == pytest.approx(QUIET_MS, abs=0.1)


def test_the_target_is_bounded() -> None:
    buffer, played = play(jittered(stream(600), 900, seed=2))
    assert_unbroken(played)
    assert buffer.delay.target_ns == JitterSettings().max_target_ms * NS_PER_MS


def test_duplicates_are_counted_and_not_played() -> None:
    packets = stream(100)
    buffer, played = play([q for p in packets for q in (p, late(p, 3), late(p, 90))], tail_ms=100)
    assert_unbroken(played[:100])
    assert media(played) == [p.sequence for p in packets]
    assert buffer.stats.duplicates == 200
    assert buffer.stats.late == 0


def test_a_packet_behind_its_time_is_counted_and_not_played() -> None:
    packets = stream(300)
    packets[200] = late(packets[200], 100)
    buffer, played = play(packets)
    assert_unbroken(played)
    assert packets[200].sequence not in media(played)
    assert (buffer.stats.late, buffer.stats.lost) == (1, 1)


@pytest.mark.parametrize("reordered", [False, True], ids=["in order", "reversed"])
@pytest.mark.parametrize("stall_ms", [100, 300, 800])
def test_a_stall_loses_no_word_and_leaves_no_latency(stall_ms: int, *, reordered: bool) -> None:
    packets = stream(800)
    stop, resume = packets[300].arrival_ns, packets[300].arrival_ns + stall_ms * NS_PER_MS
    burst = [replace(p, arrival_ns=resume - 1) for p in packets if stop <= p.arrival_ns < resume]
    packets[300 : 300 + len(burst)] = burst[::-1] if reordered else burst
    buffer, played = play(packets)
    assert_unbroken(played)
    # What was concealed while nobody knew is gone; every later packet of the stall is played.
    assert buffer.stats.concealed_samples == 60 * 48
    assert buffer.stats.late == 3
    assert len(media(played)) >= 800 - 3 - 2
    back = next(i for i, p in enumerate(played) if p.release.position > 300 * FRAME_SAMPLES and p.at_ns > resume)
    assert max(p.latency_ms for p in played[back + 2 :]) == pytest.approx(QUIET_MS, abs=0.1)


def test_two_stalls_do_not_raise_the_target() -> None:
    packets = stream(1000)
    for start in (300, 600):
        resume = packets[start + 15].arrival_ns
        packets[start : start + 15] = [replace(p, arrival_ns=resume - 1) for p in packets[start : start + 15]]
    buffer, _ = play(packets)
    assert buffer.delay.target_ns == MIN_MS * NS_PER_MS


def test_when_nothing_comes_any_more_the_timeline_goes_on_in_silence() -> None:
    packets = stream(100)
    _, played = play(packets, tail_ms=5000)
    assert_unbroken(played)
    tail = played[100:]
    assert [p.release.kind for p in tail[:3]] == ["conceal"] * 3
    silence = tail[3:]
    assert {p.release.kind for p in silence} == {"silence"}
    assert silence[0].at_ns - tail[2].at_ns == pytest.approx(NS_PER_S, abs=25 * NS_PER_MS)
    steps = {b.at_ns - a.at_ns for a, b in pairwise(silence)}
    assert steps == {FRAME_NS}


def test_silence_announced_by_the_peer_is_played_in_time() -> None:
    buffer, played = play(paused(stream(400)))
    assert_unbroken(played)
    assert (buffer.stats.lost, buffer.stats.late, buffer.stats.concealed_samples) == (0, 0, 0)
    assert buffer.stats.silence_samples == 95 * FRAME_SAMPLES
    assert max(p.latency_ms for p in played[60:]) == pytest.approx(QUIET_MS, abs=0.1)


def test_a_long_pause_without_packets_ends_at_the_right_time() -> None:
    packets = stream(1000)
    kept = packets[:200] + [replace(p, sequence=(p.sequence - 500) & 0xFFFF) for p in packets[700:]]
    buffer, played = play(kept)
    assert_unbroken(played)
    assert buffer.stats.restarts == 0
    last = played[-1].release
    assert last.position + last.count <= 1000 * FRAME_SAMPLES
    assert settled_latency_ms(played) == pytest.approx(QUIET_MS, abs=0.1)


@pytest.mark.parametrize("drift_ppm", [-200, 200])
def test_a_clock_that_drifts_is_followed_for_ten_minutes(drift_ppm: int) -> None:
    packets = stream(30_000, drift_ppm=drift_ppm)
    buffer, played = play(packets)
    assert_unbroken(played)
    assert (buffer.stats.lost, buffer.stats.late, buffer.stats.concealed_samples) == (0, 0, 0)
    # Against the arrival of each packet, for the clocks themselves are 120 ms apart by then.
    waits = [p.at_ns - p.release.packet.arrival_ns for p in played[100:] if p.release.packet]
    assert (MIN_MS - 2.5) * NS_PER_MS < min(waits) <= max(waits) < (MIN_MS + 2.5) * NS_PER_MS


@pytest.mark.parametrize("offset_ms", [60, 150, -60])
def test_a_new_route_is_followed(offset_ms: int) -> None:
    packets = [late(p, 100) for p in stream(2500)]
    packets = packets[:1000] + [late(p, offset_ms) for p in packets[1000:]]
    buffer, played = play(packets)
    assert_unbroken(played)
    assert settled_latency_ms(played) == pytest.approx(QUIET_MS + 100 + offset_ms, abs=0.1)
    assert buffer.stats.concealed_samples <= 5 * FRAME_SAMPLES


def test_a_sender_that_begins_anew_is_followed() -> None:
    first = stream(200)
    second = [late(p, 4000) for p in stream(200, sequence=9_000, timestamp=77)]
    buffer, played = play(first + second)
    assert_unbroken(played)
    assert (buffer.stats.restarts, buffer.stats.discarded) == (1, 1)
    assert media(played)[-100:] == [p.sequence for p in second][-101:-1]
    assert {b.at_ns - a.at_ns for a, b in pairwise(played[-100:])} == {FRAME_NS}


def test_a_stray_packet_is_ignored() -> None:
    packets = stream(200)
    stray = Packet(30_000, 5, b"\xfc", packets[100].arrival_ns + 1)
    buffer, played = play([*packets, stray])
    assert_unbroken(played)
    assert buffer.stats.discarded == 1
    assert buffer.stats.concealed_samples == 0


def test_a_timestamp_that_stood_still_in_a_pause_is_followed() -> None:
    packets = stream(400)
    packets = packets[:200] + [late(p, 5000) for p in packets[200:]]
    buffer, played = play(packets)
    assert_unbroken(played)
    assert buffer.stats.restarts == 1
    assert buffer.stats.late == RESTART_AFTER
    assert media(played)[-150:] == [p.sequence for p in packets][-151:-1]


def shifted(packets: list[Packet], samples: list[int]) -> list[Packet]:
    """The packets, with their timestamps set forward."""
    return [replace(p, timestamp=(p.timestamp + by) & 0xFFFFFFFF) for p, by in zip(packets, samples, strict=True)]


def ahead_ms(played: list[Played]) -> float:
    """How far the timeline ran ahead of the clock on the wall at most, ms."""
    return -min(p.latency_ms - p.release.count / 48 for p in played)


@pytest.mark.parametrize("jump_s", [0.5, 1.5, 2.9, 5.0, 9.9])
def test_timestamps_that_jump_with_each_packet_make_no_media(jump_s: float) -> None:
    packets = stream(400)
    buffer, played = play(shifted(packets, [round(n * jump_s * 48_000) for n in range(400)]))
    assert_unbroken(played)
    assert ahead_ms(played) <= MAX_AHEAD_NS / NS_PER_MS + 200
    assert buffer.stats.media_samples > 0, "but what is believable is heard"


def test_one_jump_is_another_timeline_and_no_silence() -> None:
    packets = shifted(stream(400), [0] * 200 + [6 * 48_000] * 200)
    buffer, played = play(packets, tail_ms=MIN_MS)
    assert_unbroken(played)
    assert (buffer.stats.restarts, buffer.stats.discarded, buffer.stats.silence_samples) == (1, 1, 0)
    assert settled_latency_ms(played) == pytest.approx(QUIET_MS, abs=2 * FRAME_NS / NS_PER_MS)


def test_packets_that_are_too_many_are_not_believed() -> None:
    packets = [replace(p, arrival_ns=p.arrival_ns // 20) for p in stream(4_000)]
    buffer, played = play(packets)
    assert_unbroken(played)
    assert ahead_ms(played) <= MAX_AHEAD_NS / NS_PER_MS + 200
    assert buffer.stats.discarded > 1_000


def test_a_stall_at_the_very_start_loses_nothing() -> None:
    packets = stream(400)
    held = [replace(p, arrival_ns=max(p.arrival_ns, 1_900 * NS_PER_MS)) for p in packets]
    buffer, played = play(held, tail_ms=MIN_MS)
    assert_unbroken(played)
    assert media(played) == [p.sequence for p in packets]
    assert (buffer.stats.discarded, buffer.stats.restarts) == (0, 0)


def test_memory_is_bounded_when_nobody_pulls() -> None:
    buffer = JitterBuffer()
    for packet in stream(20_000):
        buffer.add(packet)
        assert buffer.depth_ms <= 2000
    assert buffer.stats.overflowed > 0


def test_nothing_is_due_before_the_first_packet() -> None:
    buffer = JitterBuffer()
    assert buffer.due_ns() is None
    assert buffer.pull(10**12) is None


@given(
    fates=st.lists(
        st.one_of(st.just(None), st.floats(0, 400), st.tuples(st.floats(0, 60), st.floats(0, 60))),
        min_size=2,
        max_size=150,
    )
)
def test_under_any_network_the_timeline_is_unbroken_and_nothing_comes_twice(fates: list[object]) -> None:
    """Each packet is lost (None), late by some ms, or arrives twice."""
    sent = stream(len(fates))
    arrived = []
    for packet, fate in zip(sent, fates, strict=True):
        if isinstance(fate, float):
            arrived.append(late(packet, fate))
        elif isinstance(fate, tuple):
            arrived += [late(packet, ms) for ms in fate]
    buffer, played = play(arrived, tail_ms=3000)
    assert_unbroken(played)
    released = media(played)
    index = {p.sequence: i for i, p in enumerate(sent)}
    order = [index[s] for s in released]
    assert order == sorted(set(order)), "in order and at most once"
    stats = buffer.stats
    assert stats.received == len(arrived)
    assert len(released) + stats.late + stats.duplicates + stats.discarded == len(arrived)
    assert buffer.depth_ms == 0


@given(
    wild=st.lists(
        st.tuples(
            st.one_of(st.integers(-5, 5), st.integers(0, 2**16 - 1)),  # step in sequence
            st.one_of(st.integers(-5, 5).map(lambda n: n * 480), st.integers(0, 2**32 - 1)),  # step in time
            st.sampled_from([120, 480, 960, 2880, 5760]),  # length
            st.integers(0, 300),  # ms to the next arrival
        ),
        max_size=80,
    ),
    paced=st.booleans(),
)
def test_no_sender_however_broken_breaks_the_timeline(wild: list[tuple[int, int, int, int]], *, paced: bool) -> None:
    sequence, timestamp, arrival_ns = 7, 99, 0
    packets = []
    for step, jump, duration, wait_ms in wild:
        sequence, timestamp = (sequence + step) & 0xFFFF, (timestamp + jump) & 0xFFFFFFFF
        packets.append(Packet(sequence, timestamp, SPEECH, arrival_ns, duration))
        arrival_ns += wait_ms * NS_PER_MS
    buffer, played = play(packets, settings=JitterSettings(paced=paced), tail_ms=2000)
    assert_unbroken(played)
    stats = buffer.stats
    assert stats.media_samples + stats.concealed_samples + stats.silence_samples == buffer.position
    assert buffer.depth_ms <= JitterSettings().max_depth_ms + 120
    played_packets = len(media(played))
    assert played_packets + stats.late + stats.duplicates + stats.discarded + stats.overflowed <= stats.received + (
        stats.restarts  # the packet that reveals a restart was counted late before it was played
    )


def test_a_reader_that_was_away_gets_what_was_kept_and_the_latency_of_before() -> None:
    packets = stream(600)
    buffer = JitterBuffer()
    played = []
    for packet in packets:
        buffer.add(packet)
        away = 200 * FRAME_NS <= packet.arrival_ns < 400 * FRAME_NS
        while not away and (release := buffer.pull(packet.arrival_ns)) is not None:
            played.append(Played(packet.arrival_ns, release))
    assert_unbroken(played)
    assert buffer.stats.overflowed == pytest.approx(100, abs=2), "two of the four seconds were kept"
    assert settled_latency_ms(played) <= QUIET_MS + 0.1


def test_jitter_is_that_of_rfc_3550() -> None:
    packets = [late(p, 10 * (i % 2)) for i, p in enumerate(stream(500))]
    buffer, _ = play(packets)
    assert buffer.delay.jitter_ms == pytest.approx(10, abs=0.1)
    calm, _ = play(stream(100))
    assert calm.delay.jitter_ms == pytest.approx(0, abs=0.001)


@given(delays=st.lists(st.floats(0, 19.9), min_size=60, max_size=200))
def test_every_packet_within_the_target_is_played_exactly_once(delays: list[float]) -> None:
    sent = stream(len(delays))
    arrived = [sent[0], *(late(p, ms) for p, ms in zip(sent[1:], delays[1:], strict=True))]
    _, played = play(arrived, tail_ms=1000)
    assert media(played) == [p.sequence for p in sent]
    assert all(p.release.kind == "media" for p in played[: len(sent)])


@given(st.integers(-(2**40), 2**40), st.integers(-(2**15) + 1, 2**15 - 1))
def test_unwrapping_is_the_inverse_of_wrapping(near: int, step: int) -> None:
    assert unwrap((near + step) & 0xFFFF, near, 16) == near + step


@pytest.mark.parametrize(
    ("payload", "samples"),
    [
        (b"\xfc\x00", 960),  # CELT 20 ms, one frame
        (b"\xf8", 960),  # DTX
        (b"\x78\x00", 960),  # hybrid 20 ms
        (b"\x18\x00", 2880),  # SILK 60 ms
        (b"\xe1\x00\x00", 240),  # CELT 2.5 ms, two frames
        (b"\xfb\x03\x00", 2880),  # CELT 20 ms, three frames
    ],
)
def test_the_length_of_an_opus_packet_is_read_from_its_head(payload: bytes, samples: int) -> None:
    assert opus_duration(payload) == samples


@pytest.mark.parametrize("payload", [b"", b"\xfb", b"\xfb\x00", b"\xfb\x3f"])
def test_what_is_no_opus_packet_is_refused(payload: bytes) -> None:
    with pytest.raises(ValueError, match="Opus packet"):
        opus_duration(payload)
