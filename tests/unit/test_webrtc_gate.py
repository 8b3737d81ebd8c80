"""Loudspeakers: the translation is not translated. Headphones, and over the translation: people are heard."""

from __future__ import annotations

import time
import tracemalloc
from functools import cache

import numpy as np
import pytest
from scipy.signal import resample_poly

from tests.unit.loudspeakers import (
    HOP,
    MS,
    PERSON,
    START_NS,
    TTS,
    breathing,
    call,
    clip,
    coded,
    delayed,
    drifting,
    echo,
    fitted,
    gain,
    leaked_ms,
    levels_db,
    microphone,
    noise,
    opened,
    speech,
)
from tolmach.pipelines.frames import NS_PER_MS, AudioFrame, Samples, UtteranceStart
from tolmach.pipelines.testing import Harness
from tolmach.processors.vad.spec import RATE_HZ, SILERO
from tolmach.transports.webrtc.echo.gate import PlaybackGate
from tolmach.transports.webrtc.opus import FRAME_SAMPLES, RTP_RATE_HZ, rtp_ns

pytestmark = pytest.mark.slow


async def utterances(samples: Samples) -> int:
    """How many utterances the translator would be given."""
    narrow = resample_poly(samples, RATE_HZ, RTP_RATE_HZ).astype(np.float32)
    async with Harness(SILERO) as vad:
        await vad.push(AudioFrame(narrow[:, None], RATE_HZ, 0))
        await vad.eos()
        return sum(isinstance(frame, UtteranceStart) for frame in vad.output())


@cache
def translations() -> Samples:
    """Four sentences of ours with half a second between them."""
    return speech(TTS[:4], pause_s=0.5)


@cache
def conversation() -> Samples:
    """All of ours, about 20 s."""
    return speech(TTS, pause_s=0.4)


# Loudspeakers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("delay_ms", "level_db", "rt60_s", "direct_db"),
    [
        pytest.param(60, -6, 0.2, 5, id="laptop"),
        pytest.param(150, -6, 0.5, None, id="loud in a bare room"),
        pytest.param(250, -12, 0.4, 0, id="loudspeakers on the desk"),
        pytest.param(500, -20, 0.3, None, id="bluetooth in the corner"),
        pytest.param(650, -12, 0.3, 0, id="far away"),
        pytest.param(200, -30, 0.3, 0, id="faint"),
    ],
)
async def test_what_the_loudspeaker_says_is_not_heard(
    delay_ms: float, level_db: float, rt60_s: float, direct_db: float | None
) -> None:
    playback = translations()
    back = echo(playback, delay_ms=delay_ms, level_db=level_db, rt60_s=rt60_s, direct_db=direct_db)
    heard = microphone(back, noise_db=-60)
    gate = PlaybackGate()
    passed = call(gate, playback, heard)
    assert leaked_ms(passed, back) <= 50
    assert await utterances(passed) == 0
    assert level_db < -20 or await utterances(heard) > 0, "the echo would have been translated"
    assert gate.state == "closed"
    assert gate.delay_ms == pytest.approx(delay_ms, abs=20)
    assert gate.gain_db == pytest.approx(level_db, abs=6)
    assert gate.gated_samples >= np.count_nonzero(levels_db(back) > -55) * HOP * 0.9


def test_an_echo_later_than_any_known_is_found_though_the_gate_is_open_by_then() -> None:
    playback = conversation()
    back = echo(playback, delay_ms=900, level_db=-12)
    gate = PlaybackGate()
    passed = call(gate, playback, microphone(back))
    assert gate.state == "closed"
    assert leaked_ms(passed, back) <= 800
    assert leaked_ms(passed, back, from_s=4) <= 50


@pytest.mark.parametrize("direct_db", [0, None])
async def test_neither_drift_nor_gain_control_nor_noise_lets_it_through(direct_db: float | None) -> None:
    playback = translations()
    back = echo(playback, delay_ms=180, level_db=-14, direct_db=direct_db)
    for changed in (drifting(back, 200), drifting(back, -200), breathing(back)):
        passed = call(PlaybackGate(), playback, microphone(changed, noise_db=-50))
        assert leaked_ms(passed, changed) <= 50
        assert await utterances(passed) == 0


def test_a_copy_without_any_room_is_recognised() -> None:
    playback = translations()
    back = delayed(coded(playback), 90)
    assert leaked_ms(call(PlaybackGate(), playback, coded(back)), back) <= 50


def test_a_louder_loudspeaker_is_no_talker() -> None:
    playback = conversation()
    back = echo(playback, delay_ms=200, level_db=-10)
    turned_up = gain(back, -15)
    turned_up[9 * RTP_RATE_HZ :] = back[9 * RTP_RATE_HZ :]
    passed = call(PlaybackGate(), playback, microphone(turned_up))
    assert leaked_ms(passed, turned_up) <= 800
    assert leaked_ms(passed, turned_up, from_s=11) <= 50


@pytest.mark.parametrize(("before_ms", "after_ms"), [(150, 400), (400, 150), (100, 900), (150, 220)])
def test_a_delay_that_jumps_is_followed(before_ms: float, after_ms: float) -> None:
    playback = conversation()
    jump = 9 * RTP_RATE_HZ
    back = echo(playback, delay_ms=before_ms, level_db=-10)
    back[jump:] = echo(playback, delay_ms=after_ms, level_db=-10)[jump:]
    gate = PlaybackGate()
    passed = call(gate, playback, microphone(back))
    assert gate.delay_ms == pytest.approx(after_ms, abs=20)
    assert leaked_ms(passed, back, to_s=9) <= 50
    assert leaked_ms(passed, back) <= 1500
    assert leaked_ms(passed, back, from_s=12) <= 50


def test_headphones_that_are_unplugged_are_noticed() -> None:
    playback = conversation()
    back = echo(playback, delay_ms=200, level_db=-10)
    back[: 9 * RTP_RATE_HZ] = 0
    gate = PlaybackGate()
    call(gate, playback[: 9 * RTP_RATE_HZ], microphone(back[: 9 * RTP_RATE_HZ]))
    assert gate.state == "open"
    gate = PlaybackGate()
    passed = call(gate, playback, microphone(back))
    assert gate.state == "closed"
    assert leaked_ms(passed, back) <= 1000
    assert leaked_ms(passed, back, from_s=11) <= 50


def test_a_muted_microphone_does_not_make_it_forget() -> None:
    playback = conversation()
    back = echo(playback, delay_ms=200, level_db=-10)
    heard = microphone(back)
    heard[4 * RTP_RATE_HZ : 10 * RTP_RATE_HZ] = 0
    assert leaked_ms(call(PlaybackGate(), playback, heard), back, from_s=10) <= 50


# Headphones -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level_db", [-14, -20, -40])
def test_who_wears_headphones_loses_nothing(level_db: float) -> None:
    playback = speech(TTS, pause_s=0.1)
    person = fitted(speech(PERSON, pause_s=0.1, before_s=0.3, level_db=level_db), len(playback))
    heard = microphone(person)
    gate = PlaybackGate()
    passed = call(gate, playback, heard)
    assert gate.state == "open"
    assert gate.echo == "none"
    assert gate.delay_ms is None
    assert gate.gain_db is None
    assert np.array_equal(passed, heard[: len(passed)]), "what was held while it was looked for is whole, too"
    assert gate.gated_samples == 0


def test_an_answer_right_after_the_first_sentence_is_whole() -> None:
    playback = fitted(speech(["en-08"], pause_s=0.1), 8 * RTP_RATE_HZ)
    answer = round(3.4 * RTP_RATE_HZ)  # 0.3 s after the end
    person = fitted(np.concatenate((np.zeros(answer, np.float32), clip("ru-20"), clip("en-12"))), len(playback))
    heard = microphone(person)
    gate = PlaybackGate()
    passed = call(gate, playback, heard)
    assert np.array_equal(passed[answer:], heard[answer : len(passed)])


def test_a_microphone_that_is_switched_off_has_no_echo() -> None:
    gate = PlaybackGate()
    passed = call(gate, translations(), np.zeros_like(translations()))
    assert gate.state == "open"
    assert not passed.any()


def test_headphones_that_are_plugged_in_are_noticed() -> None:
    playback = conversation()
    plugged = 6 * RTP_RATE_HZ
    back = echo(playback, delay_ms=200, level_db=-10)
    back[plugged:] = 0
    person = fitted(speech(PERSON, pause_s=0.3, before_s=6.5), len(playback))
    gate = PlaybackGate()
    passed = call(gate, playback, microphone(back, person))
    assert gate.state == "open"
    speaks = levels_db(person)[: len(opened(passed))] > -45
    assert np.mean(opened(passed)[speaks]) > 0.9


# Both at once ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("echo_db", "person_db"), [(-6, -14), (-12, -20), (-20, -26), (-30, -26)])
def test_who_speaks_over_the_translation_is_let_through(echo_db: float, person_db: float) -> None:
    playback = speech(TTS, pause_s=0.1)
    back = echo(playback, delay_ms=200, level_db=echo_db)
    person = np.zeros_like(playback)
    waits = []
    begins_s = (4.0, 7.5, 11.0, 14.5)
    for begin_s, name in zip(begins_s, PERSON, strict=False):
        at = round(begin_s * RTP_RATE_HZ)
        words = gain(clip(name), person_db + 20)
        person[at : at + len(words)] = words
    gate = PlaybackGate()
    passed = call(gate, playback, microphone(back, person, noise_db=-50))
    gate_open, level_db = opened(passed), levels_db(person)
    for begin_s, name in zip(begins_s, PERSON, strict=False):
        hops = slice(round(begin_s * 100), round(begin_s * 100) + len(clip(name)) // HOP)
        spoken = np.flatnonzero(level_db[hops] > level_db[hops].max() - 25)
        waits.append(10 * int(np.argmax(gate_open[hops][spoken[0] :])))
        assert np.mean(gate_open[hops][spoken]) > 0.75
    assert gate.state == "closed"
    # The first sentence begins with a soft nasal, 12 dB below its vowels.
    assert sorted(waits)[-2] <= 100
    assert max(waits) <= 200


def test_who_speaks_more_softly_than_the_echo_is_heard_over_it() -> None:
    playback = speech(TTS, pause_s=0.1)
    back = echo(playback, delay_ms=80, level_db=-6, rt60_s=0.2, direct_db=5)
    person = fitted(speech(PERSON[:5], pause_s=0.6, before_s=6, level_db=-28), len(playback))
    heard = microphone(back, person, noise_db=-60)
    words = {}
    for cancel in (False, True):
        gate = PlaybackGate(cancel=cancel)
        passed = opened(call(gate, playback, heard))
        words[cancel] = np.mean(passed[levels_db(person)[: len(passed)] > -50])
        assert gate.echo == ("cancelled" if cancel else "gated")
    assert words[True] > 0.9
    assert words[False] < 0.7, "what came before was a filter, not a softer threshold"
    assert gate.reduction_db is not None
    assert gate.reduction_db > 8


def test_talking_during_the_first_sentence_does_not_hide_the_echo() -> None:
    playback = conversation()
    back = echo(playback, delay_ms=200, level_db=-10)
    person = fitted(speech(PERSON[:2], pause_s=0.1, before_s=0.4), len(playback))
    gate = PlaybackGate()
    passed = call(gate, playback, microphone(back, person))
    assert gate.state == "closed"
    assert leaked_ms(passed, back, from_s=6.5) <= 50


# The sound ------------------------------------------------------------------------------------------------------------


def test_without_playback_the_microphone_is_not_touched() -> None:
    gate = PlaybackGate()
    heard = noise(RTP_RATE_HZ, -20)
    for at in range(0, len(heard), FRAME_SAMPLES):
        piece = heard[at : at + FRAME_SAMPLES]
        assert gate.heard(piece, START_NS + rtp_ns(at)) is piece
    assert gate.gated_samples == 0
    assert gate.state == "unknown"


def test_long_after_playback_the_microphone_is_not_touched() -> None:
    playback = fitted(translations(), 16 * RTP_RATE_HZ)
    heard = microphone(echo(playback, delay_ms=200, level_db=-10))
    gate = PlaybackGate()
    passed = call(gate, playback, heard)
    silent = np.flatnonzero(playback)[-1] + round(1.3 * RTP_RATE_HZ)
    assert len(passed) - silent > RTP_RATE_HZ
    assert np.array_equal(passed[silent:], heard[silent : len(passed)])


def test_the_gate_fades() -> None:
    playback = translations()
    hum = (0.3 * np.sin(2 * np.pi * 100 * np.arange(len(playback)) / RTP_RATE_HZ)).astype(np.float32)
    passed = call(PlaybackGate(), playback, hum)
    assert not passed.all()
    assert np.abs(np.diff(passed)).max() < 1.2 * np.abs(np.diff(hum)).max()


@pytest.mark.parametrize("piece", [10 * MS, 60 * MS, 333])
def test_decisions_do_not_depend_on_how_the_microphone_is_cut(piece: int) -> None:
    playback = conversation()
    back = echo(playback, delay_ms=200, level_db=-12)
    person = fitted(speech(PERSON[:3], pause_s=1, before_s=6), len(playback))
    heard = microphone(back, person)
    whole = opened(call(PlaybackGate(), playback, heard))
    cut = opened(call(PlaybackGate(), playback, heard, piece=piece))
    count = min(len(whole), len(cut))
    moved = np.flatnonzero(whole[:count] != cut[:count])
    assert whole[:count].any()
    assert not whole[:count].all()
    # Where they differ, the one is the other a hop before or after.
    for hop in moved:
        assert cut[hop] in (whole[hop - 1], whole[min(hop + 1, count - 1)])


# Clocks ---------------------------------------------------------------------------------------------------------------


def test_a_better_estimate_of_the_network_is_not_a_new_delay() -> None:
    playback = conversation()
    heard = microphone(echo(playback, delay_ms=200, level_db=-10))
    back = echo(playback, delay_ms=200, level_db=-10)
    gate = PlaybackGate()
    out = []
    for sent in range(0, len(playback), FRAME_SAMPLES):
        packet = playback[sent : sent + FRAME_SAMPLES]
        if packet.any():
            gate.played(packet, START_NS + rtp_ns(sent))
        at = sent - 4 * FRAME_SAMPLES
        if at >= 0:
            sooner_ns = 30 * NS_PER_MS if at > 8 * RTP_RATE_HZ else 0
            out.append(gate.heard(heard[at : at + FRAME_SAMPLES], START_NS + rtp_ns(at) - sooner_ns))
            if sooner_ns:
                assert gate.state == "closed"
                assert gate.delay_ms == pytest.approx(170, abs=2)
    assert leaked_ms(np.concatenate(out), back) <= 50


def test_another_connection_is_another_room() -> None:
    playback = translations()
    heard = microphone(echo(playback, delay_ms=200, level_db=-10))
    gate = PlaybackGate()
    call(gate, playback, heard)
    assert gate.state == "closed"
    later_ns = START_NS + rtp_ns(len(playback)) + 3_000_000_000
    back = echo(playback, delay_ms=350, level_db=-10)
    passed = call(gate, playback, microphone(back), start_ns=later_ns)
    assert leaked_ms(passed, back) <= 50
    assert gate.delay_ms == pytest.approx(350, abs=20)


def test_packets_sent_at_once_after_a_stall_are_played_one_after_another() -> None:
    playback = conversation()
    back = echo(playback, delay_ms=200, level_db=-10)
    heard = microphone(back)
    gate = PlaybackGate()
    out = []
    stalled = range(8 * RTP_RATE_HZ, 8 * RTP_RATE_HZ + 5 * FRAME_SAMPLES)
    for sent in range(0, len(playback), FRAME_SAMPLES):
        packet = playback[sent : sent + FRAME_SAMPLES]
        if packet.any():
            # The last of a burst is in time; the others were due before it.
            gate.played(
                packet, START_NS + rtp_ns(stalled[-1] // FRAME_SAMPLES * FRAME_SAMPLES if sent in stalled else sent)
            )
        at = sent - 10 * FRAME_SAMPLES
        if at >= 0:
            out.append(gate.heard(heard[at : at + FRAME_SAMPLES], START_NS + rtp_ns(at)))
    assert leaked_ms(np.concatenate(out), back) <= 800
    assert leaked_ms(np.concatenate(out), back, from_s=11) <= 50


# Cost -----------------------------------------------------------------------------------------------------------------


def test_memory_is_bounded() -> None:
    playback = translations()
    heard = microphone(echo(playback, delay_ms=200, level_db=-10))
    tracemalloc.start()
    try:
        gate = PlaybackGate()
        sizes = []
        for n in range(3):
            call(gate, playback, heard, start_ns=START_NS + n * rtp_ns(len(playback)))
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert sizes[0] < 2_000_000
    assert sizes[2] - sizes[1] < 10_000


@pytest.mark.realtime
def test_it_costs_less_than_a_hundredth_of_a_core() -> None:
    playback = np.concatenate([clip(name) for name in TTS])
    playback = fitted(playback, len(playback) // FRAME_SAMPLES * FRAME_SAMPLES) + noise(FRAME_SAMPLES, -80)[0]
    heard = microphone(echo(playback, delay_ms=200, level_db=-10))
    costs = []
    for _ in range(5):
        start = time.process_time()
        call(PlaybackGate(), playback, heard)
        costs.append((time.process_time() - start) / (len(playback) / RTP_RATE_HZ))
    assert min(costs) < 0.01
