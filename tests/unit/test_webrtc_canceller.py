"""The filter learns a room and not a talker, what it leaves is suppressed, packets are decoded as by the peer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import fftconvolve

from tests.unit.loudspeakers import PERSON, TTS, decoded, fitted, impulse_response, noise, packets, speech
from tolmach.pipelines.frames import Samples
from tolmach.transports.webrtc.echo.canceller import HOP, LEAD, EchoFilter
from tolmach.transports.webrtc.echo.sent import Playback, SentAudio
from tolmach.transports.webrtc.echo.suppressor import Suppressor, minimum_phase
from tolmach.transports.webrtc.opus import FRAME_NS, FRAME_SAMPLES, RTP_RATE_HZ


def left(played: Samples, heard: Samples) -> Samples:
    """What the filter leaves of a microphone, as long as whole hops of it."""
    echo_filter = EchoFilter()
    out = []
    for at in range(0, len(heard) - HOP + 1, HOP):
        echo_filter.predict(played[at : at + HOP])
        out.append(echo_filter.learn(heard[at : at + HOP]))
    return np.concatenate(out)


def room(played: Samples, level_db: float = -6) -> Samples:
    """What comes back of it through a room, as late as the filter expects."""
    whole = fftconvolve(played, impulse_response(0.2, 3, 1))[: len(played)] * 10 ** (level_db / 20)
    return fitted(np.concatenate((np.zeros(LEAD, np.float32), whole.astype(np.float32))), len(played))


def level_db(samples: Samples, from_s: float) -> float:
    return float(10 * np.log10(np.mean(samples[round(from_s * RTP_RATE_HZ) :] ** 2) + 1e-12))


def test_a_room_is_learned_in_two_seconds() -> None:
    played = speech(TTS[:3], pause_s=0.1)
    back = room(played)
    rest = left(played, back + noise(len(back), -70))
    assert level_db(rest, 2.5) < level_db(back, 2.5) - 20


def test_a_talker_is_neither_learned_nor_taken_out() -> None:
    played = speech(TTS[:4], pause_s=0.1)
    back, person = room(played), fitted(speech(PERSON[:3], pause_s=0.2, before_s=2.5), len(played))
    rest = left(played, back + person + noise(len(back), -70))
    heard = fitted(person, len(rest))
    assert level_db(rest - heard, 3) < level_db(back, 3) - 10
    assert level_db(rest - heard, 3) < level_db(heard, 3) - 10


def test_what_was_not_played_is_not_touched() -> None:
    heard = noise(HOP * 20, -20)
    assert np.array_equal(left(np.zeros_like(heard), heard), heard)


def suppressed(rest: Samples, back: Samples) -> Samples:
    suppressor = Suppressor()
    out = []
    for at in range(0, len(rest) - HOP + 1, HOP):
        suppressor.design(back[at : at + HOP])
        out.append(suppressor.apply(rest[at : at + HOP], 0))
        suppressor.learn(rest[at : at + HOP])
    return np.concatenate(out)


def test_what_the_filter_leaves_is_made_quieter_and_a_talker_is_not() -> None:
    back = speech(TTS[:3], pause_s=0.1)
    person = fitted(speech(PERSON[:2], pause_s=0.2, before_s=2.5), len(back))
    # 12 dB below the echo and unlike it: what codec and loudspeaker made of it.
    residue = 0.25 * fftconvolve(back, impulse_response(0.05, None, 7))[: len(back)].astype(np.float32)
    assert level_db(suppressed(residue, back), 1) < level_db(residue, 1) - 6
    both = suppressed(residue + person, back)
    words = fitted(person, len(both))
    assert level_db(both - words, 2.5) < level_db(words, 2.5) - 3
    assert level_db(both, 2.5) > level_db(words, 2.5) - 3


def test_without_an_echo_nothing_is_suppressed() -> None:
    person = speech(PERSON[:1], pause_s=0)
    np.testing.assert_array_equal(suppressed(person, np.zeros_like(person)), fitted(person, len(person) // HOP * HOP))


@pytest.mark.parametrize("gain_db", [0, -6, -20])
def test_the_filter_of_a_gain_delays_nothing(gain_db: float) -> None:
    gain = np.where(np.arange(HOP + 1) < 100, 10 ** (gain_db / 20), 1.0)
    taps = minimum_phase(gain)
    assert np.argmax(np.abs(taps)) == 0
    response = np.abs(np.fft.rfft(taps, 2 * HOP))
    np.testing.assert_allclose(response[20:60], gain[20:60], rtol=0.1)
    np.testing.assert_allclose(response[200:], 1.0, rtol=0.1)


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(1, 4000), min_size=1, max_size=12), start=st.integers(-2000, 3000))
def test_our_packets_are_read_as_the_peer_decodes_them(cuts: list[int], start: int) -> None:
    payloads = packets(fitted(speech(TTS[:1], pause_s=0, before_s=0), 10 * FRAME_SAMPLES))
    sent = SentAudio(RTP_RATE_HZ)
    for number, payload in enumerate(payloads):
        sent.sent(payload, (100 + number) * FRAME_NS)
    truth = np.concatenate((np.zeros(2000, np.float32), decoded(payloads), np.zeros(60_000, np.float32)))
    playback = Playback(sent, 100 * FRAME_SAMPLES + start)
    read = np.concatenate([playback.read(count) for count in cuts])
    if start <= 0:  # a reader that begins in the middle decodes what was before as well
        np.testing.assert_array_equal(read, truth[2000 + start :][: len(read)])
    else:
        np.testing.assert_allclose(read, truth[2000 + start :][: len(read)], atol=1e-6)


def test_packets_are_forgotten() -> None:
    sent = SentAudio(RTP_RATE_HZ)
    for number in range(200):
        sent.sent(b"packet", number * FRAME_NS)
    first = sent.after(0)
    assert first is not None
    assert first[0] >= 149
    assert sent.after(200) is None
