"""The two elements alone, on a line whose connection no peer has called."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from tests.unit.webrtc_lines import a_line
from tolmach.pipelines.bus import HeardMessage
from tolmach.pipelines.element import ElementSpec
from tolmach.pipelines.errors import ElementError
from tolmach.pipelines.frames import NS_PER_S, AudioFrame, Frame, UtteranceEnd, UtteranceStart
from tolmach.pipelines.testing import Harness, check_spec, tone
from tolmach.transports.mono import MonoConverter
from tolmach.transports.webrtc.connection import Connection
from tolmach.transports.webrtc.opus import FRAME_SAMPLES, RTP_RATE_HZ, SILENCE
from tolmach.transports.webrtc.session_line import RESOURCE, Line
from tolmach.transports.webrtc.spec import WEBRTC_SINK, WEBRTC_SRC, WebrtcSrcSettings


class Listening(Harness):
    """A harness that says when five frames have come."""

    five_came: asyncio.Event

    async def __aenter__(self) -> Listening:
        self.five_came = asyncio.Event()
        await super().__aenter__()
        return self

    async def _take(self, frame: Frame, pad: str = "src") -> None:
        await super()._take(frame, pad)
        if len(self.output()) >= 5:
            self.five_came.set()


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    async with a_line() as made:
        yield made


@pytest.fixture
def connection(line: Line) -> Connection:
    return line.connect()


@pytest.mark.parametrize("spec", [WEBRTC_SRC, WEBRTC_SINK], ids=lambda s: s.type)
def test_the_specs_keep_the_rules(spec: ElementSpec) -> None:
    check_spec(spec)


def test_targets_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ValueError, match="must not exceed"):
        WebrtcSrcSettings(min_target_ms=300)


@pytest.mark.parametrize("spec", [WEBRTC_SRC, WEBRTC_SINK], ids=lambda s: s.type)
async def test_without_its_line_an_element_does_not_start(spec: ElementSpec) -> None:
    harness = Harness(spec)
    await harness.stop()
    with pytest.raises(ElementError, match="tolmach serve"):
        await harness.element.start()
    await harness.stop()


async def test_a_resource_of_another_kind_is_a_mistake_of_the_application() -> None:
    with pytest.raises(TypeError, match="resource 'line' is a str, not a Line"):
        await Harness(WEBRTC_SRC, resources={RESOURCE: "mine"}).element.start()


async def test_the_source_pushes_until_the_session_ends(line: Line, connection: Connection) -> None:
    async with Listening(WEBRTC_SRC, resources={RESOURCE: line}, min_target_ms=0) as h:
        running = asyncio.create_task(h.run())
        for n in range(5):
            connection.receiver.add(n, n * FRAME_SAMPLES, SILENCE)
        await asyncio.wait_for(h.five_came.wait(), 5)
        await connection.close("enough")
        await asyncio.wait_for(running, 5)
        frames = h.output()
    assert [f.pts_ns for f in frames[:5]] == [n * 20_000_000 for n in range(5)]
    assert connection.close_reason == "enough"


async def test_the_source_can_be_asked_to_end_and_started_again(line: Line, connection: Connection) -> None:
    async with Harness(WEBRTC_SRC, resources={RESOURCE: line}) as h:
        running = asyncio.create_task(h.run())
        await asyncio.sleep(0)
        h.element.finish()  # type: ignore[attr-defined]
        await asyncio.wait_for(running, 5)
        await h.element.stop()
        await h.element.start()
        running = asyncio.create_task(h.run())
        await asyncio.sleep(0)
        assert not running.done()
        await connection.close()
        await asyncio.wait_for(running, 5)


async def test_speech_is_queued_at_48_khz_and_its_time_is_told(line: Line, connection: Connection) -> None:
    connection.receiver.add(0, 0, SILENCE)
    packets = connection.sender.stream()
    async with Harness(WEBRTC_SINK, resources={RESOURCE: line}) as h:
        start = UtteranceStart(3, NS_PER_S, source_end_ns=2 * NS_PER_S)
        audio = tone(1.0, rate_hz=22_050, channels=2)
        await h.push(start, AudioFrame(audio.samples, audio.rate_hz, NS_PER_S, 3))
        await h.push(UtteranceEnd(3, NS_PER_S, 2 * NS_PER_S))
        assert connection.sender.depth_ms == pytest.approx(1000, abs=0.1)
        assert not [m for m in h.messages if isinstance(m, HeardMessage)], "not heard yet"
        await packets.next_packet()
        (told,) = [m for m in h.messages if isinstance(m, HeardMessage)]
        assert told.utterance == 3
        assert told.lag_ns == told.heard_ns - 2 * NS_PER_S
    assert connection.sender.depth_ms == 0, "stop throws away what was not heard"


async def test_the_sink_drains_when_all_was_sent(line: Line, connection: Connection) -> None:
    packets = connection.sender.stream()
    async with Harness(WEBRTC_SINK, resources={RESOURCE: line}) as h:
        await h.push(AudioFrame(np.full((1600, 1), 0.1, np.float32), 16_000, 0))
        draining = asyncio.create_task(h.eos())
        await asyncio.sleep(0)
        assert not draining.done()
        async with asyncio.timeout(5):
            while not draining.done():
                await packets.next_packet()
                await asyncio.sleep(0)
        await draining


async def test_the_sink_does_not_wait_for_a_session_that_is_over(line: Line, connection: Connection) -> None:
    async with Harness(WEBRTC_SINK, resources={RESOURCE: line}) as h:
        await h.push(tone(0.5, rate_hz=48_000))
        await connection.close()
        await h.push(tone(0.5, rate_hz=48_000))
        await asyncio.wait_for(h.eos(), 5)


@pytest.mark.parametrize("rate_hz", [8000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_any_rate_becomes_mono_at_48_khz(rate_hz: int, channels: int) -> None:
    mono = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate_hz) / rate_hz)
    signal = np.repeat(mono[:, None], channels, axis=1).astype(np.float32)
    converter = MonoConverter(rate_hz)
    parts = [converter.convert(signal[i : i + 333]) for i in range(0, len(signal), 333)]
    out = np.concatenate([*parts, converter.flush()])
    assert abs(len(out) - RTP_RATE_HZ) <= 2
    wanted = 0.5 * np.sin(2 * np.pi * 440 * np.arange(RTP_RATE_HZ) / RTP_RATE_HZ)
    np.testing.assert_allclose(out[2000:46_000], wanted[2000:46_000], atol=0.01)


def test_channels_are_averaged() -> None:
    signal = np.stack([np.full(960, 0.5), np.full(960, -0.1)], axis=1).astype(np.float32)
    np.testing.assert_allclose(MonoConverter(48_000).convert(signal), 0.2, atol=1e-6)
